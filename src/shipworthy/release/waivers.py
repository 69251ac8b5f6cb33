"""Waivers: which of them count for a judgement, and what its verdicts are without those limits.

A waiver is bound to the bytes of one artefact and to the text of one limit, is signed by somebody
whose role owns that limit, and ends. It takes the limit out of the verdict of that candidate; its
decisions stay, with their numbers and the reason `waived`. A critical limit is never waived.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from shipworthy.core.records import WAIVED, Answer, Decision, Limit, Outcome, Verdict
from shipworthy.release.judgement import Judgement, Phrase, Waiver
from shipworthy.release.policy import may_be_waived
from shipworthy.release.trust import distrust

if TYPE_CHECKING:
    from shipworthy.core.ledger_lines import Line
    from shipworthy.team.roster import Roster

KIND = "waiver"
MOST_DAYS = 365
"""Longest that a waiver counts."""

_EXPIRED = "approval.idle.expired"


def active_waivers(
    lines: Iterable[Line], judgement: Judgement, *, now: datetime, roster: Roster | None
) -> tuple[Waiver, ...]:
    """Return the waivers of a ledger that count for this judgement, one for each limit.

    now: expired ones do not count. roster: without one nobody can tell who owns a role, so that
    none counts.
    """
    return weigh_waivers(lines, judgement, now=now, roster=roster)[0]


def weigh_waivers(
    lines: Iterable[Line], judgement: Judgement, *, now: datetime, roster: Roster | None
) -> tuple[tuple[Waiver, ...], tuple[Phrase, ...]]:
    """Return the waivers that count, and one sentence for each other one about these candidates.

    See `active_waivers`. A later waiver replaces an earlier one of the same limit and candidate; of
    a limit that is passed nothing is said.
    """
    lines = tuple(lines)
    names = _names(lines)
    active: dict[tuple[str, str], Waiver] = {}
    idle: dict[tuple[str, str], Phrase] = {}
    for line in lines:
        if line.kind != KIND:
            continue
        said = _text_of(line, "candidate"), _text_of(line, "limit")
        name = names.get(said[0], said[0])
        found = [
            c.id for c in judgement.candidates if c.artefact_digest == _artefact(line) is not None
        ]
        if not found:
            if name in {c.name for c in judgement.candidates}:
                idle[name, said[1]] = _idle("artefact", line, name)
            continue
        for candidate in found:
            name = next(c.name for c in judgement.candidates if c.id == candidate)
            reason = _unfit(line, judgement.limits, roster, now, name)
            if reason is None:
                active[name, said[1]] = _waiver(line, candidate)
                idle.pop((name, said[1]), None)
            elif reason.key == _EXPIRED and (name, said[1]) in active:
                # Whoever waives anew until a sooner day ends the longer waiver.
                del active[name, said[1]]
                idle[name, said[1]] = reason
            elif (name, said[1]) not in active and not _passed(judgement, candidate, said[1]):
                idle[name, said[1]] = reason
    return tuple(active.values()), tuple(idle.values())


def apply_waivers(judgement: Judgement, waivers: Sequence[Waiver]) -> Judgement:
    """Return the judgement with these waivers and no others.

    It is decided again as `measure.decide` does, Holm over the nominated included; a candidate of
    which all limits are waived does not ship. Critical limits stay. A rehearsal is left as it is.
    """
    out = {(w.candidate, w.limit) for w in waivers}
    decisions = tuple(
        _as_waived(d) if _is_out(d, judgement.limits, out) else _as_measured(d)
        for d in judgement.decisions
    )
    if judgement.kind == "rehearsal":
        return judgement
    if decisions == judgement.decisions:
        return replace(judgement, waivers=tuple(waivers))
    verdicts, answer, best = _decided(judgement, decisions)
    answers = {v.candidate: v.answer for v in verdicts}
    return replace(
        judgement,
        decisions=decisions,
        verdicts=verdicts,
        answer=answer,
        best=best,
        waivers=tuple(waivers),
        next_steps=tuple(
            s for s in judgement.next_steps if answers.get(s.candidate) is not Answer.SHIP
        ),
    )


def with_those_left(judgement: Judgement, left: Sequence[Waiver]) -> Judgement:
    """Return a judgement of which only these waivers still count: it ships no more than before."""
    before = {(w.candidate, w.limit) for w in judgement.waivers}
    left = [w for w in left if (w.candidate, w.limit) in before]
    if len(left) == len(before):
        return replace(judgement, waivers=tuple(left))
    return _not_more(apply_waivers(judgement, left), judgement)


def unexpired(
    judgement: Judgement, *, now: datetime
) -> tuple[tuple[Waiver, ...], tuple[Phrase, ...]]:
    """Return the waivers of a judgement that have not ended, and a sentence for each that has."""
    left = tuple(w for w in judgement.waivers if not has_expired(w, now))
    names = {c.id: c.name for c in judgement.candidates}
    said = tuple(
        Phrase(
            "approval.idle.expired",
            {"limit": w.limit, "name": names.get(w.candidate, w.candidate), "date": day(w.expires)},
        )
        for w in judgement.waivers
        if w not in left
    )
    return left, said


def _not_more(after: Judgement, before: Judgement) -> Judgement:
    """Return what is left of a judgement where something was taken away: no new ship.

    What kept a candidate back besides its limits, as the self-test, still does.
    """
    shipped = {v.candidate for v in before.verdicts if v.answer is Answer.SHIP}
    verdicts = tuple(
        before.verdict_of(v.candidate)
        if v.answer is Answer.SHIP and v.candidate not in shipped
        else v
        for v in after.verdicts
    )
    if after.answer is not Answer.SHIP or any(v.answer is Answer.SHIP for v in verdicts):
        return replace(after, verdicts=verdicts)
    return replace(after, verdicts=verdicts, answer=before.answer, best=None)


def not_yet(waiver: Waiver, judgement: Judgement) -> Phrase:
    """Return the sentence of a waiver that counts but that a verdict does not rest on yet."""
    names = {c.id: c.name for c in judgement.candidates}
    return Phrase("approval.idle.not_yet", {"limit": waiver.limit, "name": names[waiver.candidate]})


def outcome_of_limit(judgement: Judgement, candidate: str, limit: str) -> Outcome | None:
    """Return the worst outcome of a limit for a candidate; None where it has no decision."""
    found = [
        d.decision
        for d in judgement.decisions
        if d.candidate == candidate and str(judgement.limits[d.limit]) == limit
    ]
    worst = (Outcome.FAIL, Outcome.CANNOT_TELL, Outcome.PASS)
    return next((outcome for outcome in worst if outcome in found), None)


def has_expired(waiver: Waiver, now: datetime) -> bool:
    """Say whether a waiver has ended; one without a time that can be read has."""
    expires = _time(waiver.expires)
    return expires is None or expires <= now


def day(time: str) -> str:
    """Return the day of a time in ISO 8601."""
    return time[:10]


def _decided(
    judgement: Judgement, decisions: Sequence[Decision]
) -> tuple[tuple[Verdict, ...], Answer, str | None]:
    """Decide candidates and run again from decisions that are made."""
    from shipworthy.measure.decide import decide_again, decide_run
    from shipworthy.release.verdicts import objective_values

    ids = [c.id for c in judgement.candidates]
    found = decide_run(
        [
            decide_again(
                name,
                [d for d in decisions if d.candidate == name],
                small_slices=judgement.small_slices,
            )
            for name in ids
        ],
        judgement.nominated,
        alpha=judgement.alpha,
        objective=objective_values(judgement.objective, judgement.measurements, ids),
        family=judgement.family,
    )
    return found.verdicts, found.answer, found.best


def _is_out(d: Decision, limits: Sequence[Limit], out: set[tuple[str, str]]) -> bool:
    limit = limits[d.limit]
    return (d.candidate, str(limit)) in out and may_be_waived(limit)


def _as_waived(d: Decision) -> Decision:
    return d if d.reason == WAIVED else replace(d, reason=WAIVED, reason_before=d.reason)


def _as_measured(d: Decision) -> Decision:
    return replace(d, reason=d.reason_before, reason_before="") if d.reason == WAIVED else d


def _unfit(
    line: Line, limits: Sequence[Limit], roster: Roster | None, now: datetime, name: str
) -> Phrase | None:
    """Return why a waiver of one of these candidates does not count; None where it does."""
    wanted = _text_of(line, "limit")
    own = [limit for limit in limits if str(limit) == wanted]
    if roster is None:
        return _idle("no_team", line, name)
    doubt = distrust(line, roster)
    if doubt is not None:
        return doubt
    if not own:
        return _idle("no_limit", line, name)
    if not any(may_be_waived(limit) for limit in own):
        return _idle("critical", line, name)
    if not all(limit.owner == _text_of(line, "role") for limit in own):
        return _idle("owner", line, name)
    expires, created = _time(_text_of(line, "expires")), _time(line.created)
    if expires is None or created is None or expires > created + timedelta(days=MOST_DAYS + 1):
        return _idle("too_long", line, name)
    return _idle("expired", line, name) if expires <= now else None


def _passed(judgement: Judgement, candidate: str, limit: str) -> bool:
    return outcome_of_limit(judgement, candidate, limit) is Outcome.PASS


def _idle(why: str, line: Line, name: str) -> Phrase:
    told: dict[str, Any] = {"limit": _text_of(line, "limit"), "name": name}
    if why == "expired":
        told["date"] = day(_text_of(line, "expires"))
    if why == "owner":
        told["role"] = _text_of(line, "role")
    return Phrase(f"approval.idle.{why}", told)


def _waiver(line: Line, candidate: str) -> Waiver:
    return Waiver(
        limit=_text_of(line, "limit"),
        candidate=candidate,
        artefact_digest=_text_of(line, "artefact_digest"),
        person=_text_of(line, "person"),
        role=_text_of(line, "role"),
        reason=_text_of(line, "reason"),
        created=line.created,
        expires=_text_of(line, "expires"),
        line=line.hash,
    )


def _names(lines: Sequence[Line]) -> dict[str, str]:
    """Return the names of candidates that a ledger knows, by id."""
    return {
        _text_of(line, "candidate"): _text_of(line, "name")
        for line in lines
        if line.kind == "artefact"
    }


def _artefact(line: Line) -> str | None:
    return _text_of(line, "artefact_digest") or None


def _text_of(line: Line, key: str) -> str:
    return str(line.payload.get(key, ""))


def _time(written: str) -> datetime | None:
    try:
        time = datetime.fromisoformat(written)
    except ValueError:
        return None
    return time if time.tzinfo is not None else None
