"""Kills runs of a project at random moments, and looks at what is left."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from shipworthy.core.ledger import Ledger
from shipworthy.core.lock import LOCK, last_run
from shipworthy.measure.speed_means import SPEED_MEASURES

SERVER = Path(__file__).with_name("kill_server.py")
MARK = "SHIPWORTHY_KILL_TEST"
WORKER = b"shipworthy.measure.speed_worker"
DECIDED = (
    "run", "answer", "best", "nominated", "opening", "alpha", "verdicts", "limits", "parent",
    "candidates", "next_steps", "not_measured",
)  # fmt: skip


class Server:
    """A process that forks runs; a context manager that ends it."""

    def __init__(self, stderr: Path) -> None:
        self.stderr = stderr
        self.mark = f"{os.getpid()}-{time.time_ns()}"
        root = Path(__file__).parents[2]
        paths = os.pathsep.join([str(root), os.environ.get("PYTHONPATH", "")])
        environment = {
            **os.environ, MARK: self.mark, "PYTHONPATH": paths, "SHIPWORTHY_PROGRESS": "off",
            "TOKENIZERS_PARALLELISM": "false", "OMP_NUM_THREADS": "1",
        }  # fmt: skip
        self.process = subprocess.Popen(
            [sys.executable, str(SERVER)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            text=True, env=environment,
        )  # fmt: skip
        assert self._read() == "ready"

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.communicate()

    def start(self, folder: Path, only: str | None = None, *, file_bytes: int | None = None) -> int:
        """Start a run; return its process id."""
        assert self.process.stdin is not None
        arguments = ["run", str(folder / "shipworthy.yaml"), *(["--only", only] if only else [])]
        asked = {"arguments": arguments, "stderr": str(self.stderr), "file_bytes": file_bytes}
        self.process.stdin.write(json.dumps(asked) + "\n")
        self.process.stdin.flush()
        return int(self._read())

    def ended(self) -> int:
        """Wait for the run; return its exit code, negative where a signal ended it."""
        return int(self._read())

    def complete(self, folder: Path, only: str | None = None) -> None:
        """Let a run come to its end, whatever its verdict."""
        self.start(folder, only)
        assert self.ended() in (0, 3, 4), self.said()

    def said(self) -> list[str]:
        """What the last run wrote to stderr, by the line."""
        return self.stderr.read_text().splitlines()

    def workers(self) -> list[int]:
        """Process ids of the workers of our runs that live."""
        found = []
        for place in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if (
                    WORKER in (place / "cmdline").read_bytes()
                    and f"{MARK}={self.mark}".encode() in (place / "environ").read_bytes()
                ):
                    found.append(int(place.name))
        return found

    def _read(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()


@dataclass
class Killer:
    """Draws moments and kills. run_seconds: of a whole run; hit: kills by stage."""

    server: Server
    moments: random.Random
    run_seconds: float
    hit: Counter[str] = field(default_factory=Counter)

    def somewhere(self, folder: Path) -> bool:
        """Kill a run at a random moment; False where it had ended before that.

        A third of the moments are drawn from the time that a whole run takes, the others from those
        after a stage was asked for, since the short ones would hardly ever be met.
        """
        if self.moments.random() < 1 / 3:
            # What is finished is not made again, so most runs of a chain are shorter than a whole.
            return self._kill(folder, 0, self.moments.uniform(0, self.run_seconds / 2))
        return self.after(folder, self.moments.randrange(1, 18))

    def after(self, folder: Path, stages: int) -> bool:
        """Kill a run soon after it has asked for so many stages; False where it had ended."""
        return self._kill(folder, stages, self.moments.uniform(0, self.run_seconds / 40))

    def _kill(self, folder: Path, stages: int, seconds: float) -> bool:
        lock = folder / ".shipworthy" / LOCK
        child = self.server.start(folder)
        deadline = time.monotonic() + 10 * self.run_seconds
        while _asked(lock, child) < stages and Path(f"/proc/{child}").exists():
            assert time.monotonic() < deadline
            time.sleep(0.0005)
        time.sleep(seconds)
        with suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)
        code = self.server.ended()
        assert code in (0, 3, 4, -signal.SIGKILL), self.server.said()
        if code >= 0:
            return False
        last = last_run(lock.parent)
        # The last note stands while the run's folder is put together.
        self.hit[(last.stage.partition(" ")[0] or "before any") if last.pid else "before any"] += 1
        return True


def _asked(lock: Path, pid: int) -> int:
    """How many stages this process has asked for."""
    try:
        head, *lines = lock.read_text().splitlines()
    except (OSError, ValueError):
        return 0
    if f'"pid": {pid},' not in head:
        return 0
    return sum('"stage"' in line and '"earlier"' not in line for line in lines)


def litter(folder: Path) -> list[str]:
    """Half-written files and folders of work below a project."""
    cache = folder / ".shipworthy"
    found = [*folder.rglob("*.part"), *(cache / "stages").glob(".*"), *(cache / "work").glob("*")]
    return sorted(str(path.relative_to(folder)) for path in found)


def opened(folder: Path) -> int:
    """Check the ledger and count the openings in it."""
    lines = Ledger(folder / ".shipworthy" / "ledger.jsonl").lines()
    return sum(line.kind == "opening" for line in lines)


def files(folder: Path) -> dict[str, bytes]:
    """Content of all files below a folder."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def numbers(run: Path, *, timings: bool) -> pl.DataFrame:
    """The measurements of a run, without when they were made; timings: with those of speed."""
    frame = pl.read_parquet(run / "measurements.parquet").drop("created", "seconds")
    return frame if timings else frame.filter(~pl.col("measure").is_in(list(SPEED_MEASURES)))


def answered(run: Path) -> dict[str, object]:
    """What a run decided and on what, without when that was."""
    found = json.loads((run / "verdict.json").read_text())
    return {name: found[name] for name in DECIDED}
