"""One rate: published values, a second implementation, exact coverage, invariants."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from shipworthy.measure.intervals import (
    CountError,
    binomial_tail_above,
    binomial_tail_below,
    clopper_pearson,
    critical,
    korn_graubard_n,
    mover_mean,
    tail,
    wilson,
)

ALPHA = 0.025
RATES = (0.02, 0.05, 0.1, 0.3, 0.5, 0.7, 0.9, 0.95, 0.98)


# Newcombe 1998, Statistics in Medicine 17, 857-872, table I: methods 3 (score) and 5 (exact).
@pytest.mark.parametrize(
    ("x", "n", "score", "exact"),
    [
        (81, 263, (0.2553, 0.3662), (0.2527, 0.3676)),
        (15, 148, (0.0624, 0.1605), (0.0578, 0.1617)),
        (0, 20, (0.0000, 0.1611), (0.0000, 0.1684)),
        (1, 29, (0.0061, 0.1718), (0.0009, 0.1776)),
    ],
)
def test_published_intervals_of_one_rate(x, n, score, exact):
    for interval, expected in ((wilson(x, n), score), (clopper_pearson(x, n), exact)):
        assert (float(interval.low), float(interval.high)) == pytest.approx(expected, abs=5.1e-5)


def test_published_clopper_pearson_of_fagerland():
    # Fagerland, Lydersen & Laake 2017, Statistical Analysis of Contingency Tables, 13 of 16.
    interval = clopper_pearson(13, 16)
    assert (float(interval.low), float(interval.high)) == pytest.approx(
        (0.5435, 0.9595), abs=5.1e-5
    )


@pytest.mark.parametrize("confidence", [0.8, 0.95, 0.999])
def test_intervals_agree_with_scipy(confidence):
    for n in (1, 2, 7, 50, 611):
        xs = np.unique(np.linspace(0, n, 9).astype(int))
        for ours, method in ((wilson, "wilson"), (clopper_pearson, "exact")):
            interval = ours(xs, np.full(len(xs), n), confidence=confidence)
            for i, x in enumerate(xs):
                theirs = stats.binomtest(int(x), n).proportion_ci(confidence, method)
                assert interval.low[i] == pytest.approx(theirs.low, abs=1e-9)
                assert interval.high[i] == pytest.approx(theirs.high, abs=1e-9)


def test_exact_tails_agree_with_the_binomial_distribution():
    n = 37
    x = np.arange(n + 1)
    for p in (0.001, 0.3, 0.77, 0.9999):
        np.testing.assert_allclose(
            binomial_tail_above(x, n, p), stats.binom.sf(x - 1, n, p), rtol=1e-9, atol=1e-300
        )
        np.testing.assert_allclose(
            binomial_tail_below(x, n, p), stats.binom.cdf(x, n, p), rtol=1e-9, atol=1e-300
        )


def test_exact_tails_at_the_borders_of_the_rate():
    assert binomial_tail_above([0, 1, 5], 5, 0.0).tolist() == [1.0, 0.0, 0.0]
    assert binomial_tail_below([0, 4, 5], 5, 1.0).tolist() == [0.0, 0.0, 1.0]
    assert binomial_tail_above([0, 5], 5, -0.1).tolist() == [0.0, 0.0]
    assert binomial_tail_above([0, 5], 5, 1.1).tolist() == [1.0, 1.0]
    assert binomial_tail_below([0, 5], 5, 1.1).tolist() == [0.0, 0.0]


def test_ends_of_clopper_pearson_are_where_the_tails_reach_alpha():
    x, n = np.array([0.8, 3.7, 9.2, 11.2]), np.array([5.0, 12.3, 9.9, 12.0])
    interval = clopper_pearson(x, n)
    np.testing.assert_allclose(binomial_tail_above(x, n, interval.low), ALPHA, rtol=1e-8)
    np.testing.assert_allclose(binomial_tail_below(x, n, interval.high), ALPHA, rtol=1e-8)


def test_tail_and_critical_follow_student_and_the_normal():
    z, df = np.array([-1.0, 0.5, 2.0, 3.5]), np.array([1.0, 4.0, 59.0, 1e6])
    np.testing.assert_allclose(tail(z, df), stats.t.sf(z, df), rtol=1e-9)
    np.testing.assert_allclose(critical(0.95, df), stats.t.isf(ALPHA, df), rtol=1e-8)
    for none in (None, np.nan, np.inf):
        np.testing.assert_allclose(tail(z, none), stats.norm.sf(z), rtol=1e-12)
        assert float(critical(0.95, none)) == pytest.approx(1.959963984540054, abs=1e-12)
    mixed = tail(np.full(3, 2.0), np.array([np.nan, 0.0, 9.0]))
    assert mixed.tolist() == pytest.approx([stats.norm.sf(2), 1.0, stats.t.sf(2, 9)])


def test_one_unit_decides_nothing():
    assert tail(50.0, 0.0) == 1.0
    assert critical(0.95, 0.0) == np.inf
    whole = wilson(30, 40, df=0.0)
    assert (float(whole.low), float(whole.high)) == (0.0, 1.0)
    assert korn_graubard_n(40, 1, 1.0) == 0.0


def test_korn_graubard_follows_its_formula_and_never_adds_rows():
    # Korn & Graubard 1998: n* = n / deff * (t(n - 1) / t(units - 1))².
    expected = 300 / 1.8 * (stats.t.isf(ALPHA, 299) / stats.t.isf(ALPHA, 29)) ** 2
    assert korn_graubard_n(300, 30, 1.8) == pytest.approx(expected, rel=1e-8)
    assert korn_graubard_n(300, 300, 1.0) == 300
    assert korn_graubard_n(300, 300, 0.5) == 300
    assert korn_graubard_n(1, 1, 1.0) == 1
    few = korn_graubard_n(300, [5, 20, 100, 300], 1.0)
    assert np.all(np.diff(few) > 0)


def test_no_data_is_nan_and_never_a_rate():
    for interval in (wilson([0, 1], [0, 2]), clopper_pearson([0, 1], [0, 2])):
        assert np.isnan([interval.low[0], interval.high[0]]).all()
        assert np.isfinite([interval.low[1], interval.high[1]]).all()
    assert np.isnan(binomial_tail_above(0, 0, 0.5))
    assert np.isnan(binomial_tail_below(0, 0, 0.5))


@pytest.mark.parametrize(("x", "n"), [([1, 5], [2, 4]), ([-1], [3]), ([0], [-1])])
def test_impossible_counts_are_refused(x, n):
    with pytest.raises(CountError, match="cannot be counts"):
        wilson(x, n)


@pytest.mark.parametrize("confidence", [0.0, 1.0, 95])
def test_confidence_is_a_share(confidence):
    with pytest.raises(ValueError, match="confidence"):
        clopper_pearson(1, 2, confidence=confidence)


@given(
    trials=st.floats(0.5, 1e5),
    share=st.floats(0, 1),
    confidence=st.floats(0.5, 0.999),
    wider=st.floats(0.0001, 0.0009),
)
def test_intervals_hold_the_estimate_and_grow_with_confidence(trials, share, confidence, wider):
    x = trials * share
    for interval in (wilson, clopper_pearson):
        narrow = interval(x, trials, confidence=confidence)
        wide = interval(x, trials, confidence=confidence + wider)
        assert 0 <= narrow.low <= x / trials + 1e-12
        assert x / trials - 1e-12 <= narrow.high <= 1
        assert wide.low <= narrow.low + 1e-12
        assert narrow.high <= wide.high + 1e-12
        mirrored = interval(trials - x, trials, confidence=confidence)
        assert float(mirrored.low) == pytest.approx(1 - float(narrow.high), abs=1e-9)


def test_mover_mean_adds_distances_in_quadrature():
    one, two = wilson(18, 20), wilson(33, 60)
    interval = mover_mean([one.low, two.low], [0.9, 0.55], [one.high, two.high])
    mean = (0.9 + 0.55) / 2
    assert float(interval.low) == pytest.approx(
        mean - np.sqrt((0.9 - one.low) ** 2 + (0.55 - two.low) ** 2) / 2, abs=1e-12
    )
    assert float(interval.high) == pytest.approx(
        mean + np.sqrt((one.high - 0.9) ** 2 + (two.high - 0.55) ** 2) / 2, abs=1e-12
    )
    alone = mover_mean([one.low], [0.9], [one.high])
    assert float(alone.low) == pytest.approx(float(one.low), abs=1e-12)


def test_mover_mean_covers():
    rng = np.random.default_rng(5)
    rates, sizes = (0.9, 0.7, 0.4), (60, 40, 90)
    x = np.stack([rng.binomial(n, p, 20_000) for n, p in zip(sizes, rates, strict=True)])
    n = np.array(sizes)[:, None]
    ends = wilson(x, n)
    interval = mover_mean(ends.low, x / n, ends.high)
    covered = np.mean((interval.low <= np.mean(rates)) & (np.mean(rates) <= interval.high))
    assert 0.94 <= covered <= 0.96


def coverage_of_one_rate(n: int) -> None:
    """Exact, by enumeration of all x: intervals by a band of ±15 %, verdicts at every rate."""
    x = np.arange(n + 1)
    score, exact = wilson(x, n), clopper_pearson(x, n)
    for p in RATES:
        near = np.clip(np.linspace(0.85 * p, 1.15 * p, 25), 0, 0.999) if p <= 0.5 else None
        band = near if near is not None else 1 - np.linspace(0.85, 1.15, 25) * (1 - p)
        mass = stats.binom.pmf(x[None, :], n, band[:, None])
        inside = (score.low <= band[:, None]) & (band[:, None] <= score.high)
        mean = (mass * inside).sum(axis=1).mean()
        assert mean >= 0.93, (n, p, mean)
        if n * min(p, 1 - p) >= 5:
            assert mean <= 0.97, (n, p, mean)
        inside = (exact.low <= band[:, None]) & (band[:, None] <= exact.high)
        assert (mass * inside).sum(axis=1).min() >= 0.95 - 1e-9
        weight = stats.binom.pmf(x, n, p)
        false_pass = weight[binomial_tail_above(x, n, p) <= ALPHA].sum()
        false_fail = weight[binomial_tail_below(x, n, p) <= ALPHA].sum()
        assert false_pass <= ALPHA + 1e-9, (n, p)
        assert false_fail <= ALPHA + 1e-9, (n, p)


@pytest.mark.parametrize("n", [20, 50, 100, 300, 1000])
def test_coverage_of_one_rate(n):
    coverage_of_one_rate(n)


@pytest.mark.slow
@pytest.mark.parametrize("n", [5_000, 20_000])
def test_coverage_of_one_rate_in_large_samples(n):
    coverage_of_one_rate(n)


def test_wilson_ends_would_not_do_for_a_decision():
    # Why verdicts use exact tails: one side of Wilson's interval misses .060 at n = 20.
    n = 20
    x = np.arange(n + 1)
    low = wilson(x, n).low
    missed = max(stats.binom.pmf(x, n, p)[low > p].sum() for p in np.linspace(0.005, 0.3, 60))
    assert missed > 0.05
