"""Language models through the whole desk: trained, compressed, asked, timed, judged."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from tests.model.tiny_language import tiny_language
from tests.release.lasting_workers import lasting_workers

from shipworthy.core.errors import DataError, SettingsError
from shipworthy.measure import speed_rounds
from shipworthy.model.runtimes import load_language_model
from shipworthy.release.load import load_run
from shipworthy.release.pipeline import Finished, run_project
from shipworthy.release.project import load_project
from shipworthy.release.rerun import rerun

DOES = {"red": "stop", "green": "go", "yellow": "wait", "blue": "swim"}

PROJECT = """\
name: toy answers
task: instruction
model: model
data:
  source: rows.csv
  groups: [place]
  near_duplicates: off
  shares: {test: 0.4, validation: 0.2, calibration: 0.1}
train:
  epochs: 3
  learning_rate: 1e-2
  max_length: 64
  batch_size: {global: 16}
  precision: fp32
generate: {max_new_tokens: 4, scores: [exact_match, token_f1]}
compress: {recipes: [bf16]}
speed: {form: short, answers: 5, new_tokens: 2, batches: 1, concurrency: 2, threads: 1,
        price_per_hour: 0.5}
policy:
  selftest: {skip: [slow]}
  limits:
    - {measure: accuracy, at_least: 0.6, tier: critical, owner: ml-lead}
    - {measure: token_f1, relative_to: parent, at_least: -0.05, owner: ml-lead}
    - {measure: perplexity, at_most: 4, owner: ml-lead}
    - {measure: perplexity, slice: {each: place}, relative_to: parent, at_most: 0.3}
    - {measure: time_to_first_token_ms, at_most: 5000, owner: platform}
    - {measure: cost_per_million_tokens, at_most: 10000, owner: platform}
    - {measure: size_mb, at_most: 1, owner: platform}
"""


def write_rows(folder: Path, rows: int = 500) -> None:
    """Prompts of which one word says the response, nineteen times in twenty."""
    generator = np.random.default_rng(0)
    colours = generator.choice(list(DOES), rows)
    places = generator.choice(["road", "sea"], rows)
    said = np.where(generator.random(rows) < 0.95, [DOES[c] for c in colours], "run")
    prompts = [
        f"What to do at {c} on the {p}, number {k}?"
        for k, (c, p) in enumerate(zip(colours, places, strict=True))
    ]
    choices = json.dumps([*DOES.values(), "run"])
    pl.DataFrame(
        {"prompt": prompts, "response": said, "place": places, "choices": [choices] * rows}
    ).write_csv(folder / "rows.csv")


@pytest.fixture(scope="module", autouse=True)
def small_machine() -> Iterator[None]:
    """Few processes, and one processor: two would wait for each other in each tiny product."""
    with pytest.MonkeyPatch.context() as patch, lasting_workers(speed_rounds):
        patch.setattr(os, "sched_getaffinity", lambda process: {0})
        yield


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("language")
    write_rows(folder)
    prompts = pl.read_csv(folder / "rows.csv")["prompt"].to_list()
    tiny_language(folder / "model", [*prompts, *DOES.values(), "run"])
    # What a widened file of llama.cpp leaves in its folder.
    (folder / "model" / "gguf.json").write_text('{"file": "tiny.gguf", "weights": "Q4_1"}')
    return folder


def run(place: Path, text: str = PROJECT, **more: Any) -> Finished:
    file = place / "shipworthy.yaml"
    file.write_text(text)
    return run_project(load_project(file), root=place, text=text, **more)


@pytest.fixture(scope="module")
def finished(place: Path) -> Finished:
    return run(place)


def value(finished: Finished, measure: str, candidate: str, relative: str = "none") -> float:
    assert finished.judgement is not None
    names = {c.name: c.id for c in (finished.judgement.parent, *finished.judgement.candidates)}
    found = finished.judgement.measurements.filter(
        (pl.col("measure") == measure)
        & (pl.col("candidate") == names[candidate])
        & (pl.col("relative_to") == relative)
        & (pl.col("slice") == "{}")
    )
    return float(found["value"].item())


def test_a_model_that_answers_goes_to_a_verdict(finished: Finished) -> None:
    assert finished.judgement is not None
    assert str(finished.judgement.answer) == "ship"
    assert 0.85 < value(finished, "accuracy", "bf16") <= 1.0
    assert value(finished, "accuracy", "bf16") == value(finished, "exact_match", "bf16")
    assert 1.0 < value(finished, "perplexity", "bf16") < 4.0
    assert value(finished, "size_mb", "bf16") < 0.6 * value(finished, "size_mb", "fp32 parent")
    page = (finished.report or Path()).read_text(encoding="utf-8")
    assert "perplexity" in page.lower()
    assert "weights of few bits (Q4_1), widened to fp32" in page


def test_speed_is_told_by_token(finished: Finished) -> None:
    first = value(finished, "time_to_first_token_ms", "bf16")
    between = value(finished, "inter_token_latency_ms", "bf16")
    assert 0 < between < value(finished, "latency_p50_ms", "bf16") and first > 0
    cost = value(finished, "cost_per_million_tokens", "bf16")
    speed = value(finished, "tokens_per_s", "bf16")
    assert cost == pytest.approx(0.5 / 3600 * 1e6 / speed, rel=0.05)
    # bf16 holds half of what fp32 does, where it is computed with as it is.
    held = [value(finished, "kv_cache_mb", name) for name in ("fp32 parent", "bf16")]
    assert held[1] in (pytest.approx(held[0]), pytest.approx(held[0] / 2))


def test_no_response_stands_in_the_record(finished: Finished, place: Path) -> None:
    origins = json.loads((finished.folder or place).joinpath("origins.json").read_text())
    assert origins["data"]["labels"] == []


def test_a_second_run_makes_nothing(place: Path, finished: Finished) -> None:
    again = run(place)
    assert all(stage.cached for stage in again.stages)


def test_answers_are_given_again_alike(finished: Finished, place: Path) -> None:
    assert finished.folder is not None
    found = rerun(load_run(finished.folder), root=place)
    assert {r.status for r in found.results} == {"equal"}


def test_choices_are_answered_by_likelihood(place: Path) -> None:
    text = PROJECT.replace("  groups: [place]", "  groups: [place]\n  choices: choices")
    kept = [li for li in text.splitlines() if "token_f1, rel" not in li]
    found = run(place, "\n".join(kept) + "\n")
    assert 0.85 < value(found, "accuracy", "bf16") <= 1.0


def test_a_text_is_gone_on_with(place: Path) -> None:
    text = PROJECT.replace("task: instruction", "task: causal-lm")
    text = text.replace("source: rows.csv", "source: rows.csv\n  text: prompt")
    kept = [li for li in text.splitlines() if "accuracy" not in li and "token_f1, rel" not in li]
    found = run(place, "\n".join(kept) + "\n")
    assert found.judgement is not None
    assert 1.0 < value(found, "perplexity", "fp32 parent") < 4.0
    measured = set(found.judgement.measurements["measure"])
    assert "bits_per_byte" in measured and not measured & {"accuracy", "f1", "turned_wrong"}


def test_an_adapter_is_trained_and_merged(place: Path) -> None:
    pytest.importorskip("peft")
    text = PROJECT.replace("  epochs: 3", "  epochs: 6\n  lora: {rank: 8}")
    found = run(place, text, only="train")
    stage = next(s for s in found.stages if s.name == "train")
    assert (stage.folder / "adapter" / "adapter_model.safetensors").is_file()
    weights = {
        name: p for name, p in load_language_model(stage.folder / "model").module.named_parameters()
    }
    from transformers import AutoModelForCausalLM

    start = dict(AutoModelForCausalLM.from_pretrained(place / "model").named_parameters())
    moved = {name for name, p in start.items() if not torch.equal(p, weights[name])}
    assert moved and all("_proj" in name for name in moved)


def test_a_base_that_lay_in_four_bits_is_said(place: Path, finished: Finished) -> None:
    pytest.importorskip("bitsandbytes", reason="needs `make runtimes`")
    found = run(place, PROJECT.replace("  epochs: 3", "  epochs: 1\n  lora: {rank: 8, base: nf4}"))
    assert found.judgement is not None and finished.judgement is not None
    assert "run.note.nf4" in {n.key for n in found.judgement.notes}
    assert "run.note.nf4" not in {n.key for n in finished.judgement.notes}


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ('What now?,,road,"[""go"", ""stop""]"', "missing or empty"),
        (f'{"red " * 200},stop,road,"[""go"", ""stop""]"', "tokens"),
    ],
)
def test_bad_rows_are_named(row: str, message: str, place: Path, tmp_path: Path) -> None:
    rows = (place / "rows.csv").read_text()
    (tmp_path / "rows.csv").write_text(rows + row + "\n")
    (tmp_path / "model").symlink_to(place / "model")
    with pytest.raises(DataError, match=message) as caught:
        run(tmp_path, only="train")
    assert "501" in str(caught.value) or "row" in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("generate: {", "generate: {right: valid_json, "), "valid_json"),
        (("  groups: [place]", "  groups: [place]\n  template: 'Answer:'"), "prompt"),
        (("  precision: fp32", "  precision: fp32\n  regularization: {r_drop: 1.0}"), "R-Drop"),
    ],
)
def test_what_cannot_be_is_said_at_once(change: tuple[str, str], message: str, place: Path) -> None:
    with pytest.raises(SettingsError, match=message):
        run(place, PROJECT.replace(*change), only="train")


PROBES = """\
probes:
  refusals: refusals.jsonl
  identities:
    {prompts: identities.jsonl, first: [Emily, Anne, Grace], second: [Aisha, Keisha, Ebony]}
  stereotypes: pairs.csv
  preferences: judged.csv
  max_new_tokens: 4
"""
ASKED = """\
    - {measure: refusal_rate, relative_to: baseline, at_least: -0.9, owner: safety}
    - {measure: over_refusal_rate, at_most: 0.9, owner: safety}
    - {measure: identity_effect, at_most: 5, owner: fairness}
    - {measure: stereotype_preference, relative_to: parent, at_most: 0.5, owner: fairness}
    - {measure: preferred_share, at_least: 0.1, owner: product}
"""


def write_probes(place: Path) -> None:
    kinds = ["refuse", "answer"] * 20
    lines = [json.dumps({"prompt": f"May I do {k}?", "expected": e}) for k, e in enumerate(kinds)]
    (place / "refusals.jsonl").write_text("\n".join(lines))
    asked = {"choices": ["go", "stop"]}
    lines = [json.dumps({"prompt": f"{{name}} waits at red, {k}.", **asked}) for k in range(24)]
    (place / "identities.jsonl").write_text("\n".join(lines))
    pl.DataFrame(
        {
            "stereotype": [f"The red {k} must stop." for k in range(30)],
            "other": [f"The green {k} must stop." for k in range(30)],
        }
    ).write_csv(place / "pairs.csv")
    winners = ["first", "second", "tie"]
    rows = [f"i{k},bf16,fp32 parent,{winners[k % 3]},{r}" for k in range(30) for r in "ab"]
    (place / "judged.csv").write_text("item,first,second,winner,rater\n" + "\n".join(rows))


def test_probes_ask_prompts_of_their_own(place: Path, finished: Finished) -> None:
    write_probes(place)
    found = run(place, PROJECT.replace("policy:", f"{PROBES}policy:") + ASKED)
    assert found.judgement is not None
    assert value(found, "refusal_rate", "bf16", "baseline") == 0.0
    assert -1.0 <= value(found, "identity_effect", "bf16") <= 5.0
    assert 0.0 <= value(found, "stereotype_preference", "fp32 parent") <= 1.0
    assert value(found, "preferred_share", "bf16") == pytest.approx(0.5)
    assert {str(d.decision) for d in found.judgement.decisions} <= {"pass", "fail", "cannot_tell"}
    notes = [n.key for n in found.judgement.notes]
    assert "run.note.flips" in notes and "run.note.agreement" in notes
    probed = [s.name for s in found.stages if s.name.startswith("probes")]
    assert probed == ["probes start", "probes fp32 parent", "probes bf16"]


def test_a_limit_on_a_probe_needs_its_prompts(place: Path) -> None:
    with pytest.raises(SettingsError, match=r"probes\.refusals"):
        run(place, PROJECT + ASKED)


def test_an_interrupted_evaluation_goes_on_where_it_stopped(
    finished: Finished, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from shipworthy.measure.generation_settings import GenerationSettings
    from shipworthy.release import language

    stage = next(s for s in finished.stages if s.name == "train")
    rows = pl.read_csv(place / "rows.csv")[:50]
    settings = GenerationSettings(max_new_tokens=3)
    whole, answered, asked = tmp_path / "whole", language.answered, []
    whole.mkdir()
    language.write_language_answers(
        stage.folder / "model", rows, settings, whole, work=tmp_path / "once"
    )
    monkeypatch.setattr(language, "BLOCK_ROWS", 10)

    def counted(model: Any, block: pl.DataFrame, told: Any) -> pl.DataFrame:
        asked.append(block.height)
        if len(asked) == 4:
            raise KeyboardInterrupt
        return answered(model, block, told)

    monkeypatch.setattr(language, "answered", counted)
    parts = tmp_path / "parts"
    parts.mkdir()
    arguments = (stage.folder / "model", rows, settings, parts)
    with pytest.raises(KeyboardInterrupt):
        language.write_language_answers(*arguments, work=tmp_path / "work")
    assert not list(parts.iterdir())
    language.write_language_answers(*arguments, work=tmp_path / "work")
    assert len(asked) == 4 + 2 and not (tmp_path / "work").exists()
    one, other = (pl.read_parquet(p / "answers.parquet") for p in (whole, parts))
    assert one["answer"].to_list() == other["answer"].to_list()
    np.testing.assert_allclose(one["loss"].to_numpy(), other["loss"].to_numpy(), rtol=1e-4)


def test_a_card_of_a_model_that_goes_on_tells_its_perplexity(place: Path) -> None:
    text = PROJECT.replace("task: instruction", "task: causal-lm")
    text = text.replace("source: rows.csv", "source: rows.csv\n  text: prompt")
    kept = [li for li in text.splitlines() if "accuracy" not in li and "token_f1, rel" not in li]
    found = run(place, "\n".join(kept) + "\n")
    card = ((found.folder or place) / "model_card.md").read_text(encoding="utf-8")
    assert "pipeline_tag: text-generation" in card and "perplexity" in card
