"""The count cube: against row-by-row counting, parts, replicates, equalised odds."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shipworthy.measure.counts import (
    BLOCK_ROWS,
    CountCube,
    count,
    encode_strings,
    equalized_odds_difference,
    multinomial_replicates,
)
from shipworthy.measure.intervals import CountError

rows_of_codes = st.lists(
    st.tuples(st.integers(0, 2), st.integers(0, 1), st.integers(0, 4)), max_size=60
)
LEVELS = {"group": ["a", "b", None], "label": 2, "bin": 5}


def cube_of(rows) -> CountCube:
    table = np.array(rows, dtype=np.int64).reshape(-1, 3)
    return count(dict(zip(LEVELS, table.T, strict=True)), LEVELS)


@settings(max_examples=60)
@given(rows=rows_of_codes, cut=st.integers(0, 60))
def test_cells_are_counts_and_parts_add_up(rows, cut):
    cube = cube_of(rows)
    for cell in np.ndindex(cube.counts.shape):
        assert cube.counts[cell] == sum(row == cell for row in rows)
    assert cube.total == len(rows)
    whole = cube_of(rows[:cut]) + cube_of(rows[cut:])
    assert whole.axes == cube.axes
    np.testing.assert_array_equal(whole.counts, cube.counts)
    assert cube.sum_over(["group", "bin"]).counts.tolist() == [
        sum(row[1] == y for row in rows) for y in (0, 1)
    ]
    taken = cube.take("group", None)
    np.testing.assert_array_equal(taken.counts, cube_of([r for r in rows if r[0] == 2]).counts[2])
    assert taken.axes == ("label", "bin")
    levels = [cube.take("group", value).counts for value in cube.levels[0]]
    np.testing.assert_array_equal(np.sum(levels, axis=0), cube.sum_over("group").counts)


@pytest.mark.parametrize("kind", [np.uint8, np.int8, np.int32, np.int64, np.uint64])
@pytest.mark.parametrize("sizes", [(3, 2), (16, 16), (127, 9), (1, 1)])
def test_blocks_and_code_types_count_alike(kind, sizes):
    rng = np.random.default_rng(1)
    n = 2 * BLOCK_ROWS + 17
    a, b = (rng.integers(0, size, n) for size in sizes)
    cube = count({"a": a.astype(kind), "b": b.astype(kind)}, {"a": sizes[0], "b": sizes[1]})
    expected = np.zeros(sizes, dtype=np.int64)
    np.add.at(expected, (a, b), 1)
    np.testing.assert_array_equal(cube.counts, expected)
    assert cube.counts.dtype == np.int64


def test_booleans_are_codes():
    assert count({"flip": np.array([True, False, True])}, {"flip": 2}).counts.tolist() == [1, 2]


def test_wrong_codes_name_axis_and_row():
    codes = np.zeros(BLOCK_ROWS + 9, dtype=np.int64)
    for bad in (2, -1):
        codes[BLOCK_ROWS + 3] = bad
        with pytest.raises(CountError, match=rf"'label': code {bad} in row {BLOCK_ROWS + 3}"):
            count({"label": codes}, {"label": 2})
    with pytest.raises(CountError, match="different numbers of rows"):
        count({"a": [0, 1], "b": [0]}, {"a": 2, "b": 2})
    with pytest.raises(CountError, match="do not match"):
        count({"a": [0]}, {"b": 1})
    with pytest.raises(CountError, match="integers"):
        count({"a": [0.5]}, {"a": 2})


def test_cubes_that_do_not_fit_are_refused():
    cube = cube_of([(0, 1, 2)])
    with pytest.raises(CountError, match="do not add up"):
        cube + cube.sum_over("bin")
    with pytest.raises(CountError, match="no axis 'colour'"):
        cube.sum_over("colour")
    with pytest.raises(CountError, match="no value 'z'"):
        cube.take("group", "z")
    with pytest.raises(CountError, match="do not fit"):
        CountCube(("a",), (("x", "y"),), np.zeros(3, dtype=np.int64))
    with pytest.raises(CountError, match="repeat"):
        CountCube(("a", "a"), ((0,), (0,)), np.zeros((1, 1), dtype=np.int64))


@settings(max_examples=40)
@given(st.lists(st.none() | st.sampled_from(["", "b", "a", "naïve", "中文"]), max_size=30))
def test_strings_come_back(values):
    for given_as in (pl.Series(values, dtype=pl.String), np.array(values, dtype=object)):
        codes, names = encode_strings(given_as)
        assert [names[code] for code in codes] == values
        known = [name for name in names if name is not None]
        assert known == sorted(set(values) - {None})
        assert names[len(known) :] in ((), (None,))


def test_many_strings_need_wider_codes():
    values = [f"source {i:04d}" for i in range(1000)] + [None]
    codes, names = encode_strings(pl.Series(values))
    assert len(names) == 1001
    assert codes.tolist() == list(range(1001))
    few, _ = encode_strings(pl.Series(["x", "y"]))
    assert few.dtype == np.uint8


def test_replicates_are_multinomial():
    counts = np.array([[0, 30], [50, 20]])
    replicates = multinomial_replicates(counts, 40_000, 3)
    assert replicates.shape == (40_000, 2, 2)
    assert (replicates.sum(axis=(1, 2)) == 100).all()
    assert (replicates[:, 0, 0] == 0).all()
    share = counts / 100
    np.testing.assert_allclose(replicates.mean(axis=0), counts, atol=0.2)
    np.testing.assert_allclose(replicates.var(axis=0), 100 * share * (1 - share), rtol=0.05)
    again = multinomial_replicates(counts, 40_000, 3)
    np.testing.assert_array_equal(replicates, again)
    assert not multinomial_replicates(np.zeros((2, 2), dtype=int), 5, 0).any()


def test_replicates_are_the_bootstrap_of_rows():
    rng = np.random.default_rng(4)
    codes = rng.integers(0, 6, 200)
    counts = count({"cell": codes}, {"cell": 6}).counts
    drawn = np.stack([np.bincount(codes[rng.integers(0, 200, 200)], minlength=6)
                      for _ in range(4_000)])  # fmt: skip
    ours = multinomial_replicates(counts, 4_000, rng)
    np.testing.assert_allclose(ours.mean(axis=0), drawn.mean(axis=0), atol=0.5)
    np.testing.assert_allclose(np.cov(ours.T), np.cov(drawn.T), atol=2.5)


def spread_by_rows(group, label, prediction):
    worst = 0.0
    for y in (0, 1):
        rates = [prediction[(group == g) & (label == y)].mean() for g in np.unique(group)]
        worst = max(worst, max(rates) - min(rates))
    return worst


@pytest.mark.parametrize("seed", range(3))
def test_equalized_odds_agree_with_rows(seed):
    rng = np.random.default_rng(seed)
    group, label = rng.integers(0, 5, 900), rng.integers(0, 2, 900)
    prediction = (rng.random(900) < 0.3 + 0.3 * label + 0.03 * group).astype(int)
    cube = count(
        {"group": group, "label": label, "prediction": prediction},
        {"group": 5, "label": 2, "prediction": 2},
    )
    expected = spread_by_rows(group, label, prediction)
    assert equalized_odds_difference(cube.counts) == pytest.approx(expected, abs=1e-12)


def test_equalized_odds_leave_empty_cells_out():
    table = np.array([[[8, 2], [1, 9]], [[9, 1], [4, 6]], [[5, 5], [0, 0]]])
    # The third group has no positive row: its true positive rate is "no data", not 0.
    assert equalized_odds_difference(table) == pytest.approx(0.4)
    assert np.isnan(equalized_odds_difference(table[1:]))
    assert np.isnan(equalized_odds_difference(table[:1]))
    stacked = equalized_odds_difference(np.stack([table, table[::-1]]))
    assert stacked.tolist() == pytest.approx([0.4, 0.4])
    with pytest.raises(CountError, match="groups, 2, 2"):
        equalized_odds_difference(np.zeros((3, 2)))
