"""Fewer blocks: some stay, the others are gone, and the folder opens as any model of that size."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from shipworthy.compress.anatomy import set_blocks
from shipworthy.compress.blocks import repeated, require_blocks
from shipworthy.compress.parents import require_fp32
from shipworthy.core.errors import ModelError
from shipworthy.core.locale import text
from shipworthy.model.pretrained import load_module, save_variant

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


def keep_layers(parent: Path | str, out: Path | str, kept: Sequence[int]) -> None:
    """Write a candidate that has only some of its parent's blocks, in their order.

    kept: numbers of the blocks that stay, from 0, rising.
    Raises ModelError where the parent is of another runtime, lacks one of them, or would keep all.
    """
    from torch import nn

    info = require_fp32(parent, "shaped")
    module: Any = load_module(parent)
    holder, name, blocks = repeated(module, parent)
    require_blocks(kept, range(len(blocks)), parent)
    if len(kept) == len(blocks):
        raise ModelError(
            text("error.layers.all", count=len(blocks)),
            folder=parent,
            fix=text("error.layers.all.fix"),
        )
    setattr(holder, name, nn.ModuleList([blocks[number] for number in kept]))
    set_blocks(module.config, tuple(kept))
    save_variant(out, module, info, parent=parent)
