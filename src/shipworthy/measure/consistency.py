"""Are like rows answered alike? One minus how far an answer is from its nearest neighbours'.

Consistency (Zemel et al. 2013) over the k rows nearest in the features, the row itself among them:
1 - mean |answer - mean of the neighbours' answers|. Features are brought to mean 0 and variance 1
first, so that none counts by its unit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    FloatArray: TypeAlias = NDArray[np.float64]
    BoolArray: TypeAlias = NDArray[np.bool_]

NEIGHBOURS = 5
MOST_ROWS = 100_000
"""Rows beyond which a seeded sample of them is taken: neighbours of all would take hours."""

_SEED = 20_260_104


def sampled(rows: int) -> NDArray[np.int64]:
    """Rows that are looked at: all, or a seeded sample."""
    if rows <= MOST_ROWS:
        return np.arange(rows, dtype=np.int64)
    generator = np.random.default_rng(_SEED)
    return np.sort(generator.choice(rows, MOST_ROWS, replace=False)).astype(np.int64)


def inconsistencies(
    features: FloatArray, answers: FloatArray, neighbours: int = NEIGHBOURS
) -> FloatArray:
    """How far each row's answer is from the mean of its neighbours', shape (n,), in [0, 1].

    features: (n, d), finite. answers: (n,) in [0, 1]. With fewer rows than neighbours all are.
    """
    from scipy.spatial import cKDTree

    spread = features.std(axis=0)
    scaled = (features - features.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
    count = min(neighbours, len(scaled))
    _, near = cKDTree(scaled).query(scaled, k=count)
    near = np.asarray(near).reshape(len(scaled), count)
    return np.asarray(np.abs(answers - answers[near].mean(axis=1)))
