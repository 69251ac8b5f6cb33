"""Sign-offs: who stands by a verdict, which roles still have to, and whether it was not its maker.

A sign-off holds the digest of `verdict.json`, so that it is of one verdict only: when the verdict
changes, it is stale.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING

from shipworthy.release.judgement import Approval, Judgement, Phrase, SignOff
from shipworthy.release.trust import distrust, fingerprint_of

if TYPE_CHECKING:
    from shipworthy.core.ledger_lines import Line
    from shipworthy.team.roster import Roster

KIND = "signoff"


def approval_of(
    lines: Iterable[Line],
    judgement: Judgement,
    *,
    verdict_digest: str,
    trainers: Collection[str],
    roster: Roster | None = None,
) -> Approval:
    """Return who signed a verdict and who has not, from the lines of a ledger.

    verdict_digest: sha256 of `verdict.json`. trainers: ids of those that trained; they do not
    count as others where the policy separates duties. roster: whose keys are trusted; without one
    the signatures are checked, and whose key it is stays open.
    """
    signed: dict[tuple[str, str], SignOff] = {}
    stale: dict[tuple[str, str], SignOff] = {}
    remarks: list[Phrase] = []
    for line in lines:
        if line.kind != KIND or line.payload.get("run") != judgement.run:
            continue
        doubt = distrust(line, roster)
        if doubt is not None:
            remarks.append(doubt)
            continue
        one = SignOff(
            person=str(line.payload["person"]),
            role=str(line.payload["role"]),
            key=fingerprint_of(line),
            created=line.created,
            line=line.hash,
        )
        if line.payload.get("verdict_sha256") == verdict_digest:
            signed.setdefault((one.role, one.person), one)
        else:
            stale[one.role, one.person] = one
    roles = {role for role, _ in signed}
    separated = None
    if judgement.separation_of_duties:
        separated = any(one.person not in trainers for one in signed.values())
    return Approval(
        signed=tuple(signed.values()),
        missing=tuple(role for role in owners(judgement) if role not in roles),
        separated=separated,
        stale=tuple(one for one in stale.values() if one.role not in roles),
        remarks=_unique(remarks),
    )


def owners(judgement: Judgement) -> tuple[str, ...]:
    """Return the roles that own limits that count, in the order of the policy."""
    roles = [limit.owner for limit in judgement.limits if limit.tier != "advisory"]
    return tuple(dict.fromkeys(role for role in roles if role))


def who_trained(
    lines: Iterable[Line], judgement: Judgement, roster: Roster | None
) -> frozenset[str]:
    """Return the ids of those that trained: by their role, and by who made the parent."""
    made = {
        str(line.payload.get("by", ""))
        for line in lines
        if line.kind == "artefact" and line.payload.get("candidate") == judgement.parent.id
    }
    trainers = frozenset() if roster is None else roster.trainers
    return trainers | (made - {""})


def _unique(phrases: Iterable[Phrase]) -> tuple[Phrase, ...]:
    """Drop repeats; phrases hold mappings and so have no hash."""
    kept: list[Phrase] = []
    for one in phrases:
        if one not in kept:
            kept.append(one)
    return tuple(kept)
