"""Simulated releases: the counts of all runs are drawn at once and meet the real rules.

A run is a row, a limit or group a column. `decide.holm` is looked up when it is called, so that a
mutant which replaces it is met here as it is in `decide_candidate`.
"""

from dataclasses import replace

import numpy as np
import pytest
from gate_builders import ALPHA, change, rate

from shipworthy.measure import decide, estimates
from shipworthy.measure.one_sided import one_sided
from shipworthy.measure.rates import design_effect

Counts = estimates.PairedChange | estimates.Rate


def replicates(fast: int, full: int):
    """Run a check with few replicates in the fast suite and with its full count in the slow one."""
    return pytest.mark.parametrize("runs", [fast, pytest.param(full, marks=pytest.mark.slow)])


def seeded(item: int, runs: int) -> np.random.Generator:
    """The generator of one check."""
    return np.random.default_rng([item, runs])


def flips(rng, runs: int, groups: int, n: int, lost, gained) -> estimates.PairedChange:
    """Paired changes of shape (runs, groups); lost and gained: rates, one or one a group."""
    b, c = (np.broadcast_to(np.asarray(x, float), (groups,)) for x in (lost, gained))
    drawn = np.stack(
        [rng.multinomial(n, [b[k], c[k], 1 - b[k] - c[k]], size=runs) for k in range(groups)],
        axis=1,
    )
    return change(drawn[..., 0], drawn[..., 1], n)


def shares(rng, runs: int, groups: int, n: int, p) -> estimates.Rate:
    """Shares of shape (runs, groups); p: one rate or one a group."""
    return rate(rng.binomial(n, np.broadcast_to(p, (runs, groups))), n)


def p_values(estimate, bound: float, side: str = "at_least", *, alpha: float = ALPHA):
    """p_pass and p_fail in the shape of the counts."""
    made = one_sided(estimate, bound, side, alpha=alpha)
    return made.p_pass, made.p_fail


def fails(p_fail: np.ndarray, *, alpha: float = ALPHA) -> np.ndarray:
    """Which limits fail after Holm over each run's family."""
    return decide.holm(p_fail) <= alpha


def passes(p_pass: np.ndarray, *, alpha: float = ALPHA) -> np.ndarray:
    """Which limits pass."""
    return p_pass <= alpha


def p_candidate(p_pass: np.ndarray) -> np.ndarray:
    """The largest p_pass of each run."""
    return np.where(np.isnan(p_pass), 1.0, p_pass).max(axis=-1)


def run(estimate, row: int):
    """The counts of one run out of many."""
    if isinstance(estimate, estimates.Spread):
        return replace(estimate, rates=tuple(run(r, row) for r in estimate.rates))
    return type(estimate)(*(np.asarray(v)[row] for v in vars(estimate).values()))


def clustered_flips(
    rng, runs: int, units: int, size: int, icc: float, lost: float, gained: float
) -> estimates.PairedChange:
    """Paired changes of shape (runs, 1) whose rows come in units that are alike.

    Each unit draws its own shares of lost and gained from a Dirichlet distribution, so that two of
    its rows correlate by `icc`. The design effect is the variance from unit sums over that of
    independent rows, never below 1.
    """
    concentration = (1 - icc) / icc * np.array([lost, gained, 1 - lost - gained])
    truth = rng.dirichlet(concentration, size=(runs, units))
    drawn = rng.multinomial(size, truth)
    b, c = drawn[..., 0], drawn[..., 1]
    n, total, square = units * size, (c - b).sum(axis=1), (b + c).sum(axis=1)
    deff = _design_effect((c - b).astype(float), size, total, square)
    return change(b.sum(axis=1)[:, None], c.sum(axis=1)[:, None], n, units=units, deff=deff)


def clustered_shares(rng, runs: int, units: int, size: int, icc: float, p: float) -> estimates.Rate:
    """Shares of shape (runs, 1) whose rows come in units that are alike (beta-binomial)."""
    concentration = (1 - icc) / icc
    truth = rng.beta(concentration * p, concentration * (1 - p), size=(runs, units))
    x = rng.binomial(size, truth).astype(float)
    deff = _design_effect(x, size, x.sum(axis=1), x.sum(axis=1))
    return rate(x.sum(axis=1)[:, None], units * size, units=units, deff=deff)


def _design_effect(sums: np.ndarray, size: int, total: np.ndarray, square: np.ndarray):
    """Design effect of the product from the two variances, made of sums; shape (runs, 1)."""
    units = sums.shape[1]
    n = units * size
    mean = total / n
    between = units / (units - 1) * ((sums - size * mean[:, None]) ** 2).sum(axis=1)
    within = n / (n - 1) * (square - n * mean**2)
    return design_effect(between, within, size)[:, None]
