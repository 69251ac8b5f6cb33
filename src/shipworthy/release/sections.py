"""The sections of the report as plain rows: what the template prints, and nothing it would compute.

Texts are finished, drawings are Markup; everything else is escaped by the template.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from markupsafe import Markup

from shipworthy.core.locale import NO_NUMBER, number
from shipworthy.core.records import Candidate, Decision, Limit, Outcome
from shipworthy.release import charts
from shipworthy.release.display import capital, measure_name, shown, text
from shipworthy.release.standing import LimitRow, Survey, form_of, orientation
from shipworthy.release.summary import why
from shipworthy.release.wording import (
    answer_word,
    bound_figure,
    drawing_label,
    group_name,
    limit_detail,
    limit_title,
    outcome_word,
    reason_text,
    room,
)

QUALITY = ("accuracy", "balanced_accuracy", "f1", "auc")
COSTS = ("size_mb", "latency_p95_ms")


@dataclass(frozen=True)
class LimitLine:
    """One row of the limits table."""

    outcome: str
    word: str
    icon: Markup
    title: str
    detail: str
    figure: str
    interval: str
    drawing: Markup
    room: str
    room_words: str
    has_room: bool
    n: str
    method: str
    owner: str
    muted: bool


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


def drawn(decision: Decision) -> charts.Interval:
    """Return a decision on the scale that is shown."""
    form = form_of(decision)
    ends = (form.value(v) for v in (decision.value, decision.low, decision.high))
    return charts.Interval(*ends, decision.decision)


def icon_of(outcome: Outcome | None, size: int = 16) -> Markup:
    """Return the icon of an outcome as Markup."""
    return Markup(charts.icon(outcome, size=size))


def tone(outcome: Outcome | None) -> str:
    """Return the class that colours a word of an outcome."""
    return "none" if outcome is None else outcome.value


def limits_table(survey: Survey, candidate: Candidate) -> list[LimitLine]:
    """Return the limits of one candidate, in the order of the policy."""
    return [_limit_line(survey, row) for row in survey.rows[candidate.id]]


def _limit_line(survey: Survey, row: LimitRow) -> LimitLine:
    d, form = row.decision, row.form
    left, words = room(row)
    gauge = charts.gauge(
        drawn(d),
        form.value(d.bound),
        form.value(row.parent),
        at_least=d.side == "at_least",
        label=drawing_label(d),
    )
    return LimitLine(
        outcome=tone(row.outcome),
        word=outcome_word(row.outcome),
        icon=icon_of(row.outcome),
        title=limit_title(row.limit),
        detail=limit_detail(survey, row),
        figure=form.figure(d.value) if form.signed else form.with_unit(form.figure(d.value)),
        interval="" if d.low == d.high or not row.known else form.interval(d.low, d.high),
        drawing=Markup(gauge),
        room=left,
        room_words=words,
        has_room=row.outcome is Outcome.PASS,
        n=number(d.n) if d.n else "",
        method=method_name(d.method),
        owner=d.owner,
        muted=not row.counts,
    )


def method_name(method: str) -> str:
    """Return a method for people: names of people stay, words are translated."""
    from shipworthy.core.locale import has_text

    key = f"report.method.{method}"
    return text(key) if has_text(key) else method


def counts(survey: Survey) -> list[tuple[Markup, str, str, str, str]]:
    """Return icon, tone, number, word and names for pass, cannot tell and fail."""
    found = []
    for outcome in (Outcome.PASS, Outcome.CANNOT_TELL, Outcome.FAIL, None):
        those = [c.name for c in survey.ordered if survey.outcome(c.id) is outcome]
        if those:
            names = text("report.list_comma").join(those[:6])
            if len(those) > 6:
                names = text("report.and_more", names=names, count=len(those) - 6)
            word = outcome_word(outcome)
            found.append((icon_of(outcome), tone(outcome), str(len(those)), word, names))
    return found


# -- candidates ----------------------------------------------------------------------------------


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
    frame = _Frame(survey, [r for r in deciders.values() if r is not None])
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


class _Frame:
    """The scale of the change column: one axis where a change limit decides, else gauges."""

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

    def draw(self, row: LimitRow) -> Markup:
        d, form = row.decision, row.form
        bound, parent = form.value(d.bound), form.value(row.parent)
        if self.axis is not None and self.belongs(row):
            return Markup(
                charts.change(drawn(d), self.axis, bound, label=drawing_label(d), parent=parent)
            )
        return Markup(
            charts.gauge(
                drawn(d), bound, parent, at_least=orientation(d) > 0, label=drawing_label(d),
                limit_at=self.limit_at, parent_at=self.parent_at,
            )
        )  # fmt: skip


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
    survey: Survey, candidate: Candidate, row: LimitRow | None, frame: _Frame,
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


@dataclass(frozen=True)
class Chip:
    """One limit of one candidate, in a line."""

    outcome: str
    icon: Markup
    word: str
    title: str
    figure: str


def every_limit(survey: Survey) -> list[tuple[str, str, list[Chip]]]:
    """Return each candidate's name, answer and all its limits."""
    found = []
    for candidate in survey.ordered:
        verdict = survey.verdict(candidate.id)
        chips = [_chip(survey, r) for r in survey.rows[candidate.id]]
        word = outcome_word(None) if verdict is None else answer_word(verdict.answer)
        found.append((candidate.name, word, chips))
    return found


def _chip(survey: Survey, row: LimitRow) -> Chip:
    d, form = row.decision, row.form
    group = group_name(survey, d) if len(row.children) > 1 else None
    parts = [limit_title(row.limit)] + ([group] if group else [])
    if row.limit.tier == "advisory":
        parts.append(text("report.tier.advisory_short"))
    if d.reason == "waived":
        parts.append(text("report.tier.waived"))
    if not row.counts and row.uncovered:
        parts.append(text("report.tier.disclosed"))
    figure = form.with_unit(form.figure(d.value)) if row.known else reason_text(d.reason)
    bound = text(f"report.limit.{d.side}_sign", value=bound_figure(d))
    said = figure if math.isnan(d.bound) else f"{figure} ({bound})"
    return Chip(
        tone(row.outcome), icon_of(row.outcome, 12), outcome_word(row.outcome),
        text("report.list_comma").join(parts), said,
    )  # fmt: skip


def is_group_limit(limit: Limit) -> bool:
    """Say whether a limit looks at the change of groups against the parent."""
    return limit.relative_to == "parent" and limit.slices != "all"
