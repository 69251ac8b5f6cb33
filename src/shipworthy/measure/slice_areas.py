"""Areas under the ROC curve of all slices of a partition at once, from one sort of the scores.

What `auc.py` says about one set of rows, for every slice of a partition: placements from midranks,
their unit sums (Obuchowski 1997; DeLong where rows are units).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from shipworthy.measure.slices import Partition

    FloatArray: TypeAlias = NDArray[np.float64]
    BoolArray: TypeAlias = NDArray[np.bool_]


def placements(rows: Partition, positive: BoolArray, scores: FloatArray) -> FloatArray:
    """Share of the other class in its slice that each row is ranked right against, shape (n,).

    Ties count half. The mean over a class is the area; NaN where a slice lacks a class.
    """
    order = rows.order(scores)
    among_all = np.empty(len(scores))
    among_all[order] = rows.midranks(order, scores)
    among_own = np.empty(len(scores))
    for side in (positive, ~positive):
        own = order[side[order]]
        among_own[own] = rows.midranks(own, scores)
    others = np.where(positive, rows.sums(~positive)[rows.codes], rows.sums(positive)[rows.codes])
    with np.errstate(invalid="ignore", divide="ignore"):
        below = (among_all - among_own) / np.where(others > 0, others, np.nan)
    return np.where(positive, below, 1 - below)


def areas(
    rows: Partition, positive: BoolArray, component: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Area and its variance in each slice, and the influence of each row, shape (n,).

    component: placements, or their change between two models. NaN variance where fewer than two
    units hold positives or fewer than two hold negatives.
    """
    count = np.where(positive, rows.sums(positive)[rows.codes], rows.sums(~positive)[rows.codes])
    with np.errstate(invalid="ignore", divide="ignore"):
        value = rows.sums(np.where(positive, component, 0.0)) / rows.sums(positive)
    value = np.where(rows.sums(~positive) > 0, value, np.nan)
    # A slice that lacks a class has no area; zeros keep its NaN out of the sums of the others.
    influence = np.nan_to_num((component - value[rows.codes]) / count)
    first, owners = rows.unit_sums(np.where(positive, influence, 0.0))
    second, _ = rows.unit_sums(np.where(positive, 0.0, influence))
    everyone = np.ones(len(positive), dtype=bool)
    variance = (
        _scale(rows.units(positive)) * np.bincount(owners, first**2, rows.m)
        + _scale(rows.units(~positive)) * np.bincount(owners, second**2, rows.m)
        + _scale(rows.units(everyone)) * np.bincount(owners, 2 * first * second, rows.m)
    )
    return value, np.maximum(variance, 0.0), influence


def _scale(units: FloatArray) -> FloatArray:
    return np.asarray(np.divide(units, units - 1, out=np.full(len(units), np.nan), where=units > 1))
