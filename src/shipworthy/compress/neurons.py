"""Fewer neurons: columns and rows of the feed-forward matrices are taken out, and really gone.

Every block loses the same number, since the configuration of an encoder knows one width for all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from shipworthy.compress.anatomy import blocks_of, set_neurons
from shipworthy.compress.importance import fisher, least
from shipworthy.compress.parents import require_fp32
from shipworthy.model.pretrained import load_module, save_variant

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import nn

    from shipworthy.compress.anatomy import Block
    from shipworthy.compress.lever_settings import NeuronSettings
    from shipworthy.compress.material import Material


def prune_neurons(
    parent: Path | str, out: Path | str, settings: NeuronSettings, material: Material
) -> None:
    """Write a candidate with fewer feed-forward neurons; it opens in plain transformers.

    parent: a classifier of the runtime `torch`.
    Raises ModelError where it is of another runtime or its parts are not known by name, or the
    calibration rows are too few.
    """
    info = require_fp32(parent, "shaped")
    module: Any = load_module(parent)
    blocks = blocks_of(module, parent)
    names = {id(part): name for name, part in module.named_modules()}
    sites = {names[id(block.linear(block.reads))]: block for block in blocks}
    width = blocks[0].linear(blocks[0].reads).in_features
    if settings.score == "fisher":
        scores = fisher(module, parent, info, list(sites), width, material, settings.balance)
    else:
        scores = {site: magnitude(block) for site, block in sites.items()}
    gone = least(scores, settings.share)
    for site, block in sites.items():
        kept = np.setdiff1d(np.arange(width), gone[site])
        take_neurons(block, kept)
    set_neurons(module.config, width - len(next(iter(gone.values()))))
    save_variant(out, module, info, parent=parent)


def magnitude(block: Block) -> NDArray[np.float64]:
    """Return the size of each neuron: norms of its weights before and after, multiplied."""
    reads = block.linear(block.reads).weight.detach().double().norm(dim=0)
    for name in block.makes:
        reads = reads * block.linear(name).weight.detach().double().norm(dim=1)
    found: NDArray[np.float64] = reads.numpy()
    return found


def take_neurons(block: Block, kept: NDArray[np.int64]) -> None:
    """Leave only these neurons in a block, in place."""
    for name in block.makes:
        shrink(block.linear(name), rows=kept)
    shrink(block.linear(block.reads), columns=kept)


def shrink(
    layer: nn.Linear,
    *,
    rows: NDArray[np.int64] | None = None,
    columns: NDArray[np.int64] | None = None,
) -> None:
    """Leave only some outputs (rows) or inputs (columns) of a linear layer, in place."""
    import torch
    from torch import nn

    with torch.no_grad():
        if rows is not None:
            layer.weight = nn.Parameter(layer.weight[torch.from_numpy(rows)].clone())
            if layer.bias is not None:
                layer.bias = nn.Parameter(layer.bias[torch.from_numpy(rows)].clone())
            layer.out_features = len(rows)
        if columns is not None:
            layer.weight = nn.Parameter(layer.weight[:, torch.from_numpy(columns)].clone())
            layer.in_features = len(columns)
