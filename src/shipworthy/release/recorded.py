"""What a run left, as lines of the ledger: a digest of every file, and back again.

Later lines of one file, artefact or verdict replace earlier ones: a verdict changes with a waiver.
What is made from the record (page, cards, the copy of the ledger) has no digest here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shipworthy.core.digest import digest_file, files_below
from shipworthy.release.answers_table import ANSWERS
from shipworthy.release.card_origins import ORIGINS
from shipworthy.release.forgotten_records import FORGOTTEN
from shipworthy.release.places import PROJECT, TRIALS
from shipworthy.release.record import DECISIONS, MEASUREMENTS, VERDICT

if TYPE_CHECKING:
    from shipworthy.core.ledger import Ledger
    from shipworthy.core.ledger_lines import Line
    from shipworthy.core.records import Candidate
    from shipworthy.release.judgement import Judgement


_BESIDE = (PROJECT, ANSWERS, FORGOTTEN, ORIGINS, TRIALS)
"""Files of a run folder, where they are there, whose digests stand in the line of the verdict."""
_FILES_PER_LINE = 500


@dataclass(frozen=True)
class RecordedFile:
    """A file of a run folder. path: relative to it; line: number of the line that recorded it."""

    path: str
    sha256: str
    line: int


@dataclass(frozen=True)
class Recorded:
    """What a ledger says of one run.

    files: by path. folders: of artefacts whose files are all recorded. verdict: its latest line;
    verdicts: digests of all verdicts that the run ever had.
    """

    run: str
    files: Mapping[str, RecordedFile]
    folders: tuple[str, ...]
    verdict: Line | None
    verdicts: frozenset[str]


def record_run(ledger: Ledger, folder: Path, judgement: Judgement, *, by: str = "") -> None:
    """Append lines for artefacts, tables, decisions and verdict of a run, those that are new.

    folder: the run folder, its record written. by: who or what made the run. Raises InputError
    where a file is absent or the ledger cannot be written.
    """
    with ledger.locked():
        ledger.recover()
        latest = {_name(line.kind, line.payload): line.payload for line in ledger.lines()}
        for kind, payload in _entries(folder, judgement, by):
            before = latest.get(_name(kind, payload))
            # Who runs it again changes nothing.
            if before is None or {**before, "by": ""} != {**payload, "by": ""}:
                ledger.append(kind, payload)


def recorded(lines: Iterable[Line], run: str) -> Recorded:
    """Return what a ledger says of a run; nothing of it leaves all empty."""
    files: dict[str, RecordedFile] = {}
    artefacts: dict[str, dict[int, dict[str, RecordedFile]]] = {}
    verdict: Line | None = None
    verdicts: set[str] = set()
    for line in lines:
        payload = line.payload
        if payload.get("run") != run:
            continue
        if line.kind == "artefact":
            parts = artefacts.setdefault(payload["candidate"], {})
            parts[payload.get("part", 1)] = _files(payload.get("files", {}), line)
        elif line.kind in ("measurements", "decisions", "verdict"):
            files |= _files({payload["file"]: payload["sha256"]}, line)
        if line.kind == "verdict":
            files = {path: file for path, file in files.items() if path not in _BESIDE}
            files |= _files(payload["files"], line)
            verdicts.add(payload["sha256"])
            verdict = line
    folders = []
    for candidate, parts in artefacts.items():
        if any(parts.values()):
            folders.append(_folder(candidate))
        for part in parts.values():
            files |= part
    return Recorded(run, files, tuple(folders), verdict, frozenset(verdicts))


def runs_of(lines: Iterable[Line]) -> tuple[str, ...]:
    """Return the runs that a ledger has a verdict of, in the order of their last verdict."""
    found: dict[str, None] = {}
    for line in lines:
        if line.kind == "verdict":
            found.pop(line.payload["run"], None)
            found[line.payload["run"]] = None
    return tuple(found)


def _entries(folder: Path, judgement: Judgement, by: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield kind and payload of every line that a run should have, the verdict last."""
    run = judgement.run
    for candidate in (judgement.parent, *judgement.candidates):
        for payload in _artefact(folder, candidate, run, by):
            yield "artefact", payload
    rows = judgement.measurements.height
    yield "measurements", {"run": run, **_file(folder, MEASUREMENTS), "rows": rows}
    yield (
        "decisions",
        {"run": run, **_file(folder, DECISIONS), "rows": len(judgement.decisions)},
    )
    yield (
        "verdict",
        {
            "run": run,
            **_file(folder, VERDICT),
            "answer": str(judgement.answer),
            "best": judgement.best,
            "kind": judgement.kind,
            "created": judgement.created.isoformat(),
            "files": {
                name: digest_file(folder / name) for name in _BESIDE if (folder / name).is_file()
            },
            "by": by,
        },
    )


def _artefact(folder: Path, candidate: Candidate, run: str, by: str) -> Iterator[dict[str, Any]]:
    payload: dict[str, Any] = {
        "run": run,
        "candidate": candidate.id,
        "name": candidate.name,
        "lever": candidate.lever,
        "parents": list(candidate.parents),
        "artefact_digest": candidate.artefact_digest,
        "by": by,
    }
    place = _folder(candidate.id)
    # Answers that `judge` was given are no part of the folder: their digest is all there is.
    if candidate.folder != place:
        yield payload
        return
    files = {
        f"{place}/{name}": digest_file(file) for name, file in files_below(folder / place).items()
    }
    names = list(files)
    starts = range(0, max(len(names), 1), _FILES_PER_LINE)
    for number, start in enumerate(starts, start=1):
        more = {"part": number, "parts": len(starts)} if len(starts) > 1 else {}
        part = {name: files[name] for name in names[start : start + _FILES_PER_LINE]}
        yield {**payload, "files": part, **more}


def _folder(candidate: str) -> str:
    return f"candidates/{candidate}"


def _file(folder: Path, name: str) -> dict[str, str]:
    return {"file": name, "sha256": digest_file(folder / name)}


def _files(digests: Mapping[str, str], line: Line) -> dict[str, RecordedFile]:
    return {path: RecordedFile(path, digest, line.number) for path, digest in digests.items()}


def _name(kind: str, payload: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return what a line is about, so that a later line of the same name replaces it."""
    names = ("run", "candidate", "part") if kind == "artefact" else ("run", "file")
    return (kind, *(payload.get(name) for name in names))
