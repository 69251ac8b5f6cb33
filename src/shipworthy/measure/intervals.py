"""Intervals and one-sided tests for one rate, and what the other interval files share.

Wilson for the interval that is shown, exact binomial tails for a decision, Korn–Graubard where rows
come in units, MOVER for equal-weight means. Counts may be fractions: a design effect divides them.
"No data" (trials of 0) is NaN, never 0 or 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from scipy import special

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import ArrayLike, NDArray

    FloatArray: TypeAlias = NDArray[np.float64]

_SLACK = 1e-9
_HALVINGS = 60


class CountError(ValueError):
    """Counts that cannot be: negative, or more successes than trials."""


@dataclass(frozen=True)
class Interval:
    """Two ends, each of shape (m,); NaN where there is no data."""

    low: FloatArray
    high: FloatArray


def tail(z: ArrayLike, df: ArrayLike | None = None) -> FloatArray:
    """One-sided p of a statistic: P(T > z), T Student's t with df degrees of freedom.

    df None, NaN or infinite means the normal distribution; df <= 0 (a single unit) gives 1, so that
    nothing is ever decided by it. NaN z gives NaN. Broadcasts.

    >>> tail([1.959964, 0.0]).round(4).tolist()
    [0.025, 0.5]
    """
    z = np.asarray(z, dtype=np.float64)
    normal: FloatArray = special.ndtr(-z)
    if df is None:
        return normal
    df = np.asarray(df, dtype=np.float64)
    student = special.stdtr(np.where(np.isfinite(df) & (df > 0), df, 1.0), -z)
    p = np.where(np.isfinite(df), student, normal)
    return np.where(df <= 0, np.where(np.isnan(z), np.nan, 1.0), p)


def critical(confidence: ArrayLike = 0.95, df: ArrayLike | None = None) -> FloatArray:
    """Two-sided critical value, (1 - confidence) / 2 in each tail; df as in `tail`.

    df <= 0 gives infinity: with one unit nothing is excluded.
    """
    level = np.asarray(confidence, dtype=np.float64)
    if not np.all((level > 0) & (level < 1)):
        raise ValueError("confidence must lie between 0 and 1, both excluded")
    alpha = (1 - level) / 2
    normal: FloatArray = -special.ndtri(alpha)
    if df is None:
        return normal
    df = np.asarray(df, dtype=np.float64)
    # scipy's own inverse of stdtr loses digits for large df; the beta quantile does not.
    usable = np.where(np.isfinite(df) & (df > 0), df, 1.0)
    share = special.betaincinv(usable / 2, 0.5, 2 * alpha)
    student = np.sqrt(usable * (1 - share) / share)
    return np.where(df <= 0, np.inf, np.where(np.isfinite(df), student, normal))


def counts_of(successes: ArrayLike, trials: ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Both as float arrays of one shape, checked and clipped to 0 <= successes <= trials.

    Raises CountError where a count is negative or successes exceed trials by more than rounding.
    """
    x, n = np.broadcast_arrays(
        np.asarray(successes, dtype=np.float64), np.asarray(trials, dtype=np.float64)
    )
    slack = _SLACK * np.maximum(1.0, n)
    wrong = (x > n + slack) | (x < -slack) | (n < 0)
    if np.any(wrong):
        first = int(np.flatnonzero(wrong)[0])
        raise CountError(
            f"{x.flat[first]:g} of {n.flat[first]:g} at position {first} cannot be counts; "
            "0 <= successes <= trials is needed"
        )
    return np.clip(x, 0.0, n), n


def wilson(
    successes: ArrayLike,
    trials: ArrayLike,
    *,
    confidence: ArrayLike = 0.95,
    df: ArrayLike | None = None,
) -> Interval:
    """Score interval for a binomial rate (Wilson 1927).

    successes, trials: shape (m,), non-negative, may be fractions; trials of 0 give NaN.
    df: t instead of normal critical values (units - 1).
    Returns low and high, shape (m,), in [0, 1].
    Raises CountError where successes exceed trials.

    >>> wilson([3], [8]).low.round(6).tolist()
    [0.136844]
    """
    x, n = counts_of(successes, trials)
    z = critical(confidence, df)
    finite = np.where(np.isinf(z), 0.0, z)
    with np.errstate(invalid="ignore", divide="ignore"):
        centre = (x + finite**2 / 2) / (n + finite**2)
        half = finite * np.sqrt(x * (n - x) / n + finite**2 / 4) / (n + finite**2)
        low = np.where(x == 0, 0.0, np.maximum(centre - half, 0.0))
        high = np.where(x == n, 1.0, np.minimum(centre + half, 1.0))
    low, high = np.where(np.isinf(z), 0.0, low), np.where(np.isinf(z), 1.0, high)
    return Interval(np.where(n > 0, low, np.nan), np.where(n > 0, high, np.nan))


def clopper_pearson(
    successes: ArrayLike, trials: ArrayLike, *, confidence: ArrayLike = 0.95
) -> Interval:
    """Exact interval for a binomial rate from beta quantiles (Clopper & Pearson 1934).

    Each end excludes what its own one-sided exact test rejects at (1 - confidence) / 2.
    Counts may be fractions (divided by a design effect); trials of 0 give NaN.

    >>> clopper_pearson([0, 4], [20, 20]).high.round(4).tolist()
    [0.1684, 0.4366]
    """
    x, n = counts_of(successes, trials)
    critical(confidence)
    alpha = (1 - np.asarray(confidence, dtype=np.float64)) / 2
    inner, outer = np.maximum(x, 1e-300), np.maximum(n - x, 1e-300)
    low = np.where(x > 0, special.betaincinv(inner, n - x + 1, alpha), 0.0)
    high = np.where(x < n, 1 - special.betaincinv(outer, x + 1, alpha), 1.0)
    return Interval(np.where(n > 0, low, np.nan), np.where(n > 0, high, np.nan))


def binomial_tail_above(successes: ArrayLike, trials: ArrayLike, rate: ArrayLike) -> FloatArray:
    """One-sided exact p of H0: p <= rate, that is P(X >= successes | rate).

    Counts may be fractions (continued through the beta function). A rate below 0 cannot be true
    (p = 0), one above 1 cannot be false (p = 1); trials of 0 give NaN.

    >>> binomial_tail_above(5, 5, 0.5).round(5).tolist()
    0.03125
    """
    x, n = counts_of(successes, trials)
    rate = np.asarray(rate, dtype=np.float64)
    inside = np.clip(rate, 0.0, 1.0)
    p = np.where(x > 0, special.betainc(np.maximum(x, 1e-300), n - x + 1, inside), 1.0)
    p = np.where(rate < 0, 0.0, np.where(rate > 1, 1.0, p))
    return np.where((n > 0) & ~np.isnan(rate), p, np.nan)


def binomial_tail_below(successes: ArrayLike, trials: ArrayLike, rate: ArrayLike) -> FloatArray:
    """One-sided exact p of H0: p >= rate, that is P(X <= successes | rate); see the other tail."""
    x, n = counts_of(successes, trials)
    return binomial_tail_above(n - x, n, 1 - np.asarray(rate, dtype=np.float64))


def korn_graubard_n(
    n: ArrayLike, units: ArrayLike, deff: ArrayLike, alpha: ArrayLike = 0.025
) -> FloatArray:
    """Effective number of trials for exact ends when rows come in units.

    n / deff times (t quantile with n - 1 df over that with units - 1 df) squared (Korn & Graubard
    1998), never more than n. Multiply the successes by the same factor. alpha is one-sided.
    One unit that holds several rows gives 0: there is nothing to estimate a spread from.
    """
    n, units, deff = (np.asarray(a, dtype=np.float64) for a in (n, units, deff))
    confidence = 1 - 2 * np.asarray(alpha, dtype=np.float64)
    rows, groups = critical(confidence, n - 1), critical(confidence, units - 1)
    with np.errstate(invalid="ignore"):
        ratio = np.where(units >= n, 1.0, (rows / groups) ** 2)
    return np.minimum(n / np.maximum(deff, 1.0) * np.minimum(ratio, 1.0), n)


def mover_mean(lows: ArrayLike, values: ArrayLike, highs: ArrayLike) -> Interval:
    """Interval of the equal-weight mean of K independent estimates from their own ends.

    lows, values, highs: shape (K, ...). Method of variance estimates recovery (Zou & Donner 2008):
    distances to the ends add in quadrature. Ends of any level give an interval of that level.

    >>> mover_mean([[0.6], [0.7]], [[0.7], [0.8]], [[0.8], [0.9]]).low.round(4).tolist()
    [0.6793]
    """
    low, value, high = (np.asarray(a, dtype=np.float64) for a in (lows, values, highs))
    mean, parts = value.mean(axis=0), value.shape[0]
    return Interval(
        mean - np.sqrt(((value - low) ** 2).sum(axis=0)) / parts,
        mean + np.sqrt(((high - value) ** 2).sum(axis=0)) / parts,
    )


def crossing(
    statistic: Callable[[FloatArray], FloatArray],
    target: FloatArray,
    low: FloatArray,
    high: FloatArray,
) -> FloatArray:
    """Point in [low, high] where a falling statistic passes target, by halving; vectorised.

    A statistic below target everywhere gives low, one above everywhere gives high.
    """
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        above = statistic(middle) >= target
        low, high = np.where(above, middle, low), np.where(above, high, middle)
    return (low + high) / 2
