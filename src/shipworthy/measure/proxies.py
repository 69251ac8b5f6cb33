"""How far a protected attribute can be told from the other columns, and from which of them.

A light model (`light_model.py`) guesses the attribute for rows that it was not fitted on. Its
balanced accuracy against chance, 1 over the number of values, says how far the other columns stand
in for the attribute; a column's importance is what the accuracy loses when that column's values are
shuffled among the held-out rows (Breiman 2001).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from shipworthy.core.records import Outcome
from shipworthy.measure.auc import delong
from shipworthy.measure.effective import MIN_ROWS
from shipworthy.measure.intervals import critical
from shipworthy.measure.label_noise import balanced_accuracy
from shipworthy.measure.light_model import Features, Fitted, cross_fitted
from shipworthy.measure.one_sided import one_sided
from shipworthy.measure.shown import assess

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from shipworthy.measure.slices import Partition

    FloatArray: TypeAlias = NDArray[np.float64]
    IntArray: TypeAlias = NDArray[np.int64]

SHUFFLES = 5
MOST_VALUES = 20
"""Values of an attribute beyond which it is not guessed."""


@dataclass(frozen=True)
class Importance:
    """What balanced accuracy loses without a column: mean, least and most over shuffles."""

    column: str
    loss: float
    low: float
    high: float


@dataclass(frozen=True)
class Proxy:
    """How well an attribute of some values is guessed from other columns.

    values: those with enough rows. balanced_accuracy, low, high: held out; chance: 1 / values;
    majority: share of the commonest value. auc and its ends: of two values, else NaN. answer: pass
    where it is shown to be at most chance + margin, fail where it is shown to be more.
    """

    values: tuple[str, ...]
    rows: int
    balanced_accuracy: float
    low: float
    high: float
    chance: float
    majority: float
    auc: float
    auc_low: float
    auc_high: float
    importances: tuple[Importance, ...]
    answer: Outcome
    reason: str


def proxy(
    told: Features,
    labels: IntArray,
    values: Sequence[str],
    rows: Partition,
    fold: IntArray,
    *,
    margin: float,
    confidence: float = 0.95,
    seed: int = 0,
) -> Proxy:
    """Guess an attribute and say by what.

    labels: (n,), places in values, each of which has at least `effective.MIN_ROWS` rows. rows: the
    one slice of these rows, with units. fold: (n,), see `folds_of`.
    """
    k = len(values)
    log_p, models = cross_fitted(told, labels, fold, k)
    estimate = balanced_accuracy(log_p, labels, rows)
    shown = assess(estimate, confidence=confidence)
    alpha = (1 - confidence) / 2
    tested = one_sided(estimate, 1 / k + margin, "at_most", alpha=alpha)
    p_pass, p_fail, reason = float(tested.p_pass[0]), float(tested.p_fail[0]), tested.reasons[0]
    answer = Outcome.CANNOT_TELL
    if not reason:
        passes, fails = p_pass <= alpha, p_fail <= alpha
        answer = Outcome.PASS if passes else Outcome.FAIL if fails else answer
        reason = "" if passes or fails else "across_bound"
    area, area_low, area_high = _area(log_p, labels, rows, alpha) if k == 2 else (np.nan,) * 3
    return Proxy(
        values=tuple(values), rows=len(labels), balanced_accuracy=float(shown.value[0]),
        low=float(shown.low[0]), high=float(shown.high[0]), chance=1 / k,
        majority=float(np.bincount(labels).max() / len(labels)),
        auc=area, auc_low=area_low, auc_high=area_high,
        importances=_importances(told, labels, fold, models, float(shown.value[0]), rows, seed),
        answer=answer, reason=reason,
    )  # fmt: skip


def enough(labels: IntArray, values: Sequence[str]) -> tuple[str, ...]:
    """Return the values that have rows enough to be guessed."""
    counts = np.bincount(labels[labels >= 0], minlength=len(values))
    return tuple(v for v, c in zip(values, counts, strict=True) if c >= MIN_ROWS)


def _area(
    log_p: FloatArray, labels: IntArray, rows: Partition, alpha: float
) -> tuple[float, float, float]:
    """Return the area under the curve with DeLong's ends on the logit scale."""
    areas, covariance = delong(labels == 1, log_p[:, 1] - log_p[:, 0], rows.unit_codes)
    area, error = float(areas[0]), float(np.sqrt(covariance[0, 0]))
    if not 0 < area < 1 or not np.isfinite(error):
        return area, float("nan"), float("nan")
    half = float(critical(1 - 2 * alpha)) * error / (area * (1 - area))
    centre = np.log(area / (1 - area))
    low, high = (float(1 / (1 + np.exp(-(centre + s * half)))) for s in (-1, 1))
    return area, low, high


def _importances(
    told: Features, labels: IntArray, fold: IntArray, models: Sequence[Fitted], whole: float,
    rows: Partition, seed: int,
) -> tuple[Importance, ...]:  # fmt: skip
    """Return the columns by what shuffling each one loses, most first."""
    generator = np.random.default_rng(seed)
    found = []
    for name, block in told.blocks.items():
        part = told.matrix[:, block]
        losses = []
        for _ in range(SHUFFLES):
            log_p = np.full((len(labels), models[0].weights.shape[1]), np.nan)
            for k, model in enumerate(models):
                held = np.flatnonzero(fold == k)
                mixed = generator.permutation(held)
                # Only the block's share of the score changes.
                score = told.matrix[held] @ model.weights + model.intercepts
                score += (part[mixed] - part[held]) @ model.weights[block]
                log_p[held] = score
            loss = whole - _recall(log_p, labels)
            losses.append(loss)
        found.append(
            Importance(name, float(np.mean(losses)), float(min(losses)), float(max(losses)))
        )
    return tuple(sorted(found, key=lambda i: (-i.loss, i.column)))


def _recall(scores: FloatArray, labels: IntArray) -> float:
    k = scores.shape[1]
    counts = np.bincount(labels, minlength=k)
    right = (scores - np.log(counts / len(labels))).argmax(axis=1) == labels
    return float((np.bincount(labels, right, k) / counts).mean())
