"""How many rows a limit needs: before a run by formula, after it by drawn futures.

The formulas answer "what must I collect so that a limit can be decided"; they take the truth as
known. `futures` answers "what will N more rows say about *these* counts": it draws the truth from
the posterior, because a count plugged in as truth is optimistic.

Throughout: alpha is one-sided, beta = 1 - power, margin m > 0 means the limit "change >= -m".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from scipy.special import ndtr, ndtri

from shipworthy.measure.effective import degrees
from shipworthy.measure.intervals import (
    binomial_tail_above,
    binomial_tail_below,
    korn_graubard_n,
    tail,
)
from shipworthy.measure.paired import bonett_price_z, tango_z

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    FloatArray = NDArray[np.float64]
    IntArray = NDArray[np.int64]

DRAWS = 4000
DECIDED = 0.8
"""More rows are advised from the N on where pass and fail together are this likely."""

HOPELESS = 0.1
"""More rows are not advised where even ten times the rows pass less often than this."""


def paired_rows_needed(
    discordance: ArrayLike,
    margin: ArrayLike,
    change: ArrayLike = 0.0,
    *,
    power: float = 0.8,
    alpha: float = 0.025,
) -> FloatArray:
    """Rows after which "change >= -margin" is decided with the power given.

    discordance is P(flip) in either direction, change the true change; all broadcast. margin may be
    negative (the candidate must gain). Where change < -margin it is the n that shows the failure.
    A discordance is never below the change itself, so the margin bounds it under the null and the
    change under the truth.
    Returns whole numbers, inf where change = -margin.

    >>> paired_rows_needed(0.05, 0.02).item()
    976.0
    """
    m, delta = np.asarray(margin, dtype=float), np.asarray(change, dtype=float)
    null, alternative = _variances(discordance, m, delta)
    return _rows(null, alternative, m + delta, power, alpha)


def rate_rows_needed(
    rate: ArrayLike, bound: ArrayLike, *, power: float = 0.8, alpha: float = 0.025
) -> FloatArray:
    """Rows after which a share is shown to lie on its own side of the bound.

    >>> rate_rows_needed(0.85, 0.80).item()
    471.0
    """
    p, limit = np.asarray(rate, dtype=float), np.asarray(bound, dtype=float)
    null = np.maximum(limit * (1 - limit), 0.0)
    return _rows(null, p * (1 - p), limit - p, power, alpha)


def two_group_rows_needed(
    first: ArrayLike,
    second: ArrayLike,
    bound: ArrayLike,
    *,
    power: float = 0.8,
    alpha: float = 0.025,
) -> FloatArray:
    """Rows *per group* after which first - second is shown to lie on its own side of the bound.

    >>> two_group_rows_needed(0.90, 0.88, 0.06).item()
    960.0
    """
    p, q = np.asarray(first, dtype=float), np.asarray(second, dtype=float)
    variance = p * (1 - p) + q * (1 - q)
    return _rows(variance, variance, p - q - np.asarray(bound, dtype=float), power, alpha)


def zero_event_rows(margin: ArrayLike, *, alpha: float = 0.025) -> FloatArray:
    """Rows below which no paired change can pass "change >= -margin", even without one flip.

    Tango's score at zero flips: z**2 (1 - m) / m.

    >>> zero_event_rows([0.005, 0.01, 0.02, 0.03])
    array([765., 381., 189., 125.])
    """
    m = np.asarray(margin, dtype=float)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        return np.where(m > 0, np.ceil(ndtri(alpha) ** 2 * (1 - m) / m - 1e-9), np.inf)


def zero_event_rows_rate(limit: ArrayLike, *, alpha: float = 0.025) -> FloatArray:
    """Rows below which "rate at most L" cannot pass, even without one event: ln(alpha) / ln(1 - L).

    >>> zero_event_rows_rate([0.01, 0.02, 0.05, 0.10])
    array([368., 183.,  72.,  36.])
    """
    bound = np.asarray(limit, dtype=float)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        return np.where(bound > 0, np.ceil(np.log(alpha) / np.log1p(-bound) - 1e-9), np.inf)


def power_paired(
    n: ArrayLike,
    discordance: ArrayLike,
    margin: ArrayLike,
    change: ArrayLike = 0.0,
    *,
    alpha: float = 0.025,
) -> FloatArray:
    """P(pass) of "change >= -margin" with n rows (the inverse of `paired_rows_needed`).

    >>> power_paired(976, 0.05, 0.02).round(2).item()
    0.8
    """
    m, delta = np.asarray(margin, dtype=float), np.asarray(change, dtype=float)
    null, alternative = _variances(discordance, m, delta)
    reach = np.sqrt(np.asarray(n, dtype=float)) * (m + delta) + ndtri(alpha) * np.sqrt(null)
    spread = np.sqrt(alternative)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(spread > 0, ndtr(reach / spread), np.where(reach >= 0, 1.0, 0.0))


@dataclass(frozen=True)
class Futures:
    """What N more rows of one slice would say.

    rows: shape (g,), additional rows N on a log grid that ends at ten times those at hand.
    p_pass, p_fail: shape (g,), the shares of drawn futures that end so.
    needed: the smallest N where p_pass + p_fail >= 0.8, or None within the grid.
    hopeless: even ten times the rows pass in less than a tenth of the futures.
    """

    rows: IntArray
    p_pass: FloatArray
    p_fail: FloatArray
    needed: int | None
    hopeless: bool

    def at(self, rows: int) -> tuple[float, float]:
        """P(pass), P(fail) at the grid point nearest to the number of additional rows."""
        k = int(np.argmin(np.abs(self.rows - rows)))
        return float(self.p_pass[k]), float(self.p_fail[k])


def futures(
    lost: float,
    gained: float,
    n: float,
    margin: float,
    *,
    alpha_next: float,
    seed: int,
    draws: int = DRAWS,
    grid: ArrayLike | None = None,
    deff: float = 1.0,
    units: float | None = None,
    family: int = 1,
) -> Futures:
    """Draw what the paired change of one slice will look like with more rows.

    The truth (lost, gained, rest) comes from a Dirichlet of the counts + 1/2, the new rows from it;
    pass is Tango, fail is Tango and Bonett-Price at alpha_next, as in `decide.py`. deff divides old
    and new counts; units (those at hand; None where rows are units) grow as the rows do.
    family is the number of tests that Holm shares alpha among for a fail.
    """
    rows = _grid(n) if grid is None else np.asarray(grid, dtype=np.int64)
    generator = np.random.default_rng(seed)
    old = np.array([lost, gained, n - lost - gained], dtype=float) / deff
    truth = generator.dirichlet(np.maximum(old, 0.0) + 0.5, size=draws)
    more = _with_far(rows, n)
    new = generator.multinomial(_effective(more, deff)[:, None], truth[None])
    b, c, total = old[0] + new[..., 0], old[1] + new[..., 1], old.sum() + new.sum(axis=-1)
    df = degrees(n + more, _grown(units, n, more))[:, None]
    z = tango_z(b, c, total, -margin)
    p_fail = np.maximum(tail(-z, df), tail(-bonett_price_z(b, c, total, -margin), df))
    return _futures(rows, tail(z, df), p_fail, alpha_next, family)


def rate_futures(
    successes: float,
    trials: float,
    bound: float,
    side: Literal["at_least", "at_most"],
    *,
    alpha_next: float,
    seed: int,
    draws: int = DRAWS,
    grid: ArrayLike | None = None,
    deff: float = 1.0,
    units: float | None = None,
    family: int = 1,
) -> Futures:
    """Draw what one share will look like with more rows (Beta of the counts + 1/2, exact tails).

    Arguments as those of `futures`; units change the effective n as Korn and Graubard have it.
    """
    rows = _grid(trials) if grid is None else np.asarray(grid, dtype=np.int64)
    generator = np.random.default_rng(seed)
    x, n = successes / deff, trials / deff
    truth = generator.beta(x + 0.5, n - x + 0.5, size=draws)
    further = _with_far(rows, trials)
    more = _effective(further, deff)[:, None]
    share = (x + generator.binomial(more, truth[None])) / (n + more)
    held = trials + further
    p = []
    for level in (alpha_next, alpha_next / family):
        total = korn_graubard_n(held, _grown(units, trials, further), deff, level)[:, None]
        count = share * total
        above, below = (t(count, total, bound) for t in (binomial_tail_above, binomial_tail_below))
        p.append((above, below) if side == "at_least" else (below, above))
    return _futures(rows, p[0][0], p[1][1], alpha_next, family)


def _variances(
    discordance: ArrayLike, margin: FloatArray, change: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Variance of one row's change under the null and under the truth."""
    flips = np.asarray(discordance, dtype=float)
    null = np.maximum(flips, np.abs(margin)) - margin**2
    return np.maximum(null, 0.0), np.maximum(np.maximum(flips, np.abs(change)) - change**2, 0.0)


def _rows(
    null: FloatArray, alternative: FloatArray, distance: FloatArray, power: float, alpha: float
) -> FloatArray:
    reach = -ndtri(alpha) * np.sqrt(null) + ndtri(power) * np.sqrt(alternative)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        exact = np.where(np.abs(distance) < 1e-12, np.inf, (reach / distance) ** 2)
    return np.ceil(exact - 1e-9)


def _grid(n: float) -> IntArray:
    """About 25 steps from a twentieth of the rows at hand (at least 10) to ten times as many."""
    most = max(int(round(10 * n)), 200)
    least = max(int(n) // 20, 10)
    return np.unique(np.geomspace(least, most, 25).round().astype(np.int64))


def _effective(rows: IntArray, deff: float) -> IntArray:
    return np.maximum(np.rint(rows / deff).astype(np.int64), 1)


def _with_far(rows: IntArray, n: float) -> IntArray:
    """The grid and, last, ten times the rows at hand: there it shows whether more rows can help."""
    return np.append(rows, max(round(10 * n), 1))


def _grown(units: float | None, n: float, more: IntArray) -> FloatArray:
    """Units among all rows when new rows come in units like the old ones."""
    return np.asarray((n if units is None else units) * (n + more) / n, dtype=np.float64)


def _futures(
    rows: IntArray, p_pass: FloatArray, p_fail: FloatArray, alpha: float, family: int
) -> Futures:
    passes = (p_pass <= alpha).mean(axis=1)
    fails = (p_fail <= alpha / family).mean(axis=1)
    enough = np.flatnonzero((passes + fails)[:-1] >= DECIDED)
    needed = int(rows[enough[0]]) if enough.size else None
    return Futures(rows, passes[:-1], fails[:-1], needed, bool(passes[-1] < HOPELESS))
