"""Counting a table in parts: codes, counts that grow, bins and buckets of what is too long."""

import sys
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shipworthy.core.errors import DataError
from shipworthy.measure import tally, tally_counter
from shipworthy.measure.shown import assess
from shipworthy.measure.tally import Roles, Tally
from shipworthy.measure.tally_columns import Levels
from shipworthy.measure.tally_counter import Counter

sys.path.insert(0, str(Path(__file__).parent))

from audit_tables import drawn_table, tallied

CODES = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 3)), min_size=1, max_size=60)


@pytest.mark.parametrize("most", [1, 8, 1 << 22])
@given(st.lists(CODES, min_size=1, max_size=5))
@settings(max_examples=30, deadline=None)
def test_counts_are_those_of_a_dictionary(most, parts):
    """Dense, sparse, and from the one to the other while levels turn up."""
    counter, expected, sizes = Counter(2, 1), {}, [1, 1]
    before, tally_counter.MOST_DENSE = tally_counter.MOST_DENSE, most
    try:
        for part in parts:
            a, b = (np.array(c, dtype=np.int32) for c in zip(*part, strict=True))
            sizes = [max(sizes[0], int(a.max()) + 1), max(sizes[1], int(b.max()) + 1)]
            counter.add([a, b], sizes, [a + 0.5])
            for one in part:
                n, total = expected.get(one, (0, 0.0))
                expected[one] = (n + 1, total + one[0] + 0.5)
    finally:
        tally_counter.MOST_DENSE = before
    (first, second), sums = counter.cells()
    found = {(int(x), int(y)): (n, s) for x, y, n, s in zip(first, second, *sums, strict=True)}
    assert found == expected


@pytest.mark.parametrize(
    "values",
    [
        pa.array([1, 0, 1, 7], pa.int8()), pa.array([1.0, 0.0, 1.0, 7.0]),
        pa.array(["1", "0.0", " 1 ", "7"]), pa.array(["1", "0", "1", "7"]).dictionary_encode(),
        pa.array([10**12 + 1 - 10**12, 0, 1, 7]), pl.Series(["1", "0", "1", "7"]).to_arrow(),
    ],
)  # fmt: skip
def test_one_value_has_one_name_however_it_is_written(values):
    levels = Levels("g", "t", most=10)
    codes = levels.codes(pa.chunked_array([values]))
    names, order = levels.ordered()
    assert [names[k] for k in order[codes]] == ["1", "0", "1", "7"]
    assert names == ("0", "1", "7")


def test_what_is_missing_is_a_group_of_its_own_and_the_last():
    levels = Levels("g", "t", most=10)
    codes = levels.codes(pa.chunked_array([pa.array(["b", None, "", "a"])]))
    names, order = levels.ordered()
    assert [names[k] for k in order[codes]] == ["b", None, None, "a"]
    assert names == ("a", "b", None)


def test_too_many_values_end_early_unless_some_are_chosen():
    values = pa.chunked_array([pa.array([f"v{k}" for k in range(300)])])
    with pytest.raises(DataError, match="300 values, and at most 200 .* --top 50"):
        Levels("g", "t", most=200).codes(values)
    kept = Levels("g", "t", most=1000, kept={"v7", "v9"})
    codes = kept.codes(values)
    names, order = kept.ordered()
    assert names == ("v7", "v9") and (order[codes] == -1).sum() == 298


def test_long_tables_go_into_bins_and_shares_stay_exact(monkeypatch):
    frame = drawn_table(1, n=4000)
    exact = tallied(frame, score="s", unit="u")
    monkeypatch.setattr(tally, "EXACT_ROWS", 1000)
    binned = tallied(frame, parts=5, score="s", unit="u")
    assert exact.counted.exact and not binned.counted.exact
    for measure in exact.measures:
        a, b = (assess(t.estimate(measure, ("g",))) for t in (exact, binned))
        scored = measure in ("auc", "log_loss", "brier_score") or measure.startswith("cal")
        loose = 0.02 if scored else 1e-12
        if measure == "expected_calibration_error":
            np.testing.assert_allclose(a.value, b.value, atol=0.005)
            continue
        np.testing.assert_allclose(a.value, b.value, rtol=loose, atol=loose / 10, err_msg=measure)
        np.testing.assert_allclose(a.high - a.low, b.high - b.low, rtol=0.25, err_msg=measure)


def test_binned_tables_do_not_depend_on_their_parts(monkeypatch):
    frame = drawn_table(2, n=3000)
    monkeypatch.setattr(tally, "EXACT_ROWS", 500)
    one, other = (tallied(frame, parts=k, score="s", unit="u", weight="w") for k in (1, 6))
    for measure in one.measures:
        a, b = (assess(t.estimate(measure, ("g", "h"))) for t in (one, other))
        np.testing.assert_allclose(a.value, b.value, rtol=1e-9, err_msg=measure)
        np.testing.assert_allclose(a.high, b.high, rtol=1e-7, err_msg=measure)


@pytest.mark.parametrize(
    ("column", "values", "said"),
    [
        ("s", [0.1, 1.2, 0.3], r"row 2, column 's': 1\.2 is no probability"),
        ("s", [0.1, None, 0.3], "row 2, column 's': a missing value is no probability"),
        ("w", [1.0, 1.0, -2.0], "row 3, column 'w': -2 is no weight"),
        ("w", [1.0, float("inf"), 1.0], "row 2, column 'w': inf is no weight"),
        ("w", [0.0, 0.0, 0.0], "all weights are 0"),
        ("y", ["1", None, "0"], "row 2, column 'y': the label is missing"),
        ("u", ["1", "2", None], "row 3, column 'u': the unit is missing"),
    ],
)
def test_a_wrong_value_is_named_by_its_row(column, values, said):
    frame = pl.DataFrame({
        "g": ["a", "b", "a"], "y": ["1", "0", "1"], "p": ["1", "1", "0"], "s": [0.2, 0.3, 0.4],
        "w": [1.0, 2.0, 1.0], "u": ["1", "2", "3"],
    }).with_columns(pl.Series(column, values, strict=False))  # fmt: skip
    with pytest.raises(DataError, match=said):
        tallied(frame, score="s", weight="w", unit="u")


def test_rows_are_counted_over_all_parts_in_errors():
    one = Tally(Roles(("g",), "y", "p", "s"), "t.parquet")
    good = pl.DataFrame({"g": ["a"], "y": [1], "p": [1], "s": [0.5]})
    one.add(good.to_arrow())
    with pytest.raises(DataError, match=r"t\.parquet, row 2, column 's'"):
        one.add(good.with_columns(s=2.0).to_arrow())


def test_rows_of_weight_zero_are_no_rows():
    frame = drawn_table(3, n=200)
    none = pl.when(pl.int_range(pl.len()) % 4 == 0).then(0.0).otherwise("w")
    found = tallied(frame.with_columns(w=none), weight="w")
    assert found.counted.rows == 150
    assert found.counted.cells.n.sum() == 150
