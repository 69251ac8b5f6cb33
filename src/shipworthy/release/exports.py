"""What other tools show of a judgement: JUnit XML, SARIF, Markdown for a pull request.

All three tell the same cases: one for each limit on each slice of each candidate, and one for each
limit that was not asked of a candidate.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

from shipworthy.core.errors import InputError, nearest
from shipworthy.core.locale import text as said
from shipworthy.core.records import WAIVED, Candidate, Decision, Limit, Outcome, Slice
from shipworthy.release.display import text
from shipworthy.release.judgement import Waiver
from shipworthy.release.limit_rows import uncovered
from shipworthy.release.standing import Survey, survey
from shipworthy.release.wording import (
    MISSING,
    about,
    demand,
    drawing_label,
    finding,
    limit_title,
    outcome_word,
    reason_text,
    rows_needed,
    rows_text,
)

if TYPE_CHECKING:
    from shipworthy.release.load import Run

Status: TypeAlias = Literal["pass", "fail", "undecided", "skipped"]

FORMATS = ("junit", "markdown", "sarif")


@dataclass(frozen=True)
class Case:
    """One limit on one slice of one candidate.

    decision: None where the limit was not asked. status: `skipped` is what does not enter the
    verdict: not asked, waived, advisory or only disclosed, unless it passes. why: for a skipped
    one, in words. index: of the limit in the policy.
    """

    candidate: Candidate
    index: int
    limit: Limit
    decision: Decision | None
    status: Status
    why: str = ""
    waiver: Waiver | None = None


def export(run: Run, form: str, *, policy: Path | None = None) -> str:
    """Return a run in one of `FORMATS`, as text.

    policy: the policy or project file, for the lines that SARIF points at; None looks for it.
    Raises InputError for another format.
    """
    if form == "junit":
        from shipworthy.release.export_junit import to_junit

        return to_junit(run.judgement)
    if form == "sarif":
        from shipworthy.release.export_sarif import to_sarif

        return to_sarif(run, policy=policy)
    if form == "markdown":
        from shipworthy.release.export_markdown import to_markdown

        return to_markdown(run)
    raise InputError(said("error.exports.format", form=form, fix=nearest(form, FORMATS)))


def cases(asked: Survey) -> Iterator[Case]:
    """Yield all cases of a judgement, candidate by candidate, in the order of the policy."""
    judgement = asked.judgement
    for candidate in judgement.candidates:
        by_limit: dict[int, list[Decision]] = {}
        for decision in judgement.decisions_of(candidate.id):
            by_limit.setdefault(decision.limit, []).append(decision)
        for index, limit in enumerate(judgement.limits):
            if index not in by_limit:
                why = text("exports.not_asked")
                yield Case(candidate, index, limit, None, "skipped", why)
            for decision in by_limit.get(index, ()):
                yield _case(asked, candidate, index, limit, decision)


def _case(
    asked: Survey, candidate: Candidate, index: int, limit: Limit, decision: Decision
) -> Case:
    if decision.reason == WAIVED:
        waiver = next(
            (w for w in asked.judgement.waivers
             if (w.candidate, w.limit) == (candidate.id, str(limit))), None,
        )  # fmt: skip
        return Case(candidate, index, limit, decision, "skipped", _waived(waiver), waiver)
    if decision.decision is Outcome.PASS:
        return Case(candidate, index, limit, decision, "pass")
    if decision.tier == "advisory":
        return Case(candidate, index, limit, decision, "skipped", text("report.tier.advisory"))
    if uncovered(decision, asked.verdict(candidate.id)):
        return Case(candidate, index, limit, decision, "skipped", text("exports.not_covered"))
    status: Status = "fail" if decision.decision is Outcome.FAIL else "undecided"
    return Case(candidate, index, limit, decision, status)


def _waived(waiver: Waiver | None) -> str:
    if waiver is None:
        return text("report.tier.waived")
    return text(
        "exports.waived",
        person=waiver.person, role=waiver.role, reason=waiver.reason, expires=waiver.expires[:10],
    )  # fmt: skip


def title(asked: Survey, case: Case) -> str:
    """Return the name of a case: the limit, and the slice that it looks at."""
    name = limit_title(case.limit)
    if case.decision is None:
        return name
    where = asked.slice_label(Slice.parse(case.decision.slice)) or text("report.all_rows")
    return text("exports.title", limit=name, where=where, demand=demand(case.decision, case.limit))


def explanation(case: Case) -> str:
    """Return what was found in one sentence, and what would decide where nothing is decided."""
    d = case.decision
    if d is None:
        return case.why
    found = drawing_label(d)
    if d.decision is Outcome.CANNOT_TELL:
        if d.reason not in MISSING:
            found = text("exports.because", found=found, reason=reason_text(d.reason))
        needed = rows_needed(d)
        if needed is not None:
            rows = {"rows": rows_text(d.n), "needed": about(needed)}
            found = text("report.two", first=found + text("exports.stop"),
                         second=text("report.tested.all.would", **rows))  # fmt: skip
    elif d.reason != WAIVED:
        found = text("exports.found", found=found, finding=finding(d))
    if case.why:
        found = text("exports.skipped", outcome=found, why=case.why)
    return found


def surveyed(run: Run) -> Survey:
    """Return the survey of a run."""
    return survey(run.judgement)


STATUS_WORDS: dict[Status, Callable[[], str]] = {
    "pass": lambda: outcome_word(Outcome.PASS),
    "fail": lambda: outcome_word(Outcome.FAIL),
    "undecided": lambda: outcome_word(Outcome.CANNOT_TELL),
    "skipped": lambda: text("exports.status.skipped"),
}
