from pathlib import Path

import numpy as np
import polars as pl
import pytest
from pydantic import ValidationError

from shipworthy.core.errors import DataError
from shipworthy.data.rows import Rows, load_rows
from shipworthy.data.settings import DataSettings
from shipworthy.data.tables import ROW_TEXT, cramers_v, proxies

N = 400


def table(**more: object) -> pl.DataFrame:
    """Rows in which `town` says nearly all of `sex`, and `size` nothing."""
    generator = np.random.default_rng(3)
    sex = generator.choice(["f", "m"], N)
    towns = np.where(sex == "f", "north", "south")
    return pl.DataFrame(
        {
            "key": [f"row-{k}" for k in range(N)],
            "number": np.arange(N),
            "size": generator.normal(size=N),
            "town": np.where(generator.random(N) < 0.9, towns, "east"),
            "sex": sex,
            "label": generator.choice(["no", "yes"], N),
            **more,
        }
    )


def load(place: Path, frame: pl.DataFrame, **settings: object) -> Rows:
    frame.write_parquet(place / "rows.parquet")
    given = {"label": "label", "groups": ("sex",), "near_duplicates": "off", **settings}
    asked = DataSettings(source=str(place / "rows.parquet"), text=ROW_TEXT, **given)  # type: ignore[arg-type]
    return load_rows(asked)


def test_groups_and_names_of_rows_stay_out(tmp_path: Path) -> None:
    rows = load(tmp_path, table())
    assert rows.features is not None
    assert rows.features.numbers == ("size",)
    assert rows.features.categories == ("town",)
    assert rows.features.left_out == {"key": "names_rows", "number": "names_rows"}
    assert rows.features.sensitive == ()
    # What stands for a row holds features and nothing else.
    written = rows.frame[ROW_TEXT].str.json_decode(pl.Struct({"size": pl.Float64}))
    assert written.struct.field("size").to_list() == rows.frame["size"].to_list()
    assert not rows.frame[ROW_TEXT].str.contains("sex|label|key").any()


def test_a_column_that_names_rows_is_kept_where_it_is_asked_for(tmp_path: Path) -> None:
    rows = load(tmp_path, table(), features=("size", "number"))
    assert rows.features is not None
    assert rows.features.names == ("size", "number")
    assert rows.features.named_rows == ("number",)


def test_a_group_is_a_feature_only_by_leave(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="'sex' is a group"):
        load(tmp_path, table(), features=("size", "sex"))
    leave = {"use": ("sex",), "reason": "parity needs it", "delete_by": "2031-01-31"}
    rows = load(tmp_path, table(), sensitive=leave)
    assert rows.features is not None
    assert rows.features.sensitive == ("sex",)
    assert "sex" in rows.features.categories


@pytest.mark.parametrize(
    "leave",
    [
        {"use": ("sex",), "delete_by": "2031-01-31"},
        {"use": ("sex",), "reason": "parity needs it"},
        {"use": ("sex",), "reason": "short", "delete_by": "2031-01-31"},
        {"use": ("town",), "reason": "parity needs it", "delete_by": "2031-01-31"},
        {"use": (), "reason": "parity needs it", "delete_by": "2031-01-31"},
    ],
)
def test_leave_takes_a_group_a_reason_and_a_date(leave: dict[str, object], tmp_path: Path) -> None:
    with pytest.raises(ValidationError):
        load(tmp_path, table(), sensitive=leave)


def test_proxies_are_told(tmp_path: Path) -> None:
    rows = load(tmp_path, table())
    assert rows.features is not None
    (first, value), (_, other) = rows.features.proxies["sex"]
    assert first == "town"
    assert value > 0.9 > 0.2 > other


def test_cramers_v_is_0_by_chance_and_1_for_a_copy() -> None:
    generator = np.random.default_rng(0)
    first = generator.integers(0, 6, 5_000)
    assert cramers_v(first, generator.integers(0, 4, 5_000)) < 0.03
    assert cramers_v(first, first) == pytest.approx(1.0)
    assert cramers_v(first, np.zeros(5_000, np.int64)) == 0.0
    frame = pl.DataFrame({"a": [1.0, None, 3.0] * 10, "b": ["x", "y", "x"] * 10})
    assert proxies(frame, ["a", "b"], ["b"]) == {"b": [("a", pytest.approx(1.0, abs=0.03))]}


def test_infinite_numbers_are_refused_and_nan_is_missing(tmp_path: Path) -> None:
    sizes = np.random.default_rng(1).normal(size=N)
    sizes[7] = np.inf
    with pytest.raises(DataError, match=r"row 8, column 'size': the number is infinite"):
        load(tmp_path, table(size=sizes))
    sizes[7] = np.nan
    assert load(tmp_path, table(size=sizes)).frame["size"].null_count() == 1


def test_text_among_numbers_names_its_row(tmp_path: Path) -> None:
    sizes = [str(k % 50) for k in range(N)]
    sizes[41] = "12 kg"
    with pytest.raises(DataError, match=r"row 42, column 'size': '12 kg' is no number"):
        load(tmp_path, table(size=sizes))
    rows = load(tmp_path, table(size=sizes), kinds={"size": "category"})
    assert rows.features is not None
    assert "size" in rows.features.categories


def test_codes_of_digits_can_be_categories(tmp_path: Path) -> None:
    codes = np.arange(N) % 3
    rows = load(tmp_path, table(town=codes), kinds={"town": "category"})
    assert rows.frame["town"].to_list()[:3] == ["0", "1", "2"]
    with pytest.raises(DataError, match="names a column that is no feature"):
        load(tmp_path, table(), kinds={"sex": "category"})


def test_an_empty_column_is_left_out_or_refused(tmp_path: Path) -> None:
    frame = table(gone=pl.Series([None] * N, dtype=pl.String))
    rows = load(tmp_path, frame)
    assert rows.features is not None
    assert rows.features.left_out["gone"] == "empty"
    with pytest.raises(DataError, match="column 'gone': the feature has no value"):
        load(tmp_path, frame, features=("size", "gone"))


def test_other_kinds_are_left_out_or_refused(tmp_path: Path) -> None:
    frame = table().with_columns(pl.date(2024, 1, pl.lit(1)).alias("day"))
    rows = load(tmp_path, frame)
    assert rows.features is not None
    assert rows.features.left_out["day"] == "kind"
    with pytest.raises(DataError, match="neither numbers nor text"):
        load(tmp_path, frame, features=("day",))


def test_nothing_left_to_see_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no column is left"):
        load(tmp_path, table(), ignore=("size", "town", "key", "number"))


def test_one_class_and_an_unknown_positive_class_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is only one class, 'no'"):
        load(tmp_path, table(label=["no"] * N))
    with pytest.raises(DataError, match="no label is the positive class 'yess'.*'yes'"):
        load(tmp_path, table(), positive="yess")


def test_parts_with_other_kinds_are_refused(tmp_path: Path) -> None:
    table().write_csv(tmp_path / "train.csv")
    table(size=["big", *("1.5" for _ in range(N - 1))]).write_csv(tmp_path / "test.csv")
    settings = DataSettings(
        train=str(tmp_path / "train.csv"), test=str(tmp_path / "test.csv"), text=ROW_TEXT,
        groups=("sex",), near_duplicates="off",
    )  # fmt: skip
    with pytest.raises(DataError, match=r"test.csv, row 1, column 'size': 'big' is no number"):
        load_rows(settings)


def test_labels_of_a_regression_are_numbers(tmp_path: Path) -> None:
    frame = table(label=np.arange(N) / 2)
    frame.write_parquet(tmp_path / "rows.parquet")
    settings = DataSettings(
        source=str(tmp_path / "rows.parquet"), text=ROW_TEXT, near_duplicates="off"
    )
    rows = load_rows(settings, answers="number")
    assert rows.classes == ()
    assert rows.frame["label"].dtype == pl.Float64
    for values, said in ((["x", *["1"] * (N - 1)], "'x' is no finite number"),
                         ([None, *[1.0] * (N - 1)], "the label is missing"),
                         ([1.0] * N, "all labels are 1")):  # fmt: skip
        table(label=values).write_parquet(tmp_path / "rows.parquet")
        with pytest.raises(DataError, match=said):
            load_rows(settings, answers="number")
