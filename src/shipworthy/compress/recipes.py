"""Recipes by name: what a project's `compress:` asks for, and the lever that makes each."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from shipworthy.compress.settings import AUTO, PruneSettings, QuantizeSettings

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from shipworthy.compress.settings import CompressSettings, NamedRecipe


@dataclass(frozen=True)
class Recipe:
    """One candidate to make.

    name: of the candidate, as `prune-30`. lever: one of `core.records.LEVERS`, `quantize` or
    `prune`. settings: of that lever, plain values.
    """

    name: str
    lever: str
    settings: Mapping[str, Any] = field(default_factory=dict)


def expand(settings: CompressSettings) -> tuple[Recipe, ...]:
    """Return the recipes that settings name, in their order; `auto` is written out.

    >>> from shipworthy.compress.settings import CompressSettings
    >>> [recipe.name for recipe in expand(CompressSettings())]
    ['bf16', 'int8', 'prune-30', 'prune-50']
    """
    named = AUTO if settings.recipes == "auto" else settings.recipes
    return tuple(_recipe(one) for one in named)


def make(recipe: Recipe, parent_folder: Path | str, out_folder: Path | str) -> None:
    """Write the candidate of a recipe; `load_classifier` opens its folder.

    parent_folder: a candidate of the runtime `torch`. The same parent and libraries give the same
    bytes.
    Raises ModelError where the parent is of another runtime or incomplete.
    """
    if recipe.lever == "quantize":
        from shipworthy.compress.quantize import quantize_weights

        quantize_weights(parent_folder, out_folder, QuantizeSettings(**recipe.settings))
    elif recipe.lever == "prune":
        from shipworthy.compress.prune import prune_magnitude

        prune_magnitude(parent_folder, out_folder, PruneSettings(**recipe.settings))
    else:
        raise ValueError(f"no lever {recipe.lever!r}")


def _recipe(named: NamedRecipe) -> Recipe:
    if isinstance(named, str):
        return Recipe(named, "quantize", QuantizeSettings(weights=named).model_dump())
    share = named.prune
    return Recipe(f"prune-{share * 100:.10g}", "prune", PruneSettings(share=share).model_dump())
