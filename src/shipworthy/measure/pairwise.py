"""How far groups lie apart in a number that is no share, from the interval of each group.

The rule of `spread.py` for numbers with intervals of their own: the interval of a difference of
two groups comes from theirs by the method of variance estimates recovery (Zou & Donner 2008); the
high end is the largest upper end over ordered pairs, the low end the largest lower end at the
level divided by their number.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from shipworthy.measure.intervals import Interval

if TYPE_CHECKING:
    from numpy.typing import NDArray

    FloatArray: TypeAlias = NDArray[np.float64]
    Ends: TypeAlias = Callable[[float], Interval]


@dataclass(frozen=True)
class Apart:
    """A difference between two groups. highest, lowest: their places among the groups, or -1."""

    value: float
    low: float
    high: float
    highest: int
    lowest: int


def difference(values: FloatArray, ends: Interval) -> Interval:
    """Interval of each ordered difference first - second; values: (K,), ends: of the same level.

    Returns arrays of shape (K, K). Unknown ends are infinitely far.
    """
    with np.errstate(invalid="ignore"):
        down = np.nan_to_num(values - ends.low, nan=np.inf, posinf=np.inf)
        up = np.nan_to_num(ends.high - values, nan=np.inf, posinf=np.inf)
        apart = values[:, None] - values[None, :]
        return Interval(
            apart - np.hypot(down[:, None], up[None, :]),
            apart + np.hypot(up[:, None], down[None, :]),
        )


def spread_of(values: FloatArray, ends: Ends, alpha: float) -> Apart:
    """Highest minus lowest of K values; NaN ones are left out, fewer than two give NaN.

    ends(level): intervals of the groups with this one-sided level at each end.
    """
    known = np.flatnonzero(np.isfinite(values))
    if len(known) < 2:
        return Apart(np.nan, np.nan, np.nan, -1, -1)
    highest = int(known[np.argmax(values[known])])
    lowest = int(known[np.argmin(values[known])])
    pairs = len(known) * (len(known) - 1)
    off = ~np.eye(len(known), dtype=bool)

    def at(level: float) -> Interval:
        all_ends = ends(level)
        own = Interval(all_ends.low[known], all_ends.high[known])
        return difference(values[known], own)

    plain, corrected = at(alpha), at(alpha / pairs)
    return Apart(
        float(values[highest] - values[lowest]),
        max(float(corrected.low[off].max()), 0.0),
        float(plain.high[off].max()),
        highest,
        lowest,
    )


def against(values: FloatArray, ends: Ends, alpha: float, reference: int) -> list[Apart]:
    """Reference minus each group, in the order of the groups, the reference's own left out."""
    found = difference(values, ends(alpha))
    return [
        Apart(
            float(values[reference] - values[k]),
            float(found.low[reference, k]),
            float(found.high[reference, k]),
            reference,
            k,
        )
        if np.isfinite(values[reference]) and np.isfinite(values[k])
        else Apart(np.nan, np.nan, np.nan, reference, k)
        for k in range(len(values))
        if k != reference
    ]
