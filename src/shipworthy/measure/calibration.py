"""Expected calibration error of the chosen class, with the part removed that chance alone makes.

Rows go into bins of equal mass by confidence; a bin's gap is its share of right answers minus its
mean confidence. The mean absolute gap is never 0 even for a perfect model: what a gap of that size
has on top through sampling alone is the excess of a folded normal over it, and is taken off
(Kumar, Liang & Ma 2019, there by simulation), and so is what this leaves over where all bins
together look calibrated. The standard error is a jackknife over buckets of units, because a
percentile bootstrap adds the same bias twice; the last correction counts as uncertain.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from scipy.special import ndtr

from shipworthy.measure.estimates import Mean
from shipworthy.measure.rates import cautious
from shipworthy.measure.slices import hashed

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from shipworthy.measure.slices import Partition
    from shipworthy.model.predictions import Predictions

    FloatArray: TypeAlias = NDArray[np.float64]
    IntArray: TypeAlias = NDArray[np.int64]

BINS = 15
BUCKETS = 200
METHOD = "debiased, 15 bins of equal mass, jackknife over buckets of units"

_LEFT_OVER = np.sqrt(2 / np.pi) * (2 - np.sqrt(2))
"""Of deviations: what one correction leaves of the mean absolute gap where every gap is chance."""


def calibration_error(rows: Partition, model: Predictions) -> Mean:
    """Debiased expected calibration error over the slices, shown as 0 where it is below."""
    return _estimate(rows, [_outcomes(model)], identical=False)


def calibration_error_change(
    rows: Partition, model: Predictions, parent: Predictions, identical: bool
) -> Mean:
    """Change of the debiased expected calibration error on the same rows."""
    return _estimate(rows, [_outcomes(model), _outcomes(parent)], identical=identical)


def debiased_error(
    n: FloatArray, confidence: FloatArray, hits: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Mean absolute gap without what chance adds, from sums over bins on the first axis.

    n, confidence, hits: rows, summed confidence and right answers of each bin, shape (bins, ...).
    Returns two arrays of shape (...). The first is below 0 about half the time if every bin is
    calibrated. The second is the part of the correction that rests on the bins together: what the
    excess of a folded normal leaves over where all gaps are 0, times the square of the share of
    the squared gaps that chance explains.
    """
    present = n > 0
    rows = np.where(present, n, 1.0)
    weight = np.where(present, n, 0.0)
    weight = weight / np.maximum(weight.sum(axis=0), 1.0)
    share = hits / rows
    gap = np.abs(share - confidence / rows)
    # The add-one share keeps a bin with only right answers from claiming to know its gap exactly.
    smoothed = (hits + 1) / (rows + 2)
    deviation = np.sqrt(smoothed * (1 - smoothed) / rows)
    excess = folded_normal_mean(gap, deviation) - gap
    chance = (weight * deviation**2).sum(axis=0)
    beyond = np.maximum((weight * gap**2).sum(axis=0) - chance, 0.0)
    calibrated = np.divide(chance, chance + beyond, out=np.ones(np.shape(chance)), where=chance > 0)
    left = _LEFT_OVER * calibrated**2 * (weight * deviation).sum(axis=0)
    return np.asarray((weight * (gap - excess)).sum(axis=0) - left), np.asarray(left)


def folded_normal_mean(centre: FloatArray, deviation: FloatArray) -> FloatArray:
    """Mean of |X| for X normal with this centre and standard deviation (Leone et al. 1961)."""
    ratio = centre / deviation
    density = np.sqrt(2 / np.pi) * np.exp(-0.5 * ratio**2)
    return np.asarray(deviation * density + centre * (1 - 2 * ndtr(-ratio)))


def _outcomes(model: Predictions) -> tuple[FloatArray, FloatArray]:
    """Confidence in the likeliest class and whether it is right, both shape (n,)."""
    probabilities = model.probabilities
    assert probabilities is not None
    assert model.labels is not None
    likeliest = probabilities.argmax(axis=1)
    return probabilities.max(axis=1), (likeliest == model.labels).astype(np.float64)


def _estimate(
    rows: Partition, outcomes: list[tuple[FloatArray, FloatArray]], *, identical: bool
) -> Mean:
    n = np.bincount(rows.codes, minlength=rows.m).astype(np.float64)
    units = rows.units(np.ones(len(rows.codes), dtype=bool))
    bucket = _buckets(rows, units)
    bins = [_bins(rows, confidence, n) for confidence, _ in outcomes]
    value, error, df = np.full(rows.m, np.nan), np.full(rows.m, np.nan), np.zeros(rows.m)
    for s, chosen in enumerate(rows.parts):
        if not len(chosen):
            continue
        whole, uncertain, left_out = 0.0, 0.0, np.zeros(1)
        for sign, (confidence, hits), place in zip((1, -1), outcomes, bins, strict=False):
            own = confidence[chosen], hits[chosen]
            found, left, without = _jackknife(*own, place[chosen], bucket[chosen])
            whole, uncertain = whole + sign * found, uncertain + sign * left
            left_out = left_out + sign * without
        count, value[s] = len(left_out), whole
        df[s] = count - 1
        if count > 1:
            parts = (left_out - left_out.mean()) * np.sqrt((count - 1) / count)
            spread = np.sqrt((parts**2).sum(keepdims=True))
            one = np.zeros(count, dtype=np.int64)
            # A row moves a gap by at most 1 and a half of its share, a unit by as much.
            error[s] = cautious(spread, parts, one, np.array([1.5 / units[s]]))[0]
            error[s] = np.hypot(error[s], uncertain)
    return Mean(
        value=np.maximum(value, 0.0) if len(outcomes) == 1 else value,
        standard_error=error,
        df=df,
        n=n,
        units=units,
        deff=np.ones(rows.m),
        scale="identity",
        method=METHOD,
        least_count=np.full(rows.m, np.nan),
        identical=np.full(rows.m, identical),
    )


def _bins(rows: Partition, confidence: FloatArray, n: FloatArray) -> IntArray:
    """Bin of each row among those of its slice; equal confidences share one."""
    order = rows.order(confidence)
    ranks = (rows.midranks(order, confidence) - 0.5) / n[rows.codes[order]]
    place = np.empty(len(order), dtype=np.int64)
    place[order] = np.minimum(ranks * BINS, BINS - 1)
    return place


def _buckets(rows: Partition, units: FloatArray) -> IntArray:
    """Bucket of each row: its unit where the slice has few, otherwise units are hashed.

    Hashed are the codes of units, which follow their names, so that the order of rows is of no
    account; without units it is the place of the row, and then another order gives slightly
    different standard errors.
    """
    cells, owners = rows.cells
    first = np.concatenate(([0], np.cumsum(units)[:-1])).astype(np.int64)
    if rows.unit_codes is None:
        order = np.empty(len(cells), dtype=np.int64)
        order[np.concatenate(rows.parts)] = np.arange(len(cells))
        within, names = order - first[rows.codes], cells
    else:
        within, names = cells - first[owners[cells]], rows.unit_codes
    return np.where(units[rows.codes] <= BUCKETS, within, hashed(names, BUCKETS))


def _jackknife(
    confidence: FloatArray, hits: FloatArray, place: IntArray, bucket: IntArray
) -> tuple[float, float, FloatArray]:
    """The error on all rows, its uncertain part, and the error with each bucket left out in turn.

    Bins stay as they are; buckets without rows have no turn.
    """
    buckets = int(bucket.max(initial=0)) + 1
    cell = place * buckets + bucket
    parts = [
        np.bincount(cell, weights=w, minlength=BINS * buckets).reshape(BINS, buckets)
        for w in (None, confidence, hits)
    ]
    held = parts[0].sum(axis=0) > 0
    totals = [p.sum(axis=1) for p in parts]
    whole, left = debiased_error(*totals)
    without, _ = debiased_error(
        *(t[:, None] - p[:, held] for t, p in zip(totals, parts, strict=True))
    )
    return float(whole), float(left), without
