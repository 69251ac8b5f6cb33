"""Labels that are probably wrong: confident learning (Northcutt, Jiang & Chuang 2021).

A class's threshold is the mean probability that the rows with its label are given, by a model that
did not see them. A row counts as confidently of the likeliest class that reaches its threshold. The
counts of given label against confident class, scaled to the label counts, estimate their joint
distribution; what lies off its diagonal is the share of wrong labels. It rests on a light model
that must itself be better than chance, and is an estimate: a look at the rows decides.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from shipworthy.measure.estimates import Rate, RateMean
from shipworthy.measure.rates import rate
from shipworthy.measure.shown import assess
from shipworthy.measure.slices import Partition

if TYPE_CHECKING:
    from numpy.typing import NDArray

    BoolArray: TypeAlias = NDArray[np.bool_]
    FloatArray: TypeAlias = NDArray[np.float64]
    IntArray: TypeAlias = NDArray[np.int64]

REPLICATES = 2_000


@dataclass(frozen=True, eq=False)
class LabelNoise:
    """What confident learning says of n labels in k classes.

    share: of wrong labels, with bootstrap ends low, high over the counts (the model is taken as it
    is). joint: (k, k), given label by likely class, summing to 1. flagged: (n,), rows off the
    diagonal. likely: (n,), the class that the model finds likeliest. margin: (n,), log P(given) -
    log P(likeliest other); the lowest are the most suspicious. balanced_accuracy and its ends: of
    the light model; trusted: its lower end is above chance, 1 / k.
    """

    share: float
    low: float
    high: float
    joint: FloatArray
    flagged: BoolArray
    likely: IntArray
    margin: FloatArray
    balanced_accuracy: float
    accuracy_low: float
    accuracy_high: float
    trusted: bool


def confident_learning(
    log_probabilities: FloatArray,
    labels: IntArray,
    rows: Partition,
    *,
    confidence: float = 0.95,
    seed: int = 0,
    replicates: int = REPLICATES,
) -> LabelNoise:
    """Estimate which labels are wrong from held-out log probabilities, (n, k), and labels, (n,).

    rows: the one slice of all rows, with their units. Each class needs at least one row.
    """
    p = np.exp(log_probabilities)
    n, k = p.shape
    own = p[np.arange(n), labels]
    thresholds = np.bincount(labels, own, k) / np.maximum(np.bincount(labels, minlength=k), 1)
    reaching = np.where(p >= thresholds, p, -1.0)
    counted = reaching.max(axis=1) >= 0
    confident = reaching.argmax(axis=1)
    others = np.where(np.arange(k) == labels[:, None], -np.inf, log_probabilities)
    likely = log_probabilities.argmax(axis=1)
    flagged = counted & (confident != labels)
    cells = np.zeros((k, k + 1))
    np.add.at(cells, (labels, np.where(counted, confident, k)), 1.0)
    joint = _joint(cells[None])[0]
    # Rows in units are worth fewer: the counts are drawn as of so many.
    deff = float(rate(rows, np.ones(n, dtype=bool), flagged).deff[0])
    drawn = np.random.default_rng(seed).multinomial(
        max(int(n / deff), 1), cells.ravel() / n, size=replicates
    )
    with np.errstate(invalid="ignore", divide="ignore"):
        shares = 1 - np.trace(_joint(drawn.reshape(-1, k, k + 1).astype(float)), axis1=1, axis2=2)
    alpha = (1 - confidence) / 2
    low, high = np.nanquantile(shares, [alpha, 1 - alpha])
    accuracy = balanced_accuracy(log_probabilities, labels, rows)
    shown = assess(accuracy, confidence=confidence)
    return LabelNoise(
        share=float(1 - np.trace(joint)), low=float(low), high=float(high), joint=joint,
        flagged=flagged, likely=likely,
        margin=log_probabilities[np.arange(n), labels] - others.max(axis=1),
        balanced_accuracy=float(shown.value[0]), accuracy_low=float(shown.low[0]),
        accuracy_high=float(shown.high[0]), trusted=bool(shown.low[0] > 1 / k),
    )  # fmt: skip


def balanced_accuracy(log_probabilities: FloatArray, labels: IntArray, rows: Partition) -> RateMean:
    """Return the mean recall of the class that is likeliest against its share of the rows.

    Dividing by the share lets a rare class be answered, so that chance is 1 / k whatever the
    shares. rows: the one slice of all rows.
    """
    k = log_probabilities.shape[1]
    prior = np.bincount(labels, minlength=k) / len(labels)
    with np.errstate(divide="ignore"):
        answer = (log_probabilities - np.log(prior)).argmax(axis=1)
    right = answer == labels
    recalls: list[Rate] = [rate(rows, labels == c, right) for c in range(k)]
    return RateMean(tuple(recalls))


def _joint(cells: FloatArray) -> FloatArray:
    """Return estimated joints, (r, k, k), from counts by label and confident class, (r, k, k + 1).

    The last column counts rows without a confident class. A label of which no row is confident
    keeps its rows on the diagonal.
    """
    confident, totals = cells[:, :, :-1], cells.sum(axis=2, keepdims=True)
    sums = confident.sum(axis=2, keepdims=True)
    eye = np.broadcast_to(np.eye(cells.shape[1]), confident.shape)
    shares = np.where(sums > 0, np.divide(confident, sums, where=sums > 0, out=eye.copy()), eye)
    found: FloatArray = shares * totals / totals.sum(axis=1, keepdims=True)
    return found
