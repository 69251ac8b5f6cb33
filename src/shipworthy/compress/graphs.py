"""An fp32 graph for ONNX Runtime, without what earlier levers left as zeros or as products.

A folder of plain transformers has one shape for all blocks, and every matrix whole; a graph has
not. So heads that are all zeros are left out here, matrices of low rank are taken apart, and the
graph is as much smaller.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from shipworthy.compress.anatomy import blocks_of, heads_of
from shipworthy.compress.heads import take_out_heads
from shipworthy.compress.parents import require_fp32
from shipworthy.core.errors import ModelError
from shipworthy.model.onnx_export import export_onnx

if TYPE_CHECKING:
    from pathlib import Path

    from torch import nn


def write_graph(parent: Path | str, out: Path | str) -> None:
    """Write a candidate of the runtime `onnx` from a classifier of the runtime `torch`.

    Raises ModelError where the parent is of another runtime, or the graph is too large.
    """
    require_fp32(parent, "graph")
    export_onnx(parent, out, prepare=compact)


def compact(module: nn.Module) -> nn.Module:
    """Take out, in place, what is zero as a whole, and split matrices of low rank.

    The answers stay, up to the rounding of fp32. A model whose parts are not known by name is left
    as it is.
    """
    from shipworthy.compress.factors import split

    model: Any = module
    try:
        blocks = blocks_of(module, "")
    except ModelError:
        return module
    heads = heads_of(model.config)
    for block in blocks:
        take_out_heads(block, heads)
    split(module)
    return module
