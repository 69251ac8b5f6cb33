"""What chance alone makes of groups: the spread to expect among equals, and what can be seen.

Highest minus lowest is above 0 even where all groups are equal, and the more so the more and the
smaller they are. `expected` says how far apart equal groups of these sizes would seem to lie;
`detectable` the smallest difference that a table of this size finds four times out of five.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np
from scipy.special import ndtri

from shipworthy.measure.effective import scaled, share_of
from shipworthy.measure.estimates import Rate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    FloatArray: TypeAlias = NDArray[np.float64]

DRAWS = 2000
_SEED = 20_260_103
_POWER = 0.8


@dataclass(frozen=True)
class Chance:
    """Spread among equal groups of these sizes, drawn many times.

    far: its 95th percentile, of a ratio its fifth. share: of draws that lie as far apart as what
    was seen.
    """

    mean: float
    far: float
    share: float


NO_CHANCE = Chance(np.nan, np.nan, np.nan)


def expected(rates: Sequence[Rate], kind: Literal["difference", "ratio"], seen: float) -> Chance:
    """Draw groups that all have the pooled share; rates: one or several, each with K groups.

    Rows count after the design effect. The same table gives the same answer.
    """
    generator = np.random.default_rng(_SEED)
    drawn = []
    for rate in rates:
        n = np.rint(scaled(rate.trials, rate.deff)).astype(np.int64)
        held = n > 0
        if held.sum() < 2:
            continue
        x = scaled(rate.successes, rate.deff)
        pooled = float(np.clip(x[held].sum() / scaled(rate.trials, rate.deff)[held].sum(), 0, 1))
        shares = generator.binomial(n[held], pooled, size=(DRAWS, int(held.sum()))) / n[held]
        drawn.append(_apart(shares, kind))
    if not drawn:
        return NO_CHANCE
    worst = np.fmax if kind == "difference" else np.fmin
    return _summary(worst.reduce(np.stack(drawn)), kind, seen)


def expected_of_numbers(values: FloatArray, errors: FloatArray, seen: float) -> Chance:
    """The same for K numbers with standard errors: normal draws around one value."""
    held = np.isfinite(values) & np.isfinite(errors)
    if held.sum() < 2:
        return NO_CHANCE
    generator = np.random.default_rng(_SEED)
    drawn = generator.standard_normal((DRAWS, int(held.sum()))) * errors[held]
    return _summary(drawn.max(axis=1) - drawn.min(axis=1), "difference", seen)


def detectable(rate: Rate, first: int, second: int, alpha: float) -> float:
    """Smallest difference of two groups that is found beyond 0 with power 0.8 at this level.

    Both are taken to be near their pooled share; between 0 and 1, NaN where a group has no rows.
    """
    n = scaled(rate.trials, rate.deff)[[first, second]]
    if not np.all(n > 0):
        return float("nan")
    share = float((np.nan_to_num(share_of(rate))[[first, second]] * n).sum() / n.sum())
    # One success and one failure more: a share of 0 says little about its own spread.
    share = (share * n.sum() + 1) / (n.sum() + 2)
    error = np.sqrt(share * (1 - share) * (1 / n).sum())
    return float(min((-ndtri(alpha) + ndtri(_POWER)) * error, 1.0))


def detectable_of_numbers(errors: FloatArray, first: int, second: int, alpha: float) -> float:
    """The same for two numbers with standard errors."""
    return float((-ndtri(alpha) + ndtri(_POWER)) * np.hypot(errors[first], errors[second]))


def _apart(shares: FloatArray, kind: Literal["difference", "ratio"]) -> FloatArray:
    most, least = shares.max(axis=1), shares.min(axis=1)
    if kind == "difference":
        return np.asarray(most - least)
    return np.asarray(np.divide(least, most, out=np.ones(len(most)), where=most > 0))


def _summary(drawn: FloatArray, kind: Literal["difference", "ratio"], seen: float) -> Chance:
    narrow = kind == "difference"
    beyond = drawn >= seen - 1e-12 if narrow else drawn <= seen + 1e-12
    share = float("nan") if np.isnan(seen) else float(beyond.mean())
    return Chance(float(drawn.mean()), float(np.quantile(drawn, 0.95 if narrow else 0.05)), share)
