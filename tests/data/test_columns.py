"""Columns are guessed where it is plain, and asked for where it is not."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest

from shipworthy.core.errors import DataError
from shipworthy.core.locale import has_text
from shipworthy.data.columns import guess_columns


def table(**columns: Any) -> pl.DataFrame:
    rows = 200
    usual = {
        "id": list(range(rows)),
        "review_text": [f"what somebody wrote about thing number {i}" for i in range(rows)],
        "stars": [1 + i % 5 for i in range(rows)],
        "authorId": [f"u{i % 90}" for i in range(rows)],
        "country": [("Finland", "United Kingdom", None)[i % 3] for i in range(rows)],
        "verified": [i % 2 == 0 for i in range(rows)],
        "age": [20 + i % 50 for i in range(rows)],
        "score": [i / 7 for i in range(rows)],
        "split": [("train", "test")[i % 2] for i in range(rows)],
    }
    return pl.DataFrame({k: v for k, v in {**usual, **columns}.items() if v is not None})


def test_a_usual_file() -> None:
    columns = guess_columns(table(), "a.csv")
    assert (columns.text, columns.label) == ("review_text", "stars")
    assert (columns.id, columns.unit) == ("id", "authorId")
    assert columns.groups == ("country", "verified")
    assert set(columns.reasons) == {"text", "label", "id", "unit", "groups"}
    assert all(has_text(reason.key) for reason in columns.reasons.values())


def test_what_is_given_is_taken() -> None:
    columns = guess_columns(
        table(), "a.csv", text="country", label="verified", unit="age", groups=["stars"]
    )
    assert (columns.text, columns.label, columns.unit) == ("country", "verified", "age")
    assert columns.groups == ("stars",)
    assert guess_columns(table(), "a.csv", groups=[]).groups == ()


def test_names_that_say_nothing() -> None:
    frame = table(review_text=None, id=None, authorId=None, stars=None, split=None, verified=None)
    texts = [f"what somebody wrote about thing number {i}" for i in range(200)]
    frame = frame.with_columns(col1=pl.Series(texts))
    columns = guess_columns(frame, "a.csv")
    assert (columns.text, columns.label) == ("col1", "country")
    assert columns.id is columns.unit is None
    assert columns.reasons["label"].key == "init.label_only"
    assert columns.reasons["text"].key == "init.text_long"


def test_a_label_among_others_of_its_kind() -> None:
    many = [f"c{i % 57}" for i in range(200)]
    assert guess_columns(table(category=many), "a.csv").label == "stars"
    named = guess_columns(table(label=[i % 2 for i in range(200)]), "a.csv")
    assert named.label == "label"
    assert "stars" in named.groups


def test_the_label_with_many_values_is_named() -> None:
    frame = table(stars=[f"c{i % 57}" for i in range(200)])
    with pytest.raises(DataError, match="a.csv, column 'stars': the label has 57 different values"):
        guess_columns(frame, "a.csv")
    with pytest.raises(DataError, match="column 'age': the label has 50 different values"):
        guess_columns(frame, "a.csv", label="age")


def test_no_plain_label() -> None:
    with pytest.raises(DataError, match="country, verified could be; say which one it is with --l"):
        guess_columns(table(stars=None), "a.csv")
    frame = table().select("review_text", "score")
    with pytest.raises(DataError, match="which column is the label.*no column looks like it"):
        guess_columns(frame, "a.csv")


def test_no_text_and_unknown_columns() -> None:
    with pytest.raises(DataError, match="no column looks like text; say which one it is with --te"):
        guess_columns(table(review_text=None), "a.csv")
    with pytest.raises(DataError, match="column 'stats': .* did you mean 'stars'"):
        guess_columns(table(), "a.csv", label="stats")


def test_ids_that_repeat_are_units() -> None:
    columns = guess_columns(table(id=None, authorId=None, doc_id=[i // 4 for i in range(200)]), "a")
    assert columns.id is None
    assert columns.unit == "doc_id"
    few = guess_columns(table(id=None, authorId=None, source=["a", "b"] * 100), "a")
    assert few.unit is None
    assert "source" in few.groups
