"""Unstructured magnitude pruning: the smallest weights of each layer become zero.

Each linear layer inside the encoder's blocks loses the same share of its own weights, so that no
layer is emptied because its weights are small as a whole. Embeddings, norms, biases, pooler and
head keep theirs. Zeros are stored as any other weight: the file does not get smaller and dense
kernels do not get faster; what it can show is how much of the model is needed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from shipworthy.compress.parents import require_fp32
from shipworthy.core.errors import ModelError
from shipworthy.model.pretrained import load_module, save_variant

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import torch

    from shipworthy.compress.settings import PruneSettings


def prune_magnitude(parent: Path | str, out: Path | str, settings: PruneSettings) -> None:
    """Write a candidate with a share of the weights of each linear layer set to zero.

    parent and out: folders of the runtime `torch`.
    Raises ModelError where the parent is of another runtime, or has no linear layer in blocks.
    """
    info = require_fp32(parent, "pruned weights")
    module = load_module(parent)
    matrices = dict(block_matrices(module))
    if not matrices:
        raise ModelError(f"{type(module).__name__} has no linear layer in blocks", folder=parent)
    for weights in matrices.values():
        zero_smallest(weights, settings.share)
    save_variant(out, module, info, parent=parent)


def block_matrices(module: torch.nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield name and weights of the linear layers in the repeated blocks of an encoder."""
    import torch

    model: Any = module
    for prefix, blocks in model.base_model.named_modules():
        if isinstance(blocks, torch.nn.ModuleList) and not _inside_blocks(model, prefix):
            for name, layer in blocks.named_modules():
                if isinstance(layer, torch.nn.Linear):
                    yield f"{prefix}.{name}.weight", layer.weight


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


def _inside_blocks(model: Any, prefix: str) -> bool:
    """Whether a list of layers lies in another one, whose layers are found already."""
    import torch

    parts = prefix.split(".")
    outer = (".".join(parts[:end]) for end in range(1, len(parts)))
    return any(isinstance(model.base_model.get_submodule(p), torch.nn.ModuleList) for p in outer)
