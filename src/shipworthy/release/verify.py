"""`verify`: can this evidence be believed, by what an outsider holds in hand?

A project folder has the ledger and all runs, a run folder a copy of the ledger and its files, a
bundle its files and a signed statement. No private key and no database is needed.
"""

from __future__ import annotations

import time
from pathlib import Path

from shipworthy.core.errors import InputError
from shipworthy.core.ledger_lines import Line
from shipworthy.core.locale import text
from shipworthy.release.attestation import ATTESTATION, LEDGER, check_attestation
from shipworthy.release.findings import Finding, wrong
from shipworthy.release.ledger_checks import Head, LedgerCheck, check_ledger, compare_copy
from shipworthy.release.record import VERDICT
from shipworthy.release.run_checks import RunCheck, check_runs
from shipworthy.release.trusted import Trusted
from shipworthy.release.verified import Verified

CACHE = ".shipworthy"
RUNS = "runs"


def verify(
    path: Path | str,
    *,
    trusted: Trusted | None = None,
    head: Head | None = None,
    jobs: int | None = None,
) -> Verified:
    """Check a ledger file, a run folder, a project folder or a bundle and return all findings.

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
        return _verified("ledger", place, ledger, (), None, started)
    main = place / CACHE / LEDGER
    in_run = (place / LEDGER).exists() or (place / VERDICT).exists()
    if main.exists() or (place / RUNS).is_dir() and not in_run:
        ledger = check_ledger(main, trusted=trusted, head=head)
        folders = sorted(p for p in (place / RUNS).glob("*") if p.is_dir())
        found = [one for folder in folders for one in _copy(main, folder)]
        runs = check_runs(folders, ledger.chain.lines, ledger=main, trusted=trusted, jobs=jobs)
        return _verified("project", place, ledger, tuple(found), runs, started)
    if in_run:
        ledger = check_ledger(place / LEDGER, trusted=trusted, head=head)
        missing = () if (place / LEDGER).exists() else (wrong(place / LEDGER, "no_ledger"),)
        runs = check_runs(
            [place], ledger.chain.lines, ledger=place / LEDGER, trusted=trusted, jobs=jobs
        )
        return _verified("run", place, ledger, missing, runs, started)
    if (place / ATTESTATION).exists():
        if head is not None:
            raise InputError(text("error.verify.head_of_bundle", path=place))
        statement = check_attestation(place, trusted, jobs=jobs)
        return _verified("bundle", place, None, statement, None, started)
    raise InputError(text("error.verify.nothing" if place.exists() else "error.verify.absent",
                          path=place))  # fmt: skip


def _copy(main: Path, folder: Path) -> tuple[Finding, ...]:
    """Return how the copy of the ledger in a run folder does not agree with the main one."""
    copy = folder / LEDGER
    return tuple(compare_copy(main, copy)) if copy.exists() else ()


def _verified(
    kind: str,
    place: Path,
    ledger: LedgerCheck | None,
    more: tuple[Finding, ...],
    runs: RunCheck | None,
    started: float,
) -> Verified:
    lines: tuple[Line, ...] = ledger.chain.lines if ledger is not None else ()
    of_ledger = ledger.findings if ledger is not None else ()
    return Verified(
        path=place,
        kind=kind,
        findings=(*of_ledger, *more, *(runs.findings if runs is not None else ())),
        entries=len(lines),
        head=f"{lines[-1].number}:{lines[-1].hash}" if lines else "",
        signatures=ledger.signatures if ledger is not None else (),
        epsilon=ledger.epsilon if ledger is not None else {},
        runs=runs.runs if runs is not None else (),
        files=runs.files if runs is not None else 0,
        bytes=runs.bytes if runs is not None else 0,
        seconds=time.monotonic() - started,
    )
