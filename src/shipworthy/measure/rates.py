"""Shares and changes of shares over the slices of a partition, with their design effects.

deff is the cluster-robust variance of the (paired) mean over its independent-rows variance, per
slice, never below 1; where rows are units it is exactly 1. Standard errors of means are widened
where few rows carry them (`cautious`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from shipworthy.measure.estimates import Mean, PairedChange, Rate, Scale

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from shipworthy.measure.slices import Partition

    FloatArray: TypeAlias = NDArray[np.float64]
    BoolArray: TypeAlias = NDArray[np.bool_]

_ADDED = 4.0
_SKEWED = 0.74
"""(1 + 2z^2) / (6z) at z = 1.96."""

_ROUNDING = 1e-9


SUPPOSED_EVENTS = 2.0
"""Events that are added to those seen before a design effect is taken from them."""

SUPPOSED_ALIKE = 0.2
"""Intra-class correlation of the events that are added."""


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
    reach: float,
    scale: Scale = "identity",
    method: str = "mean over units, t",
    identical: bool = False,
) -> Mean:
    """Mean of a number per row over each slice, its standard error from sums over units.

    reach: how far one row can lie from the others at most.
    """
    everyone = np.ones(len(values), dtype=bool)
    n, units = rows.sums(everyone), rows.units(everyone)
    value = _over(rows.sums(values), n)
    influence = (values - value[rows.codes]) / n[rows.codes]
    return summary(
        rows, value, influence, n=n, units=units, reach=_over(np.full(rows.m, reach), n),
        scale=scale, method=method, identical=identical,
    )  # fmt: skip


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


def on_its_scale(value: FloatArray, error: FloatArray, scale: Scale) -> tuple[Scale, FloatArray]:
    """Return the scale that estimates are judged on, and their errors there (delta method).

    value, error: of each slice, on the identity scale. Where a value lies on an end of the scale
    (an area of 1 has no logit) all are judged on the identity scale.
    """
    ends = {"identity": (), "log": (0.0,), "logit": (0.0, 1.0)}[scale]
    if np.isin(value, ends).any():
        return "identity", error
    with np.errstate(invalid="ignore", divide="ignore"):
        if scale == "log":
            return scale, error / value
        if scale == "logit":
            return scale, error / (value * (1 - value))
    return scale, error


def summary(
    rows: Partition,
    value: FloatArray,
    influence: FloatArray,
    *,
    n: FloatArray,
    units: FloatArray,
    reach: FloatArray,
    scale: Scale,
    method: str,
    identical: bool,
    variance: FloatArray | None = None,
    least_count: FloatArray | None = None,
    few: bool = False,
) -> Mean:
    """Return an estimate from what each row contributes to its error.

    influence: shape (n,), summing to 0 over each slice; reach: the largest influence that one row
    can have; few: see `cautious`. variance: where it is not that of the unit sums of influence.
    Where a value lies on an end of `scale` (an area of 1 has no logit) all slices are judged on the
    identity scale.
    """
    if variance is None:
        variance = rows.variance(influence, units)
    sums, owners = rows.unit_sums(influence)
    reach = reach * _over(n, units)
    error = cautious(np.sqrt(variance), sums, owners, reach, few=few)
    scale, error = on_its_scale(value, error, scale)
    with np.errstate(invalid="ignore", divide="ignore"):
        independent = rows.sums(influence**2) * n / (n - 1)
        deff = np.fmax(variance / independent, 1.0)
    clustered = rows.unit_codes is not None
    return Mean(
        value=value,
        standard_error=error,
        df=units - 1 if clustered else n - 1,
        n=n,
        units=units,
        deff=deff if clustered else np.ones(rows.m),
        scale=scale,
        method=method,
        least_count=np.full(rows.m, np.nan) if least_count is None else least_count,
        identical=np.full(rows.m, identical),
    )


def cautious(
    error: FloatArray,
    parts: FloatArray,
    owners: NDArray[np.int64],
    reach: FloatArray,
    *,
    few: bool = False,
) -> FloatArray:
    """Standard errors that stay honest where few units carry all the difference.

    error: shape (m,); parts: what each unit contributes to the estimate, owners: its slice; reach:
    the largest contribution that a unit can make, shape (m,). few: only rows that changed
    contribute at all, so that those of size `reach` may well not have been met.
    If all parts come from a handful of changed rows, their variance says little about rows that
    were not met, and a t test passes too often. Four further parts of typical size are added (about
    z squared, as Agresti & Coull 1998 add rows to a share; of size `reach` where nothing varies, or
    few contribute), and the part by which skewness moves an end at 0.95 (Johnson 1978).
    """
    m = len(error)
    powers = (parts**2, np.abs(parts) ** 3, parts**3)
    squares, sizes, cubes = (np.asarray(np.bincount(owners, p, m), np.float64) for p in powers)
    return widened(error, squares, sizes, cubes, reach, few=few)


def widened(
    error: FloatArray,
    squares: FloatArray,
    sizes: FloatArray,
    cubes: FloatArray,
    reach: FloatArray,
    *,
    few: bool = False,
) -> FloatArray:
    """`cautious` from sums over parts: of squares, of absolute and of signed third powers."""
    # Sums of equal numbers differ from 0 by rounding alone.
    varies = squares > (_ROUNDING * reach) ** 2
    typical = np.divide(sizes, squares, out=np.array(reach, dtype=np.float64), where=varies)
    typical = np.maximum(typical, reach) if few else typical
    skewness = np.divide(np.abs(cubes), squares, out=np.zeros(len(error)), where=varies)
    plain = np.where(varies | np.isnan(error), error, 0.0)
    return np.asarray(np.sqrt(plain**2 + _ADDED * typical**2) + _SKEWED * skewness)


def _deff(
    rows: Partition,
    counted: BoolArray,
    values: NDArray[np.generic],
    n: FloatArray,
    units: FloatArray,
) -> FloatArray:
    """Clustered over independent variance, as if two more events had been seen.

    Few events cannot show how alike the rows of a unit are: the two that are added are as alike as
    `SUPPOSED_ALIKE`. Without them few and clustered flips pass a margin wrongly in up to 12 %.
    """
    if rows.unit_codes is None:
        return np.ones(rows.m)
    x = np.where(counted, np.asarray(values, dtype=np.float64), 0.0)
    centred = np.where(counted, x - _over(rows.sums(x), n)[rows.codes], 0.0)
    clustered = rows.variance(centred, units)
    scale = np.divide(n, n - 1, out=np.full(rows.m, np.nan), where=n > 1)
    independent = np.nan_to_num(rows.sums(centred**2) * scale)
    held, owners = rows.unit_sums(counted)
    size = _over(np.asarray(np.bincount(owners, held**2, rows.m), np.float64), n)
    return design_effect(clustered, independent, np.nan_to_num(size))


def design_effect(
    clustered: FloatArray, independent: FloatArray, unit_size: FloatArray | float
) -> FloatArray:
    """Design effect from the variances of a sum with and without regard to units; at least 1.

    unit_size: rows of the unit that a row lies in, on average over rows.
    """
    supposed = 1.0 + (np.fmax(unit_size, 1.0) - 1.0) * SUPPOSED_ALIKE
    seen = np.fmax(clustered, independent)
    return np.asarray((seen + SUPPOSED_EVENTS * supposed) / (independent + SUPPOSED_EVENTS))


def _over(x: FloatArray, n: FloatArray) -> FloatArray:
    return np.asarray(np.divide(x, n, out=np.full(np.shape(n), np.nan), where=n > 0))
