"""Speed of language models: each candidate in fresh processes, as in `speed.py`, token by token.

    fresh process:  load | warm up | prompts one by one | prompts together | peak memory | end

Every answer has the same number of tokens, whatever the model would end with, so that all
candidates do equal work. The time to the first token is that of reading the prompt; the time
between tokens is the median gap of an answer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from shipworthy.measure.speed_rounds import Round, timed_rounds
from shipworthy.measure.speed_sample import in_random_order, order_statistic
from shipworthy.model.checkpoint import artefact_digest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.random import Generator

    from shipworthy.core.launch import Worker
    from shipworthy.core.progress import Step
    from shipworthy.measure.settings import SpeedSettings
    from shipworthy.measure.speed_records import SpeedRecords

WORKER = "shipworthy.measure.language_speed_worker"
DROPPED = 2
"""Answers before the timed ones: the first of a process pays for what the others find ready."""

LEAST_FOR_P95 = 72
"""Timed answers below which no 95th percentile has an upper bound."""


def measure_language_speed(
    folders: Mapping[str, Path],
    prompts: Sequence[str],
    settings: SpeedSettings,
    *,
    seed: int,
    parent: str,
    work: Path | None = None,
) -> SpeedRecords:
    """Time every candidate in `settings.processes` fresh processes.

    prompts: as the model reads them, without its template; they are drawn at random. The other
    arguments and what is raised are those of `measure_speed`.
    """
    return timed_rounds(
        lambda given, generator: _Round(folders, prompts, given, generator),
        {name: artefact_digest(folder) for name, folder in folders.items()},
        prompts, settings, seed=seed, parent=parent, work=work, loader=WORKER,
        requests=DROPPED + settings.answers,
    )  # fmt: skip


class _Round(Round):
    """A round on prompts: one by one, then side by side."""

    worker = WORKER

    def __init__(
        self,
        folders: Mapping[str, Path],
        prompts: Sequence[str],
        settings: SpeedSettings,
        generator: Generator,
    ) -> None:
        super().__init__(folders, settings, generator)
        self.prompts = in_random_order(prompts, DROPPED + settings.answers, generator)
        together = (DROPPED + settings.batches) * settings.concurrency
        self.together = in_random_order(prompts, together, generator)

    def measure(self, worker: Worker, step: Step) -> tuple[dict[str, float], dict[str, Any]]:
        """Time answers one by one, then side by side, then ask for the memory."""
        first, gaps, whole = self._single(worker, step)
        seconds, tokens, cache_mb = self._side_by_side(worker)
        memory = worker.call("peak_memory", timeout=self.settings.answer_timeout_seconds)["mb"]
        values = {
            "time_to_first_token_ms": float(np.median(first)) / 1e6,
            "inter_token_latency_ms": float(np.median(gaps)) / 1e6,
            "latency_p50_ms": order_statistic(whole, 50) / 1e6,
            "tokens_per_s": tokens / seconds,
            "throughput_rows_per_s": tokens / self.settings.new_tokens / seconds,
            "kv_cache_mb": cache_mb,
            "peak_memory_mb": memory,
        }
        if len(whole) >= LEAST_FOR_P95:
            values["latency_p95_ms"] = order_statistic(whole, 95) / 1e6
        if self.settings.price_per_hour is not None:
            hours = 1e6 / values["tokens_per_s"] / 3600
            values["cost_per_million_tokens"] = self.settings.price_per_hour * hours
        return values, {"requests": self.settings.answers, "dropped": DROPPED, "settled": True}

    def _single(self, worker: Worker, step: Step) -> tuple[list[float], list[float], list[float]]:
        """Nanoseconds of each timed answer: to its first token, a gap after it, and in all."""
        first, gaps, whole = [], [], []
        timeout, tokens = self.settings.answer_timeout_seconds, self.settings.new_tokens
        for number, prompt in enumerate(self.prompts):
            times = worker.call("answer", timeout=timeout, prompts=[prompt], new_tokens=tokens)
            step(1)
            if number >= DROPPED:
                stamps = np.diff(np.array(times["stamps"]))
                first.append(float(stamps[0]))
                gaps.append(float(np.median(stamps[1:])) if len(stamps) > 1 else float(stamps[0]))
                whole.append(float(stamps.sum()))
        return first, gaps, whole

    def _side_by_side(self, worker: Worker) -> tuple[float, float, float]:
        """Seconds and tokens of the timed batches, and the largest cache of the first ones, MB."""
        size, timeout = self.settings.concurrency, self.settings.answer_timeout_seconds
        nanoseconds, tokens, cache = 0, 0, 0.0
        for number, start in enumerate(range(0, len(self.together), size)):
            times = worker.call(
                "answer", timeout=timeout, prompts=self.together[start : start + size],
                new_tokens=self.settings.new_tokens,
            )  # fmt: skip
            if number <= DROPPED:
                # These are answered by each candidate, however soon its time is up.
                cache = max(cache, times["cache_mb"])
            if number < DROPPED:
                continue
            nanoseconds += times["stamps"][-1] - times["stamps"][0]
            tokens += size * self.settings.new_tokens
            if nanoseconds / 1e9 >= self.settings.batch_seconds:
                break
        return nanoseconds / 1e9, tokens, cache
