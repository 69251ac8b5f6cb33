"""Recipes that spare some parts of a model: which steps can, which parts, and how they say so.

A part is a block, by its number in the model that the step is given, or the embeddings. Spared by
`int8` and `int4` it stays in float, by `prune`, `heads` and `low_rank` it loses nothing, and by
`layers` it stays. No block can be spared by `neurons`, since an encoder's configuration knows one
width for all, nor by levers that make a student, train, or cut the vocabulary.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from shipworthy.compress.blocks import matrices_by_block, repeated
from shipworthy.compress.recipes import as_asked, kind_of, named, steps_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from shipworthy.compress.recipes import Recipe
    from shipworthy.compress.settings import FloatPart

SPARING = ("int8", "int4", "prune", "heads", "low_rank", "layers")
"""Levers that can spare some blocks, as a project file calls them."""
_KEYS = {"int8": "keep_float", "int4": "keep_float"}


def sparable(recipe: Recipe) -> tuple[int, ...]:
    """Return the places of the steps of a recipe that can spare parts, rising.

    >>> sparable(named({"steps": [{"heads": 0.5}, {"recover": {}}, "int8"]}))
    (0, 2)
    >>> sparable(named("bf16")), sparable(named({"neurons": 0.5}))
    ((), ())
    """
    return tuple(k for k, step in enumerate(steps_of(recipe)) if kind_of(step) in SPARING)


def parts_to_spare(folder: Path | str, step: Recipe) -> tuple[FloatPart, ...]:
    """Return the parts that a step could spare of the model it is given, embeddings first.

    folder: of that model. Parts that it spares already are left out; `layers` always drops one.
    """
    from shipworthy.model.pretrained import load_module

    kind, module = kind_of(step), load_module(folder)
    if kind == "layers":
        there = range(len(repeated(module, folder)[2]))
        dropped = tuple(k for k in there if k not in step.settings["layers"])
        return dropped if len(dropped) > 1 else ()
    blocks: tuple[FloatPart, ...] = tuple(matrices_by_block(module))
    options = step.settings.get(kind, step.settings)
    kept = {*options.get("keep_float", ()), *options.get("keep", ())}
    tables = kind in _KEYS or bool(options.get("embeddings"))
    every = ("embeddings", *blocks) if tables else blocks
    return tuple(part for part in every if part not in kept)


def keeping(recipe: Recipe, parts: Sequence[FloatPart], *, at: int | None = None) -> Recipe:
    """Return the recipe that also leaves some parts as they are; the other steps stay.

    parts: numbers of blocks, from 0; for int8, int4 and the table of low rank also `embeddings`.
    at: place of the step that spares them; the last one that can where left out. Raises ValueError
    for a recipe that can spare nothing (bf16, fp16, gguf, neurons, ...).

    >>> cut = named({"steps": [{"neurons": 0.5}, {"recover": {}}, "int8"]})
    >>> keeping(cut, ["embeddings", 1]).name
    'neurons-50+recover+int8-keep-embeddings-1'
    """
    steps, places = steps_of(recipe), sparable(recipe)
    if not places or (at is not None and at not in places):
        raise ValueError(f"{recipe.name} has no parts to keep")
    place = places[-1] if at is None else at
    asked = [as_asked(step) for step in steps]
    asked[place] = _sparing(steps[place], parts)
    return named(asked[0] if len(asked) == 1 else {"steps": asked})


def _sparing(step: Recipe, parts: Sequence[FloatPart]) -> Any:
    """Return a step as a project file lists it, with some parts spared besides."""
    kind, asked = kind_of(step), as_asked(step)
    if kind == "layers":
        return {"layers": sorted({*asked["layers"], *parts})}
    options = asked[kind] if isinstance(asked, dict) else {}
    options = dict(options) if isinstance(options, dict) else {"share": options}
    if kind == "low_rank" and "embeddings" in parts:
        options.pop("embeddings", None)
        parts = [part for part in parts if part != "embeddings"]
    key = _KEYS.get(kind, "keep")
    kept = {*options.get(key, ()), *parts}
    if kept:
        numbers: list[FloatPart] = sorted(part for part in kept if isinstance(part, int))
        options[key] = [*(["embeddings"] if "embeddings" in kept else []), *numbers]
    return {kind: options}
