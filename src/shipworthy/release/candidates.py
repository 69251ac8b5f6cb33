"""The table of the parent and all candidates, with the limit that decided each.

Texts are finished, drawings are Markup; everything else is escaped by the template.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from markupsafe import Markup

from shipworthy.core.locale import NO_NUMBER, number
from shipworthy.core.records import Candidate
from shipworthy.release import charts
from shipworthy.release.display import capital, measure_name, shown, text
from shipworthy.release.limit_rows import LimitRow, orientation
from shipworthy.release.sections import drawn, icon_of, tone
from shipworthy.release.standing import Survey
from shipworthy.release.summary import why
from shipworthy.release.wording import drawing_label, group_name, outcome_word

QUALITY = ("accuracy", "balanced_accuracy", "f1", "auc")
COSTS = ("size_mb", "latency_p95_ms")


@dataclass(frozen=True)
class Cell:
    """One number of the candidates table; `key` names its place on a phone."""

    key: str
    value: str


@dataclass(frozen=True)
class CandidateLine:
    """One row of the candidates table."""

    outcome: str
    word: str
    icon: Markup
    name: str
    why: str
    costs: tuple[Cell, ...]
    group: str
    n: str
    drawing: Markup
    figure: str
    interval: str
    after: tuple[Cell, ...]
    is_parent: bool = False


@dataclass(frozen=True)
class Candidates:
    """The candidates table with its columns."""

    columns: tuple[Cell, ...]
    after: tuple[Cell, ...]
    change_head: str
    words: Markup
    ticks: Markup
    rows: tuple[CandidateLine, ...]
    own_scale: bool
    """Whether some row is decided by another measure and drawn to its own scale."""
    is_change: bool


def candidates_table(survey: Survey) -> Candidates:
    """Return the table of the parent and all candidates."""
    quality = next((m for m in QUALITY if survey.measured(m)), None)
    measures = [m for m in COSTS if survey.measured(m)] + ([quality] if quality else [])
    columns = tuple(Cell(m, _column(m)) for m in measures)
    ids = [c.id for c in survey.judgement.candidates]
    after = []
    if any(survey.turned(i) is not None for i in ids):
        after.append(Cell("turned", text("report.head.turned")))
    if survey.measured("expected_calibration_error"):
        after.append(Cell("expected_calibration_error", _column("expected_calibration_error")))
    deciders = {i: survey.decider(i) for i in ids}
    frame = Frame(survey, [r for r in deciders.values() if r is not None])
    lines = [_parent_line(survey, measures, after)]
    lines += [
        _candidate_line(survey, c, deciders[c.id], frame, measures, after) for c in survey.ordered
    ]
    return Candidates(
        columns,
        tuple(after),
        frame.head,
        Markup(charts.words(frame.limit_at)),
        Markup(charts.tick_labels(frame.axis)) if frame.axis is not None else Markup(),
        tuple(lines),
        frame.own_scale,
        frame.axis is not None,
    )


class Frame:
    """The scale of the change column: one axis where a change limit decides, else gauges.

    limit_at and parent_at are the places of the two lines, in per cent of the width.
    """

    def __init__(self, survey: Survey, deciders: list[LimitRow]) -> None:
        main = None if survey.main_limit is None else survey.judgement.limits[survey.main_limit]
        self.main = main if main is not None and main.relative_to != "none" else None
        self.axis: charts.Axis | None = None
        self.limit_at, self.parent_at = charts.GAUGE_LIMIT, charts.GAUGE_PARENT
        self.head = text("report.head.measured")
        own = [r for r in deciders if self.belongs(r)]
        if self.main is not None and own:
            form, first = own[0].form, own[0].decision
            self.axis = charts.change_axis(
                (form.value(r.decision.value) for r in own),
                form.value(first.bound),
                mirrored=first.side == "at_most",
            )
            self.head = text("report.head.change")
            if form.unit:
                self.head = text("report.column", name=self.head, unit=form.unit_text)
            main_bound = next(
                (r.decision.bound for r in own if r.decision.limit == survey.main_limit),
                first.bound,
            )
            limit, zero = (
                self.axis.at(form.value(main_bound)),
                self.axis.at(0.0 if first.value_unit != "ratio" else 1.0),
            )
            self.limit_at = limit
            self.parent_at = zero if zero > limit + 4 else min(limit + 30.0, 90.0)
        self.own_scale = self.axis is not None and len(own) < len(deciders)

    def belongs(self, row: LimitRow) -> bool:
        """Say whether a row is drawn on the shared axis."""
        return (
            self.main is not None
            and row.limit.measure == self.main.measure
            and row.limit.relative_to == self.main.relative_to
        )

    def axis_of(self, row: LimitRow) -> charts.Axis | None:
        """Return the axis on which a row is drawn; None where it has no number or no limit."""
        if not row.known or not math.isfinite(row.decision.bound):
            return None
        if self.axis is not None and self.belongs(row):
            return self.axis
        d, form = row.decision, row.form
        return charts.gauge_axis(
            drawn(d), form.value(d.bound), form.value(row.parent), at_least=orientation(d) > 0,
            limit_at=self.limit_at, parent_at=self.parent_at,
        )  # fmt: skip

    def draw(self, row: LimitRow) -> Markup:
        """Return the drawing of a row, as high as its table row."""
        d, form = row.decision, row.form
        axis, label = self.axis_of(row), drawing_label(d)
        if axis is None:
            return Markup(charts.empty(self.limit_at, label=label))
        bound, parent = form.value(d.bound), form.value(row.parent)
        return Markup(charts.change(drawn(d), axis, bound, label=label, parent=parent))


def _column(measure: str) -> str:
    name = capital(measure_name(measure, short=True))
    unit = shown(measure).unit_text
    return text("report.column", name=name, unit=unit) if unit else name


def _cells(survey: Survey, candidate: str, measures: list[str]) -> tuple[Cell, ...]:
    cells = []
    for measure in measures:
        found = survey.number(candidate, measure)
        figure = NO_NUMBER if found is None else shown(measure).figure(found.value)
        cells.append(Cell(measure, figure))
    return tuple(cells)


def _after(survey: Survey, candidate: str, after: list[Cell]) -> tuple[Cell, ...]:
    cells = []
    for column in after:
        if column.key == "turned":
            turned = survey.turned(candidate)
            both = NO_NUMBER if turned is None else f"{number(turned[0])} / {number(turned[1])}"
            cells.append(Cell("turned", both))
        else:
            cells += _cells(survey, candidate, [column.key])
    return tuple(cells)


def _parent_line(survey: Survey, measures: list[str], after: list[Cell]) -> CandidateLine:
    parent = survey.judgement.parent
    cells = tuple(
        Cell(c.key, "" if c.key == "turned" else c.value) for c in _after(survey, parent.id, after)
    )
    return CandidateLine(
        outcome="parent", word=text("report.parent"), icon=Markup(charts.icon(None, kind="parent")),
        name=parent.name, why="", costs=_cells(survey, parent.id, measures), group="", n="",
        drawing=Markup(), figure="", interval="", after=cells, is_parent=True,
    )  # fmt: skip


def _candidate_line(
    survey: Survey, candidate: Candidate, row: LimitRow | None, frame: Frame,
    measures: list[str], after: list[Cell],
) -> CandidateLine:  # fmt: skip
    outcome = survey.outcome(candidate.id)
    group = n = figure = interval = ""
    drawing = Markup()
    if row is not None:
        d, form = row.decision, row.form
        group = group_name(survey, d) or text("report.all_rows")
        if not frame.belongs(row):
            name = measure_name(d.measure, short=True)
            known = group_name(survey, d)
            group = text("report.subject.group", measure=name, group=known) if known else name
        n = text("report.n", n=number(d.n)) if d.n else ""
        drawing = frame.draw(row)
        figure = form.figure(d.value)
        figure = figure if frame.belongs(row) else form.with_unit(figure)
        interval = "" if d.low == d.high or not row.known else form.interval(d.low, d.high)
    return CandidateLine(
        outcome=tone(outcome),
        word=outcome_word(outcome),
        icon=icon_of(outcome),
        name=candidate.name,
        why=why(survey, candidate),
        costs=_cells(survey, candidate.id, measures),
        group=group,
        n=n,
        drawing=drawing,
        figure=figure,
        interval=interval,
        after=_after(survey, candidate.id, after),
    )
