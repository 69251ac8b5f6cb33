"""Cells say what rows say: the same estimates as the ruler's, whatever is counted together."""

import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

from shipworthy.measure import cell_means, rates
from shipworthy.measure.cells import area, condensed, largest, rate
from shipworthy.measure.effective import share_of
from shipworthy.measure.estimates import Rate
from shipworthy.measure.quality import quality
from shipworthy.measure.shown import assess
from shipworthy.measure.slices import partition

sys.path.insert(0, str(Path(__file__).parent))

from audit_tables import drawn_table, tallied
from drawn_answers import answers


def by_rows(frame, clustered):
    """The ruler's predictions and partition of the same table."""
    keys = frame.select("g", "u")
    one = answers(frame["y"], frame["s"].to_numpy(), predicted=frame["p"], frame=keys)
    return one, partition(keys, ["g"], unit="u" if clustered else None)


@pytest.mark.parametrize("clustered", [False, True])
@pytest.mark.parametrize(
    "measure",
    ["accuracy", "selection_rate", "true_positive_rate", "false_positive_rate", "precision",
     "negative_predictive_value", "f1", "balanced_accuracy"],
)  # fmt: skip
def test_shares_are_those_of_the_ruler(measure, clustered):
    frame = drawn_table(1)
    mine = tallied(frame, **({"unit": "u"} if clustered else {})).estimate(measure, ("g",))
    one, rows = by_rows(frame, clustered)
    theirs = quality(measure, rows, one)
    for ours, other in zip(vars(assess(mine)).values(), vars(assess(theirs)).values(), strict=True):
        if isinstance(ours, np.ndarray):
            np.testing.assert_allclose(ours, other, rtol=1e-12)


@pytest.mark.parametrize("clustered", [False, True])
@pytest.mark.parametrize(
    "measure", ["auc", "log_loss", "brier_score", "expected_calibration_error"]
)
def test_measures_of_scores_are_those_of_the_ruler(measure, clustered):
    frame = drawn_table(2)
    # Scores of exactly one half have no chosen class that all would agree on.
    frame = frame.with_columns(s=pl.col("s").replace(0.5, 0.501))
    roles = {"score": "s"} | ({"unit": "u"} if clustered else {})
    mine = assess(tallied(frame, **roles).estimate(measure, ("g",)))
    one, rows = by_rows(frame, clustered)
    theirs = assess(quality(measure, rows, one))
    np.testing.assert_allclose(mine.value, theirs.value, rtol=1e-9)
    # Without units, rows of the calibration error lie in other buckets than the ruler's.
    loose = measure == "expected_calibration_error" and not clustered
    for end in ("low", "high"):
        np.testing.assert_allclose(
            getattr(mine, end),
            getattr(theirs, end),
            rtol=0.15 if loose else 1e-9,
            atol=2e-3 * loose,
        )


def test_weights_make_the_share_and_cost_rows():
    frame = drawn_table(3)
    found = tallied(frame, weight="w").estimate("selection_rate", ("g",))
    for k, (_, part) in enumerate(sorted(frame.group_by("g"))):
        w = part["w"].to_numpy()
        assert share_of(found)[k] == pytest.approx(np.average(part["p"], weights=w))
        assert found.trials[k] / found.deff[k] == pytest.approx(w.sum() ** 2 / (w**2).sum())


@pytest.mark.parametrize("measure", ["auc", "log_loss", "brier_score"])
def test_weights_count_in_scores(measure):
    frame = drawn_table(4)
    value = assess(tallied(frame, weight="w", score="s").estimate(measure, ())).value[0]
    y, s, w = (frame[c].to_numpy() for c in ("y", "s", "w"))
    theirs = {
        "auc": metrics.roc_auc_score, "log_loss": metrics.log_loss,
        "brier_score": metrics.brier_score_loss,
    }[measure](y, s, sample_weight=w)  # fmt: skip
    assert value == pytest.approx(theirs, rel=1e-9)


@pytest.mark.parametrize("measure", ["selection_rate", "theil_index", "auc", "calibration_slope"])
def test_weights_of_one_are_no_weights(measure):
    frame = drawn_table(5).with_columns(w=pl.lit(1.0))
    plain = tallied(frame, unit="u", score="s")
    same = tallied(frame, unit="u", score="s", weight="w")
    one, other = (assess(t.estimate(measure, ("g",))) for t in (plain, same))
    np.testing.assert_allclose(one.value, other.value, rtol=1e-12)
    np.testing.assert_allclose(one.high, other.high, rtol=1e-12)


@pytest.mark.parametrize("measure", ["theil_index", "generalized_entropy_index", "accuracy"])
def test_cells_of_many_rows_are_as_their_rows(measure):
    """The same table counted (cells of many rows) and kept row by row (because of scores)."""
    frame = drawn_table(6)
    counted, kept = tallied(frame), tallied(frame, score="s")
    assert len(counted.counted.cells) < 30 < len(kept.counted.cells)
    one, other = (assess(t.estimate(measure, ("g", "h"))) for t in (counted, kept))
    for end in ("value", "low", "high", "n"):
        np.testing.assert_allclose(getattr(one, end), getattr(other, end), rtol=1e-9)


def test_condensed_cells_have_the_same_sums():
    where = area(tallied(drawn_table(7), unit="u").counted.cells, ("h",))
    fewer = condensed(where)
    assert len(fewer.cells) < len(where.cells)
    y = [a.cells.keys["label"] == 1 for a in (where, fewer)]
    s = [a.cells.keys["prediction"] == 1 for a in (where, fewer)]
    one, other = rate(where, y[0], s[0]), rate(fewer, y[1], s[1])
    for name in ("successes", "trials", "units", "deff"):
        np.testing.assert_allclose(getattr(one, name), getattr(other, name))


def test_the_largest_slices_stay_in_order():
    where = area(tallied(drawn_table(8)).counted.cells, ("g", "h"))
    rows = where.rows(np.ones(len(where.cells), dtype=bool))
    kept = largest(where, 3)
    assert [where.slices.index(s) for s in kept.slices] == sorted(np.argsort(-rows)[:3].tolist())
    assert kept.rows(np.ones(len(kept.cells), bool)).sum() == np.sort(rows)[-3:].sum()


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 7))
def test_neither_the_order_of_rows_nor_their_parts_change_anything(seed, parts):
    frame = drawn_table(9, n=300)
    mixed = frame.sample(fraction=1.0, shuffle=True, seed=seed)
    roles = {"score": "s", "unit": "u", "weight": "w"}
    one, other = tallied(frame, **roles), tallied(mixed, parts=parts, **roles)
    for measure in one.measures:
        a, b = (assess(t.estimate(measure, ("g",))) for t in (one, other))
        np.testing.assert_allclose(a.value, b.value, rtol=1e-7, err_msg=measure)
        np.testing.assert_allclose(a.low, b.low, rtol=1e-6, atol=1e-9, err_msg=measure)


@given(st.permutations(["x", "y", "z"]))
@settings(max_examples=6, deadline=None)
def test_renaming_groups_renames_slices_and_nothing_else(names):
    frame = drawn_table(10, n=300)
    renamed = frame.with_columns(g=pl.col("g").replace(dict(zip("xyz", names, strict=True))))
    one, other = tallied(frame), tallied(renamed)
    a, b = (assess(t.estimate("accuracy", ("g",))) for t in (one, other))
    order = [sorted(names).index(n) for n in names]
    np.testing.assert_allclose(a.value, b.value[order])


def test_influences_give_the_variance_of_the_bootstrap():
    """Linearised standard errors agree with the spread of resampled tables (5,000 rows, 400)."""
    frame = drawn_table(11, n=5000)
    rng = np.random.default_rng(0)
    measures = ("theil_index", "generalized_entropy_index", "calibration_slope", "auc")
    estimates = {m: tallied(frame, score="s").estimate(m, ()) for m in measures}
    values = {m: [] for m in measures}
    for _ in range(150):
        again = tallied(frame[rng.integers(0, 5000, 5000)], score="s")
        for m in measures:
            values[m].append(assess(again.estimate(m, ())).value[0])
    for m, estimate in estimates.items():
        shown = assess(estimate)
        half = (shown.high[0] - shown.low[0]) / 2 / 1.96
        assert half == pytest.approx(np.std(values[m]), rel=0.25), m


def test_an_area_without_a_class_has_no_data():
    frame = drawn_table(12).with_columns(y=pl.when(pl.col("g") == "z").then(0).otherwise("y"))
    found = tallied(frame, score="s")
    assert np.isnan(assess(found.estimate("auc", ("g",))).value).tolist() == [False, False, True]
    tpr = found.estimate("true_positive_rate", ("g",))
    assert isinstance(tpr, Rate) and np.isnan(share_of(tpr)).tolist() == [False, False, True]
    slope = found.estimate("calibration_slope", ("g",))
    assert np.isnan(assess(slope).value).tolist() == [False, False, True]


def test_widened_errors_are_the_cautious_ones():
    rng = np.random.default_rng(0)
    parts, owners = rng.normal(size=50), rng.integers(0, 3, 50)
    sums = [np.bincount(owners, f, 3) for f in (parts**2, np.abs(parts) ** 3, parts**3)]
    error, reach = np.ones(3), np.full(3, 0.1)
    np.testing.assert_array_equal(
        rates.cautious(error, parts, owners, reach), rates.widened(error, *sums, reach)
    )


def test_means_need_no_reach_that_nobody_gave():
    found = tallied(drawn_table(13), score="s")
    where = found.area((), scored=True)
    given = cell_means.mean_of(where, where.cells.numbers["score"], reach=1.0)
    free = cell_means.mean_of(where, where.cells.numbers["score"])
    assert given.value == free.value
    assert given.standard_error[0] == pytest.approx(free.standard_error[0], rel=0.02)
