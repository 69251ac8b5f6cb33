"""Is a slice harmed more than the rest? One-sided tests of two changes on the same rows.

Two tests must agree. The exact one asks whether rows drawn at random, as many as the slice has,
would hold so large a net loss; it is right however few the flips are, but takes a slice that flips
more both ways for a harmed one. The adjusted Wald test asks whether the two changes differ, each
with its own variance; it is not misled by churn, but relies on more than a few flips.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import gammaln, ndtr

from shipworthy.measure.intervals import tail
from shipworthy.measure.paired import change_difference_z

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    FloatArray = NDArray[np.float64]

_MOST_CELLS = 4_000_000
"""Cells of the joint distribution beyond which the normal is close enough: thousands of flips."""


@dataclass(frozen=True)
class Flips:
    """Rows lost and gained among n, after the design effect; df: NaN where rows are units."""

    lost: float
    gained: float
    n: float
    deff: float = 1.0
    df: float = np.nan


def wald_p(
    lost: ArrayLike, gained: ArrayLike, n: ArrayLike,
    rest_lost: ArrayLike, rest_gained: ArrayLike, rest_n: ArrayLike,
    df: ArrayLike | None = None,
) -> FloatArray:  # fmt: skip
    """One-sided p of "the slice lost more than the rest" from adjusted Wald, shape (m,)."""
    z = change_difference_z(lost, gained, n, rest_lost, rest_gained, rest_n)
    return tail(-z, df)


def exact_p(inside: Flips, outside: Flips) -> float:
    """P that `inside.n` rows drawn at random without return hold this net loss or a larger one.

    The joint distribution of rows lost and gained is multivariate hypergeometric. Counts that a
    design effect made fractional are rounded towards less loss inside and more outside.
    """
    b, c = int(np.floor(inside.lost + 1e-9)), int(np.ceil(inside.gained - 1e-9))
    all_lost = b + int(np.ceil(outside.lost - 1e-9))
    all_gained = c + int(np.floor(outside.gained + 1e-9))
    n = max(round(inside.n), b + c)
    total = n + max(round(outside.n), all_lost - b + all_gained - c)
    net = b - c
    low_b, high_b = _window(all_lost, n, total, b)
    low_c, high_c = _window(all_gained, n, total, c)
    if (high_b - low_b + 1) * (high_c - low_c + 1) > _MOST_CELLS:
        return _normal_p(net, all_lost, all_gained, n, total)
    lost, gained = np.arange(low_b, high_b + 1), np.arange(low_c, high_c + 1)
    same = total - all_lost - all_gained
    kept = n - np.arange(low_b + low_c, high_b + high_c + 1)
    possible = (kept >= 0) & (kept <= same)
    ways = np.where(possible, _choose(same, np.clip(kept, 0, same)), -np.inf)
    places = np.add.outer(np.arange(len(lost)), np.arange(len(gained)))
    log = _choose(all_lost, lost)[:, None] + _choose(all_gained, gained)[None] + ways[places]
    log -= _choose(total, np.array([n]))
    harmed = np.subtract.outer(lost, gained) >= net
    return float(min(np.exp(log[harmed]).sum(), 1.0))


def _window(events: int, n: int, total: int, seen: int) -> tuple[int, int]:
    """Counts among n drawn rows that matter: all but less than 1e-20 of the probability."""
    mean = n * events / max(total, 1)
    reach = 10 * np.sqrt(mean) + 50
    low = max(int(min(mean, seen) - reach), 0)
    return low, min(int(max(mean, seen) + reach), events, n)


def _choose(n: int, k: NDArray[np.int64]) -> FloatArray:
    return np.asarray(gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1))


def _normal_p(net: int, all_lost: int, all_gained: int, n: int, total: int) -> float:
    mean = (all_lost - all_gained) / total
    variance = (all_lost + all_gained) / total - mean**2
    spread = np.sqrt(n * (total - n) / max(total - 1, 1) * variance)
    return float(ndtr(-(net - 0.5 - n * mean) / spread))
