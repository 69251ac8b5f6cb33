"""The total number of rows that would decide a limit which cannot tell yet.

A plug-in figure: it takes the observed value as the truth and is therefore optimistic; `next` draws
futures (`power.futures`) before it advises anybody to label.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from scipy.special import ndtri

from shipworthy.measure.effective import MIN_ROWS, MIN_UNITS, denominators, jaccard_bound
from shipworthy.measure.estimates import (
    Estimate,
    F1Score,
    Fact,
    Mean,
    PairedChange,
    Rate,
    Spread,
    Unmeasured,
)
from shipworthy.measure.one_sided import MIN_CLASS_ROWS
from shipworthy.measure.power import (
    paired_rows_needed,
    rate_rows_needed,
    zero_event_rows,
    zero_event_rows_rate,
)
from shipworthy.measure.shown import assess, sizes

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    FloatArray: TypeAlias = NDArray[np.float64]

MOST_ROWS = 1e8
"""Figures above this say nothing that a person could act on."""


def rows_needed(
    estimate: Estimate, bound: float, *, alpha: float, power: float = 0.8
) -> tuple[int | None, ...]:
    """Rows in the measure's own denominator, all groups together, that decide with this power.

    None where there is no such number: facts, no data, a value on the bound, a mean over processes.
    Never below the minimum (20 rows and 10 units in every denominator, 30 of a class), and above n
    where n did not decide.
    """
    if isinstance(estimate, Unmeasured):
        return (None,) * estimate.m
    if isinstance(estimate, Fact):
        return (None,) * np.size(estimate.value)
    if isinstance(estimate, Rate):
        rows = _rate(estimate, bound, alpha, power)
    elif isinstance(estimate, F1Score):
        rows = _rate(estimate.jaccard, float(jaccard_bound(bound)), alpha, power)
    elif isinstance(estimate, PairedChange):
        rows = _paired(estimate, bound, alpha, power)
    else:
        rows = _from_interval(estimate, bound, alpha, power)
    n = sizes(estimate, len(rows))[0]
    with np.errstate(invalid="ignore"):
        rows = np.maximum.reduce([rows, n * _growth(estimate), np.full_like(rows, MIN_ROWS), n + 1])
    return tuple(int(np.ceil(r)) if np.isfinite(r) and r <= MOST_ROWS else None for r in rows)


def _growth(estimate: Estimate) -> FloatArray:
    """By how much all rows must grow until the smallest denominator reaches the minimum.

    Infinite where one is empty; NaN where rows or units are not what is counted.
    """
    growth = np.ones(1)
    for rows, units in denominators(estimate):
        own = np.maximum(_over(MIN_ROWS, rows), _over(MIN_UNITS, units))
        growth = np.maximum(growth, own.max(axis=-1) if isinstance(estimate, Spread) else own)
    if isinstance(estimate, Mean):
        growth = np.fmax(growth, _over(MIN_CLASS_ROWS, estimate.least_count))
        uncounted = np.isnan(estimate.n) | np.isnan(estimate.units)
        growth = np.where(uncounted | (estimate.reason != ""), np.nan, growth)
    return growth


def _rate(rate: Rate, bound: float, alpha: float, power: float) -> FloatArray:
    x, n = np.asarray(rate.successes, np.float64), np.asarray(rate.trials, np.float64)
    rows = rate_rows_needed(_share(x, n), bound, power=power, alpha=alpha)
    # Without events, or with nothing else, the exact test says the number; the formula is normal.
    none, all_ = zero_event_rows_rate([bound, 1 - bound], alpha=alpha)
    rows = np.where((n > 0) & (x == 0) & (bound > 0), none, rows)
    rows = np.where((n > 0) & (x == n) & (bound < 1), all_, rows)
    return rows * np.maximum(rate.deff, 1.0)


def _paired(change: PairedChange, bound: float, alpha: float, power: float) -> FloatArray:
    lost, gained = np.asarray(change.lost, np.float64), np.asarray(change.gained, np.float64)
    n = np.asarray(change.n, np.float64)
    rows = paired_rows_needed(
        _share(lost + gained, n), -bound, _share(gained - lost, n), power=power, alpha=alpha
    )
    still = (lost + gained == 0) & (bound != 0)
    least = zero_event_rows(abs(bound), alpha=alpha)
    return np.where(still, np.maximum(rows, least), rows) * np.maximum(change.deff, 1.0)


def _from_interval(estimate: Estimate, bound: float, alpha: float, power: float) -> FloatArray:
    """Scale n by the squared ratio of the reach that is wanted to the half-interval there is."""
    shown = assess(estimate, confidence=0.95)
    reach = -ndtri(alpha) + ndtri(power)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        half = np.where(shown.value > bound, shown.value - shown.low, shown.high - shown.value)
        rows = shown.n * (reach / -ndtri(0.025) * half / np.abs(shown.value - bound)) ** 2
    return np.asarray(rows)


def _share(x: FloatArray, n: FloatArray) -> FloatArray:
    share: FloatArray = np.divide(x, n, out=np.full(np.shape(n), np.nan), where=n > 0)
    return share


def _over(least: float, count: ArrayLike) -> FloatArray:
    with np.errstate(divide="ignore"):
        share: FloatArray = np.divide(least, np.asarray(count, dtype=np.float64))
    return share
