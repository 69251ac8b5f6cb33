"""Numbers of cells that are no shares: their error from what each cell contributes to it.

An estimate is linearised: a cell with weight w moves it by w times its influence. Sums of these
over units give the variance; where rows are units, the squares of their weights do (Woodruff
1971). Errors are widened where few rows carry them, as everywhere (`rates.widened`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from shipworthy.measure.cells import Area, over
from shipworthy.measure.estimates import Mean, Scale
from shipworthy.measure.rates import on_its_scale, widened

if TYPE_CHECKING:
    from numpy.typing import NDArray

    FloatArray: TypeAlias = NDArray[np.float64]
    BoolArray: TypeAlias = NDArray[np.bool_]

LEAST_PROBABILITY = 1e-7
"""Probabilities are clipped here before their logarithm is taken."""


def linear(
    where: Area,
    value: FloatArray,
    influence: FloatArray,
    *,
    counted: BoolArray | None = None,
    reach: FloatArray | None = None,
    variance: FloatArray | None = None,
    scale: Scale = "identity",
    method: str = "linearisation over units, t",
    least_count: FloatArray | None = None,
) -> Mean:
    """Estimate over m slices from the influence of each cell, shape (c,), for a weight of 1.

    counted: cells that the estimate rests on; all unless given. reach: the largest influence of a
    row, shape (m,); the largest there is unless given. variance: where it is not that of the
    influences.
    """
    cells = where.cells
    rows = np.ones(len(cells), dtype=bool) if counted is None else counted
    effect = np.where(rows, np.nan_to_num(influence), 0.0)
    n, units = where.rows(rows), where.units(rows)
    w, w2 = cells.w * rows, cells.w2 * rows
    # The size of a row's weight, on average over the cell: exact where the rows weigh the same.
    typical = np.sqrt(np.nan_to_num(over(w2, cells.n)))
    independent = where.sums(w2 * effect**2) * over(n, n - 1)
    if cells.unit is None:
        squares = where.sums(w2 * effect**2)
        part = typical * effect
        sizes, cubes = where.sums(cells.n * np.abs(part) ** 3), where.sums(cells.n * part**3)
        plain, df = independent, n - 1
    else:
        sums, owners = where.unit_sums(w * effect)
        powers = (sums**2, np.abs(sums) ** 3, sums**3)
        squares, sizes, cubes = (
            np.asarray(np.bincount(owners, p, where.m), dtype=np.float64) for p in powers
        )
        plain, df = squares * over(units, units - 1), units - 1
    plain = plain if variance is None else variance
    if reach is None:
        largest = np.zeros(where.m)
        np.maximum.at(largest, where.codes, np.abs(typical * effect))
        reach = largest
    reach = np.nan_to_num(reach * (1.0 if cells.unit is None else over(n, units)))
    error = widened(np.sqrt(np.maximum(plain, 0.0)), squares, sizes, cubes, reach)
    scale, error = on_its_scale(value, error, scale)
    with np.errstate(invalid="ignore", divide="ignore"):
        deff = np.fmax(over(plain, independent), where.kish(rows))
    return Mean(
        value=np.asarray(value, dtype=np.float64),
        standard_error=np.asarray(error, dtype=np.float64),
        df=df,
        n=n,
        units=units,
        deff=np.fmax(deff, 1.0),
        scale=scale,
        method=method,
        least_count=np.full(where.m, np.nan) if least_count is None else least_count,
        identical=np.zeros(where.m, dtype=bool),
    )


def mean_of(
    where: Area,
    values: FloatArray,
    *,
    counted: BoolArray | None = None,
    reach: float | None = None,
    scale: Scale = "identity",
    method: str = "mean over units, t",
) -> Mean:
    """Weighted mean of a number that all rows of a cell share; reach: how far one can lie off."""
    rows = np.ones(len(where.cells), dtype=bool) if counted is None else counted
    total = where.sums(where.cells.w * rows)
    value = over(where.sums(where.cells.w * np.where(rows, values, 0.0)), total)
    influence = (values - value[where.codes]) / total[where.codes]
    far = None if reach is None else np.nan_to_num(over(np.full(where.m, reach), where.rows(rows)))
    return linear(
        where, value, influence, counted=rows, reach=far, scale=scale, method=method
    )  # fmt: skip


def log_loss(where: Area, positive: BoolArray, score: FloatArray) -> Mean:
    """Mean of -log P(label), natural logarithm, on the log scale."""
    chance = np.clip(np.where(positive, score, 1 - score), LEAST_PROBABILITY, 1.0)
    return mean_of(where, -np.log(chance) + 0.0, reach=-np.log(LEAST_PROBABILITY), scale="log")


def brier_score(where: Area, positive: BoolArray, score: FloatArray) -> Mean:
    """Mean squared error of P(positive) (Brier 1950, halved)."""
    return mean_of(where, (score - positive) ** 2, reach=1.0, scale="log")


def auc(where: Area, positive: BoolArray, score: FloatArray) -> Mean:
    """Area under the ROC curve of each slice, ties half, on the logit scale.

    The influences are DeLong's placements (1988); sums over units make it Obuchowski's (1997).
    """
    value, influence, variance = _area_under(where, positive, score)
    least = np.minimum(where.rows(positive), where.rows(~positive))
    return linear(
        where, value, influence, variance=variance, scale="logit", method="DeLong",
        # As if each row of the smaller class were compared with a row of its own.
        reach=1 / np.maximum(least, 1.0), least_count=least,
    )  # fmt: skip


def _area_under(
    where: Area, positive: BoolArray, score: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray]:
    cells = where.cells
    weight = [np.where(side, cells.w, 0.0) for side in (~positive, positive)]
    order = np.lexsort((score, where.codes))
    slices, sorted_scores = where.codes[order], score[order]
    other = (slices[1:] != slices[:-1]) | (sorted_scores[1:] != sorted_scores[:-1])
    first = np.flatnonzero(np.concatenate(([True], other)))[: len(order)]
    step = np.cumsum(np.concatenate(([0], other.astype(np.int64))))[: len(order)]
    totals = [where.sums(w) for w in weight]
    placement = np.empty(len(order))
    for own, against in ((positive, 0), (~positive, 1)):
        mass = np.add.reduceat(weight[against][order], first) if len(first) else np.zeros(0)
        before = np.cumsum(mass) - mass
        starts = np.concatenate(([0.0], np.cumsum(totals[against])))[:-1]
        below = before - starts[slices[first]] + mass / 2
        share = over(below, totals[against][slices[first]])[step]
        share = share if against == 0 else 1 - share
        placement[order] = np.where(own[order], share, placement[order])
    value = over(where.sums(np.where(positive, cells.w * placement, 0.0)), totals[1])
    value = np.where(totals[0] > 0, value, np.nan)
    count = np.where(positive, totals[1][where.codes], totals[0][where.codes])
    influence = np.nan_to_num((placement - value[where.codes]) / count)
    return value, influence, _two_sided_variance(where, positive, influence)


def _two_sided_variance(where: Area, positive: BoolArray, influence: FloatArray) -> FloatArray:
    """Variance of a mean over two classes, each with its own n / (n - 1)."""
    cells = where.cells
    sides = (positive, ~positive)
    if cells.unit is None:
        parts = [where.sums(cells.w2 * side * influence**2) * _scale(where.rows(side))
                 for side in sides]  # fmt: skip
        return np.asarray(parts[0] + parts[1])
    sums = [where.unit_sums(cells.w * side * influence)[0] for side in sides]
    owners = where.places[1]
    everyone = np.ones(len(cells), dtype=bool)
    total = np.bincount(owners, 2 * sums[0] * sums[1], where.m) * _scale(where.units(everyone))
    for side, own in zip(sides, sums, strict=True):
        total = total + np.bincount(owners, own**2, where.m) * _scale(where.units(side))
    return np.maximum(total, 0.0)


def _scale(count: FloatArray) -> FloatArray:
    return over(count, count - 1)
