"""Area under the ROC curve: published values, scikit-learn, brute force over pairs, units."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import roc_auc_score

from shipworthy.measure.auc import (
    auc,
    auc_change,
    auc_variance,
    delong,
    midranks,
    placements,
)


def drawn(seed: int, n: int = 80, levels: int = 12) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = rng.random(n) < 0.4
    parent = np.round(rng.normal(labels * 1.0, 1), 1) * levels
    candidate = np.round(parent / levels + rng.normal(0, 0.7, n), 1)
    return labels, parent, candidate


def kernel(labels, scores):
    """All pairs: 1 where the positive scores higher, 1/2 for a tie; (positives, negatives)."""
    difference = scores[labels][:, None] - scores[~labels][None, :]
    return (difference > 0) + 0.5 * (difference == 0)


def test_published_area_and_variance():
    # Turck et al. 2010, Intensive Care Medicine 36, 107-115: WFNS grade 1 to 5 against outcome
    # after subarachnoid haemorrhage; area and DeLong variance as the R package pROC prints them
    # (Robin et al. 2011, BMC Bioinformatics 12, 77).
    good, poor = (37, 20, 3, 8, 4), (2, 12, 1, 8, 18)
    grades = np.repeat([1, 2, 3, 4, 5] * 2, good + poor)
    labels = np.repeat([0, 1], [sum(good), sum(poor)])
    assert auc(labels, grades) == pytest.approx(0.82367886178861793, abs=1e-12)
    assert auc_variance(labels, grades) == pytest.approx(0.00146991470882363, abs=1e-14)


@pytest.mark.parametrize("seed", range(5))
def test_area_agrees_with_scikit_learn(seed):
    labels, parent, candidate = drawn(seed, n=501)
    for scores in (parent, candidate):
        assert auc(labels, scores) == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)


def test_midranks_agree_with_scipy():
    values = np.random.default_rng(2).integers(0, 40, 300)
    np.testing.assert_array_equal(midranks(values), stats.rankdata(values))
    assert midranks([]).size == 0


def test_placements_are_means_over_the_other_class():
    labels, scores, _ = drawn(3)
    pairs = kernel(labels, scores)
    result = placements(labels, scores)
    np.testing.assert_allclose(result[labels], pairs.mean(axis=1), atol=1e-12)
    np.testing.assert_allclose(result[~labels], pairs.mean(axis=0), atol=1e-12)


def test_covariance_agrees_with_delong_over_all_pairs():
    labels, parent, candidate = drawn(4)
    pairs = np.stack([kernel(labels, parent), kernel(labels, candidate)])
    m, n = pairs.shape[1:]
    expected = np.cov(pairs.mean(axis=2)) / m + np.cov(pairs.mean(axis=1)) / n
    areas, covariance = delong(labels, np.stack([parent, candidate]))
    np.testing.assert_allclose(areas, pairs.mean(axis=(1, 2)), atol=1e-12)
    np.testing.assert_allclose(covariance, expected, atol=1e-14)
    change, variance = auc_change(labels, parent, candidate)
    assert change == pytest.approx(areas[1] - areas[0], abs=1e-12)
    contrast = np.array([-1.0, 1.0])
    assert variance == pytest.approx(contrast @ expected @ contrast, abs=1e-14)


def test_units_agree_with_obuchowski_over_unit_sums():
    labels, scores, _ = drawn(6)
    units = np.array([f"author {i % 17}" for i in range(len(labels))])
    pairs, area = kernel(labels, scores), kernel(labels, scores).mean()
    m, n = pairs.shape
    first, second, both = [], [], []
    for unit in np.unique(units):
        up = (pairs.mean(axis=1) - area)[units[labels] == unit]
        down = (pairs.mean(axis=0) - area)[units[~labels] == unit]
        first += [up.sum()] if up.size else []
        second += [down.sum()] if down.size else []
        both.append(up.sum() * down.sum())
    s10 = len(first) / ((len(first) - 1) * m) * np.sum(np.square(first))
    s01 = len(second) / ((len(second) - 1) * n) * np.sum(np.square(second))
    s11 = len(both) / (len(both) - 1) * np.sum(both)
    expected = s10 / m + s01 / n + 2 * s11 / (m * n)
    assert auc_variance(labels, scores, units) == pytest.approx(expected, rel=1e-10)


def test_copied_rows_in_one_unit_are_no_news():
    labels, scores, _ = drawn(7, n=200)
    once = auc_variance(labels, scores)
    five = auc_variance(np.repeat(labels, 5), np.repeat(scores, 5), np.repeat(np.arange(200), 5))
    naive = auc_variance(np.repeat(labels, 5), np.repeat(scores, 5))
    assert five == pytest.approx(once, rel=0.02)
    assert naive < once / 4


def test_variance_is_the_variance_of_the_area():
    rng = np.random.default_rng(8)
    areas, variances = [], []
    for _ in range(1_500):
        labels = np.arange(90) < 40
        scores = rng.normal(labels * 0.8)
        areas.append(auc(labels, scores))
        variances.append(auc_variance(labels, scores))
    assert np.mean(variances) == pytest.approx(np.var(areas), rel=0.12)


def test_equal_scores_change_nothing():
    labels, scores, _ = drawn(9)
    assert auc_change(labels, scores, scores) == (0.0, 0.0)


def test_one_class_is_no_data():
    scores = np.arange(4.0)
    assert np.isnan(auc(np.ones(4, bool), scores))
    assert np.isnan(auc(np.zeros(4, bool), scores))
    assert np.isnan(auc_variance(np.ones(4, bool), scores))
    assert np.isnan(auc_change(np.zeros(4, bool), scores, scores)).all()
    # A single positive, or positives of a single unit, give an area but no spread.
    assert auc([0, 0, 0, 1], scores) == 1.0
    assert np.isnan(auc_variance([0, 0, 0, 1], scores))
    assert np.isnan(auc_variance([0, 0, 1, 1], scores, ["a", "b", "c", "c"]))


@pytest.mark.parametrize(
    ("labels", "scores", "message"),
    [
        ([0, 1, 2], [0.1, 0.2, 0.3], "0 or 1"),
        ([0, 1], [0.1, np.nan], "NaN"),
        ([0, 1], [0.1], "equally long"),
    ],
)
def test_bad_rows_are_refused(labels, scores, message):
    with pytest.raises(ValueError, match=message):
        auc(labels, scores)


@settings(max_examples=50)
@given(st.lists(st.tuples(st.booleans(), st.integers(-5, 5)), min_size=4, max_size=40))
def test_invariants(rows):
    labels = np.array([label for label, _ in rows])
    scores = np.array([score for _, score in rows], dtype=float)
    if labels.all() or not labels.any():
        return
    area = auc(labels, scores)
    assert 0 <= area <= 1
    assert auc(labels, np.exp(scores)) == area
    assert auc(~labels, scores) == pytest.approx(1 - area, abs=1e-12)
    assert placements(labels, scores)[~labels].mean() == pytest.approx(area, abs=1e-12)
    variance = auc_variance(labels, scores)
    assert np.isnan(variance) or variance >= 0
