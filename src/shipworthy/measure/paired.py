"""Change of a share on the same rows: tests and intervals from the rows that flipped.

lost counts rows right before and wrong after, gained the opposite; change = (gained - lost) / n.
Tango's score test decides, Bonett–Price guards a "fail" at few flips, exact McNemar is only shown.
Counts may be fractions: a design effect divides lost, gained and n alike.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from shipworthy.measure.intervals import (
    CountError,
    Interval,
    binomial_tail_below,
    counts_of,
    critical,
    crossing,
)

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    FloatArray: TypeAlias = NDArray[np.float64]


def tango_z(lost: ArrayLike, gained: ArrayLike, n: ArrayLike, delta: ArrayLike) -> FloatArray:
    """Score statistic of H0: change = delta (Tango 1998, eq. 8 with its closed-form estimate).

    Positive where the observed change lies above delta. lost, gained, n, delta broadcast to (m,).
    Nothing against H0 (0/0, as with no flips at delta 0) is 0; a delta that cannot be (beyond
    -1 or 1) is minus or plus infinity; n of 0 is NaN. Swapping lost and gained and the sign of
    delta flips the sign exactly.
    Raises CountError where lost + gained exceed n.
    """
    lost, gained, n, delta = _flips(lost, gained, n, delta)
    swap = delta < 0
    b, c, d = np.where(swap, lost, gained), np.where(swap, gained, lost), np.abs(delta)
    inside = np.minimum(d, 1.0)
    spread = inside * (1 - inside)
    # Maximum likelihood under H0: 2n q² + B q - c d(1 - d) = 0, q = P(c), P(b) = q + d.
    linear = (2 * n - b + c) * inside - b - c
    root = np.sqrt(linear**2 + 8 * n * c * spread)
    with np.errstate(invalid="ignore", divide="ignore"):
        q = np.where(linear > 0, 2 * c * spread / (root + linear), (root - linear) / (4 * n))
        distance = b - c - n * inside
        z = distance / np.sqrt(n * (2 * q + spread))
    z = np.where(np.abs(distance) <= 1e-12 * n, 0.0, z)
    z = np.where(d > 1, -np.inf, z)
    return np.where(n > 0, np.where(swap, -z, z), np.nan)


def tango(
    lost: ArrayLike,
    gained: ArrayLike,
    n: ArrayLike,
    *,
    confidence: ArrayLike = 0.95,
    df: ArrayLike | None = None,
) -> Interval:
    """Score interval for the change: every delta that `tango_z` does not reject.

    df (units - 1) asks for t instead of normal critical values. Ends lie in [-1, 1]; n of 0 is NaN.

    >>> ends = tango([3], [9], [32])
    >>> ends.low.round(3).tolist(), ends.high.round(3).tolist()
    ([-0.027], [0.39])
    """
    lost, gained, n, z = _flips(lost, gained, n, critical(confidence, df))
    # Both ends in one search: the high end is the low end of the mirrored change.
    down, up = np.stack([lost, gained]), np.stack([gained, lost])
    with np.errstate(invalid="ignore", divide="ignore"):
        change = (up - down) / n
    ends = crossing(lambda d: tango_z(down, up, n, d), z, np.full_like(change, -1.0), change)
    ends = np.where(n > 0, np.minimum(ends, change), np.nan)
    return Interval(ends[0], -ends[1])


def bonett_price_z(
    lost: ArrayLike, gained: ArrayLike, n: ArrayLike, delta: ArrayLike
) -> FloatArray:
    """Wald statistic after adding one row to each kind of flip (Bonett & Price 2012)."""
    lost, gained, n, delta = _flips(lost, gained, n, delta)
    change, error = _adjusted(lost, gained, n)
    z = (change - delta) / error
    z = np.where(np.abs(delta) > 1, np.copysign(np.inf, -delta), z)
    return np.where(n > 0, z, np.nan)


def bonett_price(
    lost: ArrayLike,
    gained: ArrayLike,
    n: ArrayLike,
    *,
    confidence: ArrayLike = 0.95,
    df: ArrayLike | None = None,
) -> Interval:
    """Adjusted Wald interval for the change (Bonett & Price 2012), clipped to [-1, 1]."""
    lost, gained, n, z = _flips(lost, gained, n, critical(confidence, df))
    change, error = _adjusted(lost, gained, n)
    return Interval(
        np.where(n > 0, np.maximum(change - z * error, -1.0), np.nan),
        np.where(n > 0, np.minimum(change + z * error, 1.0), np.nan),
    )


def change_difference_z(
    lost: ArrayLike, gained: ArrayLike, n: ArrayLike,
    other_lost: ArrayLike, other_gained: ArrayLike, other_n: ArrayLike,
) -> FloatArray:  # fmt: skip
    """Wald statistic of "both changes are equal" for disjoint rows, each adjusted as above.

    Positive where the first change lies above the other; each has its own variance, so that rows
    which flip often both ways are not taken for rows that are harmed.
    """
    first = _adjusted(*_flips(lost, gained, n, 0.0)[:3])
    other = _adjusted(*_flips(other_lost, other_gained, other_n, 0.0)[:3])
    return np.asarray((first[0] - other[0]) / np.hypot(first[1], other[1]))


def mcnemar_exact(lost: ArrayLike, gained: ArrayLike) -> FloatArray:
    """Two-sided exact p of "as many lost as gained" (McNemar 1947); shown, never decides.

    No flips at all give 1.

    >>> mcnemar_exact([1], [7]).round(6).tolist()
    [0.070312]
    """
    lost, gained = np.broadcast_arrays(
        np.asarray(lost, dtype=np.float64), np.asarray(gained, dtype=np.float64)
    )
    flips = lost + gained
    p = 2 * binomial_tail_below(np.minimum(lost, gained), flips, 0.5)
    return np.where(flips > 0, np.minimum(p, 1.0), 1.0)


def _adjusted(lost: FloatArray, gained: FloatArray, n: FloatArray) -> tuple[FloatArray, FloatArray]:
    up, down = (gained + 1) / (n + 2), (lost + 1) / (n + 2)
    return up - down, np.sqrt((up + down - (up - down) ** 2) / (n + 2))


def _flips(
    lost: ArrayLike, gained: ArrayLike, n: ArrayLike, other: ArrayLike
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    arrays = [np.asarray(a, dtype=np.float64) for a in (lost, gained, n, other)]
    lost, gained, n, other = np.broadcast_arrays(*arrays)
    if np.any(lost < 0) or np.any(gained < 0):
        raise CountError("lost and gained must not be negative")
    counts_of(lost + gained, n)
    return lost, gained, n, other
