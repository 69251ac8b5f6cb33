"""The one ruler: every subject measured on the same rows, for the table and for each limit.

A subject is the parent or a candidate: its answers on the rows, and the numbers that come from
elsewhere (size, speed). `Ruler` turns it into rows of the table of measurements and into the
evidence that the rules of the gate decide on; it decides nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from shipworthy.core.records import Candidate, Limit, Measurement, RelativeTo
from shipworthy.measure.catalogue import MEASURES
from shipworthy.measure.decide import Evidence, assess
from shipworthy.measure.estimates import Estimate, Fact, Unmeasured
from shipworthy.measure.fairness import spread_over
from shipworthy.measure.quality import quality
from shipworthy.measure.slices import Partition, crossings, partition
from shipworthy.release.limit_evidence import columns_looked_at, evidence_on, over, value_unit

if TYPE_CHECKING:
    from shipworthy.model.predictions import Predictions

MACRO = ("f1", "precision")
"""Measures that need replicates where there is no one positive class: only made when asked for."""


MOST_COMPARED = 30
"""Groups beyond which spreads are only made when asked for: every pair of groups is compared."""


@dataclass(frozen=True, eq=False)
class Subject:
    """The parent or a candidate, as it was measured.

    numbers: estimates that hold for the artefact as a whole, (measure, relative_to) -> one value.
    """

    candidate: Candidate
    predictions: Predictions
    numbers: Mapping[tuple[str, RelativeTo], Estimate] = field(default_factory=dict)


class Ruler:
    """Measures subjects against one parent.

    intersections: up to how many group columns are crossed for `each group`.
    """

    def __init__(
        self,
        parent: Subject,
        *,
        groups: Sequence[str],
        unit: str | None,
        intersections: int = 1,
        confidence: float = 0.95,
        split: str = "test",
        run: str = "",
    ) -> None:
        self.parent = parent
        self.groups = tuple(groups)
        self.unit = unit
        self.crossed = crossings(self.groups, intersections)
        self.confidence = confidence
        self.split, self.run = split, run
        self._partitions: dict[tuple[str, ...], Partition] = {}
        self._estimates: dict[tuple[str, str, tuple[str, ...], str], Estimate] = {}

    def rows(self, columns: tuple[str, ...] = ()) -> Partition:
        """Return the rows split by some columns."""
        import polars as pl

        if columns not in self._partitions:
            frame = self.parent.predictions.frame
            if not frame.columns:
                # A frame without columns has no rows either; the test set still has.
                frame = pl.DataFrame({"row": np.arange(len(self.parent.predictions))})
            self._partitions[columns] = partition(frame, columns, unit=self.unit)
        return self._partitions[columns]

    def estimate(
        self, subject: Subject, measure: str, columns: tuple[str, ...], relative_to: RelativeTo
    ) -> Estimate:
        """Return a measure of a subject over all slices of some columns."""
        key = (subject.candidate.id, measure, columns, relative_to)
        if key not in self._estimates:
            self._estimates[key] = self._measure(subject, measure, columns, relative_to)
        return self._estimates[key]

    def _measure(
        self, subject: Subject, measure: str, columns: tuple[str, ...], relative_to: RelativeTo
    ) -> Estimate:
        kind, rows = MEASURES[measure], self.rows(columns)
        if kind.kind == "spread":
            return spread_over(measure, rows, subject.predictions)
        if kind.kind == "quality":
            compared = self.parent.predictions if relative_to == "parent" else None
            return quality(measure, rows, subject.predictions, compared)
        return self._number(subject, measure, relative_to)

    def _number(self, subject: Subject, measure: str, relative_to: RelativeTo) -> Estimate:
        """Return what was measured of the artefact as a whole, or its ratio to the parent's."""
        found = subject.numbers.get((measure, relative_to))
        if found is not None:
            return found
        own = subject.numbers.get((measure, "none"))
        parent = self.parent.numbers.get((measure, "none"))
        if relative_to == "parent" and isinstance(own, Fact) and isinstance(parent, Fact):
            if MEASURES[measure].alone or not np.all(parent.value):
                return Unmeasured("not_measured")
            return Fact(np.asarray(own.value) / np.asarray(parent.value))
        return Unmeasured("not_measured")

    # -- what limits look at ---------------------------------------------------------------------

    def evidence(self, subject: Subject, limits: Sequence[Limit]) -> list[Evidence]:
        """Return what each limit looks at, in the order of the policy."""
        return [item for index, limit in enumerate(limits)
                for item in self._evidence(subject, limit, index)]  # fmt: skip

    def _evidence(self, subject: Subject, limit: Limit, index: int) -> Iterator[Evidence]:
        bound = self._bound(subject, limit)
        for columns in self._columns(limit):
            estimate = self.estimate(subject, limit.measure, columns, limit.relative_to)
            yield evidence_on(limit, index, columns, self.rows(columns).slices, estimate, bound)

    def _columns(self, limit: Limit) -> tuple[tuple[str, ...], ...]:
        return columns_looked_at(limit, self.groups, self.crossed)

    def _bound(self, subject: Subject, limit: Limit) -> float:
        if not isinstance(limit.bound, str):
            return limit.bound
        other = subject.numbers.get((limit.bound, "none"))
        return float(np.asarray(other.value).ravel()[0]) if isinstance(other, Fact) else np.nan

    # -- the table -------------------------------------------------------------------------------

    def measurements(self, subject: Subject, limits: Sequence[Limit] = ()) -> list[Measurement]:
        """Return the rows of the table for a subject: what can be measured and what limits ask.

        On all rows and on each group column; crossings where `intersections` or a limit has them.
        """
        asked = {(limit.measure, columns) for limit in limits for columns in self._columns(limit)}
        partitions = dict.fromkeys([(), *self.crossed, *(columns for _, columns in asked)])
        found: list[Measurement] = []
        for columns in partitions:
            for measure, kind in MEASURES.items():
                if kind.kind == "spread":
                    few = self.rows(columns).m <= MOST_COMPARED
                    if columns and (few or (measure, columns) in asked):
                        found += self.rows_of(subject, measure, columns, "none")
                    continue
                if kind.kind != "quality":
                    if not columns:
                        found += self.rows_of(subject, measure, columns, "none")
                        found += self.rows_of(subject, measure, columns, "parent")
                        if kind.kind == "probe":
                            found += self.rows_of(subject, measure, columns, "baseline")
                    continue
                macro = measure in MACRO and subject.predictions.positive is None
                if macro and columns and (measure, columns) not in asked:
                    continue
                if "parent" not in kind.needs:
                    found += self.rows_of(subject, measure, columns, "none")
                found += self.rows_of(subject, measure, columns, "parent")
        return found

    def point_estimates(self, subject: Subject) -> list[Measurement]:
        """Return what an objective may rank by: accuracy and the numbers of the whole artefact."""
        wanted = [
            "accuracy",
            "mean_absolute_error",
            *(m for m, k in MEASURES.items() if k.kind in ("speed", "fact")),
        ]
        return [row for m in wanted for row in self.rows_of(subject, m, (), "none")]

    def rows_of(
        self, subject: Subject, measure: str, columns: tuple[str, ...], relative_to: RelativeTo
    ) -> list[Measurement]:
        """Return the rows of the table for one measure on all slices of some columns."""
        if relative_to == "parent" and subject is self.parent:
            return []
        estimate = self.estimate(subject, measure, columns, relative_to)
        if isinstance(estimate, Unmeasured):
            return []
        spread = MEASURES[measure].kind == "spread"
        slices = (over(columns),) if spread else self.rows(columns).slices
        shown = assess(estimate, confidence=self.confidence)
        candidate, unit = subject.candidate, value_unit(measure, relative_to)
        return [
            Measurement(
                candidate=candidate.id,
                measure=measure,
                value=float(shown.value[k]),
                low=float(shown.low[k]),
                high=float(shown.high[k]),
                slice=one.json,
                relative_to=relative_to,
                n=_whole(shown.n[k]),
                n_units=_whole(shown.units[k]),
                n_effective=float(np.nan_to_num(shown.n_effective[k])),
                value_unit=unit,
                method=shown.method,
                confidence=self.confidence,
                run=self.run,
                data_digest=self.parent.predictions.data_digest,
                artefact_digest=candidate.artefact_digest,
                split=self.split,
                device_flags=" ".join(candidate.device_flags),
                seed=candidate.seed,
            )
            for k, one in enumerate(slices)
        ]


def _whole(count: Any) -> int:
    return int(round(float(count))) if np.isfinite(count) else 0
