"""The act of signing a verdict off: one line in the ledger, signed by a person of the team."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from shipworthy.core.errors import InputError
from shipworthy.core.locale import text
from shipworthy.release.approvals import (
    Place,
    append_signed,
    approved,
    check_ledger,
    check_role,
    open_place,
    renew,
    signer,
    undisturbed,
)
from shipworthy.release.attestation import attest, unsigned
from shipworthy.release.judgement import Approval, Judgement, SignOff
from shipworthy.release.places import CANDIDATES
from shipworthy.release.recorded import record_run, recorded
from shipworthy.release.run_folder import documents_in, write_documents
from shipworthy.release.signoff import KIND


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
    verdict is none to sign: a rehearsal, one that was edited or changed meanwhile, or one that
    rests on what does not count any more.
    """
    place = open_place(run, team=team, ledger=ledger)
    seen = place.verdict_digest
    check_signable(place)
    check_role(place.team, role)
    who, secret = signer(place.team, person, key)
    if role not in who.roles:
        roles = ", ".join(who.roles) or "—"
        raise InputError(
            text("error.approval.not_role", file=place.team.file, person=who.id, role=role,
                 roles=roles)
        )  # fmt: skip
    with undisturbed(place, seen):
        judgement = approved(place)
        if _ships_a_bundle(place, judgement):
            # What could not be attested is not signed off either.
            unsigned(place.folder, judgement, place.ledger)
        before = _signed(judgement, role, who.id)
        if before is None:
            if recorded(place.ledger.lines(), judgement.run).verdict is None:
                # A folder that was judged without a ledger: the first sign-off begins its own.
                record_run(place.ledger, place.folder, place.judgement)
            content = {
                "run": place.judgement.run,
                "verdict_sha256": place.verdict_digest,
                "role": role,
                "person": who.id,
            }
            append_signed(place.ledger, KIND, content, secret)
    now = approved(place)
    found = _signed(now, role, who.id)
    assert found is not None  # it was there before or was written just now
    page = renew(place, now)
    # They say who signed.
    write_documents(place.folder, kinds=documents_in(place.folder))
    path = attest(place.folder, now, secret) if _ships_a_bundle(place, now) else None
    return Signed(found, before is None, now, page, path)


def _ships_a_bundle(place: Place, judgement: Judgement) -> bool:
    """Say whether there is a bundle to attest; files that `judge` was given are none."""
    best = judgement.best
    return best is not None and (place.folder / CANDIDATES / best).is_dir()


def check_signable(place: Place) -> None:
    """Raise InputError where a verdict cannot be approved."""
    if place.judgement.kind == "rehearsal":
        raise InputError(text("error.approval.rehearsal", folder=place.folder))
    check_ledger(place)
    now = approved(place)
    if len(now.waivers) != len(place.judgement.waivers):
        raise InputError(text("error.approval.ended", folder=place.folder))
    if now.answer is not place.judgement.answer:
        raise InputError(text("error.approval.too_old", folder=place.folder))


def _signed(judgement: Judgement, role: str, person: str) -> SignOff | None:
    signed = (judgement.approval or Approval()).signed
    return next((one for one in signed if (one.role, one.person) == (role, person)), None)
