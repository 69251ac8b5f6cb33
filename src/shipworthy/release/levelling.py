"""Levelling down: where a gap narrows since the better-off lose, and nobody gains.

A spread alone cannot tell that from help (Mittelstadt, Wachter and Russell 2023): it is 0 as well
where everybody fares badly. So of each mitigated candidate it is asked who moved, by the change of
each group against the parent on the same rows:

    down        the gap is narrower, no group's change lies above 0 with its whole interval, and
                that of the group which was best off lies below it
    unproven    the gap is narrower by a point or more, and no group's change lies above 0 so

What is better is as the measure says; of `selection_rate` more is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from shipworthy.core.locale import number
from shipworthy.core.records import Slice
from shipworthy.measure.catalogue import MEASURES
from shipworthy.measure.fairness import SPREADS
from shipworthy.release.display import measure_name, text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from shipworthy.core.records import Candidate
    from shipworthy.release.standing import Number, Survey

Found: TypeAlias = Literal["down", "unproven"]

LEAST_ROWS = 20
"""Rows of a group that is looked at, at least; smaller ones carry no verdict either."""
LEAST_NARROWED = 0.01
"""By how much a gap has to narrow before it is worth a word that nobody is shown to gain."""


@dataclass(frozen=True)
class Levelling:
    """How one gap narrowed. before, after: highest less lowest; best: the group best off before.

    change, low, high: of that group against the parent.
    """

    candidate: str
    column: str
    measure: str
    found: Found
    before: float
    after: float
    best: Slice
    change: float
    low: float
    high: float

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON values; shares in [0, 1]."""
        return {
            "found": self.found,
            "column": self.column,
            "measure": self.measure,
            "gap_before": self.before,
            "gap_after": self.after,
            "best": dict(self.best.conditions),
            "change": {"value": self.change, "low": self.low, "high": self.high},
        }


def levellings(survey: Survey, candidate: Candidate) -> tuple[Levelling, ...]:
    """Return the gaps of a mitigated candidate that narrowed without anybody's gain."""
    if candidate.lever != "mitigate":
        return ()
    found = (
        _levelling(survey, candidate, column, measure)
        for column in survey.judgement.groups
        for measure in _measures(survey)
    )
    return tuple(one for one in found if one is not None)


def levelling_lines(survey: Survey) -> list[str]:
    """Return what is to be said of all candidates, a sentence each."""
    return list(_lines(survey))


def _lines(survey: Survey) -> Iterator[str]:
    for candidate in survey.ordered:
        for one in levellings(survey, candidate):
            signed = [number(100 * v, 1, sign=True) for v in (one.change, one.low, one.high)]
            yield text(
                f"levelling.{one.found}", name=candidate.name, column=one.column,
                measure=measure_name(one.measure), before=number(100 * one.before, 1),
                after=number(100 * one.after, 1), best=survey.slice_label(one.best) or "",
                change=signed[0], low=signed[1], high=signed[2],
            )  # fmt: skip


def _measures(survey: Survey) -> list[str]:
    """Return accuracy, and the shares whose spread or whose groups a limit looks at."""
    found = {"accuracy": None}
    for limit in survey.judgement.limits:
        if limit.measure in SPREADS:
            found |= dict.fromkeys(SPREADS[limit.measure][1])
        elif MEASURES[limit.measure].kind == "quality" and limit.slices != "all":
            found[limit.measure] = None
    return list(found)


def _levelling(survey: Survey, candidate: Candidate, column: str, measure: str) -> Levelling | None:
    sign = 1.0 if MEASURES[measure].better == "high" else -1.0
    parent = survey.judgement.parent.id
    moved: list[_Moved] = []
    for written in survey.slices_of(measure, relative_to="parent"):
        if Slice.parse(written).columns != (column,):
            continue
        before = survey.number(parent, measure, slice=written)
        after = survey.number(candidate.id, measure, slice=written)
        change = survey.number(candidate.id, measure, slice=written, relative_to="parent")
        if before is None or after is None or change is None or after.n < LEAST_ROWS:
            continue
        moved.append(_Moved(Slice.parse(written), sign, before.value, after.value, change))
    if len(moved) < 2:
        return None
    gap_before = max(one.before for one in moved) - min(one.before for one in moved)
    gap_after = max(one.after for one in moved) - min(one.after for one in moved)
    if gap_after >= gap_before or any(one.gained for one in moved):
        return None
    best = max(moved, key=lambda one: one.sign * one.before)
    kind: Found = "down" if best.lost else "unproven"
    if kind == "unproven" and gap_before - gap_after < LEAST_NARROWED:
        return None
    change = best.change
    return Levelling(
        candidate.id, column, measure, kind, gap_before, gap_after, best.slice, change.value,
        change.low, change.high,
    )  # fmt: skip


@dataclass(frozen=True)
class _Moved:
    """How one group moved. sign: 1 where more is better, else -1."""

    slice: Slice
    sign: float
    before: float
    after: float
    change: Number

    @property
    def gained(self) -> bool:
        return min(self.sign * self.change.low, self.sign * self.change.high) > 0

    @property
    def lost(self) -> bool:
        return max(self.sign * self.change.low, self.sign * self.change.high) < 0
