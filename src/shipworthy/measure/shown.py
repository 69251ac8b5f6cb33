"""The interval that is shown beside a number, one rule an estimate family.

Unadjusted and two-sided at the policy's confidence. A limit that looks at a share shows exact ends,
because exact tails decide it; everywhere else shares show Wilson's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from scipy.special import expit

from shipworthy.measure.effective import (
    change_of,
    degrees,
    exact_ends,
    flips_of,
    same_artefact,
    scaled,
    share_of,
)
from shipworthy.measure.estimates import (
    ChangeMean,
    Estimate,
    F1Score,
    Fact,
    Mean,
    PairedChange,
    Rate,
    RateDifference,
    RateMean,
    RateRatio,
    Replicates,
    Spread,
)
from shipworthy.measure.intervals import Interval, critical, mover_mean, wilson
from shipworthy.measure.one_sided import on_scale
from shipworthy.measure.paired import tango
from shipworthy.measure.spread import group_interval, spread_interval

if TYPE_CHECKING:
    from numpy.typing import NDArray

    FloatArray: TypeAlias = NDArray[np.float64]
    Three: TypeAlias = tuple[FloatArray, FloatArray, FloatArray]


@dataclass(frozen=True)
class Assessed:
    """A number with the interval that is shown, for m slices; NaN where there is no data.

    n counts rows in the measure's own denominator (of both or all groups, where groups are
    compared), units their sampling units, n_effective the rows after the design effect.
    """

    value: FloatArray
    low: FloatArray
    high: FloatArray
    n: FloatArray
    units: FloatArray
    n_effective: FloatArray
    method: str


def assess(estimate: Estimate, *, confidence: float = 0.95, exact: bool = False) -> Assessed:
    """Value and interval of every slice of an estimate.

    exact: exact instead of Wilson ends for shares, F1 and means of shares (what a limit shows).
    """
    value, low, high, method = _interval(estimate, confidence, exact)
    same = same_artefact(estimate)
    if same is not None:
        low, high = np.where(same, value, low), np.where(same, value, high)
    n, units, effective = sizes(estimate, len(value))
    return Assessed(value, low, high, n, units, effective, method)


def _interval(
    estimate: Estimate, confidence: float, exact: bool
) -> tuple[FloatArray, FloatArray, FloatArray, str]:
    alpha = (1 - confidence) / 2
    if isinstance(estimate, Rate):
        return *_rate(estimate, confidence, exact), _share_method(exact)
    if isinstance(estimate, F1Score):
        parts = [2 * j / (1 + j) for j in _rate(estimate.jaccard, confidence, exact)]
        return parts[0], parts[1], parts[2], f"{_share_method(exact)} on TP/(TP+FP+FN)"
    if isinstance(estimate, PairedChange):
        value, ends = _change(estimate, confidence)
        return value, ends.low, ends.high, "Tango"
    if isinstance(estimate, RateMean):
        columns = zip(*(_rate(r, confidence, exact) for r in estimate.rates), strict=True)
        values, lows, highs = (np.stack(c) for c in columns)
        ends = mover_mean(lows, values, highs)
        return values.mean(axis=0), ends.low, ends.high, f"MOVER from {_share_method(exact)} ends"
    if isinstance(estimate, ChangeMean):
        changes = [_change(c, confidence) for c in estimate.changes]
        values = np.stack([value for value, _ in changes])
        ends = mover_mean([e.low for _, e in changes], values, [e.high for _, e in changes])
        return values.mean(axis=0), ends.low, ends.high, "MOVER from Tango ends"
    if isinstance(estimate, RateDifference):
        ends = group_interval(estimate.first, estimate.second, "difference", alpha)
        value = share_of(estimate.first) - share_of(estimate.second)
        return value, ends.low, ends.high, "Miettinen-Nurminen"
    if isinstance(estimate, RateRatio):
        ends = group_interval(estimate.first, estimate.second, "ratio", alpha)
        value = _ratio(share_of(estimate.first), share_of(estimate.second))
        return value, ends.low, ends.high, "Koopman"
    if isinstance(estimate, Spread):
        return *spread_interval(estimate, alpha), "pairwise"
    if isinstance(estimate, Mean):
        return *_mean(estimate, confidence), estimate.method
    if isinstance(estimate, Replicates):
        value = np.asarray(estimate.value, dtype=np.float64)
        allowed = np.array([reason == "" for reason in estimate.reasons])
        drawn = np.quantile(estimate.replicates, [alpha, 1 - alpha], axis=-1)
        low, high = (np.where(allowed, e, np.nan) for e in drawn)
        return value, low, high, estimate.method
    if isinstance(estimate, Fact):
        fact = np.atleast_1d(np.asarray(estimate.value, dtype=np.float64))
        return fact, fact, fact, "exact"
    nothing = np.full(estimate.m, np.nan)
    return nothing, nothing, nothing, "none"


def _share_method(exact: bool) -> str:
    return "exact binomial" if exact else "Wilson"


def _rate(rate: Rate, confidence: float, exact: bool) -> Three:
    if exact:
        ends = exact_ends(rate, (1 - confidence) / 2)
    else:
        x, n = scaled(rate.successes, rate.deff), scaled(rate.trials, rate.deff)
        ends = wilson(x, n, confidence=confidence, df=degrees(rate.trials, rate.units))
    return share_of(rate), ends.low, ends.high


def _change(change: PairedChange, confidence: float) -> tuple[FloatArray, Interval]:
    lost, gained, n, df = flips_of(change)
    return change_of(change), tango(lost, gained, n, confidence=confidence, df=df)


def _ratio(first: FloatArray, second: FloatArray) -> FloatArray:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(second > 0, first / second, np.nan)


def _mean(mean: Mean, confidence: float) -> Three:
    value = np.asarray(mean.value, dtype=np.float64)
    centre = on_scale(value, mean.scale)
    with np.errstate(invalid="ignore"):
        half = critical(confidence, mean.df) * np.asarray(mean.standard_error, dtype=np.float64)
        ends = [centre - half, centre + half]
    if mean.scale == "log":
        ends = [np.exp(e) for e in ends]
    elif mean.scale == "logit":
        ends = [expit(e) for e in ends]
    low, high = (np.where(np.isnan(value), np.nan, e) for e in ends)
    return value, low, high


def sizes(estimate: Estimate, m: int) -> Three:
    """Rows, units and effective rows of m slices; 0 where nothing is counted."""
    if isinstance(estimate, Rate):
        return _sized(estimate.trials, estimate.units, estimate.deff)
    if isinstance(estimate, F1Score):
        return sizes(estimate.jaccard, m)
    if isinstance(estimate, PairedChange | Mean):
        return _sized(estimate.n, estimate.units, estimate.deff)
    if isinstance(estimate, Replicates):
        return _sized(estimate.n, estimate.units, np.ones(m))
    if isinstance(estimate, RateMean):
        return _total([sizes(r, m) for r in estimate.rates])
    if isinstance(estimate, ChangeMean):
        return _total([sizes(c, m) for c in estimate.changes])
    if isinstance(estimate, RateDifference | RateRatio):
        return _total([sizes(r, m) for r in (estimate.first, estimate.second)])
    if isinstance(estimate, Spread):
        # The rates of equalised odds split the same rows: positives and negatives.
        n, units, effective = _total([sizes(r, m) for r in estimate.rates])
        n, units, effective = (np.atleast_1d(x.sum(axis=-1)) for x in (n, units, effective))
        return n, units, effective
    return np.zeros(m), np.zeros(m), np.zeros(m)


def _sized(n: FloatArray, units: FloatArray, deff: FloatArray) -> Three:
    rows = np.nan_to_num(np.asarray(n, dtype=np.float64))
    return rows, np.nan_to_num(np.asarray(units, dtype=np.float64)), scaled(rows, deff)


def _total(
    parts: list[Three],
) -> Three:
    n, units, effective = (np.sum(np.stack(column), axis=0) for column in zip(*parts, strict=True))
    return n, units, effective
