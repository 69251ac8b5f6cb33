"""Signed lines of a ledger, held against a roster: whose they are, and why one does not count."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shipworthy.core.errors import InputError
from shipworthy.core.statements import check_payload_signature
from shipworthy.release.judgement import Phrase

if TYPE_CHECKING:
    from shipworthy.core.ledger_lines import Line
    from shipworthy.team.roster import Roster

HEADS = ("head_number", "head_hash")


def distrust(line: Line, roster: Roster | None) -> Phrase | None:
    """Return why a signed line cannot be trusted; None where it can.

    It can where its signature fits what it says, at its own place in the ledger, and the key is
    that of its person, who has its role. Without a roster whose key it is stays open.
    """
    payload = line.payload
    person, role = str(payload.get("person", "")), str(payload.get("role", ""))
    told = {"what": Phrase(f"approval.what.{line.kind}"), "person": person, "role": role}
    try:
        key = check_payload_signature(line.kind, payload)
    except InputError:
        return Phrase("approval.distrust.signature", told)
    if [payload.get(name) for name in HEADS] != [line.number - 1, line.previous]:
        return Phrase("approval.distrust.moved", told)
    if roster is None:
        return None
    owner = roster.person_of(key.fingerprint)
    if owner is None:
        return Phrase("approval.distrust.foreign", {**told, "key": key.fingerprint})
    if owner.id != person:
        return Phrase("approval.distrust.other", {**told, "owner": owner.id})
    if role not in owner.roles:
        return Phrase("approval.distrust.role", told)
    return None


def fingerprint_of(line: Line) -> str:
    """Return the fingerprint of the key of a line whose signature was checked."""
    return check_payload_signature(line.kind, line.payload).fingerprint
