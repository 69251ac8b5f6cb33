"""Labels and predictions of planted models of numbers: inside every limit, or off by a lot.

A good model errs by a normal size that follows from the strictest limit, alike in all groups and
on average by nothing; its parent errs on the same rows by the same, and by as much more as a limit
on the change asks it to have gained. A harmed row is off by many times what the limits allow.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from shipworthy.measure.catalogue import MEASURES, NUMBER

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from shipworthy.core.records import Limit

    FloatArray: TypeAlias = NDArray[np.float64]
    BoolArray: TypeAlias = NDArray[np.bool_]

ROOM = 2.0
"""A good model's errors are this many times smaller than the strictest limit allows."""

OFF = 20.0
"""A harmed row is off by this many times the strictest bound, or a good model's error."""

_MEAN_SIZE = math.sqrt(2 / math.pi)
"""Mean of |z| for a normal z of deviation 1."""

_WORSE = 1.02
"""A parent errs by this factor more than a good candidate, so that "no worse" can be shown."""

_WIDE = 20.0
"""Deviation of the labels over a good model's error: 1 - r2 is then 1 / 400."""


@dataclass(frozen=True, eq=False)
class PlantedNumbers:
    """label: shape (n,); errors: of the parent and of a good model; off: of a harmed row."""

    label: FloatArray
    errors: tuple[FloatArray, FloatArray]
    off: float

    def of(self, who: int, harmed: BoolArray, *, low: bool) -> Mapping[str, FloatArray]:
        """Return the numbers of the parent (0) or of a good model (1), some rows of it harmed."""
        off = -self.off if low else self.off
        error = np.where(harmed, self.errors[who] + off, self.errors[who])
        return {"label": self.label, "prediction": self.label + error}


def planted_numbers(limits: Sequence[Limit], luck: FloatArray) -> PlantedNumbers | None:
    """Return them for the limits on numbers; None where there are none.

    luck: of each row, in (0, 1), evenly spread, shape (n,).
    """
    asked = [li for li in limits if MEASURES[li.measure].values == NUMBER]
    if not asked:
        return None
    sizes, gained = [], 0.0
    for limit in asked:
        bound = float(limit.bound)
        if limit.relative_to == "parent":
            better = -bound if limit.side == "at_most" else bound
            if limit.measure != "mean_error":
                gained = max(gained, better if limit.measure != "r2" else 0.0)
        elif limit.measure == "mean_absolute_error" and limit.side == "at_most" and bound > 0:
            sizes.append(bound / _MEAN_SIZE)
        elif limit.measure == "root_mean_squared_error" and limit.side == "at_most" and bound > 0:
            sizes.append(bound)
        elif limit.measure == "mean_error" and bound != 0:
            sizes.append(ROOM * abs(bound))
    size = min(sizes, default=1.0) / ROOM
    from scipy.special import ndtri

    # Signs and sizes of errors know nothing of the labels: another turn of the same luck.
    error = size * ndtri(np.clip((luck * 0.7548776662466927 * 1e4) % 1.0, 1e-6, 1 - 1e-6))
    error = error - error.mean()
    label = _WIDE * size * ndtri(np.clip(luck, 1e-6, 1 - 1e-6))
    # Errors of a parent that a candidate has to beat are larger by what is asked, and more.
    factor = _WORSE + 3.0 * gained / (size * _MEAN_SIZE)
    bounds = [abs(float(li.bound)) for li in asked if MEASURES[li.measure].better == "low"]
    return PlantedNumbers(label, (factor * error, error), OFF * max([size, *bounds]))
