"""A part of the rows is whole units; labels become numbers or an error with their row."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shipworthy.core.errors import DataError
from shipworthy.train.selection import class_numbers, require_classes, select


@given(
    st.lists(st.sampled_from(["a", "b", "c", "d", None]), min_size=6, max_size=40),
    st.integers(2, 40),
    st.integers(0, 5),
)
def test_units_stay_whole(units: list[str | None], wanted: int, seed: int) -> None:
    frame = pl.DataFrame({"unit": pl.Series(units, dtype=pl.String), "row": np.arange(len(units))})
    try:
        kept = select(frame, wanted, unit="unit", seed=seed)
    except DataError:
        sizes = frame["unit"].drop_nulls().value_counts()["count"]
        assert frame["unit"].null_count() == 0 and sizes.min() > wanted
        return
    assert kept.height <= max(wanted, 0) or wanted >= frame.height
    assert kept["row"].is_sorted()
    for name in frame["unit"].drop_nulls().unique():
        whole = (frame["unit"] == name).sum()
        assert (kept["unit"] == name).sum() in (0, whole)


def test_drawn_by_the_seed_and_close_to_what_was_asked() -> None:
    frame = pl.DataFrame({"unit": np.repeat(np.arange(100), 3), "row": np.arange(300)})
    first, again, other = (select(frame, 100, unit="unit", seed=s) for s in (1, 1, 2))
    assert first.equals(again) and not first.equals(other)
    assert first.height == 99
    assert select(frame, 100, unit=None, seed=1).height == 100
    assert select(frame, None, unit="unit", seed=1) is frame
    assert select(frame, 301, unit="unit", seed=1) is frame


def test_no_unit_is_small_enough() -> None:
    frame = pl.DataFrame({"unit": ["a"] * 5 + ["b"] * 4})
    with pytest.raises(DataError, match="the smallest has 4; raise train.rows"):
        select(frame, 3, unit="unit", seed=0)


def test_numbers_of_classes() -> None:
    frame = pl.DataFrame({"label": ["no", "yes", "no"]})
    numbers = class_numbers(frame, label="label", classes=("no", "yes"), split="train")
    assert numbers.tolist() == [0, 1, 0]


@pytest.mark.parametrize("value", ["yess", None])
def test_a_label_outside_the_classes_is_named(value: str | None) -> None:
    frame = pl.DataFrame({"label": ["no", value, "yes"]})
    with pytest.raises(DataError, match=rf"calibration rows.*row 2, column 'label': .*{value}"):
        class_numbers(frame, label="label", classes=("no", "yes"), split="calibration")


def test_a_class_without_rows_is_named() -> None:
    with pytest.raises(DataError, match="none of the 3 training rows has the label 'maybe'"):
        require_classes(np.array([0, 2, 0]), label="label", classes=("no", "maybe", "yes"))
