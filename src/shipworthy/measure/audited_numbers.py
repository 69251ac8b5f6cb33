"""What can be said of each group in an audit of numbers: errors, bias, variance explained.

Everything comes from sums over rows (of labels y, predictions p and errors p - y, and of squares),
linearised over units as everywhere; sums of parts add up.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from shipworthy.measure.cell_means import linear
from shipworthy.measure.cells import Area, area, over
from shipworthy.measure.estimates import Mean

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from shipworthy.measure.tally import Counted

    FloatArray: TypeAlias = NDArray[np.float64]

MEASURES = (
    "mean_absolute_error", "root_mean_squared_error", "mean_error", "r2", "mean_prediction",
    "mean_label",
)  # fmt: skip
GAPS = {
    "mean_absolute_error_difference": "mean_absolute_error",
    "root_mean_squared_error_difference": "root_mean_squared_error",
    "mean_error_difference": "mean_error",
    "mean_prediction_difference": "mean_prediction",
}
_SUMS = {
    "mean_absolute_error": "absolute",
    "mean_error": "error",
    "mean_prediction": "prediction",
    "mean_label": "label",
}


@dataclass(frozen=True, eq=False)
class Numbers:
    """Numbers that were counted, with their labels."""

    counted: Counted

    @property
    def measures(self) -> tuple[str, ...]:
        """Names that can be measured on each group."""
        return MEASURES

    def area(self, columns: tuple[str, ...] = (), *, scored: bool = False) -> Area:
        """Slices of the counted cells."""
        return area(self.counted.cells, columns)

    def on(self, name: str, where: Area) -> Mean:
        """Return a measure over the slices of an area.

        mean_error is prediction less label; r2 is 1 - MSE / variance of the label, below 0 where
        the mean label would do better, NaN where labels do not vary.
        """
        if name in _SUMS:
            value, influence = _mean(where, _SUMS[name])
            return linear(where, value, influence, method="mean over units, t")
        square, influence = _mean(where, "error2")
        if name == "root_mean_squared_error":
            root = np.sqrt(square)
            return linear(
                where, root, influence / np.where(root > 0, 2 * root, 1.0)[where.codes], scale="log"
            )
        label, of_label = _mean(where, "label")
        raw, of_raw = _mean(where, "label2")
        variance = raw - label**2
        # What rounding leaves of equal labels is no variance.
        varies = variance > 1e-12 * np.maximum(raw, 1e-300)
        variance = np.where(varies, variance, np.nan)
        share = square / variance
        moved = of_raw - 2 * label[where.codes] * of_label
        effect = -influence / variance[where.codes] + (share / variance)[where.codes] * moved
        return linear(where, 1 - share, effect)


def _mean(where: Area, name: str) -> tuple[FloatArray, FloatArray]:
    """Mean of a number over each slice, and each cell's influence for a weight of 1."""
    cells = where.cells
    total = where.sums(cells.w)
    value = over(where.sums(cells.numbers[name]), total)
    each = over(cells.numbers[name], cells.w)
    return value, (each - value[where.codes]) / total[where.codes]
