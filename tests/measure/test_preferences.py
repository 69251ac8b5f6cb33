"""Judgements of people: read, scored, and how far their raters agree."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shipworthy.core.errors import DataError
from shipworthy.measure.decide import assess
from shipworthy.measure.estimates import Unmeasured
from shipworthy.measure.preferences import (
    COLUMNS,
    WINNERS,
    agreement,
    first_share,
    krippendorff_alpha,
    preference,
    preferred_share,
    read_judgements,
)

HEAD = "item,first,second,winner,rater\n"


def written(tmp_path: Path, *rows: str) -> Path:
    file = tmp_path / "judgements.csv"
    file.write_text(HEAD + "\n".join(rows) + "\n")
    return file


def test_an_item_scores_the_mean_of_its_judgements(tmp_path: Path) -> None:
    file = written(
        tmp_path, "1,new,old,first,a", "1,old,new,second,b", "2,old,new,first,a", "3,new,old,tie,a",
        "3,new,old,first,b", "3,new,other,first,c",
    )  # fmt: skip
    found = assess(preferred_share(read_judgements(file), "new", "old"), confidence=0.95)
    assert found.value[0] == pytest.approx((1 + 0 + 0.75) / 3)
    assert found.n[0] == 3
    assert isinstance(preferred_share(read_judgements(file), "old", "other"), Unmeasured)


def test_alpha_of_a_published_example() -> None:
    """Krippendorff 2011, example C: four observers, nominal, alpha = 0.743."""
    observers = [
        ["1", "2", "3", "3", "2", "1", "4", "1", "2", ".", ".", "."],
        ["1", "2", "3", "3", "2", "2", "4", "1", "2", "5", ".", "3"],
        [".", "3", "3", "3", "2", "3", "4", "2", "2", "5", "1", "."],
        ["1", "2", "3", "3", "2", "4", "4", "1", "2", "5", "1", "."],
    ]
    counts = np.zeros((12, 5))
    for observer in observers:
        for item, value in enumerate(observer):
            if value != ".":
                counts[item, int(value) - 1] += 1
    assert krippendorff_alpha(counts) == pytest.approx(0.743, abs=0.0005)


def test_who_stood_first_is_no_disagreement(tmp_path: Path) -> None:
    rows = [f"{k},new,old,{'first' if k % 2 else 'second'},a" for k in range(6)]
    rows += [f"{k},old,new,{'second' if k % 2 else 'first'},b" for k in range(6)]
    assert agreement(read_judgements(written(tmp_path, *rows))) == 1.0


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("1,new,old,new,a", "neither first, second nor tie"),
        ("1,new,new,tie,a", "compared with itself"),
        ("0,old,new,tie,a", "before"),
        ("1,new,old,first,", "missing"),
    ],
)
def test_bad_rows_are_named(row: str, message: str, tmp_path: Path) -> None:
    file = written(tmp_path, "0,new,old,first,a", row)
    with pytest.raises(DataError, match=message) as caught:
        read_judgements(file)
    assert "row 2" in str(caught.value) and "judgements.csv" in str(caught.value)


def test_each_item_has_its_score_and_its_groups(tmp_path: Path) -> None:
    file = tmp_path / "judgements.jsonl"
    rows = [
        ("1", "new", "old", "first", "a", "x"),
        ("1", "old", "new", "first", "b", "x"),
        ("2", "old", "new", "tie", "a", "y"),
        ("3", "new", "other", "first", "a", "y"),
    ]
    names = ("item", "first", "second", "winner", "rater", "topic")
    file.write_text("".join(json.dumps(dict(zip(names, r, strict=True))) + "\n" for r in rows))
    judged = read_judgements(file)
    assert preference(judged, "new", "old").rows() == [("1", 0.5, "x"), ("2", 0.5, "y")]
    assert preference(judged, "new", "none").is_empty()


@given(st.lists(st.tuples(st.integers(0, 3), st.booleans(), st.sampled_from(WINNERS)), min_size=1))
def test_the_scores_of_two_models_add_up_to_one(said: list[tuple[int, bool, str]]) -> None:
    judged = pl.DataFrame(
        [
            (str(item), *(("new", "old") if ahead else ("old", "new")), winner, str(k))
            for k, (item, ahead, winner) in enumerate(said)
        ],
        schema=COLUMNS,
        orient="row",
    )
    there, back = preference(judged, "new", "old"), preference(judged, "old", "new")
    assert there["item"].to_list() == back["item"].to_list()
    assert (there["score"] + back["score"]).to_list() == pytest.approx([1.0] * len(there))


def test_bias_of_position_is_a_share_with_an_interval(tmp_path: Path) -> None:
    rows = [f"{k},new,old,{'first' if k < 45 else 'second'},a" for k in range(60)]
    judged = read_judgements(written(tmp_path, *rows, "60,new,old,tie,a"))
    found = assess(first_share(judged), confidence=0.95)
    assert found.value[0] == pytest.approx(0.75)
    assert 0.5 < found.low[0] < 0.75 < found.high[0] < 1
    assert isinstance(first_share(judged.filter(winner="tie")), Unmeasured)


def test_bias_of_position_counts_raters_of_an_item_as_alike(tmp_path: Path) -> None:
    rows = [f"{k},new,old,{'first' if k < 15 else 'second'},{r}" for k in range(20) for r in "abc"]
    found = assess(first_share(read_judgements(written(tmp_path, *rows))), confidence=0.95)
    apart = [f"{k},new,old,{'first' if k < 45 else 'second'},a" for k in range(60)]
    other = assess(first_share(read_judgements(written(tmp_path, *apart))), confidence=0.95)
    assert found.value[0] == other.value[0]
    assert found.high[0] - found.low[0] > other.high[0] - other.low[0]


def test_an_empty_text_is_a_missing_value(tmp_path: Path) -> None:
    file = tmp_path / "judgements.jsonl"
    row = {"item": "1", "first": "new", "second": " ", "winner": "first", "rater": "a"}
    file.write_text(json.dumps(row) + "\n")
    with pytest.raises(DataError, match="missing") as caught:
        read_judgements(file)
    assert (caught.value.row, caught.value.column) == (1, "second")


def test_alpha_knows_chance_and_silence() -> None:
    assert np.isnan(krippendorff_alpha(np.array([[1.0, 0.0], [0.0, 1.0]])))
    assert np.isnan(krippendorff_alpha(np.array([[2.0, 0.0], [3.0, 0.0]])))
    assert krippendorff_alpha(np.array([[1.0, 1.0], [1.0, 1.0]])) < 0
