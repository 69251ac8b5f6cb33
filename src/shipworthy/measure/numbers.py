"""How good predicted numbers are: absolute, squared and signed errors, and variance explained.

    mean_absolute_error       mean |p - y|
    root_mean_squared_error   sqrt(mean (p - y)^2)
    mean_error                mean (p - y): above 0 where predictions are too high on average
    r2                        1 - sum (p - y)^2 / sum (y - mean y)^2, over the slice's own rows

p is the prediction, y the label. Each row's share in the error of an estimate is its linearisation
(Woodruff 1971), summed over units; intervals are t on units. A change is taken row by row, on the
same rows. Errors have no bound: the largest that was seen stands in for it where few rows carry an
estimate.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

from shipworthy.measure.catalogue import NUMBER
from shipworthy.measure.estimates import Estimate, Unmeasured
from shipworthy.measure.rates import ratio, summary

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from shipworthy.measure.slices import Partition
    from shipworthy.model.predictions import Predictions

    FloatArray: TypeAlias = NDArray[np.float64]

_SCALES: dict[str, Literal["log", "identity"]] = {
    "mean_absolute_error": "log", "root_mean_squared_error": "log",
}  # fmt: skip
"""Of levels: what cannot fall below 0 is judged on the logarithm."""

_METHOD = "linearisation over units, t"
_NO_SPREAD = 1e-12
"""Share of the labels' mean square below which their variance is rounding."""


def numbers(
    measure: str,
    rows: Partition,
    model: Predictions,
    parent: Predictions | None,
    *,
    identical: bool,
) -> Estimate:
    """Return a measure of predicted numbers over the slices, or its change against the parent.

    identical: whether both are one artefact. `Unmeasured` where rows bring no numbers. r2 is NaN
    on a slice whose labels are all equal.
    """
    both = (model,) if parent is None else (model, parent)
    if any(name not in one.values for one in both for name in NUMBER):
        return Unmeasured("not_measured", rows.m)
    value, influence, reach = _level(measure, rows, model)
    everyone = np.ones(len(model), dtype=bool)
    n, units = rows.sums(everyone), rows.units(everyone)
    if parent is None:
        return summary(
            rows, value, influence, n=n, units=units, reach=reach,
            scale=_SCALES.get(measure, "identity"), method=_METHOD, identical=False,
        )  # fmt: skip
    before, influence_before, reach_before = _level(measure, rows, parent)
    return summary(
        rows, value - before, influence - influence_before, n=n, units=units,
        reach=np.maximum(reach, reach_before), scale="identity", method=f"paired {_METHOD}",
        identical=identical,
    )  # fmt: skip


def _level(
    measure: str, rows: Partition, model: Predictions
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return the value of each slice, each row's share in its error, and the largest one seen."""
    label = model.values["label"]
    error = model.values["prediction"] - label
    ones = np.ones(len(error))
    if measure == "mean_absolute_error":
        return _found(rows, *ratio(rows, np.abs(error), ones)[:2], np.abs(error))
    if measure == "mean_error":
        return _found(rows, *ratio(rows, error, ones)[:2], np.abs(error))
    if measure == "root_mean_squared_error":
        square, influence, _ = ratio(rows, error**2, ones)
        root = np.sqrt(square)
        scale = 1 / np.where(root > 0, 2 * root, 1.0)
        return _found(rows, root, influence * scale[rows.codes], error**2 * scale[rows.codes])
    n = rows.sums(ones)
    with np.errstate(invalid="ignore", divide="ignore"):
        center = rows.sums(label) / n
        spread = (label - center[rows.codes]) ** 2
        # What rounding leaves of equal labels is no variance.
        level = rows.sums(spread) > _NO_SPREAD * np.maximum(rows.sums(label**2), 1e-300)
    spread = np.where(level[rows.codes], spread, 0.0)
    # The mean of the labels does not enter: their sum of squares is least there.
    share, influence, total = ratio(rows, error**2, spread)
    with np.errstate(invalid="ignore", divide="ignore"):
        largest = error**2 / total[rows.codes] * n[rows.codes]
    value, influence, reach = _found(rows, share, influence, np.nan_to_num(largest, posinf=0.0))
    value = np.where(level, 1 - value, np.nan)
    return value, -np.where(np.isfinite(influence), influence, 0.0), reach


def _found(
    rows: Partition, value: FloatArray, influence: FloatArray, sizes: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return value, influence, and what one row of the largest size moves in each slice."""
    largest = np.zeros(rows.m)
    np.maximum.at(largest, rows.codes, sizes)
    return value, influence, largest / np.maximum(rows.sums(np.ones(len(sizes))), 1.0)
