"""Times, rates and sizes of planted models: well inside every limit, or beyond one of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

import numpy as np

from shipworthy.core.records import Limit, RelativeTo
from shipworthy.measure.catalogue import MEASURES
from shipworthy.measure.estimates import Estimate, Fact
from shipworthy.measure.speed_means import SPEED_MEASURES, speed_estimates
from shipworthy.measure.speed_records import SpeedRecords

Numbers: TypeAlias = Mapping[tuple[str, RelativeTo], Estimate]

PROCESSES = 7
EXCESS = 1.5
"""How far a slow or an oversized model is beyond its limit, as a factor."""

_INSIDE = 1.4
"""How far a good model is inside, as a factor."""

_INWARD, _OUTWARD = -0.01, 0.25
"""How far from its bound a share or an effect of a good and of a bad model lies."""

_MOVED = 0.05
"""How far a batch moves a probability of the model that is planted for it, at least."""

_NO_LIMIT = 10.0
_NOISE = 0.01
_SEED = 20_260_101


def with_numbers(limits: Sequence[Limit]) -> tuple[Limit, ...]:
    """Return the limits with a number for each bound that names another measure.

    It is that of the good model.
    """
    plain = [li for li in limits if not isinstance(li.bound, str)]
    return tuple(
        replace(li, bound=_levels(plain, li.bound)[1]) if isinstance(li.bound, str) else li
        for li in limits
    )


class Machine:
    """What would be timed and weighed of a parent and of the models planted beside it.

    limits: those that count, with numbers as bounds.
    """

    def __init__(self, limits: Sequence[Limit]) -> None:
        self._level = {
            measure: _levels(limits, measure)
            for measure, kind in MEASURES.items()
            if kind.kind in ("speed", "fact")
        }
        self.parent = self._numbers("parent", {m: level[0] for m, level in self._level.items()})
        good = self._numbers("good", {m: level[1] for m, level in self._level.items()})
        asked = [li for li in limits if MEASURES[li.measure].kind == "probe"]
        self.good: Numbers = {
            **good,
            **{k: v for li in asked for k, v in _probed(asked, li, _INWARD)},
        }

    def beyond(self, limit: Limit) -> Numbers:
        """Return the numbers of a model that is good but for the measure of one limit."""
        if MEASURES[limit.measure].kind == "probe":
            return {**self.good, **dict(_probed([limit], limit, _OUTWARD))}
        low = MEASURES[limit.measure].better == "low"
        bound = float(limit.bound)
        bound *= self._level[limit.measure][0] if limit.relative_to == "parent" else 1.0
        value = bound * EXCESS if low else bound / EXCESS
        if MEASURES[limit.measure].of_data and low and bound < 1.0:
            value = 1.0  # all rows, or one part more
        if MEASURES[limit.measure].alone:
            value = min(max(value, _MOVED), 1.0)  # no probability moves by more than 1
        return {**self.good, **self._numbers("beyond", {limit.measure: value})}

    def _numbers(self, name: str, values: Mapping[str, float]) -> Numbers:
        facts: dict[tuple[str, RelativeTo], Estimate] = {
            (measure, "none"): Fact(np.array([value]))
            for measure, value in values.items()
            if measure not in SPEED_MEASURES
        }
        timed = {m: v for m, v in values.items() if m in SPEED_MEASURES}
        rows = [
            row
            for measure, value in timed.items()
            for who, level in {"parent": self._level[measure][0], name: value}.items()
            for row in _processes(who, measure, level)
        ]
        records = SpeedRecords.of(rows)
        speeds = speed_estimates(records, name, parent="parent")
        return {**facts, **{key: e for key, e in speeds.items() if key[0] in timed}}


def _levels(limits: Sequence[Limit], measure: str) -> tuple[float, float]:
    """Return what the parent has and what a good model has, inside every limit on its good side.

    A limit on the other side is none that a bad model could break.
    """
    low = MEASURES[measure].better == "low"
    strictest, inside = (min, 1 / _INSIDE) if low else (max, _INSIDE)
    bounds: dict[str, list[float]] = {"none": [], "parent": []}
    for li in limits:
        if li.measure == measure and li.side == ("at_most" if low else "at_least"):
            bounds[li.relative_to].append(float(li.bound))
    if MEASURES[measure].of_data and low:  # nothing is wrong with a good model's
        return 0.0, 0.0
    parent = strictest(bounds["none"], default=_NO_LIMIT) * inside
    ends = [*bounds["none"], *(ratio * parent for ratio in bounds["parent"])]
    return parent, strictest([parent, *ends]) * inside


def _probed(
    limits: Sequence[Limit], limit: Limit, step: float
) -> Iterator[tuple[tuple[str, RelativeTo], Estimate]]:
    """Yield what prompts of their own say: a step from the strictest bound of limits like this."""
    low = limit.side == "at_most"
    bounds = [
        float(li.bound)
        for li in limits
        if (li.measure, li.relative_to, li.side) == (limit.measure, limit.relative_to, limit.side)
    ]
    value = min(bounds) + step if low else max(bounds) - step
    yield (limit.measure, limit.relative_to), Fact(np.array([value]))


def _processes(candidate: str, measure: str, level: float) -> Iterator[dict[str, Any]]:
    # Each its own noise: figures that are equal to the last bit have no error to be judged by.
    generator = np.random.default_rng([_SEED, *f"{candidate} {measure}".encode()])
    for number, noise in enumerate(generator.normal(0.0, _NOISE, PROCESSES).tolist()):
        yield {
            "candidate": candidate, "measure": measure, "value": level * float(np.exp(noise)),
            "round": number, "position": 0, "requests": 400, "dropped": 20, "settled": True,
            "form": "full", "threads": 1, "seed": 0, "artefact_digest": candidate,
            "device_flags": "",
        }  # fmt: skip
