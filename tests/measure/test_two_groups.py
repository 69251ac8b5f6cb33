"""Two groups: published values, numeric likelihood, mirrors, errors of verdicts."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, special, stats

from shipworthy.measure.intervals import CountError, critical, tail
from shipworthy.measure.two_groups import (
    adjusted_wald_ratio_z,
    agresti_caffo,
    agresti_caffo_z,
    koopman,
    koopman_z,
    miettinen_nurminen,
    miettinen_nurminen_z,
    newcombe,
)

ALPHA = 0.025
# Allowed .029 a side, read with the 1e-4 quantile of 60,000 draws; the errors below are exact.
ALLOWED = float(stats.binom.isf(1e-4, 60_000, 0.029)) / 60_000
DIGITS = 5.1e-5


def ends(interval) -> tuple[float, float]:
    return float(interval.low), float(interval.high)


def test_published_differences():
    # Newcombe 1998, Statistics in Medicine 17, 873-890, table II: examples (a) and (d),
    # methods 5 or MN (score) and 10 (hybrid).
    assert ends(newcombe(56, 70, 48, 80)) == pytest.approx((0.0524, 0.3339), abs=DIGITS)
    assert ends(miettinen_nurminen(56, 70, 48, 80)) == pytest.approx((0.0528, 0.3382), abs=DIGITS)
    assert ends(newcombe(5, 56, 0, 29)) == pytest.approx((-0.0381, 0.1926), abs=DIGITS)
    assert ends(miettinen_nurminen(5, 56, 0, 29)) == pytest.approx((-0.0326, 0.1933), abs=DIGITS)
    # Fagerland, Lydersen & Laake 2017, Statistical Analysis of Contingency Tables, chapter 4:
    # Perondi et al. 2004 and Ritland et al. 2007.
    assert ends(agresti_caffo(7, 34, 1, 34)) == pytest.approx((0.0116, 0.3217), abs=DIGITS)
    assert ends(newcombe(7, 34, 1, 34)) == pytest.approx((0.0189, 0.3404), abs=DIGITS)
    assert ends(miettinen_nurminen(0, 16, 15, 72)) == pytest.approx((-0.3164, -0.0056), abs=DIGITS)
    assert ends(miettinen_nurminen(2, 10, 1, 10)) == pytest.approx((-0.2595, 0.4454), abs=DIGITS)


def test_published_ratios():
    # The same book, chapter 4; the interval with N / (N - 1).
    assert ends(koopman(7, 34, 1, 34)) == pytest.approx((1.2086, 43.0330), abs=DIGITS)
    assert ends(koopman(2, 10, 1, 10)) == pytest.approx((0.2888, 14.6551), abs=DIGITS)
    # Fagerland & Newcombe 2013, Statistics in Medicine 32, 2823-2836, three trials.
    published = ((24, 73, 53, 65, 0.280, 0.560), (29, 55, 11, 11, 0.397, 0.742),
                 (7, 18, 1, 18, 1.296, 42.544))  # fmt: skip
    for x1, n1, x2, n2, low, high in published:
        assert ends(koopman(x1, n1, x2, n2)) == pytest.approx((low, high), abs=5.1e-4)


@pytest.mark.parametrize(
    ("x1", "n1", "x2", "n2", "low", "high"),
    # Koopman's own statistic has no N / (N - 1). Gart & Nam 1988, Biometrics 44, 323-338, and
    # Perondi et al. 2004 in the book above print it.
    [(8, 15, 4, 15, 0.815, 5.336), (6, 10, 6, 20, 0.844, 4.594), (7, 34, 1, 34, 1.221, 42.576)],
)
def test_published_ratios_without_the_correction(x1, n1, x2, n2, low, high):
    total = n1 + n2
    confidence = 1 - 2 * float(tail(critical() / np.sqrt(total / (total - 1))))
    interval = koopman(x1, n1, x2, n2, confidence=confidence)
    assert ends(interval) == pytest.approx((low, high), abs=5.1e-4)


def test_published_difference_without_the_correction():
    # Mee 1984: Newcombe's example (d), and Perondi et al. 2004 in the book above.
    for counts, expected in (
        ((5, 56, 0, 29), (-0.0313, 0.1926)),
        ((7, 34, 1, 34), (0.0284, 0.3439)),
    ):
        total = counts[1] + counts[3]
        confidence = 1 - 2 * float(tail(critical() / np.sqrt(total / (total - 1))))
        interval = miettinen_nurminen(*counts, confidence=confidence)
        assert ends(interval) == pytest.approx(expected, abs=DIGITS)


def numeric_z(x1, n1, x2, n2, first_of, bounds, factor):
    """Score statistic with the restricted maximum found by a search; first_of(p2) gives p1."""

    def deviance(p):
        q = np.clip(first_of(p), 0, 1)
        return -float(
            special.xlogy(x1, q) + special.xlogy(n1 - x1, 1 - q)
            + special.xlogy(x2, p) + special.xlogy(n2 - x2, 1 - p)
        )  # fmt: skip

    p = optimize.minimize_scalar(
        deviance, bounds=bounds, method="bounded", options={"xatol": 1e-13}
    ).x
    q = first_of(p)
    variance = q * (1 - q) / n1 + factor**2 * p * (1 - p) / n2
    total = n1 + n2
    return (x1 / n1 - (x2 / n2 * factor + q - factor * p)) / np.sqrt(variance * total / (total - 1))


COUNTS = ((5, 56, 3, 29), (56, 70, 48, 80), (1, 20, 190, 2000), (7.5, 20.25, 3.3, 41.7))


@pytest.mark.parametrize("delta", [-0.4, -0.03, 0.0, 0.01, 0.25])
def test_closed_form_difference_agrees_with_the_numeric_likelihood(delta):
    for x1, n1, x2, n2 in COUNTS:
        bounds = (max(0.0, -delta), min(1.0, 1 - delta))
        expected = numeric_z(x1, n1, x2, n2, lambda p: p + delta, bounds, 1.0)
        ours = float(miettinen_nurminen_z(x1, n1, x2, n2, delta))
        assert ours == pytest.approx(expected, rel=1e-6, abs=1e-6)


@pytest.mark.parametrize("ratio", [0.05, 0.8, 1.0, 1.25, 7.0])
def test_closed_form_ratio_agrees_with_the_numeric_likelihood(ratio):
    for x1, n1, x2, n2 in COUNTS:
        bounds = (0.0, min(1.0, 1 / ratio))
        expected = numeric_z(x1, n1, x2, n2, lambda p: ratio * p, bounds, ratio)
        ours = float(koopman_z(x1, n1, x2, n2, ratio))
        assert ours == pytest.approx(expected, rel=1e-6, abs=1e-6)


def test_pooled_test_is_the_known_chi_squared():
    z = float(miettinen_nurminen_z(56, 70, 48, 80, 0.0))
    chi2 = stats.chi2_contingency([[56, 14], [48, 32]], correction=False).statistic
    assert z**2 == pytest.approx(chi2 * 149 / 150, rel=1e-12)
    assert float(koopman_z(56, 70, 48, 80, 1.0)) == pytest.approx(z, rel=1e-12)


def test_ends_are_where_the_test_reaches_alpha():
    x1, n1, x2, n2 = np.array([5, 0, 7.5]), [56, 16, 20.25], np.array([1, 15, 3.3]), [29, 72, 41.7]
    for df in (None, 14.0):
        difference = miettinen_nurminen(x1, n1, x2, n2, df=df)
        for z in (
            miettinen_nurminen_z(x1, n1, x2, n2, difference.low),
            -miettinen_nurminen_z(x1, n1, x2, n2, difference.high),
        ):
            np.testing.assert_allclose(tail(z, df), ALPHA, rtol=1e-6)
        ratio = koopman(x1, n1, x2, n2, df=df)
        above = tail(koopman_z(x1, n1, x2, n2, ratio.low), df)
        np.testing.assert_allclose(above[[0, 2]], ALPHA, rtol=1e-6)
        below = tail(-koopman_z(x1, n1, x2, n2, ratio.high), df)
        np.testing.assert_allclose(below, ALPHA, rtol=1e-6)
        assert ratio.low[1] == 0


def test_extreme_counts():
    corners = np.array(list(itertools.product((0, 1), (0, 1))), dtype=float)
    for n in (1, 2, 40):
        x1, x2 = corners.T * n
        for interval in (
            miettinen_nurminen(x1, n, x2, n),
            agresti_caffo(x1, n, x2, n),
            newcombe(x1, n, x2, n),
        ):
            assert np.all(np.isfinite(interval.low) & np.isfinite(interval.high))
            assert np.all(interval.low < interval.high)
            assert np.all((interval.low >= -1) & (interval.high <= 1))
        ratio = koopman(x1, n, x2, n)
        assert ratio.low.tolist()[:2] == [0.0, 0.0]
        assert np.isinf(ratio.high[[0, 2]]).all()
        assert np.isfinite(ratio.high[[1, 3]]).all()
        assert np.isfinite(ratio.low).all()


def test_zero_over_zero_no_data_and_impossible_bounds():
    assert miettinen_nurminen_z(0, 9, 0, 9, 0.0) == 0
    assert miettinen_nurminen_z(9, 9, 0, 9, 1.0) == 0
    assert koopman_z(0, 9, 0, 9, 3.0) == 0
    for z in (miettinen_nurminen_z, agresti_caffo_z):
        assert z(3, 9, 4, 9, 1.1) == -np.inf
        assert z(3, 9, 4, 9, -1.1) == np.inf
        assert np.isnan(z(0, 0, 4, 9, 0.0))
    for z in (koopman_z, adjusted_wald_ratio_z):
        assert z(3, 9, 4, 9, -0.1) == np.inf
        assert np.isnan(z(3, 9, 0, 0, 1.0))
    for interval in (miettinen_nurminen, agresti_caffo, newcombe, koopman):
        assert np.isnan(ends(interval(0, 0, 4, 9))).all()
    with pytest.raises(CountError):
        koopman_z(10, 9, 4, 9, 1.0)


shares = st.just(0.0) | st.floats(1e-6, 1)
groups = st.tuples(st.floats(1, 3000), shares, st.floats(1, 3000), shares).map(
    lambda t: (t[0] * t[1], t[0], t[2] * t[3], t[2])
)


@settings(max_examples=30)
@given(counts=groups, delta=st.floats(-1, 1))
def test_swapping_groups_mirrors(counts, delta):
    x1, n1, x2, n2 = counts
    swapped = (x2, n2, x1, n1)
    for z in (miettinen_nurminen_z, agresti_caffo_z):
        assert float(z(*counts, delta)) == -float(z(*swapped, -delta))
    for interval in (miettinen_nurminen, agresti_caffo, newcombe):
        low, high = ends(interval(*counts))
        assert ends(interval(*swapped)) == pytest.approx((-high, -low), abs=1e-12)
    low, high = ends(koopman(*counts))
    mirrored = ends(koopman(*swapped))
    with np.errstate(divide="ignore"):
        assert (float(1 / np.float64(high)), float(1 / np.float64(low))) == pytest.approx(
            mirrored, rel=1e-9
        )


@settings(max_examples=30)
@given(counts=groups, confidence=st.floats(0.5, 0.99), df=st.integers(2, 400))
def test_intervals_hold_the_estimate_and_grow(counts, confidence, df):
    x1, n1, x2, n2 = counts
    difference = x1 / n1 - x2 / n2
    for interval in (miettinen_nurminen, koopman):
        low, high = ends(interval(*counts, confidence=confidence))
        value = difference
        if interval is koopman:
            value = x1 / n1 / (x2 / n2) if x2 > 0 else np.inf
        assert low <= value * (1 + 1e-9) + 1e-9
        assert value <= high * (1 + 1e-9) + 1e-9
        for wide in (
            interval(*counts, confidence=confidence + 0.005),
            interval(*counts, confidence=confidence, df=df),
        ):
            assert float(wide.low) <= low + 1e-9
            assert high <= float(wide.high) * (1 + 1e-9) + 1e-9


def errors(statistics, n1, n2, p1, p2, bound):
    """Exact one-sided errors of the both-agree rule with the truth on the bound."""
    x, y = np.indices((n1 + 1, n2 + 1)).astype(float)
    weight = np.outer(
        stats.binom.pmf(np.arange(n1 + 1), n1, p1), stats.binom.pmf(np.arange(n2 + 1), n2, p2)
    )
    likely = weight > 1e-8
    weight = weight[likely]
    z = [statistic(x[likely], n1, y[likely], n2, bound) for statistic in statistics]
    above = np.max([tail(one) for one in z], axis=0) <= ALPHA
    below = np.max([tail(-one) for one in z], axis=0) <= ALPHA
    return weight[above].sum(), weight[below].sum()


DIFFERENCE = (miettinen_nurminen_z, agresti_caffo_z)
RATIO = (koopman_z, adjusted_wald_ratio_z)
RATES = (0.02, 0.05, 0.1, 0.3, 0.5, 0.7, 0.9, 0.95, 0.98)


def check_errors(sizes, rates):
    # Rates up to 20 points apart, as limits are. Beyond, two groups of 20 whose rates lie 90 points
    # apart reach .048 (difference), so rates further apart are held to .05 only.
    for (n1, n2), p1, p2 in itertools.product(sizes, rates, rates):
        allowed = ALLOWED if abs(p1 - p2) <= 0.2 + 1e-9 else 0.05
        for statistics, bound in ((DIFFERENCE, p1 - p2), (RATIO, p1 / p2)):
            worst = max(errors(statistics, n1, n2, p1, p2, bound))
            assert worst <= allowed, (n1, n2, p1, p2, worst)


def test_one_sided_errors_of_verdicts_exactly():
    check_errors([(20, 20), (20, 50), (50, 100)], RATES)
    check_errors([(20, 300), (100, 100)], (0.02, 0.1, 0.3, 0.9, 0.98))


@pytest.mark.slow
def test_one_sided_errors_of_verdicts_in_larger_groups():
    check_errors([(300, 300), (20, 2000), (1000, 50)], RATES)


@pytest.mark.slow
@pytest.mark.parametrize(("n1", "n2"), [(1000, 1000), (5000, 300), (2000, 20_000)])
def test_one_sided_errors_of_verdicts_drawn(n1, n2):
    rng = np.random.default_rng(n1 + n2)
    for p1, p2 in ((0.02, 0.05), (0.05, 0.05), (0.3, 0.1), (0.5, 0.5), (0.9, 0.88), (0.98, 0.9)):
        x1, x2 = rng.binomial(n1, p1, 60_000), rng.binomial(n2, p2, 60_000)
        for statistics, bound in ((DIFFERENCE, p1 - p2), (RATIO, p1 / p2)):
            z = [statistic(x1, n1, x2, n2, bound) for statistic in statistics]
            assert np.mean(np.max([tail(one) for one in z], axis=0) <= ALPHA) <= ALLOWED
            assert np.mean(np.max([tail(-one) for one in z], axis=0) <= ALPHA) <= ALLOWED


def test_score_alone_would_not_do_for_unequal_groups():
    assert max(errors(DIFFERENCE[:1], 20, 2000, 0.05, 0.05, 0.0)) > 0.05
    assert max(errors(RATIO[:1], 20, 2000, 0.05, 0.05, 1.0)) > 0.05
    assert max(errors(DIFFERENCE, 20, 2000, 0.05, 0.05, 0.0)) <= 0.027
    assert max(errors(RATIO, 20, 2000, 0.05, 0.05, 1.0)) <= 0.027


# Exact coverage of Miettinen–Nurminen at 95 %, rates .90 and .88: the gate's statistics say
# .975, .949 and .950.
@pytest.mark.parametrize(
    ("n1", "n2", "expected"), [(20, 20, 0.975), (50, 100, 0.949), (600, 600, 0.950)]
)
def test_coverage_of_the_difference(n1, n2, expected):
    x, y = np.indices((n1 + 1, n2 + 1)).astype(float)
    covers = []
    for factor in (0.85, 0.95, 1.0, 1.05, 1.15):
        p1, p2 = 1 - 0.1 * factor, 1 - 0.12 * factor
        weight = np.outer(
            stats.binom.pmf(np.arange(n1 + 1), n1, p1), stats.binom.pmf(np.arange(n2 + 1), n2, p2)
        )
        likely = weight > 1e-8
        z = miettinen_nurminen_z(x[likely], n1, y[likely], n2, p1 - p2)
        covers.append(weight[likely][np.abs(z) <= critical()].sum())
    assert covers[2] == pytest.approx(expected, abs=1e-3)
    assert np.mean(covers) >= 0.93
    if n1 * 0.1 >= 5 and n2 * 0.12 >= 5:
        assert np.mean(covers) <= 0.97
