"""Partitions: which rows and units belong to which slice, against loops and numpy's own sorts."""

import datetime
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from shipworthy.core.records import ALL_ROWS, Slice
from shipworthy.measure.slices import compacted, crossings, hashed, partition, unit_codes

sys.path.insert(0, str(Path(__file__).parent))

from drawn_answers import drawn, runs

values = st.lists(st.sampled_from(["a", "b", "c", None]), min_size=1, max_size=40)


def test_no_column_is_the_one_slice_of_all_rows():
    whole = partition(pl.DataFrame({"x": [1, 2, 3]}))
    assert whole.slices == (ALL_ROWS,) and whole.columns == () and whole.m == 1
    assert whole.codes.tolist() == [0, 0, 0]
    assert whole.sums(np.array([1, 2, 4])).tolist() == [7.0]
    assert whole.units(np.array([True, False, True])).tolist() == [2.0]


@pytest.mark.parametrize(
    ("column", "names"),
    [
        (pl.Series([True, False, None, True]), [False, True, None]),
        (pl.Series([10, 9, None, 10]), [9, 10, None]),
        (pl.Series([1.5, float("nan"), None, 1.5]), [1.5, None]),
        (pl.Series([0.0, -0.0, 1.0, 0.0]), [0.0, 1.0]),
        (pl.Series(["b", "a", "", None]), ["", "a", "b", None]),
        (pl.Series([None, None, None, None], dtype=pl.Null), [None]),
        (pl.Series(["y", "x", None, "y"], dtype=pl.Categorical), ["x", "y", None]),
        (pl.Series([2**63, 1, None, 1], dtype=pl.UInt64), [1, 2**63, None]),
        (
            pl.Series([datetime.date(2024, 1, d) for d in (2, 1, 1, 2)]),
            ["2024-01-01", "2024-01-02"],
        ),
    ],
)
def test_slices_are_sorted_by_value_with_the_missing_last(column, names):
    rows = partition(pl.DataFrame({"g": column}), ["g"])
    found = [dict(s.conditions)["g"] for s in rows.slices]
    assert found == names
    assert [type(v) for v in found] == [type(v) for v in names]
    for k, name in enumerate(names):
        same = [v is None or v != v for v in column] if name is None else None
        mask = same if same is not None else [str(v) == str(name) or v == name for v in column]
        assert (rows.codes == k).tolist() == mask
    assert all(Slice.parse(s.json) == s for s in rows.slices)


def test_a_column_of_integers_is_not_one_of_booleans():
    assert partition(pl.DataFrame({"g": [1, 0]}), ["g"]).slices[0].json == '{"g":0}'
    assert partition(pl.DataFrame({"g": [True, False]}), ["g"]).slices[0].json == '{"g":false}'


def test_crossings_hold_only_what_occurs():
    frame = pl.DataFrame({"a": ["x", "x", "y", None], "b": [1, 2, 2, 1]})
    rows = partition(frame, ["a", "b"])
    assert [dict(s.conditions) for s in rows.slices] == [
        {"a": "x", "b": 1}, {"a": "x", "b": 2}, {"a": "y", "b": 2}, {"a": None, "b": 1},
    ]  # fmt: skip
    assert rows.codes.tolist() == [0, 1, 2, 3]
    assert crossings(["a", "b", "c"], 2) == (
        ("a",),
        ("b",),
        ("c",),
        ("a", "b"),
        ("a", "c"),
        ("b", "c"),
    )
    assert crossings(["a"], 3) == (("a",),)
    assert crossings([], 2) == ()


def test_no_rows_make_no_slices():
    rows = partition(pl.DataFrame({"g": pl.Series([], dtype=pl.String), "u": []}), ["g"], unit="u")
    assert rows.m == 0 and rows.sums(np.zeros(0)).shape == (0,)
    assert rows.units(np.zeros(0, dtype=bool)).shape == (0,)


@settings(deadline=None, max_examples=60)
@given(values, st.randoms(use_true_random=False))
def test_slices_split_all_rows_and_sums_add_up(names, random):
    frame = pl.DataFrame({
        "g": pl.Series(names, dtype=pl.String),
        "u": [random.randint(0, 5) for _ in names],
        "x": [random.gauss(0, 1) for _ in names],
    })  # fmt: skip
    x = frame["x"].to_numpy()
    whole, rows = partition(frame, unit="u"), partition(frame, ["g"], unit="u")
    assert sorted(np.concatenate(rows.parts).tolist()) == list(range(len(names)))
    assert all((rows.codes[part] == k).all() for k, part in enumerate(rows.parts))
    assert rows.sums(x).sum() == pytest.approx(whole.sums(x)[0])
    sums, owners = rows.unit_sums(x)
    assert np.bincount(owners, sums, rows.m) == pytest.approx(rows.sums(x))
    for k, part in enumerate(rows.parts):
        assert rows.units(np.ones(len(x), bool))[k] == len(set(frame["u"][part].to_list()))
    assert rows.units(x > 0).tolist() == [
        len(set(frame["u"].to_numpy()[part][x[part] > 0])) for part in rows.parts
    ]
    crossed = partition(frame, ["g", "u"])
    assert crossed.m == sum(len(set(frame["u"][part].to_list())) for part in rows.parts)


@settings(deadline=None, max_examples=40)
@given(values, st.integers(0, 2**32 - 1))
def test_the_order_of_rows_is_of_no_account(names, seed):
    frame = pl.DataFrame({"g": pl.Series(names, dtype=pl.String), "u": names[::-1]})
    order = np.random.default_rng(seed).permutation(len(names))
    rows, moved = (partition(f, ["g"], unit="u") for f in (frame, frame[order]))
    assert moved.slices == rows.slices
    assert moved.codes.tolist() == rows.codes[order].tolist()
    assert moved.unit_codes.tolist() == rows.unit_codes[order].tolist()


def test_units_are_numbered_by_their_names():
    assert unit_codes(pl.Series(["b", "a", "b"])).tolist() == [1, 0, 1]
    assert unit_codes(pl.Series([7, -1, 7])).tolist() == [1, 0, 1]
    assert unit_codes(pl.Series([True, False])).tolist() == [1, 0]
    # Rows without a unit are one unit, not many.
    assert unit_codes(pl.Series(["b", None, "a", None])).tolist() == [1, 2, 0, 2]


def test_variance_from_unit_sums():
    parent, _ = drawn(1, n=200)
    rows = partition(parent.frame, ["group"], unit="unit")
    x = np.random.default_rng(2).normal(size=200)
    everyone = np.ones(200, bool)
    found = rows.variance(x, rows.units(everyone))
    names = parent.frame["unit"].to_numpy()
    for k, part in enumerate(rows.parts):
        sums = [x[part][names[part] == u].sum() for u in set(names[part])]
        assert found[k] == pytest.approx(len(sums) / (len(sums) - 1) * np.square(sums).sum())
    assert np.isnan(partition(parent.frame[:1], unit="unit").variance(x[:1], np.ones(1))).all()


@pytest.mark.parametrize("seed", range(3))
def test_midranks_within_slices_agree_with_scipy(seed):
    rng = np.random.default_rng(seed)
    codes, x = rng.integers(0, 5, 400), rng.integers(0, 30, 400) / 7
    rows = runs(codes, 6)  # the sixth has no rows
    order = rows.order(x)
    ranks = np.empty(400)
    ranks[order] = rows.midranks(order, x)
    chosen = order[(x > 1)[order]]
    some = np.full(400, np.nan)
    some[chosen] = rows.midranks(chosen, x)
    for k in range(5):
        own = codes == k
        np.testing.assert_array_equal(ranks[own], stats.rankdata(x[own]))
        np.testing.assert_array_equal(some[own & (x > 1)], stats.rankdata(x[own & (x > 1)]))
    assert rows.midranks(order[:0], x).size == 0


@pytest.mark.parametrize("size", [50, 10**9])
def test_compacting_is_unique_by_table_or_by_sort(size):
    keys = np.random.default_rng(0).integers(0, 50, 30)
    found, places = compacted(keys, size)
    expected, inverse = np.unique(keys, return_inverse=True)
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(places, inverse)
    assert compacted(keys[:0], size)[0].size == 0


def test_buckets_are_even_and_fixed():
    spread = np.bincount(hashed(np.arange(20_000), 200), minlength=200)
    assert spread.min() > 90 and spread.max() < 110
    assert hashed(np.arange(3), 200).tolist() == hashed(np.arange(5), 200)[:3].tolist()
