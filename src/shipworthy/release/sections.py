"""The sections of the report as plain rows: what the template prints, and nothing it would compute.

Texts are finished, drawings are Markup; everything else is escaped by the template.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from markupsafe import Markup

from shipworthy.core.locale import has_text, number
from shipworthy.core.locale.libraries import translated
from shipworthy.core.records import Candidate, Decision, Limit, Outcome
from shipworthy.release import charts
from shipworthy.release.display import text
from shipworthy.release.limit_rows import LimitRow, form_of
from shipworthy.release.standing import Survey
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


def drawn(decision: Decision) -> charts.Interval:
    """Return a decision on the scale that is shown."""
    form = form_of(decision)
    return charts.Interval(
        form.value(decision.value),
        form.value(decision.low),
        form.value(decision.high),
        decision.decision,
    )


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
        method=short_method(d.method),
        owner=d.owner,
        muted=not row.counts,
    )


def short_method(method: str) -> str:
    """Return the head of a method's name; the evidence block has all of it."""
    for end in (";", ",", " on ", " and "):
        method = method.split(end)[0]
    return method_name(method)


def method_name(method: str) -> str:
    """Return a method for people: names of people stay, words are translated."""
    key = f"report.method.{method}"
    return text(key) if has_text(key) else translated(method, group="method")


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
        text("report.parts_comma").join(parts), said,
    )  # fmt: skip


def is_group_limit(limit: Limit) -> bool:
    """Say whether a limit looks at the change of groups against the parent."""
    return limit.relative_to == "parent" and limit.slices != "all"
