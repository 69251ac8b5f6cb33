"""Where every candidate stands: what decided, in which order they are shown.

`survey` reads a Judgement once and answers what pages, sentences and the terminal ask of it. It
decides nothing: each outcome is the one in the judgement.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from shipworthy.core.records import (
    ALL_ROWS,
    Answer,
    Candidate,
    Decision,
    Outcome,
    Slice,
    Verdict,
)
from shipworthy.release.display import text
from shipworthy.release.judgement import Judgement
from shipworthy.release.limit_rows import RANK, LimitRow, deciding, uncovered

_OF_ANSWER = {
    Answer.SHIP: Outcome.PASS,
    Answer.HOLD: Outcome.FAIL,
    Answer.UNDECIDED: Outcome.CANNOT_TELL,
}
OBJECTIVES = {
    "size": ("size_mb", 1.0),
    "latency": ("latency_p95_ms", 1.0),
    "throughput": ("throughput_rows_per_s", -1.0),
    "quality": ("accuracy", -1.0),
}
"""What each objective minimises: a measure and its sign."""

QUALITY_OF_NUMBERS = ("mean_absolute_error", 1.0)
"""What `quality` minimises where answers are numbers."""


@dataclass(frozen=True)
class Number:
    """One measured value with its interval and the rows it rests on."""

    value: float
    low: float
    high: float
    n: int
    value_unit: str = ""
    method: str = "exact"


class Survey:
    """All questions that a page asks of one judgement, answered once."""

    def __init__(self, judgement: Judgement) -> None:
        self.judgement = judgement
        self._numbers: dict[tuple[str, str, str, str], Number] = {}
        # What is measured on another split (validation before nomination) is not of this verdict.
        splits = ("test", "") if judgement.kind != "rehearsal" else ("validation", "test", "")
        for row in judgement.measurements.iter_rows(named=True):
            key = (row["candidate"], row["measure"], row["slice"], row["relative_to"])
            if row.get("split", "test") in splits and key not in self._numbers:
                value, low, high = (
                    math.nan if row[name] is None else float(row[name])
                    for name in ("value", "low", "high")
                )
                self._numbers[key] = Number(
                    value,
                    low,
                    high,
                    row["n"] or 0,
                    row.get("value_unit") or "",
                    row.get("method") or "exact",
                )

    # -- numbers -------------------------------------------------------------------------------

    def number(
        self, candidate: str, measure: str, *, slice: str = "{}", relative_to: str = "none"
    ) -> Number | None:
        """Return a measured number, or None where it was not measured or is NaN."""
        found = self._numbers.get((candidate, measure, slice, relative_to))
        return None if found is None or math.isnan(found.value) else found

    def measured(self, measure: str) -> bool:
        """Say whether any artefact has this measure on all rows."""
        ids = [self.judgement.parent.id, *(c.id for c in self.judgement.candidates)]
        return any(self.number(i, measure) is not None for i in ids)

    def slices_of(self, measure: str, *, relative_to: str = "none") -> list[str]:
        """Return the slices, all rows left out, on which any candidate has this measure."""
        ids = {c.id for c in self.judgement.candidates}
        found = {
            key[2]: None
            for key, number in self._numbers.items()
            if key[0] in ids
            and key[1] == measure
            and key[3] == relative_to
            and key[2] != ALL_ROWS.json
            and not math.isnan(number.value)
        }
        return list(found)

    def turned(self, candidate: str, *, slice: str = "{}") -> tuple[int, int, int] | None:
        """Return rows turned wrong, turned right and all rows, or None."""
        found = []
        for measure in ("turned_wrong", "turned_right"):
            one = self.number(candidate, measure, slice=slice, relative_to="parent")
            one = one or self.number(candidate, measure, slice=slice)
            if one is None:
                return None
            is_share = one.value_unit in ("share", "rate")
            found.append((round(one.value * one.n if is_share else one.value), one.n))
        return found[0][0], found[1][0], found[0][1]

    # -- limits --------------------------------------------------------------------------------

    @cached_property
    def rows(self) -> Mapping[str, tuple[LimitRow, ...]]:
        """The limits of each candidate, in the order of the policy; unmeasured candidates: ()."""
        found: dict[str, dict[int, list[Decision]]] = {c.id: {} for c in self.judgement.candidates}
        for decision in self.judgement.decisions:
            if decision.candidate in found:
                found[decision.candidate].setdefault(decision.limit, []).append(decision)
        return {
            candidate: tuple(self._row(index, d) for index, d in sorted(limits.items()))
            for candidate, limits in found.items()
        }

    def _row(self, index: int, children: list[Decision]) -> LimitRow:
        verdict = self.verdict(children[0].candidate)
        left = [d for d in children if uncovered(d, verdict)]
        first = deciding([d for d in children if not uncovered(d, verdict)] or children)
        return LimitRow(
            self.judgement.limits[index],
            first,
            tuple(children),
            tuple(left),
            self._parent_on(first),
        )

    def _parent_on(self, decision: Decision) -> float:
        if decision.relative_to == "parent":
            return 1.0 if decision.value_unit == "ratio" else 0.0
        if decision.relative_to != "none":
            return math.nan
        found = self.number(self.judgement.parent.id, decision.measure, slice=decision.slice)
        return math.nan if found is None else found.value

    def decider(self, candidate: str) -> LimitRow | None:
        """Return the limit that decided a candidate.

        The worst outcome among those that count; among these the change limit over groups that the
        tables draw, then the one with the least room.
        """
        rows = [r for r in self.rows[candidate] if r.counts] or list(self.rows[candidate])
        if not rows:
            return None
        main = self.main_limit
        return min(
            rows,
            key=lambda r: (RANK[r.outcome], r.decision.limit != main, not r.known, r.closeness),
        )

    def closest(self, candidate: str) -> LimitRow | None:
        """Return the counting limit with the least room, for a candidate inside all of them."""
        rows = [r for r in self.rows[candidate] if r.counts and r.known]
        return min(rows, key=lambda r: r.closeness) if rows else None

    @cached_property
    def main_limit(self) -> int | None:
        """Index of the limit drawn in the candidates table.

        A change over groups first, then any change against the parent, then the first limit; what
        is advisory only when there is nothing else.
        """
        present = {d.limit for d in self.judgement.decisions}

        def place(i: int) -> tuple[bool, bool, bool, int]:
            limit = self.judgement.limits[i]
            return (
                limit.tier == "advisory",
                limit.relative_to == "none",
                limit.slices == "all",
                i,
            )

        return min(present, key=place) if present else None

    # -- candidates ----------------------------------------------------------------------------

    def candidate(self, id: str) -> Candidate:
        """Return a candidate by id."""
        return next(c for c in self.judgement.candidates if c.id == id)

    def name_of(self, id: str) -> str:
        """Return the name of a candidate or of the parent; the id where it is neither."""
        artefacts = (self.judgement.parent, *self.judgement.candidates)
        return next((c.name for c in artefacts if c.id == id), id)

    def verdict(self, candidate: str) -> Verdict | None:
        """Return the verdict of a candidate, or None where it got none."""
        return next((v for v in self.judgement.verdicts if v.candidate == candidate), None)

    def outcome(self, candidate: str) -> Outcome | None:
        """Return the outcome of a candidate as mark and word, or None without a verdict."""
        verdict = self.verdict(candidate)
        return None if verdict is None else _OF_ANSWER[verdict.answer]

    def by_objective(self, candidate: str) -> tuple[bool, float, int]:
        """Sort key: the release objective, best first; unmeasured last; then the given order."""
        place = [c.id for c in self.judgement.candidates].index(candidate)
        measure, sign = OBJECTIVES.get(self.judgement.objective, ("", 1.0))
        found = self.number(candidate, measure) if measure else None
        if found is None and self.judgement.objective == "quality":
            measure, sign = QUALITY_OF_NUMBERS
            found = self.number(candidate, measure)
        return (found is None, 0.0 if found is None else sign * found.value, place)

    @cached_property
    def ordered(self) -> tuple[Candidate, ...]:
        """Candidates in table order: pass, cannot tell, fail, none; then by the objective."""

        def place(c: Candidate) -> tuple[int, tuple[bool, float, int]]:
            outcome = self.outcome(c.id)
            return (3 if outcome is None else 2 - RANK[outcome], self.by_objective(c.id))

        return tuple(sorted(self.judgement.candidates, key=place))

    @cached_property
    def named(self) -> Candidate | None:
        """The candidate that the verdict line names.

        The best where one ships; else, of those that were nominated, the one nearest to shipping:
        the first undecided by the objective, else the first. None without candidates.
        """
        if self.judgement.best is not None:
            return self.candidate(self.judgement.best)
        pool = [c for c in self.ordered if c.id in self.judgement.nominated] or list(self.ordered)
        undecided = [c for c in pool if self.outcome(c.id) is Outcome.CANNOT_TELL]
        return next(iter(undecided or pool), None)

    # -- slices --------------------------------------------------------------------------------

    @cached_property
    def _columns_of_value(self) -> dict[str, set[str]]:
        columns: dict[str, set[str]] = {}
        seen = {key[2] for key in self._numbers} | {d.slice for d in self.judgement.decisions}
        for one in seen:
            for column, value in Slice.parse(one).conditions:
                columns.setdefault(str(value), set()).add(column)
        return columns

    def slice_label(self, slice: Slice) -> str | None:
        """Return the name of a slice for people; None for all rows.

        A text value stands alone while it belongs to one column only ("movie"); others are told
        with their column ("mentions_female: true").
        """
        if slice == ALL_ROWS:
            return None
        parts = []
        for column, value in slice.conditions:
            plain = str(value).lower() if isinstance(value, bool) else str(value)
            plain = text("report.missing_value") if value is None else plain
            name = self.judgement.group_names.get(str(value), plain)
            own = self._columns_of_value.get(str(value), ())
            alone = isinstance(value, str) and len(own) == 1
            known = str(value) in self.judgement.group_names
            shared = len(own) > 1
            parts.append(name if alone or (known and not shared) else f"{column}: {name}")
        return " × ".join(parts)


def survey(judgement: Judgement) -> Survey:
    """Return the answers that pages, sentences and the terminal ask of a judgement."""
    return Survey(judgement)
