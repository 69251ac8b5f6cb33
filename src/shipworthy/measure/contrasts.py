"""Groups against the rest of the rows, and against a share that was declared: three answers.

A margin says from where on a difference matters. Pass: the difference is shown to lie within it on
both sides; fail: shown to lie beyond it on one, after Holm over all groups that are asked about;
else cannot tell. "No difference was found" is never a pass.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from scipy import stats

from shipworthy.core.records import Outcome
from shipworthy.measure.decide import holm
from shipworthy.measure.effective import exact_tests, scaled, share_of, too_small
from shipworthy.measure.estimates import Rate
from shipworthy.measure.intervals import wilson
from shipworthy.measure.power import rate_rows_needed
from shipworthy.measure.rates import rate
from shipworthy.measure.slices import Partition
from shipworthy.measure.spread import both_groups, group_interval

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    BoolArray: TypeAlias = NDArray[np.bool_]
    FloatArray: TypeAlias = NDArray[np.float64]

DRAWS = 20_000
"""Drawn counts behind a p-value of a small table: its error at 0.05 is 0.0015."""

FEW_EXPECTED = 5.0
"""Expected rows of a group below which counts are drawn instead of taken for normal."""

SEED = 20_261_128


@dataclass(frozen=True)
class Contrast:
    """A share in one group and in the rest of the rows.

    group: its value, "" where missing. difference: group less rest, with Miettinen-Nurminen ends
    low, high. p: two-sided, that both are equal, after Holm. answer, reason: against the margin.
    """

    group: str
    rows: int
    share: float
    rest: float
    difference: float
    low: float
    high: float
    p: float
    answer: Outcome
    reason: str


@dataclass(frozen=True)
class GroupShare:
    """Rows of a group among all, against its share of a reference population.

    declared: that share, NaN where none is declared. low, high: Wilson's ends of the observed one.
    p: exact, two-sided, that the truth is the declared share, after Holm. needed: rows of the whole
    file after which a share equal to the declared one is shown to lie within the margin.
    """

    group: str
    rows: int
    share: float
    low: float
    high: float
    declared: float
    p: float
    answer: Outcome | None
    reason: str
    needed: float


@dataclass(frozen=True)
class Representation:
    """Groups of one column, against a reference where one is declared.

    p: of all groups together, NaN without a reference; method: `chi_square`, or `drawn_counts`
    where a group is expected in fewer than five rows. least_expected: rows expected of the rarest
    group. undeclared: rows whose value the reference doesn't have; missing: without a value.
    """

    column: str
    groups: tuple[GroupShare, ...]
    p: float
    method: str
    least_expected: float
    undeclared: int
    missing: int


def against_rest(
    rows: Partition, counted: BoolArray, success: BoolArray, *, margin: float, alpha: float = 0.025
) -> tuple[Contrast, ...]:
    """Compare a share of each group of one column with that of all other rows.

    counted, success: shape (n,), as in `rates.rate`. margin: in (0, 1), of the difference.
    """
    own = rate(rows, counted, success)
    rest = _rest(rows, counted, success)
    if rows.m < 2:
        return ()
    difference = share_of(own) - share_of(rest)
    ends = group_interval(own, rest, "difference", alpha)
    above, below_high = both_groups(own, rest, margin, "difference")
    above_low, below = both_groups(own, rest, -margin, "difference")
    within = np.maximum(below_high, above_low)
    small = np.where(
        too_small(own.trials, own.units) != "",
        too_small(own.trials, own.units),
        too_small(rest.trials, rest.units),
    )
    # Either side can be the one beyond: two tests for each group. Of two groups one is the other's
    # rest, so that they are tested once.
    tested = slice(0, 1 if rows.m == 2 else rows.m)
    both = np.where(small[None] == "", np.stack([above, below]), np.nan)[:, tested]
    beyond = np.broadcast_to(np.fmin(*holm(both.ravel()).reshape(2, -1)), rows.m)
    up, down = both_groups(own, rest, 0.0, "difference")
    equal = np.where(small == "", np.minimum(2 * np.fmin(up, down), 1.0), np.nan)
    equal = np.broadcast_to(holm(equal[tested]), rows.m)
    share, other = share_of(own), share_of(rest)
    found = []
    for k, one in enumerate(rows.slices):
        answer, reason = _answer(str(small[k]), within[k], beyond[k], alpha)
        found.append(
            Contrast(
                group=_value(one.conditions), rows=int(own.trials[k]), share=float(share[k]),
                rest=float(other[k]), difference=float(difference[k]), low=float(ends.low[k]),
                high=float(ends.high[k]), p=float(equal[k]), answer=answer, reason=reason,
            )
        )  # fmt: skip
    return tuple(found)


def representation(
    rows: Partition,
    declared: Mapping[str, float] | None = None,
    *,
    margin: float,
    alpha: float = 0.025,
    draws: int = DRAWS,
) -> Representation:
    """Count the groups of one column, and compare them with a declared population.

    declared: share of each value, in [0, 1]. Values that it doesn't have, and rows without a value,
    are left out of the comparison and counted apart; a declared value that no row has counts 0.
    """
    names = [_value(s.conditions) for s in rows.slices]
    counts = rows.sums(np.ones(len(rows.codes), dtype=bool))
    missing = int(sum(c for c, n in zip(counts, names, strict=True) if not n))
    undeclared = 0
    kept = [k for k, n in enumerate(names) if n]
    if declared is not None:
        undeclared = int(sum(counts[k] for k in kept if names[k] not in declared))
        kept = [k for k in kept if names[k] in declared]
    inside = np.isin(rows.codes, kept)
    values = [names[k] for k in kept]
    values += [v for v in declared or () if v not in values]
    shares = np.array([np.nan if declared is None else declared[v] for v in values])
    one = _shares_of(rows, inside, [*kept, *[-1] * (len(values) - len(kept))])
    found = _group_shares(values, one, shares, margin, alpha)
    p, method, least = float("nan"), "", float("nan")
    if declared is not None and inside.any() and len(values) > 1:
        p, method, least = _overall(one, shares, draws)
    return Representation(rows.columns[0], found, p, method, least, undeclared, missing)


def _shares_of(rows: Partition, inside: BoolArray, places: Sequence[int]) -> Rate:
    """Return how often the rows inside are of each slice; -1 is a slice without rows."""
    whole = Partition((), rows.slices[:1], np.zeros(len(rows.codes), np.int64), rows.unit_codes)
    found = [rate(whole, inside, inside & (rows.codes == k)) for k in places]
    return Rate(*(np.concatenate([getattr(r, f) for r in found]) if found else np.zeros(0)
                  for f in ("successes", "trials", "units", "deff")))  # fmt: skip


def _group_shares(
    values: Sequence[str], one: Rate, declared: FloatArray, margin: float, alpha: float
) -> tuple[GroupShare, ...]:
    if not values:
        return ()
    share = share_of(one)
    shown = wilson(scaled(one.successes, one.deff), scaled(one.trials, one.deff),
                   confidence=1 - 2 * alpha)  # fmt: skip
    above, below_high = exact_tests(one, declared + margin, alpha)
    above_low, below = exact_tests(one, declared - margin, alpha)
    within = np.maximum(below_high, above_low)
    small = too_small(one.trials, one.units)
    beyond = holm(np.where(small[None] == "", np.stack([above, below]), np.nan).ravel())
    beyond = np.fmin(*beyond.reshape(2, -1))
    up, down = exact_tests(one, declared, alpha)
    equal = holm(np.minimum(2 * np.fmin(up, down), 1.0))
    needed = np.fmax(
        rate_rows_needed(declared, np.minimum(declared + margin, 1.0), alpha=alpha),
        rate_rows_needed(declared, np.maximum(declared - margin, 0.0), alpha=alpha),
    )
    found = []
    for k, value in enumerate(values):
        answer, reason = (None, "") if np.isnan(declared[k]) else _answer(
            str(small[k]), within[k], beyond[k], alpha
        )  # fmt: skip
        found.append(
            GroupShare(
                group=value, rows=int(one.successes[k]), share=float(share[k]),
                low=float(shown.low[k]), high=float(shown.high[k]), declared=float(declared[k]),
                p=float(equal[k]), answer=answer, reason=reason, needed=float(needed[k]),
            )
        )  # fmt: skip
    return tuple(found)


def _overall(one: Rate, declared: FloatArray, draws: int) -> tuple[float, str, float]:
    """P of all shares together: Pearson's chi-square, by drawn counts where it is not close to it.

    Rows in units count as n over their mean design effect (Rao & Scott 1981, first order).
    """
    deff = float(np.average(one.deff, weights=np.maximum(1 - declared, 1e-12)))
    counts, total = one.successes / deff, float(one.trials[0]) / deff
    expected = declared * total
    impossible = (expected == 0) & (counts > 0)
    if impossible.any():
        return 0.0, "chi_square", 0.0
    used = expected > 0
    counts, expected = counts[used], expected[used]
    statistic = float(((counts - expected) ** 2 / expected).sum())
    if expected.min() >= FEW_EXPECTED:
        return (
            float(stats.chi2.sf(statistic, len(expected) - 1)),
            "chi_square",
            float(expected.min()),
        )
    n = int(round(total))
    generator = np.random.default_rng(SEED)
    drawn = generator.multinomial(n, declared[used] / declared[used].sum(), size=draws)
    reached = ((drawn - expected) ** 2 / expected).sum(axis=1) >= statistic - 1e-9
    return float((1 + reached.sum()) / (draws + 1)), "drawn_counts", float(expected.min())


def _rest(rows: Partition, counted: BoolArray, success: BoolArray) -> Rate:
    """Return the share among the rows outside of each slice."""
    whole = Partition((), rows.slices[:1], np.zeros(len(rows.codes), np.int64), rows.unit_codes)
    if rows.unit_codes is None:
        own = rate(rows, counted, success)
        trials = own.trials.sum() - own.trials
        return Rate(own.successes.sum() - own.successes, trials, trials, np.ones(rows.m))
    found = [rate(whole, counted & (rows.codes != k), success) for k in range(rows.m)]
    return Rate(*(np.concatenate([getattr(r, f) for r in found])
                  for f in ("successes", "trials", "units", "deff")))  # fmt: skip


def _answer(small: str, within: float, beyond: float, alpha: float) -> tuple[Outcome, str]:
    if small:
        return Outcome.CANNOT_TELL, small
    if beyond <= alpha:
        return Outcome.FAIL, ""
    return (Outcome.PASS, "") if within <= alpha else (Outcome.CANNOT_TELL, "across_bound")


def _value(conditions: Sequence[tuple[str, object]]) -> str:
    value = conditions[0][1]
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)
