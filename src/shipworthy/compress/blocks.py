"""The repeated blocks of an encoder, and the linear layers in each of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from shipworthy.core.errors import ModelError
from shipworthy.core.locale import text

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator
    from pathlib import Path

    import torch


def block_matrices(module: torch.nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield name and weights of the linear layers in the repeated blocks of an encoder."""
    for name, _, layer in _numbered(module):
        yield f"{name}.weight", layer.weight


def matrices_by_block(module: torch.nn.Module) -> dict[int, list[torch.Tensor]]:
    """Return the weights of the linear layers of each block, by its number from 0."""
    return {
        n: [one.weight for one in found.values()] for n, found in layers_by_block(module).items()
    }


def layers_by_block(module: torch.nn.Module) -> dict[int, dict[str, torch.nn.Linear]]:
    """Return the linear layers of each block by its number from 0, with their names."""
    found: dict[int, dict[str, torch.nn.Linear]] = {}
    for name, number, layer in _numbered(module):
        found.setdefault(number, {})[name] = layer
    return found


def require_blocks(asked: Iterable[int], there: Collection[int], folder: Path | str) -> None:
    """Raise ModelError where a block is asked for that the model does not have."""
    absent = [number for number in asked if number not in there]
    if absent:
        said = {"number": absent[0], "count": len(there)}
        raise ModelError(
            text("error.compress.block", **said), folder=folder,
            fix=text("error.compress.block_fix", last=max(there, default=0)),
        )  # fmt: skip


def repeated(module: torch.nn.Module, folder: Path | str) -> tuple[Any, str, torch.nn.ModuleList]:
    """Return the repeated blocks: the module that holds the list, its name there, and the list.

    Raises ModelError where there is no such list with linear layers, or several.
    """
    import torch

    model: Any = module
    found = [
        (name, part)
        for name, part in model.base_model.named_modules()
        if isinstance(part, torch.nn.ModuleList)
        and not _inside_blocks(model, name)
        and any(isinstance(layer, torch.nn.Linear) for layer in part.modules())
    ]
    if len(found) != 1:
        raise ModelError(
            text("error.compress.no_blocks", model=type(module).__name__, count=len(found)),
            folder=folder,
        )
    holder, _, own = found[0][0].rpartition(".")
    return model.base_model.get_submodule(holder), own, found[0][1]


def _numbered(module: torch.nn.Module) -> Iterator[tuple[str, int, torch.nn.Linear]]:
    import torch

    model: Any = module
    for prefix, blocks in model.base_model.named_modules():
        if isinstance(blocks, torch.nn.ModuleList) and not _inside_blocks(model, prefix):
            for name, layer in blocks.named_modules():
                if isinstance(layer, torch.nn.Linear):
                    yield f"{prefix}.{name}", int(name.split(".")[0]), layer


def _inside_blocks(model: Any, prefix: str) -> bool:
    """Whether a list of layers lies in another one, whose layers are found already."""
    import torch

    parts = prefix.split(".")
    outer = (".".join(parts[:end]) for end in range(1, len(parts)))
    return any(isinstance(model.base_model.get_submodule(p), torch.nn.ModuleList) for p in outer)
