"""Comparisons of groups: values, pairs, error rates of their intervals, and what chance makes."""

import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from shipworthy.core.records import Slice
from shipworthy.measure import chance, pairwise
from shipworthy.measure.audited_gaps import gaps, odds_interval
from shipworthy.measure.estimates import Rate
from shipworthy.measure.intervals import Interval
from shipworthy.measure.shown import assess
from shipworthy.measure.shrinkage import shrunk
from shipworthy.measure.two_groups import miettinen_nurminen

sys.path.insert(0, str(Path(__file__).parent))

from audit_tables import COUNTS, from_counts, tallied

BY_HAND = {
    # fairlearn 0.15.0 on the same 200 rows: demographic_parity_difference, _ratio,
    # equal_opportunity_difference, equalized_odds_difference.
    "statistical_parity_difference": 0.2575,
    "disparate_impact_ratio": 0.4114285714285714,
    "equal_opportunity_difference": 0.4,
    "equalized_odds_difference": 0.4,
}
AIF360 = {
    # aif360 0.6.1 on groups a (privileged) and b, unprivileged less privileged; ours is the
    # reference less the group, so that the sign turns.
    "statistical_parity_difference": 0.1375,
    "equal_opportunity_difference": 0.15,
    "average_odds_difference": 0.0475,
    "false_positive_rate_difference": -0.055,
    "false_negative_rate_difference": -0.15,
    "accuracy_difference": 0.05535714285714288,
    "predictive_parity_difference": 0.2857142857142857,
}


def found(frame, **options):
    return {g.measure: g for g in gaps(tallied(frame), ("g",), confidence=0.95, **options)}


def test_values_are_those_of_fairlearn():
    made = found(from_counts())
    for measure, value in BY_HAND.items():
        assert made[measure].value == pytest.approx(value, abs=1e-12), measure
        assert made[measure].low <= value <= made[measure].high
    assert [str(s) for s in made["statistical_parity_difference"].between] == ["g=a", "g=c"]
    assert [str(s) for s in made["disparate_impact_ratio"].between] == ["g=c", "g=a"]


def test_values_against_a_reference_are_those_of_aif360():
    two = {k: v for k, v in COUNTS.items() if k != "c"}
    made = found(from_counts(two), reference=Slice.of({"g": "a"}))
    for measure, value in AIF360.items():
        assert made[measure].value == pytest.approx(value, abs=1e-12), measure
    assert made["disparate_impact_ratio"].value == pytest.approx(0.6857142857142857)
    assert made["equalized_odds_difference"].value == pytest.approx(0.15)
    tp, fn, fp, tn = COUNTS["a"]
    b = COUNTS["b"]
    ends = miettinen_nurminen([tp + fp], [tp + fn + fp + tn], [b[0] + b[2]], [sum(b)])
    spd = made["statistical_parity_difference"]
    assert (spd.low, spd.high) == (pytest.approx(ends.low[0]), pytest.approx(ends.high[0]))


def test_every_group_is_compared_with_the_reference_once():
    frame = from_counts()
    made = list(gaps(tallied(frame), ("g",), confidence=0.95, reference=Slice.of({"g": "b"})))
    pairs = [g.between for g in made if g.measure == "accuracy_difference"]
    assert [[str(s) for s in p] for p in pairs] == [["g=b", "g=a"], ["g=b", "g=c"]]
    assert len(made) == 2 * len({g.measure for g in made})


def test_treatment_equality_is_the_ratio_of_errors():
    made = found(from_counts())["treatment_equality_difference"]
    ratios = [fn / fp for _, fn, fp, _ in COUNTS.values()]
    assert made.value == pytest.approx(max(ratios) - min(ratios))
    one = Rate(*(np.array([v]) for v in (10.0, 15.0, 15.0, 1.0)))
    value, ends = odds_interval(one, 0.95)
    assert value[0] == pytest.approx(2.0) and ends.low[0] < 2 < ends.high[0]


def test_groups_without_a_denominator_are_left_out():
    frame = from_counts({"a": (5, 5, 5, 5), "b": (0, 0, 4, 6), "c": (3, 7, 5, 5)})
    made = found(frame)
    assert [str(s) for s in made["equal_opportunity_difference"].between] == ["g=a", "g=c"]
    nobody = found(from_counts({"a": (0, 0, 4, 6), "b": (0, 0, 5, 5)}))
    assert np.isnan(nobody["equal_opportunity_difference"].value)
    assert nobody["equal_opportunity_difference"].between == ()


def test_one_group_has_no_gap():
    assert found(from_counts({"a": (5, 5, 5, 5)})) == {}


def test_renamed_groups_have_the_same_gaps():
    one = found(from_counts())
    other = found(from_counts().with_columns(pl.col("g").replace({"a": "z", "c": "1"})))
    for measure, gap in one.items():
        assert other[measure].value == pytest.approx(gap.value)
        assert other[measure].high == pytest.approx(gap.high)


def test_ends_of_numbers_hold_what_they_promise():
    """Four means in a row, 4,000 tables: too high by chance in at most .029, and no lower end."""
    rng = np.random.default_rng(0)
    truth, errors = np.array([0.0, 0.3, 0.3, 0.1]), np.array([0.2, 0.1, 0.15, 0.3])
    over = under = 0
    from scipy.special import ndtri

    for _ in range(4000):
        values = truth + rng.normal(size=4) * errors

        def ends(level, values=values):
            half = -ndtri(level) * errors
            return Interval(values - half, values + half)

        made = pairwise.spread_of(values, ends, 0.025)
        under += made.high < 0.3
        over += made.low > 0.3
    # One-sided .025 allows 4,000 x .025 and, at the quantile 1e-4, 137.
    assert under <= 137 and over <= 137, (under, over)


def test_among_equals_no_gap_of_numbers_is_found():
    rng = np.random.default_rng(1)
    from scipy.special import ndtri

    false = 0
    for _ in range(4000):
        values = rng.normal(size=5) * 0.1

        def ends(level, values=values):
            return Interval(values + ndtri(level) * 0.1, values - ndtri(level) * 0.1)

        false += pairwise.spread_of(values, ends, 0.025).low > 0
    assert 0 < false <= 137


def test_an_unknown_end_leaves_a_gap_open():
    ends = Interval(np.array([0.1, np.nan]), np.array([0.3, np.nan]))
    made = pairwise.spread_of(np.array([0.2, 0.5]), lambda _: ends, 0.025)
    assert (made.low, made.high) == (0.0, np.inf)


def test_chance_is_what_equal_groups_show():
    """Two groups of n rows: the mean of |difference| of normals is sqrt(4 p q / (pi n))."""
    n, p = 400.0, 0.3
    rate = Rate(np.full(2, n * p), np.full(2, n), np.full(2, n), np.ones(2))
    made = chance.expected((rate,), "difference", 0.0)
    assert made.mean == pytest.approx(np.sqrt(4 * p * (1 - p) / (np.pi * n)), rel=0.05)
    assert made.share == 1.0
    assert chance.expected((rate,), "difference", 0.5).share == 0.0
    again = chance.expected((rate,), "difference", 0.0)
    assert again == made
    numbers = chance.expected_of_numbers(np.zeros(2), np.full(2, 0.1), 0.0)
    assert numbers.mean == pytest.approx(0.1 * 2 / np.sqrt(np.pi), rel=0.05)


def test_chance_of_one_group_is_unknown():
    one = Rate(*(np.array(v) for v in ([3.0, 0.0], [9.0, 0.0], [9.0, 0.0], [1.0, 1.0])))
    assert np.isnan(chance.expected((one,), "difference", 0.1).mean)


def test_what_can_be_seen_is_seen_four_times_out_of_five():
    n = 500
    rate = Rate(np.full(2, 150.0), np.full(2, float(n)), np.full(2, float(n)), np.ones(2))
    gap = chance.detectable(rate, 0, 1, 0.025)
    rng = np.random.default_rng(2)
    a = rng.binomial(n, 0.3 + gap / 2, 3000)
    b = rng.binomial(n, 0.3 - gap / 2, 3000)
    seen = (miettinen_nurminen(a, np.full(3000, n), b, np.full(3000, n)).low > 0).mean()
    assert seen == pytest.approx(0.8, abs=0.03)


def test_shrinkage_helps_small_groups_and_leaves_large_ones():
    """Shares of 60 groups drawn about .3: the shrunk ones lie nearer to the truth."""
    rng = np.random.default_rng(3)
    truth = rng.beta(6, 14, 60)
    n = rng.choice([8, 15, 400], 60).astype(float)
    rate = Rate(rng.binomial(n.astype(int), truth).astype(float), n, n, np.ones(60))
    raw, drawn = rate.successes / n, shrunk(rate)
    small = n < 100
    assert np.mean((drawn - truth)[small] ** 2) < 0.75 * np.mean((raw - truth)[small] ** 2)
    np.testing.assert_allclose(drawn[~small], raw[~small], atol=0.02)


def test_equal_groups_are_shrunk_onto_their_mean():
    rate = Rate(np.full(4, 3.0), np.full(4, 10.0), np.full(4, 10.0), np.ones(4))
    np.testing.assert_allclose(shrunk(rate), 0.3)
    two = Rate(np.array([1.0, 9.0]), np.full(2, 10.0), np.full(2, 10.0), np.ones(2))
    np.testing.assert_allclose(shrunk(two), [0.1, 0.9])


def test_benefits_are_those_of_aif360():
    """Theil and generalised entropy (alpha 2) on groups a and b, aif360 0.6.1."""
    answers = tallied(from_counts({k: v for k, v in COUNTS.items() if k != "c"}))
    values = {m: assess(answers.estimate(m, ())).value[0] for m in ("theil_index",
              "generalized_entropy_index")}  # fmt: skip
    assert values["theil_index"] == pytest.approx(0.15996100838571692, abs=1e-12)
    assert values["generalized_entropy_index"] == pytest.approx(0.11221617564270966, abs=1e-12)
