"""Macro F1 and precision: scikit-learn, bootstraps done by hand, refusals, few errors."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from sklearn import metrics

from shipworthy.measure import macro as macro_file
from shipworthy.measure.macro import MIN_CELL, REPLICATES, macro, macro_change, macro_value
from shipworthy.measure.one_sided import one_sided
from shipworthy.measure.slices import partition

sys.path.insert(0, str(Path(__file__).parent))

from drawn_answers import answers, drawn, rows_of, runs

ALPHA = 0.025
SCORES = {"f1": metrics.f1_score, "precision": metrics.precision_score}


def score(name, labels, predicted):
    """Macro average over the classes that have labels."""
    return SCORES[name](
        labels, predicted, labels=np.unique(labels), average="macro", zero_division=0
    )


def counts(labels, predicted, k):
    hit = np.bincount(labels[labels == predicted], minlength=k)
    return hit, np.bincount(labels, minlength=k), np.bincount(predicted, minlength=k)


def fast_score(name, labels, predicted, k=3):
    """`score` without scikit-learn's checks."""
    return macro_value(name, *(c.astype(float) for c in counts(labels, predicted, k)))


def fixed(labels, predicted, k, digest="one", frame=None):
    scores = np.full((len(labels), k), 1 / k)
    return answers(labels, scores, predicted=predicted, digest=digest, frame=frame)


@pytest.mark.parametrize("name", SCORES)
def test_value_agrees_with_scikit_learn_where_classes_are_missing_too(name):
    rng = np.random.default_rng(0)
    for _ in range(50):
        labels = rng.choice([0, 1, 3], 12)
        predicted = rng.choice([0, 2, 3], 12)
        table = [np.asarray(c, dtype=float) for c in counts(labels, predicted, 5)]
        assert macro_value(name, *table) == pytest.approx(score(name, labels, predicted))
    nothing = np.zeros(3)
    assert np.isnan(macro_value(name, nothing, nothing, nothing))


@pytest.mark.parametrize("name", SCORES)
def test_replicates_are_those_of_a_bootstrap_of_rows(name):
    parent, candidate = drawn(1, n=500, k=3)
    rows = partition(parent.frame)
    level = macro(name, rows, candidate)
    change = macro_change(name, rows, candidate, parent, False)
    rng = np.random.default_rng(0)
    one, two = [], []
    for _ in range(1500):
        pick = rng.integers(0, 500, 500)
        after = fast_score(name, parent.labels[pick], candidate.predicted[pick])
        one.append(after)
        two.append(after - fast_score(name, parent.labels[pick], parent.predicted[pick]))
    # Not narrower, and little wider where many rows are wrong.
    assert np.std(one) * 0.97 < level.replicates.std() < np.std(one) * 1.25
    assert np.std(two) * 0.97 < change.replicates.std() < np.std(two) * 1.3
    assert level.replicates.mean() == pytest.approx(np.mean(one), abs=0.01)
    assert level.replicates.shape == (1, REPLICATES)


@pytest.mark.parametrize("name", SCORES)
def test_replicates_are_those_of_a_bootstrap_of_units(name):
    parent, candidate = drawn(2, n=1200, k=3, units=120, alike=0.9)
    rows = partition(parent.frame, unit="unit")
    made = macro(name, rows, candidate)
    assert made.units.tolist() == [120.0] and made.n.tolist() == [1200.0]
    unit = rows.unit_codes
    members = [np.flatnonzero(unit == u) for u in range(120)]
    rng = np.random.default_rng(0)
    drawn_values = []
    for _ in range(1500):
        pick = np.concatenate([members[u] for u in rng.integers(0, 120, 120)])
        drawn_values.append(fast_score(name, candidate.labels[pick], candidate.predicted[pick]))
    independent = macro(name, partition(parent.frame), candidate)
    assert made.replicates.std() > 1.15 * independent.replicates.std()
    assert np.std(drawn_values) * 0.95 < made.replicates.std() < np.std(drawn_values) * 1.3


def test_more_units_than_buckets_have_the_same_spread(monkeypatch):
    parent, _ = drawn(3, n=3000, k=3, units=1000)
    rows = partition(parent.frame, unit="unit")
    whole = macro("f1", rows, parent).replicates.std()
    monkeypatch.setattr(macro_file, "MOST_BUCKETS", 300)
    assert macro("f1", rows, parent).replicates.std() == pytest.approx(whole, rel=0.12)


@pytest.mark.parametrize("name", SCORES)
@pytest.mark.parametrize("models", [1, 2])
def test_influence_is_the_derivative(name, models):
    parent, candidate = drawn(4, n=400, k=4)
    both = [candidate.predicted, parent.predicted][:models]
    cells = macro_file._Cells(parent.labels, both, 4)
    ones = np.ones(400)
    influence, reach = cells.influence(name, ones[None])
    assert influence.sum() == pytest.approx(0, abs=1e-12)
    base = cells.value(name, ones[None])[0]
    for row in range(0, 400, 23):
        more = ones.copy()
        more[row] += 1e-5
        slope = (cells.value(name, more[None])[0] - base) / 1e-5
        assert slope == pytest.approx(influence[row], abs=1e-6)
    # No row that turns moves the value further than is said.
    for row in range(0, 400, 7):
        for other in range(4):
            moved = candidate.predicted.copy()
            moved[row] = other
            turned = macro_file._Cells(parent.labels, [moved, *both[1:]], 4)
            assert abs(turned.value(name, ones[None])[0] - base) <= 1.1 * reach


def test_refusals():
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1, 2], [40, 40, MIN_CELL - 1])
    one = fixed(labels, labels, 3)
    made = macro("f1", partition(one.frame), one)
    assert made.reasons == ("too_few_of_class",) and np.isnan(made.replicates).all()
    assert made.value.tolist() == [1.0]
    assert one_sided(made, 0.5, "at_least", alpha=ALPHA).reasons == ("too_few_of_class",)
    labels = rng.integers(0, 3, 300)
    # Precision of a class that is hardly ever predicted, by either model, rests on nothing.
    seldom = np.where((labels == 2) & (np.arange(300) > 15), 0, labels)
    rare, full = fixed(labels, seldom, 3), fixed(labels, labels, 3, "two")
    whole = partition(rare.frame)
    assert macro("precision", whole, rare).reasons == ("too_few_of_class",)
    assert macro_change("precision", whole, full, rare, False).reasons == ("too_few_of_class",)
    assert macro("f1", whole, rare).reasons == ("",)
    units = runs(np.zeros(300), 1, units=np.arange(300) % 29)
    assert macro("f1", units, full).reasons == ("unit_count",)
    assert macro("f1", runs(np.zeros(300), 1, units=np.arange(300) % 30), full).reasons == ("",)
    # A class without labels in a slice is none of its classes.
    two = fixed(labels % 2, labels % 2, 3)
    assert macro("f1", partition(two.frame), two).reasons == ("",)
    empty = macro("f1", runs(np.zeros(300), 2), full)
    assert empty.reasons[1] != "" and np.isnan(empty.value[1])


@pytest.mark.parametrize("name", SCORES)
def test_no_error_is_no_certainty(name):
    labels = np.arange(300) % 3
    perfect, copy = fixed(labels, labels, 3), fixed(labels, labels, 3, "copy")
    whole = partition(perfect.frame)
    level = macro(name, whole, perfect)
    assert level.value.tolist() == [1.0] and level.replicates.max() == 1.0
    assert one_sided(level, 0.9, "at_least", alpha=ALPHA).p_pass[0] <= ALPHA
    assert one_sided(level, 0.99, "at_least", alpha=ALPHA).p_pass[0] > ALPHA
    change = macro_change(name, whole, copy, perfect, False)
    assert change.value.tolist() == [0.0]
    assert one_sided(change, -0.05, "at_least", alpha=ALPHA).p_pass[0] <= ALPHA
    assert one_sided(change, -0.01, "at_least", alpha=ALPHA).p_pass[0] > ALPHA
    assert one_sided(change, 0.0, "at_least", alpha=ALPHA).p_pass[0] > 0.4


def test_seeds_and_the_order_of_rows():
    parent, candidate = drawn(5, n=600, k=3)
    order = np.random.default_rng(0).permutation(600)
    moved = [rows_of(one, order) for one in (candidate, parent)]
    for unit in (None, "unit"):
        rows = partition(parent.frame, ["group"], unit=unit)
        made = macro_change("f1", rows, candidate, parent, False)
        again = macro_change("f1", rows, candidate, parent, False)
        np.testing.assert_array_equal(made.replicates, again.replicates)
        other = partition(moved[0].frame, ["group"], unit=unit)
        turned = macro_change("f1", other, *moved, False)
        np.testing.assert_allclose(made.replicates, turned.replicates, atol=1e-9)
        back = macro_change("f1", rows, parent, candidate, False)
        np.testing.assert_allclose(back.value, -made.value, atol=1e-12)
        assert back.replicates[0].std() == pytest.approx(made.replicates[0].std(), rel=0.03)


def test_labels_are_needed():
    one, _ = drawn(0, k=3)
    with pytest.raises(ValueError, match="no labels"):
        macro("f1", partition(one.frame), replace(one, labels=None))


@pytest.mark.slow
@pytest.mark.parametrize("flips", [0.012, 0.05])
def test_a_limit_on_the_change_errs_as_allowed(flips):
    rng = np.random.default_rng(7)
    count, n = 800, 300
    size = count * n
    labels = rng.integers(0, 3, size)
    before = np.where(rng.random(size) < 0.9, labels, (labels + 1) % 3)
    after = np.where((rng.random(size) < flips) & (before == labels), (labels + 2) % 3, before)
    frame = pl.DataFrame({"row": np.zeros(size, dtype=np.int8)})
    candidate, parent = fixed(labels, after, 3, "c", frame), fixed(labels, before, 3, "p", frame)
    truth = macro_change("f1", runs(np.zeros(size), 1), candidate, parent, False).value[0]
    made = macro_change("f1", runs(np.repeat(np.arange(count), n), count), candidate, parent, False)
    found = one_sided(made, truth, "at_least", alpha=ALPHA)
    assert np.mean(found.p_pass <= ALPHA) <= 0.046
    assert np.mean(found.p_fail <= ALPHA) <= 0.046
