"""Difference and ratio of one share between two disjoint groups, from counts.

Difference: Miettinen–Nurminen with Agresti–Caffo as its guard (Newcombe for display only). Ratio:
Koopman's score with the N/(N - 1) factor of Miettinen and Nurminen, with an adjusted Wald guard.
Counts may be fractions: a design effect divides x and n alike. A group without rows gives NaN.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from shipworthy.measure.intervals import Interval, counts_of, critical, crossing, wilson

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    FloatArray: TypeAlias = NDArray[np.float64]
    Counts: TypeAlias = tuple[FloatArray, FloatArray, FloatArray, FloatArray]

_LOG_RATIO_RANGE = 50.0


def miettinen_nurminen_z(
    x1: ArrayLike, n1: ArrayLike, x2: ArrayLike, n2: ArrayLike, delta: ArrayLike
) -> FloatArray:
    """Score statistic of H0: p1 - p2 = delta (Miettinen & Nurminen 1985, eq. 8 and appendix I).

    Positive where the observed difference lies above delta. The restricted estimates come from the
    cubic in closed form; the variance carries N / (N - 1). 0/0 is 0, a delta beyond -1 or 1 minus
    or plus infinity. Swapping the groups and the sign of delta flips the sign exactly.
    """
    x1, n1, x2, n2, delta = _two(x1, n1, x2, n2, delta)
    swap = delta < 0
    a, m, b, k = _swapped(swap, (x1, n1, x2, n2))
    d = np.minimum(np.abs(delta), 1.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        second = _restricted_rate(a, m, b, k, d)
        first = np.minimum(second + d, 1.0)
        distance = a / m - b / k - d
        variance = first * (1 - first) / m + second * (1 - second) / k
        z = distance / np.sqrt(variance * _inflation(m + k))
    z = np.where(np.abs(distance) <= 1e-12, 0.0, z)
    z = np.where(np.abs(delta) > 1, -np.inf, z)
    return np.where((n1 > 0) & (n2 > 0), np.where(swap, -z, z), np.nan)


def miettinen_nurminen(
    x1: ArrayLike,
    n1: ArrayLike,
    x2: ArrayLike,
    n2: ArrayLike,
    *,
    confidence: ArrayLike = 0.95,
    df: ArrayLike | None = None,
) -> Interval:
    """Score interval for p1 - p2: every delta that `miettinen_nurminen_z` does not reject.

    >>> ends = miettinen_nurminen([5], [56], [0], [29])
    >>> ends.low.round(4).tolist(), ends.high.round(4).tolist()
    ([-0.0326], [0.1933])
    """
    x1, n1, x2, n2, z = _two(x1, n1, x2, n2, critical(confidence, df))
    # Both ends in one search: the high end is the low end with the groups swapped.
    xa, na, xb, nb = (np.stack(pair) for pair in ((x1, x2), (n1, n2), (x2, x1), (n2, n1)))
    with np.errstate(invalid="ignore", divide="ignore"):
        difference = xa / na - xb / nb
    ends = crossing(
        lambda d: miettinen_nurminen_z(xa, na, xb, nb, d),
        z,
        np.full_like(difference, -1.0),
        difference,
    )
    ends = np.where((n1 > 0) & (n2 > 0), np.minimum(ends, difference), np.nan)
    return Interval(ends[0], -ends[1])


def agresti_caffo_z(
    x1: ArrayLike, n1: ArrayLike, x2: ArrayLike, n2: ArrayLike, delta: ArrayLike
) -> FloatArray:
    """Wald statistic of p1 - p2 = delta after one success and one failure more in each group.

    Agresti & Caffo 2000.
    """
    x1, n1, x2, n2, delta = _two(x1, n1, x2, n2, delta)
    difference, error = _plus_four(x1, n1, x2, n2, np.ones_like(x1))
    z = (difference - delta) / error
    z = np.where(np.abs(delta) > 1, np.copysign(np.inf, -delta), z)
    return np.where((n1 > 0) & (n2 > 0), z, np.nan)


def agresti_caffo(
    x1: ArrayLike,
    n1: ArrayLike,
    x2: ArrayLike,
    n2: ArrayLike,
    *,
    confidence: ArrayLike = 0.95,
    df: ArrayLike | None = None,
) -> Interval:
    """Adjusted Wald interval for p1 - p2 (Agresti & Caffo 2000), clipped to [-1, 1].

    >>> agresti_caffo([7], [34], [1], [34]).low.round(4).tolist()
    [0.0116]
    """
    x1, n1, x2, n2, z = _two(x1, n1, x2, n2, critical(confidence, df))
    difference, error = _plus_four(x1, n1, x2, n2, np.ones_like(x1))
    known = (n1 > 0) & (n2 > 0)
    return Interval(
        np.where(known, np.maximum(difference - z * error, -1.0), np.nan),
        np.where(known, np.minimum(difference + z * error, 1.0), np.nan),
    )


def newcombe(
    x1: ArrayLike, n1: ArrayLike, x2: ArrayLike, n2: ArrayLike, *, confidence: ArrayLike = 0.95
) -> Interval:
    """Hybrid score interval for p1 - p2 from two Wilson intervals (Newcombe 1998, method 10).

    For display only: with very unequal groups its one-sided errors exceed the level.
    """
    x1, n1, x2, n2, _ = _two(x1, n1, x2, n2, 0.0)
    one, two = wilson(x1, n1, confidence=confidence), wilson(x2, n2, confidence=confidence)
    with np.errstate(invalid="ignore", divide="ignore"):
        p1, p2 = x1 / n1, x2 / n2
    return Interval(
        p1 - p2 - np.hypot(p1 - one.low, two.high - p2),
        p1 - p2 + np.hypot(one.high - p1, p2 - two.low),
    )


def koopman_z(
    x1: ArrayLike, n1: ArrayLike, x2: ArrayLike, n2: ArrayLike, ratio: ArrayLike
) -> FloatArray:
    """Score statistic of H0: p1 / p2 = ratio (Koopman 1984) with N / (N - 1) in the variance.

    Positive where the observed ratio lies above. Two groups without successes say nothing (0).
    A negative ratio cannot be true: plus infinity. Swapping the groups and inverting the ratio
    flips the sign.
    """
    x1, n1, x2, n2, ratio = _two(x1, n1, x2, n2, ratio)
    swap = ratio > 1
    a, m, b, k = _swapped(swap, (x1, n1, x2, n2))
    with np.errstate(invalid="ignore", divide="ignore"):
        r = np.clip(np.where(swap, 1 / ratio, ratio), 0.0, 1.0)
        # Maximum likelihood under H0: r N q² - B q + x = 0, smaller root, P(first) = r q.
        linear = r * (m + b) + a + k
        root = np.sqrt(np.maximum(linear**2 - 4 * r * (m + k) * (a + b), 0.0))
        second = np.minimum(2 * (a + b) / (linear + root), 1.0)
        first = r * second
        distance = a / m - r * b / k
        variance = first * (1 - first) / m + r**2 * second * (1 - second) / k
        z = distance / np.sqrt(variance * _inflation(m + k))
    z = np.where(np.abs(distance) <= 1e-14 * r, 0.0, z)
    z = np.where(ratio < 0, np.inf, z)
    return np.where((n1 > 0) & (n2 > 0), np.where(swap, -z, z), np.nan)


def koopman(
    x1: ArrayLike,
    n1: ArrayLike,
    x2: ArrayLike,
    n2: ArrayLike,
    *,
    confidence: ArrayLike = 0.95,
    df: ArrayLike | None = None,
) -> Interval:
    """Score interval for p1 / p2: every ratio that `koopman_z` does not reject, in [0, infinity].

    The low end is 0 where x1 is 0; the high end is infinite where x2 is 0: no data bounds it.

    >>> ends = koopman([7], [34], [1], [34])
    >>> ends.low.round(4).tolist(), ends.high.round(3).tolist()
    ([1.2086], [43.033])
    """
    x1, n1, x2, n2, z = _two(x1, n1, x2, n2, critical(confidence, df))
    xa, na, xb, nb = (np.stack(pair) for pair in ((x1, x2), (n1, n2), (x2, x1), (n2, n1)))
    with np.errstate(invalid="ignore", divide="ignore"):
        estimate = np.log(xa / na) - np.log(xb / nb)
    limit = np.full_like(xa, _LOG_RATIO_RANGE)
    start = np.where(np.isfinite(estimate), estimate, limit)
    logs = crossing(lambda t: koopman_z(xa, na, xb, nb, np.exp(t)), z, -limit, start)
    low = np.where((xa == 0) | np.isinf(z), 0.0, np.exp(np.minimum(logs, start)))
    low = np.where((n1 > 0) & (n2 > 0), low, np.nan)
    with np.errstate(divide="ignore", over="ignore"):
        return Interval(low[0], 1 / low[1])


def adjusted_wald_ratio_z(
    x1: ArrayLike, n1: ArrayLike, x2: ArrayLike, n2: ArrayLike, ratio: ArrayLike
) -> FloatArray:
    """Wald statistic of p1 - ratio p2 = 0 after one success and one failure more in each group."""
    x1, n1, x2, n2, ratio = _two(x1, n1, x2, n2, ratio)
    contrast, error = _plus_four(x1, n1, x2, n2, ratio)
    z = np.where(ratio < 0, np.inf, contrast / error)
    return np.where((n1 > 0) & (n2 > 0), z, np.nan)


def _restricted_rate(
    x1: FloatArray, n1: FloatArray, x2: FloatArray, n2: FloatArray, d: FloatArray
) -> FloatArray:
    """Maximum likelihood estimate of p2 under p1 = p2 + d, 0 <= d <= 1."""
    total, successes = n1 + n2, x1 + x2
    c2 = ((n1 + 2 * n2) * d - total - successes) / total
    c1 = ((n2 * d - total - 2 * x2) * d + successes) / total
    c0 = x2 * d * (1 - d) / total
    half = c2**3 / 27 - c1 * c2 / 6 + c0 / 2
    scale = np.sqrt(np.maximum(c2**2 / 9 - c1 / 3, 0.0))
    scale = np.where(half < 0, -scale, scale)
    cosine = np.clip(half / np.where(scale == 0, 1.0, scale**3), -1.0, 1.0)
    p = 2 * scale * np.cos((np.pi + np.arccos(cosine)) / 3) - c2 / 3
    p = np.clip(p, 0.0, 1 - d)
    # The arc cosine keeps half of the digits near a double root; Newton steps give them back.
    for _ in range(2):
        value = ((p + c2) * p + c1) * p + c0
        slope = (3 * p + 2 * c2) * p + c1
        closer = np.clip(p - value / np.where(slope == 0, np.inf, slope), 0.0, 1 - d)
        improved = np.abs(((closer + c2) * closer + c1) * closer + c0) < np.abs(value)
        p = np.where(improved, closer, p)
    return np.where(d == 0, successes / total, p)


def _plus_four(
    x1: FloatArray, n1: FloatArray, x2: FloatArray, n2: FloatArray, ratio: FloatArray
) -> tuple[FloatArray, FloatArray]:
    p1, p2 = (x1 + 1) / (n1 + 2), (x2 + 1) / (n2 + 2)
    variance = p1 * (1 - p1) / (n1 + 2) + ratio**2 * p2 * (1 - p2) / (n2 + 2)
    return p1 - ratio * p2, np.sqrt(variance)


def _inflation(total: FloatArray) -> FloatArray:
    return total / np.maximum(total - 1, 1e-9)


def _swapped(swap: NDArray[np.bool_], counts: Counts) -> Counts:
    x1, n1, x2, n2 = counts
    return (
        np.where(swap, x2, x1),
        np.where(swap, n2, n1),
        np.where(swap, x1, x2),
        np.where(swap, n1, n2),
    )


def _two(
    x1: ArrayLike, n1: ArrayLike, x2: ArrayLike, n2: ArrayLike, other: ArrayLike
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray, FloatArray]:
    first, second = counts_of(x1, n1), counts_of(x2, n2)
    a, m, b, k, o = np.broadcast_arrays(*first, *second, np.asarray(other, dtype=np.float64))
    return a, m, b, k, o
