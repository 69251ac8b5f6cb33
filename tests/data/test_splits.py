"""Units and near-duplicates never cross splits; shares are met; the same seed splits alike."""

from __future__ import annotations

from hashlib import sha256

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shipworthy.core.errors import DataError, SettingsError
from shipworthy.data.builtin import sentiment
from shipworthy.data.splits import PHRASE_UNITS, SPLITS, check_splits, split

SHARES = {"test": 0.4, "validation": 0.15, "calibration": 0.1}
FULL = {"train": 0.35, **SHARES}


def table(rows: int, units: int, seed: int = 0) -> pl.DataFrame:
    generator = np.random.default_rng(seed)
    return pl.DataFrame(
        {
            "text": [sha256(str(i).encode()).hexdigest() for i in range(rows)],
            "label": generator.choice(["neg", "pos"], rows, p=[0.8, 0.2]),
            "group": generator.choice(["a", "b", "c"], rows, p=[0.7, 0.2, 0.1]),
            "unit": generator.integers(0, units, rows),
        }
    )


@given(
    st.integers(40, 300),
    st.integers(20, 200),
    st.integers(0, 5),
    st.sampled_from([SHARES, {"test": 0.3}, {"test": 0.5, "validation": 0.2}]),
)
@settings(max_examples=60, deadline=None)
def test_units_stay_whole(rows: int, units: int, seed: int, shares: dict[str, float]) -> None:
    frame = table(rows, units, seed)
    result = split(frame, label="label", unit="unit", groups=["group"], shares=shares, seed=seed)
    by_unit = frame.with_columns(result.split).group_by("unit").agg(pl.col("split").n_unique())
    assert by_unit["split"].max() == 1
    assert sum(result.rows.values()) == rows
    assert sum(result.units.values()) == frame["unit"].n_unique()
    largest = int(frame["unit"].value_counts()["count"].max())
    assert result.largest_unit == largest
    for name, share in {"train": 1 - sum(shares.values()), **shares}.items():
        assert abs(result.rows[name] - share * rows) <= 2 * largest + 2
    assert {name for name in SPLITS if result.rows[name]} <= {"train", *shares}


def test_rows_are_stratified_by_label_and_group() -> None:
    frame = table(4000, 4000)
    result = split(frame, label="label", groups=["group"], shares=SHARES)
    for columns in (["label"], ["group"], ["label", "group"]):
        counts = frame.with_columns(result.split).group_by(*columns, "split").len()
        totals = pl.col("len").sum().over(columns)
        for *_, name, count, total in counts.with_columns(total=totals).iter_rows():
            assert abs(count - FULL[name] * total) <= 3
    assert result.rows == {"train": 1400, "calibration": 400, "validation": 600, "test": 1600}


def test_seeds() -> None:
    frame = table(500, 120)
    arguments = {"label": "label", "unit": "unit", "text": "text", "shares": SHARES}
    first = split(frame, **arguments, seed=3).split
    assert first.equals(split(frame, **arguments, seed=3).split)
    assert not first.equals(split(frame, **arguments, seed=4).split)
    assert first.name == "split"


def test_near_duplicates_share_a_split_through_their_units() -> None:
    frame = table(400, 400).with_columns(unit=pl.int_range(400))
    texts = frame["text"].to_list()
    for i in range(0, 300, 3):
        texts[i + 1] = texts[i].upper() + "!"
        texts[i + 2] = f"{texts[i]} and a bit"
    frame = frame.with_columns(text=pl.Series(texts))
    result = split(frame, label="label", unit="unit", text="text", shares=SHARES, similarity=0.6)
    names = result.split.to_list()
    assert all(len(set(names[i : i + 3])) == 1 for i in range(0, 300, 3))
    assert result.joined_rows >= 300
    apart = split(frame, label="label", unit="unit", text="text", shares=SHARES, similarity=None)
    assert apart.joined_rows == 0
    assert apart.largest_unit == 1


def test_a_common_phrase_chains_nobody() -> None:
    frame = table(600, 200).with_columns(
        text=pl.when(pl.int_range(600) < 200).then(pl.lit("Thank you!")).otherwise("text"),
        unit=pl.int_range(600) % 200,
    )
    assert frame["unit"].n_unique() > PHRASE_UNITS
    result = split(frame, label="label", unit="unit", text="text", shares=SHARES)
    assert result.phrase_rows == 200
    assert result.largest_unit < 30
    # A rare one joins.
    rare = table(600, 200).with_columns(
        text=pl.when(pl.int_range(600) < 5).then(pl.lit("Thanks!")).otherwise("text"),
        unit=pl.int_range(600) % 200,
    )
    result = split(rare, label="label", unit="unit", text="text", shares=SHARES)
    assert result.phrase_rows == 0
    assert result.joined_rows >= 15


def test_rows_without_a_unit_stand_alone() -> None:
    frame = table(300, 300).with_columns(unit=pl.lit(None, pl.String))
    result = split(frame, label="label", unit="unit", shares=SHARES)
    assert result.largest_unit == 1
    assert result.units["test"] == result.rows["test"] == 120


def test_the_builtin_texts() -> None:
    frame = sentiment()
    groups = ["domain", "mentions_female", "mentions_male"]
    result = split(
        frame, label="label", unit="source_id", text="text", groups=groups, shares=SHARES
    )
    whole = frame.with_columns(result.split)
    for column in ("source_id", "text"):
        assert whole.group_by(column).agg(pl.col("split").n_unique())["split"].max() == 1
    for column in ("label", *groups):
        shares = (
            whole.group_by(column, "split")
            .len()
            .with_columns(share=pl.col("len") / pl.col("len").sum().over(column))
        )
        for _, name, _, share in shares.iter_rows():
            assert abs(share - FULL[name]) < 0.005
    assert 0 < result.joined_rows < 1000


def test_too_few_sets_are_an_error() -> None:
    frame = table(50, 2)
    with pytest.raises(DataError, match=r"the split '\w+' gets no row: 50 rows in 2 sets"):
        split(frame, label="label", unit="unit", shares=SHARES)


@pytest.mark.parametrize(
    ("shares", "message"),
    [
        ({"test": 0.6, "validation": 0.4}, "no row to train on"),
        ({"test": 1.0}, "the share of test is 1.0"),
        ({"test": -0.1}, "the share of test is -0.1"),
        ({"tset": 0.1}, "no share for a split 'tset'"),
        ({"train": 0.1}, "rest: train"),
    ],
)
def test_bad_shares(shares: dict[str, float], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        split(table(50, 50), label="label", shares=shares)


def test_given_splits_are_counted() -> None:
    parts = {
        "train": pl.DataFrame({"u": ["a", "a", "b"], "t": ["one text of many words", "x", "y"]}),
        "test": pl.DataFrame({"u": ["c", None, None], "t": ["One text of many words!", "z", "w"]}),
    }
    result = check_splits(parts, unit="u", text="t")
    assert result.split.to_list() == ["train"] * 3 + ["test"] * 3
    assert result.rows == {"train": 3, "calibration": 0, "validation": 0, "test": 3}
    assert result.units == {"train": 2, "calibration": 0, "validation": 0, "test": 3}
    assert result.joined_rows == 2


def test_a_unit_in_train_and_test_is_named_with_its_rows() -> None:
    parts = {
        "train": pl.DataFrame({"author": ["ann", "bob"]}),
        "test": pl.DataFrame({"author": ["cid", "dan", "bob"]}),
    }
    with pytest.raises(DataError) as error:
        check_splits(parts, unit="author", files={"train": "a.csv", "test": "b.csv"})
    assert str(error.value) == (
        "b.csv, row 3, column 'author': the unit 'bob' is in train (row 2) and in test (row 3); "
        "put all rows of a unit into one split"
    )


def test_unknown_split_name() -> None:
    with pytest.raises(SettingsError, match="there is no split 'dev'"):
        check_splits({"dev": pl.DataFrame({"u": [1]})}, unit="u")
