"""Repeated rows and the smallest group, as limits of a whole project."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from toy_project import PROJECT, make_project, run

from shipworthy.core.errors import SettingsError
from shipworthy.core.locale import set_language
from shipworthy.core.records import Outcome
from shipworthy.measure.estimates import Fact, Unmeasured
from shipworthy.release.data_facts import DUPLICATES, SMALLEST, duplicate_share, smallest_group
from shipworthy.release.load import load_run
from shipworthy.release.policy import load_policy
from shipworthy.release.report import render_report
from shipworthy.release.rerun import recorded_numbers, rerun
from shipworthy.release.selftest import run_selftest


@pytest.fixture(autouse=True)
def english() -> None:
    set_language("en")


def limits(share: float, rows: int) -> str:
    return (
        f"    - {{measure: {DUPLICATES}, at_most: {share}, owner: ml-lead}}\n"
        f"    - {{measure: {SMALLEST}, at_least: {rows}, owner: ml-lead}}\n"
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project in which 90 rows repeat what others say, and few come from a third shop."""
    place = make_project(tmp_path_factory.mktemp("data_facts"), PROJECT)
    rows = pl.read_csv(place / "rows.csv")
    again = rows[:90].with_columns(pl.col("author") + 1000, pl.col("text").str.to_uppercase())
    few = rows[90:110].with_columns(pl.lit("east").alias("shop"), pl.col("author") + 2000)
    few = few.with_columns(pl.col("text") + " " + pl.col("author").cast(pl.String))
    pl.concat([rows, again, few]).write_csv(place / "rows.csv")
    return place


def test_repeated_rows_and_a_small_group_hold_a_candidate(folder: Path) -> None:
    finished = run(folder, PROJECT + limits(0.001, 30))
    found = finished.judgement
    assert found is not None and finished.folder is not None
    decided = {d.measure: d for d in found.decisions if d.measure in (DUPLICATES, SMALLEST)}
    assert {d.decision for d in decided.values()} == {Outcome.FAIL}
    assert 0.001 < decided[DUPLICATES].value < 0.2
    assert 0 < decided[SMALLEST].value < 30
    page = render_report(found)
    assert "keep one of each" in page
    assert "put small groups together" in page
    # Made again from the files, the numbers are the same.
    kept = load_run(finished.folder)
    wanted = [n.id for n in recorded_numbers(kept) if n.row["measure"] in decided]
    assert {n.row["measure"] for n in recorded_numbers(kept) if n.id in wanted} == decided.keys()
    told = rerun(kept, wanted, root=folder).results
    assert {r.status for r in told} == {"equal"}
    # A milder rule needs no stage but the verdict.
    milder = run(folder, PROJECT + limits(0.5, 1))
    stages = {s.name: s for s in milder.stages}
    assert stages["train"].cached and not stages["verdict"].cached
    assert milder.judgement is not None
    inside = [d for d in milder.judgement.decisions if d.measure in (DUPLICATES, SMALLEST)]
    assert {d.decision for d in inside} == {Outcome.PASS}


def test_what_is_counted() -> None:
    texts = pl.Series(["a text of some length", "A text, of some length!", "another thing", None])
    for similarity in (1.0, 0.8):
        share = duplicate_share(texts, similarity)
        assert isinstance(share, Fact) and share.value.tolist() == [0.25]
    assert isinstance(duplicate_share(texts[:0], 1.0), Unmeasured)
    rows = pl.DataFrame({"g": ["x"] * 5 + [None] * 2, "h": ["u"] * 6 + ["v"]})
    smallest = smallest_group(rows, ("g", "h"))
    assert isinstance(smallest, Fact) and smallest.value.tolist() == [1.0]
    alone = smallest_group(rows, ("g",))
    assert isinstance(alone, Fact) and alone.value.tolist() == [2.0]
    assert isinstance(smallest_group(rows, ()), Unmeasured)


@pytest.mark.parametrize(
    ("limit", "kind"),
    [
        ({"measure": DUPLICATES, "at_most": 0.01}, "repeated"),
        ({"measure": DUPLICATES, "at_most": 0.0}, "repeated"),
        ({"measure": SMALLEST, "at_least": 200}, "thin"),
        ({"measure": SMALLEST, "at_least": 1}, "thin"),
    ],
)
def test_planted_bad_rows_are_held(limit: dict[str, object], kind: str) -> None:
    policy = load_policy([{"measure": "accuracy", "at_least": 0.8}, limit])
    found = run_selftest(policy, skip=("biased", "slow", "oversized"))
    assert found.passed and found.limits[1].kind == kind


def test_a_limit_on_groups_needs_a_group_column(folder: Path) -> None:
    text = PROJECT.replace("  groups: [shop]\n", "") + limits(0.5, 1)
    with pytest.raises(SettingsError, match="no group column"):
        run(folder, text)


def test_there_is_no_change_of_them() -> None:
    with pytest.raises(SettingsError, match=DUPLICATES):
        run_selftest(
            load_policy([{"measure": DUPLICATES, "relative_to": "parent", "at_most": 0.01}])
        )
