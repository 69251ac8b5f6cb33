"""Paired change: published values, numeric likelihood, mirrors, errors of verdicts."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, special, stats

from shipworthy.measure.intervals import CountError, critical, tail
from shipworthy.measure.paired import (
    bonett_price,
    bonett_price_z,
    mcnemar_exact,
    tango,
    tango_z,
)

ALPHA = 0.025
# Allowed .029 a side, read with the 1e-4 quantile of 60,000 draws; the errors below are exact.
ALLOWED = float(stats.binom.isf(1e-4, 60_000, 0.029)) / 60_000


# gained, lost, n, confidence, low, high, digits: tables as their sources print them.
@pytest.mark.parametrize(
    ("gained", "lost", "n", "confidence", "ends", "half_digit"),
    [
        # Tango 1998, Statistics in Medicine 17, 891-908: 9 and 3 of 32, and 0 and 1 of 44 at 90 %.
        (9, 3, 32, 0.95, (-0.027, 0.390), 5.1e-4),
        (0, 1, 44, 0.90, (-0.096, 0.037), 5.1e-4),
        # Agresti & Min 2005, Statistics in Medicine 24, 729-740: 16 and 8 of 86.
        (16, 8, 86, 0.95, (-0.020, 0.207), 5.1e-4),
        # Fagerland, Lydersen & Laake 2014, Statistics in Medicine 33, 2850-2875: 1 and 7 of 21.
        (1, 7, 21, 0.95, (-0.517, -0.026), 5.1e-4),
        # The same authors' book of 2017, chapter 8 (Cavo et al. 2012): 6 and 16 of 161.
        (6, 16, 161, 0.95, (-0.1240, -0.0054), 5.1e-5),
    ],
)
def test_published_tango_intervals(gained, lost, n, confidence, ends, half_digit):
    interval = tango(lost, gained, n, confidence=confidence)
    assert (float(interval.low), float(interval.high)) == pytest.approx(ends, abs=half_digit)


def test_published_bonett_price_and_mcnemar():
    # Fagerland, Lydersen & Laake 2017, chapter 8, Cavo et al. 2012.
    interval = bonett_price(16, 6, 161)
    assert (float(interval.low), float(interval.high)) == pytest.approx(
        (-0.1195, -0.0032), abs=5.1e-5
    )
    assert float(mcnemar_exact(16, 6)) == pytest.approx(0.052479, abs=5.1e-7)
    assert float(tango_z(16, 6, 161, 0.0)) == pytest.approx(-2.132, abs=5.1e-4)


def numeric_z(lost: float, gained: float, n: float, delta: float) -> float:
    """Score statistic with the restricted maximum found by a search over the likelihood."""
    low, high = max(0.0, -delta), min(1.0, (1 - delta) / 2)

    def deviance(q: float) -> float:
        rest = max(1 - 2 * q - delta, 0.0)
        return -float(
            special.xlogy(gained, max(q + delta, 0.0))
            + special.xlogy(lost, q)
            + special.xlogy(n - lost - gained, rest)
        )

    q = optimize.minimize_scalar(
        deviance, bounds=(low, high), method="bounded", options={"xatol": 1e-13}
    ).x
    return (gained - lost - n * delta) / np.sqrt(n * (2 * q + delta - delta**2))


@pytest.mark.parametrize("delta", [-0.31, -0.02, 0.0, 0.005, 0.2])
def test_closed_form_agrees_with_the_numeric_likelihood(delta):
    for lost, gained, n in ((3, 9, 32), (1, 1, 10), (40, 22, 632), (7.3, 2.9, 81.4), (5, 60, 90)):
        ours = float(tango_z(lost, gained, n, delta))
        assert ours == pytest.approx(numeric_z(lost, gained, n, delta), abs=1e-6)


def test_ends_are_where_the_test_reaches_alpha():
    lost, gained, n = np.array([0, 3, 40.5, 20]), np.array([0, 9, 12.1, 0]), [7, 32, 301.7, 20]
    for df, p in ((None, lambda z: tail(z)), (11.0, lambda z: tail(z, 11.0))):
        interval = tango(lost, gained, n, df=df)
        np.testing.assert_allclose(p(tango_z(lost, gained, n, interval.low))[:3], ALPHA, rtol=1e-6)
        np.testing.assert_allclose(p(-tango_z(lost, gained, n, interval.high)), ALPHA, rtol=1e-6)


def test_extreme_counts_have_finite_ends():
    lost = np.array([0, 0, 20, 0, 1, 0, 1])
    gained = np.array([0, 20, 0, 1, 0, 0, 1])
    n = np.array([20, 20, 20, 1, 1, 1, 2])
    for interval in (tango(lost, gained, n), bonett_price(lost, gained, n)):
        assert np.all(np.isfinite(interval.low) & np.isfinite(interval.high))
        assert np.all((interval.low >= -1) & (interval.low < interval.high) & (interval.high <= 1))
    z2 = float(critical()) ** 2
    still = tango(0, 0, 20)
    assert float(still.high) == pytest.approx(z2 / (20 + z2), abs=1e-12)
    assert tango(0, 20, 20).high == 1.0
    assert tango(20, 0, 20).low == -1.0


def test_no_flips_pass_from_the_known_number_of_rows():
    for margin, rows in ((0.005, 765), (0.01, 381), (0.02, 189), (0.03, 125)):
        assert tail(tango_z(0, 0, rows, -margin)) <= ALPHA
        assert tail(tango_z(0, 0, rows - 1, -margin)) > ALPHA


def test_zero_over_zero_says_nothing_and_impossible_changes_are_refuted():
    assert tango_z(0, 0, 50, 0.0) == 0
    assert tango_z(0, 50, 50, 1.0) == 0
    assert tango_z(3, 2, 50, 1.0) == -np.inf
    for z in (tango_z, bonett_price_z):
        assert z(3, 2, 50, 1.2) == -np.inf
        assert z(3, 2, 50, -1.2) == np.inf
        assert np.isnan(z(0, 0, 0, 0.1))
    assert np.isnan(tango(0, 0, 0).low)
    assert np.isnan(bonett_price(0, 0, 0).high)


def test_impossible_flips_are_refused():
    with pytest.raises(CountError):
        tango_z(3, 4, 6, 0.0)
    with pytest.raises(CountError):
        bonett_price(-1, 4, 6)


flips = st.tuples(st.floats(0, 500), st.floats(0, 500), st.floats(0, 2000)).map(
    lambda t: (t[0], t[1], max(t[0] + t[1] + t[2], 1.0))
)


@settings(max_examples=50)
@given(counts=flips, delta=st.floats(-1, 1))
def test_swapping_parent_and_candidate_mirrors_exactly(counts, delta):
    lost, gained, n = counts
    for z in (tango_z, bonett_price_z):
        assert float(z(lost, gained, n, delta)) == -float(z(gained, lost, n, -delta))
    for interval in (tango, bonett_price):
        one, other = interval(lost, gained, n), interval(gained, lost, n)
        assert (float(one.low), float(one.high)) == (-float(other.high), -float(other.low))


@settings(max_examples=50)
@given(counts=flips, confidence=st.floats(0.5, 0.99), df=st.integers(2, 400))
def test_intervals_hold_the_change_and_grow(counts, confidence, df):
    lost, gained, n = counts
    change = (gained - lost) / n
    narrow = tango(lost, gained, n, confidence=confidence)
    assert -1 <= narrow.low <= change + 1e-9
    assert change - 1e-9 <= narrow.high <= 1
    for wide in (
        tango(lost, gained, n, confidence=confidence + 0.005),
        tango(lost, gained, n, confidence=confidence, df=df),
    ):
        assert wide.low <= narrow.low + 1e-9
        assert narrow.high <= wide.high + 1e-9


def test_flat_in_the_direction_of_delta():
    deltas = np.linspace(-1, 1, 2001)
    for lost, gained, n in ((0, 0, 9), (3, 9, 32), (1, 0, 1), (0.2, 0.7, 3.3), (50, 3, 60)):
        z = tango_z(lost, gained, n, deltas)
        assert np.all(np.diff(z[1:-1]) < 1e-12)


def table(n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    lost, gained = (a.ravel() for a in np.indices((n + 1, n + 1)).astype(float))
    keep = lost + gained <= n
    lost, gained = lost[keep], gained[keep]
    rest = n - lost - gained
    log_ways = special.gammaln(n + 1) - sum(special.gammaln(a + 1) for a in (lost, gained, rest))
    return lost, gained, log_ways


def mass(n, lost, gained, log_ways, p_lost, p_gained):
    return np.exp(
        log_ways
        + special.xlogy(lost, p_lost)
        + special.xlogy(gained, p_gained)
        + special.xlogy(n - lost - gained, 1 - p_lost - p_gained)
    )


@pytest.mark.parametrize("n", [20, 50, 100, 300])
def test_one_sided_errors_of_verdicts_exactly(n):
    lost, gained, ways = table(n)
    for margin in (0.0, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1):
        z = tango_z(lost, gained, n, -margin)
        passes = tail(z) <= ALPHA
        fails = np.maximum(tail(-z), tail(-bonett_price_z(lost, gained, n, -margin))) <= ALPHA
        for up in (0.0, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2):
            weight = mass(n, lost, gained, ways, up + margin, up)
            assert weight[passes].sum() <= ALLOWED, ("false pass", n, margin, up)
            assert weight[fails].sum() <= ALPHA, ("false fail", n, margin, up)


@pytest.mark.slow
@pytest.mark.parametrize("n", [1000, 5000, 20_000])
def test_one_sided_errors_of_verdicts_drawn(n):
    rng = np.random.default_rng(n)
    for margin in (0.0, 0.005, 0.01, 0.02, 0.03):
        for up in (0.001, 0.005, 0.02, 0.05, 0.2):
            drawn = rng.multinomial(n, [up + margin, up, 1 - 2 * up - margin], size=60_000)
            lost, gained = drawn[:, 0], drawn[:, 1]
            z = tango_z(lost, gained, n, -margin)
            assert np.mean(tail(z) <= ALPHA) <= ALLOWED, (n, margin, up)
            guarded = np.maximum(tail(-z), tail(-bonett_price_z(lost, gained, n, -margin)))
            assert np.mean(guarded <= ALPHA) <= ALLOWED, (n, margin, up)


def test_methods_that_the_gate_refuses_would_let_harm_through():
    # 300 rows, 2 % lost and none gained, margin 2 points: Bonett–Price passes 6 %, Wald far more.
    n, margin = 300, 0.02
    lost, gained, ways = table(n)
    weight = mass(n, lost, gained, ways, 0.02, 0.0)
    assert weight[tail(tango_z(lost, gained, n, -margin)) <= ALPHA].sum() <= 0.026
    assert weight[tail(bonett_price_z(lost, gained, n, -margin)) <= ALPHA].sum() > 0.055
    change = (gained - lost) / n
    error = np.sqrt(np.maximum((gained + lost) / n - change**2, 1e-12) / n)
    assert weight[tail((change + margin) / error) <= ALPHA].sum() > 0.05
    # Tango alone would hold good candidates too often where few rows flip.
    lost, gained, ways = table(100)
    weight = mass(100, lost, gained, ways, 0.03, 0.0)
    assert weight[tail(-tango_z(lost, gained, 100, -0.03)) <= ALPHA].sum() > 0.03


# Coverage of Tango's interval at 95 %, exact: the table of the gate's statistics.
@pytest.mark.parametrize(
    ("n", "few", "more"),
    [(30, 0.9985, 0.9758), (60, 0.9906, 0.9561), (100, 0.9520, 0.9501), (300, 0.9484, 0.9500)],
)
def test_coverage_of_tango(n, few, more):
    lost, gained, ways = table(n)
    for up, down, expected in ((0.03, 0.01, few), (0.08, 0.04, more)):
        covers = []
        for factor in np.linspace(0.85, 1.15, 25):
            weight = mass(n, lost, gained, ways, down * factor, up * factor)
            inside = np.abs(tango_z(lost, gained, n, (up - down) * factor)) <= critical()
            covers.append(weight[inside].sum())
        assert covers[12] == pytest.approx(expected, abs=1e-4)
        assert np.mean(covers) >= 0.93
        if n * (up + down) >= 5:
            assert np.mean(covers) <= 0.97
