"""How good answers are: one estimate per measure over all slices of a partition.

`quality` takes a model's predictions and, for a change, its parent's on the same rows. Shares are
counted, F1 of one class goes through its Jaccard share, means and areas through sums over units, F1
of more than two classes through replicates. What a measure needs and lacks (scores, a positive
class) gives `Unmeasured` with the reason.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from shipworthy.measure.calibration import calibration_error, calibration_error_change
from shipworthy.measure.catalogue import MEASURES, NUMBER
from shipworthy.measure.estimates import (
    ChangeMean,
    Estimate,
    F1Score,
    PairedChange,
    Rate,
    RateMean,
    Unmeasured,
)
from shipworthy.measure.generation import generation
from shipworthy.measure.macro import macro, macro_change
from shipworthy.measure.numbers import numbers
from shipworthy.measure.rates import mean, paired_change, rate, ratio, summary
from shipworthy.measure.slice_areas import areas, placements

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from shipworthy.measure.slices import Partition
    from shipworthy.model.predictions import Predictions

    FloatArray: TypeAlias = NDArray[np.float64]
    BoolArray: TypeAlias = NDArray[np.bool_]

LEAST_PROBABILITY = 1e-7
"""Probabilities are clipped here before their logarithm is taken."""


def quality(
    measure: str, rows: Partition, model: Predictions, parent: Predictions | None = None
) -> Estimate:
    """Return the measure of a model over the slices, or its change against the parent.

    rows: a partition of the rows of both (aligned) predictions; m slices.
    Raises KeyError for a name that is no measure of quality.
    """
    kind = MEASURES[measure]
    if kind.kind != "quality":
        raise KeyError(f"{measure} is no measure of quality")
    if kind.values:
        one = parent is not None and same(model, parent)
        if kind.values == NUMBER:
            return numbers(measure, rows, model, parent, identical=one)
        return generation(measure, rows, model, parent, identical=one)
    if not model.has(kind.needs):
        return Unmeasured("not_measured", rows.m)
    if "parent" in kind.needs:
        return _turned(measure, rows, model, parent)
    if "scores" in kind.needs and (
        model.probabilities is None or (parent is not None and parent.probabilities is None)
    ):
        return Unmeasured("no_scores", rows.m)
    if "positive" in kind.needs and model.positive is None:
        return Unmeasured("no_positive_class", rows.m)
    if parent is None:
        return _LEVELS[measure](rows, model)
    return _CHANGES[measure](rows, model, parent)


def labels_of(model: Predictions) -> NDArray[np.int64]:
    """Labels of the rows; predictions that are measured always have them."""
    if model.labels is None:
        raise ValueError(f"{model.file} has no labels; align it with its parent first")
    return model.labels


def right(model: Predictions) -> BoolArray:
    """Which answers are right, shape (n,)."""
    return np.asarray(model.predicted == labels_of(model))


def selected(model: Predictions) -> BoolArray:
    """Which rows are answered with the positive class, shape (n,)."""
    return np.asarray(model.predicted == _positive(model))


def labelled(model: Predictions) -> BoolArray:
    """Which rows have the positive label, shape (n,)."""
    return np.asarray(labels_of(model) == _positive(model))


def same(model: Predictions, parent: Predictions) -> bool:
    """Say whether both are answers of one and the same artefact."""
    return bool(model.digest) and model.digest == parent.digest


def counted_share(measure: str, model: Predictions) -> tuple[BoolArray, BoolArray]:
    """Return what a share counts and what is a success, both shape (n,).

    Accuracy, selection rate, and the rates of true and false positives and negatives count rows
    that don't depend on the answers, so that their changes are paired.
    """
    if measure == "accuracy":
        return np.ones(len(model), dtype=bool), right(model)
    if measure == "selection_rate":
        return np.ones(len(model), dtype=bool), selected(model)
    if measure in ("positive_predictive_value", "precision"):
        return selected(model), labelled(model)
    if measure == "negative_predictive_value":
        return ~selected(model), ~labelled(model)
    counted = labelled(model)
    if measure in ("false_positive_rate", "true_negative_rate"):
        counted = ~counted
    chosen = selected(model)
    return counted, ~chosen if measure.endswith("negative_rate") else chosen


def _share(measure: str) -> Callable[[Partition, Predictions], Rate]:
    return lambda rows, model: rate(rows, *counted_share(measure, model))


def _share_change(measure: str) -> Callable[[Partition, Predictions, Predictions], PairedChange]:
    def change(rows: Partition, model: Predictions, parent: Predictions) -> PairedChange:
        counted, candidate = counted_share(measure, model)
        before = counted_share(measure, parent)[1]
        return paired_change(rows, counted, before, candidate, same(model, parent))

    return change


def _turned(
    measure: str, rows: Partition, model: Predictions, parent: Predictions | None
) -> Estimate:
    if parent is None:
        return Unmeasured("not_measured", rows.m)
    before, after = right(parent), right(model)
    if same(model, parent):
        # Nothing is estimated: no row of the same artefact turns.
        return paired_change(rows, np.ones(len(model), dtype=bool), before, before, True)
    flipped = before & ~after if measure == "turned_wrong" else after & ~before
    return rate(rows, np.ones(len(model), dtype=bool), flipped)


def _balanced_accuracy(rows: Partition, model: Predictions) -> RateMean:
    return RateMean(tuple(rate(rows, labels_of(model) == c, right(model)) for c in _classes(model)))


def _balanced_accuracy_change(
    rows: Partition, model: Predictions, parent: Predictions
) -> ChangeMean:
    return ChangeMean(
        tuple(
            paired_change(
                rows, labels_of(model) == c, right(parent), right(model), same(model, parent)
            )
            for c in _classes(model)
        )
    )


def _recall(rows: Partition, model: Predictions) -> Estimate:
    if model.positive is None:
        return _balanced_accuracy(rows, model)
    return _share("recall")(rows, model)


def _recall_change(rows: Partition, model: Predictions, parent: Predictions) -> Estimate:
    if model.positive is None:
        return _balanced_accuracy_change(rows, model, parent)
    return _share_change("recall")(rows, model, parent)


def _f1(rows: Partition, model: Predictions) -> Estimate:
    if model.positive is None:
        return macro("f1", rows, model)
    chosen, wanted = selected(model), labelled(model)
    return F1Score(rate(rows, chosen | wanted, chosen & wanted))


def _precision(rows: Partition, model: Predictions) -> Estimate:
    if model.positive is None:
        return macro("precision", rows, model)
    return rate(rows, selected(model), labelled(model))


def _ratio_change(name: str) -> Callable[[Partition, Predictions, Predictions], Estimate]:
    """Change of a share whose denominator depends on the answers (predictive values, F1)."""

    def parts(model: Predictions) -> tuple[FloatArray, FloatArray]:
        chosen, wanted = selected(model).astype(float), labelled(model).astype(float)
        if name == "negative_predictive_value":
            chosen, wanted = 1 - chosen, 1 - wanted
        return (2 * chosen * wanted, chosen + wanted) if name == "f1" else (chosen * wanted, chosen)

    def change(rows: Partition, model: Predictions, parent: Predictions) -> Estimate:
        if model.positive is None:
            return macro_change(name, rows, model, parent, same(model, parent))
        after, influence, total = ratio(rows, *parts(model))
        before, influence_before, total_before = ratio(rows, *parts(parent))
        # n is what carries information: rows in either denominator.
        counted = (parts(model)[1] > 0) | (parts(parent)[1] > 0)
        # A row that turns moves top and bottom: from a hit to nothing, or from nothing to a miss.
        score = np.stack([after, before])
        largest = np.maximum((2.0 if name == "f1" else 1.0) - score, score).max(axis=0)
        return summary(
            rows, after - before, np.nan_to_num(influence - influence_before),
            n=rows.sums(counted), units=rows.units(counted), scale="identity",
            reach=largest / np.maximum(np.minimum(total, total_before), 1.0), few=True,
            method="linearisation over units, t", identical=same(model, parent),
        )  # fmt: skip

    return change


def _log_losses(model: Predictions) -> tuple[FloatArray, float]:
    """Loss of each row, and the largest that there is."""
    chance = _probabilities(model)[np.arange(len(model)), labels_of(model)]
    losses = -np.log(np.clip(chance, LEAST_PROBABILITY, 1.0)) + 0.0  # no -0.0
    return losses, -math.log(LEAST_PROBABILITY)


def _brier_scores(model: Predictions) -> tuple[FloatArray, float]:
    """Squared error of P(positive) for two classes (Brier 1950, halved), else of all classes.

    The largest that there is comes with it.
    """
    probabilities = _probabilities(model)
    truth = np.zeros_like(probabilities)
    truth[np.arange(len(model)), labels_of(model)] = 1.0
    squares = ((probabilities - truth) ** 2).sum(axis=1)
    return (squares / 2, 1.0) if len(model.classes) == 2 else (squares, 2.0)


def _mean_of(losses: Callable[[Predictions], tuple[FloatArray, float]]) -> Callable[..., Estimate]:
    def level(rows: Partition, model: Predictions) -> Estimate:
        values, reach = losses(model)
        return mean(rows, values, reach=reach, scale="log")

    return level


def _mean_change(
    losses: Callable[[Predictions], tuple[FloatArray, float]],
) -> Callable[..., Estimate]:
    def change(rows: Partition, model: Predictions, parent: Predictions) -> Estimate:
        (after, reach), (before, _) = losses(model), losses(parent)
        return mean(
            rows, after - before, reach=reach, method="paired mean over units, t",
            identical=same(model, parent),
        )  # fmt: skip

    return change


def _auc(rows: Partition, model: Predictions) -> Estimate:
    return _areas(rows, model, None)


def _auc_change(rows: Partition, model: Predictions, parent: Predictions) -> Estimate:
    return _areas(rows, model, parent)


def _areas(rows: Partition, model: Predictions, parent: Predictions | None) -> Estimate:
    wanted = labelled(model)
    component = placements(rows, wanted, _scores(model))
    if parent is not None:
        component = component - placements(rows, wanted, _scores(parent))
    value, variance, influence = areas(rows, wanted, component)
    everyone = np.ones(len(model), dtype=bool)
    least = np.minimum(rows.sums(wanted), rows.sums(~wanted))
    return summary(
        rows, value, influence, n=rows.sums(everyone), units=rows.units(everyone),
        # As if each row of the smaller class were compared with a row of its own.
        reach=1 / np.maximum(least, 1.0), variance=variance,
        scale="logit" if parent is None else "identity",
        method="DeLong" if parent is None else "paired DeLong",
        identical=parent is not None and same(model, parent), least_count=least,
    )  # fmt: skip


def _positive(model: Predictions) -> int:
    if model.positive is None:
        raise ValueError(f"{model.file}: no positive class")
    return model.classes.index(model.positive)


def _classes(model: Predictions) -> list[int]:
    """Classes that occur as labels; another class has no recall."""
    return [int(c) for c in np.unique(labels_of(model))]


def _probabilities(model: Predictions) -> FloatArray:
    if model.probabilities is None:
        raise ValueError(f"{model.file}: no scores")
    return model.probabilities


def _scores(model: Predictions) -> FloatArray:
    return _probabilities(model)[:, _positive(model)]


_LEVELS: dict[str, Callable[[Partition, Predictions], Estimate]] = {
    "accuracy": _share("accuracy"),
    "balanced_accuracy": _balanced_accuracy,
    "f1": _f1,
    "precision": _precision,
    "recall": _recall,
    "log_loss": _mean_of(_log_losses),
    "brier_score": _mean_of(_brier_scores),
    "auc": _auc,
    "expected_calibration_error": calibration_error,
    "selection_rate": _share("selection_rate"),
    "true_positive_rate": _share("true_positive_rate"),
    "false_positive_rate": _share("false_positive_rate"),
    "true_negative_rate": _share("true_negative_rate"),
    "false_negative_rate": _share("false_negative_rate"),
    "negative_predictive_value": _share("negative_predictive_value"),
}
_CHANGES: dict[str, Callable[[Partition, Predictions, Predictions], Estimate]] = {
    "accuracy": _share_change("accuracy"),
    "balanced_accuracy": _balanced_accuracy_change,
    "f1": _ratio_change("f1"),
    "precision": _ratio_change("precision"),
    "recall": _recall_change,
    "log_loss": _mean_change(_log_losses),
    "brier_score": _mean_change(_brier_scores),
    "auc": _auc_change,
    "expected_calibration_error": lambda rows, model, parent: calibration_error_change(
        rows, model, parent, same(model, parent)
    ),
    "selection_rate": _share_change("selection_rate"),
    "true_positive_rate": _share_change("true_positive_rate"),
    "false_positive_rate": _share_change("false_positive_rate"),
    "true_negative_rate": _share_change("true_negative_rate"),
    "false_negative_rate": _share_change("false_negative_rate"),
    "negative_predictive_value": _ratio_change("negative_predictive_value"),
}
