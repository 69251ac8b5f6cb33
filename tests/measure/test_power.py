"""Rows that a limit needs: by formula before a run, by drawn futures after it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from shipworthy.measure.intervals import tail
from shipworthy.measure.paired import bonett_price_z, tango_z
from shipworthy.measure.power import (
    futures,
    paired_rows_needed,
    power_paired,
    rate_futures,
    rate_rows_needed,
    two_group_rows_needed,
    zero_event_rows,
    zero_event_rows_rate,
)

# Rows for power .8 at alpha .025: (truth no change, truth half the margin lost), by the share of
# rows that flip and the margin in points.
NEEDED = {
    (0.01, 0.5): (3135, 12534), (0.01, 1): (780, 3116), (0.01, 2): (322, 1283),
    (0.01, 3): (195, 848), (0.025, 0.5): (7844, 31372), (0.025, 1): (1957, 7825),
    (0.025, 2): (486, 1938), (0.025, 3): (243, 969), (0.05, 0.5): (15693, 62767),
    (0.05, 1): (3919, 15674), (0.05, 2): (976, 3901), (0.05, 3): (431, 1720),
    (0.11, 0.5): (34530, 138116), (0.11, 1): (8629, 34511), (0.11, 2): (2153, 8610),
    (0.11, 3): (954, 3813),
}  # fmt: skip


# Formulas


@pytest.mark.parametrize(("setting", "rows"), NEEDED.items())
def test_the_table_of_paired_changes(setting, rows):
    flips, points = setting
    margin = points / 100
    found = paired_rows_needed(flips, margin, [0.0, -margin / 2])
    assert found.tolist() == [pytest.approx(r, abs=1) for r in rows]


def test_fewest_rows_without_one_event():
    assert zero_event_rows([0.005, 0.01, 0.02, 0.03]).tolist() == [765, 381, 189, 125]
    assert zero_event_rows_rate([0.01, 0.02, 0.05, 0.10]).tolist() == [368, 183, 72, 36]
    for margin in (0.005, 0.01, 0.02, 0.03):
        n = zero_event_rows(margin).item()
        assert tail(tango_z(0, 0, n, -margin)) <= 0.025 < tail(tango_z(0, 0, n - 1, -margin))
    for limit in (0.01, 0.02, 0.05, 0.10):
        n = zero_event_rows_rate(limit).item()
        assert (1 - limit) ** n <= 0.025 < (1 - limit) ** (n - 1)
    assert np.isinf(zero_event_rows([0.0, -0.01])).all()
    assert np.isinf(zero_event_rows_rate(0.0)).all()


def test_a_truth_on_the_bound_is_never_decided():
    assert np.isinf(paired_rows_needed(0.05, 0.02, -0.02))
    assert np.isinf(rate_rows_needed(0.8, 0.8))
    assert np.isinf(two_group_rows_needed(0.9, 0.88, 0.02))


def test_formulas_are_whole_numbers_with_the_power_they_promise():
    for flips, margin, change in ((0.05, 0.02, 0.0), (0.11, 0.03, -0.01), (0.03, 0.01, 0.005)):
        n = paired_rows_needed(flips, margin, change)
        assert n == np.ceil(n)
        assert power_paired(n, flips, margin, change) >= 0.8
        assert power_paired(n - 1, flips, margin, change) < 0.8
        assert paired_rows_needed(flips, margin, change, power=0.9) > n
        assert paired_rows_needed(flips, margin, change, alpha=0.0125) > n


def test_the_formula_for_shares():
    z, power = stats.norm.ppf(0.975), stats.norm.ppf(0.8)
    exact = ((z * np.sqrt(0.16) + power * np.sqrt(0.1275)) / 0.05) ** 2
    assert rate_rows_needed(0.85, 0.80) == np.ceil(exact)
    assert rate_rows_needed(0.15, 0.20) == np.ceil(exact)
    both = (0.9 * 0.1 + 0.88 * 0.12) * ((z + power) / 0.04) ** 2
    assert two_group_rows_needed(0.90, 0.88, 0.06) == np.ceil(both)


def test_the_power_is_that_of_the_rule_that_decides():
    rng = np.random.default_rng(8)
    for n, flips, margin in ((976, 0.05, 0.02), (600, 0.04, 0.03), (400, 0.1, 0.03)):
        drawn = rng.multinomial(n, [flips / 2, flips / 2, 1 - flips], size=20_000)
        passes = tail(tango_z(drawn[:, 0], drawn[:, 1], n, -margin)) <= 0.025
        assert passes.mean() == pytest.approx(float(power_paired(n, flips, margin)), abs=0.03)


def test_no_spread_is_certain_either_way():
    assert power_paired([188, 189], 0.0, 0.02).tolist() == [0.0, 1.0]


# Futures


def test_a_change_that_more_rows_help_slowly():
    # 632 rows, 25 lost and 16 gained, limit -3 points, next opening: p is .067 today.
    assert tail(tango_z(25, 16, 632, -0.03)) == pytest.approx(0.067, abs=0.001)
    found = futures(25, 16, 632, 0.03, alpha_next=0.0125, seed=1, grid=[400, 800, 1600, 6400])
    assert found.p_pass + found.p_fail == pytest.approx([0.33, 0.51, 0.66, 0.83], abs=0.03)
    assert found.needed == 6400 and not found.hopeless
    assert found.at(800) == (found.p_pass[1], found.p_fail[1])
    # The number by formula is far too bright: it takes what was seen for the truth.
    plain = paired_rows_needed(41 / 632, 0.03, -9 / 632, alpha=0.0125) - 632
    seen = found.at(int(plain))
    assert sum(seen) < 0.75


def test_a_change_near_its_limit_is_not_worth_labelling():
    found = futures(68, 31, 2029, 0.02, alpha_next=0.0125, seed=1, grid=[6400])
    assert found.p_pass[0] == pytest.approx(0.20, abs=0.03)
    assert found.needed is None


def test_a_good_change_passes_more_and_more_and_a_bad_one_fails():
    good = futures(12, 10, 600, 0.02, alpha_next=0.0125, seed=2)
    assert np.all(np.diff(good.p_pass) > -0.03) and good.p_pass[-1] > 0.9
    assert good.needed is not None and good.needed <= 2000 and not good.hopeless
    bad = futures(40, 10, 600, 0.02, alpha_next=0.0125, seed=2)
    assert np.all(np.diff(bad.p_fail) > -0.03) and bad.p_fail[-1] > 0.8
    assert bad.hopeless and bad.p_pass[-1] < 0.1


def test_hopeless_is_asked_at_ten_times_the_rows_whatever_the_grid():
    few = futures(12, 8, 300, 0.02, alpha_next=0.0125, seed=3, grid=[20])
    assert few.p_pass[0] < 0.1 and not few.hopeless
    assert few.rows.tolist() == [20] and len(few.p_pass) == len(few.p_fail) == 1


def test_the_grid_ends_at_ten_times_the_rows():
    found = futures(20, 10, 600, 0.02, alpha_next=0.025, seed=4)
    assert found.rows[0] == 30 and found.rows[-1] == 6000
    assert np.all(np.diff(found.rows) > 0)


def test_the_same_seed_gives_the_same_futures_and_another_nearly():
    one, again, other = (futures(20, 10, 600, 0.02, alpha_next=0.025, seed=s) for s in (5, 5, 6))
    assert np.array_equal(one.p_pass, again.p_pass)
    assert not np.array_equal(one.p_pass, other.p_pass)
    assert one.p_pass == pytest.approx(other.p_pass, abs=0.05)


def test_units_and_families_make_rows_worth_less():
    plain = futures(25, 12, 800, 0.02, alpha_next=0.025, seed=7, grid=[800, 3200])
    heavy = futures(25, 12, 800, 0.02, alpha_next=0.025, seed=7, grid=[800, 3200], deff=2.0)
    assert np.all(heavy.p_pass < plain.p_pass)
    few = futures(25, 12, 800, 0.02, alpha_next=0.025, seed=7, grid=[800, 3200], deff=2.0, units=12)
    assert np.all(few.p_pass <= heavy.p_pass) and few.p_pass[0] < heavy.p_pass[0]
    bad = [
        futures(50, 20, 800, 0.02, alpha_next=0.025, seed=7, grid=[800], family=k) for k in (1, 20)
    ]
    assert bad[1].p_fail[0] < bad[0].p_fail[0] and bad[1].p_pass[0] == bad[0].p_pass[0]


def test_futures_agree_with_a_loop_over_drawn_worlds():
    rng = np.random.default_rng(21)
    lost, gained, n, margin, more, alpha, family = 18, 9, 500, 0.025, 700, 0.0125, 4
    passes = fails = 0
    draws = 4000
    for _ in range(draws):
        truth = rng.dirichlet([lost + 0.5, gained + 0.5, n - lost - gained + 0.5])
        b, c, _rest = rng.multinomial(more, truth)
        z = float(tango_z(lost + b, gained + c, n + more, -margin))
        guard = float(bonett_price_z(lost + b, gained + c, n + more, -margin))
        passes += stats.norm.sf(z) <= alpha
        fails += max(stats.norm.cdf(z), stats.norm.cdf(guard)) <= alpha / family
    found = futures(
        lost, gained, n, margin, alpha_next=alpha, seed=22, grid=[more], family=family,
        draws=draws,
    )  # fmt: skip
    assert found.p_pass[0] == pytest.approx(passes / draws, abs=0.04)
    assert found.p_fail[0] == pytest.approx(fails / draws, abs=0.02)


def test_futures_of_a_share_agree_with_a_loop():
    rng = np.random.default_rng(31)
    x, n, bound, more, alpha = 258, 300, 0.82, 600, 0.025
    passes = fails = 0
    draws = 4000
    for _ in range(draws):
        total = x + rng.binomial(more, rng.beta(x + 0.5, n - x + 0.5))
        passes += stats.binom.sf(total - 1, n + more, bound) <= alpha
        fails += stats.binom.cdf(total, n + more, bound) <= alpha
    found = rate_futures(x, n, bound, "at_least", alpha_next=alpha, seed=32, grid=[more])
    assert found.p_pass[0] == pytest.approx(passes / draws, abs=0.04)
    assert found.p_fail[0] == pytest.approx(fails / draws, abs=0.02)


def test_futures_of_a_share_on_both_sides():
    high = rate_futures(258, 300, 0.82, "at_least", alpha_next=0.025, seed=1)
    low = rate_futures(42, 300, 0.18, "at_most", alpha_next=0.025, seed=1)
    assert high.p_pass == pytest.approx(low.p_pass, abs=0.05)
    assert high.p_pass[-1] > 0.8 and not high.hopeless and high.needed is not None
    bad = rate_futures(230, 300, 0.82, "at_least", alpha_next=0.025, seed=1)
    assert bad.hopeless and bad.p_fail[-1] > 0.8
    clustered = rate_futures(
        258, 300, 0.82, "at_least", alpha_next=0.025, seed=1, deff=2.0, units=12
    )
    assert np.all(clustered.p_pass <= high.p_pass + 0.03) and clustered.p_pass[5] < high.p_pass[5]


@settings(max_examples=25, deadline=None)
@given(
    lost=st.integers(0, 20),
    gained=st.integers(0, 20),
    n=st.integers(40, 400),
    margin=st.floats(0.005, 0.1),
)
def test_shares_of_futures_are_shares(lost, gained, n, margin):
    found = futures(lost, gained, n, margin, alpha_next=0.025, seed=1, draws=200)
    assert np.all((found.p_pass >= 0) & (found.p_fail >= 0))
    assert np.all(found.p_pass + found.p_fail <= 1)
    if found.needed is not None:
        k = int(np.flatnonzero(found.rows == found.needed)[0])
        assert found.p_pass[k] + found.p_fail[k] >= 0.8
        assert np.all((found.p_pass + found.p_fail)[:k] < 0.8)
