"""How far groups lie apart, judged over all ordered pairs.

The raw max - min is biased upwards and its bootstrap covers nothing, so a
spread is only ever judged pair by pair. "Within d" needs every ordered pair within d (an
intersection, no correction); "beyond d" needs one pair beyond d after Holm over all K(K - 1)
ordered pairs, over both rates for equalised odds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

from shipworthy.measure.effective import degrees, scaled, share_of, too_small
from shipworthy.measure.estimates import Rate, Spread
from shipworthy.measure.intervals import Interval, tail
from shipworthy.measure.two_groups import (
    adjusted_wald_ratio_z,
    agresti_caffo_z,
    koopman,
    koopman_z,
    miettinen_nurminen,
    miettinen_nurminen_z,
)

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    FloatArray: TypeAlias = NDArray[np.float64]
    Kind: TypeAlias = Literal["difference", "ratio"]
    Counts: TypeAlias = tuple[FloatArray, FloatArray, FloatArray, FloatArray]

METHODS: dict[str, str] = {
    "difference": "ordered pairs: Miettinen-Nurminen and Agresti-Caffo, fail by Holm",
    "ratio": "ordered pairs: Koopman and adjusted Wald, fail by Holm",
}


def both_groups(
    first: Rate, second: Rate, bound: ArrayLike, kind: Kind
) -> tuple[FloatArray, FloatArray]:
    """One-sided p of "above" and of "below" the bound for two groups; both methods must agree."""
    counts, df = _counts(first, second, bound if kind == "ratio" else 1.0)
    score_z, guard_z = (
        (miettinen_nurminen_z, agresti_caffo_z)
        if kind == "difference"
        else (koopman_z, adjusted_wald_ratio_z)
    )
    score, guard = score_z(*counts, bound), guard_z(*counts, bound)
    above = np.maximum(tail(score, df), tail(guard, df))
    return above, np.maximum(tail(-score, df), tail(-guard, df))


def group_interval(first: Rate, second: Rate, kind: Kind, alpha: ArrayLike) -> Interval:
    """Miettinen-Nurminen or Koopman interval with alpha at each end."""
    counts, df = _counts(first, second, 1.0)
    ends = miettinen_nurminen if kind == "difference" else koopman
    return ends(*counts, confidence=1 - 2 * np.asarray(alpha), df=df)


def spread_p(
    spread: Spread, bound: ArrayLike
) -> tuple[FloatArray, FloatArray, NDArray[np.object_]]:
    """One-sided p of "within" and of "beyond" the bound, and the reason why "within" has none.

    The groups lie on the last axis; leading axes are kept (at least one). Groups below the minimum
    leave "within" unknown (NaN); the others can still prove "beyond", because more groups can only
    lie further apart.
    """
    groups = [pairs_of(rate) for rate in spread.rates]
    limit = np.asarray(bound, dtype=np.float64)
    limit = limit[..., None] if limit.ndim else limit
    inside, outside, reasons = [], [], []
    for rate, (first, second) in zip(spread.rates, groups, strict=True):
        above, below = both_groups(first, second, limit, spread.kind)
        within, beyond = (below, above) if spread.kind == "difference" else (above, below)
        small = too_small(rate.trials, rate.units)
        reasons.append(np.broadcast_to(small, np.shape(rate.trials)))
        usable = pair_mask(small == "")
        inside.append(np.where(usable, within, np.nan))
        outside.append(np.where(usable, beyond, np.nan))
    p_within = np.concatenate(inside, axis=-1)
    p_beyond = np.concatenate(outside, axis=-1)
    why = np.concatenate(reasons, axis=-1)
    size = np.sum(~np.isnan(p_beyond), axis=-1)
    # Holm's smallest adjusted p is the smallest p times the size of the family.
    least = np.min(np.where(np.isnan(p_beyond), np.inf, p_beyond), axis=-1, initial=np.inf)
    beyond_p = np.where(size > 0, np.minimum(np.where(size > 0, least, 1.0) * size, 1.0), np.nan)
    widest = np.max(p_within, axis=-1, initial=0.0) if p_within.shape[-1] else np.nan
    reason = np.full(why.shape[:-1], "not_measured", dtype=object)
    for word in ("unit_count", "too_few_rows", "no_data"):
        reason = np.where((why == word).any(axis=-1), word, reason)
    return np.atleast_1d(widest), np.atleast_1d(beyond_p), np.atleast_1d(reason)


def spread_interval(spread: Spread, alpha: float) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Value, low and high of a spread over groups (last axis), from pairwise intervals.

    The end that a spread can exceed (high of a difference, low of a ratio) is the worst pair's
    uncorrected end, valid by itself; the other end is corrected for the number of ordered pairs.
    Groups without rows are left out; none with rows give NaN.
    """
    pairs = [pairs_of(rate) for rate in spread.rates]
    family = max(sum(np.shape(first.trials)[-1] for first, _ in pairs), 1)
    plain, corrected, shares = [], [], []
    for rate, (first, second) in zip(spread.rates, pairs, strict=True):
        plain.append(group_interval(first, second, spread.kind, alpha))
        corrected.append(group_interval(first, second, spread.kind, alpha / family))
        shares.append(share_of(rate))
    if spread.kind == "difference":
        value = _worst([_most(s) - _least(s) for s in shares], np.fmax)
        high = _worst([_most(i.high) for i in plain], np.fmax)
        low = np.maximum(_worst([_most(i.low) for i in corrected], np.fmax), 0.0)
    else:
        value = _worst([_ratio(s) for s in shares], np.fmin)
        low = _worst([_least(i.low) for i in plain], np.fmin)
        high = np.minimum(_worst([_least(i.high) for i in corrected], np.fmin), 1.0)
    return np.atleast_1d(value), np.atleast_1d(low), np.atleast_1d(high)


def pairs_of(rate: Rate) -> tuple[Rate, Rate]:
    """All K(K - 1) ordered pairs of the groups on the last axis, as two rates."""
    parts = [np.asarray(x) for x in (rate.successes, rate.trials, rate.units, rate.deff)]
    shape = np.broadcast_shapes(*(p.shape for p in parts))
    i, j = _ordered(shape[-1])
    parts = [np.broadcast_to(p, shape) for p in parts]
    return Rate(*(p[..., i] for p in parts)), Rate(*(p[..., j] for p in parts))


def pair_mask(usable: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Which ordered pairs have both of their groups."""
    i, j = _ordered(usable.shape[-1])
    return usable[..., i] & usable[..., j]


def _ordered(groups: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    first, second = np.nonzero(~np.eye(groups, dtype=bool))
    return first, second


def _counts(first: Rate, second: Rate, ratio: ArrayLike) -> tuple[Counts, FloatArray]:
    """x1, n1, x2, n2 after the design effect, and Satterthwaite's degrees of freedom."""
    x1, n1 = scaled(first.successes, first.deff), scaled(first.trials, first.deff)
    x2, n2 = scaled(second.successes, second.deff), scaled(second.trials, second.deff)
    one = _variance(x1, n1)
    two = np.asarray(ratio, dtype=np.float64) ** 2 * _variance(x2, n2)
    with np.errstate(divide="ignore", invalid="ignore"):
        shares = one**2 / degrees(first.trials, first.units)
        shares = shares + two**2 / degrees(second.trials, second.units)
        return (x1, n1, x2, n2), (one + two) ** 2 / shares


def _variance(x: FloatArray, n: FloatArray) -> FloatArray:
    p = (x + 1) / (n + 2)
    return p * (1 - p) / (n + 2)


def _most(x: FloatArray) -> FloatArray:
    return np.asarray(np.fmax.reduce(x, axis=-1, initial=-np.inf))


def _least(x: FloatArray) -> FloatArray:
    return np.asarray(np.fmin.reduce(x, axis=-1, initial=np.inf))


def _ratio(shares: FloatArray) -> FloatArray:
    most, least = _most(shares), _least(shares)
    return np.asarray(np.divide(least, most, out=np.full(np.shape(most), np.nan), where=most > 0))


def _worst(parts: list[FloatArray], choose: np.ufunc) -> FloatArray:
    found: FloatArray = choose.reduce(np.stack([np.asarray(p) for p in parts]), axis=0)
    return np.where(np.isfinite(found), found, np.nan)
