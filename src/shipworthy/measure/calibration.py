"""Expected calibration error of the chosen class, with the part removed that chance alone makes.

Rows go into bins of equal mass by confidence; a bin's gap is its share of right answers minus its
mean confidence. The mean absolute gap is never 0 even for a perfect model: what a gap of that size
has on top through sampling alone is the excess of a folded normal over it, and is taken off
(Kumar, Liang & Ma 2019, there by simulation). Its standard error is a jackknife over buckets of
units, because a percentile bootstrap adds the same bias twice.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from scipy.special import ndtr

from shipworthy.measure.auc import midranks
from shipworthy.measure.estimates import Mean

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from shipworthy.measure.slices import Partition
    from shipworthy.model.predictions import Predictions

    FloatArray: TypeAlias = NDArray[np.float64]
    IntArray: TypeAlias = NDArray[np.int64]

BINS = 15
BUCKETS = 200
METHOD = "debiased, 15 bins of equal mass, jackknife over buckets of units"

_MIX = np.uint64(0x9E3779B97F4A7C15)


def calibration_error(rows: Partition, model: Predictions) -> Mean:
    """Debiased expected calibration error over the slices."""
    return _estimate(rows, [_outcomes(model)], identical=False)


def calibration_error_change(
    rows: Partition, model: Predictions, parent: Predictions, identical: bool
) -> Mean:
    """Change of the debiased expected calibration error on the same rows."""
    return _estimate(rows, [_outcomes(model), _outcomes(parent)], identical=identical)


def debiased_error(n: FloatArray, confidence: FloatArray, hits: FloatArray) -> FloatArray:
    """Mean absolute gap without its expected excess, from sums over bins on the first axis.

    n, confidence, hits: rows, summed confidence and right answers of each bin, shape (bins, ...).
    Returns shape (...), at least 0.
    """
    present = n > 0
    rows = np.where(present, n, 1.0)
    share = hits / rows
    gap = np.abs(share - confidence / rows)
    # The add-one share keeps a bin with only right answers from claiming to know its gap exactly.
    smoothed = (hits + 1) / (rows + 2)
    deviation = np.sqrt(smoothed * (1 - smoothed) / rows)
    excess = folded_normal_mean(gap, deviation) - gap
    weight = np.where(present, n, 0.0)
    total = np.maximum(weight.sum(axis=0), 1.0)
    return np.asarray(np.maximum((weight * (gap - excess)).sum(axis=0) / total, 0.0))


def null_error(n: FloatArray, confidence: FloatArray) -> float:
    """What the raw error of a perfectly calibrated model is expected to be on these bins."""
    present = n > 0
    p = confidence[present] / n[present]
    deviation = np.sqrt(np.maximum(p * (1 - p), 0.0) / n[present])
    return float((n[present] * deviation).sum() / n.sum() * np.sqrt(2 / np.pi))


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
    value, error = np.full(rows.m, np.nan), np.full(rows.m, np.nan)
    n, units, df = np.zeros(rows.m), np.zeros(rows.m), np.zeros(rows.m)
    for s, chosen in enumerate(rows.parts):
        own = chosen if rows.unit_codes is None else rows.unit_codes[chosen]
        n[s], units[s] = len(chosen), len(np.unique(own))
        if not len(chosen):
            continue
        bucket = _buckets(own)
        whole, apart = zip(*(_jackknife(c[chosen], h[chosen], bucket) for c, h in outcomes),
                           strict=True)  # fmt: skip
        sign = np.array([1.0, -1.0])[: len(outcomes)]
        value[s] = float(np.dot(sign, whole))
        left_out = np.tensordot(sign, np.stack(apart), axes=1)
        count = len(left_out)
        df[s] = count - 1
        if count > 1:
            spread = ((left_out - left_out.mean()) ** 2).sum() * (count - 1) / count
            error[s] = np.sqrt(spread)
    return Mean(
        value=value,
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


def _buckets(units: IntArray) -> IntArray:
    """Bucket of each row, from 0 and without gaps; units themselves where they are few."""
    distinct, codes = np.unique(units, return_inverse=True)
    codes = codes.reshape(-1).astype(np.int64)
    if len(distinct) <= BUCKETS:
        return codes
    mixed = (codes.astype(np.uint64) * _MIX) >> np.uint64(40)
    compact = np.unique(mixed % np.uint64(BUCKETS), return_inverse=True)[1]
    return np.asarray(compact.reshape(-1), dtype=np.int64)


def _jackknife(
    confidence: FloatArray, hits: FloatArray, bucket: IntArray
) -> tuple[float, FloatArray]:
    """The error on all rows, and with each bucket left out in turn; bins stay as they are."""
    place = np.minimum((midranks(confidence) - 0.5) / len(confidence) * BINS, BINS - 1).astype(int)
    shape = (BINS, int(bucket.max()) + 1)
    cell = place * shape[1] + bucket
    parts = [
        np.bincount(cell, weights=w, minlength=shape[0] * shape[1]).reshape(shape)
        for w in (None, confidence, hits)
    ]
    totals = [p.sum(axis=1) for p in parts]
    whole = float(debiased_error(*totals))
    apart = debiased_error(*(t[:, None] - p for t, p in zip(totals, parts, strict=True)))
    return whole, apart
