"""The tables of a card: limits with what was found, the main measure by group, other numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass

from shipworthy.core.locale import NO_NUMBER, number
from shipworthy.core.records import ALL_ROWS, Outcome
from shipworthy.release.card_facts import Facts, GroupNumbers, figure
from shipworthy.release.display import capital, measure_name, text
from shipworthy.release.limit_rows import form_of
from shipworthy.release.wording import demand, limit_title, outcome_word, reason_text


@dataclass(frozen=True)
class LimitEntry:
    """One limit on one slice."""

    title: str
    slice: str
    demand: str
    found: str
    n: str
    outcome: str
    reason: str
    tier: str
    owner: str


@dataclass(frozen=True)
class GroupEntry:
    """The main measure of the candidate on one slice, and its change against the parent."""

    name: str
    n: str
    own: str
    parent: str
    change: str


def limit_entries(facts: Facts) -> list[LimitEntry]:
    """Return every decision about the named candidate, in the order of the policy."""
    found = []
    for d in sorted(facts.decisions, key=lambda d: d.limit):
        limit, form = facts.judgement.limits[d.limit], form_of(d)
        value = NO_NUMBER
        if not math.isnan(d.value):
            value = form.with_unit(form.figure(d.value))
            if d.low != d.high:
                value = f"{value} {form.interval(d.low, d.high)}"
        found.append(
            LimitEntry(
                title=limit_title(limit),
                slice=slice_name(facts, d.slice),
                demand=NO_NUMBER if math.isnan(d.bound) else demand(d, limit),
                found=value,
                n=number(d.n) if d.n else NO_NUMBER,
                outcome=outcome_word(d.decision),
                reason=reason_text(d.reason) if d.decision is not Outcome.PASS and d.reason else "",
                tier=text(f"card.tier.{d.tier}"),
                owner=d.owner or NO_NUMBER,
            )
        )
    return found


def slice_name(facts: Facts, slice: str) -> str:
    """Return the name of a slice for people."""
    from shipworthy.core.records import Slice

    return facts.survey.slice_label(Slice.parse(slice)) or text("report.all_rows")


def group_entries(facts: Facts) -> list[GroupEntry]:
    """Return the main measure on all rows and by group."""
    return [_group(facts, group) for group in facts.groups]


def _group(facts: Facts, group: GroupNumbers) -> GroupEntry:
    return GroupEntry(
        name=slice_name(facts, group.slice.json),
        n=number(group.own.n),
        own=figure(facts.main, group.own),
        parent=figure(facts.main, group.parent),
        change=figure(facts.main, group.change, relative=True),
    )


def other_entries(facts: Facts) -> list[tuple[str, str, str]]:
    """Return name, candidate's and parent's number of whatever else was measured on all rows."""
    return [
        (
            capital(measure_name(measure)),
            figure(measure, own),
            NO_NUMBER if parent is None else figure(measure, parent),
        )
        for measure, own, parent in facts.whole()
    ]


def has_groups(facts: Facts) -> bool:
    """Say whether there is any slice besides all rows."""
    return any(g.slice != ALL_ROWS for g in facts.groups)
