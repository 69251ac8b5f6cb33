"""A project's rows are whole or refused in one line that names file, row and column."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from shipworthy.core.errors import DataError, SettingsError
from shipworthy.core.yaml import load_settings, parse_yaml
from shipworthy.data.rows import load_rows
from shipworthy.data.settings import DataSettings


def table(rows: int = 60, start: int = 0) -> pl.DataFrame:
    numbers = range(start, start + rows)
    return pl.DataFrame(
        {
            "key": [f"k{i}" for i in numbers],
            "text": [sha256(str(i).encode()).hexdigest() for i in numbers],
            "label": [i % 2 for i in numbers],
            "author": [f"author {i // 2}" for i in numbers],
            "region": [("north", "south", None)[i % 3] for i in numbers],
        }
    )


def load(folder: Path, frame: pl.DataFrame | None = None, **settings: Any) -> Any:
    (table() if frame is None else frame).write_csv(folder / "rows.csv")
    return load_rows(DataSettings(source="rows.csv", **settings), root=folder, seed=1)


def test_a_source_is_split(tmp_path: Path) -> None:
    rows = load(tmp_path, id="key", unit="author", groups=("region",))
    assert rows.classes == ("0", "1")
    assert rows.frame["label"].dtype == pl.String
    assert rows.files == (tmp_path / "rows.csv",)
    parts = {name: rows.part(name) for name in ("train", "calibration", "validation", "test")}
    assert sum(part.height for part in parts.values()) == 60
    assert parts["test"].height == rows.splits.rows["test"] == 24
    assert not set(parts["train"]["author"]) & set(parts["test"]["author"])


def test_classes_of_every_kind(tmp_path: Path) -> None:
    for values, classes in [
        ([True, False] * 30, ("false", "true")),
        ([10, 9, 2] * 20, ("2", "9", "10")),
        ([1.0, -1.0] * 30, ("-1", "1")),
        ([" yes", "no"] * 30, ("no", "yes")),
    ]:
        frame = table().with_columns(label=pl.Series(values))
        assert load(tmp_path, frame).classes == classes


def test_splits_of_their_own(tmp_path: Path) -> None:
    table(60).write_csv(tmp_path / "train.csv")
    table(20, 60).drop("region").write_parquet(tmp_path / "test.parquet")
    settings = DataSettings(train="train.csv", test="test.parquet", id="key", unit="author")
    rows = load_rows(settings, root=tmp_path)
    # 45, 6 and 9 rows are wanted of train; its authors have two rows each.
    assert rows.splits.rows == {"train": 46, "calibration": 6, "validation": 8, "test": 20}
    assert rows.part("test")["key"].to_list() == [f"k{i}" for i in range(60, 80)]
    assert "region" not in rows.frame.columns
    assert [file.name for file in rows.files] == ["train.csv", "test.parquet"]

    table(10, 80).write_csv(tmp_path / "validation.csv")
    table(10, 90).write_csv(tmp_path / "calibration.csv")
    settings = DataSettings(
        train="train.csv", test="test.parquet", validation="validation.csv",
        calibration="calibration.csv",
    )  # fmt: skip
    rows = load_rows(settings, root=tmp_path)
    assert rows.splits.rows == {"train": 60, "calibration": 10, "validation": 10, "test": 20}
    assert rows.part("validation")["key"].to_list() == [f"k{i}" for i in range(80, 90)]


def changed(column: str, row: int, value: Any) -> pl.DataFrame:
    frame = table()
    values = frame[column].to_list()
    values[row - 1] = value
    return frame.with_columns(pl.Series(column, values, strict=False))


BAD = [
    ({"label": "labe"}, table(), "column 'labe': there is no such column; did you mean 'label'"),
    ({"groups": ("regions",)}, table(), "column 'regions': .* did you mean 'region'"),
    ({}, changed("label", 7, None), r"row 7, column 'label': the label is missing; .*1 of 60 rows"),
    ({}, changed("text", 9, None), "row 9, column 'text': the text is missing"),
    ({"id": "key"}, changed("key", 5, "k0"), "row 5, column 'key': the id 'k0' is in row 1 alr"),
    ({"id": "key"}, changed("key", 5, None), "row 5, column 'key': the id is missing"),
    ({"text": "label", "label": "text"}, table(), "column 'label': the text column holds Int64"),
    ({}, table().with_columns(label=pl.lit("x")), "there is only one class, 'x'; give rows of at"),
    ({}, changed("label", 4, 0.5), "row 4, column 'label': the label 0.5 is a number with decim"),
    ({}, changed("label", 4, float("nan")), "row 4, column 'label': the label is missing"),
    ({}, table().with_columns(label=pl.lit(" ")), "row 1, column 'label': the label is missing"),
    ({"groups": ("key",)}, table(300), "column 'key': the group column has 300 different values"),
]


@pytest.mark.parametrize(("settings", "frame", "message"), BAD)
def test_bad_rows(
    tmp_path: Path, settings: dict[str, Any], frame: pl.DataFrame, message: str
) -> None:
    with pytest.raises(DataError, match=message) as error:
        load(tmp_path, frame, **settings)
    assert str(error.value).startswith("rows.csv, ")
    assert "\n" not in str(error.value)


def test_bad_splits_of_their_own(tmp_path: Path) -> None:
    table(60).write_csv(tmp_path / "train.csv")
    settings = DataSettings(train="train.csv", test="test.csv", id="key", unit="author")
    table(21, 59).with_columns(author=pl.col("key")).write_csv(tmp_path / "test.csv")
    with pytest.raises(DataError, match="test.csv, row 1, column 'key': the id 'k59' is in train"):
        load_rows(settings, root=tmp_path)
    table(21, 59).with_columns(key=pl.col("key") + "x").write_csv(tmp_path / "test.csv")
    with pytest.raises(
        DataError, match=r"'author 29' is in train \(row 59\) and in test \(row 1\)"
    ):
        load_rows(settings, root=tmp_path)
    table(20, 60).with_columns(label=pl.lit(2)).write_csv(tmp_path / "test.csv")
    with pytest.raises(DataError, match="test.csv, row 1, column 'label': the class '2' is not in"):
        load_rows(settings, root=tmp_path)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("source: a.csv\ngroup: [x]", r"a.yaml:3, data.group: unknown key; did you mean 'groups'"),
        ("source: 3", r"a.yaml:2, data.source: needs text"),
        ("text: body", "name `source`, or both `train` and `test`"),
        ("train: a.csv", "name `source`, or both `train` and `test`"),
        ("source: a.csv\ntest: b.csv", "`source` and `test` exclude each other"),
        ("source: a.csv\nshares: {test: 0.7, validation: 0.3}", "leave no row to train on"),
        ("source: a.csv\nnear_duplicates: 0", "a.yaml:3, data.near_duplicates"),
        ("source: a.csv\ntext: label", "the column 'label' is named for two purposes"),
        ("source: a.csv\ngroups: [a, a]", "the column 'a' stands in `groups` twice"),
        ("source: a.csv\ngroups: [text]", "the text column 'text' is no group"),
    ],
)
def test_bad_settings(lines: str, message: str) -> None:
    document = parse_yaml("data:\n  " + lines.replace("\n", "\n  "), file="a.yaml")
    with pytest.raises(SettingsError, match=message):
        load_settings(DataSettings, document, ("data",))


def test_settings_as_a_file_writes_them() -> None:
    lines = "data: {source: a.csv, groups: [a, b], near_duplicates: off, shares: {test: 0.2}}"
    settings = load_settings(DataSettings, parse_yaml(lines), ("data",))
    assert settings.near_duplicates == "off"
    assert settings.groups == ("a", "b")
    assert settings.shares.model_dump() == {"test": 0.2, "validation": 0.15, "calibration": 0.1}
