"""Groups against the rest and against a declared population: reference values and error rates."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from shipworthy.core.records import Outcome
from shipworthy.measure.contrasts import against_rest, representation
from shipworthy.measure.slices import Partition, partition
from shipworthy.measure.two_groups import miettinen_nurminen


def rows_of(counts: dict[str | None, int], units: int | None = None) -> Partition:
    values = [name for name, n in counts.items() for _ in range(n)]
    frame = pl.DataFrame({"g": pl.Series(values, dtype=pl.String)})
    if units is None:
        return partition(frame, ["g"])
    frame = frame.with_columns((pl.int_range(pl.len()) // units).alias("u"))
    return partition(frame, ["g"], unit="u")


def test_two_groups_are_what_miettinen_and_nurminen_say() -> None:
    rows = rows_of({"a": 100, "b": 200})
    success = np.concatenate([np.arange(100) < 40, np.arange(200) < 50])
    found = against_rest(rows, np.ones(300, dtype=bool), success, margin=0.05)
    ends = miettinen_nurminen([40], [100], [50], [200])
    a, b = found
    assert (a.share, a.rest, a.rows) == (0.4, 0.25, 100)
    assert (a.low, a.high) == pytest.approx((ends.low[0], ends.high[0]))
    assert (b.difference, b.low, b.high) == pytest.approx((-a.difference, -a.high, -a.low))
    assert a.answer is b.answer
    assert a.p == b.p


def test_groups_that_differ_by_more_fail_and_equal_ones_pass() -> None:
    rows = rows_of({"a": 2000, "b": 2000, "c": 2000})
    success = np.concatenate([np.arange(2000) < k for k in (400, 1000, 700)])
    found = against_rest(rows, np.ones(6000, dtype=bool), success, margin=0.05)
    assert [c.answer for c in found] == [Outcome.FAIL, Outcome.FAIL, Outcome.PASS]
    assert [c.reason for c in found] == ["", "", ""]


def test_one_group_has_no_rest() -> None:
    rows = rows_of({"a": 50})
    everyone = np.ones(50, dtype=bool)
    assert against_rest(rows, everyone, everyone, margin=0.05) == ()


def test_small_groups_cannot_be_told() -> None:
    rows = rows_of({"a": 5, "b": 500})
    success = np.concatenate([np.ones(5), np.zeros(500)]).astype(bool)
    a, _ = against_rest(rows, np.ones(505, dtype=bool), success, margin=0.05)
    assert (a.answer, a.reason) == (Outcome.CANNOT_TELL, "too_few_rows")


def test_rows_of_one_person_count_less() -> None:
    counts: dict[str | None, int] = {"a": 1000, "b": 1000}
    success = (np.arange(2000) // 10) % 3 == 0
    everyone = np.ones(2000, dtype=bool)
    alone = against_rest(rows_of(counts), everyone, success, margin=0.05)[0]
    units = against_rest(rows_of(counts, units=10), everyone, success, margin=0.05)[0]
    assert units.high - units.low > 2 * (alone.high - alone.low)
    assert units.difference == alone.difference


@given(st.lists(st.integers(1, 40), min_size=2, max_size=6), st.integers(0, 2**32 - 1))
def test_contrasts_keep_what_shares_are(sizes: list[int], seed: int) -> None:
    rows = rows_of({str(k): n for k, n in enumerate(sizes)})
    n = sum(sizes)
    success = np.random.default_rng(seed).random(n) < 0.5
    found = against_rest(rows, np.ones(n, dtype=bool), success, margin=0.1)
    assert sum(c.rows for c in found) == n
    for c in found:
        assert c.low - 1e-9 <= c.difference <= c.high + 1e-9
        # A weighted mean of a group and its rest is the share of all.
        whole = c.share * c.rows + c.rest * (n - c.rows)
        assert whole == pytest.approx(success.sum())
        if c.answer is Outcome.PASS:
            assert abs(c.difference) < 0.1
        if c.answer is Outcome.FAIL:
            assert abs(c.difference) > 0.1


def test_false_answers_stay_within_their_level() -> None:
    """One of four groups on the margin: passing it, or failing any, is an error; 400 files each."""
    generator = np.random.default_rng(8)
    runs, size, passed, failed = 400, 400, 0, 0
    rows = rows_of({str(k): size for k in range(4)})
    everyone = np.ones(4 * size, dtype=bool)
    truth = np.repeat([0.3, 0.35, 0.35, 0.35], size)
    # The first differs from its rest by exactly 5 points, the others by less.
    for _ in range(runs):
        found = against_rest(rows, everyone, generator.random(4 * size) < truth, margin=0.05)
        passed += found[0].answer is Outcome.PASS
        failed += any(c.answer is Outcome.FAIL for c in found)
    allowed = int(stats.binom.isf(1e-4, runs, 0.025))
    assert passed <= allowed, (passed, allowed)
    assert failed <= allowed, (failed, allowed)


# -- against a population --------------------------------------------------------------------------


def test_mendels_peas() -> None:
    """315, 101, 108, 32 against 9:3:3:1: chi-square 0.470, p 0.925 (Mendel 1865, Fisher 1936)."""
    rows = rows_of({"round yellow": 315, "wrinkled yellow": 101, "round green": 108, "other": 32})
    declared = {"round yellow": 9, "wrinkled yellow": 3, "round green": 3, "other": 1}
    found = representation(rows, {k: v / 16 for k, v in declared.items()}, margin=0.05)
    assert found.method == "chi_square"
    assert found.p == pytest.approx(0.925, abs=0.001)
    assert found.least_expected == 34.75
    assert {g.group: g.answer for g in found.groups}["other"] is Outcome.PASS


def test_each_group_has_its_exact_binomial() -> None:
    rows = rows_of({"a": 30, "b": 70})
    found = representation(rows, {"a": 0.5, "b": 0.5}, margin=0.05)
    tail = stats.binom.cdf(30, 100, 0.5)
    # Two groups, Holm: the smallest p twice.
    assert found.groups[0].p == pytest.approx(min(2 * 2 * tail, 1.0))
    assert {g.answer for g in found.groups} == {Outcome.FAIL}


def test_small_tables_are_drawn() -> None:
    """Against all 15 tables of 4 rows in 3 groups, each with its multinomial probability."""
    declared = np.array([0.5, 0.3, 0.2])
    rows = rows_of({"a": 0, "b": 1, "c": 3})
    found = representation(rows, dict(zip("abc", declared, strict=True)), margin=0.05)

    def statistic(counts: tuple[int, int, int]) -> float:
        return float(((np.array(counts) - 4 * declared) ** 2 / (4 * declared)).sum())

    tables = [(i, j, 4 - i - j) for i in range(5) for j in range(5 - i)]
    seen = statistic((0, 1, 3))
    exact = sum(
        stats.multinomial.pmf(t, 4, declared) for t in tables if statistic(t) >= seen - 1e-9
    )
    assert found.method == "drawn_counts"
    assert found.p == pytest.approx(exact, abs=0.006)


def test_what_a_population_does_not_know_is_counted_apart() -> None:
    rows = rows_of({"a": 40, "b": 40, "x": 7, None: 3})
    found = representation(rows, {"a": 0.4, "b": 0.4, "gone": 0.2}, margin=0.05)
    assert (found.undeclared, found.missing) == (7, 3)
    shares = {g.group: (g.rows, g.declared) for g in found.groups}
    assert shares == {"a": (40, 0.4), "b": (40, 0.4), "gone": (0, 0.2)}
    assert next(g for g in found.groups if g.group == "gone").answer is Outcome.FAIL


def test_a_value_that_cannot_be_has_no_chance() -> None:
    rows = rows_of({"a": 99, "b": 1})
    assert representation(rows, {"a": 1.0, "b": 0.0}, margin=0.05).p == 0.0


def test_without_a_population_groups_are_only_counted() -> None:
    found = representation(rows_of({"a": 40, "b": 60}), margin=0.05)
    assert [g.rows for g in found.groups] == [40, 60]
    assert np.isnan(found.p)
    assert {g.answer for g in found.groups} == {None}
