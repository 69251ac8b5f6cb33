"""The self-test that a ship verdict rests on: read from the ledger where it is fresh, else run.

A gate that could not have said no has said nothing. So a candidate only ships under a policy whose
self-test passed, with the same policy and the same code, and not too long ago.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from shipworthy.core.digest import digest_bytes, digest_json
from shipworthy.core.records import Answer, Verdict
from shipworthy.release.expiry import SELFTEST
from shipworthy.release.judgement import Judgement, NextStep, Phrase, SelftestEvidence
from shipworthy.release.policy import policy_digest
from shipworthy.release.policy_fit import columns_of
from shipworthy.release.selftest import BAD, GOOD, Selftest, example, run_selftest

if TYPE_CHECKING:
    from shipworthy.core.ledger import Ledger
    from shipworthy.release.policy import Policy

KIND = "selftest"
_ROOMS = ("core", "model", "measure", "release")
_LIBRARIES = ("numpy", "scipy", "polars")
_AHEAD = timedelta(hours=1)
"""Evidence from further in the future is not believed: some clock was wrong."""

_LONGEST = 200

_ran: dict[str, Selftest] = {}


def with_selftest(
    judgement: Judgement,
    policy: Policy,
    ledger: Ledger | None,
    *,
    groups: Sequence[str],
    now: datetime,
) -> Judgement:
    """Return a judgement whose ship rests on a self-test, or is undecided for want of one.

    groups: the declared group columns. now: aware of its zone. Only an answer to ship is looked at.
    Evidence is taken from the ledger where it is of this policy and code and not too old; otherwise
    the self-test runs now and is written there. Not passed: what would ship is undecided, with the
    reason `selftest`, and the next steps say what the policy lacks.
    """
    if judgement.answer is not Answer.SHIP:
        return judgement
    skip = _unseen(judgement, groups)
    digest, code, days = selftest_digest(policy), code_digest(), _days(policy)
    found = None if ledger is None else _recorded(ledger, policy, skip, now=now)
    if found is None:
        result = _run(policy, skip)
        created = now.astimezone(UTC).isoformat(timespec="microseconds")
        found = SelftestEvidence(
            result.passed, digest, code, created, "", _short(result.not_held), result.skipped
        )
        if ledger is not None:
            found = replace(found, created=record_selftest(ledger, policy, result))
    if days is not None:
        ends = datetime.fromisoformat(found.created) + timedelta(days=days)
        found = replace(found, expires=ends.isoformat(timespec="microseconds"))
    if found.passed:
        return replace(judgement, selftest=found)
    return _undecided(judgement, found, tuple(groups) or _columns(policy))


def record_selftest(ledger: Ledger, policy: Policy, result: Selftest) -> str:
    """Append what a self-test found to a ledger; return when, as ISO 8601 in UTC."""
    line = ledger.append(
        KIND,
        {
            "policy_digest": selftest_digest(policy),
            "code": code_digest(),
            "passed": result.passed,
            "not_held": list(_short(result.not_held)),
            "skipped": list(result.skipped),
        },
    )
    return line.created


def selftest_digest(policy: Policy) -> str:
    """Return a digest of what a self-test depends on: what decides, and what need not be held."""
    return digest_json({"policy": policy_digest(policy), "skip": sorted(policy.selftest.skip)})


@cache
def code_digest() -> str:
    """Return a digest of the rooms that the self-test runs in and of the libraries under them.

    To the byte, comments included: to run once more costs less than to find out what a comment is.
    """
    package = Path(__file__).resolve().parents[1]
    files = {
        file.relative_to(package).as_posix(): digest_bytes(file.read_bytes())
        for room in _ROOMS
        for file in sorted((package / room).rglob("*.py"))
    }
    return digest_json({"files": files, "libraries": {name: version(name) for name in _LIBRARIES}})


def _unseen(judgement: Judgement, groups: Sequence[str]) -> frozenset[str]:
    """Return the planted models that this kind of judgement cannot see."""
    skip = set() if groups else {"biased"}
    # Files of answers have neither a speed nor a size.
    return frozenset(skip | ({"slow", "oversized"} if judgement.kind == "judge" else set()))


def _days(policy: Policy) -> int | None:
    if policy.selftest.expires_days is not None:
        return policy.selftest.expires_days
    return min((li.expires_days for li in policy.limits if li.expires_days), default=None)


def _recorded(
    ledger: Ledger, policy: Policy, skip: Collection[str], *, now: datetime
) -> SelftestEvidence | None:
    """Return the latest self-test of a ledger that still says something about this policy."""
    digest, code, days = selftest_digest(policy), code_digest(), _days(policy)
    wanted = {*skip, *policy.selftest.skip}
    for line in reversed(ledger.lines()):
        told = line.payload
        if line.kind != KIND or (told["policy_digest"], told["code"]) != (digest, code):
            continue
        created = datetime.fromisoformat(line.created)
        # now may be that very line's time: a clock that was ahead must not keep it fresh.
        ahead = created - min(now, datetime.now(UTC)) > _AHEAD
        if ahead or (days is not None and now - created > timedelta(days=days)):
            continue
        skipped = tuple(told.get("skipped", ()))
        # One that skipped more has shown less; one that failed might have passed with these skips.
        if set(skipped) == wanted or (told["passed"] and set(skipped) < wanted):
            return SelftestEvidence(
                bool(told["passed"]), digest, code, line.created, "",
                tuple(told.get("not_held", ())), skipped,
            )  # fmt: skip
    return None


def _run(policy: Policy, skip: Collection[str]) -> Selftest:
    """Run the self-test, once for each policy and skips in the life of the process."""
    key = digest_json([selftest_digest(policy), sorted(skip)])
    if key not in _ran:
        _ran[key] = run_selftest(policy, skip=skip)
    return _ran[key]


def _undecided(judgement: Judgement, found: SelftestEvidence, columns: Sequence[str]) -> Judgement:
    names = {c.id: c.name for c in judgement.candidates}
    steps = [
        NextStep(v.candidate, phrase, math.nan, math.nan)
        for v in judgement.verdicts
        if v.answer is Answer.SHIP
        for phrase in (_missing(what, names[v.candidate], columns) for what in found.not_held)
    ]
    return replace(
        judgement,
        selftest=found,
        answer=Answer.UNDECIDED,
        best=None,
        verdicts=tuple(_held_back(v) for v in judgement.verdicts),
        next_steps=(*steps, *judgement.next_steps),
    )


def _held_back(verdict: Verdict) -> Verdict:
    if verdict.answer is not Answer.SHIP:
        return verdict
    return replace(verdict, answer=Answer.UNDECIDED, reasons=(SELFTEST,))


def _missing(what: str, candidate: str, columns: Sequence[str]) -> Phrase:
    """Return the step that puts right what a self-test did not find held."""
    if what == GOOD:
        return Phrase("selftest.next.good", {"candidate": candidate})
    if what not in BAD:
        return Phrase("selftest.next.limit", {"candidate": candidate, "limit": what})
    told = {
        "candidate": candidate,
        "model": Phrase(f"selftest.name.{what}"),
        "example": example(what, columns),
        "skip": f"{{skip: [{what}]}}",
    }
    return Phrase("selftest.next.bad", told)


def _columns(policy: Policy) -> tuple[str, ...]:
    return tuple(dict.fromkeys(c for li in policy.limits for c in columns_of(li))) or ("group",)


def _short(names: Sequence[str]) -> tuple[str, ...]:
    """Return the names cut to what a line of a ledger holds."""
    return tuple(name[:_LONGEST] for name in names)
