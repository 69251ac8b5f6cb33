"""Latency, throughput and memory of candidates, each in fresh processes, one measured at a time.

    fresh process:  load | warm up | single requests | batches | peak memory | end

All candidates answer the same texts in the same order within a round, so that a round is a pair.
Every request is timed in two parts, text to ids and ids to answer: measures with `ids` leave the
first one out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from shipworthy.core.digest import digest_folder
from shipworthy.core.launch import Worker
from shipworthy.measure.speed_means import SPEED_MEASURES, speed_estimates
from shipworthy.measure.speed_records import SpeedRecords
from shipworthy.measure.speed_rounds import Round, timed_rounds
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
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.random import Generator
    from numpy.typing import NDArray

    from shipworthy.core.progress import Step
    from shipworthy.measure.settings import SpeedSettings

    Times: TypeAlias = NDArray[np.int64]

__all__ = ["SPEED_MEASURES", "SpeedRecords", "measure_speed", "speed_estimates"]

WORKER = "shipworthy.measure.speed_worker"
CHUNK = 50
"""Requests between two signs of life of a process."""

DROPPED_BATCHES = 1


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
    return timed_rounds(
        lambda given, generator: _Round(folders, texts, given, generator, loader),
        {name: _digest(folder) for name, folder in folders.items()},
        texts, settings, seed=seed, parent=parent, work=work, loader=loader,
        requests=LEAST_DROPPED + settings.requests,
    )  # fmt: skip


def _digest(folder: Path) -> str:
    """Digest of what ships; of all files where a foreign loader's folder has no `runtime.json`."""
    return artefact_digest(folder) if (folder / INFO).is_file() else digest_folder(folder)


class _Round(Round):
    """A round on texts: one by one, then in batches."""

    worker = WORKER

    def __init__(
        self,
        folders: Mapping[str, Path],
        texts: Sequence[str],
        settings: SpeedSettings,
        generator: Generator,
        loader: str,
    ) -> None:
        super().__init__(folders, settings, generator)
        self.loader = loader
        self.texts = in_random_order(texts, settings.warm_up_limit + settings.requests, generator)
        rows = (DROPPED_BATCHES + settings.batches) * settings.batch_size
        self.rows = in_random_order(texts, rows, generator)

    def loading(self) -> dict[str, Any]:
        """Return the function that loads a model."""
        return {"loader": self.loader}

    def measure(self, worker: Worker, step: Step) -> tuple[dict[str, float], dict[str, Any]]:
        """Time requests, then batches, then ask for the memory."""
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
