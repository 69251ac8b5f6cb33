"""The two pictures of the report: change by group as small multiples, and the frontier."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from markupsafe import Markup

from shipworthy.core.locale import NO_NUMBER, number
from shipworthy.core.records import ALL_ROWS, Candidate, Decision, Outcome, Slice
from shipworthy.release import charts
from shipworthy.release.chart_frontier import Place, frontier
from shipworthy.release.display import Shown, listed, measure_name, shown, text
from shipworthy.release.headings import frontier_heading, groups_heading
from shipworthy.release.limit_rows import RANK, LimitRow, form_of, room_of
from shipworthy.release.sections import drawn, is_group_limit
from shipworthy.release.standing import Survey
from shipworthy.release.wording import bound_figure, drawing_label, group_name

MOST_GROUPS = 8
PER_LINE = 5


@dataclass(frozen=True)
class GroupPanel:
    """One small multiple: a group, its drawing, and the numbers beside it."""

    title: str
    n: str
    words: Markup
    drawing: Markup
    ticks: Markup
    values: tuple[str, ...]


@dataclass(frozen=True)
class Groups:
    """Change by group: a heading that states, and one panel a group."""

    heading: str
    measure: str
    names: tuple[str, ...]
    lines: tuple[tuple[GroupPanel, ...], ...]
    more: str


@dataclass(frozen=True)
class _Column:
    """One group across candidates; a decision, a bare number, or nothing for each."""

    slice: str
    n: int
    drawn: tuple[charts.Interval | None, ...]
    labels: tuple[str, ...]
    figures: tuple[str, ...]
    limit: float | None
    rank: tuple[int, float]


def groups(survey: Survey) -> Groups | None:
    """Return the change by group, or None where no change per group was measured."""
    judgement = survey.judgement
    indices = [i for i, limit in enumerate(judgement.limits) if is_group_limit(limit)]
    measure = _measure(survey, indices)
    candidates = [c for c in survey.ordered if survey.rows[c.id]] or list(survey.ordered)
    if measure is None or not candidates:
        return None
    indices = [i for i in indices if judgement.limits[i].measure == measure]
    made = [_from_decisions(survey, candidates, s, indices) for s in _slices(survey, indices)]
    if not made:
        made = [_from_numbers(survey, candidates, s, measure) for s in _measured(survey, measure)]
    columns = [c for c in made if c is not None]
    if not columns:
        return None
    shown_columns = sorted(columns, key=lambda c: c.rank)[:MOST_GROUPS]
    rest = [c for c in columns if c not in shown_columns]
    shown_columns.sort(key=lambda c: -c.n)
    whole = _whole(survey, candidates, measure)
    if whole is not None:
        shown_columns.insert(0, whole)
    points = [d.value for c in shown_columns for d in c.drawn if d is not None]
    limits = [c.limit for c in shown_columns if c.limit is not None]
    mirrored = bool(indices) and judgement.limits[indices[0]].side == "at_most"
    axis = charts.change_axis([*points, *limits], 0.0, mirrored=mirrored)
    names = tuple(c.name for c in candidates)
    panels = [_panel(survey, column, axis, names) for column in shown_columns]
    lines = tuple(tuple(panels[i : i + PER_LINE]) for i in range(0, len(panels), PER_LINE))
    heading = groups_heading(survey, indices)
    return Groups(heading, measure_name(measure), names, lines, _more(rest))


def _measure(survey: Survey, indices: Sequence[int]) -> str | None:
    if indices:
        first = survey.main_limit if survey.main_limit in indices else indices[0]
        assert first is not None
        return survey.judgement.limits[first].measure
    return "accuracy" if _measured(survey, "accuracy") else None


def _slices(survey: Survey, indices: Sequence[int]) -> list[str]:
    found = {
        d.slice: None
        for d in survey.judgement.decisions
        if d.limit in indices and Slice.parse(d.slice) != ALL_ROWS
    }
    return list(found)


def _measured(survey: Survey, measure: str) -> list[str]:
    return survey.slices_of(measure, relative_to="parent")


def _from_decisions(
    survey: Survey, candidates: Sequence[Candidate], slice: str, indices: Sequence[int]
) -> _Column | None:
    by_candidate: Mapping[str, Decision] = {
        d.candidate: d
        for d in reversed(survey.judgement.decisions)
        if d.limit in indices and d.slice == slice
    }
    return _column(slice, [by_candidate.get(c.id) for c in candidates])


def _column(slice: str, decisions: Sequence[Decision | None]) -> _Column | None:
    known = [d for d in decisions if d is not None]
    if not known:
        return None
    form = form_of(known[0])
    ranks = [RANK[d.decision] for d in known]
    rooms = [room_of(d) for d in known if not math.isnan(room_of(d))]
    return _Column(
        slice,
        max(d.n for d in known),
        tuple(None if d is None else drawn(d) for d in decisions),
        tuple("" if d is None else drawing_label(d) for d in decisions),
        tuple(NO_NUMBER if d is None else form.figure(d.value) for d in decisions),
        form.value(known[0].bound),
        (min(ranks), min(rooms, default=-math.inf)),
    )


def _from_numbers(
    survey: Survey, candidates: Sequence[Candidate], slice: str, measure: str
) -> _Column | None:
    found = [survey.number(c.id, measure, slice=slice, relative_to="parent") for c in candidates]
    known = [f for f in found if f is not None]
    if not known:
        return None
    form = shown(measure, relative=True, value_unit=known[0].value_unit)
    return _Column(
        slice,
        max(f.n for f in known),
        tuple(
            None
            if f is None
            else charts.Interval(form.value(f.value), form.value(f.low), form.value(f.high), None)
            for f in found
        ),
        tuple("" if f is None else _bare_label(form, f.value, f.low, f.high) for f in found),
        tuple(NO_NUMBER if f is None else form.figure(f.value) for f in found),
        None,
        (1, min(f.low for f in known)),
    )


def _bare_label(form: Shown, value: float, low: float, high: float) -> str:
    return f"{form.figure(value)} {form.interval(low, high)}"


def _whole(survey: Survey, candidates: Sequence[Candidate], measure: str) -> _Column | None:
    limits = survey.judgement.limits
    indices = [
        i
        for i, limit in enumerate(limits)
        if limit.relative_to == "parent" and limit.slices == "all" and limit.measure == measure
    ]
    made = _from_decisions(survey, candidates, "{}", indices)
    return made or _from_numbers(survey, candidates, "{}", measure)


def _panel(
    survey: Survey, column: _Column, axis: charts.Axis, names: tuple[str, ...]
) -> GroupPanel:
    title = survey.slice_label(Slice.parse(column.slice)) or text("report.all_rows_title")
    said = [
        text("clause.about", subject=name, said=label)
        for name, label in zip(names, column.labels, strict=True)
        if label
    ]
    label = text("report.drawing.panel", title=title, rows=text("clause.separator").join(said))
    limit_at = None if column.limit is None else axis.at(column.limit)
    return GroupPanel(
        title=title,
        n=number(column.n),
        words=Markup(charts.words(limit_at, height=14)) if limit_at is not None else Markup(),
        drawing=Markup(charts.panel(column.drawn, axis, column.limit, label=label)),
        ticks=Markup(charts.tick_labels(axis)),
        values=column.figures,
    )


def _more(rest: Sequence[_Column]) -> str:
    if not rest:
        return ""
    worst = [c.rank[0] for c in rest]
    if all(all(d is None or d.outcome is None for d in c.drawn) for c in rest):
        return text("report.groups.more", count=len(rest))
    if all(rank == RANK[Outcome.PASS] for rank in worst):
        return text("report.groups.more_inside", count=len(rest))
    return text(
        "report.groups.more_mixed",
        count=len(rest),
        fail=number(worst.count(RANK[Outcome.FAIL])),
        unclear=number(worst.count(RANK[Outcome.CANNOT_TELL])),
        inside=number(worst.count(RANK[Outcome.PASS])),
    )


# -- frontier ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class FrontierPanel:
    """One of the two panels with its title."""

    title: str
    drawing: Markup
    labels: Markup


@dataclass(frozen=True)
class Frontier:
    """Quality against speed and against size, and what could not be placed."""

    heading: str
    panels: tuple[FrontierPanel, ...]
    not_drawn: str
    has_steps: bool
    by_group: bool
    unit: str


def frontier_section(survey: Survey) -> Frontier | None:
    """Return the frontier, or None where neither speed nor size, or no change, was measured."""
    rows = {c.id: _deciding_change(survey, c) for c in survey.ordered}
    known = [r for r in rows.values() if r is not None and r.known]
    if not known:
        return None
    form, limit = known[0].form, known[0].decision
    asked = survey.judgement.limits[limit.limit]
    panels = []
    drawn_somewhere: set[str] = set()
    for measure in ("latency_p95_ms", "inter_token_latency_ms", "size_mb"):
        places = []
        for candidate in survey.ordered:
            row, x = rows[candidate.id], survey.number(candidate.id, measure)
            if row is not None and row.known and x is not None:
                x_text = shown(measure).figure(x.value)
                # The mark is the candidate's: one that is held elsewhere must not look like a pass.
                y = replace(drawn(row.decision), outcome=survey.outcome(candidate.id))
                places.append(Place(candidate.name, x.value, x_text, y))
                drawn_somewhere.add(candidate.id)
        if not places:
            continue
        parent = survey.number(survey.judgement.parent.id, measure)
        panel = frontier(
            places,
            parent=None if parent is None else (survey.judgement.parent.name, parent.value),
            limit=form.value(limit.bound),
            title=text(f"report.frontier.axis.{measure}"),
            label=_frontier_label(survey, measure, places),
            limit_text=bound_figure(limit),
            mirrored=asked.side == "at_most",
        )
        title = text(f"report.frontier.title.{measure}")
        panels.append(FrontierPanel(title, Markup(panel.drawing), Markup(panel.labels)))
    if not panels:
        return None
    left = [c.name for c in survey.ordered if c.id not in drawn_somewhere]
    not_drawn = text("report.frontier.not_drawn", names=listed(left)) if left else ""
    by_group = any(group_name(survey, r.decision) is not None for r in known)
    return Frontier(
        frontier_heading(survey),
        tuple(panels),
        not_drawn,
        len(drawn_somewhere) > 1,
        by_group,
        form.unit_text or measure_name(asked.measure),
    )


def _deciding_change(survey: Survey, candidate: Candidate) -> LimitRow | None:
    main = survey.main_limit
    if main is None or survey.judgement.limits[main].relative_to == "none":
        return None
    found = [r for r in survey.rows[candidate.id] if r.decision.limit == main]
    return found[0] if found else None


def _frontier_label(survey: Survey, measure: str, places: Sequence[Place]) -> str:
    said = [
        text("report.drawing.place", name=p.name, x=p.x_text, y=number(p.y.value, 1, sign=True))
        for p in places
    ]
    title = text(f"report.frontier.title.{measure}")
    return text("report.drawing.panel", title=title, rows=text("clause.separator").join(said))
