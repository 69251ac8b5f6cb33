"""Counts as published with the data set (adult.names) and counted here in the files themselves."""

import polars as pl
import pytest

from shipworthy.data.adult import COLUMNS, INCOMES, NUMBERS, adult
from shipworthy.data.builtin import builtin_table, describe, licence_of


@pytest.fixture(scope="module")
def frame() -> pl.DataFrame:
    return adult()


def test_rows_are_those_of_both_published_parts(frame: pl.DataFrame) -> None:
    assert frame.columns == ["id", *COLUMNS, "income", "part"]
    assert dict(frame["part"].value_counts().iter_rows()) == {"train": 32_561, "test": 16_281}
    assert frame["id"].n_unique() == frame.height == 48_842
    # The comment on top of the file of the test part is no row.
    assert frame.filter(pl.col("part") == "test").row(0)[:4] == ("test-1", 25, "Private", 226_802)
    assert builtin_table("builtin:adult").equals(frame)


def test_labels_of_both_parts_are_written_alike(frame: pl.DataFrame) -> None:
    counted = frame.group_by("part").agg((pl.col("income") == INCOMES[1]).sum())
    assert dict(counted.iter_rows()) == {"train": 7_841, "test": 3_846}
    assert set(frame["income"]) == set(INCOMES)


def test_question_marks_are_missing(frame: pl.DataFrame) -> None:
    train = frame.filter(pl.col("part") == "train")
    assert train.select(pl.any_horizontal(pl.all().is_null()).sum()).item() == 2_399
    missing = [name for name in COLUMNS if frame[name].null_count()]
    assert missing == ["workclass", "occupation", "native_country"]
    assert not any((frame[name] == "?").any() for name in COLUMNS if name not in NUMBERS)


def test_numbers_are_numbers_and_text_has_no_spaces_around_it(frame: pl.DataFrame) -> None:
    assert [n for n in COLUMNS if frame.schema[n] == pl.Int64] == list(NUMBERS)
    for name in set(COLUMNS) - set(NUMBERS):
        assert (frame[name] == frame[name].str.strip_chars()).all()


def test_shares_by_group(frame: pl.DataFrame) -> None:
    train = frame.filter(pl.col("part") == "train")
    rich = train.group_by("sex").agg((pl.col("income") == ">50K").mean().round(3))
    assert dict(rich.iter_rows()) == {"Male": 0.306, "Female": 0.109}


def test_the_licence_is_that_of_the_data() -> None:
    assert licence_of("builtin:adult") == "cc-by-4.0"
    assert "CC BY 4.0" in describe("builtin:adult").licence
