"""Where a run is approved: its ledger, its team file, the key that a person signs with.

A run of a project is approved in the project's ledger (`.shipworthy/ledger.jsonl`), of which the
run folder has a copy; a folder of `judge` has a ledger of its own.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from shipworthy.core.digest import digest_file
from shipworthy.core.errors import InputError, nearest
from shipworthy.core.keys import SigningKey, default_folder, load_key
from shipworthy.core.ledger import Ledger
from shipworthy.core.ledger_lines import START, Line, ledger_now
from shipworthy.core.locale import text
from shipworthy.core.statements import sign_payload
from shipworthy.core.yaml import read_yaml
from shipworthy.release.expiry import without_expired_evidence
from shipworthy.release.judgement import Judgement
from shipworthy.release.places import CACHE, LEDGER, PROJECT
from shipworthy.release.record import REPORT, VERDICT, read_record
from shipworthy.release.report import write_report
from shipworthy.release.run_checks import altered
from shipworthy.release.signoff import approval_of, who_trained
from shipworthy.release.waivers import not_yet, unexpired, weigh_waivers, with_those_left
from shipworthy.team.roster import Person, Roster, load_roster

PERSON_VARIABLE = "SHIPWORTHY_PERSON"


@dataclass(frozen=True)
class Place:
    """A finished run, the ledger that it is approved in, and its team; None without a team file."""

    folder: Path
    judgement: Judgement
    ledger: Ledger
    roster: Roster | None

    @property
    def verdict_digest(self) -> str:
        """Digest of `verdict.json` as it is now, 64 hex digits."""
        return digest_file(self.folder / VERDICT, memo=False)

    @property
    def team(self) -> Roster:
        """The team; raises InputError where there is no team file."""
        if self.roster is None:
            raise InputError(text("error.approval.no_team", folder=self.folder))
        return self.roster


def open_place(run: Path | str, *, team: Path | None = None, ledger: Path | None = None) -> Place:
    """Find what belongs to a run folder (or a file in it).

    team, ledger: files to take instead of those of the project. Raises InputError where there is
    no finished run, SettingsError where the team file does not fit.
    """
    folder = Path(run)
    folder = folder.parent if folder.is_file() else folder
    judgement = read_record(folder)
    return Place(folder, judgement, Ledger(ledger or _ledger(folder)), _roster(folder, team))


def approved(place: Place) -> Judgement:
    """Return the judgement with its approvals as the ledger has them now.

    A waiver that has ended since, or that the team no longer stands by, does not count. `approval`
    is None where nobody is asked: in a rehearsal, and without a team file where nothing is signed.
    """
    judgement, lines = place.judgement, place.ledger.lines()
    if judgement.kind == "rehearsal":
        return judgement
    now = ledger_now(lines)
    if place.roster is None:
        active, idle = unexpired(judgement, now=now)
    else:
        active, idle = weigh_waivers(lines, judgement, now=now, roster=place.roster)
    judgement = with_those_left(judgement, active)
    judgement = without_expired_evidence(judgement, now=now)
    if place.roster is None and not any(line.kind in ("signoff", "waiver") for line in lines):
        return judgement
    approval = approval_of(
        lines,
        judgement,
        verdict_digest=place.verdict_digest,
        trainers=who_trained(lines, judgement, place.roster),
        roster=place.roster,
    )
    if place.roster is None:
        # Who trained is not known then.
        approval = replace(approval, separated=None)
    late = [not_yet(w, judgement) for w in active if w not in judgement.waivers]
    remarks = [*idle, *late, *approval.remarks]
    return replace(judgement, approval=replace(approval, remarks=tuple(remarks)))


def fully_approved(judgement: Judgement) -> bool:
    """Say whether every role that owns a limit has signed, and not only those who trained."""
    approval = judgement.approval
    return (
        approval is not None
        and bool(approval.signed)
        and not approval.missing
        and approval.separated is not False
    )


def renew(place: Place, judgement: Judgement) -> Path:
    """Copy the ledger into the run folder and write its page again; return the page's path."""
    copy = place.folder / LEDGER
    if copy.absolute() != place.ledger.path.absolute():
        place.ledger.copy_to(copy)
    return write_report(judgement, place.folder / REPORT)


def check_ledger(place: Place) -> None:
    """Raise InputError where the run is not as its ledger recorded it, or its copy knows more.

    What is signed or decided again would else carry what was edited into the ledger.
    """
    copy = place.folder / LEDGER
    if copy.absolute() != place.ledger.path.absolute():
        place.ledger.check_copy(copy)
    path = place.ledger.path
    for finding in altered(place.folder, place.ledger.lines(), place.judgement.run, ledger=path):
        raise InputError(text("error.approval.altered", finding=finding))


@contextmanager
def undisturbed(place: Place, seen: str) -> Iterator[None]:
    """Let nobody else write the run's verdict during the block.

    seen: digest of `verdict.json` as it was read. Raises InputError where it is another by now:
    what somebody saw is what they sign.
    """
    with place.ledger.locked():
        if place.verdict_digest != seen:
            raise InputError(text("error.approval.changed", folder=place.folder))
        yield


def signer(roster: Roster, person: str, key: Path | None) -> tuple[Person, SigningKey]:
    """Return who signs and with which key.

    person: id, else `SHIPWORTHY_PERSON`, else whose the key is. key: file of the private key, else
    the one with the person's id in the folder of own keys, else the only one there.
    Raises InputError for a person or a key that is not of the team.
    """
    asked = person or os.environ.get(PERSON_VARIABLE, "")
    who = roster.person(asked) if asked else None
    secret = load_key(key if key is not None else _own_key(asked))
    owner = roster.person_of(secret.public.fingerprint)
    told = {"file": roster.file, "key": secret.public.fingerprint}
    if owner is None:
        raise InputError(text("error.approval.foreign", **told, line=secret.public.text))
    if who is not None and who != owner:
        raise InputError(text("error.approval.other", **told, owner=owner.id, person=who.id))
    return owner, secret


def check_role(roster: Roster, role: str) -> None:
    """Raise InputError for a role that nobody of the team has."""
    if role not in roster.roles:
        fix = nearest(role, roster.roles)
        raise InputError(text("error.approval.no_role", file=roster.file, role=role, fix=fix))


def append_signed(ledger: Ledger, kind: str, payload: Mapping[str, Any], key: SigningKey) -> Line:
    """Sign a payload for the next place in a ledger and append it.

    The signature covers number and hash of the line before it, so that a ledger that was cut below
    a signature or written anew shows it.
    """
    with ledger.locked():
        ledger.recover()
        lines = ledger.lines()
        number, above = (lines[-1].number, lines[-1].hash) if lines else (0, START)
        head = {"head_number": number, "head_hash": above}
        return ledger.append(kind, sign_payload(kind, {**payload, **head}, key))


def _ledger(folder: Path) -> Path:
    """Return the project's ledger for a run of a project, else the folder's own."""
    whole = folder.resolve().parent.parent / CACHE / LEDGER
    is_run = (folder / PROJECT).is_file() and whole.is_file()
    return whole if is_run else folder / LEDGER


def _roster(folder: Path, team: Path | None) -> Roster | None:
    if team is not None:
        return load_roster(team)
    if not (folder / PROJECT).is_file():
        return None
    project = read_yaml(folder / PROJECT).data
    named = project.get("team") if isinstance(project, dict) else None
    if not isinstance(named, str):
        return None
    # Paths in a project file are relative to its folder, where `runs/` is too.
    path = folder.resolve().parent.parent / Path(named).expanduser()
    return load_roster(path) if path.is_file() else None


def _own_key(person: str) -> Path:
    folder = default_folder()
    if person:
        return folder / person
    found = [p.with_suffix("") for p in sorted(folder.glob("*.pub")) if p.with_suffix("").is_file()]
    if len(found) != 1:
        names = ", ".join(p.name for p in found)
        what = "which_key" if found else "no_key"
        raise InputError(text(f"error.approval.{what}", folder=folder, names=names))
    return found[0]
