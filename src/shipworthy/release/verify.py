"""`verify`: can this evidence be believed, by what an outsider holds in hand?

A project folder has the ledger and all runs, a run folder a copy of the ledger and its files, a
bundle its files and a signed statement. No private key and no database is needed.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from shipworthy.core.errors import InputError
from shipworthy.core.ledger_lines import Line
from shipworthy.core.locale import text
from shipworthy.release.attestation import ATTESTATION, check_attestation
from shipworthy.release.findings import Finding, wrong
from shipworthy.release.ledger_checks import Head, LedgerCheck, check_ledger, compare_copy
from shipworthy.release.places import CACHE, LEDGER, RUNS
from shipworthy.release.record import VERDICT
from shipworthy.release.run_checks import RunCheck, check_runs
from shipworthy.release.trusted import Trusted
from shipworthy.release.verified import Verified


def verify(
    path: Path | str,
    *,
    trusted: Trusted | None = None,
    head: Head | None = None,
    jobs: int | None = None,
) -> Verified:
    """Check a ledger file, a run folder, a project folder or a bundle and return all findings.

    A folder that is several of these is checked as each of them; `kind` names the first.

    trusted: keys that count; without them signatures are checked, but nobody vouches for who made
    them. head: a line that must be in the ledger. jobs: files that are read at the same time, else
    one for each processor. Raises InputError where there is nothing to verify.
    """
    started = time.monotonic()
    place = Path(path)
    if place.name == ATTESTATION and place.is_file():
        place = place.parent
    if place.is_file():
        ledger = check_ledger(place, trusted=trusted, head=head)
        return _verified(place, [_Part("ledger", ledger)], started)
    # A folder may be several things at once. Each is checked, so that none hides another.
    main, is_run = place / CACHE / LEDGER, _is_run(place)
    parts: list[_Part] = []
    if is_run:
        parts.append(_run(place, trusted, head, jobs))
    bundle = (place / ATTESTATION).exists() and not is_run
    folders = sorted(p for p in (place / RUNS).glob("*") if p.is_dir())
    # A folder of this name may also lie in a bundle.
    if main.exists() or (folders and not parts and not bundle):
        parts.append(_project(main, folders, trusted, None if parts else head, jobs))
    if bundle:
        if head is not None and not parts:
            raise InputError(text("error.verify.head_of_bundle", path=place))
        parts.append(_Part("bundle", None, check_attestation(place, trusted, jobs=jobs)))
    if not parts:
        what = "nothing" if place.exists() else "absent"
        raise InputError(text(f"error.verify.{what}", path=place))
    return _verified(place, parts, started)


@dataclass(frozen=True)
class _Part:
    """What was found of one of the things that a folder is."""

    kind: str
    ledger: LedgerCheck | None
    more: tuple[Finding, ...] = ()
    runs: RunCheck | None = None

    @property
    def findings(self) -> tuple[Finding, ...]:
        of_ledger = self.ledger.findings if self.ledger is not None else ()
        return (*of_ledger, *self.more, *(self.runs.findings if self.runs is not None else ()))


def _is_run(place: Path) -> bool:
    return any((place / name).exists() for name in (LEDGER, VERDICT))


def _run(place: Path, trusted: Trusted | None, head: Head | None, jobs: int | None) -> _Part:
    path = place / LEDGER
    ledger = check_ledger(path, trusted=trusted, head=head)
    missing = () if path.exists() else (wrong(path, "no_ledger"),)
    runs = check_runs([place], ledger.chain.lines, ledger=path, trusted=trusted, jobs=jobs)
    return _Part("run", ledger, missing, runs)


def _project(
    main: Path,
    folders: Sequence[Path],
    trusted: Trusted | None,
    head: Head | None,
    jobs: int | None,
) -> _Part:
    ledger = check_ledger(main, trusted=trusted, head=head)
    found = [one for folder in folders for one in _copy(main, folder)]
    runs = check_runs(folders, ledger.chain.lines, ledger=main, trusted=trusted, jobs=jobs)
    return _Part("project", ledger, tuple(found), runs)


def _copy(main: Path, folder: Path) -> tuple[Finding, ...]:
    """Return how the copy of the ledger in a run folder does not agree with the main one."""
    copy = folder / LEDGER
    return tuple(compare_copy(main, copy)) if copy.exists() else ()


def _verified(place: Path, parts: Sequence[_Part], started: float) -> Verified:
    """Return all findings; entries and head are of the first part that has a ledger."""
    ledgers = [part.ledger for part in parts if part.ledger is not None]
    runs = [part.runs for part in parts if part.runs is not None]
    lines: tuple[Line, ...] = ledgers[0].chain.lines if ledgers else ()
    return Verified(
        path=place,
        kind=parts[0].kind,
        findings=tuple(finding for part in parts for finding in part.findings),
        entries=len(lines),
        head=f"{lines[-1].number}:{lines[-1].hash}" if lines else "",
        signatures=tuple(dict.fromkeys(s for ledger in ledgers for s in ledger.signatures)),
        epsilon=ledgers[0].epsilon if ledgers else {},
        runs=tuple(dict.fromkeys(run for check in runs for run in check.runs)),
        files=sum(check.files for check in runs),
        bytes=sum(check.bytes for check in runs),
        seconds=time.monotonic() - started,
    )
