"""Shares of small groups, drawn towards what the groups have in common.

Beta-binomial empirical Bayes by moments (Kleinman 1973), over the slices of one set of columns. A
shrunk share is shown beside the raw one and sorts charts; it never decides, and no spread is made
of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from shipworthy.measure.effective import scaled, share_of
from shipworthy.measure.estimates import Rate

if TYPE_CHECKING:
    from numpy.typing import NDArray

    FloatArray: TypeAlias = NDArray[np.float64]


def shrunk(rate: Rate) -> FloatArray:
    """Posterior mean share of each slice, shape (m,).

    A slice without rows gets the mean of all. Fewer than three slices with rows teach nothing
    about their spread: then shares stay as they are.
    """
    n = np.nan_to_num(scaled(rate.trials, rate.deff))
    share = share_of(rate)
    held = n > 0
    if held.sum() < 3:
        return share
    p, weight = share[held], n[held]
    mean = float((weight * p).sum() / weight.sum())
    spread = float((weight * (p - mean) ** 2).sum())
    # Expectation of the weighted squares: binomial part, and the part that groups differ by.
    total, squares = weight.sum(), (weight**2).sum()
    groups = len(weight)
    inner = mean * (1 - mean)
    room = total - squares / total
    between = (spread - inner * (groups - 1)) / max(room - (groups - 1), 1e-12)
    correlation = float(np.clip(between / inner, 0.0, 1.0)) if inner > 0 else 0.0
    strength = 1 / correlation - 1 if correlation > 0 else np.inf
    keep = n / (n + strength) if np.isfinite(strength) else np.zeros(len(n))
    return np.asarray(keep * np.where(held, np.nan_to_num(share), mean) + (1 - keep) * mean)
