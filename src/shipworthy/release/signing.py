"""The act of signing a verdict off: one line in the ledger, signed by a person of the team."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from shipworthy.core.errors import InputError
from shipworthy.core.keys import SigningKey
from shipworthy.core.locale import text
from shipworthy.release.approvals import (
    Place,
    append_signed,
    approved,
    check_role,
    open_place,
    renew,
    signer,
)
from shipworthy.release.attestation import attest
from shipworthy.release.judgement import Approval, Judgement, SignOff
from shipworthy.release.signoff import KIND

CANDIDATES = "candidates"
"""Folder of a run with the bundles that it made."""


@dataclass(frozen=True)
class Signed:
    """What a sign-off left.

    written: False where this role had signed this verdict before. attestation: the signed
    statement about the bundle that ships, None where none does.
    """

    signoff: SignOff
    written: bool
    judgement: Judgement
    report: Path
    attestation: Path | None = None


def sign_off(
    run: Path | str,
    *,
    role: str,
    person: str = "",
    key: Path | None = None,
    team: Path | None = None,
    ledger: Path | None = None,
) -> Signed:
    """Sign the verdict of a run in a role; a second time the ledger stays as it is.

    Where a bundle ships, the person signs its attestation too.

    person, key: see `approvals.signer`. team, ledger: files other than the project's.
    Raises InputError where the person, the key or the role is not of the team, and where the
    verdict is none to sign: a rehearsal, or one that rests on a waiver that does not count.
    """
    place = open_place(run, team=team, ledger=ledger)
    check_signable(place)
    check_role(place.team, role)
    who, secret = signer(place.team, person, key)
    if role not in who.roles:
        roles = ", ".join(who.roles) or "—"
        raise InputError(
            text("error.approval.not_role", file=place.team.file, person=who.id, role=role,
                 roles=roles)
        )  # fmt: skip
    before = _signed(approved(place), role)
    if before is None:
        content = {
            "run": place.judgement.run,
            "verdict_sha256": place.verdict_digest,
            "role": role,
            "person": who.id,
        }
        append_signed(place.ledger, KIND, content, secret)
    now = approved(place)
    found = _signed(now, role)
    assert found is not None  # it was there before or was written just now
    page = renew(place, now)
    return Signed(found, before is None, now, page, _attested(place, now, secret))


def _attested(place: Place, judgement: Judgement, key: SigningKey) -> Path | None:
    """Sign the statement about what ships; files that `judge` was given are no bundle."""
    best = judgement.best
    if best is None or not (place.folder / CANDIDATES / best).is_dir():
        return None
    return attest(place.folder, judgement, key)


def check_signable(place: Place) -> None:
    """Raise InputError where a verdict cannot be approved."""
    if place.judgement.kind == "rehearsal":
        raise InputError(text("error.approval.rehearsal", folder=place.folder))
    if len(approved(place).waivers) != len(place.judgement.waivers):
        raise InputError(text("error.approval.ended", folder=place.folder))


def _signed(judgement: Judgement, role: str) -> SignOff | None:
    approval = judgement.approval or Approval()
    return next((one for one in approval.signed if one.role == role), None)
