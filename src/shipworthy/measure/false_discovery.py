"""False discoveries among many tests: the expected share of them among what is called found."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


def benjamini_yekutieli(p: ArrayLike) -> NDArray[np.float64]:
    """Adjusted p-values (Benjamini & Yekutieli 2001, theorem 1.3), valid under any dependence.

    What is at most q together holds a share of false discoveries that is at most q on average.

    >>> benjamini_yekutieli([0.01, 0.4, 0.001]).round(4).tolist()
    [0.0275, 0.7333, 0.0055]
    """
    values = np.asarray(p, dtype=np.float64)
    m = len(values)
    if m == 0:
        return values
    order = np.argsort(values, kind="stable")
    ranks = np.arange(1, m + 1)
    scaled = values[order] * m * harmonic(m) / ranks
    adjusted = np.minimum(np.minimum.accumulate(scaled[::-1])[::-1], 1.0)
    out = np.empty(m)
    out[order] = adjusted
    return out


def harmonic(m: int) -> float:
    """1 + 1/2 + ... + 1/m, what any dependence costs."""
    return float(np.sum(1.0 / np.arange(1, m + 1)))
