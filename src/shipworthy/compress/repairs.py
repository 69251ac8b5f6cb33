"""Recipes with one repair more: groups weighed alike, a recovery, thresholds tuned again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from shipworthy.compress.recipes import LEVERS, TRAINED, as_asked, kind_of, named, steps_of

if TYPE_CHECKING:
    from shipworthy.compress.recipes import Recipe

_SHAPED = (*LEVERS, "layers")


def repaired(recipe: Recipe, *, groups: bool) -> Recipe | None:
    """Return the recipe with one repair more, if there is one.

    groups: whether a group is to be helped: then every step weighs groups alike, calibration rows
    of fixed ranges too, before anything else is tried. Next, for recipes that change the shape, a
    recovery, and at last a threshold that is tuned.

    >>> cut = named({"neurons": 0.5})
    >>> repaired(cut, groups=True).name, repaired(cut, groups=False).name
    ('neurons-50-groups', 'neurons-50+recover')
    """
    steps: list[Any] = [as_asked(step) for step in steps_of(recipe)]
    alike = [_alike(step) for step in steps] if groups else steps
    if alike == steps:
        kinds = [kind_of(step) for step in steps_of(recipe)]
        shaped = [k for k, kind in enumerate(kinds) if kind in _SHAPED]
        balance = {"balance": "groups"} if groups else {}
        if not shaped:
            return None
        if not set(TRAINED) & set(kinds):
            # After the last step that changes the shape, before bits are saved.
            alike = [*steps[: shaped[-1] + 1], {"recover": balance}, *steps[shaped[-1] + 1 :]]
        elif "threshold" not in kinds:
            alike = [*steps, {"threshold": balance}]
        else:
            return None
    return named(alike[0] if len(alike) == 1 else {"steps": alike})


def keeps_shape(before: Recipe, after: Recipe) -> bool:
    """Say whether a repair changes values only, so that size and speed stay as they are.

    before, after: recipes; those of after are the steps of before, weighed otherwise, and perhaps
    trainings or thresholds between them.

    >>> alike = {"neurons": {"share": 0.5, "balance": "groups"}}
    >>> keeps_shape(named({"neurons": 0.5}), named(alike))
    True
    >>> keeps_shape(named("int8"), named({"int8": {"ranges": "static"}}))
    False
    """
    mending = ("recover", "threshold", "quantization_aware")
    lean = [_rows(as_asked(s)) for s in steps_of(before) if kind_of(s) not in mending]
    other = [_rows(as_asked(s)) for s in steps_of(after) if kind_of(s) not in mending]
    # How many tokens are seen often enough depends on whose texts are counted.
    counted = any("seen" in options for s in steps_of(before)
                  if isinstance(options := s.settings.get("vocabulary"), dict))  # fmt: skip
    return lean == other and not counted


def _rows(step: Any) -> Any:
    """Return a step without whose rows count; what is left decides the shape."""
    if not isinstance(step, dict):
        return step
    ((key, options),) = step.items()
    if not isinstance(options, dict):
        return {key: {"share": options}} if isinstance(options, float) else step
    left = {k: v for k, v in options.items() if k != "balance"}
    return {key: left}


def _alike(step: Any) -> Any:
    """Return a step that weighs groups alike, where it can."""
    if not isinstance(step, dict):
        return step
    ((key, options),) = step.items()
    if key == "int8" and options.get("ranges") == "static":
        return {key: {**options, "balance": "groups"}}
    if key not in LEVERS:
        return step
    long = options if isinstance(options, dict) else {"share": options}
    return {key: {**long, "balance": "groups"}}
