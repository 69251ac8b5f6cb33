"""Rounds in which candidates are timed: each in a fresh process, one measured at a time.

    round 0   fresh process of each candidate, in random order:  load | measure | end
    round 1   the same in another order
    ...

A round's processes load beside each other as far as memory allows, then wait, idle, for their turn.
What is measured, and on what, is each kind's own (`speed.py`, `language_speed.py`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from shipworthy.core.device import device_class
from shipworthy.core.device import threads as processors
from shipworthy.core.digest import digest_json, files_below
from shipworthy.core.errors import DataError
from shipworthy.core.launch import Worker
from shipworthy.core.locale import text
from shipworthy.core.progress import progress
from shipworthy.measure.speed_records import LOAD_SECONDS, SpeedRecords, WorkFile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.random import Generator

    from shipworthy.core.progress import Step
    from shipworthy.measure.settings import SpeedSettings

_THREAD_VARIABLES = (
    "OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS",
)  # fmt: skip
_PROCESS_BYTES = 0.6e9
_BYTES_PER_WEIGHT_BYTE = 3


class Round(ABC):
    """One fresh process of each candidate.

    generator: of this round; it draws the order here, and texts in the kinds.
    """

    worker: ClassVar[str]
    """Module of the process."""

    def __init__(
        self, folders: Mapping[str, Path], settings: SpeedSettings, generator: Generator
    ) -> None:
        self.folders, self.settings = folders, settings
        names = list(folders)
        self.order = [names[k] for k in generator.permutation(len(names))]

    @abstractmethod
    def measure(self, worker: Worker, step: Step) -> tuple[dict[str, float], dict[str, Any]]:
        """Return what was measured in a process that is loaded, and what to note beside it."""

    def loading(self) -> dict[str, Any]:
        """Return what the process is told to load with, beside folder and threads."""
        return {}

    def run(self, step: Step) -> Iterator[dict[str, Any]]:
        """Give a row of each measure of each candidate."""
        position = 0
        for wave in _waves(self.order, self.folders):
            with ExitStack() as stack:
                workers = {name: stack.enter_context(self._start(name)) for name in wave}
                loaded = {
                    name: worker.receive(timeout=self.settings.load_timeout_seconds)["seconds"]
                    for name, worker in workers.items()
                }
                for name, worker in workers.items():
                    values, about = self.measure(worker, step)
                    values[LOAD_SECONDS] = loaded[name]
                    for measure, value in values.items():
                        yield {"candidate": name, "measure": measure, "value": value,
                               "position": position, **about}  # fmt: skip
                    # Ended before the next one starts: its idle threads and memory are not free.
                    worker.close()
                    position += 1

    def _start(self, name: str) -> Worker:
        threads = self.settings.threads
        environment = dict.fromkeys(_THREAD_VARIABLES, str(threads))
        worker = Worker(self.worker, environment=environment, name=f"timing {name}")
        folder = str(self.folders[name].resolve())
        try:
            worker.send("load", folder=folder, threads=threads, **self.loading())
        except BaseException:
            worker.close()
            raise
        return worker


def timed_rounds(
    make: Callable[[SpeedSettings, Generator], Round],
    digests: Mapping[str, str],
    texts: Sequence[str],
    settings: SpeedSettings,
    *,
    seed: int,
    parent: str,
    work: Path | None,
    loader: str,
    requests: int,
) -> SpeedRecords:
    """Run the rounds that are not done yet, and return what all of them measured.

    make: a round, from the settings with their threads and the round's generator. digests: of what
    ships of each candidate. loader: what the work is told apart by, beside candidates, texts and
    settings. requests: of a candidate in a round, for the progress.
    Raises DataError without texts.
    """
    if not texts:
        raise DataError(text("error.speed.no_text"), fix=text("error.speed.no_text.fix"))
    if parent not in digests:
        raise ValueError(f"the parent {parent!r} is not among {', '.join(digests)}")
    settings = settings.model_copy(update={"threads": settings.threads or processors()})
    about = [digests, list(texts), settings.model_dump(), seed, device_class(), loader]
    rounds = WorkFile(work, digest_json(about))
    left = [k for k in range(settings.processes) if k not in rounds.rounds]
    with progress("speed", total=len(left) * len(digests) * requests, unit="requests") as step:
        for number in left:
            one = make(settings, np.random.default_rng([seed, number]))
            fixed = {"form": settings.form, "threads": settings.threads, "seed": seed}
            rows = [
                {**row, **fixed, "round": number, "artefact_digest": digests[row["candidate"]],
                 "device_flags": device_class()}
                for row in one.run(step)
            ]  # fmt: skip
            rounds.add(number, rows)
    rounds.remove()
    return SpeedRecords.of(row for number in sorted(rounds.rounds) for row in rounds.rounds[number])


def _waves(order: Sequence[str], folders: Mapping[str, Path]) -> Iterator[list[str]]:
    """Split a round into parts that load at once: at most half of the memory that is free."""
    room = _free_bytes() / 2
    wave: list[str] = []
    used = 0.0
    for name in order:
        size = sum(file.stat().st_size for file in files_below(folders[name]).values())
        need = _PROCESS_BYTES + _BYTES_PER_WEIGHT_BYTE * size
        if wave and used + need > room:
            yield wave
            wave, used = [], 0.0
        wave.append(name)
        used += need
    yield wave


def _free_bytes() -> float:
    """Bytes of memory that new processes may take; endless where the system does not say."""
    try:
        with open("/proc/meminfo", encoding="utf-8") as file:
            for line in file:
                if line.startswith("MemAvailable:"):
                    return float(line.split()[1]) * 1024
    except OSError:
        pass
    return float("inf")
