"""Shares and changes of shares over the slices of a partition, with their design effects.

deff is the cluster-robust variance of the (paired) mean over its independent-rows variance, per
slice, never below 1; where rows are units it is exactly 1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

from shipworthy.measure.estimates import Mean, PairedChange, Rate

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from shipworthy.measure.slices import Partition

    FloatArray: TypeAlias = NDArray[np.float64]
    BoolArray: TypeAlias = NDArray[np.bool_]


def rate(rows: Partition, counted: BoolArray, success: BoolArray) -> Rate:
    """Share of successes among the counted rows of each slice; both arrays have shape (n,)."""
    trials = rows.sums(counted)
    successes = rows.sums(success & counted)
    units = rows.units(counted)
    return Rate(successes, trials, units, _deff(rows, counted, success, trials, units))


def paired_change(
    rows: Partition, counted: BoolArray, parent: BoolArray, candidate: BoolArray, identical: bool
) -> PairedChange:
    """Change of a share on the counted rows, from what each row is under parent and candidate."""
    n, units = rows.sums(counted), rows.units(counted)
    lost, gained = counted & parent & ~candidate, counted & candidate & ~parent
    change = gained.astype(np.float64) - lost
    return PairedChange(
        lost=rows.sums(lost),
        gained=rows.sums(gained),
        n=n,
        units=units,
        deff=_deff(rows, counted, change, n, units),
        identical=np.full(rows.m, identical),
    )


def mean(
    rows: Partition,
    values: FloatArray,
    *,
    scale: Literal["identity", "log", "logit"] = "identity",
    method: str = "mean over units, t",
    identical: bool = False,
) -> Mean:
    """Mean of a number per row over each slice, its standard error from sums over units."""
    everyone = np.ones(len(values), dtype=bool)
    n, units = rows.sums(everyone), rows.units(everyone)
    value = _over(rows.sums(values), n)
    error = np.sqrt(rows.variance(values - value[rows.codes], units)) / np.maximum(n, 1)
    return summary(rows, value, error, n=n, units=units, scale=scale, method=method,
                   identical=identical)  # fmt: skip


def ratio(
    rows: Partition, top: FloatArray, bottom: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Ratio of two sums over each slice, each row's share in its error, and the bottom's sums.

    The second is the linearisation (top - ratio x bottom) / sum of bottom, shape (n,): its sum over
    a slice is 0 and its variance from unit sums is that of the ratio (Woodruff 1971).
    """
    total = rows.sums(bottom)
    value = _over(rows.sums(top), total)
    with np.errstate(invalid="ignore", divide="ignore"):
        influence = (top - value[rows.codes] * bottom) / total[rows.codes]
    return value, influence, total


def summary(
    rows: Partition,
    value: FloatArray,
    error: FloatArray,
    *,
    n: FloatArray,
    units: FloatArray,
    scale: Literal["identity", "log", "logit"],
    method: str,
    identical: bool,
    least_count: FloatArray | None = None,
) -> Mean:
    """Return a mean whose standard error on the identity scale is carried to `scale`."""
    with np.errstate(invalid="ignore", divide="ignore"):
        if scale == "log":
            error = error / value
        elif scale == "logit":
            error = error / (value * (1 - value))
    clustered = rows.unit_codes is not None
    return Mean(
        value=value,
        standard_error=error,
        df=units - 1 if clustered else n - 1,
        n=n,
        units=units,
        deff=np.ones(rows.m),
        scale=scale,
        method=method,
        least_count=np.full(rows.m, np.nan) if least_count is None else least_count,
        identical=np.full(rows.m, identical),
    )


def _deff(
    rows: Partition,
    counted: BoolArray,
    values: NDArray[np.generic],
    n: FloatArray,
    units: FloatArray,
) -> FloatArray:
    if rows.unit_codes is None:
        return np.ones(rows.m)
    x = np.where(counted, np.asarray(values, dtype=np.float64), 0.0)
    centred = np.where(counted, x - _over(rows.sums(x), n)[rows.codes], 0.0)
    clustered = rows.variance(centred, units)
    scale = np.divide(n, n - 1, out=np.full(rows.m, np.nan), where=n > 1)
    independent = rows.sums(centred**2) * scale
    deff = np.divide(clustered, independent, out=np.ones(rows.m), where=independent > 1e-12)
    return np.where(np.isfinite(deff), np.maximum(deff, 1.0), 1.0)


def _over(x: FloatArray, n: FloatArray) -> FloatArray:
    return np.asarray(np.divide(x, n, out=np.full(np.shape(n), np.nan), where=n > 0))
