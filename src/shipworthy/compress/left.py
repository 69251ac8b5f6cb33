"""Which weights a lever left as they were, although it is about weights like them.

Norms and biases are never touched, by design, and neither is what the settings keep. What else is
left is what a lever does not know: convolutions, tables of positions of a kind of their own,
adapters between the layers. It costs room or time, and is named beside the candidate.
"""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Any

from shipworthy.compress.anatomy import blocks_of
from shipworthy.compress.blocks import repeated
from shipworthy.core.errors import ModelError
from shipworthy.model.checkpoint import GRAPH, read_info
from shipworthy.model.pretrained import load_module

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import nn

    from shipworthy.compress.recipes import Recipe

_OF_PARTS = ("neurons", "heads", "low_rank")
"""Levers that know the matrices of a block by their names."""


def left_as_they_are(recipe: Recipe, parent: Path | str, out: Path | str) -> tuple[str, ...]:
    """Return the names of the weights that one step left as they were, in the parent's order.

    recipe: of one step. parent, out: the folders of what it was made of and what it made.
    """
    settings = recipe.settings
    if settings.get("weights") in ("int8", "int4") and read_info(out).does == "classify":
        return _in_graph(parent, out, keep=settings.get("keep_float", ()))
    if any(key in settings for key in _OF_PARTS):
        return _unknown(load_module(parent), parent, known=True)
    if recipe.lever == "prune" and "share" in settings:
        return _unknown(load_module(parent), parent, known=False)
    return ()


def _in_graph(parent: Path | str, out: Path | str, *, keep: Sequence[Any]) -> tuple[str, ...]:
    """Return the weights of two dimensions and more that a graph of few bits holds in float."""
    import onnx
    from onnx.numpy_helper import to_array

    from shipworthy.compress.graphs import compact

    graph = onnx.load(f"{out}/{GRAPH}").graph
    floats = [to_array(one) for one in graph.initializer if one.data_type == onnx.TensorProto.FLOAT]
    # Scales, and what is broadcast over a batch, have no second dimension that is larger than 1.
    held = {_digest(one) for one in floats if sum(size > 1 for size in one.shape) >= 2}
    if not held:
        return ()
    module = compact(load_module(parent))
    kept = _kept(module, parent, keep)
    names = {
        name: weights.detach().numpy()
        for name, weights in module.named_parameters()
        if weights.dim() >= 2 and id(weights) not in kept
    }
    # The exporter turns matrices round and gives them names of its own: they are known by content.
    return tuple(
        name
        for name, array in names.items()
        if {_digest(array), _digest(array.T)} & held
    )  # fmt: skip


def _kept(module: nn.Module, parent: Path | str, keep: Sequence[Any]) -> set[int]:
    """Return the ids of the weights that the settings say stay in float."""
    from torch import nn

    found: set[int] = set()
    numbers = [part for part in keep if part != "embeddings"]
    if numbers:
        _, _, layers = repeated(module, parent)
        found |= {id(w) for number in numbers for w in layers[number].parameters()}
    if "embeddings" in keep:
        tables = [part for part in module.modules() if isinstance(part, nn.Embedding)]
        found |= {id(table.weight) for table in tables}
    return found


def _unknown(module: nn.Module, parent: Path | str, *, known: bool) -> tuple[str, ...]:
    """Return the weights in the blocks that a lever did not look at.

    known: whether it is one that knows matrices by name; else every linear layer is looked at.
    """
    from torch import nn

    try:
        _, _, layers = repeated(module, parent)
        blocks = blocks_of(module, parent) if known else ()
    except ModelError:
        return ()
    touched = {
        id(block.linear(name).weight)
        for block in blocks
        for name in (*block.attention, *block.makes, block.reads)
    }
    if not known:
        linear = [part for part in layers.modules() if isinstance(part, nn.Linear)]
        touched = {id(part.weight) for part in linear}
    inside = {id(weights) for weights in layers.parameters()}
    return tuple(
        name
        for name, weights in module.named_parameters()
        if id(weights) in inside - touched and sum(size > 1 for size in weights.shape) >= 2
    )


def _digest(array: NDArray[Any]) -> str:
    return sha256(f"{array.shape}".encode() + array.tobytes()).hexdigest()
