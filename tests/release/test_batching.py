"""What the other texts of a batch change: measured, limited, planted, and what to do about it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from test_next_plan import keys, one, steps
from toy_project import PROJECT, make_project, run

from shipworthy.compress import Recipe
from shipworthy.core.errors import SettingsError
from shipworthy.core.locale import set_language
from shipworthy.core.records import Answer, Limit, Outcome
from shipworthy.data.batches import pad
from shipworthy.measure.batching import MEASURE, BatchDependence, batch_dependence
from shipworthy.measure.estimates import Fact, Unmeasured
from shipworthy.model import load_classifier
from shipworthy.model.text_classifier import log_softmax
from shipworthy.release.batching import estimate_of, measured
from shipworthy.release.load import load_run
from shipworthy.release.pipeline import Finished
from shipworthy.release.policy import load_policy
from shipworthy.release.policy_fit import check_fit
from shipworthy.release.project import load_project
from shipworthy.release.report import render_report
from shipworthy.release.rerun import recorded_numbers, rerun
from shipworthy.release.selftest import run_selftest
from shipworthy.release.why import stage_names

LIMIT = f"    - {{measure: {MEASURE}, at_most: 0.001, owner: platform}}\n"
BOTH = (PROJECT + LIMIT).replace("[bf16]", "[int8, {int8: {ranges: static}}]")


@pytest.fixture(autouse=True)
def english() -> None:
    set_language("en")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    place = tmp_path_factory.mktemp("batching")
    return run(make_project(place), BOTH)


def int8_folder(finished: Finished) -> Path:
    assert finished.judgement is not None and finished.folder is not None
    (int8,) = [c for c in finished.judgement.candidates if c.name == "int8"]
    return finished.folder / int8.folder


def test_a_graph_whose_answers_move_in_a_batch_is_held(finished: Finished) -> None:
    found = finished.judgement
    assert found is not None and finished.folder is not None
    names = {c.id: c.name for c in found.candidates}
    told = {names[d.candidate]: d for d in found.decisions if d.measure == MEASURE}
    assert told["int8"].decision is Outcome.FAIL and 0.001 < told["int8"].value < 1
    assert told["int8-static"].decision is Outcome.PASS and told["int8-static"].value < 1e-4
    # The dynamic graph is named as what it would do elsewhere: here it is answered one by one.
    assert load_classifier(int8_folder(finished), threads=1).batch == "one"
    page = render_report(found)
    assert "120 validation rows, each alone and in padded batches of 32" in page
    assert "largest change of a probability in a batch" in page.lower()
    parent = found.measurements.filter(
        (pl.col("measure") == MEASURE) & (pl.col("relative_to") == "parent")
    )
    assert parent.height == 0


def test_the_figure_comes_out_equal_again(finished: Finished) -> None:
    assert finished.folder is not None
    loaded = load_run(finished.folder)
    wanted = [r.id for r in recorded_numbers(loaded) if r.row["measure"] == MEASURE]
    assert len(wanted) == 3
    assert {again.status for again in rerun(loaded, wanted).results} == {"equal"}


def test_it_is_the_largest_difference_between_alone_and_together(finished: Finished) -> None:
    folder = int8_folder(finished)
    texts = ["good film", "bad", "this is a very good film so good", "so so"] * 12
    found = batch_dependence(load_classifier(folder, threads=1), texts)
    model = load_classifier(folder, threads=1)
    encoded = model.encode(texts)
    together = [
        np.exp(log_softmax(model.logits(pad(encoded, rows, pad_token_id=0))))
        for rows in (range(32), range(32, 48))
    ]
    alone = np.exp(model.score(encoded))
    gap = np.abs(np.concatenate(together) - alone)
    assert found.largest == pytest.approx(gap.max()) and found.rows == 48
    assert found.turned == (np.concatenate(together).argmax(1) != alone.argmax(1)).sum()


def test_a_sample_is_drawn_by_the_seed(finished: Finished) -> None:
    folder = int8_folder(finished)
    texts = pl.read_csv(folder.parents[3] / "rows.csv")["text"].to_list()
    first = measured(folder, texts, seed=1)
    assert first.rows == 256 and first == measured(folder, texts, seed=1)
    assert first != measured(folder, texts, seed=2)
    assert measured(folder, texts[:1], seed=1) == BatchDependence(0.0, 0, 0)
    assert estimate_of(BatchDependence(0.0, 0, 0)) == Unmeasured("no_data")


def test_without_a_limit_nothing_is_asked(tmp_path: Path) -> None:
    make_project(tmp_path)

    def named(text: str) -> list[str]:
        (tmp_path / "shipworthy.yaml").write_text(text)
        return [n for n in stage_names(load_project(tmp_path / "shipworthy.yaml")) if "batch" in n]

    assert named(PROJECT) == []
    assert named(PROJECT + LIMIT) == ["batches fp32 parent", "batches bf16"]


def test_a_planted_model_that_moves_in_a_batch_is_held() -> None:
    limits = [{"measure": "accuracy", "at_least": 0.8}, {"measure": MEASURE, "at_most": 0.01}]
    skip = ("biased", "slow", "oversized")
    found = run_selftest(load_policy(limits), skip=skip)
    assert found.passed
    (tried,) = [t for t in found.limits if t.limit.measure == MEASURE]
    assert tried.kind == "swayed" and tried.decision is not None
    assert tried.decision.value == pytest.approx(0.05)
    # No other kind of bad model is held by it.
    alone = run_selftest(load_policy(limits), skip=("biased",))
    assert alone.not_held == ("slow", "oversized")
    for bound, passed in ((0.0, True), (0.9, True), (1.0, False)):
        limits[1]["at_most"] = bound
        assert run_selftest(load_policy(limits), skip=skip).passed is passed, bound


def test_a_change_against_the_parent_is_refused() -> None:
    policy = load_policy([{"measure": MEASURE, "relative_to": "parent", "at_most": 1.0}])
    with pytest.raises(SettingsError, match="batch_dependence is not compared with the parent's"):
        check_fit(policy, ())


def moved(value: float) -> list[object]:
    return [one(Limit(MEASURE, "at_most", 0.01), Fact(np.array([value])))]


def test_fixed_ranges_are_proposed_where_they_are_not_tried() -> None:
    int8 = Recipe("int8-keep-0", "quantize", {"weights": "int8", "keep_float": [0]})
    (step,) = steps({"a": moved(0.2)}, recipes={"a": int8}, minutes={"a": 2.0})  # type: ignore
    assert step.phrase.key == "next.fixed_ranges"
    assert step.recipe == "{int8: {ranges: static, keep_float: [0]}}"
    assert step.cost_minutes == 2.0
    static = Recipe("int8-static-keep-0", "quantize", {})
    tried = steps({"a": moved(0.2)}, recipes={"a": int8, "b": static})  # type: ignore
    assert keys(tried) == ["next.one_by_one"]
    # Another candidate that is inside comes first; nobody is told to make a smaller file.
    both = steps({"a": moved(0.2), "b": moved(0.0)}, recipes={"a": int8})  # type: ignore
    assert keys(both) == ["next.other", "next.fixed_ranges"]
    bf16 = Recipe("bf16", "quantize", {"weights": "bf16"})
    assert keys(steps({"a": moved(0.2)}, recipes={"a": bf16})) == ["next.one_by_one"]  # type: ignore


def test_a_judged_file_says_nothing_about_batches() -> None:
    found = steps(
        {"a": [one(Limit(MEASURE, "at_most", 0.01), Unmeasured("not_measured"))]},
        Answer.UNDECIDED,
    )
    assert keys(found) == ["next.measure"]


def test_what_was_found_is_kept_beside_its_stage(finished: Finished) -> None:
    kept = [s for s in finished.stages if s.name.startswith("batches ")]
    assert [s.name for s in kept] == ["batches fp32 parent", "batches int8", "batches int8-static"]
    told = json.loads((kept[1].folder / "batching.json").read_text())
    assert told["rows"] == 120 and told["largest"] > 0.001
