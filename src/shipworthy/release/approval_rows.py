"""What people said about a verdict, in lines for the top of a page: waivers, sign-offs, what lacks.

Where nobody is asked and nothing was waived, there is no line.
"""

from __future__ import annotations

from dataclasses import dataclass

from shipworthy.core.locale import has_text
from shipworthy.release.display import listed, text
from shipworthy.release.judgement import Approval, SelftestEvidence, SignOff, Waiver
from shipworthy.release.standing import Survey
from shipworthy.release.waivers import day
from shipworthy.release.wording import demand, limit_title, phrase


@dataclass(frozen=True)
class ApprovalRow:
    """One line: what kind it is, what it says, and in second place who and until when."""

    label: str
    value: str
    detail: str = ""


def approval_rows(survey: Survey) -> list[ApprovalRow]:
    """Return the lines for the top: waived limits, who signed and who has not, what does not count.

    A self-test that keeps the candidate back is said here too; a passed one is in the evidence.
    """
    judgement = survey.judgement
    rows = [_waived(survey, one) for one in judgement.waivers]
    if judgement.selftest is not None and not judgement.selftest.passed:
        rows.append(_row("selftest", selftest_text(judgement.selftest)))
    if judgement.approval is not None:
        rows += _approval(judgement.approval)
    return rows


def selftest_text(found: SelftestEvidence) -> str:
    """Return what a self-test said, when, and until when it counts."""
    if not found.passed:
        names = [_planted(name) for name in found.not_held if name != "good"]
        if not names:
            return text("approval.selftest.good")
        return text("approval.selftest.failed", names=listed(names))
    date = day(found.created)
    said = text("approval.selftest.passed", date=date)
    if found.expires:
        said = text("approval.selftest.passed_until", date=date, end=day(found.expires))
    if found.skipped:
        skipped = listed([_planted(name) for name in found.skipped])
        more = text("approval.selftest.skipped", names=skipped)
        said = text("report.evidence.semicolon").join([said, more])
    return said


def _approval(approval: Approval) -> list[ApprovalRow]:
    rows = []
    if approval.signed:
        rows.append(_row("signed", listed([_person(one) for one in approval.signed])))
    if approval.missing:
        key = "approval.missing" if approval.signed else "approval.missing.none"
        rows.append(_row("missing", text(key, roles=listed(list(approval.missing)))))
    if approval.signed and approval.separated is False:
        rows.append(_row("alone", text("approval.separated.not")))
    if approval.stale:
        people = listed([_person(one) for one in approval.stale])
        rows.append(_row("stale", text("approval.stale", people=people)))
    rows += [_row("remark", phrase(said)) for said in approval.remarks]
    return rows


def _waived(survey: Survey, one: Waiver) -> ApprovalRow:
    said = text(
        "approval.waived",
        limit=waived_limit(survey, one),
        name=survey.name_of(one.candidate),
        reason=one.reason,
    )
    by = text("approval.waived.by", person=one.person, role=one.role, date=day(one.expires))
    return _row("waived", said, by)


def waived_limit(survey: Survey, one: Waiver) -> str:
    """Return the limit of a waiver for people, with what it asks; its own text where it is gone."""
    for row in survey.rows.get(one.candidate, ()):
        if str(row.limit) == one.limit:
            asks = demand(row.decision, row.limit)
            return text("terminal.note", title=limit_title(row.limit), note=asks)
    return one.limit


def _person(one: SignOff) -> str:
    return text("approval.person", person=one.person, role=one.role, date=day(one.created))


def _planted(name: str) -> str:
    """Return the name of a planted model for people; a limit's text stays as it is."""
    key = f"selftest.name.{name}"
    return text(key) if has_text(key) else name


def _row(label: str, value: str, detail: str = "") -> ApprovalRow:
    return ApprovalRow(text(f"approval.label.{label}"), value, detail)
