"""A run folder held against the ledger: every file that was recorded, and none besides."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from shipworthy.core.digest import files_below
from shipworthy.core.errors import InputError
from shipworthy.core.ledger_kinds import misfits
from shipworthy.core.ledger_lines import Line
from shipworthy.core.statements import check_payload_signature
from shipworthy.release.attestation import ATTESTATION, check_attestation
from shipworthy.release.findings import Finding, note, warning, wrong
from shipworthy.release.hashing import digests_of
from shipworthy.release.places import CANDIDATES, LEDGER
from shipworthy.release.record import VERDICT
from shipworthy.release.recorded import Recorded, recorded, runs_of
from shipworthy.release.trusted import Trusted


@dataclass(frozen=True)
class RunCheck:
    """What was found in run folders, and how many files and bytes were read for it."""

    findings: tuple[Finding, ...]
    runs: tuple[str, ...]
    files: int
    bytes: int


def check_runs(
    folders: Sequence[Path],
    lines: Sequence[Line],
    *,
    ledger: Path,
    trusted: Trusted | None = None,
    jobs: int | None = None,
) -> RunCheck:
    """Check run folders against the lines of one ledger.

    ledger: its path, for messages. jobs: files that are read at the same time. Raises InputError
    for a file that cannot be read.
    """
    # What does not say what its kind must is named by the check of the ledger.
    whole = [line for line in lines if not misfits(line.kind, line.payload)]
    found: list[Finding] = []
    known: list[tuple[Path, Recorded]] = []
    wanted: dict[str, Path] = {}
    for folder in folders:
        run = _run_of(folder, whole)
        if run is None:
            found.append(_unrecorded(folder, ledger))
            continue
        record = recorded(whole, run)
        known.append((folder, record))
        places = (folder / path for path in record.files if _is_inside(path))
        wanted |= {str(place): place for place in places if place.is_file()}
    digests = digests_of(wanted, jobs=jobs)
    by_path = {wanted[name]: digest for name, digest in digests.items()}
    for folder, record in known:
        found += _files(folder, record, by_path, ledger)
        if trusted is not None:
            found += _outdated(record, whole, trusted, ledger)
        if (folder / ATTESTATION).exists():
            named = {finding.where for finding in found}
            said = check_attestation(folder, trusted, jobs=jobs, digests=by_path)
            found += [one for one in said if one.where not in named]
    return RunCheck(
        findings=tuple(found),
        runs=tuple(record.run for _, record in known),
        files=len(wanted),
        bytes=sum(place.stat().st_size for place in wanted.values()),
    )


def altered(folder: Path, lines: Sequence[Line], run: str, *, ledger: Path) -> tuple[Finding, ...]:
    """Return how the files of a run are not as a ledger recorded them, whatever was attested.

    ledger: its path, for messages. Of a run that it does not know nothing can be said.
    """
    whole = [line for line in lines if not misfits(line.kind, line.payload)]
    record = recorded(whole, run)
    if record.verdict is None:
        return ()
    places = {path: folder / path for path in record.files if _is_inside(path)}
    read = digests_of({path: place for path, place in places.items() if place.is_file()})
    digests = {places[path]: digest for path, digest in read.items()}
    return tuple(_files(folder, record, digests, ledger))


def _run_of(folder: Path, lines: Sequence[Line]) -> str | None:
    """Return the run of a folder among those of a ledger; None where nothing points to one."""
    runs = runs_of(lines)
    said = _said(folder).get("run")
    for name in (folder.resolve().name, said):
        if name in runs:
            return str(name)
    # Damaged or gone, it still was the record of a run; one that names an unknown run is none.
    was_run = any((folder / name).exists() for name in (VERDICT, LEDGER))
    return runs[-1] if runs and said is None and was_run else None


def _unrecorded(folder: Path, ledger: Path) -> Finding:
    if not any((folder / name).exists() for name in (VERDICT, LEDGER)):
        return note(folder, "unfinished")
    if _said(folder).get("kind") == "rehearsal":
        return note(folder, "rehearsal")
    return wrong(folder, "unrecorded", ledger=ledger)


def _said(folder: Path) -> Mapping[str, object]:
    """Return what a verdict says, {} where it cannot be read."""
    try:
        said = json.loads((folder / VERDICT).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return said if isinstance(said, dict) else {}


def _files(
    folder: Path, record: Recorded, digests: Mapping[Path, str], ledger: Path
) -> Iterator[Finding]:
    for path, file in sorted(record.files.items()):
        told = {"ledger": ledger, "line": file.line}
        if not _is_inside(path):
            yield wrong(f"{ledger}:{file.line}", "outside", path=path[:80])
        elif folder / path not in digests:
            yield wrong(folder / path, "missing", **told)
        elif digests[folder / path] != file.sha256:
            yield wrong(folder / path, "changed", **told)
    for candidate in record.folders:
        if not _is_inside(candidate):
            yield wrong(ledger, "outside", path=candidate[:80])
    if record.folders and (folder / CANDIDATES).is_dir():
        for name in files_below(folder / CANDIDATES):
            if f"{CANDIDATES}/{name}" not in record.files:
                yield wrong(folder / CANDIDATES / name, "extra", ledger=ledger)


def _outdated(
    record: Recorded, lines: Sequence[Line], trusted: Trusted, ledger: Path
) -> Iterator[Finding]:
    """Yield that a run was signed, but not with the verdict that it has now."""
    line = record.verdict
    signed = set()
    for one in lines:
        if one.kind == "signoff" and one.payload["run"] == record.run:
            with suppress(InputError):
                if check_payload_signature(one.kind, one.payload) in trusted:
                    signed.add(one.payload["verdict_sha256"])
    if line is not None and signed and line.payload["sha256"] not in signed:
        yield warning(f"{ledger}:{line.number}", "signed_before", run=record.run[:40])


def _is_inside(path: str) -> bool:
    """Say whether a path of a ledger stays in the run folder."""
    parts = PurePosixPath(path)
    return not parts.is_absolute() and ".." not in parts.parts and "\0" not in path
