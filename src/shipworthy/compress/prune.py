"""Unstructured pruning: the weights of each layer that matter least become zero.

Each linear layer inside the encoder's blocks loses the same share of its own weights, so that no
layer is emptied because its weights are small as a whole. What matters least is the smallest weight
of the layer, or by Wanda (`wanda.py`) the one that adds least to its output on calibration rows.
Embeddings, norms, biases, pooler and head keep theirs, and so do blocks that the settings name.
Zeros are stored as any other weight: the file does not get smaller and dense kernels do not get
faster, in the pattern 2:4 neither; what they can show is how much of the model is needed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from shipworthy.compress.blocks import layers_by_block, require_blocks
from shipworthy.compress.parents import require_fp32
from shipworthy.core.errors import ModelError
from shipworthy.core.locale import text
from shipworthy.model.pretrained import load_module, save_variant

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import torch

    from shipworthy.compress.material import Material
    from shipworthy.compress.settings import PruneSettings


def prune_weights(
    parent: Path | str,
    out: Path | str,
    settings: PruneSettings,
    material: Material | None = None,
) -> None:
    """Write a candidate with a share of the weights of each linear layer set to zero.

    parent and out: folders of the runtime `torch`. material: for the method `wanda`.
    Raises ModelError where the parent is of another runtime, has no linear layer in blocks, lacks a
    block that is to be kept or has layers that do not divide into fours, or there are no rows.
    """
    info = require_fp32(parent, "pruned")
    module = load_module(parent)
    blocks = layers_by_block(module)
    if not blocks:
        raise ModelError(text("error.prune.no_linear", model=type(module).__name__), folder=parent)
    require_blocks(settings.keep, blocks, parent)
    layers = {
        name: layer
        for number, found in blocks.items()
        if number not in settings.keep
        for name, layer in found.items()
    }
    run = None
    if settings.pattern == "2:4":
        _require_fours(layers, parent)
        run = 4
    if settings.method == "wanda":
        from shipworthy.compress.wanda import input_norms, scores

        if material is None:
            raise ModelError(text("error.material.none", recipe=settings.method))
        norms = input_norms(module, layers, parent, info, material)
        for name, layer in layers.items():
            each = run or layer.in_features
            found = scores(layer.weight, norms[name])
            zero_smallest(layer.weight, settings.share, scores=found, run=each)
    else:
        for layer in layers.values():
            zero_smallest(layer.weight, settings.share, run=run)
    save_variant(out, module, info, parent=parent)


def zero_smallest(
    weights: torch.Tensor,
    share: float,
    *,
    scores: torch.Tensor | None = None,
    run: int | None = None,
) -> None:
    """Set the round(share · n) weights of smallest score to zero, in place.

    scores: of the shape of the weights; their magnitudes where left out. run: weights, one after
    the other in memory, that are compared with each other and lose their share; None takes all.
    Among equal ones the first in memory goes first.
    """
    import torch

    found = weights.detach().abs() if scores is None else scores
    run = weights.numel() if run is None else run
    smallest = torch.argsort(found.reshape(-1, run), dim=1, stable=True)[:, : round(share * run)]
    with torch.no_grad():
        weights.view(-1, run).scatter_(1, smallest, 0.0)


def _require_fours(layers: Mapping[str, torch.nn.Linear], folder: Path | str) -> None:
    for name, layer in layers.items():
        if layer.in_features % 4:
            raise ModelError(
                text("error.prune.fours", name=name, columns=layer.in_features), folder=folder,
                fix=text("error.prune.fours.fix"),
            )  # fmt: skip
