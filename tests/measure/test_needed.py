"""The n beside a "cannot tell": right where it can be known, absent where it cannot."""

import sys
from pathlib import Path

import numpy as np
import pytest

from shipworthy.measure.estimates import (
    ChangeMean,
    F1Score,
    Fact,
    RateDifference,
    RateMean,
    Spread,
    Unmeasured,
)
from shipworthy.measure.needed import rows_needed
from shipworthy.measure.one_sided import one_sided
from shipworthy.measure.power import paired_rows_needed, rate_rows_needed

sys.path.insert(0, str(Path(__file__).parent))

from gate_builders import ALPHA, change, mean, rate, replicates


def needed(estimate, bound, **more):
    return rows_needed(estimate, bound, alpha=ALPHA, **more)


def test_changes_follow_the_formula_at_what_was_observed():
    (rows,) = needed(change(20, 10, 600), -0.02)
    assert rows == paired_rows_needed(0.05, 0.02, -10 / 600)
    (rows,) = needed(change(20, 10, 600, units=60, deff=2.0), -0.02)
    assert rows == 2 * paired_rows_needed(0.05, 0.02, -10 / 600)
    (mirrored,) = needed(change(10, 20, 600), 0.02)
    assert mirrored == paired_rows_needed(0.05, 0.02, -10 / 600)


def test_no_flips_need_what_no_flips_can_pass_with():
    (rows,) = needed(change(0, 0, 200), -0.01)
    assert rows == 381
    for n, passes in ((380, False), (381, True)):
        p = one_sided(change(0, 0, n), -0.01, "at_least", alpha=ALPHA).p_pass
        assert bool(p[0] <= ALPHA) is passes


def test_shares_follow_the_formula_and_the_exact_test_without_events():
    (rows,) = needed(rate(170, 200), 0.80)
    assert rows == rate_rows_needed(0.85, 0.80)
    (rows,) = needed(rate(0, 30), 0.02)
    assert rows == 183
    (rows,) = needed(rate(30, 30), 0.98)
    assert rows == 183
    (rows,) = needed(F1Score(rate(120, 200)), 0.70)
    assert rows == rate_rows_needed(0.6, 0.7 / 1.3)


def test_a_deeper_level_needs_more():
    for estimate, bound in (
        (change(20, 10, 600), -0.02),
        (rate(170, 200), 0.80),
        (mean(0.5, 0.1), 0.4),
        (RateDifference(rate(90, 100), rate(80, 100)), 0.05),
    ):
        (first,), (second,) = (
            rows_needed(estimate, bound, alpha=level) for level in (0.025, 0.0125)
        )
        assert second > first


@pytest.mark.parametrize(
    ("estimate", "bound"),
    [
        (Fact(np.array([1.0])), 2.0),
        (Unmeasured("no_data"), 0.5),
        (rate(0, 0), 0.5),
        (change(0, 0, 0), -0.02),
        (rate(80, 100), 0.80),
        (change(12, 0, 600), -0.02),
        (change(12, 0, 600), np.nan),
        (mean(10.0, 0.1, df=4, n=np.nan, units=np.nan, scale="log"), 12.0),
        (mean(10.0, 0.1, df=4, n=2000, units=np.nan, scale="log"), 12.0),
        (mean(10.0, 0.1, df=2, n=60, reason="too_few_processes"), 12.0),
        (RateMean((rate(90, 100), rate(0, 0))), 0.5),
        (Spread((rate([90, 0], [100, 0]),), "difference", ("a", "b")), 0.1),
    ],
)
def test_where_no_number_of_rows_would_do_there_is_none(estimate, bound):
    assert needed(estimate, bound) == (None,)


def test_slices_have_their_own_numbers():
    assert len(needed(Unmeasured("no_data", m=3), 0.5)) == 3
    assert len(needed(Fact(np.ones(2)), 0.5)) == 2
    rows = needed(change([20, 12, 0], [10, 0, 0], [600, 600, 200]), -0.02)
    assert rows[1] is None and rows[0] > 600 and rows[2] == 201


def test_the_minimum_of_rows_and_units_counts_in_every_denominator():
    (rows,) = needed(change(0, 0, 5), -0.9)
    assert rows == 20
    (rows,) = needed(change(0, 0, 100, units=4), -0.9)
    assert rows == 250
    # One class has a tenth of the rows: all must grow until it has twenty.
    (rows,) = needed(RateMean((rate(90, 100), rate(9, 10))), 0.1)
    assert rows == 220
    (rows,) = needed(ChangeMean((change(0, 0, 300), change(0, 0, 10))), -0.9)
    assert rows == 620
    counted = Spread((rate([95, 9], [100, 10]),), "difference", ("a", "b"))
    assert needed(counted, 0.9) == (220,)
    # Thirty of each class for an area under the curve.
    (rows,) = needed(mean(0.9, 0.4, n=200, least=15, scale="logit"), 0.2)
    assert rows == 400


def test_other_families_scale_their_interval():
    (rows,) = needed(mean(0.5, 0.04, n=400), 0.4)
    reach = (1.959964 + 0.841621) / 1.959964
    assert rows == max(np.ceil(400 * (reach * 1.959964 * 0.04 / 0.1) ** 2), 401)
    drawn = np.random.default_rng(1).normal(0.75, 0.02, (1, 4000))
    (rows,) = needed(replicates(0.75, drawn, n=500), 0.72)
    assert rows == pytest.approx(500 * (2.8016 * 0.02 / 0.03) ** 2, rel=0.05)


def test_the_number_decides_in_about_four_runs_of_five():
    rng = np.random.default_rng(11)
    (rows,) = needed(change(20, 10, 600), -0.03)
    drawn = rng.multinomial(rows, [20 / 600, 10 / 600, 570 / 600], size=4000)
    p = one_sided(change(drawn[:, 0], drawn[:, 1], rows), -0.03, "at_least", alpha=ALPHA).p_pass
    assert np.mean(p <= ALPHA) == pytest.approx(0.8, abs=0.03)
    (rows,) = needed(rate(170, 200), 0.80)
    drawn = rng.binomial(rows, 0.85, size=4000)
    p = one_sided(rate(drawn, rows), 0.80, "at_least", alpha=ALPHA).p_pass
    assert np.mean(p <= ALPHA) == pytest.approx(0.8, abs=0.04)
