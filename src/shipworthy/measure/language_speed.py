"""Speed of language models: each candidate in fresh processes, as in `speed.py`, token by token.

    fresh process:  load | warm up | prompts one by one | prompts together | peak memory | end

Every answer has the same number of tokens, whatever the model would end with, so that all
candidates do equal work. The time to the first token is that of reading the prompt; the time
between tokens is the median gap of an answer.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import numpy as np

from shipworthy.core.device import device_class
from shipworthy.core.device import threads as processors
from shipworthy.core.digest import digest_json
from shipworthy.core.errors import DataError
from shipworthy.core.launch import Worker
from shipworthy.core.locale import text
from shipworthy.core.progress import progress
from shipworthy.measure.speed import THREAD_VARIABLES, waves
from shipworthy.measure.speed_records import LOAD_SECONDS, SpeedRecords, WorkFile
from shipworthy.measure.speed_sample import in_random_order, order_statistic
from shipworthy.model.checkpoint import artefact_digest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from shipworthy.core.progress import Step
    from shipworthy.measure.settings import SpeedSettings

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
    if not prompts:
        raise DataError(text("error.speed.no_text"), fix=text("error.speed.no_text.fix"))
    if parent not in folders:
        raise ValueError(f"the parent {parent!r} is not among {', '.join(folders)}")
    digests = {name: artefact_digest(folder) for name, folder in folders.items()}
    settings = settings.model_copy(update={"threads": settings.threads or processors()})
    about = [digests, list(prompts), settings.model_dump(), seed, device_class(), WORKER]
    rounds = WorkFile(work, digest_json(about))
    left = [k for k in range(settings.processes) if k not in rounds.rounds]
    planned = len(left) * len(folders) * (DROPPED + settings.answers)
    with progress("speed", total=planned, unit="requests") as step:
        for number in left:
            timed = _Round(folders, prompts, settings, seed, number).run(step)
            fixed = {"form": settings.form, "threads": settings.threads, "seed": seed}
            rows = [
                {**row, **fixed, "round": number, "artefact_digest": digests[row["candidate"]],
                 "device_flags": device_class()}
                for row in timed
            ]  # fmt: skip
            rounds.add(number, rows)
    rounds.remove()
    return SpeedRecords.of(row for number in sorted(rounds.rounds) for row in rounds.rounds[number])


class _Round:
    """One fresh process of each candidate."""

    def __init__(
        self,
        folders: Mapping[str, Path],
        prompts: Sequence[str],
        settings: SpeedSettings,
        seed: int,
        number: int,
    ) -> None:
        self.folders, self.settings = folders, settings
        generator = np.random.default_rng([seed, number])
        names = list(folders)
        self.order = [names[k] for k in generator.permutation(len(names))]
        self.prompts = in_random_order(prompts, DROPPED + settings.answers, generator)
        together = (DROPPED + settings.batches) * settings.concurrency
        self.together = in_random_order(prompts, together, generator)

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
                    values = self._measure(worker, step)
                    values[LOAD_SECONDS] = loaded[name]
                    about = {"requests": self.settings.answers, "dropped": DROPPED, "settled": True}
                    for measure, value in values.items():
                        yield {"candidate": name, "measure": measure, "value": value,
                               "position": position, **about}  # fmt: skip
                    worker.close()
                    position += 1

    def _start(self, name: str) -> Worker:
        threads = self.settings.threads
        environment = dict.fromkeys(THREAD_VARIABLES, str(threads))
        worker = Worker(WORKER, environment=environment, name=f"timing {name}")
        try:
            worker.send("load", folder=str(self.folders[name].resolve()), threads=threads)
        except BaseException:
            worker.close()
            raise
        return worker

    def _measure(self, worker: Worker, step: Step) -> dict[str, float]:
        first, gaps, whole = self._single(worker, step)
        seconds, tokens, cache_mb = self._together(worker)
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
        return values

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

    def _together(self, worker: Worker) -> tuple[float, float, float]:
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
