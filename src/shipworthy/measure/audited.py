"""What can be said of each group in an audit of answers: one estimate a measure over the groups.

A class is looked at against the rest: positive is a row with its label, selected a row answered
with it. All shares of a confusion matrix, and what scores and benefits say; the names are those
that limits use.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from shipworthy.measure import benefits, cell_calibration, cell_means
from shipworthy.measure.cells import Area, Cells, area, condensed, rate
from shipworthy.measure.estimates import Estimate, F1Score, Mean, Rate, RateMean, Unmeasured

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from shipworthy.measure.tally import Counted

    FloatArray: TypeAlias = NDArray[np.float64]
    BoolArray: TypeAlias = NDArray[np.bool_]

RATES = (
    "selection_rate", "base_rate", "true_positive_rate", "false_positive_rate",
    "true_negative_rate", "false_negative_rate", "positive_predictive_value",
    "negative_predictive_value", "accuracy", "error_rate",
)  # fmt: skip
"""Shares of counted rows; the first needs no labels."""

ODDS = "false_negative_false_positive_ratio"
BENEFITS = ("theil_index", "generalized_entropy_index")
SCORED: dict[str, Callable[[Area, BoolArray, FloatArray], Mean]] = {
    "auc": cell_means.auc,
    "expected_calibration_error": cell_calibration.expected_calibration_error,
    "calibration_difference": cell_calibration.calibration_difference,
    "calibration_slope": cell_calibration.calibration_slope,
    "log_loss": cell_means.log_loss,
    "brier_score": cell_means.brier_score,
}
"""Measures that need P(positive)."""

ALIASES = {"precision": "positive_predictive_value", "recall": "true_positive_rate"}
"""Names of limits for shares that an audit shows under another name."""


@dataclass(frozen=True, eq=False)
class Answers:
    """Answers that were counted, one class against the rest.

    positive: place of the class in `classes`, of labels and predictions alike; None looks at no
    class (accuracy alone). labelled: whether there are labels.
    """

    counted: Counted
    classes: tuple[str, ...]
    positive: int | None
    labelled: bool
    _areas: dict[tuple[tuple[str, ...], bool], Area] = field(default_factory=dict, repr=False)

    @property
    def measures(self) -> tuple[str, ...]:
        """Names that can be measured on each group."""
        if self.positive is None:
            return ("accuracy", "error_rate") if self.labelled else ()
        if not self.labelled:
            return RATES[:1]
        scored = tuple(SCORED) if self.counted.scored is not None else ()
        return (*RATES, ODDS, *BENEFITS, *scored)

    def area(self, columns: tuple[str, ...] = (), *, scored: bool = False) -> Area:
        """Slices of the counted cells, with or without scores."""
        if (columns, scored) not in self._areas:
            cells = self.counted.scored if scored else self.counted.cells
            assert cells is not None
            where = area(cells, columns)
            if "score" not in cells.numbers or "bin" in cells.keys:
                where = condensed(where, *(["score"] if scored else []))
            self._areas[columns, scored] = where
        return self._areas[columns, scored]

    def estimate(self, measure: str, columns: tuple[str, ...]) -> Estimate:
        """Return a measure over all slices of some columns."""
        name = ALIASES.get(measure, measure)
        scored = name in SCORED and self.counted.scored is not None
        return self.on(name, self.area(columns, scored=scored))

    def on(self, name: str, where: Area) -> Estimate:
        """Return a measure over the slices of an area; of scored cells where it needs scores."""
        if name in RATES:
            return self.rate(name, where)
        if name in SCORED and "score" not in where.cells.numbers:
            return Unmeasured("no_scores", where.m)
        if not self.labelled:
            return Unmeasured("not_measured", where.m)
        if name == "balanced_accuracy":
            return self._balanced(where)
        if self.positive is None:
            return Unmeasured("no_positive_class", where.m)
        y = self._positive(where.cells)
        if name in SCORED:
            return SCORED[name](where, y, where.cells.numbers["score"])
        s = self._selected(where.cells)
        if name in BENEFITS:
            return getattr(benefits, name)(where, y, s)  # type: ignore[no-any-return]
        if name == ODDS:
            return rate(where, y != s, y)
        if name == "f1":
            return F1Score(rate(where, y | s, y & s))
        return Unmeasured("not_measured", where.m)

    def rate(self, name: str, where: Area) -> Rate | Unmeasured:
        """Return one of `RATES` over the slices of an area."""
        cells = where.cells
        everyone = np.ones(len(cells), dtype=bool)
        if name in ("accuracy", "error_rate"):
            if not self.labelled:
                return Unmeasured("not_measured", where.m)
            right = cells.keys["label"] == cells.keys["prediction"]
            return rate(where, everyone, right if name == "accuracy" else ~right)
        if self.positive is None:
            return Unmeasured("no_positive_class", where.m)
        s = self._selected(cells)
        if name == "selection_rate":
            return rate(where, everyone, s)
        if not self.labelled:
            return Unmeasured("not_measured", where.m)
        y = self._positive(cells)
        counted, success = {
            "base_rate": (everyone, y),
            "true_positive_rate": (y, s),
            "false_positive_rate": (~y, s),
            "true_negative_rate": (~y, ~s),
            "false_negative_rate": (y, ~s),
            "positive_predictive_value": (s, y),
            "negative_predictive_value": (~s, ~y),
        }[name]
        return rate(where, counted, success)

    def _balanced(self, where: Area) -> RateMean:
        labels = where.cells.keys["label"]
        right = labels == where.cells.keys["prediction"]
        return RateMean(tuple(rate(where, labels == c, right) for c in np.unique(labels)))

    def _positive(self, cells: Cells) -> BoolArray:
        return np.asarray(cells.keys["label"] == self.positive)

    def _selected(self, cells: Cells) -> BoolArray:
        return np.asarray(cells.keys["prediction"] == self.positive)

    def chosen(self, cells: Cells, *, labels: bool) -> BoolArray:
        """Rows with the positive label, or answered so."""
        return self._positive(cells) if labels else self._selected(cells)
