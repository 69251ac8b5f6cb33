"""Recipes by name: what a project's `compress:` asks for, and the lever that makes each."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, get_args

from shipworthy.compress.settings import (
    AUTO,
    GgufKind,
    GgufRecipe,
    Int4Recipe,
    Int8Recipe,
    PruneSettings,
    QuantizeSettings,
)
from shipworthy.core.errors import ModelError
from shipworthy.core.locale import text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import polars as pl
    from pydantic import BaseModel

    from shipworthy.compress.settings import CompressSettings, FloatPart, NamedRecipe
    from shipworthy.model.checkpoint import RuntimeInfo


@dataclass(frozen=True)
class Recipe:
    """One candidate to make.

    name: of the candidate, as `prune-30` or `int8-keep-embeddings-0`. lever: one of
    `core.records.LEVERS`, `quantize` or `prune`. settings: of that lever, plain values.
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


def make(
    recipe: Recipe,
    parent_folder: Path | str,
    out_folder: Path | str,
    *,
    calibration: pl.DataFrame | None = None,
) -> None:
    """Write the candidate of a recipe; `load_classifier` or `load_language_model` opens its folder.

    parent_folder: a candidate of the runtime `torch`. calibration: rows for recipes that look at
    some. The same parent, rows and libraries give the same bytes.
    Raises ModelError where the parent is of another runtime or incomplete.
    """
    if "gguf" in recipe.settings:
        from shipworthy.compress.gguf import quantize_gguf

        quantize_gguf(parent_folder, out_folder, recipe.settings["gguf"])
    elif recipe.lever == "quantize":
        from shipworthy.compress.quantize import quantize_weights

        settings = QuantizeSettings(**recipe.settings)
        quantize_weights(parent_folder, out_folder, settings, calibration=calibration)
    elif recipe.lever == "prune":
        from shipworthy.compress.prune import prune_magnitude

        prune_magnitude(parent_folder, out_folder, PruneSettings(**recipe.settings))
    else:
        raise ValueError(f"no lever {recipe.lever!r}")


def check_recipes(settings: CompressSettings, folder: Path | str, info: RuntimeInfo | None) -> None:
    """Raise ModelError for a recipe that this model cannot have, before hours go into training.

    folder: of the model that training starts from. info: how it runs; None for a classifier.
    """
    for recipe in expand(settings):
        if "gguf" in recipe.settings:
            from shipworthy.compress.gguf import check_gguf

            check_gguf(folder, info)
        elif recipe.settings.get("weights") == "int4" and info is None:
            raise ModelError(
                text("error.weight_only.classifier"),
                folder=folder,
                fix=text("error.weight_only.classifier.fix"),
            )


def looks_at_rows(recipe: Recipe) -> bool:
    """Say whether a recipe needs calibration rows."""
    return recipe.settings.get("rounding") == "compensated"


def written(recipe: Recipe) -> str:
    """Return a recipe as one line of YAML, as a project lists it under `compress.recipes`.

    >>> written(Recipe("int8-keep-embeddings-0", "quantize",
    ...                {"weights": "int8", "keep_float": ["embeddings", 0]}))
    '{int8: {keep_float: [embeddings, 0]}}'
    """
    settings = recipe.settings
    if "gguf" in settings:
        return f"{{gguf: {settings['gguf']}}}"
    if recipe.lever == "quantize":
        kept, group = settings.get("keep_float", ()), settings.get("group")
        told = [f"group: {group}"] if group else []
        told += [f"rounding: {settings['rounding']}"] if settings.get("rounding") else []
        told += [f"keep_float: {_listed(kept)}"] if kept else []
        weights = str(settings["weights"])
        return f"{{{weights}: {{{', '.join(told)}}}}}" if told else weights
    share, kept = f"{settings['share']:.10g}", settings.get("keep", ())
    if kept:
        return f"{{prune: {{share: {share}, keep: {_listed(kept)}}}}}"
    return f"{{prune: {share}}}"


def keeping(recipe: Recipe, parts: Sequence[FloatPart]) -> Recipe:
    """Return the recipe that also leaves some parts as the parent has them.

    parts: numbers of blocks, from 0; for int8 and int4 also `embeddings`. Raises ValueError for a
    recipe that keeps nothing (bf16, gguf).
    """
    if recipe.lever == "prune":
        kept = {*recipe.settings.get("keep", ()), *parts}
        return _prune(PruneSettings(share=recipe.settings["share"], keep=tuple(kept)))
    if recipe.settings.get("weights") in ("int8", "int4"):
        floats = {*recipe.settings.get("keep_float", ()), *parts}
        return _quantize(QuantizeSettings(**{**recipe.settings, "keep_float": tuple(floats)}))
    raise ValueError(f"{recipe.name} has no parts to keep")


def nearer(recipe: Recipe) -> Recipe | None:
    """Return the recipe of the same kind whose weights mostly stay nearer to the parent's, if any.

    >>> nearer(Recipe("gguf-q4-k-m", "quantize", {"gguf": "Q4_K_M"})).name
    'gguf-q5-k-m'
    """
    settings = recipe.settings
    if "gguf" in settings:
        kinds: tuple[GgufKind, ...] = get_args(GgufKind)
        place = kinds.index(settings["gguf"])
        return _gguf(kinds[place - 1]) if place else None
    if settings.get("weights") != "int4" or settings.get("rounding") == "compensated":
        return None
    return _quantize(QuantizeSettings(**{**settings, "rounding": "compensated"}))


def _recipe(named: NamedRecipe) -> Recipe:
    if isinstance(named, str):
        return _quantize(QuantizeSettings(weights=named))
    if isinstance(named, GgufRecipe):
        return _gguf(named.gguf)
    if isinstance(named, Int8Recipe):
        return _quantize(QuantizeSettings(weights="int8", keep_float=named.int8.keep_float))
    if isinstance(named, Int4Recipe):
        return _quantize(QuantizeSettings(weights="int4", **named.int4.model_dump()))
    asked = named.prune
    return _prune(asked if isinstance(asked, PruneSettings) else PruneSettings(share=asked))


def _quantize(settings: QuantizeSettings) -> Recipe:
    group = "" if settings.group == 32 else f"-group-{settings.group}"
    how = "-compensated" if settings.rounding == "compensated" else ""
    name = settings.weights + group + how + _suffix(settings.keep_float)
    return Recipe(name, "quantize", _said(settings))


def _gguf(kind: GgufKind) -> Recipe:
    return Recipe(f"gguf-{kind.lower().replace('_', '-')}", "quantize", {"gguf": kind})


def _prune(settings: PruneSettings) -> Recipe:
    name = f"prune-{settings.share * 100:.10g}{_suffix(settings.keep)}"
    return Recipe(name, "prune", _said(settings))


def _said(settings: BaseModel) -> dict[str, Any]:
    # What is left at its default is left out: a new option makes no new candidate of an old recipe.
    return settings.model_dump(mode="json", exclude_defaults=True)


def _suffix(kept: Sequence[FloatPart]) -> str:
    return "".join(["-keep", *(f"-{part}" for part in kept)]) if kept else ""


def _listed(parts: Sequence[FloatPart]) -> str:
    return f"[{', '.join(map(str, parts))}]"
