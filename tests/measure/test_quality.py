"""Measures of quality: scikit-learn on every slice alone, invariants, and the odd cases."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

from shipworthy.measure.auc import auc_change, auc_variance
from shipworthy.measure.catalogue import MEASURES
from shipworthy.measure.estimates import (
    ChangeMean,
    F1Score,
    Mean,
    PairedChange,
    Rate,
    RateMean,
    Replicates,
    Unmeasured,
)
from shipworthy.measure.one_sided import one_sided
from shipworthy.measure.quality import LEAST_PROBABILITY, quality
from shipworthy.measure.shown import assess
from shipworthy.measure.slices import partition

sys.path.insert(0, str(Path(__file__).parent))

from drawn_answers import answers, drawn, rows_of, runs

ALPHA = 0.025
QUALITY = [name for name, kind in MEASURES.items() if kind.kind == "quality" and not kind.values]
BOTH = [name for name in QUALITY if "parent" not in MEASURES[name].needs]
# Macro averages draw replicates: their own tests are in test_macro.py.
COUNTED = [name for name in BOTH if name not in ("f1", "precision")]


def values(estimate):
    return assess(estimate).value


def expected(measure: str, one) -> float:
    """The measure of all rows of a model by scikit-learn."""
    y, p, score = one.labels, one.predicted, one.probabilities
    k, binary = len(one.classes), len(one.classes) == 2
    mean = {"average": "binary" if binary else "macro", "zero_division": 0}
    if measure == "accuracy":
        return metrics.accuracy_score(y, p)
    if measure == "balanced_accuracy":
        return metrics.balanced_accuracy_score(y, p)
    if measure == "f1":
        return metrics.f1_score(y, p, labels=None if binary else np.unique(y), **mean)
    if measure == "precision":
        return metrics.precision_score(y, p, labels=None if binary else np.unique(y), **mean)
    if measure in ("recall", "true_positive_rate"):
        return metrics.recall_score(y, p, labels=None if binary else np.unique(y), **mean)
    if measure == "false_positive_rate":
        return metrics.recall_score(1 - y, p, pos_label=1)
    if measure == "selection_rate":
        return np.mean(p == 1)
    if measure == "true_negative_rate":
        return metrics.recall_score(y, p, pos_label=0)
    if measure == "false_negative_rate":
        return 1 - metrics.recall_score(y, p)
    if measure == "negative_predictive_value":
        return metrics.precision_score(y, p, pos_label=0, zero_division=0)
    if measure == "log_loss":
        clipped = np.clip(score, LEAST_PROBABILITY, 1)[np.arange(len(y)), y]
        assert -np.log(clipped).mean() == pytest.approx(
            metrics.log_loss(y, score, labels=range(k)), abs=1e-6
        )
        return -np.log(clipped).mean()
    if measure == "brier_score":
        if binary:
            return metrics.brier_score_loss(y, score[:, 1])
        return metrics.brier_score_loss(y, score, labels=range(k))
    return metrics.roc_auc_score(y, score[:, 1])


@pytest.mark.parametrize("k", [2, 4])
@pytest.mark.parametrize("measure", [m for m in BOTH if m != "expected_calibration_error"])
def test_each_slice_has_what_scikit_learn_finds_on_its_rows_alone(measure, k):
    parent, candidate = drawn(k, n=1200, k=k)
    rows = partition(parent.frame, ["group"], unit="unit")
    if "positive" in MEASURES[measure].needs and k > 2:
        assert quality(measure, rows, parent) == Unmeasured("no_positive_class", 4)
        return
    alone = [
        (expected(measure, rows_of(parent, part)), expected(measure, rows_of(candidate, part)))
        for part in rows.parts
    ]
    before, after = (np.array(v) for v in zip(*alone, strict=True))
    np.testing.assert_allclose(values(quality(measure, rows, parent)), before, atol=1e-12)
    np.testing.assert_allclose(values(quality(measure, rows, candidate)), after, atol=1e-12)
    change = quality(measure, rows, candidate, parent)
    np.testing.assert_allclose(values(change), after - before, atol=1e-12)


def test_families_of_estimates():
    parent, candidate = drawn(0)
    rows = partition(parent.frame, unit="unit")
    family = {m: type(quality(m, rows, parent)) for m in BOTH}
    assert family == {
        "accuracy": Rate, "balanced_accuracy": RateMean, "f1": F1Score, "precision": Rate,
        "recall": Rate, "log_loss": Mean, "brier_score": Mean, "auc": Mean,
        "expected_calibration_error": Mean, "selection_rate": Rate, "true_positive_rate": Rate,
        "false_positive_rate": Rate, "true_negative_rate": Rate, "false_negative_rate": Rate,
        "negative_predictive_value": Rate,
    }  # fmt: skip
    changed = {m: type(quality(m, rows, candidate, parent)) for m in QUALITY}
    assert {m for m, t in changed.items() if t is Mean} == {
        "f1", "precision", "log_loss", "brier_score", "auc", "expected_calibration_error",
        "negative_predictive_value",
    }  # fmt: skip
    assert changed["balanced_accuracy"] is ChangeMean and changed["accuracy"] is PairedChange
    assert changed["turned_wrong"] is Rate
    four, other = drawn(0, k=4)
    for measure in ("f1", "precision"):
        assert isinstance(quality(measure, rows, four), Replicates)
        assert isinstance(quality(measure, rows, other, four), Replicates)
    assert isinstance(quality("recall", rows, four), RateMean)


@pytest.mark.parametrize("k", [2, 4])
def test_flips(k):
    parent, candidate = drawn(2, k=k)
    rows = partition(parent.frame, ["group"], unit="unit")
    before, after = parent.predicted == parent.labels, candidate.predicted == candidate.labels
    wrong = quality("turned_wrong", rows, candidate, parent)
    right = quality("turned_right", rows, candidate, parent)
    assert wrong.successes.tolist() == rows.sums(before & ~after).tolist()
    assert right.successes.tolist() == rows.sums(after & ~before).tolist()
    change = quality("accuracy", rows, candidate, parent)
    assert change.lost.tolist() == wrong.successes.tolist()
    assert change.gained.tolist() == right.successes.tolist()
    assert quality("turned_wrong", rows, candidate) == Unmeasured("not_measured", rows.m)


@pytest.mark.parametrize("clustered", [False, True])
def test_areas_of_slices_agree_with_the_area_of_one_set_of_rows(clustered):
    parent, candidate = drawn(4, n=900)
    rows = partition(parent.frame, ["group"], unit="unit" if clustered else None)
    level, change = quality("auc", rows, candidate), quality("auc", rows, candidate, parent)
    for k, part in enumerate(rows.parts):
        wanted = parent.labels[part] == 1
        names = parent.frame["unit"].to_numpy()[part] if clustered else None
        after, before = candidate.probabilities[part, 1], parent.probabilities[part, 1]
        value, variance = auc_change(wanted, before, after, names)
        assert change.value[k] == pytest.approx(value)
        # The cautious error is never below DeLong's, and near it where many rows carry it.
        own = np.sqrt(auc_variance(wanted, after, names))
        error = level.standard_error[k] * level.value[k] * (1 - level.value[k])
        assert own <= error and np.sqrt(variance) <= change.standard_error[k]
        if len(part) > 250 and not clustered:
            assert error < 1.15 * own
        assert level.least_count[k] == min(wanted.sum(), (~wanted).sum())


@settings(deadline=None, max_examples=6)
@given(st.integers(0, 10_000), st.sampled_from([2, 4]))
def test_swapping_parent_and_candidate_negates_every_change(seed, k):
    parent, candidate = drawn(seed, n=300, k=k)
    rows = partition(parent.frame, ["group"], unit="unit")
    for measure in COUNTED:
        there = quality(measure, rows, candidate, parent)
        back = quality(measure, rows, parent, candidate)
        if isinstance(there, Unmeasured):
            continue
        np.testing.assert_allclose(values(there), -values(back), atol=1e-12)
        if isinstance(there, ChangeMean):
            continue  # its p is found by halving, which is slow
        one = one_sided(there, -0.01, "at_least", alpha=ALPHA)
        two = one_sided(back, 0.01, "at_most", alpha=ALPHA)
        assert one.reasons == two.reasons
        np.testing.assert_allclose(one.p_pass, two.p_pass, atol=1e-9)
        np.testing.assert_allclose(one.p_fail, two.p_fail, atol=1e-9)


@settings(deadline=None, max_examples=6)
@given(st.integers(0, 10_000), st.sampled_from([2, 4]))
def test_the_order_of_rows_changes_nothing(seed, k):
    parent, candidate = drawn(seed, n=300, k=k)
    order = np.random.default_rng(seed).permutation(300)
    moved = [rows_of(one, order) for one in (parent, candidate)]
    rows = partition(parent.frame, ["group"], unit="unit")
    other = partition(moved[0].frame, ["group"], unit="unit")
    for measure in COUNTED:
        for before in (False, True):
            one = quality(measure, rows, candidate, parent if before else None)
            two = quality(measure, other, moved[1], moved[0] if before else None)
            a, b = assess(one), assess(two)
            for name in ("value", "low", "high", "n", "units", "n_effective"):
                np.testing.assert_allclose(getattr(a, name), getattr(b, name), atol=1e-9)


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 10_000))
def test_counts_of_slices_add_up_to_those_of_all_rows(seed):
    parent, candidate = drawn(seed, n=300)
    whole, rows = partition(parent.frame), partition(parent.frame, ["group"])
    for measure in ("accuracy", "precision", "recall", "selection_rate", "false_positive_rate"):
        one, parts = quality(measure, whole, candidate), quality(measure, rows, candidate)
        assert parts.successes.sum() == one.successes[0] and parts.trials.sum() == one.trials[0]
    one, parts = (quality("accuracy", r, candidate, parent) for r in (whole, rows))
    assert (parts.lost.sum(), parts.gained.sum()) == (one.lost[0], one.gained[0])
    one, parts = (quality("log_loss", r, candidate) for r in (whole, rows))
    assert (parts.value * parts.n).sum() / 300 == pytest.approx(one.value[0])


# Identity


@pytest.mark.parametrize("measure", QUALITY)
def test_the_same_artefact_has_no_change(measure):
    parent, _ = drawn(6, k=2)
    rows = partition(parent.frame, ["group"], unit="unit")
    made = quality(measure, rows, parent, parent)
    found = one_sided(made, 0.0, "at_least", alpha=ALPHA)
    assert found.reasons == ("identical",) * rows.m
    assert found.p_pass.tolist() == [0.0] * rows.m
    shown = assess(made)
    assert shown.value.tolist() == shown.low.tolist() == shown.high.tolist() == [0.0] * rows.m


@pytest.mark.parametrize("measure", BOTH)
def test_equal_predictions_of_another_artefact_are_data(measure):
    # Nothing differs, so a wide margin passes on enough rows, and a margin of 0 never does.
    one, _ = drawn(8, n=6000, units=6000)
    other, rows = replace(one, digest="another"), partition(one.frame)
    made = quality(measure, rows, other, one)
    shown = assess(made)
    assert shown.value[0] == 0 and shown.low[0] < 0 < shown.high[0]
    side, sign = ("at_least", -1) if MEASURES[measure].better == "high" else ("at_most", 1)
    found = one_sided(made, sign * 0.02, side, alpha=ALPHA)
    assert found.reasons == ("",) and found.p_pass[0] <= ALPHA and found.p_fail[0] > 0.5
    assert one_sided(made, 0.0, side, alpha=ALPHA).p_pass[0] == pytest.approx(0.5, abs=0.01)
    few = rows_of(one, np.arange(150))
    made = quality(measure, partition(few.frame), replace(few, digest="another"), few)
    assert one_sided(made, sign * 0.02, side, alpha=ALPHA).p_pass[0] > ALPHA


def test_an_unknown_digest_is_not_the_same_artefact():
    one, _ = drawn(6)
    blank = replace(one, digest="")
    rows = partition(one.frame)
    assert not quality("accuracy", rows, blank, blank).identical.any()


# Odd cases


def decided(estimate, bound=0.5, side="at_least"):
    return one_sided(estimate, bound, side, alpha=ALPHA)


@pytest.mark.parametrize("measure", QUALITY)
@pytest.mark.parametrize("k", [2, 4])
def test_three_rows_and_one_unit_cannot_tell(measure, k):
    parent, candidate = drawn(3, n=200, k=k)
    frame = pl.DataFrame({"group": ["tiny"] * 3 + ["one unit"] * 197, "unit": ["u"] * 200})
    three, single = (replace(p, frame=frame) for p in (parent, candidate))
    for unit in ("unit", None):
        rows = partition(frame, ["group"], unit=unit)
        for before in (None, three):
            made = quality(measure, rows, single, before)
            reasons = decided(made).reasons
            assert reasons[1]  # the three rows, after "one unit"
            assert unit is None or reasons[0]
            shown = assess(made)
            assert shown.value.shape == (rows.m,) or isinstance(made, Unmeasured)


def test_a_slice_of_one_class():
    parent, candidate = drawn(3, n=400)
    rows = runs(parent.labels, 2)
    for measure in ("balanced_accuracy", "auc"):
        for before in (None, parent):
            made = quality(measure, rows, candidate, before)
            assert np.isnan(values(made)).all()
            reasons = set(decided(made).reasons)
            assert reasons == ({"no_data"} if measure != "auc" else reasons)
            assert reasons <= {"no_data", "too_few_of_class"}
    recall = quality("recall", rows, candidate)
    assert recall.trials.tolist() == [0.0, (parent.labels == 1).sum()]
    assert decided(recall).reasons[0] == "no_data"
    for measure in ("f1", "precision", "log_loss", "brier_score", "expected_calibration_error"):
        assert np.isfinite(values(quality(measure, rows, candidate))).all()


def test_nothing_answered_with_the_positive_class():
    parent, candidate = drawn(3, n=400)
    never = replace(candidate, predicted=np.zeros(400, dtype=np.int64))
    rows = partition(parent.frame)
    assert np.isnan(values(quality("precision", rows, never))).all()
    assert decided(quality("precision", rows, never)).reasons == ("no_data",)
    assert decided(quality("precision", rows, never, parent)).reasons == ("no_data",)
    assert values(quality("f1", rows, never)).tolist() == [0.0]
    assert decided(quality("f1", rows, never)).p_fail[0] <= ALPHA
    assert decided(quality("f1", rows, never, parent), -0.05).p_fail[0] <= ALPHA
    neither = replace(never, labels=never.labels * 0)
    assert np.isnan(values(quality("f1", rows, neither))).all()
    assert decided(quality("f1", rows, neither)).reasons == ("no_data",)


def test_constant_scores():
    labels = np.arange(400) % 2
    constant = answers(labels, np.full(400, 0.5), digest="constant")
    rows = partition(constant.frame)
    area = quality("auc", rows, constant)
    assert area.value.tolist() == [0.5]
    assert decided(area, 0.6).p_fail[0] <= ALPHA  # nothing varies, and yet 0.6 is out of reach
    assert decided(area, 0.505).p_fail[0] > ALPHA
    loss = quality("log_loss", rows, constant)
    assert loss.value[0] == pytest.approx(np.log(2))
    assert decided(loss, 0.9, "at_most").p_pass[0] <= ALPHA
    assert decided(loss, 0.7, "at_most").p_pass[0] > ALPHA
    assert np.isfinite(values(quality("expected_calibration_error", rows, constant))).all()


def test_a_perfect_model():
    labels = np.arange(400) % 2
    perfect = answers(labels, labels.astype(float), digest="perfect")
    rows = partition(perfect.frame)
    assert decided(quality("auc", rows, perfect), 0.95).p_pass[0] <= ALPHA
    assert decided(quality("auc", rows, perfect), 0.995).p_pass[0] > ALPHA
    assert values(quality("log_loss", rows, perfect)).tolist() == [0.0]
    assert not np.signbit(values(quality("log_loss", rows, perfect))[0])
    assert decided(quality("log_loss", rows, perfect), 0.3, "at_most").p_pass[0] <= ALPHA
    assert decided(quality("brier_score", rows, perfect), 0.05, "at_most").p_pass[0] <= ALPHA
    assert decided(quality("brier_score", rows, perfect), 0.005, "at_most").p_pass[0] > ALPHA
    for measure in ("accuracy", "f1", "precision", "balanced_accuracy"):
        assert values(quality(measure, rows, perfect)).tolist() == [1.0]
        assert decided(quality(measure, rows, perfect), 0.95).p_pass[0] <= ALPHA
        assert decided(quality(measure, rows, perfect), 0.999).p_pass[0] > ALPHA


def test_a_probability_of_0_costs_what_the_clip_allows():
    one = answers([1, 0], [0.0, 0.0])
    loss = quality("log_loss", runs([0, 1], 2), one).value
    assert loss.tolist() == [pytest.approx(-np.log(LEAST_PROBABILITY)), 0.0]


def test_what_is_lacking_is_named():
    parent, candidate = drawn(0)
    rows = partition(parent.frame, ["group"])
    bare = replace(parent, scores=None)
    for measure in ("log_loss", "brier_score", "auc", "expected_calibration_error"):
        assert quality(measure, rows, bare) == Unmeasured("no_scores", rows.m)
        assert quality(measure, rows, candidate, bare) == Unmeasured("no_scores", rows.m)
        assert quality(measure, rows, bare, parent) == Unmeasured("no_scores", rows.m)
    for measure in ("latency_p95_ms", "accuracy_difference", "nothing"):
        with pytest.raises(KeyError):
            quality(measure, rows, parent)
    with pytest.raises(ValueError, match="no labels"):
        quality("accuracy", rows, replace(parent, labels=None))
