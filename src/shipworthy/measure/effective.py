"""What rows are worth: design effect, degrees of freedom, exact tails, minimum, identity.

Clustered or weighted rows count as n / deff, the normal becomes t with units - 1 degrees of
freedom, and exact binomial ends follow Korn and Graubard (`docs/method.md`, units).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from shipworthy.measure.estimates import (
    ChangeMean,
    Estimate,
    F1Score,
    Mean,
    PairedChange,
    Rate,
    RateDifference,
    RateMean,
    RateRatio,
    Replicates,
    Spread,
)
from shipworthy.measure.intervals import (
    Interval,
    binomial_tail_above,
    binomial_tail_below,
    clopper_pearson,
    korn_graubard_n,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import ArrayLike, NDArray

    FloatArray: TypeAlias = NDArray[np.float64]
    Texts: TypeAlias = NDArray[np.object_]

MIN_ROWS = 20
"""Rows in a measure's own denominator below which no verdict is given."""

MIN_UNITS = 10
"""Sampling units below which no verdict is given."""

_SMALLEST_LEVEL = 1e-15


def scaled(count: ArrayLike, deff: ArrayLike) -> FloatArray:
    """A count after the design effect (which is never below 1)."""
    return np.asarray(count, dtype=np.float64) / np.maximum(np.asarray(deff, np.float64), 1.0)


def degrees(rows: ArrayLike, units: ArrayLike) -> FloatArray:
    """Degrees of freedom: units - 1 where units hold several rows, otherwise infinite."""
    n, groups = np.asarray(rows, dtype=np.float64), np.asarray(units, dtype=np.float64)
    return np.where(groups < n, groups - 1, np.inf)


def too_small(rows: ArrayLike, units: ArrayLike) -> Texts:
    """`no_data`, `too_few_rows` or `unit_count` where a denominator misses the minimum, else "".

    NaN rows or units mean that the estimate does not count them (a mean over processes).
    """
    n, groups = np.asarray(rows, dtype=np.float64), np.asarray(units, dtype=np.float64)
    reasons = np.where(groups < MIN_UNITS, "unit_count", "").astype(object)
    reasons = np.where(n < MIN_ROWS, "too_few_rows", reasons)
    return np.asarray(np.where(n <= 0, "no_data", reasons), dtype=object)


def denominators(estimate: Estimate) -> list[tuple[FloatArray, FloatArray]]:
    """(rows, units) of every denominator that must reach the minimum; facts have none.

    Those of a spread hold its groups on the last axis.
    """
    if isinstance(estimate, Rate):
        return [(estimate.trials, estimate.units)]
    if isinstance(estimate, F1Score):
        return denominators(estimate.jaccard)
    if isinstance(estimate, RateMean | Spread):
        return [(r.trials, r.units) for r in estimate.rates]
    if isinstance(estimate, ChangeMean):
        return [(c.n, c.units) for c in estimate.changes]
    if isinstance(estimate, RateDifference | RateRatio):
        return [(r.trials, r.units) for r in (estimate.first, estimate.second)]
    if isinstance(estimate, PairedChange | Mean | Replicates):
        return [(estimate.n, estimate.units)]
    return []


def same_artefact(estimate: Estimate) -> NDArray[np.bool_] | None:
    """Which slices were answered by the parent's own artefact; None where nothing can be."""
    if isinstance(estimate, PairedChange | Mean | Replicates):
        return np.asarray(estimate.identical, dtype=bool)
    if isinstance(estimate, ChangeMean):
        return np.asarray(np.all([c.identical for c in estimate.changes], axis=0), dtype=bool)
    return None


def share_of(rate: Rate) -> FloatArray:
    """Successes over trials; NaN where there are no trials."""
    return _over(rate.successes, rate.trials)


def change_of(change: PairedChange) -> FloatArray:
    """(gained - lost) / n; NaN where there are no rows."""
    return _over(np.asarray(change.gained, dtype=np.float64) - change.lost, change.n)


def jaccard_bound(bound: ArrayLike) -> FloatArray:
    """A bound on F1 as a bound on J = TP / (TP + FP + FN); one above 1 stays out of reach."""
    limit = np.asarray(bound, dtype=np.float64)
    return np.where(limit > 1, limit, limit / (2 - np.minimum(limit, 1.0)))


def flips_of(change: PairedChange) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """Lost, gained and n after the design effect, and the degrees of freedom."""
    deff = change.deff
    lost, gained = scaled(change.lost, deff), scaled(change.gained, deff)
    return lost, gained, scaled(change.n, deff), degrees(change.n, change.units)


def exact_ends(rate: Rate, alpha: ArrayLike) -> Interval:
    """Clopper-Pearson ends, alpha at each; Korn-Graubard where rows come in units."""
    n = korn_graubard_n(rate.trials, rate.units, rate.deff, alpha)
    return clopper_pearson(share_of(rate) * n, n, confidence=1 - 2 * np.asarray(alpha))


def exact_tests(rate: Rate, bound: ArrayLike, alpha: float) -> tuple[FloatArray, FloatArray]:
    """Exact p of "share above bound" and of "share below bound"; they match `exact_ends`."""
    share = np.nan_to_num(share_of(rate))

    def test(tail: Callable[..., FloatArray]) -> FloatArray:
        def at(level: ArrayLike) -> FloatArray:
            n = korn_graubard_n(rate.trials, rate.units, rate.deff, level)
            return tail(share * n, n, bound)

        p = at(alpha)
        clustered = np.asarray(rate.units) < np.asarray(rate.trials)
        if not np.any(clustered & (p <= alpha)):
            return p
        return np.where(p <= alpha, _own_level(at, p.shape, alpha), p)

    return test(binomial_tail_above), test(binomial_tail_below)


def _own_level(
    at: Callable[[FloatArray], FloatArray], shape: tuple[int, ...], alpha: float
) -> FloatArray:
    """The level whose own effective n gives that same level as p.

    Korn-Graubard's n shrinks with the level. Holm compares p with fractions of alpha, so p must be
    right at each of them and not only at alpha.
    """
    low, high = np.full(shape, np.log(_SMALLEST_LEVEL)), np.full(shape, np.log(alpha))
    for _ in range(50):
        middle = (low + high) / 2
        above = at(np.exp(middle)) >= np.exp(middle)
        low, high = np.where(above, middle, low), np.where(above, high, middle)
    level: FloatArray = np.exp(high)
    return level


def _over(x: ArrayLike, n: ArrayLike) -> FloatArray:
    with np.errstate(invalid="ignore", divide="ignore"):
        share = np.asarray(x, dtype=np.float64) / np.asarray(n, dtype=np.float64)
    return np.where(np.asarray(n) > 0, share, np.nan)
