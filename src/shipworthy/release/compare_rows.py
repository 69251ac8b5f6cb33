"""Which rows two runs have in common, and what one candidate of each answered on them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from shipworthy.release.answers_table import UNIT, AnswersTable

if TYPE_CHECKING:
    import polars as pl
    from numpy.typing import NDArray

    from shipworthy.core.records import Candidate
    from shipworthy.measure.slices import Partition
    from shipworthy.model.predictions import Predictions

    IntArray: TypeAlias = NDArray[np.int64]

ENOUGH = 0.5
"""Share of each run's rows that must be common before these alone are compared."""


@dataclass(frozen=True, eq=False)
class SharedRows:
    """Rows with the same name and the same label in both runs.

    before, after: their places in the two tables, shape (k,). relabelled: rows in common whose
    label differs (left out); regrouped: rows kept whose group differs.
    """

    rows_before: int
    rows_after: int
    before: IntArray
    after: IntArray
    relabelled: int = 0
    regrouped: int = 0

    def __len__(self) -> int:
        return len(self.before)

    @property
    def all_of_both(self) -> bool:
        """Whether both runs have these rows and no others."""
        return len(self) == self.rows_before == self.rows_after

    @property
    def enough(self) -> bool:
        """Whether a comparison of these rows alone says something about both runs."""
        most = max(self.rows_before, self.rows_after)
        return len(self) > 0 and len(self) >= ENOUGH * most


def shared_rows(before: AnswersTable, after: AnswersTable) -> SharedRows:
    """Find the rows that two tables of answers have in common, in the order of the second.

    A name that stands there several times (texts may) pairs as often as it does in both.
    """
    import polars as pl

    none = np.zeros(0, dtype=np.int64)
    sizes = before.frame.height, after.frame.height
    if before.named_by != after.named_by:
        return SharedRows(*sizes, none, none)
    joined = _keyed(after).join(_keyed(before), on=["row", "turn"], suffix="_before").sort("place")
    same = joined.filter(pl.col("label") == pl.col("label_before"))
    places = [same[c].cast(pl.Int64).to_numpy() for c in ("place_before", "place")]
    moved = np.zeros(same.height, dtype=bool)
    for column in set(before.groups) & set(after.groups):
        old, new = (
            t.columns(p)[column].cast(pl.String)
            for t, p in zip((before, after), places, strict=True)
        )
        moved |= ~old.eq_missing(new).to_numpy()
    return SharedRows(
        sizes[0],
        sizes[1],
        places[0],
        places[1],
        relabelled=joined.height - same.height,
        regrouped=int(moved.sum()),
    )


def _keyed(table: AnswersTable) -> pl.DataFrame:
    import polars as pl

    named = table.frame.select("row", pl.col("label").cast(pl.String)).with_row_index("place")
    return named.sort("row", "label", "place").with_columns(turn=pl.int_range(pl.len()).over("row"))


@dataclass(frozen=True, eq=False)
class Sides:
    """What a candidate and its parent answered on the shared rows, in one of the runs."""

    own: Predictions
    parent: Predictions


@dataclass(frozen=True, eq=False)
class SharedAnswers:
    """Both runs' answers on the rows in common; groups and units are those of the second run."""

    rows: SharedRows
    before: AnswersTable
    after: AnswersTable

    def partition(self, columns: tuple[str, ...]) -> Partition | None:
        """Split the shared rows by group columns; None where the second run lacks one of them."""
        import polars as pl

        from shipworthy.measure.slices import partition

        if not set(columns) <= set(self.after.groups):
            return None
        frame = self.after.columns(self.rows.after)
        if not frame.columns:
            frame = pl.DataFrame({UNIT: self.rows.after})
        return partition(frame, columns, unit=UNIT if self.after.has_units else None)

    def sides(
        self,
        before: Candidate,
        after: Candidate,
        *,
        parent_before: Candidate,
        parent_after: Candidate,
    ) -> tuple[Sides, Sides] | None:
        """Return both sides of a pair of candidates; None where a table lacks one of the four."""
        from shipworthy.model.class_names import in_order

        classes = in_order({*self.before.classes, *self.after.classes})
        old = [self.before.predictions(c.id, self.rows.before, classes)
               for c in (before, parent_before)]  # fmt: skip
        new = [self.after.predictions(c.id, self.rows.after, classes)
               for c in (after, parent_after)]  # fmt: skip
        if None in (*old, *new):
            return None
        positive = self.after.positive if self.after.positive == self.before.positive else None
        known = [replace(p, positive=positive) for p in (*old, *new) if p is not None]
        own = _marked(known[0], known[2], before, after)
        parent = _marked(known[1], known[3], parent_before, parent_after)
        return Sides(own[0], parent[0]), Sides(own[1], parent[1])


def _marked(
    before: Predictions, after: Predictions, one: Candidate, other: Candidate
) -> tuple[Predictions, Predictions]:
    """Give equal digests to the answers of one artefact, if they are equal too.

    The same bytes may answer otherwise on another machine: then there is something to compare.
    """
    same = bool(one.artefact_digest) and one.artefact_digest == other.artefact_digest
    if same and equal_answers(before, after):
        digest = one.artefact_digest
        return replace(before, digest=digest), replace(after, digest=digest)
    return before, after


def equal_answers(before: Predictions, after: Predictions) -> bool:
    """Say whether two models answered the same on every row, with the same scores."""
    if not np.array_equal(before.predicted, after.predicted):
        return False
    if before.form == "number":
        return np.array_equal(before.values["prediction"], after.values["prediction"])
    if before.scores is None or after.scores is None:
        return before.scores is after.scores
    return before.scored == after.scored and np.array_equal(before.scores, after.scores)
