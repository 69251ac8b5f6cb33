"""The files of a stage: what is recorded of them, whether they are still so, and links to them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from shipworthy.core.digest import digest_file, digest_json, files_below
from shipworthy.core.files import part_of

RECORD = "stage.json"


def describe_outputs(folder: Path) -> dict[str, dict[str, Any]]:
    """Return name -> sha256, size, time and inode of all files of a stage, once they are on disk.

    Raises ValueError where one is named like the record.
    """
    found = {}
    for name, file in files_below(folder).items():
        if name == RECORD:
            raise ValueError(f"a stage must not write {RECORD}")
        # The record vouches for them, so they must be on disk before it is.
        with open(file, "rb") as opened:
            os.fsync(opened.fileno())
        digest, state = digest_file(file, memo=False), file.stat()
        found[name] = {
            "sha256": digest,
            "size": state.st_size,
            "mtime_ns": state.st_mtime_ns,
            "inode": state.st_ino,
        }
    return found


def outputs_digest(record: Mapping[str, Any]) -> str:
    """Return one digest over names and contents of the outputs in a record, 64 hex digits."""
    return digest_json({name: known["sha256"] for name, known in record["outputs"].items()})


def damaged_output(folder: Path, record: Mapping[str, Any]) -> str | None:
    """Return the name of an output that is not as it was recorded; None where all are.

    A file with its recorded size, time and inode is taken as it is; another one is read.
    """
    for name, known in record["outputs"].items():
        try:
            state = os.stat(folder / name)
        except OSError:
            return str(name)
        if state.st_size != known["size"]:
            return str(name)
        same = [state.st_mtime_ns, state.st_ino] == [known["mtime_ns"], known["inode"]]
        if not same and digest_file(folder / name) != known["sha256"]:
            return str(name)
    return None


def link_into(stage_folder: Path, target: Path, *, names: Collection[str] | None = None) -> None:
    """Put the outputs of a stage into another folder, as hard links, or copies across devices.

    names: relative paths of those wanted; all where not given.
    Files of the same name are replaced, each at once; other files in the folder stay.
    """
    for name, source in files_below(stage_folder).items():
        if name == RECORD or (names is not None and name not in names):
            continue
        place = target / name
        if _is_there(source, place):
            continue
        place.parent.mkdir(parents=True, exist_ok=True)
        fresh = part_of(place)
        try:
            try:
                os.link(source, fresh)
            except OSError:
                shutil.copy2(source, fresh)
            os.replace(fresh, place)
        except BaseException:
            with suppress(FileNotFoundError):
                fresh.unlink()
            raise


def _is_there(source: Path, place: Path) -> bool:
    """Say whether a place holds this very file, or a copy that keeps its size and time."""
    try:
        there, known = place.stat(), source.stat()
    except OSError:
        return False
    if there.st_dev == known.st_dev:
        return there.st_ino == known.st_ino
    return (there.st_size, there.st_mtime_ns) == (known.st_size, known.st_mtime_ns)
