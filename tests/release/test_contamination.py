"""Rows of the verdict that stand in the training text, through a whole project."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest
from toy_project import PROJECT, make_project, run

from shipworthy.core.errors import SettingsError
from shipworthy.core.locale import set_language, text
from shipworthy.core.records import Outcome
from shipworthy.data.builtin import describe
from shipworthy.data.settings import ContaminationSettings, DataSettings
from shipworthy.measure.estimates import Fact
from shipworthy.release.contamination import (
    FILE,
    MEASURE,
    contamination_note,
    embedding,
    read_share,
    write_overlaps,
)
from shipworthy.release.policy import load_policy
from shipworthy.release.project import load_project
from shipworthy.release.report import render_report
from shipworthy.release.selftest import run_selftest

LIMIT = f"    - {{measure: {MEASURE}, at_most: 0.01, owner: ml-lead}}\n"


@pytest.fixture(autouse=True)
def english() -> None:
    set_language("en")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose texts are of seven words each, so that an 8-gram is the whole text."""
    return make_project(tmp_path_factory.mktemp("contamination"), PROJECT)


def test_rows_that_were_trained_on_hold_a_candidate(folder: Path) -> None:
    rows = pl.read_csv(folder / "rows.csv")
    rows.select("text")[:300].write_parquet(folder / "seen-before.parquet")
    settings = {"corpora": ["seen-before.parquet"], "ngram": 6}
    text = (PROJECT + LIMIT).replace(
        "  near_dup", f"  contamination: {json.dumps(settings)}\n  near_dup"
    )
    finished = run(folder, text)
    found = finished.judgement
    assert found is not None and finished.folder is not None
    (decision,) = [d for d in found.decisions if d.measure == MEASURE]
    assert decision.decision is Outcome.FAIL and 0.4 < decision.value <= 1
    kept = pl.read_parquet(finished.folder / FILE)
    tested = kept.filter(pl.col("split") == "test")
    assert decision.value == pytest.approx((tested["overlap"] >= 0.7).mean())
    page = render_report(found)
    assert f"Of {tested.height} rows, {(tested['overlap'] >= 0.7).sum()} stand in the" in page
    assert "take them out of it and train again" in page
    # A milder rule needs no new search, and the corpus is a part of what the search stands on.
    stages = {s.name: s for s in run(folder, text.replace("at_most: 0.01", "at_most: 0.02")).stages}
    assert stages["contamination"].cached and not stages["verdict"].cached
    rows.select("text")[300:310].write_parquet(folder / "seen-before.parquet")
    again = {s.name: s for s in run(folder, text).stages}
    assert not again["contamination"].cached and again["train"].cached


def test_rows_that_say_what_was_trained_on_are_held_too(folder: Path) -> None:
    settings = DataSettings(
        source="rows.csv", contamination=ContaminationSettings(meaning=0.7, corpora=("more.csv",))
    )
    told = pl.Series(["The battery dies after two hours.", "We sailed around the island."])
    more = pl.DataFrame({"text": ["A boring film without any story at all.", None]})
    rows = pl.DataFrame(
        {
            "text": [
                "It runs out of power in a couple of hours.",
                "This dull movie has no plot whatsoever.",
                "Parliament votes on the budget tomorrow.",
                "we sailed, around THE island",
                "",
            ]
        }
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        more.write_csv("more.csv")
        splits = {"train": told.alias("text").to_frame(), "validation": rows[:3], "test": rows}
        write_overlaps(settings, splits, folder)
    found = pl.read_parquet(folder / FILE)
    test = found.filter(pl.col("split") == "test")
    assert found.height == 8 and test["overlap"].to_list() == [0, 0, 0, 1, 0]
    # The first is alike, but not so much as is asked for.
    assert (test["meaning"].fill_null(0) >= 0.7).to_list() == [False, True, False, True, False]
    assert test["meaning_source"].to_list()[:4] != [None] * 4
    assert test.row(1)[-2:] == ("more.csv", 1) and test.row(0)[-2:] == ("train", 1)
    assert test["meaning"][4] is None and test["meaning_row"][4] is None
    share = read_share(folder, "test", settings)
    assert isinstance(share, Fact) and share.value.tolist() == [0.4]
    off = settings.model_copy(update={"contamination": ContaminationSettings()})
    by_words = read_share(folder, "test", off)
    assert isinstance(by_words, Fact) and by_words.value.tolist() == [0.2]
    note = contamination_note(folder, "test", settings)
    said = text(note.key, **note.arguments)
    assert "2 stand in the training text: 1 by their words" in said and "2 by their mean" in said
    assert contamination_note(folder, "test", off).key == "run.note.contamination"
    assert embedding(off) is None and embedding(settings) == describe("builtin:minilm").sha256


def test_without_a_limit_nothing_is_searched(folder: Path) -> None:
    assert "contamination" not in [stage.name for stage in run(folder).stages]


def test_a_planted_contaminated_model_is_held() -> None:
    for bound in (0.0, 0.01, 0.9):
        policy = load_policy(
            [{"measure": "accuracy", "at_least": 0.8}, {"measure": MEASURE, "at_most": bound}]
        )
        found = run_selftest(policy, skip=("biased", "slow", "oversized"))
        assert found.passed and found.limits[1].kind == "contaminated"


def test_a_corpus_that_is_not_there(folder: Path) -> None:
    text = PROJECT.replace("  near_dup", "  contamination: {corpora: [none.csv]}\n  near_dup")
    (folder / "shipworthy.yaml").write_text(text)
    with pytest.raises(SettingsError, match=r"shipworthy.yaml:\d+.*corpora.*none.csv"):
        load_project(folder / "shipworthy.yaml")
