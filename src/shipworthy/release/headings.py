"""Headings that state a finding, and only what intervals carry; else they are neutral."""

from __future__ import annotations

from collections.abc import Collection

from shipworthy.core.records import Outcome
from shipworthy.release.display import text
from shipworthy.release.limit_rows import form_of
from shipworthy.release.standing import Survey
from shipworthy.release.summary import fastest, smallest
from shipworthy.release.wording import group_name


def candidates_heading(survey: Survey) -> str:
    """Return the heading of the candidates table."""
    rows = [survey.decider(c.id) for c in survey.judgement.candidates]
    grouped = [r for r in rows if r is not None and group_name(survey, r.decision) is not None]
    if rows and len(grouped) == len(rows):
        return text("report.candidates.by_group")
    return text("report.candidates.by_limit")


def groups_heading(survey: Survey, limits: Collection[int]) -> str:
    """Return the heading of the change by group: the largest proven loss, or a neutral one."""
    by_candidate = {
        c.id: [
            d for d in survey.judgement.decisions_of(c.id) if d.limit in limits and d.slice != "{}"
        ]
        for c in survey.ordered
    }
    decisions = [d for found in by_candidate.values() for d in found]
    failed = [d for d in decisions if d.decision is Outcome.FAIL and form_of(d).unit == "points"]
    if not failed or failed[0].side != "at_least":
        if decisions and all(d.decision is Outcome.PASS for d in decisions):
            return text("report.groups.all_inside", count=len(by_candidate))
        return text("report.groups.neutral")
    worst = min(failed, key=lambda d: d.value)
    form = form_of(worst)
    said = text(
        "report.groups.lost",
        name=survey.candidate(worst.candidate).name,
        group=group_name(survey, worst),
        value=form.with_unit(form.size(worst.value)),
    )
    others = [d for d in by_candidate[worst.candidate] if d is not worst]
    if others and all(d.high >= 0 for d in others):
        return text("report.groups.no_clear_loss", said=said)
    if others and all(d.decision is Outcome.FAIL for d in others):
        return text("report.groups.all_outside", said=said)
    return said


def frontier_heading(survey: Survey) -> str:
    """Return the heading of the frontier: the fastest and the smallest inside, where proven."""
    passing = [c for c in survey.ordered if survey.outcome(c.id) is Outcome.PASS]
    if len(passing) == 1:
        return text("report.frontier.only", name=passing[0].name)
    fast, small = fastest(survey, passing), smallest(survey, passing)
    if fast is not None and fast == small:
        return text("report.frontier.both", name=fast.name)
    if fast is not None and small is not None:
        return text("report.frontier.each", fast=fast.name, small=small.name)
    if small is not None:
        return text("report.frontier.smallest", name=small.name)
    if fast is not None:
        return text("report.frontier.fastest", name=fast.name)
    return text("report.frontier.neutral")
