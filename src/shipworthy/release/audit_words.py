"""An audit in words and figures, the same in the terminal and on the page."""

from __future__ import annotations

import math
from collections.abc import Sequence

from shipworthy.core.locale import number
from shipworthy.core.records import Decision, Limit, Outcome, Slice
from shipworthy.measure.audited_gaps import Gap
from shipworthy.release.audit_records import Audit, Compared, GroupRow, group_label
from shipworthy.release.display import Shown, capital, measure_name, shown, text
from shipworthy.release.judgement import Phrase
from shipworthy.release.limit_rows import form_of
from shipworthy.release.wording import (
    MISSING,
    bound_figure,
    limit_title,
    outcome_word,
    reason_text,
)

_DRAWN: dict[str, tuple[str, ...]] = {
    "classification": (
        "selection_rate", "true_positive_rate", "false_positive_rate", "positive_predictive_value",
        "accuracy",
    ),
    "regression": ("mean_absolute_error", "root_mean_squared_error", "mean_error", "r2"),
}  # fmt: skip
_MOST_DRAWN = 5

MAIN = {
    "classification": ("statistical_parity_difference", "accuracy_difference"),
    "regression": ("mean_absolute_error_difference",),
    "ranking": ("exposure_difference",),
}
"""Comparisons that are said in a sentence, the first that there is."""


def drawn_measures(audit: Audit) -> list[str]:
    """Return the measures of groups that are drawn, and printed as far as there is room."""
    present = list(dict.fromkeys(x.measure for row in audit.slices for x in row.numbers))
    chosen = [m for m in _DRAWN.get(audit.task, ()) if m in present]
    return (chosen or present)[:_MOST_DRAWN]


def headline(audit: Audit) -> str:
    """Return the first word: the verdict, or that there is none."""
    if audit.verdict is None:
        return text("audit.word.none")
    return outcome_word(audit.verdict)


def sentences(audit: Audit) -> list[str]:
    """Return what was looked at, what limits say, and how far groups of each column lie apart."""
    unit = text("audit.say.units", unit=audit.unit) if audit.unit else ""
    said = [text("audit.say.rows", rows=number(audit.rows), unit=unit)]
    if audit.decisions:
        said.append(_of_limits(audit.decisions))
    for columns in audit.attributes:
        if len(columns) == 1:
            found = _apart(audit, columns)
            if found:
                said.append(found)
    return said


def _of_limits(decisions: Sequence[Decision]) -> str:
    counts = {o: sum(d.decision is o for d in decisions) for o in Outcome}
    return text(
        "audit.say.limits", inside=counts[Outcome.PASS], outside=counts[Outcome.FAIL],
        unclear=counts[Outcome.CANNOT_TELL],
    )  # fmt: skip


def _apart(audit: Audit, columns: tuple[str, ...]) -> str:
    for measure in MAIN[audit.task]:
        of = [c for c in audit.comparisons if c.gap.columns == columns and c.gap.measure == measure]
        known = [c for c in of if not math.isnan(c.gap.value)]
        if not known:
            continue
        gap = max(known, key=lambda c: abs(c.gap.value)).gap
        first, second = (group_label(s) for s in gap.between)
        said = text(
            "audit.say.apart", measure=capital(measure_name(measure)), attribute=columns[0],
            value=with_unit(gap.measure, gap.value), interval=interval(gap.measure, gap),
            first=first, second=second,
        )  # fmt: skip
        if not math.isnan(gap.by_chance.mean):
            chance = with_unit(gap.measure, gap.by_chance.mean)
            said += text("report.gap") + text("audit.say.chance", value=chance)
        return said
    return ""


def form(measure: str) -> Shown:
    """Return the form of a measure."""
    return shown(measure)


def figure(measure: str, value: float) -> str:
    """Return a value without its unit, a dash where there is none."""
    return form(measure).figure(value)


def with_unit(measure: str, value: float) -> str:
    """Return a value with its unit."""
    own = form(measure)
    return own.with_unit(own.figure(value))


def interval(measure: str, found: Gap | Compared) -> str:
    """Return the interval of a comparison."""
    gap = found.gap if isinstance(found, Compared) else found
    return form(measure).interval(gap.low, gap.high)


def title(measure: str) -> str:
    """Return the name of a measure with its unit, as a head."""
    own = form(measure)
    name = capital(measure_name(measure))
    return text("report.column", name=name, unit=own.unit_text) if own.unit else name


def between(compared: Compared) -> str:
    """Return the two groups of a comparison, "" where there is nothing to compare."""
    names = [group_label(s) for s in compared.gap.between]
    return text("audit.between", first=names[0], second=names[1]) if names else ""


def named(row_or_comparison: GroupRow | Compared, label: str) -> str:
    """Return a label with the class that it is about, where there are several."""
    name = row_or_comparison.name
    return label if name is None else text("audit.of_class", label=label, name=name)


def attribute(columns: tuple[str, ...]) -> str:
    """Return the columns that are compared as one name."""
    return " × ".join(columns)


def limit_of(decision: Decision) -> Limit:
    """Return enough of a limit to say its title again from a decision."""
    slices = Slice.parse(decision.slice)
    conditions = dict(slices.conditions)
    return Limit(
        decision.measure, "at_least" if decision.side == "at_least" else "at_most",
        decision.bound, conditions or "all", tier="supporting",
    )  # fmt: skip


def limit_line(decision: Decision) -> tuple[str, str, str, str]:
    """Return title, bound, value with interval, and why or how many rows would decide."""
    own = form_of(decision)
    value = own.figure(decision.value)
    if not math.isnan(decision.low):
        value = f"{value} {own.interval(decision.low, decision.high)}"
    name = limit_title(limit_of(decision))
    name = text("report.column", name=name, unit=own.unit_text) if own.unit else name
    sign = text(f"report.limit.{decision.side}_sign", value=bound_figure(decision))
    why = ""
    if decision.decision is Outcome.CANNOT_TELL:
        why = reason_text(decision.reason)
        if decision.n_needed is not None and decision.reason not in MISSING:
            rows = number(round(decision.n_needed, 2 - len(str(decision.n_needed))))
            why = text("audit.needs", reason=why, rows=rows)
    return name, sign, value, why


def asked_notes(audit: Audit) -> list[Phrase]:
    """Return the notes of an audit, with what holds for every one."""
    return [*audit.notes, Phrase("audit.note.chance"), Phrase("audit.note.no_ledger")]
