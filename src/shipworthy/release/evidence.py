"""The evidence block: what was tested, how, at which level, and the digests that bind it."""

from __future__ import annotations

import math
from dataclasses import dataclass

from shipworthy.core.locale import has_text, number
from shipworthy.core.records import Candidate, Decision, Slice
from shipworthy.release.approval_rows import selftest_text
from shipworthy.release.display import listed, measure_name, text
from shipworthy.release.sections import method_name
from shipworthy.release.standing import Survey

MOST_GROUPS = 8


@dataclass(frozen=True)
class Row:
    """One line of the evidence block; code is set in a fixed-width face."""

    label: str
    value: str
    code: bool = False


def evidence(survey: Survey) -> list[Row]:
    """Return the rows of the evidence block, those of the judgement last."""
    judgement, named = survey.judgement, survey.named
    rows = [Row(text("report.evidence.test_rows"), _test_rows(survey))]
    rows.append(Row(text("report.evidence.level"), _level(survey)))
    family = holm_family(survey)
    if family:
        rows.append(
            Row(text("report.evidence.holm"), text("report.evidence.holm_value", count=family))
        )
    methods = _methods(survey)
    if methods:
        rows.append(Row(text("report.evidence.methods"), methods))
    unit = judgement.unit
    units = (
        text("report.evidence.units_of", unit=unit)
        if unit
        else text("report.evidence.rows_independent")
    )
    rows.append(Row(text("report.evidence.units"), units))
    rows.append(Row(text("report.evidence.nominated"), _nominated(survey)))
    if judgement.objective:
        key = f"report.objective.{judgement.objective}"
        told = text(key) if has_text(key) else judgement.objective
        rows.append(Row(text("report.evidence.objective"), told))
    if judgement.selftest is not None:
        told = selftest_text(judgement.selftest)
        rows.append(Row(text("approval.label.selftest"), told))
    if named is not None:
        rows += _digests(survey, named)
    if judgement.seconds > 0:
        took = text(
            "report.evidence.took_value",
            seconds=number(judgement.seconds, 1),
            count=judgement.cached_stages,
        )
        rows.append(Row(text("report.evidence.took"), took))
    rows += [
        Row(text(key) if has_text(key) else key, described(value))
        for key, value in judgement.evidence
    ]
    return [r for r in rows if r.value]


def described(value: str) -> str:
    """Return the value of a row: of a built-in thing where it comes from, in today's language."""
    from shipworthy.data.builtin import PREFIX, describe

    return str(describe(value)) if value.startswith(PREFIX) else value


def holm_family(survey: Survey) -> int:
    """Return the largest number of p values that Holm corrected for one candidate.

    Advisory limits, facts and identical artefacts are outside the family, as `measure.decide` has
    it.
    """
    families = [
        sum(_tested(d) for d in survey.judgement.decisions_of(c.id))
        for c in survey.judgement.candidates
    ]
    return max(families, default=0)


def _tested(d: Decision) -> bool:
    fact = d.n == 0 and d.low == d.high
    return (
        d.tier != "advisory" and d.method != "identical" and not fact and not math.isnan(d.p_fail)
    )


def _test_rows(survey: Survey) -> str:
    judgement = survey.judgement
    by_slice: dict[str, int] = {}
    for d in judgement.decisions:
        if d.measure == "accuracy":
            by_slice[d.slice] = max(d.n, by_slice.get(d.slice, 0))
    parent = survey.number(judgement.parent.id, "accuracy")
    total = by_slice.pop("{}", 0) or (parent.n if parent is not None else 0)
    groups = sorted(by_slice.items(), key=lambda item: -item[1])
    parts = [number(total)] if total else []
    parts += [
        f"{survey.slice_label(Slice.parse(slice))} {number(n)}" for slice, n in groups[:MOST_GROUPS]
    ]
    if len(groups) > MOST_GROUPS:
        parts.append(text("report.groups.more", count=len(groups) - MOST_GROUPS))
    return text("report.dot").join(parts)


def _level(survey: Survey) -> str:
    judgement = survey.judgement
    return text(
        "report.evidence.level_value",
        percent=percent(judgement.confidence),
        alpha=plain(judgement.alpha),
        opening=number(judgement.opening),
    )


def percent(share: float) -> str:
    """Return a confidence in per cent without needless zeros ("95", "97.5")."""
    return plain(round(100 * share, 6))


def plain(value: float) -> str:
    """Return a number with as many digits as it needs, at most six significant."""
    return f"{value:.6g}".replace("-", "−")


def _methods(survey: Survey) -> str:
    found: dict[tuple[str, bool], list[str]] = {}
    for d in survey.judgement.decisions:
        if d.method in ("", "none"):
            continue
        seen = found.setdefault((d.measure, d.relative_to != "none"), [])
        name = method_name(d.method)
        if name not in seen:
            seen.append(name)
    parts = []
    for (measure, relative), methods in found.items():
        name = measure_name(measure)
        if relative:
            name = text("report.limit.change_parent", measure=name)
        parts.append(text("report.evidence.method", measure=name, method=listed(methods)))
    return text("report.evidence.semicolon").join(parts)


def _nominated(survey: Survey) -> str:
    names = [c.name for c in survey.judgement.candidates if c.id in survey.judgement.nominated]
    return listed(names) if names else text("report.evidence.none")


def _digests(survey: Survey, named: Candidate) -> list[Row]:
    frame = survey.judgement.measurements
    rows = []
    if named.artefact_digest:
        label = text("report.evidence.artefact")
        rows.append(Row(label, named.artefact_digest, code=True))
    if "data_digest" in frame.columns:
        digests = [d for d in frame["data_digest"].unique(maintain_order=True).to_list() if d]
        if digests:
            value = ", ".join(digests[:3])
            rows.append(Row(text("report.evidence.data"), value, code=True))
    if named.device_flags:
        rows.append(Row(text("report.evidence.device"), " ".join(named.device_flags), code=True))
    return rows
