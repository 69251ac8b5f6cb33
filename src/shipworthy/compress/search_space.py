"""What the search may choose of each lever, and the recipe that its choices spell.

A choice names a value of every dimension; the recipe leaves out what changes nothing. Many choices
spell the same recipe (a head cannot be mended that was not taken out), which is measured once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

Choice: TypeAlias = Mapping[str, Any]

WHOLE = "whole"
"""The value of a dimension that changes nothing."""


@dataclass(frozen=True)
class Space:
    """Dimensions by name, each with its values; all are plain values that JSON can hold.

    blocks: how many the parent has; tokens: of its vocabulary; grouped: whether there are groups to
    balance by.
    """

    blocks: int
    tokens: int
    grouped: bool

    @property
    def dimensions(self) -> dict[str, tuple[Any, ...]]:
        """Return the values of each dimension, the one that changes nothing first."""
        fewer = {max(1, round(self.blocks * part)) for part in (2 / 3, 1 / 2, 1 / 3)}
        words = {max(1, round(self.tokens * part)) for part in (1 / 2, 1 / 4)}
        return {
            "layers": (WHOLE, *sorted(fewer - {self.blocks}, reverse=True)),
            "neurons": (WHOLE, 0.25, 0.5, 0.75),
            "heads": (WHOLE, 0.25, 0.5),
            "rank": (WHOLE, 0.5),
            "words": (WHOLE, *sorted(words, reverse=True)),
            "mend": ("none", "recover", "distill"),
            "balance": ("rows", "groups") if self.grouped else ("rows",),
            "aware": ("no", "yes"),
            "last": ("none", "bf16", "onnx", "int8", "int8-static", "int8-weights", "int4"),
        }


def start(space: Space) -> list[dict[str, Any]]:
    """Return the choices that are tried first: each lever alone, then what usually goes together.

    Cheap ones come first, so that even a short search has something to show.
    """
    nothing = {name: values[0] for name, values in space.dimensions.items()}
    few, words = space.dimensions["layers"], space.dimensions["words"]
    half, quarter = few[min(2, len(few) - 1)], words[-1]
    told: list[dict[str, Any]] = [
        {"last": "int8"},
        {"last": "bf16"},
        {"last": "onnx"},
        {"last": "int8-static"},
        {"words": quarter, "last": "int8"},
        {"layers": half, "mend": "distill", "last": "int8"},
        {"neurons": 0.5, "mend": "recover", "last": "int8"},
        {"layers": half, "neurons": 0.5, "words": quarter, "mend": "distill", "last": "int8"},
        {"rank": 0.5, "mend": "recover", "last": "int8"},
        {"heads": 0.25, "mend": "recover", "last": "int8"},
        {"aware": "yes", "last": "int8"},
    ]
    if space.grouped:
        told.append({"neurons": 0.5, "mend": "recover", "balance": "groups", "last": "int8"})
    there = space.dimensions
    return [
        {**nothing, **one} for one in told if all(value in there[k] for k, value in one.items())
    ]


def asked(choice: Choice, space: Space) -> Any | None:
    """Return the recipe that a choice spells, as a project file writes it; None for the parent.

    >>> space = Space(blocks=6, tokens=30_000, grouped=False)
    >>> nothing = {name: values[0] for name, values in space.dimensions.items()}
    >>> asked({**nothing, "layers": 3, "mend": "recover", "last": "int8"}, space)
    {'steps': [{'layers': [0, 2, 5]}, {'recover': {}}, 'int8']}
    >>> asked({**nothing, "mend": "recover"}, space) is None
    True
    """
    balance = {} if choice["balance"] == "rows" else {"balance": choice["balance"]}
    layers, neurons = choice["layers"], choice["neurons"]
    steps: list[Any] = []
    if choice["words"] != WHOLE:
        steps.append({"vocabulary": {"words": choice["words"], **balance}})
    smaller = _student(choice, space) if choice["mend"] == "distill" else {}
    if smaller:
        # The student is cut out of its teacher by the same step that trains it.
        steps.append({"distill": {**smaller, **balance}})
    else:
        if layers != WHOLE:
            steps.append({"layers": list(spread(space.blocks, layers))})
        if neurons != WHOLE:
            steps.append({"neurons": {"share": neurons, **balance}})
    if choice["heads"] != WHOLE:
        steps.append({"heads": {"share": choice["heads"], **balance}})
    if choice["rank"] != WHOLE:
        steps.append({"low_rank": {"share": choice["rank"]}})
    if steps and choice["mend"] == "recover":
        steps.append({"recover": balance})
    last = choice["last"]
    if last in ("none", "bf16") and (choice["heads"] != WHOLE or choice["rank"] != WHOLE):
        # Only a graph leaves out heads of zeros, and splits matrices of low rank.
        last = "onnx"
    if last == "int8" and choice["aware"] == "yes":
        steps.append({"quantization_aware": balance})
    if last == "int8-static":
        steps.append({"int8": {"ranges": "static"}})
    elif last == "int8-weights":
        steps.append({"int8": {"activations": "float"}})
    elif last != "none":
        steps.append(last)
    if not steps:
        return None
    return steps[0] if len(steps) == 1 else {"steps": steps}


def _student(choice: Choice, space: Space) -> dict[str, Any]:
    """Return what a student has less of than its teacher; nothing where it would be as large."""
    told: dict[str, Any] = {}
    if choice["layers"] != WHOLE:
        told["layers"] = list(spread(space.blocks, choice["layers"]))
    if choice["neurons"] != WHOLE:
        told["neurons"] = choice["neurons"]
    return told


def spread(blocks: int, kept: int) -> tuple[int, ...]:
    """Return the numbers of the blocks that stay, evenly apart, the first and the last among them.

    >>> spread(6, 4), spread(6, 2), spread(12, 1)
    ((0, 2, 3, 5), (0, 5), (0,))
    """
    if kept == 1:
        return (0,)
    return tuple(round(k * (blocks - 1) / (kept - 1)) for k in range(kept))
