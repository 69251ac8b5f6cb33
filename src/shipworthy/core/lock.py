"""One run at a time in a folder, and what the last one was doing when it ended.

    .shipworthy/run.lock    held by flock while a run lives; a killed process lets go by dying

Its lines are JSON: who holds it, each stage that was asked for, and how the run ended. A later run
reads from them that an earlier one was killed and where; `clean` reads which stages are in use.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from shipworthy.core.errors import BusyError, InputError
from shipworthy.core.locale import text
from shipworthy.core.locale.libraries import refusal

LOCK = "run.lock"

_LOOKS = 20
_LOOK_SECONDS = 0.05


@dataclass(frozen=True)
class LastRun:
    """What the lines of a lock say. since: for people, UTC; "" where it is not known.

    stage: asked for last; that of a killed run was being made or just made. stages: name -> key of
    all that were asked for since a run was complete. ended: it was not killed. complete: it came to
    a verdict. out_of_memory: the system has ended processes for want of memory since it began.
    """

    pid: int = 0
    since: str = ""
    stage: str = ""
    stages: dict[str, str] = field(default_factory=dict)
    ended: bool = True
    complete: bool = True
    out_of_memory: bool = False


class Held:
    """A lock that is ours. last: what the run before left."""

    def __init__(self, handle: int, last: LastRun) -> None:
        self._handle = handle
        self._complete = False
        self.last = last
        os.ftruncate(handle, 0)
        now = datetime.now(UTC).isoformat(timespec="seconds")
        self._add({"pid": os.getpid(), "since": now, "oom_kills": _oom_kills()})
        if not last.complete:
            # In use until a run is complete, whatever this one will ask for.
            for stage, key in last.stages.items():
                self._add({"stage": stage, "key": key, "earlier": True})

    def note(self, stage: str, key: str) -> None:
        """Write down that this stage is asked for, before it is made."""
        self._add({"stage": stage, "key": key})

    def complete(self) -> None:
        """Say that the run has come to its verdict."""
        self._complete = True

    def end(self) -> None:
        """Write down that the run ended by itself, and let go."""
        try:
            with suppress(OSError):  # a full disk: the run before was told, this is but a note
                self._add({"ended": True, "complete": self._complete})
        finally:
            os.close(self._handle)

    def _add(self, line: dict[str, Any]) -> None:
        # One write a line: a kill leaves all of it or nothing.
        os.write(self._handle, json.dumps(line).encode() + b"\n")


@contextmanager
def hold(
    folder: Path, *, wait: bool = False, tell: Callable[[str], None] = lambda message: None
) -> Iterator[Held]:
    """Hold a folder for the block.

    folder: of the cache, made where it is absent. wait: until the one that holds it is done. tell:
    called with a line for people where there is something to wait for, or where the run before
    was killed.
    Raises BusyError at once where another process holds it, and InputError where it can't be
    written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
    except OSError as error:
        raise InputError(
            text("error.lock.no_place", folder=folder, reason=refusal(error))
        ) from error
    try:
        _take(handle, folder, wait, tell)
        last = last_run(folder)
        if not last.ended:
            tell(_killed(last))
        held = Held(handle, last)
    except BaseException:
        os.close(handle)
        raise
    try:
        yield held
    finally:
        held.end()


def last_run(folder: Path) -> LastRun:
    """Read what the lock of a folder says about the last run, or the present one."""
    lines = list(_lines(folder / LOCK))
    if not lines:
        return LastRun()
    head, noted = lines[0], [line for line in lines if {"stage", "key"} <= line.keys()]
    return LastRun(
        pid=head.get("pid", 0),
        since=_shown(str(head.get("since", ""))),
        stage=next((str(n["stage"]) for n in reversed(noted) if "earlier" not in n), ""),
        stages={str(n["stage"]): str(n["key"]) for n in noted},
        ended="ended" in lines[-1],
        complete=lines[-1].get("complete", False),
        out_of_memory=0 <= head.get("oom_kills", _oom_kills()) < _oom_kills(),
    )


def _take(handle: int, folder: Path, wait: bool, tell: Callable[[str], None]) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return
    except BlockingIOError:
        holder = _holder(folder)
    if not wait:
        raise BusyError(
            text("error.lock.busy", folder=folder.parent, pid=holder.pid, since=holder.since)
        )
    tell(text("run.waiting", folder=folder.parent, pid=holder.pid, since=holder.since))
    fcntl.flock(handle, fcntl.LOCK_EX)


def _holder(folder: Path) -> LastRun:
    """Return who holds the lock; whoever has just taken it needs a moment to write that down."""
    for _ in range(_LOOKS):
        found = last_run(folder)
        if found.pid and not found.ended:
            return found
        time.sleep(_LOOK_SECONDS)
    return found


def _killed(last: LastRun) -> str:
    key = "run.killed.memory" if last.out_of_memory else "run.killed"
    return text(key, pid=last.pid, since=last.since, stage=last.stage or text("run.killed.start"))


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    try:
        content = path.read_bytes()
    except OSError:
        return
    for raw in content.splitlines():
        try:
            line = json.loads(raw)
        except ValueError:
            continue
        if isinstance(line, dict):
            yield line


def _oom_kills() -> int:
    """Processes that the kernel has ended for want of memory since it started; 0 if not told."""
    try:
        with open("/proc/vmstat", encoding="ascii") as file:
            for line in file:
                if line.startswith("oom_kill "):
                    return int(line.split()[1])
    except (OSError, ValueError):
        pass
    return 0


def _shown(since: str) -> str:
    try:
        return datetime.fromisoformat(since).strftime("%Y-%m-%d %H:%M:%S UTC")
    except ValueError:
        return ""
