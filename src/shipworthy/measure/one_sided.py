"""One-sided p of "inside the limit" and "outside the limit", one rule an estimate family.

Each limit has two null hypotheses, "not inside" (rejected by p_pass) and "not outside" (rejected by
p_fail). Where two methods stand for one quantity, both must agree: p is the larger of the two. A
slice that is too small has a reason and no p at all, so that it cannot enter a correction.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np
from scipy.special import logit

from shipworthy.measure import spread
from shipworthy.measure.effective import (
    change_of,
    denominators,
    exact_ends,
    exact_tests,
    flips_of,
    jaccard_bound,
    same_artefact,
    share_of,
    too_small,
)
from shipworthy.measure.estimates import (
    ChangeMean,
    Estimate,
    F1Score,
    Fact,
    Mean,
    PairedChange,
    Rate,
    RateDifference,
    RateMean,
    RateRatio,
    Replicates,
    Spread,
    Unmeasured,
)
from shipworthy.measure.intervals import (
    Interval,
    mover_mean,
    tail,
)
from shipworthy.measure.paired import bonett_price, bonett_price_z, tango, tango_z
from shipworthy.measure.spread import both_groups

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import ArrayLike, NDArray

    FloatArray: TypeAlias = NDArray[np.float64]
    Texts: TypeAlias = NDArray[np.object_]
    Side: TypeAlias = Literal["at_least", "at_most"]
    Pair: TypeAlias = tuple[FloatArray, FloatArray]
    Ends: TypeAlias = Callable[[FloatArray], Interval]

MIN_CLASS_ROWS = 30
"""Rows of each class below which AUC and its like are not decided."""

_SECTIONS = 8
_ROUNDS = 10
"""Ten rounds of eight sections place a level to 3e-8 of itself."""

METHODS: dict[type, str] = {
    Rate: "exact binomial",
    PairedChange: "Tango; fail also Bonett-Price",
    F1Score: "exact binomial on TP/(TP+FP+FN)",
    RateMean: "MOVER from exact ends",
    ChangeMean: "MOVER from Tango ends; fail also Bonett-Price",
    RateDifference: "Miettinen-Nurminen and Agresti-Caffo",
    RateRatio: "Koopman and adjusted Wald",
    Fact: "exact",
    Unmeasured: "none",
}


@dataclass(frozen=True)
class OneSided:
    """p_pass and p_fail of m slices, and why a slice has none.

    reasons: "" where decided by p; `identical` where the artefact is the parent's (p is 0 or 1);
    otherwise why there is no verdict: then p_pass is NaN. p_fail is NaN too, except for a spread,
    whose large groups alone can prove that it is too wide.
    """

    p_pass: FloatArray
    p_fail: FloatArray
    method: str
    reasons: tuple[str, ...]


def one_sided(estimate: Estimate, bound: ArrayLike, side: Side, *, alpha: float) -> OneSided:
    """Test "estimate on the good side of bound" both ways.

    bound: number or shape (m,), on the natural scale of the estimate; NaN gives `not_measured`.
    alpha: the one-sided level at which the caller decides; it matters for nothing but Korn-Graubard
    ends, whose effective n depends on it.
    """
    if isinstance(estimate, Unmeasured):
        nothing = np.full(estimate.m, np.nan)
        reasons = (estimate.reason or "not_measured",) * estimate.m
        return OneSided(nothing, nothing, METHODS[Unmeasured], reasons)
    limit = np.asarray(bound, dtype=np.float64)
    if isinstance(estimate, Spread):
        return _spread(estimate, limit, side)
    p_pass, p_fail = _tests(estimate, limit, side, alpha)
    limit = np.broadcast_to(limit, p_pass.shape)
    why = np.where(np.isnan(limit), "not_measured", _reasons(estimate, p_pass, p_fail))
    identical = same_artefact(estimate)
    if identical is not None:
        same = identical & ~np.isnan(limit)
        why = np.where(same, "identical", why)
        exact = _compare(np.where(same, _value(estimate), np.nan), limit, side)
        p_pass, p_fail = (
            np.where(same, e, p) for e, p in zip(exact, (p_pass, p_fail), strict=True)
        )
    known = (why == "") | (why == "identical")
    return OneSided(
        np.where(known, p_pass, np.nan),
        np.where(known, p_fail, np.nan),
        method_of(estimate),
        tuple(why.tolist()),
    )


def method_of(estimate: Estimate) -> str:
    """Name of the rule that decides an estimate of this family."""
    if isinstance(estimate, Mean | Replicates):
        return estimate.method
    if isinstance(estimate, Spread):
        return spread.METHODS[estimate.kind]
    return METHODS[type(estimate)]


def _tests(estimate: Estimate, bound: FloatArray, side: Side, alpha: float) -> Pair:
    """p_pass and p_fail of the slices, before the minimum is looked at."""
    if isinstance(estimate, F1Score):
        # F1 = 2J / (1 + J) rises with J, so a bound on F1 is a bound on J.
        return _ordered(exact_tests(estimate.jaccard, jaccard_bound(bound), alpha), side)
    if isinstance(estimate, Rate):
        return _ordered(exact_tests(estimate, bound, alpha), side)
    if isinstance(estimate, PairedChange):
        return _paired(estimate, bound, side)
    if isinstance(estimate, RateMean):
        values = [share_of(rate) for rate in estimate.rates]
        ends: list[Ends] = [partial(exact_ends, rate) for rate in estimate.rates]
        return _ordered(_mover(values, ends, bound), side)
    if isinstance(estimate, ChangeMean):
        return _change_mean(estimate, bound, side)
    if isinstance(estimate, RateDifference | RateRatio):
        kind: Literal["difference", "ratio"]
        kind = "difference" if isinstance(estimate, RateDifference) else "ratio"
        return _ordered(both_groups(estimate.first, estimate.second, bound, kind), side)
    if isinstance(estimate, Mean):
        return _ordered(_mean(estimate, bound), side)
    if isinstance(estimate, Replicates):
        return _ordered(_replicates(estimate, bound), side)
    if isinstance(estimate, Fact):
        return _compare(np.atleast_1d(np.asarray(estimate.value, dtype=np.float64)), bound, side)
    raise TypeError(f"no rule for {type(estimate).__name__}")


def _ordered(tests: Pair, side: Side) -> Pair:
    """(p of "above", p of "below") as (p_pass, p_fail)."""
    above, below = tests
    return (above, below) if side == "at_least" else (below, above)


def _paired(change: PairedChange, bound: FloatArray, side: Side) -> Pair:
    lost, gained, n, df = flips_of(change)
    sign = 1.0 if side == "at_least" else -1.0
    score = sign * tango_z(lost, gained, n, bound)
    guard = sign * bonett_price_z(lost, gained, n, bound)
    return tail(score, df), np.maximum(tail(-score, df), tail(-guard, df))


def _mover(
    values: Sequence[FloatArray],
    ends: Sequence[Ends],
    bound: FloatArray,
) -> Pair:
    """The level at which the MOVER end touches the bound, sought on the logarithm of the level."""
    value = np.asarray(np.mean(values, axis=0))
    bound = np.broadcast_to(bound, value.shape)
    step = np.arange(1, _SECTIONS, dtype=np.float64).reshape(-1, *(1,) * value.ndim)
    each = [np.broadcast_to(v, (len(step), *value.shape)) for v in values]
    start = np.full(value.shape, np.log(1e-12))
    width = np.full(value.shape, np.log(0.499999)) - start
    with np.errstate(invalid="ignore"):
        for _ in range(_ROUNDS):
            width = width / _SECTIONS
            parts = [end(np.exp(start + width * step)) for end in ends]
            whole = mover_mean([p.low for p in parts], each, [p.high for p in parts])
            beyond = np.where(value > bound, whole.low > bound, whole.high < bound)
            # Wider intervals come first: the bound leaves them once and for all.
            start = start + width * np.sum(~beyond, axis=0)
        level = np.exp(start + width)
        p_above = np.where(value > bound, level, 1 - level)
    missing = np.isnan(value)
    return np.where(missing, np.nan, p_above), np.where(missing, np.nan, 1 - p_above)


def _change_mean(estimate: ChangeMean, bound: FloatArray, side: Side) -> Pair:
    values = [change_of(change) for change in estimate.changes]
    parts = [flips_of(change) for change in estimate.changes]

    def ends(method: Callable[..., Interval]) -> list[Ends]:
        def at(
            level: FloatArray, lost: FloatArray, gained: FloatArray, n: FloatArray, df: FloatArray
        ) -> Interval:
            return method(lost, gained, n, confidence=1 - 2 * level, df=df)

        return [partial(at, lost=b, gained=c, n=n, df=df) for b, c, n, df in parts]

    p_pass, p_fail = _ordered(_mover(values, ends(tango), bound), side)
    guard = _ordered(_mover(values, ends(bonett_price), bound), side)[1]
    return p_pass, np.maximum(p_fail, guard)


def on_scale(x: ArrayLike, scale: str) -> FloatArray:
    """A natural value on the scale of its standard error; beyond its range, an infinity."""
    value = np.asarray(x, dtype=np.float64)
    if scale == "log":
        with np.errstate(divide="ignore"):
            return np.log(np.maximum(value, 0.0))
    return np.asarray(logit(np.clip(value, 0.0, 1.0))) if scale == "logit" else value


def _mean(mean: Mean, bound: FloatArray) -> Pair:
    error = np.asarray(mean.standard_error, dtype=np.float64)
    distance = on_scale(mean.value, mean.scale) - on_scale(bound, mean.scale)
    # A standard error of 0 is no evidence of certainty (all rows gave one value): no p.
    t = np.divide(distance, error, out=np.full(distance.shape, np.nan), where=error > 0)
    return tail(t, mean.df), tail(-t, mean.df)


def _replicates(estimate: Replicates, bound: FloatArray) -> Pair:
    drawn = np.asarray(estimate.replicates, dtype=np.float64)
    limit = np.broadcast_to(bound, drawn.shape[:-1])[..., None]
    count = drawn.shape[-1] + 1
    above = (1 + (drawn <= limit).sum(axis=-1)) / count
    below = (1 + (drawn >= limit).sum(axis=-1)) / count
    missing = np.isnan(estimate.value) | np.isnan(drawn).any(axis=-1)
    return np.where(missing, np.nan, above), np.where(missing, np.nan, below)


def _compare(value: FloatArray, bound: FloatArray, side: Side) -> Pair:
    inside = value >= bound if side == "at_least" else value <= bound
    p_pass = np.where(np.isnan(value), np.nan, np.where(inside, 0.0, 1.0))
    return p_pass, 1 - p_pass


def _spread(estimate: Spread, bound: FloatArray, side: Side) -> OneSided:
    within, beyond, reasons = spread.spread_p(estimate, bound)
    narrow: Side = "at_most" if estimate.kind == "difference" else "at_least"
    p_pass, p_fail = (within, beyond) if side == narrow else (beyond, within)
    missing = np.isnan(np.broadcast_to(bound, p_pass.shape))
    p_pass, p_fail = (np.where(missing, np.nan, p) for p in (p_pass, p_fail))
    why = np.where(missing, "not_measured", np.where(np.isnan(p_pass), reasons, ""))
    return OneSided(p_pass, p_fail, method_of(estimate), tuple(why.tolist()))


def _value(estimate: Estimate) -> FloatArray:
    if isinstance(estimate, PairedChange):
        return change_of(estimate)
    if isinstance(estimate, ChangeMean):
        return np.asarray(np.mean([change_of(c) for c in estimate.changes], axis=0))
    if isinstance(estimate, Mean | Replicates):
        return np.asarray(estimate.value, dtype=np.float64)
    raise TypeError(f"{type(estimate).__name__} cannot be identical to a parent's")


def _reasons(estimate: Estimate, p_pass: FloatArray, p_fail: FloatArray) -> Texts:
    """Why each slice has no verdict, "" where it has."""
    reasons: Texts = np.full(p_pass.shape, "", dtype=object)
    for rows, units in denominators(estimate):
        reasons = np.where(reasons == "", too_small(rows, units), reasons)
    if isinstance(estimate, Mean):
        few = np.asarray(estimate.least_count, dtype=np.float64) < MIN_CLASS_ROWS
        reasons = np.where((reasons == "") & few, "too_few_of_class", reasons)
        reasons = np.where(np.isnan(estimate.value), "no_data", reasons)
        if estimate.reason:
            reasons = np.full(p_pass.shape, estimate.reason, dtype=object)
    if isinstance(estimate, Replicates):
        given = np.array(estimate.reasons, dtype=object).reshape(p_pass.shape)
        reasons = np.where(given != "", given, reasons)
        reasons = np.where(np.isnan(estimate.value), "no_data", reasons)
    missing = "no_data" if isinstance(estimate, Fact) else "not_measured"
    absent = np.isnan(p_pass) | np.isnan(p_fail)
    return np.where((reasons == "") & absent, missing, reasons)
