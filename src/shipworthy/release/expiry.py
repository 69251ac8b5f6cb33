"""Evidence ages: a limit with `expires_days` is not met by numbers that are older.

Nothing that expired is taken for a failure: whoever measures again may find the same. A candidate
that would ship on it is undecided until then.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from shipworthy.core.records import Answer, Limit, Verdict
from shipworthy.release.judgement import Judgement, Phrase, SelftestEvidence

if TYPE_CHECKING:
    import polars as pl

REASON = "expired"
"""The reason of a verdict that rests on evidence which has become too old."""

SELFTEST = "selftest"
"""The reason of a verdict that no self-test vouches for."""


@dataclass(frozen=True)
class Expired:
    """A limit whose evidence about a candidate is too old. days: its age, whole days."""

    candidate: str
    limit: Limit
    days: int


def expired(judgement: Judgement, *, now: datetime) -> tuple[Expired, ...]:
    """Return the limits of each candidate whose evidence is older than `expires_days`.

    Waived and advisory limits decide nothing, so they do not expire. now: the clock, or the last
    line of the ledger where that is later.
    """
    waived = {(w.candidate, w.limit) for w in judgement.waivers}
    oldest = _oldest(judgement.measurements)
    found = []
    for candidate in judgement.candidates:
        for limit in judgement.limits:
            if limit.expires_days is None or limit.tier == "advisory":
                continue
            if (candidate.id, str(limit)) in waived:
                continue
            made = oldest.get((candidate.id, limit.measure), judgement.created)
            age = now - min(made, judgement.created)
            if age > timedelta(days=limit.expires_days):
                found.append(Expired(candidate.id, limit, age.days))
    return tuple(found)


def without_expired_evidence(judgement: Judgement, *, now: datetime) -> Judgement:
    """Return a judgement that ships on no expired evidence; its notes say what is too old.

    A self-test that did not pass or has ended is as good as none: then nothing ships.
    """
    found = _without_old_numbers(judgement, now)
    if found.answer is not Answer.SHIP or not _is_over(found.selftest, now):
        return found
    assert found.selftest is not None
    told = {"date": (found.selftest.expires or found.selftest.created)[:10]}
    return replace(
        found,
        verdicts=tuple(_undecided(v, SELFTEST) for v in found.verdicts),
        answer=Answer.UNDECIDED,
        best=None,
        notes=(*found.notes, Phrase("approval.selftest_ended", told)),
    )


def _without_old_numbers(judgement: Judgement, now: datetime) -> Judgement:
    old = expired(judgement, now=now)
    names = {c.id: c.name for c in judgement.candidates}
    shipping = {v.candidate for v in judgement.verdicts if v.answer is Answer.SHIP}
    said = tuple(
        Phrase(
            "approval.expired",
            {"limit": str(one.limit), "name": names[one.candidate], "days": one.days,
             "allowed": one.limit.expires_days},
        )
        for one in old
        if one.candidate in shipping
    )  # fmt: skip
    if not said:
        return judgement
    from shipworthy.release.verdicts import objective_values

    late = {one.candidate for one in old}
    verdicts = tuple(_undecided(v) if v.candidate in late else v for v in judgement.verdicts)
    left = [v.candidate for v in verdicts if v.answer is Answer.SHIP]
    values = objective_values(judgement.objective, judgement.measurements, left)
    return replace(
        judgement,
        verdicts=verdicts,
        answer=Answer.SHIP if left else Answer.UNDECIDED,
        best=min(left, key=lambda name: _lowest(values[name]), default=None),
        notes=(*(n for n in judgement.notes if n.key != "approval.expired"), *said),
    )


def _is_over(selftest: SelftestEvidence | None, now: datetime) -> bool:
    if selftest is None:
        return False
    ended = selftest.expires and datetime.fromisoformat(selftest.expires) <= now
    return bool(ended) or not selftest.passed


def _undecided(verdict: Verdict, reason: str = REASON) -> Verdict:
    if verdict.answer is not Answer.SHIP:
        return verdict
    return replace(verdict, answer=Answer.UNDECIDED, reasons=(reason,))


def _lowest(value: float) -> float:
    return math.inf if math.isnan(value) else value


def _oldest(measurements: pl.DataFrame) -> dict[tuple[str, str], datetime]:
    """Return when the oldest number of a measure was made, by candidate and measure."""
    import polars as pl

    times = measurements.group_by("candidate", "measure").agg(pl.col("created").min())
    return {(c, m): t for c, m, t in times.iter_rows() if t is not None}
