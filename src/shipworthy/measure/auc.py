"""Area under the ROC curve with DeLong's variance, for rows or for units of rows.

The area is a mean of placements: for a positive row the share of negatives that score lower (ties
half), for a negative row the share of positives that score higher. Midranks give all of them in
O(n log n). Sums of placements over units give the clustered variance (Obuchowski 1997); with every
row a unit of its own that is DeLong, DeLong & Clarke-Pearson 1988.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    FloatArray: TypeAlias = NDArray[np.float64]
    BoolArray: TypeAlias = NDArray[np.bool_]


def midranks(values: ArrayLike) -> FloatArray:
    """Ranks from 1, ties sharing their mean rank; shape (n,).

    >>> midranks([0.2, 0.7, 0.2]).tolist()
    [1.5, 3.0, 1.5]
    """
    values = np.asarray(values, dtype=np.float64)
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    first = np.flatnonzero(np.concatenate(([True], ordered[1:] != ordered[:-1])))[: len(values)]
    sizes = np.diff(np.append(first, len(values)))
    ranks = np.empty(len(values))
    ranks[order] = np.repeat(first + (sizes + 1) / 2, sizes)
    return ranks


def placements(labels: ArrayLike, scores: ArrayLike) -> FloatArray:
    """Structural component of each row, shape (n,), in [0, 1]; their mean over a class is the area.

    labels: (n,) bool or 0/1, scores: (n,) higher for the positive class. All NaN where a class has
    no row. Raises ValueError for labels other than 0 and 1 and for scores that are NaN.
    """
    positive, scores = _rows(labels, scores)
    m, n = int(positive.sum()), int((~positive).sum())
    result = np.full(len(scores), np.nan)
    if m == 0 or n == 0:
        return result
    overall = midranks(scores)
    result[positive] = (overall[positive] - midranks(scores[positive])) / n
    result[~positive] = 1 - (overall[~positive] - midranks(scores[~positive])) / m
    return result


def auc(labels: ArrayLike, scores: ArrayLike) -> float:
    """Area under the ROC curve: P(positive scores above negative), ties half; NaN for one class.

    >>> auc([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])
    0.75
    """
    positive, scores = _rows(labels, scores)
    return _area(positive, placements(positive, scores))


def auc_variance(labels: ArrayLike, scores: ArrayLike, units: ArrayLike | None = None) -> float:
    """Variance of the area; units (n,) of any type make their rows one observation.

    NaN where fewer than two units hold positives or fewer than two hold negatives.
    """
    positive, scores = _rows(labels, scores)
    return _variance(positive, placements(positive, scores), units)


def auc_change(
    labels: ArrayLike,
    parent_scores: ArrayLike,
    candidate_scores: ArrayLike,
    units: ArrayLike | None = None,
) -> tuple[float, float]:
    """Change of the area, candidate minus parent on the same rows, and its variance.

    The variance is that of the paired placements, so the covariance of the two areas is in it;
    equal scores give exactly (0, 0).
    """
    positive, parent = _rows(labels, parent_scores)
    _, candidate = _rows(labels, candidate_scores)
    change = placements(positive, candidate) - placements(positive, parent)
    return _area(positive, change), _variance(positive, change, units)


def delong(
    labels: ArrayLike, scores: ArrayLike, units: ArrayLike | None = None
) -> tuple[FloatArray, FloatArray]:
    """Areas (k,) of k models on the same rows and their covariance (k, k); scores: (k, n)."""
    table = np.atleast_2d(np.asarray(scores, dtype=np.float64))
    positive, _ = _rows(labels, table[0])
    components = np.stack([placements(positive, row) for row in table])
    areas = np.array([_area(positive, row) for row in components])
    return areas, _covariance(positive, components, units)


def _area(positive: BoolArray, component: FloatArray) -> float:
    # Both class means are the same number; the positives' is the convention.
    return float(component[positive].mean()) if positive.any() else float("nan")


def _variance(positive: BoolArray, component: FloatArray, units: ArrayLike | None) -> float:
    return float(_covariance(positive, component[None, :], units)[0, 0])


def _covariance(positive: BoolArray, components: FloatArray, units: ArrayLike | None) -> FloatArray:
    """Obuchowski's covariance from unit sums of centred placements; components: (k, n)."""
    models, rows = components.shape
    m, n = int(positive.sum()), rows - int(positive.sum())
    if units is None:
        codes, size = np.arange(rows), rows
    else:
        names, codes = np.unique(np.asarray(units), return_inverse=True)
        codes, size = codes.reshape(rows), len(names)
    holders = [len(np.unique(codes[positive])), len(np.unique(codes[~positive]))]
    if min(holders) < 2:
        return np.full((models, models), np.nan)
    area = components[:, positive].mean(axis=1, keepdims=True)
    sums = np.zeros((2, models, size))
    for side, (mask, count) in enumerate(((positive, m), (~positive, n))):
        centred = (components[:, mask] - area) / count
        for model in range(models):
            sums[side, model] = np.bincount(codes[mask], centred[model], minlength=size)
    first, second = (h / (h - 1) * s @ s.T for h, s in zip(holders, sums, strict=True))
    cross = size / (size - 1) * sums[0] @ sums[1].T
    total: FloatArray = first + second + cross + cross.T
    diagonal = np.arange(models)
    total[diagonal, diagonal] = np.maximum(total[diagonal, diagonal], 0.0)
    return total


def _rows(labels: ArrayLike, scores: ArrayLike) -> tuple[BoolArray, FloatArray]:
    marks, scores = np.asarray(labels), np.asarray(scores, dtype=np.float64)
    if marks.shape != scores.shape or marks.ndim != 1:
        raise ValueError(f"labels {marks.shape} and scores {scores.shape} must be equally long")
    if np.isnan(scores).any():
        raise ValueError(f"score {int(np.isnan(scores).argmax())} is NaN")
    if marks.dtype != np.bool_ and not np.isin(marks, (0, 1)).all():
        raise ValueError("labels must be 0 or 1")
    return marks.astype(np.bool_), scores
