"""Measures of predicted numbers against scikit-learn's, and their errors against the jackknife."""

import numpy as np
import polars as pl
import pytest

from shipworthy.measure.estimates import Mean, Unmeasured
from shipworthy.measure.quality import quality
from shipworthy.measure.shown import assess
from shipworthy.measure.slices import Partition, partition
from shipworthy.model.predictions import Predictions

MEASURES = ("mean_absolute_error", "root_mean_squared_error", "mean_error", "r2")


def answers(label: np.ndarray, predicted: np.ndarray, name: str = "a") -> Predictions:
    nothing = np.zeros(len(label), dtype=np.int64)
    return Predictions(
        name=name, file=name, classes=("number",), positive=None, labels=nothing,
        predicted=nothing, scores=None, scored=(), frame=pl.DataFrame(), ids=None, label="y",
        id=None, groups=(), unit=None, digest=name, form="number",
        values={"label": label.astype(float), "prediction": predicted.astype(float)},
    )  # fmt: skip


def all_rows(n: int) -> Partition:
    return partition(pl.DataFrame({"row": np.arange(n)}))


def sample(n: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    label = generator.gamma(2.0, 10.0, n)
    first = label + generator.normal(1.0, 4.0, n)
    return label, first, label + 0.6 * (first - label) + generator.normal(0.0, 1.0, n)


def found(measure: str, rows: Partition, model: Predictions, parent: Predictions | None = None) -> (
    Mean
):  # fmt: skip
    estimate = quality(measure, rows, model, parent)
    assert isinstance(estimate, Mean)
    return estimate


@pytest.mark.parametrize("measure", MEASURES)
def test_values_are_those_of_scikit_learn(measure: str) -> None:
    from sklearn import metrics

    label, predicted, _ = sample(300, 1)
    expected = {
        "mean_absolute_error": metrics.mean_absolute_error(label, predicted),
        "root_mean_squared_error": metrics.root_mean_squared_error(label, predicted),
        "mean_error": float(np.mean(predicted - label)),
        "r2": metrics.r2_score(label, predicted),
    }[measure]
    value = found(measure, all_rows(300), answers(label, predicted)).value
    assert value.tolist() == [pytest.approx(expected, rel=1e-12)]


@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize("paired", [False, True])
def test_errors_are_those_of_the_jackknife(measure: str, paired: bool) -> None:
    n = 400
    label, first, second = sample(n, 2)
    parent = answers(label, first, "b") if paired else None
    rows, model = all_rows(n), answers(label, second)
    estimate = found(measure, rows, model, parent)
    left = []
    for row in range(n):
        kept = np.arange(n) != row
        value = found(measure, all_rows(n - 1), answers(label[kept], second[kept])).value[0]
        if paired:
            before = answers(label[kept], first[kept], "b")
            value -= found(measure, all_rows(n - 1), before).value[0]
        left.append(value)
    jackknife = np.sqrt((n - 1) ** 2 / n * np.var(left, ddof=1))
    scale = 1.0 if paired or measure in ("mean_error", "r2") else estimate.value[0]
    error = estimate.standard_error[0] * scale
    # A little wider: four rows of typical size are added, and the skewness.
    assert jackknife * 0.98 < error < jackknife * 1.3


def test_a_change_is_the_difference_of_the_levels_and_0_for_one_artefact() -> None:
    label, first, second = sample(200, 3)
    rows = all_rows(200)
    one, other = answers(label, first), answers(label, second, "b")
    for measure in MEASURES:
        change = found(measure, rows, other, one)
        levels = found(measure, rows, other).value - found(measure, rows, one).value
        assert change.value == pytest.approx(levels)
        same = assess(found(measure, rows, one, one))
        assert (same.low[0], same.value[0], same.high[0]) == (0, 0, 0)


def test_each_group_has_its_own_mean_and_equal_labels_explain_nothing() -> None:
    frame = pl.DataFrame({"g": ["a"] * 50 + ["b"] * 50})
    generator = np.random.default_rng(4)
    label = np.concatenate([generator.normal(0, 1, 50), np.full(50, 7.0)])
    predicted = label + generator.normal(0, 0.5, 100)
    rows = partition(frame, ["g"])
    value = found("r2", rows, answers(label, predicted)).value
    first = label[:50]
    expected = 1 - ((predicted - label)[:50] ** 2).sum() / ((first - first.mean()) ** 2).sum()
    assert value[0] == pytest.approx(expected)
    assert np.isnan(value[1])
    assert np.isfinite(found("mean_absolute_error", rows, answers(label, predicted)).value).all()


def test_intervals_cover() -> None:
    """Of 600 samples of 150 rows each, 95 % intervals of MAE and of its change."""
    level = change = 0
    mean = 4 * np.sqrt(2 / np.pi)
    for seed in range(600):
        generator = np.random.default_rng([9, seed])
        label, error = generator.normal(0, 10, 150), generator.normal(0, 4, 150)
        one = answers(label, label + error)
        other = answers(label, label + 0.9 * error + generator.normal(0, 0.5, 150), "b")
        shown = assess(found("mean_absolute_error", all_rows(150), one))
        level += bool(shown.low[0] <= mean <= shown.high[0])
        truth = np.sqrt(0.9**2 * 16 + 0.25) * np.sqrt(2 / np.pi) - mean
        told = assess(found("mean_absolute_error", all_rows(150), other, one))
        change += bool(told.low[0] <= truth <= told.high[0])
    # Binomial: 0.93 of 600 is 558; five standard errors below 0.95 is 543.
    assert 543 <= level <= 600
    assert 543 <= change <= 600


def test_rows_without_numbers_are_not_measured() -> None:
    label, first, _ = sample(30, 5)
    bare = answers(label, first)
    object.__setattr__(bare, "values", {})
    assert isinstance(quality("r2", all_rows(30), bare), Unmeasured)
    assert isinstance(quality("accuracy", all_rows(30), answers(label, first)), Unmeasured)
    assert answers(label, first).data_digest != answers(first, first).data_digest
