"""The section of the report on what candidates forgot: slices with their intervals, and rows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from shipworthy.core.locale import NO_NUMBER, number
from shipworthy.release import charts
from shipworthy.release.display import shown, text
from shipworthy.release.evidence import percent
from shipworthy.release.forgotten_records import Forgotten, ForgottenRow, ForgottenSlice
from shipworthy.release.forgotten_words import counted, ordered, slice_name
from shipworthy.release.standing import Survey

MOST_SLICES = 12
"""Slices of a candidate that are drawn."""

MOST_ROWS = 10
"""Rows of a candidate that are shown; the record keeps more."""

_CHANGE = shown("accuracy", relative=True)


@dataclass(frozen=True)
class SliceLine:
    """One slice: its name, what it is told together with, counts, drawing and numbers."""

    name: str
    alike: str
    n: str
    turned: str
    drawing: Markup
    figure: str
    interval: str
    p: str


@dataclass(frozen=True)
class RowLine:
    """One row that turned wrong."""

    name: str
    text: str
    sure: str
    label: str
    after: str


@dataclass(frozen=True)
class OfCandidate:
    """What one candidate forgot."""

    name: str
    summary: str
    slices: tuple[SliceLine, ...]
    ticks: Markup
    rows: tuple[RowLine, ...]
    rows_heading: str
    more: str


@dataclass(frozen=True)
class ForgottenSection:
    """The forgotten lists of all candidates that turned an answer wrong."""

    heading: str
    under: str
    candidates: tuple[OfCandidate, ...]
    note: str
    scored: bool
    has_texts: bool


def forgotten_section(survey: Survey) -> ForgottenSection | None:
    """Return what candidates forgot, None where no answer turned wrong."""
    lists = [(name, one) for name, one in ordered(survey) if one.turned_wrong]
    if not lists:
        return None
    # What lost the most comes first, and is read at once.
    lists.sort(key=lambda named: not named[1].found)
    ends = [_CHANGE.value(v) for _, one in lists for s in _drawn(one) for v in (s.low, s.high)]
    axis = charts.change_axis(ends, 0.0)
    confidence = percent(survey.judgement.confidence)
    return ForgottenSection(
        heading=_heading(survey, lists),
        under=text("forgotten.under", confidence=confidence),
        candidates=tuple(_of(survey, name, one, axis) for name, one in lists),
        note=_note(survey, lists),
        scored=any(one.scored for _, one in lists),
        has_texts=any(row.text for _, one in lists for row in one.rows),
    )


def _heading(survey: Survey, lists: Sequence[tuple[str, Forgotten]]) -> str:
    """Say the first finding, of the candidate that the verdict line names if it has one."""
    for name, one in lists:
        if one.found:
            first = one.found[0]
            return text(
                "forgotten.heading.found",
                name=name,
                slice=slice_name(survey, first),
                wrong=number(first.turned_wrong),
                n=number(first.n),
            )
    return text("forgotten.heading")


def _note(survey: Survey, lists: Sequence[tuple[str, Forgotten]]) -> str:
    rows = lists[0][1].words_in
    said = [text("forgotten.note.words", rows=number(rows))] if rows else []
    said = said or [text("forgotten.note.no_words")]
    if survey.judgement.unit is not None:
        said.append(text("forgotten.note.units", unit=survey.judgement.unit))
    return text("report.gap").join(said)


def _drawn(one: Forgotten) -> tuple[ForgottenSlice, ...]:
    return one.found[:MOST_SLICES]


def _of(survey: Survey, name: str, one: Forgotten, axis: charts.Axis) -> OfCandidate:
    drawn, rows = _drawn(one), one.rows[:MOST_ROWS]
    left = one.turned_wrong - len(rows)
    key = "forgotten.rows.surest" if one.scored else "forgotten.rows.in_order"
    return OfCandidate(
        name=name,
        summary=counted(name, one),
        slices=(*_whole(survey, one, axis), *(_slice_line(survey, s, axis) for s in drawn)),
        ticks=Markup(charts.tick_labels(axis)) if drawn else Markup(),
        rows=tuple(_row_line(row) for row in rows),
        rows_heading=text(key),
        more=text("forgotten.more", count=left, rows=number(left)) if left else "",
    )


def _whole(survey: Survey, one: Forgotten, axis: charts.Axis) -> list[SliceLine]:
    """Return the line of all rows above slices, where their change was measured."""
    found = survey.number(one.candidate, "accuracy", relative_to="parent")
    if found is None or not one.found:
        return []
    turned = (one.turned_wrong, one.turned_right)
    name = text("report.all_rows_title")
    return [_line(name, "", found.n, turned, (found.value, found.low, found.high), "", axis)]


def _slice_line(survey: Survey, one: ForgottenSlice, axis: charts.Axis) -> SliceLine:
    alike = text("report.list_comma").join(one.alike.split("\n")) if one.alike else ""
    return _line(
        slice_name(survey, one),
        text("forgotten.alike", names=alike) if alike else "",
        one.n,
        (one.turned_wrong, one.turned_right),
        (one.change, one.low, one.high),
        _p(one.p_adjusted),
        axis,
    )


def _line(
    name: str,
    alike: str,
    n: int,
    turned: tuple[int, int],
    change: tuple[float, float, float],
    p: str,
    axis: charts.Axis,
) -> SliceLine:
    figure, interval = _CHANGE.figure(change[0]), _CHANGE.interval(*change[1:])
    value, low, high = (_CHANGE.value(v) for v in change)
    x = charts.percent(axis.at(0.0))
    body = f'<line class="p" x1="{x}" x2="{x}" y1="0" y2="100%"/>'
    # No limit looks at it, so that it has neither a tint nor the colour of a verdict.
    body += charts.interval(charts.Interval(value, low, high, None), axis, "50%")
    label = text("clause.about", subject=name, said=f"{figure} {interval}")
    return SliceLine(
        name=name,
        alike=alike,
        n=number(n),
        turned=f"{number(turned[0])} / {number(turned[1])}",
        drawing=Markup(charts.svg(body, height=None, label=label, cls="fill")),
        figure=figure,
        interval=interval,
        p=p,
    )


def _p(value: float) -> str:
    """Return an adjusted p with two digits that count; one below 0.0001 as that."""
    if value < 1e-4:
        return text("forgotten.below", value=number(1e-4, 4))
    return number(value, 4 if value < 0.01 else 3)


def _row_line(row: ForgottenRow) -> RowLine:
    sure = NO_NUMBER if math.isnan(row.sure) else text("forgotten.sure", value=_sure(row.sure))
    return RowLine(name=row.row, text=row.text, sure=sure, label=row.label, after=row.after)


def _sure(probability: float) -> str:
    # Rounded down: nothing that a model guessed wrongly later was 100.0 % sure.
    return number(math.floor(probability * 1000 + 1e-9) / 10, 1)
