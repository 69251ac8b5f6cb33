"""How far one number moved from one run to another, and whether that is more than chance.

On the same rows a change is paired: shares by Tango's score interval from the rows that flipped
(and it moved only where Bonett-Price agrees), other measures by their own paired rule. Without
common rows, and for spreads and timings, it is the difference (of times the ratio) of two
independent numbers, its interval put together from theirs (MOVER: Zou & Donner 2008). Facts have no
error.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from scipy.stats import norm, t

from shipworthy.core.records import Slice
from shipworthy.measure.catalogue import MEASURES
from shipworthy.measure.decide import assess, one_sided
from shipworthy.measure.estimates import Estimate, Unmeasured
from shipworthy.measure.quality import quality, right, same
from shipworthy.measure.rates import mean, paired_change
from shipworthy.measure.settings import LEAST_PROCESSES
from shipworthy.measure.slices import Partition
from shipworthy.model.predictions import Predictions
from shipworthy.release.compare_rows import Sides, equal_answers
from shipworthy.release.nulls import from_null

TURNED = ("turned_wrong", "turned_right")

Method = Literal["paired", "independent", "exact", "identical"]


@dataclass(frozen=True)
class Change:
    """A number before and after, on the scale of the table.

    value: after - before; for times and throughput after / before. low, high: interval at the
    confidence asked for. p: two-sided, of "it did not move"; NaN where nothing is tested.
    reason: why there is no p although there is a number; n: rows that were compared, of both runs
    where these are independent.
    """

    before: float
    after: float
    value: float
    low: float
    high: float
    p: float
    n: int
    kind: Method
    method: str
    reason: str = ""

    @property
    def is_ratio(self) -> bool:
        """Whether no change is 1 instead of 0."""
        return self.method.endswith("logs")


def paired(
    measure: str,
    relative_to: str,
    rows: Partition,
    before: Sides,
    after: Sides,
    *,
    confidence: float,
) -> dict[str, Change]:
    """Return the change of a measure on each slice of the shared rows, by the slice's JSON.

    Empty where the measure has no paired rule: spreads, times, facts, and what the answers lack.
    Before and after are those of the shared rows.
    """
    estimate = _estimate(measure, relative_to, rows, before, after)
    if estimate is None or isinstance(estimate, Unmeasured):
        return {}
    shown = assess(estimate, confidence=confidence)
    # "Outside" on either side: there the rules of the gate guard against too few flips.
    fell, rose = (
        one_sided(estimate, 0.0, side, alpha=(1 - confidence) / 2)
        for side in ("at_least", "at_most")
    )
    levels = [_level(measure, relative_to, rows, side, confidence) for side in (before, after)]
    found = {}
    for k, one in enumerate(rows.slices):
        reason = fell.reasons[k]
        same_artefact = reason == "identical"
        smaller = min(float(fell.p_fail[k]), float(rose.p_fail[k]))
        known = not reason and not math.isnan(smaller)
        found[one.json] = Change(
            before=float(levels[0][k]),
            after=float(levels[1][k]),
            value=float(shown.value[k]),
            low=float(shown.low[k]),
            high=float(shown.high[k]),
            p=min(1.0, 2 * smaller) if known else math.nan,
            n=round(float(shown.n[k])),
            kind="identical" if same_artefact else "paired",
            method="identical" if same_artefact else shown.method,
            reason="" if same_artefact else reason,
        )
    return found


def _estimate(
    measure: str, relative_to: str, rows: Partition, before: Sides, after: Sides
) -> Estimate | None:
    if MEASURES[measure].kind != "quality":
        return None
    everyone = np.ones(len(after.own), dtype=bool)
    if measure in TURNED:
        old, new = _turned(measure, before), _turned(measure, after)
        return paired_change(rows, everyone, old, new, False)
    if relative_to == "parent" and not equal_answers(before.parent, after.parent):
        if measure != "accuracy":
            return None
        gain = [right(s.own).astype(float) - right(s.parent) for s in (before, after)]
        return mean(rows, gain[1] - gain[0], reach=2.0, method="paired mean over units, t")
    if _lacks_a_class(measure, after.own):
        return None
    return quality(measure, rows, after.own, before.own)


def unmoved(before: Sides, after: Sides) -> bool:
    """Say whether one artefact answered the same in both runs, and its parent too."""
    return same(before.own, after.own) and same(before.parent, after.parent)


def still(before: Mapping[str, Any], after: Mapping[str, Any]) -> Change:
    """Return the change of a number of an artefact that answered the same: none, without error.

    before, after: rows of the tables, which may be of more rows than those in common.
    """
    values = stored(before), stored(after)
    return Change(*values, 0.0, 0.0, 0.0, math.nan, int(after["n"]), "identical", "identical")


def _lacks_a_class(measure: str, model: Predictions) -> bool:
    """Say whether a measure is of one class of two, and the runs do not agree which."""
    of_one = measure in ("f1", "precision", "recall")
    return of_one and model.positive is None and len(model.classes) == 2


def _turned(measure: str, side: Sides) -> np.ndarray[Any, np.dtype[np.bool_]]:
    before, after = right(side.parent), right(side.own)
    return before & ~after if measure == "turned_wrong" else after & ~before


def _level(
    measure: str, relative_to: str, rows: Partition, side: Sides, confidence: float
) -> np.ndarray[Any, np.dtype[np.float64]]:
    parent = side.parent if relative_to == "parent" else None
    estimate = quality(measure, rows, side.own, parent)
    if isinstance(estimate, Unmeasured):
        return np.full(rows.m, np.nan)
    return assess(estimate, confidence=confidence).value


def apart(before: Mapping[str, Any], after: Mapping[str, Any], *, confidence: float) -> Change:
    """Return the change between two rows of measurement tables, taken as independent."""
    measure = after["measure"]
    kind = MEASURES[measure].kind if measure in MEASURES else "quality"
    old, new = stored(before), stored(after)
    if kind == "fact":
        moved = new - old
        return Change(old, new, moved, moved, moved, math.nan, 0, "exact", "exact")
    if kind == "speed":
        return _timed(before, after, confidence)
    halves = [
        [(end - row["value"]) / _critical(row, row["confidence"]) for end in _ends(row)]
        for row in (before, after)
    ]
    (down_old, up_old), (down_new, up_new) = halves
    moved, df = new - old, min(_df(before), _df(after))
    reach = float(t.isf((1 - confidence) / 2, df))
    down, up = math.hypot(down_new, up_old), math.hypot(up_new, down_old)
    # A rise is tested by the ends that lie towards no change.
    spread = down if moved > 0 else up
    return Change(
        old, new, moved, moved - reach * down, moved + reach * up,
        p=_two_sided(moved, spread, df), n=int(before["n"]) + int(after["n"]),
        kind="independent", method="independent", reason="" if spread > 0 else "no_data",
    )  # fmt: skip


def _timed(before: Mapping[str, Any], after: Mapping[str, Any], confidence: float) -> Change:
    """Ratio of two timings, t on logs.

    Degrees of freedom are those of the fewest processes that any timing has: few enough for both.
    """
    old, new = stored(before), stored(after)
    df = LEAST_PROCESSES - 1.0
    errors = []
    for row in (before, after):
        low, high = (_log(end) for end in _ends(row))
        errors.append((high - low) / 2 / float(t.isf((1 - row["confidence"]) / 2, df)))
    moved, error = _log(new) - _log(old), math.hypot(*errors)
    half = float(t.isf((1 - confidence) / 2, df)) * error
    low, high = (math.exp(e) if not math.isnan(e) else e for e in (moved - half, moved + half))
    ratio = math.exp(moved) if not math.isnan(moved) else moved
    p = _two_sided(moved, error, df)
    return Change(
        old, new, ratio, low, high, p, 0, "independent", "independent, t on logs",
        reason="no_data" if math.isnan(p) else "",
    )  # fmt: skip


def stored(row: Mapping[str, Any]) -> float:
    """Return the value of a row of a table of measurements; NaN where it has none."""
    return from_null(row["value"])


def better(measure: str, change: Change) -> bool:
    """Say whether a change that is there is one for the better."""
    rises = change.value > (1.0 if change.is_ratio else 0.0)
    return rises == (MEASURES[measure].better == "high")


def columns_of_slice(slice: str) -> tuple[str, ...]:
    """Return the group columns of a slice's JSON, `{}` has none."""
    return Slice.parse(slice).columns


def _two_sided(moved: float, spread: float, df: float) -> float:
    if math.isnan(moved) or math.isnan(spread):
        return math.nan
    if spread == 0:
        return 1.0 if moved == 0 else math.nan
    return float(2 * t.sf(abs(moved) / spread, df))


def _critical(row: Mapping[str, Any], confidence: float) -> float:
    df = _df(row)
    tail = (1 - confidence) / 2
    return float(norm.isf(tail) if math.isinf(df) else t.isf(tail, df))


def _df(row: Mapping[str, Any]) -> float:
    """Degrees of freedom of a stored interval: units - 1 where units hold several rows."""
    units, n = row["n_units"], row["n"]
    return float(max(units - 1, 1)) if 0 < units < n else math.inf


def _ends(row: Mapping[str, Any]) -> tuple[float, float]:
    return from_null(row["low"]), from_null(row["high"])


def _log(value: float) -> float:
    return math.log(value) if value > 0 else math.nan
