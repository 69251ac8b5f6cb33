"""Language models timed token by token: tiny Llamas in fresh processes, and what is made of it."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from tests.model.tiny_language import tiny_language
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from shipworthy.core.device import native_bf16
from shipworthy.core.errors import DataError
from shipworthy.core.launch import Worker
from shipworthy.core.records import ALL_ROWS, Limit, Outcome
from shipworthy.measure import language_speed_worker
from shipworthy.measure.decide import Evidence, decide_candidate
from shipworthy.measure.estimates import Estimate, Fact, Mean, Unmeasured
from shipworthy.measure.language_speed import WORKER, measure_language_speed
from shipworthy.measure.settings import SpeedSettings
from shipworthy.measure.speed_means import speed_estimates
from shipworthy.measure.speed_records import SpeedRecords
from shipworthy.model.checkpoint import RuntimeInfo
from shipworthy.model.pretrained import save_model
from shipworthy.model.runtimes import load_language_model

PROMPTS = ["one two three", "a longer prompt with several words in it", "short"]
LAYERS, HEADS, HEAD_SIZE, WINDOW = 4, 2, 8, 64
SMALL = {"form": "short", "answers": 5, "new_tokens": 6, "batches": 1, "concurrency": 2,
         "threads": 1}  # fmt: skip


def info(runtime: Any = "torch") -> RuntimeInfo:
    return RuntimeInfo(
        runtime, (), WINDOW, text="prompt", does="respond", response="response",
        template="{prompt}\n",
    )  # fmt: skip


def model_folder(folder: Path, *, layers: int = LAYERS, runtime: Any = "torch") -> Path:
    """A candidate's folder; two heads of keys, each of eight numbers."""
    start = tiny_language(folder / "start", PROMPTS, num_hidden_layers=layers, seed=layers)
    module = LlamaForCausalLM.from_pretrained(start)
    if runtime == "torch-bf16":
        module = module.bfloat16()
    tokenizer = PreTrainedTokenizerFast.from_pretrained(start)
    save_model(folder / "model", module, tokenizer, info(runtime))
    return folder / "model"


def read_tokens(folder: Path, prompts: list[str]) -> int:
    """Tokens of the longest prompt in its template."""
    model = load_language_model(folder, threads=1)
    tokens = [model.tokenizer(read, add_special_tokens=False)["input_ids"]
              for read in model.read(prompts)]  # fmt: skip
    return max(map(len, tokens))


def cache_bytes(tokens: int, *, together: int, number_bytes: int = 4, layers: int = LAYERS) -> int:
    """What keys and values take; the last token is given out and never read."""
    return layers * 2 * HEADS * HEAD_SIZE * number_bytes * together * tokens


@pytest.fixture(scope="module")
def parent(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return model_folder(tmp_path_factory.mktemp("parent"))


@pytest.fixture(scope="module")
def slow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return model_folder(tmp_path_factory.mktemp("slow"), layers=2 * LAYERS)


@pytest.fixture(scope="module")
def worker() -> Iterator[Worker]:
    with Worker(WORKER, environment={"OMP_NUM_THREADS": "1"}, name="timing a test") as started:
        yield started


def load(worker: Worker, folder: Path) -> None:
    assert worker.call("load", timeout=120, folder=str(folder), threads=1)["seconds"] > 0


def answer(worker: Worker, prompts: list[str], new_tokens: int) -> dict[str, Any]:
    found: dict[str, Any] = worker.call(
        "answer", timeout=120, prompts=prompts, new_tokens=new_tokens
    )
    return found


# The process that times.


def test_the_cache_that_is_held_is_that_of_the_formula(worker: Worker, parent: Path) -> None:
    load(worker, parent)
    for prompts, new in [(PROMPTS[:1], 2), (PROMPTS, 7), (PROMPTS[1:], 12)]:
        tokens = read_tokens(parent, prompts) + new - 1
        held = answer(worker, prompts, new)["cache_mb"] * 1e6
        assert held == pytest.approx(cache_bytes(tokens, together=len(prompts)))


def test_bf16_holds_half_where_it_is_computed_with(worker: Worker, tmp_path: Path) -> None:
    folder = model_folder(tmp_path, runtime="torch-bf16")
    load(worker, folder)
    tokens, number_bytes = read_tokens(folder, PROMPTS) + 3, 2 if native_bf16() else 4
    held = answer(worker, PROMPTS, 4)["cache_mb"] * 1e6
    assert held == pytest.approx(cache_bytes(tokens, together=3, number_bytes=number_bytes))


def test_each_token_has_its_time(worker: Worker, parent: Path) -> None:
    load(worker, parent)
    stamps = answer(worker, PROMPTS[:1], 9)["stamps"]
    assert len(stamps) == 10 and np.diff(stamps).min() > 0


def test_an_answer_goes_on_after_its_end(worker: Worker, tmp_path: Path) -> None:
    folder = model_folder(tmp_path)
    module = LlamaForCausalLM.from_pretrained(folder)
    with torch.no_grad():
        # All tokens are as likely then, and the first of them is the end.
        for weights in module.get_input_embeddings().parameters():
            weights.zero_()
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
    save_model(tmp_path / "ending", module, tokenizer, info())
    ending = load_language_model(tmp_path / "ending", threads=1)
    assert ending.go_on(ending.read(PROMPTS), max_new_tokens=8) == ["", "", ""]
    load(worker, tmp_path / "ending")
    assert len(answer(worker, PROMPTS, 8)["stamps"]) == 9


def test_a_prompt_that_does_not_fit_is_cut(worker: Worker, parent: Path) -> None:
    load(worker, parent)
    held = answer(worker, ["long " * 200], 10)["cache_mb"] * 1e6
    assert held == pytest.approx(cache_bytes(WINDOW - 1, together=1))


def test_nothing_of_a_model_that_will_be_gone_is_used(parent: Path) -> None:
    # In this process, where a warning of what will be removed is an error.
    language_speed_worker.load(str(parent), 1)
    assert language_speed_worker.answer(PROMPTS, 3)["cache_mb"] > 0


# One round of the whole machinery.


@pytest.fixture(scope="module")
def one_round(parent: Path, slow: Path) -> SpeedRecords:
    settings = SpeedSettings(**SMALL | {"answers": 72, "price_per_hour": 1.8})
    # Fewer than five are refused as settings; here the figures of one are looked at.
    settings = settings.model_copy(update={"processes": 1})
    return measure_language_speed(
        {"parent": parent, "slow": slow}, PROMPTS[:1], settings, seed=2, parent="parent"
    )


def value(records: SpeedRecords, measure: str, candidate: str = "parent") -> float:
    return records.values(candidate, measure)[0]


def test_a_round_measures_what_is_of_language_models(one_round: SpeedRecords) -> None:
    assert set(one_round.frame["measure"]) == {
        "time_to_first_token_ms", "inter_token_latency_ms", "tokens_per_s", "kv_cache_mb",
        "cost_per_million_tokens", "latency_p50_ms", "latency_p95_ms", "throughput_rows_per_s",
        "peak_memory_mb", "load_seconds",
    }  # fmt: skip
    assert (one_round.frame["value"] > 0).all()
    assert set(one_round.frame["requests"]) == {72}


def test_the_figures_of_a_process_fit_together(one_round: SpeedRecords, parent: Path) -> None:
    first = value(one_round, "time_to_first_token_ms")
    gap, whole = value(one_round, "inter_token_latency_ms"), value(one_round, "latency_p50_ms")
    assert gap < whole and first < whole <= value(one_round, "latency_p95_ms")
    rate = value(one_round, "tokens_per_s")
    assert value(one_round, "throughput_rows_per_s") == pytest.approx(rate / 6)
    assert value(one_round, "cost_per_million_tokens") == pytest.approx(1.8 / 3600 / rate * 1e6)
    held = cache_bytes(read_tokens(parent, PROMPTS[:1]) + 5, together=2)
    assert value(one_round, "kv_cache_mb") * 1e6 == pytest.approx(held)


def test_twice_the_layers_take_longer_and_hold_twice_the_cache(one_round: SpeedRecords) -> None:
    for measure in ("inter_token_latency_ms", "latency_p50_ms"):
        assert value(one_round, measure, "slow") > 1.2 * value(one_round, measure)
    held = value(one_round, "kv_cache_mb", "slow")
    assert held == pytest.approx(2 * value(one_round, "kv_cache_mb"))


@pytest.mark.slow
def test_time_that_is_up_earlier_leaves_the_cache_the_same(parent: Path) -> None:
    held = []
    for seconds in (1e-9, 60.0):
        given = SMALL | {"batches": 12, "concurrency": 1, "batch_seconds": seconds}
        settings = SpeedSettings(**given).model_copy(update={"processes": 1})
        prompts = ["word " * k for k in range(1, 16)]
        found = measure_language_speed(
            {"parent": parent}, prompts, settings, seed=1, parent="parent"
        )
        held.append(value(found, "kv_cache_mb"))
    assert held[0] == held[1]


def test_no_prompt_and_no_parent_are_refused(parent: Path) -> None:
    with pytest.raises(ValueError, match="'father' is not among"):
        measure_language_speed(
            {"parent": parent}, PROMPTS, SpeedSettings(), seed=0, parent="father"
        )
    with pytest.raises(DataError, match="no text"):
        measure_language_speed({"parent": parent}, [], SpeedSettings(), seed=0, parent="parent")


# What five processes say.


def decided(
    estimate: Estimate, measure: str, bound: float, relative_to: Any = "parent"
) -> tuple[Outcome, str]:
    limit = Limit(measure, "at_most", bound, relative_to=relative_to)
    found = decide_candidate("slow", [Evidence(limit, 0, (ALL_ROWS,), estimate, bound, "ratio")])
    return found.decisions[0].decision, found.decisions[0].reason


def records_of(values: dict[str, list[float]], measure: str, form: str = "full") -> SpeedRecords:
    return SpeedRecords.of(
        {"candidate": name, "measure": measure, "value": one, "round": k, "position": 0,
         "requests": 24, "dropped": 2, "settled": True, "form": form, "threads": 1, "seed": 0,
         "artefact_digest": name, "device_flags": "a machine"}
        for name, ones in values.items() for k, one in enumerate(ones)
    )  # fmt: skip


CACHES = [3.1, 2.9, 3.3, 3.1, 2.7]  # rounds differ in their prompts


def test_a_cache_that_all_processes_counted_alike_is_known_and_decided() -> None:
    halved = {"parent": CACHES, "other": [c / 2 for c in CACHES]}
    found = speed_estimates(records_of(halved, "kv_cache_mb"), "other", parent="parent")
    change = found["kv_cache_mb", "parent"]
    assert isinstance(change, Fact) and change.value[0] == 0.5
    assert decided(change, "kv_cache_mb", 0.5) == (Outcome.PASS, "")
    assert decided(change, "kv_cache_mb", 0.49) == (Outcome.FAIL, "")
    # Prompts differ between rounds, and so does the cache itself.
    assert isinstance(found["kv_cache_mb", "none"], Mean)

    alike = {"parent": [2.0] * 5}
    found = speed_estimates(records_of(alike, "kv_cache_mb"), "parent", parent="parent")
    assert decided(found["kv_cache_mb", "none"], "kv_cache_mb", 2.0, "none")[0] is Outcome.PASS


def test_no_change_of_a_cache_is_known_from_few_processes_or_the_short_form() -> None:
    for count, form in [(4, "full"), (5, "short")]:
        halved = {"parent": CACHES[:count], "other": [c / 2 for c in CACHES[:count]]}
        records = records_of(halved, "kv_cache_mb", form)
        change = speed_estimates(records, "other", parent="parent")["kv_cache_mb", "parent"]
        assert decided(change, "kv_cache_mb", 10) == (Outcome.CANNOT_TELL, "too_few_processes")


def test_times_without_spread_are_still_no_certainty() -> None:
    times = {"parent": [4.0] * 5, "other": [2.0] * 5}
    records = records_of(times, "inter_token_latency_ms")
    change = speed_estimates(records, "other", parent="parent")["inter_token_latency_ms", "parent"]
    assert decided(change, "inter_token_latency_ms", 1)[0] is Outcome.CANNOT_TELL


def test_settings_of_language_models_have_bounds() -> None:
    for wrong in ({"answers": 4}, {"new_tokens": 1}, {"concurrency": 0}, {"price_per_hour": 0}):
        with pytest.raises(ValidationError, match=next(iter(wrong))):
            SpeedSettings.model_validate(wrong)
    short = SpeedSettings(form="short")
    assert (short.answers, short.new_tokens) == (8, 16)
    assert short.in_full() == SpeedSettings()
    assert SpeedSettings(form="short", answers=6, requests=90).in_full() == SpeedSettings(answers=6)
    assert SpeedSettings(answers=90, threads=1).in_full() == SpeedSettings(answers=90, threads=1)


# Killed, gone on with, and decided.

INTERRUPTED = """
import sys
from pathlib import Path
from shipworthy.measure.language_speed import measure_language_speed
from shipworthy.measure.settings import SpeedSettings
if __name__ == "__main__":
    work, parent, slow = map(Path, sys.argv[1:])
    measure_language_speed({"parent": parent, "slow": slow}, PROMPTS, SpeedSettings(**GIVEN),
                           seed=1, parent="parent", work=work)
"""


@pytest.mark.slow
def test_a_killed_timing_goes_on_and_finds_the_slow_model(
    parent: Path, slow: Path, tmp_path: Path
) -> None:
    given = SMALL | {"form": "full", "processes": 5}
    work = tmp_path / "work" / "speed.jsonl"
    code = INTERRUPTED.replace("PROMPTS", repr(PROMPTS)).replace("GIVEN", repr(given))
    command = [sys.executable, "-c", code, *map(str, (work, parent, slow))]
    with subprocess.Popen(command) as process:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            if work.exists() and work.read_text().count("\n") >= 2:
                break
            time.sleep(0.01)
        process.kill()
    kept = [json.loads(line) for line in work.read_text().split("\n")[1:-1]]
    assert 1 <= len(kept) < 5

    records = measure_language_speed(
        {"parent": parent, "slow": slow}, PROMPTS, SpeedSettings(**given), seed=1,
        parent="parent", work=work,
    )  # fmt: skip
    assert not work.exists() and sorted(records.frame["round"].unique()) == [0, 1, 2, 3, 4]
    for one in kept:
        again = records.frame.filter(records.frame["round"] == one["round"])
        assert again["value"].to_list() == [row["value"] for row in one["rows"]]

    found = speed_estimates(records, "slow", parent="parent")
    gap = found["inter_token_latency_ms", "parent"]
    assert decided(gap, "inter_token_latency_ms", 1.1)[0] is Outcome.FAIL
    assert decided(gap, "inter_token_latency_ms", 10)[0] is Outcome.PASS
    assert decided(found["kv_cache_mb", "parent"], "kv_cache_mb", 1.5)[0] is Outcome.FAIL
    # Neither enough answers for a 95th percentile nor a price was given, and ids are never timed.
    for measure in ("latency_p95_ms", "cost_per_million_tokens", "latency_p50_ids_ms"):
        assert isinstance(found[measure, "none"], Unmeasured)
