"""Inequality of benefits among rows: generalised entropy and the Theil index.

The benefit of a row is prediction - label + 1: 2 for a false alarm, 1 for a right answer, 0 for a
positive that was missed (Speicher et al. 2018). With mean mu and alpha other than 0 and 1,

    GE(alpha) = mean( (b / mu)**alpha - 1 ) / (alpha (alpha - 1))
    Theil     = mean( b / mu ln(b / mu) )

0 where all rows fare alike.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from scipy.special import xlogy

from shipworthy.measure.cell_means import linear
from shipworthy.measure.cells import Area, over
from shipworthy.measure.estimates import Mean

if TYPE_CHECKING:
    from numpy.typing import NDArray

    FloatArray: TypeAlias = NDArray[np.float64]
    BoolArray: TypeAlias = NDArray[np.bool_]


def benefits(positive: BoolArray, selected: BoolArray) -> FloatArray:
    """Benefit of each cell: 0, 1 or 2."""
    return selected.astype(np.float64) - positive + 1.0


def generalized_entropy_index(
    where: Area, positive: BoolArray, selected: BoolArray, alpha: float = 2.0
) -> Mean:
    """Generalised entropy of the benefits in each slice, at least 0; alpha neither 0 nor 1."""
    b, w, codes = benefits(positive, selected), where.cells.w, where.codes
    total = where.sums(w)
    mean = over(where.sums(w * b), total)
    power = over(where.sums(w * b**alpha), total)
    constant = alpha * (alpha - 1)
    value = (over(power, mean**alpha) - 1) / constant
    with np.errstate(invalid="ignore", divide="ignore"):
        influence = (
            (b**alpha - power[codes]) / mean[codes] ** alpha
            - alpha * power[codes] / mean[codes] ** (alpha + 1) * (b - mean[codes])
        ) / (constant * total[codes])
    return linear(where, np.where(np.isnan(value), np.nan, np.maximum(value, 0.0)), influence)


def theil_index(where: Area, positive: BoolArray, selected: BoolArray) -> Mean:
    """Theil index of the benefits in each slice, at least 0."""
    b, w, codes = benefits(positive, selected), where.cells.w, where.codes
    total = where.sums(w)
    mean = over(where.sums(w * b), total)
    inner = over(where.sums(w * xlogy(b, b)), total)
    value = over(inner, mean) - np.log(np.where(mean > 0, mean, 1.0))
    with np.errstate(invalid="ignore", divide="ignore"):
        influence = (
            (xlogy(b, b) - inner[codes]) / mean[codes]
            - (inner[codes] / mean[codes] ** 2 + 1 / mean[codes]) * (b - mean[codes])
        ) / total[codes]
    return linear(where, np.where(np.isnan(value), np.nan, np.maximum(value, 0.0)), influence)
