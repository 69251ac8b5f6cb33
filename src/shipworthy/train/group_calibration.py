"""Probabilities that hold in each group: one scale a group, or a scale and an offset a class.

`temperature` multiplies log-probabilities by one number (Guo et al. 2017, sec. 4.2, 1/T), which
turns no answer. `platt` adds an offset to each class but the first as well (Platt 1999, for k
classes), which may turn some. Both make the log loss of the rows given here least.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    FloatArray: TypeAlias = NDArray[np.float64]
    IntArray: TypeAlias = NDArray[np.int64]

Method: TypeAlias = Literal["temperature", "platt"]

LARGEST = 100.0
"""Scales lie between one over this and this: rows that a model gets all right have no best one."""


def fit_scale(told: FloatArray, labels: IntArray, method: Method) -> tuple[float, FloatArray]:
    """Return the scale, above 0, and the offset of each class, shape (k,), the first one's 0.

    told: log-probabilities, shape (n, k), n of at least 1. labels: numbers of classes, shape (n,).

    >>> told = np.log(np.array([[0.9, 0.1]] * 4))
    >>> scale, offsets = fit_scale(told, np.array([0, 0, 0, 1]), "temperature")
    >>> round(scale, 4), offsets.tolist()
    (0.5, [0.0, 0.0])
    """
    from scipy.optimize import minimize
    from scipy.special import log_softmax

    rows, classes = told.shape
    free = classes - 1 if method == "platt" else 0
    own = np.eye(classes)[labels]

    def loss(values: FloatArray) -> tuple[float, FloatArray]:
        scale, offsets = np.exp(values[0]), np.concatenate([[0.0], values[1:]])
        moved = scale * told + (offsets if free else 0.0)
        found = log_softmax(moved, axis=1)
        apart = (np.exp(found) - own) / rows
        slopes = [float((apart * told).sum() * scale)]
        slopes += apart.sum(axis=0)[1:].tolist() if free else []
        return -float((own * found).sum()) / rows, np.array(slopes)

    most = np.log(LARGEST)
    bounds = [(-most, most), *[(-LARGEST, LARGEST)] * free]
    found = minimize(loss, np.zeros(1 + free), jac=True, method="L-BFGS-B", bounds=bounds)
    offsets = np.concatenate([[0.0], found.x[1:]]) if free else np.zeros(classes)
    return float(np.exp(found.x[0])), offsets
