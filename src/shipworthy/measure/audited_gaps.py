"""How far groups lie apart in an audit: each difference or ratio with its interval and its pair.

Shares go pair by pair as in `spread.py`, other numbers as in `pairwise.py`. Without a reference a
difference is highest minus lowest, a ratio lowest over highest; with one it is reference minus each
group, and each group over the reference.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

from shipworthy.core.records import Slice
from shipworthy.measure import chance, pairwise
from shipworthy.measure.audited import ODDS, Answers
from shipworthy.measure.cells import Area, largest
from shipworthy.measure.effective import degrees, scaled, share_of
from shipworthy.measure.estimates import (
    Estimate,
    Mean,
    Rate,
    RateDifference,
    RateMean,
    RateRatio,
    Spread,
    take,
)
from shipworthy.measure.fairness import SPREADS
from shipworthy.measure.intervals import Interval, critical, mover_mean, wilson
from shipworthy.measure.shown import assess

if TYPE_CHECKING:
    from numpy.typing import NDArray

    FloatArray: TypeAlias = NDArray[np.float64]
    Kind: TypeAlias = Literal["difference", "ratio"]

SHARES: dict[str, tuple[Kind, tuple[str, ...]]] = {
    **SPREADS,
    "base_rate_difference": ("difference", ("base_rate",)),
    "negative_predictive_value_difference": ("difference", ("negative_predictive_value",)),
}
"""Comparisons of shares, by how and of what; those of `SPREADS` can be limits."""

MOST_COMPARED = 100
"""Groups beyond which only those with the most rows are compared, every pair of them."""

ORDER = (
    "statistical_parity_difference", "disparate_impact_ratio", "equal_opportunity_difference",
    "equalized_odds_difference", "average_odds_difference", "false_positive_rate_difference",
    "false_negative_rate_difference", "predictive_parity_difference",
    "negative_predictive_value_difference", "accuracy_difference",
    "treatment_equality_difference", "auc_difference", "base_rate_difference",
)  # fmt: skip


@dataclass(frozen=True)
class Gap:
    """One comparison of groups.

    between: highest and lowest group (of a ratio lowest and highest), or reference and group; empty
    where there is nothing to compare. n: rows that it rests on. by_chance: what equal groups of
    these sizes would show. detectable: smallest true difference found with power 0.8, NaN for
    ratios.
    """

    measure: str
    columns: tuple[str, ...]
    value: float
    low: float
    high: float
    between: tuple[Slice, ...]
    n: int
    method: str
    by_chance: chance.Chance = chance.NO_CHANCE
    detectable: float = float("nan")


def gaps(
    answers: Answers, columns: tuple[str, ...], *, confidence: float, reference: Slice | None = None
) -> Iterator[Gap]:
    """Yield every comparison of the groups of some columns that can be made.

    reference: a group of these columns; None compares highest and lowest.
    """
    where = largest(answers.area(columns), MOST_COMPARED)
    if where.m < 2:
        return
    place = where.slices.index(reference) if reference in where.slices else None
    if reference is not None and place is None:
        return
    possible = set(answers.measures)
    for measure in ORDER:
        if measure in SHARES:
            kind, names = SHARES[measure]
            if set(names) <= possible:
                found = [answers.rate(name, where) for name in names]
                rates = tuple(r for r in found if isinstance(r, Rate))
                yield from gaps_of_shares(measure, where, rates, kind, confidence, place)
        elif measure == "auc_difference":
            if "auc" in possible:
                own = largest(answers.area(columns, scored=True), MOST_COMPARED)
                # Both areas hold the same rows, so that their slices are the same.
                yield from of_numbers(measure, own, answers.on("auc", own), confidence, place)
        elif ODDS in possible:
            yield from of_numbers(measure, where, _number(answers, measure, where), confidence,
                                  place)  # fmt: skip


def _number(answers: Answers, measure: str, where: Area) -> Estimate:
    if measure == "treatment_equality_difference":
        return answers.on(ODDS, where)
    found = [answers.rate(n, where) for n in ("true_positive_rate", "false_positive_rate")]
    return RateMean(tuple(r for r in found if isinstance(r, Rate)))


def gaps_of_shares(
    measure: str, where: Area, rates: tuple[Rate, ...], kind: Kind, confidence: float,
    reference: int | None,
) -> Iterator[Gap]:  # fmt: skip
    """Yield the comparison of groups in one share or several, or one for each group."""
    alpha = (1 - confidence) / 2
    if reference is None:
        names = tuple(map(str, where.slices))
        shown = assess(Spread(rates, kind, names), confidence=confidence)
        own, first, second = _widest(rates, kind)
        value = float(shown.value[0])
        between = (
            () if first < 0 or np.isnan(value) else (where.slices[first], where.slices[second])
        )
        pairs = max(sum(r.trials.size * (r.trials.size - 1) for r in rates), 1)
        yield Gap(
            measure, where.columns, value, float(shown.low[0]), float(shown.high[0]), between,
            int(shown.n[0]), shown.method, chance.expected(rates, kind, value),
            _detectable(rates[own], kind, first, second, alpha / pairs) if between else np.nan,
        )  # fmt: skip
        return
    for group in range(where.m):
        if group == reference:
            continue
        first, second = (reference, group) if kind == "difference" else (group, reference)
        yield _pair(measure, where, rates, kind, confidence, first, second)


def _pair(
    measure: str, where: Area, rates: tuple[Rate, ...], kind: Kind, confidence: float,
    first: int, second: int,
) -> Gap:  # fmt: skip
    alpha = (1 - confidence) / 2
    own = rates[0]
    if len(rates) > 1:
        # The worst of several rates has no sign: it is the spread of the two groups.
        two = tuple(_picked(r, [first, second]) for r in rates)
        shown = assess(Spread(two, kind, ("", "")), confidence=confidence)
        own = rates[_widest(two, kind)[0]]
    else:
        a, b = _picked(own, [first]), _picked(own, [second])
        estimate = RateDifference(a, b) if kind == "difference" else RateRatio(a, b)
        shown = assess(estimate, confidence=confidence)
    value = float(shown.value[0])
    between = (where.slices[first], where.slices[second])
    return Gap(
        measure, where.columns, value, float(shown.low[0]), float(shown.high[0]), between,
        int(shown.n[0]), shown.method,
        detectable=_detectable(own, kind, first, second, alpha),
    )  # fmt: skip


def _picked(rate: Rate, places: Sequence[int]) -> Rate:
    return take(rate, places)


def _widest(rates: Sequence[Rate], kind: Kind) -> tuple[int, int, int]:
    """Which rate lies furthest apart, and its two groups in the order of the comparison."""
    best, found = -np.inf, (0, -1, -1)
    for k, rate in enumerate(rates):
        share = share_of(rate)
        known = np.flatnonzero(np.isfinite(share))
        if len(known) < 2:
            continue
        most, least = int(known[np.argmax(share[known])]), int(known[np.argmin(share[known])])
        apart = float(share[most] - share[least])
        if kind == "ratio":
            apart = -float(share[least] / share[most]) if share[most] > 0 else -1.0
        if apart > best:
            best = apart
            found = (k, most, least) if kind == "difference" else (k, least, most)
    return found


def _detectable(rate: Rate, kind: Kind, first: int, second: int, alpha: float) -> float:
    return float("nan") if kind == "ratio" else chance.detectable(rate, first, second, alpha)


def of_numbers(
    measure: str, where: Area, estimate: Estimate, confidence: float, reference: int | None
) -> Iterator[Gap]:
    """Yield the comparison of groups in a number that is no share, or one for each group."""
    alpha = (1 - confidence) / 2
    values, method = _values(measure, estimate), _method(measure)
    ends = _Ends(measure, estimate)
    n = assess(estimate, confidence=confidence).n
    plain = ends(alpha)
    with np.errstate(invalid="ignore"):
        errors = (plain.high - plain.low) / 2 / critical(confidence)
    if reference is None:
        found = [pairwise.spread_of(values, ends, alpha)]
    else:
        found = pairwise.against(values, ends, alpha, reference)
    pairs = where.m * (where.m - 1) if reference is None else 1
    for one in found:
        known = one.highest >= 0 and np.isfinite(one.value)
        between = (where.slices[one.highest], where.slices[one.lowest]) if known else ()
        yield Gap(
            measure, where.columns, one.value, one.low, one.high, between, int(np.nansum(n)),
            method,
            chance.NO_CHANCE if reference is not None
            else chance.expected_of_numbers(values, errors, one.value),
            chance.detectable_of_numbers(errors, one.highest, one.lowest, alpha / pairs)
            if known else np.nan,
        )  # fmt: skip


def _values(measure: str, estimate: Estimate) -> FloatArray:
    value = assess(estimate).value
    if measure == "treatment_equality_difference":
        return _odds(value)
    return value


def _odds(share: FloatArray) -> FloatArray:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(share / (1 - share))


def _method(measure: str) -> str:
    return {
        "treatment_equality_difference": "MOVER from Wilson ends",
        "average_odds_difference": "MOVER from Wilson ends",
    }.get(measure, "MOVER from t ends")


@dataclass(frozen=True)
class _Ends:
    """Intervals of the groups at any level; unlike shown ones, of any level below 1/2."""

    measure: str
    estimate: Estimate

    def __call__(self, alpha: float) -> Interval:
        estimate, confidence = self.estimate, 1 - 2 * alpha
        if isinstance(estimate, RateMean):
            ends = [_wilson(r, confidence) for r in estimate.rates]
            values = [share_of(r) for r in estimate.rates]
            return mover_mean([e.low for e in ends], values, [e.high for e in ends])
        if isinstance(estimate, Rate):
            found = _wilson(estimate, confidence)
            return Interval(_odds(found.low), _odds(found.high))
        assert isinstance(estimate, Mean)
        shown = assess(estimate, confidence=confidence)
        return Interval(shown.low, shown.high)


def _wilson(rate: Rate, confidence: float) -> Interval:
    x, n = scaled(rate.successes, rate.deff), scaled(rate.trials, rate.deff)
    return wilson(x, n, confidence=confidence, df=degrees(rate.trials, rate.units))


def odds_interval(rate: Rate, confidence: float) -> tuple[FloatArray, Interval]:
    """False negatives over false positives of each group, from their share of all errors."""
    found = _wilson(rate, confidence)
    return _odds(share_of(rate)), Interval(_odds(found.low), _odds(found.high))
