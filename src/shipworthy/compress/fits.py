"""What of a project's recipes cannot be, known from `config.json` before anything is trained.

Each step of a recipe is followed through the shape of the model: how many blocks, hidden
dimensions, heads, neurons and tokens are left. What the configuration does not say is not checked
here; the levers look at the model itself when it comes to them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeAlias

from shipworthy.compress.importance import FEWEST_ROWS
from shipworthy.compress.lever_settings import plain
from shipworthy.core.locale import text

if TYPE_CHECKING:
    from shipworthy.compress.settings import CompressSettings

Key: TypeAlias = str | int

_BLOCKS = ("num_hidden_layers", "n_layers")
_NEURONS = ("intermediate_size", "hidden_dim")
_HEADS = ("num_attention_heads", "n_heads")
_HIDDEN = ("hidden_size", "dim")
_LOOK_AT_CALIBRATION = ("neurons", "heads", "low_rank", "threshold")
"""Levers that look at calibration rows, unless they are told to look at weights alone."""


@dataclass(frozen=True)
class Shape:
    """How large a model is; None for what its configuration does not say.

    width: of a head, where the hidden width has to be a multiple of it.
    """

    blocks: int | None = None
    hidden: int | None = None
    neurons: int | None = None
    tokens: int | None = None
    width: int | None = None


@dataclass(frozen=True)
class Misfit:
    """A value that this model cannot have. path: of keys, below `compress.recipes`."""

    path: tuple[Key, ...]
    problem: str
    fix: str


def shape_of(config: Mapping[str, Any]) -> Shape:
    """Return the shape that a `config.json` tells of.

    >>> shape_of({"n_layers": 6, "dim": 768, "n_heads": 12, "hidden_dim": 3072}).width
    64
    """
    hidden, heads = _number(config, _HIDDEN), _number(config, _HEADS)
    # Llama and its like say how wide a head is; of the others the hidden width decides.
    free = "head_dim" in config or "num_key_value_heads" in config
    bound = hidden is not None and heads is not None and not free
    return Shape(
        blocks=_number(config, _BLOCKS),
        hidden=hidden,
        neurons=_number(config, _NEURONS),
        tokens=_number(config, ("vocab_size",)),
        width=hidden // heads if bound and hidden is not None and heads else None,
    )


def _number(config: Mapping[str, Any], names: Sequence[str]) -> int | None:
    found = next((config[name] for name in names if name in config), None)
    whole = isinstance(found, int) and not isinstance(found, bool) and found > 0
    return found if whole else None


def misfits(
    settings: CompressSettings, shape: Shape, *, groups: Sequence[str] = ()
) -> Iterator[Misfit]:
    """Yield what the recipes ask for and this model does not have, in their order.

    groups: columns of `data.groups`.
    """
    if settings.recipes == "auto":
        return
    for place, recipe in enumerate(settings.recipes):
        told: Any = recipe if isinstance(recipe, str) else plain(recipe)
        several = isinstance(told, dict) and "steps" in told
        here = shape
        for number, step in enumerate(told["steps"] if several else [told]):
            if isinstance(step, str):
                continue
            ((key, options),) = step.items()
            at = (place, "steps", number, key) if several else (place, key)
            if isinstance(options, dict) and options.get("balance") == "groups" and not groups:
                yield _misfit((*at, "balance"), "groups")
            wrong = list(_of_step(key, options, here))
            for path, name, words in wrong:
                yield _misfit((*at, *path), name, **words)
            here = here if wrong else _after(key, options, here)


def too_few_rows(settings: CompressSettings, rows: int) -> Misfit | None:
    """Return the first recipe that looks at calibration rows, where there are too few of them."""
    if rows >= FEWEST_ROWS or settings.recipes == "auto":
        return None
    for place, recipe in enumerate(settings.recipes):
        told: Any = {"steps": [recipe]} if isinstance(recipe, str) else plain(recipe)
        for step in told.get("steps", [told]):
            if isinstance(step, dict) and any(_looks(key, step[key]) for key in step):
                return _misfit((place,), "rows", rows=rows, least=FEWEST_ROWS)
    return None


def _looks(key: str, options: Any) -> bool:
    if key == "distill":
        return "neurons" in options or "hidden" in options
    if key == "int8":
        return bool(options.get("ranges") == "static")
    if key == "prune":
        return bool(options.get("method") == "wanda")
    return key in _LOOK_AT_CALIBRATION and options.get("score") != "magnitude"


_Wrong: TypeAlias = tuple[tuple[Key, ...], str, dict[str, Any]]


def _of_step(key: str, options: Any, shape: Shape) -> Iterator[_Wrong]:
    """Yield keys, the kind of misfit and its words for one step."""
    if key == "layers":
        yield from _absent((), options, shape.blocks)
        if shape.blocks is not None and len(options) == shape.blocks:
            yield (), "all", {"count": shape.blocks}
    elif key in ("int8", "int4", "quantization_aware"):
        yield from _absent(("keep_float",), options.get("keep_float", ()), shape.blocks)
    elif key in ("prune", "heads", "low_rank"):
        yield from _absent(("keep",), options.get("keep", ()), shape.blocks)
        if options.get("pattern") == "2:4":
            odd = next((n for n in (shape.hidden, shape.neurons) if n is not None and n % 4), None)
            if odd is not None:
                yield ("pattern",), "fours", {"columns": odd}
    elif key == "neurons":
        yield from _none_left((), options["share"], shape.neurons)
    elif key == "vocabulary" and "words" in options and shape.tokens is not None:
        if options["words"] >= shape.tokens:
            yield ("words",), "words", {"words": options["words"], "count": shape.tokens}
    elif key == "distill":
        yield from _of_student(options, shape)


def _of_student(options: Mapping[str, Any], shape: Shape) -> Iterator[_Wrong]:
    layers, hidden = options.get("layers"), options.get("hidden")
    if isinstance(layers, int):
        if shape.blocks is not None and layers > shape.blocks:
            yield ("layers",), "student", {"wanted": layers, "count": shape.blocks}
    elif layers is not None:
        yield from _absent(("layers",), layers, shape.blocks)
    if "neurons" in options:
        yield from _none_left(("neurons",), options["neurons"], shape.neurons)
    if hidden is not None and shape.hidden is not None:
        if hidden >= shape.hidden:
            yield ("hidden",), "hidden", {"hidden": hidden, "whole": shape.hidden}
        elif shape.width is not None and hidden % shape.width:
            below = max(1, hidden // shape.width) * shape.width
            yield ("hidden",), "heads", {"hidden": hidden, "width": shape.width, "below": below}


def _absent(path: tuple[Key, ...], asked: Sequence[Any], count: int | None) -> Iterator[_Wrong]:
    numbers = [n for n in asked if isinstance(n, int) and count is not None and n >= count]
    if numbers and count is not None:
        yield path, "block", {"number": numbers[0], "count": count, "last": count - 1}


def _none_left(path: tuple[Key, ...], share: float, count: int | None) -> Iterator[_Wrong]:
    if count is not None and round(share * count) >= count:
        yield path, "neurons", {"share": f"{share:g}", "count": count}


def _after(key: str, options: Any, shape: Shape) -> Shape:
    """Return the shape that a step leaves."""
    if key == "layers":
        return replace(shape, blocks=len(options))
    if key == "vocabulary":
        # Of `seen` only the texts say how many stay.
        return replace(shape, tokens=options.get("words"))
    if key == "neurons":
        return replace(shape, neurons=_fewer(shape.neurons, options["share"]))
    if key == "distill":
        layers = options.get("layers", shape.blocks)
        return replace(
            shape,
            blocks=layers if layers is None or isinstance(layers, int) else len(layers),
            hidden=options.get("hidden", shape.hidden),
            neurons=_fewer(shape.neurons, options.get("neurons", 0.0)),
        )
    return shape


def _fewer(count: int | None, share: float) -> int | None:
    return None if count is None else count - round(share * count)


def _misfit(path: tuple[Key, ...], name: str, **words: Any) -> Misfit:
    return Misfit(
        path, text(f"error.fits.{name}", **words), text(f"error.fits.{name}.fix", **words)
    )
