"""Each estimate family has its rule, both its sides, and its reasons to say nothing."""

import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from shipworthy.measure.effective import exact_ends
from shipworthy.measure.estimates import (
    ChangeMean,
    F1Score,
    Fact,
    RateDifference,
    RateMean,
    RateRatio,
    Spread,
    Unmeasured,
)
from shipworthy.measure.intervals import (
    binomial_tail_above,
    binomial_tail_below,
    korn_graubard_n,
    mover_mean,
    tail,
)
from shipworthy.measure.one_sided import one_sided
from shipworthy.measure.paired import bonett_price_z, tango, tango_z
from shipworthy.measure.shown import assess
from shipworthy.measure.two_groups import (
    adjusted_wald_ratio_z,
    agresti_caffo_z,
    koopman_z,
    miettinen_nurminen_z,
)

sys.path.insert(0, str(Path(__file__).parent))

from gate_builders import ALPHA, change, mean, rate, replicates


def both(estimate, bound, side="at_least"):
    made = one_sided(estimate, bound, side, alpha=ALPHA)
    return made.p_pass, made.p_fail


# What decides each family


def test_a_share_is_decided_by_exact_tails():
    counted = rate([150, 170, 190], 200)
    p_pass, p_fail = both(counted, 0.85)
    assert p_pass == pytest.approx(stats.binom.sf([149, 169, 189], 200, 0.85))
    assert p_fail == pytest.approx(stats.binom.cdf([150, 170, 190], 200, 0.85))
    assert one_sided(counted, 0.85, "at_least", alpha=ALPHA).method == "exact binomial"


def test_a_change_passes_by_tango_and_fails_by_both():
    lost, gained = np.array([3.0, 30.0, 0.0]), np.array([9.0, 12.0, 0.0])
    p_pass, p_fail = both(change(lost, gained, 600), -0.01)
    assert p_pass == pytest.approx(tail(tango_z(lost, gained, 600, -0.01)))
    score = tail(-tango_z(lost, gained, 600, -0.01))
    guard = tail(-bonett_price_z(lost, gained, 600, -0.01))
    assert p_fail == pytest.approx(np.maximum(score, guard))
    # Few flips: the guard is what holds the fail back.
    p_pass, p_fail = both(change(4, 0, 100), 0.0)
    assert tail(-tango_z(4, 0, 100, 0.0)) <= 0.025 < p_fail[0]


def test_the_guard_stands_on_the_failing_side_of_at_most_limits_too():
    p_pass, p_fail = both(change(9, 3, 600), 0.01, "at_most")
    assert p_pass == pytest.approx(tail(-tango_z(9, 3, 600, 0.01)))
    assert p_fail == pytest.approx(
        max(tail(tango_z(9, 3, 600, 0.01)), tail(bonett_price_z(9, 3, 600, 0.01)))
    )


def test_f1_is_decided_through_its_binomial_share():
    p_pass, p_fail = both(F1Score(rate(150, 250)), 0.75)
    assert p_pass[0] == pytest.approx(float(binomial_tail_above(150, 250, 0.6)))
    assert p_fail[0] == pytest.approx(float(binomial_tail_below(150, 250, 0.6)))


@pytest.mark.parametrize("bound", [1.5, 2.0, 3.0, 80.0])
def test_an_f1_that_cannot_be_reached_fails_as_a_share_does(bound):
    for estimate in (F1Score(rate(240, 250)), rate(240, 250)):
        p_pass, p_fail = both(estimate, bound)
        assert (p_pass[0], p_fail[0]) == (1.0, 0.0)


def test_groups_are_compared_by_two_methods_that_must_agree():
    first, second = rate([30, 270], 300), rate([20, 1700], 2000)
    counts = (first.successes, first.trials, second.successes, second.trials)
    for estimate, bound, zs in (
        (RateDifference(first, second), 0.02, (miettinen_nurminen_z, agresti_caffo_z)),
        (RateRatio(first, second), 1.1, (koopman_z, adjusted_wald_ratio_z)),
    ):
        z = np.stack([one(*counts, bound) for one in zs])
        above, below = tail(z).max(axis=0), tail(-z).max(axis=0)
        assert both(estimate, bound)[0] == pytest.approx(above)
        assert both(estimate, bound)[1] == pytest.approx(below)
        assert both(estimate, bound, "at_most")[0] == pytest.approx(below)
        assert both(estimate, bound, "at_most")[1] == pytest.approx(above)


def test_two_groups_of_units_have_satterthwaites_degrees_of_freedom():
    first = rate(150, 300, units=30, deff=2.0)
    second = rate(140, 300, units=12, deff=1.5)
    x1, n1, x2, n2 = 75.0, 150.0, 140 / 1.5, 200.0
    one, two = (
        (x + 1) / (n + 2) * (1 - (x + 1) / (n + 2)) / (n + 2) for x, n in ((x1, n1), (x2, n2))
    )
    df = (one + two) ** 2 / (one**2 / 29 + two**2 / 11)
    z = miettinen_nurminen_z(x1, n1, x2, n2, -0.1)
    guard = agresti_caffo_z(x1, n1, x2, n2, -0.1)
    p_pass, _ = both(RateDifference(first, second), -0.1)
    assert p_pass[0] == pytest.approx(max(tail(z, df), tail(guard, df)))


def test_means_are_t_on_their_scale():
    p_pass, p_fail = both(mean(0.40, 0.02, df=11), 0.35)
    assert p_pass == pytest.approx(stats.t.sf(2.5, 11))
    assert p_fail == pytest.approx(stats.t.cdf(2.5, 11))
    p_pass, _ = both(mean(12.0, 0.05, df=4, scale="log", units=np.nan), 15.0, "at_most")
    assert p_pass == pytest.approx(stats.t.sf(np.log(15 / 12) / 0.05, 4))
    p_pass, _ = both(mean(0.9, 0.1, scale="logit", least=40), 0.88)
    assert p_pass == pytest.approx(stats.norm.sf((np.log(9) - np.log(0.88 / 0.12)) / 0.1), rel=1e-9)


def test_a_mean_without_spread_proves_nothing():
    made = one_sided(mean(0.5, 0.0), 0.1, "at_least", alpha=ALPHA)
    assert np.isnan(made.p_pass[0]) and made.reasons == ("not_measured",)


def test_replicates_never_give_a_p_of_zero():
    drawn = np.linspace(0.70, 0.80, 999)[None, :]
    p_pass, p_fail = both(replicates(0.75, drawn), 0.6)
    assert (p_pass[0], p_fail[0]) == (0.001, 1.0)
    p_pass, p_fail = both(replicates(0.75, drawn), 0.7025)
    assert p_pass[0] == pytest.approx((1 + (drawn <= 0.7025).sum()) / 1000)
    assert p_fail[0] == pytest.approx((1 + (drawn >= 0.7025).sum()) / 1000)


def test_facts_are_zero_or_one():
    p_pass, p_fail = both(Fact(np.array([1.0, 2.0, 3.0])), 2.0)
    assert p_pass.tolist() == [1.0, 0.0, 0.0]
    assert p_fail.tolist() == [0.0, 1.0, 1.0]


# Means of shares: p is the level whose MOVER end touches the bound


def test_the_end_of_balanced_accuracy_touches_the_bound_at_its_p():
    parts = (rate(45, 50), rate(120, 150), rate(60, 90))
    for bound in (0.70, 0.74, 0.80, 0.84, 0.87):
        p_pass, p_fail = both(RateMean(parts), bound)
        values = [p.successes / p.trials for p in parts]
        level = min(p_pass[0], p_fail[0])
        ends = [exact_ends(p, level) for p in parts]
        whole = mover_mean([e.low for e in ends], values, [e.high for e in ends])
        touching = whole.low if np.mean(values) > bound else whole.high
        assert touching == pytest.approx(bound, abs=1e-6)
        assert p_pass[0] + p_fail[0] == pytest.approx(1.0)


def test_the_change_of_balanced_accuracy_uses_tango_and_its_guard():
    parts = (change(9, 3, 300), change(4, 6, 200))
    p_pass, p_fail = both(ChangeMean(parts), -0.03)
    values = [(p.gained - p.lost) / p.n for p in parts]
    ends = [tango(p.lost, p.gained, p.n, confidence=1 - 2 * p_pass[0]) for p in parts]
    whole = mover_mean([e.low for e in ends], values, [e.high for e in ends])
    assert whole.low == pytest.approx(-0.03, abs=1e-6)
    assert p_fail[0] >= 1 - p_pass[0] - 1e-9
    swapped = ChangeMean((change(3, 9, 300), change(6, 4, 200)))
    mirrored = both(swapped, 0.03, "at_most")
    assert mirrored[0] == pytest.approx(p_pass, abs=1e-9)
    assert mirrored[1] == pytest.approx(p_fail, abs=1e-9)


def test_one_part_alone_is_that_part():
    p_pass, p_fail = both(RateMean((rate(170, 200),)), 0.8)
    alone = both(rate(170, 200), 0.8)
    assert p_pass == pytest.approx(alone[0], abs=1e-9)
    # Two tails of one discrete test add up to more than 1; the level of an end does not.
    assert p_fail == pytest.approx(1 - alone[0], abs=1e-9)


# Consistency with the interval that is shown


@settings(max_examples=60, deadline=None)
@given(
    x=st.integers(0, 300),
    bound=st.floats(0.01, 0.99),
    deff=st.sampled_from([1.0, 1.7]),
    units=st.sampled_from([300, 40]),
)
def test_the_exact_end_excludes_a_bound_exactly_where_p_reaches_alpha(x, bound, deff, units):
    counted = rate(x, 300, units=units, deff=deff if units < 300 else 1.0)
    shown = assess(counted, exact=True)
    p_pass, p_fail = both(counted, bound)
    if abs(shown.low[0] - bound) > 1e-7:
        assert (p_pass[0] <= ALPHA) == (shown.low[0] > bound)
    if abs(shown.high[0] - bound) > 1e-7:
        assert (p_fail[0] <= ALPHA) == (shown.high[0] < bound)


@settings(max_examples=40, deadline=None)
@given(lost=st.integers(0, 60), gained=st.integers(0, 60), bound=st.floats(-0.2, 0.2))
def test_a_fail_never_contradicts_the_interval_that_is_shown(lost, gained, bound):
    counted = change(lost, gained, 400, units=50, deff=1.4)
    shown = assess(counted)
    p_pass, p_fail = both(counted, bound)
    if abs(shown.low[0] - bound) > 1e-7:
        assert (p_pass[0] <= ALPHA) == (shown.low[0] > bound)
    if p_fail[0] <= ALPHA:
        assert shown.high[0] <= bound + 1e-7


# Units and weights


def test_units_divide_counts_and_widen_the_tail():
    def p_pass(counted):
        return both(counted, -0.05)[0][0]

    shrunk, whole = (float(tango_z(b, c, n, -0.05)) for b, c, n in ((20, 10, 400), (60, 30, 1200)))
    clustered = p_pass(change(60, 30, 1200, units=40, deff=3.0))
    assert clustered == pytest.approx(stats.t.sf(shrunk, 39))
    assert clustered > stats.norm.sf(whole)
    # Weights divide counts as well, but their rows are units: the tail stays normal.
    assert p_pass(change(60, 30, 1200, deff=3.0)) == pytest.approx(stats.norm.sf(shrunk))
    # A design effect below 1 is no licence.
    assert p_pass(change(60, 30, 1200, deff=0.4)) == pytest.approx(stats.norm.sf(whole))


def test_clustered_shares_have_the_effective_n_of_their_own_level():
    counted = rate(270, 300, units=30, deff=1.6)
    p_pass, _ = both(counted, 0.82)
    assert p_pass[0] <= ALPHA
    n = korn_graubard_n(300, 30, 1.6, p_pass[0])
    assert binomial_tail_above(0.9 * n, n, 0.82) == pytest.approx(p_pass[0], rel=1e-6)
    low = exact_ends(counted, p_pass[0]).low
    assert low == pytest.approx(0.82, abs=1e-6)


# Reasons


def test_small_denominators_have_a_reason_and_no_p():
    counted = change([0] * 5, [0] * 5, [0, 19, 20, 20, 400], units=[0, 19, 9, 10, 9])
    made = one_sided(counted, -0.5, "at_least", alpha=ALPHA)
    assert made.reasons == ("no_data", "too_few_rows", "unit_count", "", "unit_count")
    assert np.isnan(made.p_pass).tolist() == [True, True, True, False, True]
    assert np.isnan(made.p_fail).tolist() == [True, True, True, False, True]


@pytest.mark.parametrize("family", [RateDifference, RateRatio])
def test_both_groups_need_their_rows(family):
    made = one_sided(family(rate([15, 15], 20), rate([15, 10], [20, 19])), 0.5, "at_least",
                     alpha=ALPHA)  # fmt: skip
    assert made.reasons == ("", "too_few_rows")


def test_every_part_of_a_mean_of_shares_needs_its_rows():
    made = one_sided(RateMean((rate(180, 200), rate(9, 12))), 0.5, "at_least", alpha=ALPHA)
    assert made.reasons == ("too_few_rows",)
    parts = (change(1, 1, 200), change(0, 0, 0))
    assert one_sided(ChangeMean(parts), -0.1, "at_least", alpha=ALPHA).reasons == ("no_data",)


def test_means_without_counts_are_exempt_and_with_counts_are_not():
    free = mean(10.0, 0.1, df=4, n=np.nan, units=np.nan, scale="log")
    assert one_sided(free, 20, "at_most", alpha=ALPHA).reasons == ("",)
    requests = mean(10.0, 0.1, df=4, n=2000, units=np.nan, scale="log")
    assert one_sided(requests, 20, "at_most", alpha=ALPHA).reasons == ("",)
    bound = mean(10.0, 0.1, df=4, n=2000, units=5, scale="log")
    assert one_sided(bound, 20, "at_most", alpha=ALPHA).reasons == ("unit_count",)
    few = mean(10.0, 0.1, df=2, n=np.nan, units=np.nan, reason="too_few_processes")
    assert one_sided(few, 20, "at_most", alpha=ALPHA).reasons == ("too_few_processes",)
    assert one_sided(mean(np.nan, 0.1), 1, "at_most", alpha=ALPHA).reasons == ("no_data",)


def test_a_class_needs_thirty_rows():
    made = one_sided(
        mean([0.9, 0.9, 0.9], 0.1, scale="logit", least=[29, 30, np.nan]), 0.8, "at_least",
        alpha=ALPHA,
    )  # fmt: skip
    assert made.reasons == ("too_few_of_class", "", "")


def test_replicates_bring_their_own_reasons():
    drawn = np.full((2, 99), 0.8)
    made = one_sided(replicates([0.8, 0.8], drawn, reasons=("", "unit_count")), 0.7, "at_least",
                     alpha=ALPHA)  # fmt: skip
    assert made.reasons == ("", "unit_count")
    assert np.isnan(made.p_pass[1]) and made.p_pass[0] == 0.01


def test_no_number_and_no_bound():
    made = one_sided(Unmeasured("too_few_of_class", m=2), 0.5, "at_least", alpha=ALPHA)
    assert made.reasons == ("too_few_of_class",) * 2 and np.isnan(made.p_fail).all()
    for estimate in (rate(180, 200), mean(0.5, 0.1), Fact(np.array([2.0])),
                     Spread((rate([50, 60], 100),), "difference", ("a", "b"))):  # fmt: skip
        made = one_sided(estimate, np.nan, "at_most", alpha=ALPHA)
        assert np.isnan(made.p_pass).all() and np.isnan(made.p_fail).all()
        assert set(made.reasons) <= {"not_measured", "no_data"}


def test_bounds_may_differ_by_slice():
    p_pass, _ = both(rate([170, 170], 200), np.array([0.8, np.nan]))
    assert p_pass[0] == pytest.approx(stats.binom.sf(169, 200, 0.8)) and np.isnan(p_pass[1])


# The parent's own artefact


@pytest.mark.parametrize(
    "estimate",
    [
        change(0, 0, 5, identical=True),
        ChangeMean((change(0, 0, 5, identical=True), change(0, 0, 2, identical=True))),
        mean(0.0, 0.0, n=5, identical=True),
        replicates(0.0, np.zeros((1, 9)), n=5, reasons=("too_few_of_class",), identical=True),
    ],
)
def test_an_identical_artefact_is_compared_and_not_tested(estimate):
    for bound, side, p in (
        (0.0, "at_least", 0.0), (-0.01, "at_least", 0.0), (0.0, "at_most", 0.0),
        (0.01, "at_least", 1.0), (-0.01, "at_most", 1.0),
    ):  # fmt: skip
        made = one_sided(estimate, bound, side, alpha=ALPHA)
        assert (made.p_pass[0], made.p_fail[0], made.reasons) == (p, 1 - p, ("identical",))
    assert one_sided(estimate, np.nan, "at_least", alpha=ALPHA).reasons == ("not_measured",)


def test_a_changed_part_is_not_identical():
    parts = (change(0, 0, 500, identical=True), change(0, 0, 500))
    made = one_sided(ChangeMean(parts), -0.01, "at_least", alpha=ALPHA)
    assert made.reasons == ("",) and 0 < made.p_pass[0] < 1
