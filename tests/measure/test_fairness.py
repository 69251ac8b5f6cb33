"""Spreads over groups: the shares behind them, and what stands in their way."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from shipworthy.measure.catalogue import MEASURES
from shipworthy.measure.estimates import Spread, Unmeasured
from shipworthy.measure.fairness import SPREADS, spread_over
from shipworthy.measure.one_sided import one_sided
from shipworthy.measure.shown import assess
from shipworthy.measure.slices import partition

sys.path.insert(0, str(Path(__file__).parent))

from drawn_answers import answers, drawn

ALPHA = 0.025


def shares(one, groups):
    """Accuracy, selection rate, true and false positive rate, precision of each group, by loops."""
    found = []
    for part in groups.parts:
        y, p = one.labels[part], one.predicted[part]
        rates = (y == p).mean(), p.mean(), p[y == 1].mean(), p[y == 0].mean(), y[p == 1].mean()
        found.append(rates)
    return np.array(found).T


def test_every_spread_of_the_catalogue_is_one():
    assert set(SPREADS) == {name for name, kind in MEASURES.items() if kind.kind == "spread"}


@pytest.mark.parametrize("clustered", [False, True])
def test_spreads_agree_with_loops(clustered):
    _, one = drawn(1, n=1500)
    groups = partition(one.frame, ["group"], unit="unit" if clustered else None)
    accuracy, selected, tpr, fpr, precision = shares(one, groups)
    expected = {
        "accuracy_difference": np.ptp(accuracy),
        "statistical_parity_difference": np.ptp(selected),
        "disparate_impact_ratio": selected.min() / selected.max(),
        "equal_opportunity_difference": np.ptp(tpr),
        "equalized_odds_difference": max(np.ptp(tpr), np.ptp(fpr)),
        "false_positive_rate_difference": np.ptp(fpr),
        "false_negative_rate_difference": np.ptp(1 - tpr),
        "predictive_parity_difference": np.ptp(precision),
    }
    assert set(expected) == set(SPREADS)
    for measure, value in expected.items():
        made = spread_over(measure, groups, one)
        assert isinstance(made, Spread)
        assert made.groups == ("group=x", "group=y", "group=z", "group=(missing)")
        shown = assess(made)
        assert shown.value[0] == pytest.approx(value)
        assert shown.low[0] <= value <= shown.high[0]


def test_planted_gap_is_found_and_equal_groups_pass():
    labels = np.tile([0, 1], 4000)
    group = np.repeat(["a", "b"], 4000)
    quarter = (group == "b") & (np.arange(8000) % 4 < 2)
    missed = np.where(quarter & (labels == 1), 0, labels)
    alarmed = np.where(quarter & (labels == 0), 1, labels)
    frame = pl.DataFrame({"group": group})
    scores = np.full(8000, 0.5)
    fair = answers(labels, scores, predicted=labels, frame=frame)
    unfair = {
        alarms: answers(labels, scores, predicted=alarmed if alarms else missed, frame=frame)
        for alarms in (True, False)
    }
    groups = partition(frame, ["group"])
    for measure in SPREADS:
        side, bound = ("at_least", 0.8) if measure == "disparate_impact_ratio" else ("at_most", 0.1)
        good = one_sided(spread_over(measure, groups, fair), bound, side, alpha=ALPHA)
        alarms = measure in ("false_positive_rate_difference", "predictive_parity_difference")
        bad = one_sided(spread_over(measure, groups, unfair[alarms]), bound, side, alpha=ALPHA)
        assert good.p_pass[0] <= ALPHA, measure
        assert bad.p_fail[0] <= ALPHA and bad.p_pass[0] > 0.5, measure


def test_what_cannot_be_compared():
    one, _ = drawn(2)
    many, _ = drawn(2, k=4)
    groups = partition(one.frame, ["group"])
    whole = partition(one.frame)
    for measure in SPREADS:
        assert spread_over(measure, whole, one) == Unmeasured("no_data")
        made = spread_over(measure, groups, many)
        if measure == "accuracy_difference":
            assert isinstance(made, Spread)
        else:
            assert made == Unmeasured("no_positive_class")


def test_a_group_of_three_rows_leaves_the_spread_open():
    one, _ = drawn(3, n=800)
    frame = one.frame.with_columns(
        group=pl.when(pl.int_range(pl.len()) < 3).then(pl.lit("tiny")).otherwise(pl.lit("rest"))
    )
    groups = partition(frame, ["group"])
    found = one_sided(
        spread_over("accuracy_difference", groups, replace(one, frame=frame)), 0.5, "at_most",
        alpha=ALPHA,
    )  # fmt: skip
    assert found.reasons == ("too_few_rows",) and np.isnan(found.p_pass[0])
