"""What may go from a project's folder: old runs, and stages that nothing kept stands on.

Kept are the runs that shipped and the last few, the stages that they stand on (`stages.json` in a
run's folder), those of a run that was interrupted, and the ledger, always.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shipworthy.core.digest import forget_removed
from shipworthy.core.errors import InputError
from shipworthy.core.files import sweep
from shipworthy.core.locale import NO_NUMBER, number, text
from shipworthy.core.lock import hold
from shipworthy.core.stage_outputs import RECORD
from shipworthy.core.stages import StageCache
from shipworthy.release.artefacts import TOKENS
from shipworthy.release.pipeline import STAGE_KEYS
from shipworthy.release.places import CACHE, RUNS
from shipworthy.release.record import VERDICT

KEEP = 3

_RUN = re.compile(r"[0-9a-f]{8}")


@dataclass(frozen=True)
class KeptRun:
    """A run that stays. shipped: that is why; else it is one of the last."""

    run: str
    shipped: bool


@dataclass(frozen=True)
class Cleaned:
    """What was removed, or would be. stages: name and key of each; freed_bytes: on disk."""

    folder: Path
    dry_run: bool
    kept: tuple[KeptRun, ...]
    runs: tuple[str, ...]
    stages: tuple[tuple[str, str], ...]
    freed_bytes: int

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON document of the verb `clean`."""
        return {
            "folder": str(self.folder),
            "dry_run": self.dry_run,
            "kept_runs": [{"run": k.run, "shipped": k.shipped} for k in self.kept],
            "removed_runs": list(self.runs),
            "removed_stages": [{"name": name, "key": key} for name, key in self.stages],
            "freed_bytes": self.freed_bytes,
        }


def clean(root: Path, *, keep: int = KEEP, dry_run: bool = False) -> Cleaned:
    """Remove what no kept run stands on.

    root: folder with `.shipworthy/` and `runs/`. keep: newest runs that stay besides those that
    shipped; 0 or more. dry_run: only say what would go.
    Raises BusyError while a run is in the folder, InputError where nothing was ever run in it.
    """
    cache = root / CACHE
    if not cache.is_dir():
        raise InputError(text("error.clean.nothing", folder=root))
    with hold(cache) as held:
        kept, gone = _sorted_runs(root / RUNS, keep)
        # The run before us stands in the lock no more.
        used = set() if held.last.complete else set(held.last.stages.values())
        for run in kept:
            used |= set(_stage_keys(root / RUNS / run.run).values())
        stages = [
            (record["name"], record["key"])
            for record in StageCache(cache).records()
            if record["key"] not in used
        ]
        doomed = [*(root / RUNS / run for run in gone), *_unused(cache, used)]
        freed = _freed(doomed)
        if not dry_run:
            for folder in doomed:
                _remove(folder)
            _remove_locks(cache / "locks")
            for place in (cache, root / RUNS):
                sweep(place, before=time.time())
            forget_removed()
    return Cleaned(root, dry_run, tuple(kept), tuple(gone), tuple(stages), freed)


def lines(cleaned: Cleaned) -> list[str]:
    """Return what the verb `clean` prints."""
    kept = [text("clean.shipped", run=k.run) if k.shipped else k.run for k in cleaned.kept]
    told = {
        "runs": len(cleaned.runs),
        "stages": len(cleaned.stages),
        "size": number(cleaned.freed_bytes / 1e6, 1),
    }
    return [
        text("clean.would" if cleaned.dry_run else "clean.removed", **told),
        text("clean.kept", runs=", ".join(kept) or NO_NUMBER),
    ]


def _sorted_runs(runs: Path, keep: int) -> tuple[list[KeptRun], list[str]]:
    """Return the runs that stay, newest first, and the names of those that go."""
    names = sorted(p.name for p in runs.glob("*") if _RUN.fullmatch(p.name) and p.is_dir())
    found = sorted(((*_told(runs / name), name) for name in names), reverse=True)
    kept = [
        KeptRun(name, shipped)
        for place, (_, shipped, name) in enumerate(found)
        if shipped or place < keep
    ]
    stay = {run.run for run in kept}
    return kept, [name for _, _, name in found if name not in stay]


def _told(folder: Path) -> tuple[str, bool]:
    """Return when a run was judged, "" if it never was, and whether it shipped."""
    document = _json(folder / VERDICT)
    shipped = document.get("answer") == "ship" and document.get("kind") == "run"
    return str(document.get("created", "")), shipped


def _stage_keys(folder: Path) -> dict[str, str]:
    return {str(name): str(key) for name, key in _json(folder / STAGE_KEYS).items()}


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _unused(cache: Path, used: set[str]) -> Iterator[Path]:
    """Yield folders of stages, finished or not, and what they need to go on, of no key in use."""
    starts = {key[:16] for key in used}
    for stage in sorted((cache / "stages").glob("*")):
        if stage.name not in used:
            yield stage
    # Made again in no time, and of which project they are nobody wrote down.
    yield from sorted((cache / TOKENS).glob("*"))
    for work in sorted((cache / "work").glob("*")):
        if work.name.rpartition("-")[2] not in starts:
            yield work


def _freed(folders: Iterable[Path]) -> int:
    """Return the bytes that go with these folders: a file with a link elsewhere stays."""
    links: dict[tuple[int, int], list[int]] = {}
    for folder in folders:
        for place, _, names in os.walk(folder) if folder.is_dir() else [("", [], [str(folder)])]:
            for name in names:
                state = os.lstat(os.path.join(place, name))
                about = links.setdefault(
                    (state.st_dev, state.st_ino), [state.st_nlink, state.st_size]
                )
                about[0] -= 1
    return sum(size for left, size in links.values() if left == 0)


def _remove(folder: Path) -> None:
    # First what says that the folder is whole: a kill must not leave half of one that looks so.
    for name in (VERDICT, RECORD):
        with suppress(FileNotFoundError, NotADirectoryError):
            (folder / name).unlink()
    if folder.is_dir() and not folder.is_symlink():
        shutil.rmtree(folder)
    else:
        folder.unlink(missing_ok=True)


def _remove_locks(folder: Path) -> None:
    for path in folder.glob("*.lock"):
        with suppress(BlockingIOError), open(path, "a") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()
