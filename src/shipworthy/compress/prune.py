"""Unstructured magnitude pruning: the smallest weights of each layer become zero.

Each linear layer inside the encoder's blocks loses the same share of its own weights, so that no
layer is emptied because its weights are small as a whole. Embeddings, norms, biases, pooler and
head keep theirs, and so do blocks that the settings name. Zeros are stored as any other weight: the
file does not get smaller and dense kernels do not get faster; what it can show is how much of the
model is needed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from shipworthy.compress.blocks import matrices_by_block, require_blocks
from shipworthy.compress.parents import require_fp32
from shipworthy.core.errors import ModelError
from shipworthy.core.locale import text
from shipworthy.model.pretrained import load_module, save_variant

if TYPE_CHECKING:
    from pathlib import Path

    import torch

    from shipworthy.compress.settings import PruneSettings


def prune_magnitude(parent: Path | str, out: Path | str, settings: PruneSettings) -> None:
    """Write a candidate with a share of the weights of each linear layer set to zero.

    parent and out: folders of the runtime `torch`.
    Raises ModelError where the parent is of another runtime, has no linear layer in blocks, or
    lacks a block that is to be kept.
    """
    info = require_fp32(parent, "pruned")
    module = load_module(parent)
    blocks = matrices_by_block(module)
    if not blocks:
        raise ModelError(text("error.prune.no_linear", model=type(module).__name__), folder=parent)
    require_blocks(settings.keep, blocks, parent)
    for number, matrices in blocks.items():
        for weights in () if number in settings.keep else matrices:
            zero_smallest(weights, settings.share)
    save_variant(out, module, info, parent=parent)


def zero_smallest(weights: torch.Tensor, share: float) -> None:
    """Set the round(share · n) weights of smallest magnitude to zero, in place.

    Among equal ones the first in memory goes first.
    """
    import torch

    flat = weights.detach().abs().flatten()
    count = round(share * flat.numel())
    smallest = torch.argsort(flat, stable=True)[:count]
    with torch.no_grad():
        weights.view(-1)[smallest] = 0.0
