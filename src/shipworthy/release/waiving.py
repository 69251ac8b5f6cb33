"""The act of waiving a limit: by whom its owner's role is held, with a reason and an end."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path

from shipworthy.core.errors import InputError, nearest
from shipworthy.core.ledger_lines import ledger_now
from shipworthy.core.ledger_texts import secret_in
from shipworthy.core.locale import text
from shipworthy.core.records import Candidate, Limit, Outcome
from shipworthy.release.approvals import (
    append_signed,
    approved,
    check_ledger,
    open_place,
    renew,
    signer,
    undisturbed,
)
from shipworthy.release.judgement import Judgement, Waiver
from shipworthy.release.mask import mask
from shipworthy.release.policy import Policy, SelftestRule, may_be_waived
from shipworthy.release.run_folder import documents_in, write_documents
from shipworthy.release.settle import keep, settle
from shipworthy.release.waivers import (
    KIND,
    MOST_DAYS,
    outcome_of_limit,
)

SHORTEST_REASON, LONGEST_REASON = 10, 400

_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")


@dataclass(frozen=True)
class Waived:
    """What a waiver left: itself, and the run decided again.

    written: False where the same waiver stood there before.
    """

    waiver: Waiver
    judgement: Judgement
    report: Path
    written: bool = True


def waive(
    run: Path | str,
    *,
    limit: str,
    reason: str,
    until: str,
    candidate: str = "",
    person: str = "",
    key: Path | None = None,
    team: Path | None = None,
    ledger: Path | None = None,
    clock: datetime | None = None,
) -> Waived:
    """Waive one limit for one candidate until the end of a day (UTC), and decide the run again.

    limit: its number in the policy, its text or a part of it. candidate: its name or id; may be
    left out where only one nominated candidate does not pass the limit. reason: 10 to 400
    characters, printed in the report. until: as 2026-01-31, at most 365 days ahead. clock: now,
    where it is not the machine's.
    Raises InputError where the limit is critical or of another owner, where the reason holds what
    does not belong into a report, and for all else that does not fit; nothing is written then.
    """
    place = open_place(run, team=team, ledger=ledger)
    judgement, seen = place.judgement, place.verdict_digest
    if judgement.kind == "rehearsal":
        raise InputError(text("error.approval.rehearsal", folder=place.folder))
    check_ledger(place)
    asked = find_limit(judgement, limit)
    _check_limit(asked)
    whose = _candidate(judgement, asked, candidate)
    lines = place.ledger.lines()
    expires = _expiry(until, ledger_now(lines, clock=clock))
    why = checked_reason(reason)
    who, secret = signer(place.team, person, key)
    if asked.owner not in who.roles:
        owners = ", ".join(p.id for p in place.team.with_role(asked.owner)) or "—"
        raise InputError(
            text("error.waive.not_owner", file=place.team.file, person=who.id, role=asked.owner,
                 limit=asked, owners=owners)
        )  # fmt: skip
    content = {
        "run": judgement.run,
        "candidate": whose.id,
        "artefact_digest": whose.artefact_digest,
        "limit": str(asked),
        "person": who.id,
        "role": asked.owner,
        "reason": why,
        "expires": expires.isoformat(),
    }
    now = approved(place)
    for one in now.waivers:
        told = (one.candidate, one.limit, one.person, one.reason, one.expires)
        if told == (whose.id, str(asked), who.id, why, content["expires"]):
            return Waived(one, now, renew(place, now), written=False)
    steps = tuple(s for s in judgement.next_steps if not s.phrase.key.startswith("selftest."))
    fresh = replace(judgement, selftest=None, next_steps=steps)
    documents = documents_in(place.folder)
    with undisturbed(place, seen):
        line = append_signed(place.ledger, KIND, content, secret)
        settled = settle(fresh, policy_of(judgement), place.ledger, roster=place.roster)
        keep(settled, place.folder, place.ledger)
    now = approved(replace(place, judgement=settled))
    waiver = next(w for w in settled.waivers if w.line == line.hash)
    page = renew(place, now)
    write_documents(place.folder, kinds=documents)
    return Waived(waiver, now, page)


def policy_of(judgement: Judgement) -> Policy:
    """Return the policy that a judgement was made by."""
    return Policy(
        judgement.confidence,
        judgement.nominate,
        judgement.small_slices,
        judgement.limits,
        judgement.separation_of_duties,
        SelftestRule(judgement.selftest_skip, judgement.selftest_days),
    )


def find_limit(judgement: Judgement, asked: str) -> Limit:
    """Return the limit that a number (from 1), a text or a part of one stands for.

    Raises InputError with the numbered limits where there is none, or several.
    """
    limits = judgement.limits
    if asked.strip().isdecimal():
        place = int(asked)
        if 1 <= place <= len(limits):
            return limits[place - 1]
        raise InputError(
            text("error.waive.no_number", number=asked, limits=_listed(limits, limits))
        )
    wanted = _plain(asked)
    found = [one for one in limits if _plain(str(one)) == wanted]
    found = found or [one for one in limits if wanted and wanted in _plain(str(one))]
    if len({str(one) for one in found}) == 1:
        return found[0]
    what = "several" if found else "no_limit"
    raise InputError(
        text(f"error.waive.{what}", limit=asked, limits=_listed(limits, found or limits))
    )


def checked_reason(reason: str) -> str:
    """Return a reason on one line; raises InputError for one that a report must not print."""
    said = " ".join(reason.split())
    if not SHORTEST_REASON <= len(said) <= LONGEST_REASON:
        raise InputError(
            text("error.waive.reason_length", length=len(said), least=SHORTEST_REASON,
                 most=LONGEST_REASON)
        )  # fmt: skip
    if not said.isprintable():
        raise InputError(text("error.waive.reason_signs"))
    masked = mask(_DATE.sub("", said))
    for kind in ("email", "number"):
        if f"[{kind}]" in masked and f"[{kind}]" not in said:
            raise InputError(text(f"error.waive.reason_{kind}"))
    if secret_in(said) is not None:
        raise InputError(text("error.waive.reason_secret"))
    return said


def _check_limit(limit: Limit) -> None:
    if not may_be_waived(limit):
        raise InputError(text("error.waive.critical", limit=limit))
    if limit.tier == "advisory":
        raise InputError(text("error.waive.advisory", limit=limit))
    if not limit.owner:
        raise InputError(text("error.waive.no_owner", limit=limit))


def _candidate(judgement: Judgement, limit: Limit, asked: str) -> Candidate:
    """Return the candidate to waive for; raises InputError where it is none that a waiver helps."""
    nominated = [c for c in judgement.candidates if c.id in judgement.nominated]
    open_ones = [
        c
        for c in nominated
        if outcome_of_limit(judgement, c.id, str(limit)) not in (None, Outcome.PASS)
    ]
    if not asked:
        if len(open_ones) == 1:
            return open_ones[0]
        names = ", ".join(c.name for c in open_ones)
        what = "which" if open_ones else "passed_by_all" if nominated else "none_nominated"
        raise InputError(text(f"error.waive.{what}", limit=limit, names=names))
    found = [c for c in judgement.candidates if asked in (c.name, c.id)]
    if len(found) != 1:
        fix = nearest(asked, [c.id if found else c.name for c in found or judgement.candidates])
        what = "same_name" if found else "no_candidate"
        raise InputError(text(f"error.waive.{what}", name=asked, fix=fix))
    if found[0] not in nominated:
        raise InputError(text("error.waive.not_nominated", name=asked))
    if found[0] not in open_ones:
        raise InputError(text("error.waive.passed", name=asked, limit=limit))
    if not found[0].artefact_digest:
        raise InputError(text("error.waive.no_digest", name=asked))
    return found[0]


def _expiry(until: str, now: datetime) -> datetime:
    """Return the last second of a day."""
    try:
        last = date.fromisoformat(until)
    except ValueError as error:
        raise InputError(text("error.waive.date", until=until)) from error
    if last < now.date():
        raise InputError(text("error.waive.past", until=until, today=now.date().isoformat()))
    latest = now.date() + timedelta(days=MOST_DAYS)
    if last > latest:
        raise InputError(text("error.waive.far", until=until, most=MOST_DAYS, latest=latest))
    return datetime.combine(last, time(23, 59, 59), tzinfo=UTC)


def _plain(told: str) -> str:
    """Return a limit's text as it may be typed: ASCII signs, one case, single spaces."""
    for sign, typed in (("≥", ">="), ("≤", "<="), ("−", "-"), ("×", "x")):
        told = told.replace(sign, typed)
    return " ".join(told.casefold().split())


def _listed(limits: tuple[Limit, ...], chosen: Sequence[Limit]) -> str:
    """Return limits with their numbers in the policy."""
    told = [
        text("clause.about", subject=k, said=one)
        for k, one in enumerate(limits, start=1)
        if one in chosen
    ]
    return text("clause.separator").join(told)
