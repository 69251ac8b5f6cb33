"""Fewer heads: the least important of all blocks lose their weights, and their place in a graph.

Plain transformers knows one number of heads for all blocks of an encoder, of a width that follows
from it. So the folder keeps its shape, with zeros where a head was, which opens anywhere and stays
so under further training (a head of zeros has no gradient); `graphs.py` takes the zeros out when a
graph is written. By itself the lever therefore saves nothing: end with `onnx` or `int8`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from shipworthy.compress.anatomy import blocks_of, heads_of
from shipworthy.compress.blocks import require_blocks
from shipworthy.compress.importance import fisher
from shipworthy.compress.neurons import shrink
from shipworthy.compress.parents import require_fp32
from shipworthy.model.pretrained import load_module, save_variant

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from shipworthy.compress.anatomy import Block
    from shipworthy.compress.lever_settings import HeadSettings
    from shipworthy.compress.material import Material

    FloatArray = NDArray[np.float64]


def prune_heads(
    parent: Path | str, out: Path | str, settings: HeadSettings, material: Material
) -> None:
    """Write a candidate some of whose attention heads are zeros.

    parent: a classifier of the runtime `torch`.
    Raises ModelError where it is of another runtime, its parts are not known by name, or it lacks
    a block that is to be kept, and where the calibration rows are too few.
    """
    info = require_fp32(parent, "shaped")
    module: Any = load_module(parent)
    blocks = blocks_of(module, parent)
    require_blocks(settings.keep, range(len(blocks)), parent)
    spared = [blocks[number] for number in settings.keep]
    heads = heads_of(module.config)
    names = {id(part): name for name, part in module.named_modules()}
    sites = {names[id(block.linear(block.attention[3]))]: block for block in blocks}
    if settings.score == "fisher":
        scores = fisher(module, parent, info, list(sites), heads, material, settings.balance)
    else:
        scores = {site: magnitude(block, heads) for site, block in sites.items()}
    for site, gone in least_of_all(scores, settings.share).items():
        if not any(sites[site] is block for block in spared):
            zero_heads(sites[site], gone, heads)
    save_variant(out, module, info, parent=parent)


def magnitude(block: Block, heads: int) -> FloatArray:
    """Return the size of each head: norms of what makes its values and what reads them."""
    _, _, value, output = (block.linear(name).weight.detach().double() for name in block.attention)
    made = value.numpy().reshape(heads, -1)
    read = output.numpy().T.reshape(heads, -1)
    found: FloatArray = np.linalg.norm(made, axis=1) * np.linalg.norm(read, axis=1)
    return found


def least_of_all(scores: Mapping[str, FloatArray], share: float) -> dict[str, NDArray[np.int64]]:
    """Return the heads that go: the least important of all sites together; each keeps its best.

    >>> scores = {"a": np.array([3.0, 1.0]), "b": np.array([0.2, 0.1])}
    >>> {site: gone.tolist() for site, gone in least_of_all(scores, 0.5).items()}
    {'a': [1], 'b': [1]}
    """
    table = [
        (value, place, head)
        for place, values in enumerate(scores.values())
        for head, value in enumerate(values.tolist())
        if head != int(np.argmax(values))
    ]
    count = round(share * sum(map(len, scores.values())))
    gone: dict[str, list[int]] = {site: [] for site in scores}
    for _, place, head in sorted(table)[:count]:
        gone[list(scores)[place]].append(head)
    return {site: np.sort(np.array(heads, np.int64)) for site, heads in gone.items()}


def zero_heads(block: Block, gone: NDArray[np.int64], heads: int) -> None:
    """Set all weights of these heads to zero, in place."""
    import torch

    query, key, value, output = (block.linear(name) for name in block.attention)
    with torch.no_grad():
        for layer in (query, key, value):
            layer.weight.view(heads, -1, layer.in_features)[torch.from_numpy(gone)] = 0.0
            if layer.bias is not None:
                layer.bias.view(heads, -1)[torch.from_numpy(gone)] = 0.0
        columns = np.flatnonzero(
            np.isin(np.arange(output.in_features) // _width(output, heads), gone)
        )
        output.weight[:, torch.from_numpy(columns)] = 0.0


def take_out_heads(block: Block, heads: int) -> int:
    """Leave only the heads that are not zeros, in place; return how many went."""
    query, key, value, output = (block.linear(name) for name in block.attention)
    width = _width(output, heads)
    if not query.out_features == key.out_features == value.out_features == width * heads:
        return 0  # several queries share a key: their heads cannot go one by one
    read = np.abs(output.weight.detach().numpy().T.reshape(heads, -1)).max(axis=1)
    kept = np.flatnonzero(read > 0)
    if not 0 < len(kept) < heads:
        return 0
    places = (kept[:, None] * width + np.arange(width)).reshape(-1)
    for layer in (query, key, value):
        shrink(layer, rows=places)
    shrink(output, columns=places)
    return heads - len(kept)


def _width(output: Any, heads: int) -> int:
    return int(output.in_features) // heads
