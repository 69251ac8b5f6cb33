"""The interval beside a number: which method, which n, and what has none."""

import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from shipworthy.measure.estimates import (
    ChangeMean,
    F1Score,
    Fact,
    RateDifference,
    RateMean,
    RateRatio,
    Unmeasured,
)
from shipworthy.measure.intervals import (
    clopper_pearson,
    korn_graubard_n,
    mover_mean,
    wilson,
)
from shipworthy.measure.paired import tango
from shipworthy.measure.shown import assess
from shipworthy.measure.two_groups import koopman, miettinen_nurminen

sys.path.insert(0, str(Path(__file__).parent))

from gate_builders import change, mean, rate, replicates


def ends(shown):
    return [shown.low.tolist(), shown.high.tolist()]


def same(shown, interval):
    return ends(shown) == [
        pytest.approx(np.atleast_1d(interval.low).tolist()),
        pytest.approx(np.atleast_1d(interval.high).tolist()),
    ]


def test_a_share_shows_wilson_and_exact_ends_where_a_limit_looks():
    counted = rate([45, 0, 60], [50, 20, 60])
    plain, exact = assess(counted), assess(counted, exact=True)
    assert same(plain, wilson([45, 0, 60], [50, 20, 60])) and plain.method == "Wilson"
    assert same(exact, clopper_pearson([45, 0, 60], [50, 20, 60]))
    assert exact.method == "exact binomial"
    assert plain.value.tolist() == [0.9, 0.0, 1.0]
    assert same(assess(counted, confidence=0.9), wilson([45, 0, 60], [50, 20, 60], confidence=0.9))


def test_no_data_is_nan_and_counts_nothing():
    shown = assess(rate([0, 9], [0, 10]))
    assert np.isnan([shown.value[0], shown.low[0], shown.high[0]]).all()
    assert shown.n.tolist() == [0, 10] and shown.units.tolist() == [0, 10]
    shown = assess(change([0], [0], [0]))
    assert np.isnan([shown.value[0], shown.low[0], shown.high[0]]).all()


def test_units_widen_what_is_shown():
    counted = rate(900, 1000, units=50, deff=2.5)
    shown, exact = assess(counted), assess(counted, exact=True)
    assert same(shown, wilson(360, 400, df=49))
    n = korn_graubard_n(1000, 50, 2.5)
    assert same(exact, clopper_pearson(0.9 * n, n))
    assert (shown.n[0], shown.units[0], shown.n_effective[0]) == (1000, 50, 400)
    paired = assess(change(60, 30, 1200, units=40, deff=3.0))
    assert same(paired, tango(20, 10, 400, df=39))
    assert paired.value[0] == -0.025 and paired.n_effective[0] == 400


def test_f1_through_its_share():
    for exact, method in ((False, wilson), (True, clopper_pearson)):
        shown = assess(F1Score(rate(150, 250)), exact=exact)
        j = method(150, 250)
        assert shown.value[0] == pytest.approx(0.75)
        assert shown.low[0] == pytest.approx(2 * float(j.low) / (1 + float(j.low)))
        assert shown.high[0] == pytest.approx(2 * float(j.high) / (1 + float(j.high)))
        assert shown.n[0] == 250 and shown.method.endswith("on TP/(TP+FP+FN)")


def test_means_of_shares_by_mover():
    parts = (rate(45, 50), rate(120, 150))
    for exact, method in ((False, wilson), (True, clopper_pearson)):
        shown = assess(RateMean(parts), exact=exact)
        one, two = method(45, 50), method(120, 150)
        expected = mover_mean([one.low, two.low], [0.9, 0.8], [one.high, two.high])
        assert same(shown, expected)
        assert (shown.value[0], shown.n[0]) == (pytest.approx(0.85), 200)
    changes = (change(9, 3, 300), change(4, 6, 200))
    shown = assess(ChangeMean(changes))
    one, two = tango(9, 3, 300), tango(4, 6, 200)
    assert same(shown, mover_mean([one.low, two.low], [-0.02, 0.01], [one.high, two.high]))
    assert (shown.value[0], shown.n[0], shown.units[0]) == (pytest.approx(-0.005), 500, 500)


def test_two_groups():
    first, second = rate([45, 5], [50, 20]), rate([30, 0], [60, 20])
    shown = assess(RateDifference(first, second))
    assert same(shown, miettinen_nurminen([45, 5], [50, 20], [30, 0], [60, 20]))
    assert shown.value.tolist() == pytest.approx([0.4, 0.25])
    assert shown.n.tolist() == [110, 40]
    shown = assess(RateRatio(first, second))
    expected = koopman([45, 5], [50, 20], [30, 0], [60, 20])
    assert same(shown, expected) and np.isinf(shown.high[1])
    assert shown.value[0] == pytest.approx(1.8) and np.isnan(shown.value[1])


@pytest.mark.parametrize(
    ("scale", "to", "back"),
    [
        ("identity", lambda x: x, lambda x: x),
        ("log", np.log, np.exp),
        ("logit", lambda x: np.log(x / (1 - x)), lambda x: 1 / (1 + np.exp(-x))),
    ],
)
def test_means_on_their_scale(scale, to, back):
    shown = assess(mean(0.8, 0.05, df=9, scale=scale))
    half = 0.05 * stats.t.ppf(0.975, 9)
    assert shown.low[0] == pytest.approx(back(to(0.8) - half))
    assert shown.high[0] == pytest.approx(back(to(0.8) + half))


def test_a_mean_that_does_not_count_rows_shows_none():
    shown = assess(mean(12.0, 0.02, df=4, n=np.nan, units=np.nan, scale="log"))
    assert (shown.n[0], shown.units[0], shown.n_effective[0]) == (0, 0, 0)
    assert shown.low[0] < 12.0 < shown.high[0]
    shown = assess(mean(np.nan, np.nan))
    assert np.isnan([shown.value[0], shown.low[0], shown.high[0]]).all()


def test_replicates_show_their_quantiles_unless_refused():
    drawn = np.tile(np.linspace(0.7, 0.8, 1001), (2, 1))
    shown = assess(replicates([0.75, 0.75], drawn, reasons=("", "unit_count")))
    assert shown.low[0] == pytest.approx(0.7025) and shown.high[0] == pytest.approx(0.7975)
    assert np.isnan([shown.low[1], shown.high[1]]).all() and shown.value[1] == 0.75


def test_the_parents_own_artefact_has_no_width():
    for estimate in (
        change(0, 0, 5, identical=True),
        ChangeMean((change(0, 0, 5, identical=True), change(0, 0, 9, identical=True))),
        mean(0.0, np.nan, identical=True),
        replicates(0.0, np.zeros((1, 9)), identical=True, reasons=("unit_count",)),
    ):
        shown = assess(estimate)
        assert (shown.low[0], shown.value[0], shown.high[0]) == (0.0, 0.0, 0.0)


def test_facts_and_missing_numbers():
    shown = assess(Fact(np.array([90.9, np.nan])))
    assert shown.low[0] == shown.value[0] == shown.high[0] == 90.9
    assert np.isnan(shown.value[1]) and shown.method == "exact" and shown.n.tolist() == [0, 0]
    shown = assess(Unmeasured("no_data", m=3))
    assert np.isnan(shown.value).all() and len(shown.value) == 3 and shown.method == "none"
