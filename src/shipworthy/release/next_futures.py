"""What more rows, or more processes, would say of one limit: futures for every kind of estimate.

Shares and paired changes are drawn by `measure/power.py`. Here are the others: means and areas by
their standard error, gaps between groups by the shares of the groups, speeds by fresh processes.
Each draws the truth from what is known now, the new data from it, and decides as the gate does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from shipworthy.measure.effective import jaccard_bound
from shipworthy.measure.estimates import (
    ChangeMean,
    F1Score,
    Mean,
    PairedChange,
    Rate,
    RateMean,
    Replicates,
    Spread,
)
from shipworthy.measure.intervals import tail
from shipworthy.measure.one_sided import on_scale
from shipworthy.measure.power import DECIDED, DRAWS, HOPELESS, Futures, futures, rate_futures
from shipworthy.measure.shown import assess
from shipworthy.measure.spread import spread_p

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from shipworthy.measure.decide import Evidence

    FloatArray = NDArray[np.float64]

SEED = 20_240_229
SPREAD_DRAWS = 300
PROCESSES = (7, 10, 14, 20, 30, 40, 60, 100)
"""Numbers of fresh processes that are tried for a speed that cannot tell."""

_NORMAL_95 = 1.959964


def row_futures(item: Evidence, k: int, alpha: float, family: int) -> Futures | None:
    """Return what more rows would say of slice k; None where rows are not what is missing.

    alpha: level of the next look; family: tests that Holm shares it among for a fail.
    """
    estimate, bound, side = item.estimate, item.bound, item.limit.side
    if isinstance(estimate, PairedChange):
        lost, gained = float(estimate.lost[k]), float(estimate.gained[k])
        if side == "at_most":
            lost, gained, bound = gained, lost, -bound
        return futures(
            lost, gained, float(estimate.n[k]), -bound,
            alpha_next=alpha, seed=SEED, deff=float(estimate.deff[k]),
            units=float(estimate.units[k]), family=family,
        )  # fmt: skip
    if isinstance(estimate, F1Score):
        estimate, bound = estimate.jaccard, float(jaccard_bound(bound))
    if isinstance(estimate, Rate):
        if not (float(estimate.trials[k]) > 0 and 0 < bound < 1):
            return None
        return rate_futures(
            float(estimate.successes[k]), float(estimate.trials[k]), bound, side,
            alpha_next=alpha, seed=SEED, deff=float(estimate.deff[k]),
            units=float(estimate.units[k]), family=family,
        )  # fmt: skip
    if isinstance(estimate, Spread):
        return _spread(estimate, bound, side, alpha, family)
    if isinstance(estimate, Mean | Replicates | RateMean | ChangeMean):
        known = _summary(estimate, k, bound)
        return None if known is None else _mean(known, side, alpha, family)
    return None


@dataclass(frozen=True)
class Timing:
    """What more processes would say of a speed.

    processes: how many to time; p_pass, p_fail: chances then.
    """

    processes: int
    p_pass: float
    p_fail: float


def process_futures(
    mean: Mean, bound: float, side: str, *, alpha: float, family: int
) -> Timing | None:
    """Return the least number of fresh processes likely to decide a speed, or the most tried.

    The new processes stand alone, since a longer timing is a new one. None without a spread.
    """
    count = float(mean.df[0]) + 1
    error = float(mean.standard_error[0])
    if not error > 0 or not count > 1:
        return None
    value, limit = (float(on_scale(v, mean.scale)) for v in (mean.value[0], bound))
    generator = np.random.default_rng(SEED)
    spread = error * np.sqrt(count)
    sigma = spread * np.sqrt((count - 1) / generator.chisquare(count - 1, size=DRAWS))
    truth = value + sigma / np.sqrt(count) * generator.standard_normal(DRAWS)
    sign = 1.0 if side == "at_least" else -1.0
    tried = [n for n in PROCESSES if n > count] or [int(2 * count)]
    for processes in tried:
        seen = truth + sigma / np.sqrt(processes) * generator.standard_normal(DRAWS)
        deviation = sigma * np.sqrt(generator.chisquare(processes - 1, DRAWS) / (processes - 1))
        t = sign * (seen - limit) * np.sqrt(processes) / deviation
        passes = float((tail(t, processes - 1.0) <= alpha).mean())
        fails = float((tail(-t, processes - 1.0) <= alpha / family).mean())
        found = Timing(processes, passes, fails)
        if passes + fails >= DECIDED:
            break
    return found


@dataclass(frozen=True)
class _Known:
    """A mean on its scale: value, standard error, degrees of freedom, rows, units, bound."""

    value: float
    error: float
    df: float
    n: float
    units: float
    bound: float


def _summary(estimate: Mean | Replicates | RateMean | ChangeMean, k: int, bound: float) -> (
    _Known | None
):  # fmt: skip
    shown = assess(estimate)
    n, units = float(shown.n[k]), float(shown.units[k])
    if isinstance(estimate, Mean):
        value = float(on_scale(estimate.value[k], estimate.scale))
        bound = float(on_scale(bound, estimate.scale))
        error, df = float(estimate.standard_error[k]), float(estimate.df[k])
    else:
        value, df = float(shown.value[k]), units - 1
        error = float(shown.high[k] - shown.low[k]) / (2 * _NORMAL_95)
    usable = np.isfinite([value, error, n, units, bound]).all() and error > 0 and n > 1 and df > 0
    return _Known(value, error, df, n, units, bound) if usable else None


def _mean(known: _Known, side: str, alpha: float, family: int) -> Futures:
    generator = np.random.default_rng(SEED)
    df = min(known.df, known.n - 1)
    row = known.error * np.sqrt(known.n)
    sigma = row * np.sqrt(df / generator.chisquare(df, size=DRAWS))
    truth = known.value + sigma / np.sqrt(known.n) * generator.standard_normal(DRAWS)
    grid = _grid(known.n)
    more = grid[:, None].astype(np.float64)
    new = truth + sigma / np.sqrt(more) * generator.standard_normal((len(grid), DRAWS))
    total = known.n + more
    value = (known.n * known.value + more * new) / total
    further = more * known.units / known.n
    variance = (df * row**2 + further * sigma**2) / (df + further) / total
    t = (1.0 if side == "at_least" else -1.0) * (value - known.bound) / np.sqrt(variance)
    freedom = np.broadcast_to(known.df + further, t.shape)
    return _shares(grid, tail(t, freedom), tail(-t, freedom), alpha, family)


def _spread(
    spread: Spread, bound: float, side: str, alpha: float, family: int
) -> Futures | None:  # fmt: skip
    rates = spread.rates
    if not all(np.all(r.trials > 0) for r in rates) or not np.isfinite(bound):
        return None
    generator = np.random.default_rng(SEED)
    grid = _grid(float(sum(r.trials.sum() for r in rates)), steps=8)
    drawn = []
    for rate in rates:
        deff = np.maximum(rate.deff, 1.0)
        x, n = rate.successes / deff, rate.trials / deff
        truth = generator.beta(x + 0.5, n - x + 0.5, size=(SPREAD_DRAWS, len(n)))
        growth = grid / sum(float(r.trials.sum()) for r in rates)
        more = np.maximum(np.rint(growth[:, None] * n), 1).astype(np.int64)[:, None, :]
        new = generator.binomial(more, truth[None])
        rows = np.broadcast_to(n + more, new.shape) * deff
        units = np.broadcast_to(rate.units / rate.trials, new.shape) * rows
        # What a row is worth stays as it is: counts go back to rows, and deff with them.
        drawn.append(Rate((x + new) * deff, rows, units, np.broadcast_to(deff, new.shape)))
    within, beyond, _ = spread_p(Spread(tuple(drawn), spread.kind, spread.groups), bound)
    narrow = "at_most" if spread.kind == "difference" else "at_least"
    passes, fails = (within, beyond) if side == narrow else (beyond, within)
    return _shares(grid, np.nan_to_num(passes, nan=1.0), np.nan_to_num(fails, nan=1.0), alpha,
                   family)  # fmt: skip


def _grid(n: float, steps: int = 16) -> NDArray[np.int64]:
    """From a twentieth of the rows at hand to ten times as many."""
    most, least = max(int(round(10 * n)), 200), max(int(n) // 20, 10)
    return np.unique(np.geomspace(least, most, steps).round().astype(np.int64))


def _shares(
    grid: NDArray[np.int64], p_pass: FloatArray, p_fail: FloatArray, alpha: float, family: int
) -> Futures:
    passes = (p_pass <= alpha).mean(axis=1)
    fails = (p_fail <= alpha / family).mean(axis=1)
    enough = np.flatnonzero(passes + fails >= DECIDED)
    needed = int(grid[enough[0]]) if enough.size else None
    return Futures(grid, passes, fails, needed, bool(passes[-1] < HOPELESS))
