"""Latency, throughput and memory of candidates, each in fresh processes, one measured at a time.

    round 0   fresh process of each candidate, in random order:
                  load | warm up | single requests | batches | peak memory | end
    round 1   the same in another order, on other texts
    ...

All candidates answer the same texts in the same order within a round, so that a round is a pair.
A round's processes load beside each other as far as memory allows, then wait, idle, for their turn.
Every request is timed in two parts, text to ids and ids to answer: measures with `ids` leave the
first one out.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from shipworthy.core.device import device_class
from shipworthy.core.device import threads as processors
from shipworthy.core.digest import digest_folder, digest_json, files_below
from shipworthy.core.errors import DataError
from shipworthy.core.launch import Worker
from shipworthy.core.locale import text
from shipworthy.core.progress import progress
from shipworthy.measure.speed_means import SPEED_MEASURES, speed_estimates
from shipworthy.measure.speed_records import LOAD_SECONDS, SpeedRecords, WorkFile
from shipworthy.measure.speed_sample import (
    LEAST_DROPPED,
    WINDOW,
    in_random_order,
    order_statistic,
    warm_up,
)
from shipworthy.measure.speed_worker import LOADER
from shipworthy.model.checkpoint import INFO, artefact_digest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from shipworthy.core.progress import Step
    from shipworthy.measure.settings import SpeedSettings

    Times: TypeAlias = NDArray[np.int64]

__all__ = ["SPEED_MEASURES", "SpeedRecords", "measure_speed", "speed_estimates"]

WORKER = "shipworthy.measure.speed_worker"
CHUNK = 50
"""Requests between two signs of life of a process."""

DROPPED_BATCHES = 1

THREAD_VARIABLES = (
    "OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS",
)  # fmt: skip
_PROCESS_BYTES = 0.6e9
_BYTES_PER_WEIGHT_BYTE = 3


def measure_speed(
    folders: Mapping[str, Path],
    texts: Sequence[str],
    settings: SpeedSettings,
    *,
    seed: int,
    parent: str,
    work: Path | None = None,
    loader: str = LOADER,
) -> SpeedRecords:
    """Time every candidate in `settings.processes` fresh processes.

    folders: model folder of each candidate, `parent` among them; texts: as they come in service,
    since their lengths decide; they are drawn at random. work: file that finished rounds are kept
    in: a later call with the same candidates, texts, settings, seed and machine goes on from there;
    it is deleted at the end. loader: `module:function`, called as `load_classifier(folder,
    threads=...)`, for models that our own runtimes don't know.
    Raises DataError without texts; StageError, naming the candidate, where its process breaks or
    takes too long; InputError where its folder cannot be used.
    """
    if not texts:
        raise DataError(text("error.speed.no_text"), fix=text("error.speed.no_text.fix"))
    if parent not in folders:
        raise ValueError(f"the parent {parent!r} is not among {', '.join(folders)}")
    digests = {name: _digest(folder) for name, folder in folders.items()}
    settings = settings.model_copy(update={"threads": settings.threads or processors()})
    about = [digests, list(texts), settings.model_dump(), seed, device_class(), loader]
    rounds = WorkFile(work, digest_json(about))
    left = [k for k in range(settings.processes) if k not in rounds.rounds]
    planned = len(left) * len(folders) * (LEAST_DROPPED + settings.requests)
    with progress("speed", total=planned, unit="requests") as step:
        for number in left:
            timed = _Round(folders, texts, settings, seed, number, loader).run(step)
            fixed = {"form": settings.form, "threads": settings.threads, "seed": seed}
            rows = [
                {**row, **fixed, "round": number, "artefact_digest": digests[row["candidate"]],
                 "device_flags": device_class()}
                for row in timed
            ]  # fmt: skip
            rounds.add(number, rows)
    rounds.remove()
    return SpeedRecords.of(row for number in sorted(rounds.rounds) for row in rounds.rounds[number])


def _digest(folder: Path) -> str:
    """Digest of what ships; of all files where a foreign loader's folder has no `runtime.json`."""
    return artefact_digest(folder) if (folder / INFO).is_file() else digest_folder(folder)


class _Round:
    """One fresh process of each candidate."""

    def __init__(
        self,
        folders: Mapping[str, Path],
        texts: Sequence[str],
        settings: SpeedSettings,
        seed: int,
        number: int,
        loader: str,
    ) -> None:
        self.folders, self.settings, self.loader = folders, settings, loader
        generator = np.random.default_rng([seed, number])
        names = list(folders)
        self.order = [names[k] for k in generator.permutation(len(names))]
        self.texts = in_random_order(texts, settings.warm_up_limit + settings.requests, generator)
        rows = (DROPPED_BATCHES + settings.batches) * settings.batch_size
        self.rows = in_random_order(texts, rows, generator)

    def run(self, step: Step) -> Iterator[dict[str, Any]]:
        position = 0
        for wave in waves(self.order, self.folders):
            with ExitStack() as stack:
                workers = {name: stack.enter_context(self._start(name)) for name in wave}
                loaded = {
                    name: worker.receive(timeout=self.settings.load_timeout_seconds)["seconds"]
                    for name, worker in workers.items()
                }
                for name, worker in workers.items():
                    values, about = self._measure(worker, step)
                    values[LOAD_SECONDS] = loaded[name]
                    for measure, value in values.items():
                        yield {"candidate": name, "measure": measure, "value": value,
                               "position": position, **about}  # fmt: skip
                    # Ended before the next one starts: its idle threads and memory are not free.
                    worker.close()
                    position += 1

    def _start(self, name: str) -> Worker:
        threads = self.settings.threads
        environment = dict.fromkeys(THREAD_VARIABLES, str(threads))
        worker = Worker(WORKER, environment=environment, name=f"timing {name}")
        folder = str(self.folders[name].resolve())
        try:
            worker.send("load", folder=folder, threads=threads, loader=self.loader)
        except BaseException:
            worker.close()
            raise
        return worker

    def _measure(self, worker: Worker, step: Step) -> tuple[dict[str, float], dict[str, Any]]:
        encode, score, settled = self._single(worker, step)
        encode_batches, score_batches = self._batches(worker)
        rows = len(score_batches) * self.settings.batch_size
        memory = worker.call("peak_memory", timeout=self.settings.answer_timeout_seconds)["mb"]
        whole, dropped = encode + score, len(encode) - self.settings.requests
        whole, score = whole[dropped:], score[dropped:]
        values = {
            "latency_p50_ms": order_statistic(whole, 50) / 1e6,
            "latency_p95_ms": order_statistic(whole, 95) / 1e6,
            "latency_p50_ids_ms": order_statistic(score, 50) / 1e6,
            "latency_p95_ids_ms": order_statistic(score, 95) / 1e6,
            "throughput_rows_per_s": rows * 1e9 / float(np.sum(encode_batches + score_batches)),
            "throughput_ids_rows_per_s": rows * 1e9 / float(np.sum(score_batches)),
            "peak_memory_mb": memory,
        }
        return values, {"requests": len(whole), "dropped": dropped, "settled": settled}

    def _single(self, worker: Worker, step: Step) -> tuple[Times, Times, bool]:
        """Times of all requests up to the last that counts, and whether warm-up ended."""
        wanted, done = LEAST_DROPPED + self.settings.requests, 0
        encode, score = np.empty(0, np.int64), np.empty(0, np.int64)
        while True:
            chunks = [self.texts[k : min(k + CHUNK, wanted)] for k in range(done, wanted, CHUNK)]
            # All at once, so that the process never waits for us between two requests.
            for chunk in chunks:
                worker.send("answer_each", texts=chunk)
            for chunk in chunks:
                times = worker.receive(timeout=self.settings.answer_timeout_seconds)
                encode, score = np.append(encode, times["encode"]), np.append(score, times["score"])
                step(len(chunk) if done == 0 else 0)
            done = wanted
            dropped = warm_up(encode + score)
            if dropped is not None and dropped + self.settings.requests <= done:
                last = dropped + self.settings.requests
                return encode[:last], score[:last], True
            if done == len(self.texts):
                return encode, score, False
            more = WINDOW if dropped is None else dropped + self.settings.requests - done
            wanted = min(done + max(more, WINDOW), len(self.texts))

    def _batches(self, worker: Worker) -> tuple[Times, Times]:
        """Times of the batches that count, at least one."""
        size, timeout = self.settings.batch_size, self.settings.answer_timeout_seconds
        encode, score = np.empty(0, np.int64), np.empty(0, np.int64)
        for start in range(0, len(self.rows), size):
            times = worker.call(
                "answer_together", timeout=timeout, texts=self.rows[start : start + size]
            )
            if start >= DROPPED_BATCHES * size:
                encode, score = np.append(encode, times["encode"]), np.append(score, times["score"])
                if (encode + score).sum() / 1e9 >= self.settings.batch_seconds:
                    break
        return encode, score


def waves(order: Sequence[str], folders: Mapping[str, Path]) -> Iterator[list[str]]:
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
