"""Calibration within each slice of cells: debiased error, mean difference, slope.

The expected calibration error is that of `calibration.py`, of the chosen class in bins of equal
mass. The calibration difference is the share of positives less the mean score: above 0 the scores
promise too little. The slope is that of a logistic regression of the label on the logit of the
score (Cox 1958): 1 where scores are neither too bold (below 1) nor too timid.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from scipy.special import expit, logit

from shipworthy.measure.calibration import BINS, BUCKETS, METHOD, debiased_error
from shipworthy.measure.cell_means import LEAST_PROBABILITY, linear, mean_of
from shipworthy.measure.cells import Area, over
from shipworthy.measure.estimates import Mean
from shipworthy.measure.rates import cautious
from shipworthy.measure.slices import hashed

if TYPE_CHECKING:
    from numpy.typing import NDArray

    FloatArray: TypeAlias = NDArray[np.float64]
    IntArray: TypeAlias = NDArray[np.int64]
    BoolArray: TypeAlias = NDArray[np.bool_]

_STEPS = 30
_SEED = 20_260_102


def calibration_difference(where: Area, positive: BoolArray, score: FloatArray) -> Mean:
    """Share of positives less mean score, in [-1, 1]."""
    return mean_of(where, positive.astype(np.float64) - score, reach=2.0)


def calibration_slope(where: Area, positive: BoolArray, score: FloatArray) -> Mean:
    """Slope of the label's log-odds on those of the score; NaN where a class is missing.

    Newton's method with the sandwich variance over units. Where the scores part the classes there
    is no slope.
    """
    x = logit(np.clip(score, LEAST_PROBABILITY, 1 - LEAST_PROBABILITY))
    y, w, codes = positive.astype(np.float64), where.cells.w, where.codes
    total = where.sums(w)
    level, slope = np.zeros(where.m), np.ones(where.m)
    information = np.zeros((3, where.m))
    for _ in range(_STEPS):
        p = expit(level[codes] + slope[codes] * x)
        v = w * p * (1 - p)
        information = np.stack([where.sums(v), where.sums(v * x), where.sums(v * x * x)])
        a, b = where.sums(w * (y - p)), where.sums(w * (y - p) * x)
        determinant = information[0] * information[2] - information[1] ** 2
        step_level = np.nan_to_num(over(information[2] * a - information[1] * b, determinant))
        step_slope = np.nan_to_num(over(information[0] * b - information[1] * a, determinant))
        level = level + np.clip(step_level, -2, 2)
        slope = slope + np.clip(step_slope, -2, 2)
        if max(np.abs(step_slope).max(initial=0), np.abs(step_level).max(initial=0)) < 1e-10:
            break
    determinant = information[0] * information[2] - information[1] ** 2
    residual = y - expit(level[codes] + slope[codes] * x)
    with np.errstate(invalid="ignore", divide="ignore"):
        influence = (
            residual * (information[0][codes] * x - information[1][codes]) / determinant[codes]
        )
    least = np.minimum(where.rows(positive), where.rows(~positive))
    flat = over(determinant, total**2)
    settled = (flat > 1e-10) & (np.abs(step_slope) < 1e-6) & (least > 0)
    return linear(where, np.where(settled, slope, np.nan), influence, least_count=least)


def expected_calibration_error(where: Area, positive: BoolArray, score: FloatArray) -> Mean:
    """Debiased expected calibration error of the chosen class, shown as 0 where it is below."""
    confidence = np.maximum(score, 1 - score)
    hits = ((score > 0.5) == positive).astype(np.float64)
    cells = where.cells
    everyone = np.ones(len(cells), dtype=bool)
    n, units, kish = where.rows(everyone), where.units(everyone), where.kish(everyone)
    order = np.lexsort((confidence, where.codes))
    ends = np.cumsum(np.bincount(where.codes, minlength=where.m))[:-1]
    value, error, df = np.full(where.m, np.nan), np.full(where.m, np.nan), np.zeros(where.m)
    for s, chosen in enumerate(np.split(order, ends)):
        if not len(chosen):
            continue
        place = _bins(confidence[chosen], cells.w[chosen])
        # Weights count as the rows that they are worth.
        weight = cells.w[chosen] * (n[s] / kish[s] / cells.w[chosen].sum())
        parts = _bucketed(
            place, weight, cells.n[chosen], confidence[chosen], hits[chosen],
            None if cells.unit is None else cells.unit[chosen],
        )  # fmt: skip
        found, left, without = _jackknife(parts)
        count, value[s] = len(without), found
        df[s] = count - 1
        if count > 1:
            each = (without - without.mean()) * np.sqrt((count - 1) / count)
            spread = np.sqrt((each**2).sum(keepdims=True))
            one = np.zeros(count, dtype=np.int64)
            # A row moves a gap by at most 1 and a half of its share, a unit by as much.
            wide = cautious(spread, each, one, np.array([1.5 / units[s]]))[0]
            error[s] = np.hypot(wide, left)
    return Mean(
        value=np.maximum(value, 0.0),
        standard_error=error,
        df=df,
        n=n,
        units=units,
        deff=kish,
        scale="identity",
        method=METHOD,
        least_count=np.full(where.m, np.nan),
        identical=np.zeros(where.m, dtype=bool),
    )


def _bins(confidence: FloatArray, w: FloatArray) -> IntArray:
    """Bin of equal mass of each cell, sorted by confidence; equal confidences share one."""
    other = np.concatenate(([True], confidence[1:] != confidence[:-1]))
    first = np.flatnonzero(other)
    mass = np.add.reduceat(w, first)
    middle = (np.cumsum(mass) - mass / 2) / mass.sum()
    place = np.minimum(middle * BINS, BINS - 1).astype(np.int64)
    return np.asarray(place[np.cumsum(other) - 1])


def _bucketed(
    place: IntArray, w: FloatArray, n: FloatArray, confidence: FloatArray, hits: FloatArray,
    unit: IntArray | None,
) -> FloatArray:  # fmt: skip
    """Rows, summed confidence and right answers by bin and bucket, shape (3, BINS, buckets)."""
    if unit is None and n.max() > 1:
        return _drawn(place, w, n, confidence, hits)
    if unit is None:
        bucket = np.arange(len(n), dtype=np.int64)
        bucket = bucket if len(n) <= BUCKETS else hashed(bucket, BUCKETS)
    else:
        names = np.unique(unit)
        within = np.searchsorted(names, unit)
        bucket = within if len(names) <= BUCKETS else hashed(unit, BUCKETS)
    buckets = int(bucket.max()) + 1
    cell = place * buckets + bucket
    return np.stack([
        np.bincount(cell, part, BINS * buckets).reshape(BINS, buckets)
        for part in (w, w * confidence, w * hits)
    ])  # fmt: skip


def _drawn(
    place: IntArray, w: FloatArray, n: FloatArray, confidence: FloatArray, hits: FloatArray
) -> FloatArray:
    """The same where rows were counted and are no longer told apart: each goes anywhere.

    A seeded draw puts the rows of a bin, right and wrong ones apart, into buckets.
    """
    kind = place * 2 + hits.astype(np.int64)
    rows = np.bincount(kind, n, 2 * BINS)
    weight = np.bincount(kind, w, 2 * BINS)
    sure = np.bincount(kind, w * confidence, 2 * BINS)
    generator = np.random.default_rng(_SEED)
    buckets = int(min(max(n.sum(), 1), BUCKETS))
    share = (
        generator.multinomial(np.rint(rows).astype(np.int64), np.full(buckets, 1 / buckets))
        / np.maximum(rows, 1)[:, None]
    )
    right = (np.arange(2 * BINS) % 2).astype(np.float64)
    parts = [weight[:, None] * share, sure[:, None] * share, (weight * right)[:, None] * share]
    return np.stack([p.reshape(BINS, 2, buckets).sum(axis=1) for p in parts])


def _jackknife(parts: FloatArray) -> tuple[float, float, FloatArray]:
    """The error on all rows, its uncertain part, and the error with each bucket left out."""
    totals = parts.sum(axis=2)
    held = parts[0].sum(axis=0) > 0
    whole, left = debiased_error(totals[0], totals[1], totals[2])
    n, sure, right = (t[:, None] - p[:, held] for t, p in zip(totals, parts, strict=True))
    # What is left of a bin that one bucket held alone is rounding.
    n = np.where(n > 1e-9, n, 0.0)
    without, _ = debiased_error(n, sure, right)
    return float(whole), float(left), without
