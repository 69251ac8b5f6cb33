"""How far groups lie apart is judged pair by pair, in both orders."""

import itertools
import sys
from pathlib import Path

import numpy as np
import pytest

from shipworthy.measure.estimates import Spread
from shipworthy.measure.intervals import tail
from shipworthy.measure.one_sided import one_sided
from shipworthy.measure.shown import assess
from shipworthy.measure.spread import spread_p
from shipworthy.measure.two_groups import (
    adjusted_wald_ratio_z,
    agresti_caffo_z,
    koopman,
    koopman_z,
    miettinen_nurminen,
    miettinen_nurminen_z,
)

sys.path.insert(0, str(Path(__file__).parent))

from gate_builders import ALPHA, rate

X, N = np.array([528.0, 500.0, 90.0]), np.array([600.0, 600.0, 120.0])


def groups_apart(*rates, kind="difference"):
    made = tuple(rates)
    count = np.shape(made[0].trials)[-1]
    return Spread(made, kind, tuple(f"g{k}" for k in range(count)))


def pair_p(statistics, bound):
    """p of "above" and of "below" for every ordered pair, both methods agreeing."""
    above, below = [], []
    for i, j in itertools.permutations(range(3), 2):
        z = [float(s(X[i], N[i], X[j], N[j], bound)) for s in statistics]
        above.append(max(float(tail(one)) for one in z))
        below.append(max(float(tail(-one)) for one in z))
    return np.array(above), np.array(below)


def test_within_needs_every_ordered_pair_and_beyond_one_after_holm():
    for bound in (0.0, 0.03, 0.1, 0.2, 0.3):
        above, below = pair_p((miettinen_nurminen_z, agresti_caffo_z), bound)
        made = one_sided(groups_apart(rate(X, N)), bound, "at_most", alpha=ALPHA)
        assert made.p_pass == pytest.approx([below.max()])
        assert made.p_fail == pytest.approx([min(6 * above.min(), 1.0)])
        assert made.reasons == ("",)


def test_a_ratio_is_within_where_every_pair_lies_above_the_bound():
    for bound in (0.7, 0.8, 0.9, 1.0):
        above, below = pair_p((koopman_z, adjusted_wald_ratio_z), bound)
        estimate = groups_apart(rate(X, N), kind="ratio")
        made = one_sided(estimate, bound, "at_least", alpha=ALPHA)
        assert made.p_pass == pytest.approx([above.max()])
        assert made.p_fail == pytest.approx([min(6 * below.min(), 1.0)])


def test_the_other_side_swaps_pass_and_fail():
    estimate = groups_apart(rate(X, N))
    narrow = one_sided(estimate, 0.1, "at_most", alpha=ALPHA)
    wide = one_sided(estimate, 0.1, "at_least", alpha=ALPHA)
    assert (narrow.p_pass[0], narrow.p_fail[0]) == (wide.p_fail[0], wide.p_pass[0])


def test_equalised_odds_are_one_family_of_both_rates():
    tpr, fpr = rate(X, N), rate([60, 66, 13], [600, 600, 120])
    both = one_sided(groups_apart(tpr, fpr), 0.05, "at_most", alpha=ALPHA)
    alone = [one_sided(groups_apart(r), 0.05, "at_most", alpha=ALPHA) for r in (tpr, fpr)]
    assert both.p_pass[0] == max(a.p_pass[0] for a in alone)
    assert both.p_fail[0] == pytest.approx(min(2 * min(a.p_fail[0] for a in alone), 1.0))
    shown = assess(groups_apart(tpr, fpr))
    parts = [assess(groups_apart(r)) for r in (tpr, fpr)]
    assert shown.value[0] == max(p.value[0] for p in parts)
    assert shown.high[0] == max(p.high[0] for p in parts)
    assert shown.low[0] <= max(p.low[0] for p in parts)
    assert shown.n[0] == 2 * 1320


def test_small_groups_leave_within_unknown_but_cannot_hide_a_gap():
    counted = rate([570, 420, 5], [600, 600, 8])
    made = one_sided(groups_apart(counted), 0.1, "at_most", alpha=ALPHA)
    assert np.isnan(made.p_pass[0]) and made.reasons == ("too_few_rows",)
    # Two ordered pairs were tested, not six.
    two = one_sided(groups_apart(rate([570, 420], 600)), 0.1, "at_most", alpha=ALPHA)
    assert made.p_fail[0] == two.p_fail[0] <= ALPHA


@pytest.mark.parametrize(
    ("trials", "units", "reason"),
    [
        ([600, 600, 0], None, "no_data"),
        ([600, 19, 600], None, "too_few_rows"),
        ([600, 600, 600], [600, 600, 9], "unit_count"),
        ([600, 19, 0], None, "no_data"),
        ([5, 5, 5], None, "too_few_rows"),
    ],
)
def test_reasons_of_a_spread(trials, units, reason):
    trials = np.array(trials, float)
    estimate = groups_apart(rate(np.floor(0.9 * trials), trials, units=units))
    made = one_sided(estimate, 0.2, "at_most", alpha=ALPHA)
    assert made.reasons == (reason,) and np.isnan(made.p_pass[0])
    assert np.isnan(made.p_fail[0]) == ((trials >= 20).sum() < 2)


def test_one_group_has_no_spread():
    made = one_sided(groups_apart(rate([50], 60)), 0.2, "at_most", alpha=ALPHA)
    assert made.reasons == ("not_measured",)
    assert np.isnan(made.p_pass[0]) and np.isnan(made.p_fail[0])


def test_many_spreads_at_once_are_each_alone():
    rng = np.random.default_rng(3)
    x = rng.binomial(300, 0.85, size=(7, 4))
    within, beyond, reasons = spread_p(groups_apart(rate(x, 300)), 0.05)
    for row in range(7):
        one = spread_p(groups_apart(rate(x[row], 300)), 0.05)
        assert (within[row], beyond[row], reasons[row]) == (one[0][0], one[1][0], one[2][0])


# What is shown


def test_the_interval_comes_from_the_pairs():
    shown = assess(groups_apart(rate(X, N)))
    assert shown.value[0] == pytest.approx(0.88 - 0.75)
    pairs = list(itertools.permutations(range(3), 2))
    plain = [miettinen_nurminen(X[i], N[i], X[j], N[j]) for i, j in pairs]
    level = 1 - 0.05 / 6
    shared = [miettinen_nurminen(X[i], N[i], X[j], N[j], confidence=level) for i, j in pairs]
    assert shown.high[0] == pytest.approx(max(float(p.high) for p in plain))
    assert shown.low[0] == pytest.approx(max(float(p.low) for p in shared))
    assert (shown.n[0], shown.method) == (1320, "pairwise")
    ratio = assess(groups_apart(rate(X, N), kind="ratio"))
    plain = [koopman(X[i], N[i], X[j], N[j]) for i, j in pairs]
    shared = [koopman(X[i], N[i], X[j], N[j], confidence=level) for i, j in pairs]
    assert ratio.value[0] == pytest.approx(0.75 / 0.88)
    assert ratio.low[0] == pytest.approx(min(float(p.low) for p in plain))
    assert ratio.high[0] == pytest.approx(min(float(p.high) for p in shared))


def test_a_spread_is_never_below_nothing_nor_a_ratio_above_one():
    alike = rate([540, 540, 540], 600)
    difference, ratio = (assess(groups_apart(alike, kind=k)) for k in ("difference", "ratio"))
    assert (difference.low[0], difference.value[0]) == (0.0, 0.0) and difference.high[0] > 0
    assert (ratio.high[0], ratio.value[0]) == (1.0, 1.0) and ratio.low[0] < 1


def test_empty_groups_are_left_out_of_what_is_shown():
    shown = assess(groups_apart(rate([540, 480, 0], [600, 600, 0])))
    full = assess(groups_apart(rate([540, 480], 600)))
    assert shown.value[0] == full.value[0] and shown.high[0] == pytest.approx(full.high[0])
    nothing = assess(groups_apart(rate([0, 0], 0)))
    assert np.isnan([nothing.value[0], nothing.low[0], nothing.high[0]]).all()


def test_a_verdict_agrees_with_the_end_that_is_shown():
    rng = np.random.default_rng(4)
    for _ in range(20):
        estimate = groups_apart(rate(rng.binomial(400, [0.9, 0.85, 0.87]), 400))
        shown = assess(estimate)
        for bound in (0.03, 0.08, 0.12):
            made = one_sided(estimate, bound, "at_most", alpha=ALPHA)
            # Both methods must agree: the shown end may lie inside while p still says no.
            if made.p_pass[0] <= ALPHA:
                assert shown.high[0] <= bound + 1e-9
            if made.p_fail[0] <= ALPHA:
                assert shown.low[0] >= bound - 1e-9
