"""The sentences about one limit: its name, what it asks, what was found, how much room is left.

A pass quotes the bad end of its interval ("may have lost up to 0.6"), a fail the good end ("lost at
least 1.7"), a cannot tell the rows that were tested and those that would decide.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from shipworthy.core.locale import has_text, number
from shipworthy.core.records import Answer, Decision, Limit, Outcome, Slice
from shipworthy.measure.catalogue import MEASURES
from shipworthy.release.display import Shown, capital, measure_name, shown, text
from shipworthy.release.judgement import Phrase
from shipworthy.release.limit_rows import LimitRow, bad_end, form_of, good_end
from shipworthy.release.standing import Survey

MISSING = ("not_measured", "no_data")
MACHINE = ("ms", "mb", "rows_per_s", "times")


def phrase(said: Phrase) -> str:
    """Render a phrase of the judgement; phrases among its arguments are rendered first.

    An argument called `measure` is the name of a measure and is shown by its name for people.
    """
    arguments = {k: phrase(v) if isinstance(v, Phrase) else v for k, v in said.arguments.items()}
    if isinstance(arguments.get("measure"), str):
        arguments["measure"] = measure_name(arguments["measure"])
    return text(said.key, **arguments)


def outcome_word(outcome: Outcome | None) -> str:
    """Return pass, fail, cannot tell; "no verdict" where there is none."""
    return text("report.outcome.none" if outcome is None else f"report.outcome.{outcome.value}")


def answer_word(answer: Answer) -> str:
    """Return ship, hold or undecided."""
    return text(f"report.answer.{answer.value}")


def reason_text(reason: str) -> str:
    """Return a reason code in words; the code itself, spaced, where the catalogues lack it."""
    key = f"report.reason.{reason}"
    return text(key) if has_text(key) else reason.replace("_", " ")


def rows_text(rows: int) -> str:
    """Return a number of rows, with thousands separators."""
    return number(rows)


def about(rows: int) -> str:
    """Return a planned number of rows, rounded to two digits: nobody can know more."""
    return number(round(rows, 2 - len(str(rows))))


def rows_needed(d: Decision) -> int | None:
    """Return the rows in all that would decide a cannot tell, where rows are what is missing.

    None where nothing is known, and for times and sizes: these want processes, not rows.
    """
    if d.decision is not Outcome.CANNOT_TELL or d.reason in MISSING or form_of(d).unit in MACHINE:
        return None
    return d.n_needed if d.n_needed is not None and d.n_needed > d.n > 0 else None


def group_name(survey: Survey, decision: Decision) -> str | None:
    """Return the name of the slice that a decision is about; None for all rows."""
    return survey.slice_label(Slice.parse(decision.slice))


def limit_title(limit: Limit) -> str:
    """Return the name of a limit: "Change in accuracy, each domain"."""
    name = measure_name(limit.measure)
    if limit.relative_to != "none":
        name = text(f"report.limit.change_{limit.relative_to}", measure=name)
    name = capital(name)
    if isinstance(limit.slices, Mapping):
        (column, value), *_ = limit.slices.items()
        if column == "each":
            columns = " × ".join(value) if isinstance(value, tuple) else value
            return text("report.limit.each", title=name, column=columns)
        conditions = ", ".join(f"{c}: {v}" for c, v in limit.slices.items())
        return text("report.limit.slice", title=name, slice=conditions)
    known = {"each group": "each_group", "worst group": "worst_group"}
    return (
        text(f"report.limit.{known[limit.slices]}", title=name) if limit.slices in known else name
    )


def limit_in_full(limit: Limit) -> str:
    """Return a limit with what it asks: "Change in accuracy, each domain ≥ −2.5 points"."""
    bound = limit.bound
    if isinstance(bound, str):
        figure = measure_name(bound)
    else:
        relative = limit.relative_to != "none"
        ratio = "ratio" if relative and MEASURES[limit.measure].kind in ("speed", "fact") else ""
        form = shown(limit.measure, relative=relative, value_unit=ratio)
        figure = form.with_unit(f"{form.value(bound):.10g}".replace("-", "−"))
    sign = text(f"report.limit.{limit.side}_sign", value=figure)
    return text("report.limit.in_full", title=limit_title(limit), bound=sign)


def bound_figure(decision: Decision) -> str:
    """Return the number of a limit, exactly: never rounded, no needless zeros."""
    form = form_of(decision)
    value = form.value(decision.bound)
    decimals = form.decimals if form.signed else 0
    while decimals < 6 and abs(round(value, decimals) - value) > 1e-9 * max(1.0, abs(value)):
        decimals += 1
    return number(value, decimals)


def demand(decision: Decision, limit: Limit | None = None) -> str:
    """Return what a limit asks: "at least −1.0 point", "at most 20 ms"."""
    figure = form_of(decision).with_unit(bound_figure(decision))
    if limit is not None and isinstance(limit.bound, str):
        figure = text("report.limit.named", measure=measure_name(limit.bound), value=figure)
    return text(f"report.limit.{decision.side}", value=figure)


def limit_detail(survey: Survey, row: LimitRow) -> str:
    """Return the second line of a limit: what it asks, which slice decided, what else was found."""
    parts = [demand(row.decision, row.limit)]
    group = group_name(survey, row.decision)
    if group is not None and len(row.children) > 1:
        key = "closest" if row.outcome is Outcome.PASS else "decided_by"
        parts.append(text(f"report.limit.{key}", group=group))
    elif group is not None and not isinstance(row.limit.slices, Mapping):
        parts.append(group)
    if len(row.children) > 1:
        parts.append(slice_counts(row))
    if row.limit.tier == "advisory":
        parts.append(text("report.tier.advisory"))
    if row.decision.reason == "waived":
        parts.append(text("report.tier.waived"))
    return text("report.dot").join(p for p in parts if p)


def slice_counts(row: LimitRow) -> str:
    """Return how many slices passed, cannot tell and fail, where they differ; else nothing."""
    covered = [d for d in row.children if d not in row.uncovered]
    parts = [
        text("report.limit.slices", count=found, outcome=outcome_word(outcome))
        for outcome in (Outcome.PASS, Outcome.CANNOT_TELL, Outcome.FAIL)
        if (found := sum(d.decision is outcome for d in covered))
    ]
    if row.uncovered:
        rows = sum(d.n for d in row.uncovered)
        few = {"count": len(row.uncovered), "rows": rows_text(rows)}
        parts.append(text("report.limit.uncovered", **few))
    return text("report.parts_comma").join(parts) if len(parts) > 1 else ""


def room(row: LimitRow) -> tuple[str, str]:
    """Return the number and the words of the column "room left".

    A pass: the bad end's distance to the limit; a fail: how far the good end lies outside; a cannot
    tell: the rows that would decide, else why it cannot.
    """
    d = row.decision
    if d.decision is Outcome.CANNOT_TELL:
        needed = rows_needed(d)
        if needed is not None:
            return about(needed), text("report.room.rows_would")
        return "", reason_text(d.reason)
    end = bad_end(d) if d.decision is Outcome.PASS else good_end(d)
    form = room_form(d)
    figure = form.size(end - d.bound)
    if d.decision is Outcome.FAIL:
        return figure, text("report.room.over", unit=unit_of(form, figure)).strip()
    return figure, unit_of(form, figure)


def room_form(decision: Decision) -> Shown:
    """Return the form of a distance between two values of a measure."""
    form = form_of(decision)
    return form if form.signed else shown(decision.measure, relative=form.unit in ("percent",))


def unit_of(form: Shown, figure: str) -> str:
    """Return the unit that agrees with a figure ("1.0 point", "0.4 points")."""
    return form.with_unit(figure).replace(figure, "", 1).strip(" \u00a0") if form.unit else ""


def subject(survey: Survey, row: LimitRow) -> str:
    """Return what a sentence about a limit is about: a group, or a measure and where."""
    group, name = group_name(survey, row.decision), measure_name(row.decision.measure)
    relative = row.decision.relative_to != "none"
    if group is None:
        return text("report.subject.all_rows", measure=name) if relative else name
    if relative and row.decision.measure == "accuracy":
        return group
    return text("report.subject.group", measure=name, group=group)


def finding(decision: Decision) -> str:
    """Return the clause that says what was found and what is allowed, without its subject.

    Pass: "it may have lost up to 0.6 points, and 1.0 is allowed"; fail: "lost at least 1.7 points;
    1.0 is allowed". A cannot tell has no finding: raises ValueError.
    """
    if decision.decision is Outcome.CANNOT_TELL:
        raise ValueError("a cannot tell has no finding")
    form, passed = form_of(decision), decision.decision is Outcome.PASS
    kind = "pass" if passed else "fail"
    end = bad_end(decision) if passed else good_end(decision)
    bound = bound_figure(decision).lstrip("+−") if form.signed else bound_figure(decision)
    if not form.signed:
        figure = form.with_unit(form.figure(end))
        exact = "exact" if decision.low == decision.high else decision.side
        rule = text(
            "report.rule.required" if decision.side == "at_least" else "report.rule.allowed",
            bound=bound,
        )
        return text(f"report.finding.{kind}.level.{exact}", value=figure, rule=rule)
    figure = form.with_unit(form.size(end))
    verbs = "share" if form.unit == "points" else "number"
    if form.figure(end).strip("0.,") == "":
        motion = "none"
    elif decision.side == "at_least":
        motion = "fell" if end < 0 else "rose"
    else:
        motion = "rose" if end > 0 else "fell"
    improved = motion == ("rose" if decision.side == "at_least" else "fell")
    rule = _change_rule(decision, bound, improved=improved)
    return text(f"report.finding.{kind}.{verbs}.{decision.side}.{motion}", value=figure, rule=rule)


def _change_rule(decision: Decision, bound: str, *, improved: bool) -> str:
    """Say whether the bound of a change allows a movement or requires one."""
    if decision.side == "at_least":
        word = "allowed_loss" if decision.bound < 0 else "required_gain"
    else:
        word = "allowed_loss" if decision.bound > 0 else "required_gain"
    if word == "allowed_loss" and improved:
        word = "allowed_after_gain"
    if decision.bound == 0:
        word = "no_change"
    return text(f"report.rule.{word}", bound=bound)


def drawing_label(decision: Decision) -> str:
    """Return the sentence of a drawing: "cannot tell: −1.8 [−2.8, −0.9], limit −1.0"."""
    form = form_of(decision)
    if math.isnan(decision.value):
        return text(
            "report.drawing.missing",
            outcome=outcome_word(decision.decision),
            reason=reason_text(decision.reason),
        )
    return text(
        "report.drawing.interval",
        outcome=outcome_word(decision.decision),
        value=form.figure(decision.value),
        interval=form.interval(decision.low, decision.high),
        limit=bound_figure(decision),
    )
