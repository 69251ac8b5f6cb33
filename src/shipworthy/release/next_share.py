"""Between two recipes of one lever: the share of pruned weights at which a limit would be met.

What is known are flips at the shares that were measured, and none at share 0. Between two shares
nobody knows the curve, so each draw takes one between a straight line and a power of the share.
The share is chosen on validation; what the gate will say of it is forecast from the flips that the
verdict counted, since it will count the same rows again.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from shipworthy.measure.effective import degrees
from shipworthy.measure.intervals import tail
from shipworthy.measure.paired import tango_z

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    FloatArray: TypeAlias = NDArray[np.float64]

DRAWS = 2000
SURE = 0.8
"""Chance with which the truth at the share that is proposed is inside the limit."""

STEP = 0.01
LEAST_SHARE = 0.05
STEEPEST = 4.0
CHURN = 0.2
"""Part of the flips that come and go between two shares although their number does not change."""

LATE, LATEST = 0.3, 16.0
"""Part of the futures in which harm comes late: after a power, up to this, of the way between."""

WOBBLE, TILT = 0.3, 0.2
"""Deviation, on the logarithm, of the flips at a share from any smooth curve: of all, of each kind.

Where more pruning turned fewer rows, the curve is known to wobble by more than that.
"""


@dataclass(frozen=True)
class Flips:
    """Rows of one slice that a recipe turned, after the design effect.

    harmed and helped: against and for the limit's side. rows, units: those of the slice, as counted
    (degrees of freedom come from them); deff divides.
    """

    share: float
    harmed: float
    helped: float
    n: float
    rows: float
    units: float


@dataclass(frozen=True)
class Crossing:
    """Shares up to which a limit is met: the one to propose, and the interval of the crossing."""

    share: float
    low: float
    high: float


def crossing(
    slices: Sequence[tuple[Sequence[Flips], float]], most: float, *, seed: int
) -> Crossing | None:
    """Return the share below `most` where every slice keeps its bound with the chance `SURE`.

    slices: flips of the recipes on validation, and the bound (change at least), one pair a slice.
    None where no share of at least `LEAST_SHARE` does.
    """
    grid = np.arange(STEP, most - STEP / 2, STEP)
    if not grid.size:
        return None
    generator = np.random.default_rng(seed)
    reached = np.full(DRAWS, most)
    for flips, bound in slices:
        harmed, helped = _curves(_drawn(flips, generator), grid, generator)
        inside = helped - harmed >= bound
        last = np.where(
            inside.any(axis=1), grid[inside.shape[1] - 1 - inside[:, ::-1].argmax(1)], 0
        )
        reached = np.minimum(reached, last)
    share = np.floor(np.quantile(reached, 1 - SURE) / STEP + 1e-9) * STEP
    if share < LEAST_SHARE:
        return None
    low, high = np.quantile(reached, [0.025, 0.975])
    return Crossing(round(float(share), 2), float(low), float(high))


def forecast(
    flips: Sequence[Flips], share: float, bound: float, *, alpha: float, seed: int
) -> tuple[float, FloatArray]:
    """Return P(pass) of the limit at a share between measured ones, and drawn changes, (DRAWS,).

    flips: of the recipes on the rows that will decide. Rows turned at the lower share mostly stay
    turned, and of those that the higher share turned as well a part is turned at the share asked.
    """
    generator = np.random.default_rng(seed)
    n, rows, units = flips[0].n, flips[0].rows, flips[0].units
    known = [(f.share, np.full(DRAWS, f.harmed / n), np.full(DRAWS, f.helped / n)) for f in flips]
    harmed, helped = _curves(known, np.array([share]), generator)
    below = max((f for f in flips if f.share <= share), key=lambda f: f.share, default=None)
    above = min((f for f in flips if f.share >= share), key=lambda f: f.share, default=None)

    def counts(mean: FloatArray, low: float, high: float) -> FloatArray:
        span = max(high - low, 0.0)
        part = np.clip((mean - low) / span, 0.0, 1.0) if span > 0 else np.zeros_like(mean)
        spread = np.sqrt(span * part * (1 - part) + CHURN * mean + 0.25)
        return np.clip(np.rint(mean + spread * generator.standard_normal(DRAWS)), 0, n / 2)

    b = counts(harmed[:, 0] * n, below.harmed if below else 0.0, above.harmed if above else n)
    c = counts(helped[:, 0] * n, below.helped if below else 0.0, above.helped if above else n)
    df = degrees(np.array(rows), np.array(units))
    p = tail(tango_z(b, c, np.full(DRAWS, n), bound), df)
    return float((p <= alpha).mean()), (c - b) / n


_Known: TypeAlias = "Sequence[tuple[float, FloatArray, FloatArray]]"


def _drawn(flips: Sequence[Flips], generator: np.random.Generator) -> _Known:
    """Shares of harmed and helped rows at each recipe, drawn from what was counted."""
    found = []
    for f in flips:
        counts = np.array([f.harmed, f.helped, max(f.n - f.harmed - f.helped, 0.0)]) + 0.5
        drawn = generator.dirichlet(counts, size=DRAWS)
        found.append((f.share, drawn[:, 0], drawn[:, 1]))
    return found


def _curves(
    known: _Known, grid: FloatArray, generator: np.random.Generator
) -> tuple[FloatArray, FloatArray]:
    """Return harmed and helped at each share of the grid, shape (DRAWS, len(grid)).

    One shape for both, drawn for each future.
    """
    bend = generator.random((DRAWS, 1))
    power = generator.uniform(1.0, STEEPEST, (DRAWS, 1))
    order = sorted(known, key=lambda one: one[0])
    shares = np.array([one[0] for one in order])
    way = np.exp(generator.uniform(0.0, np.log(LATEST), DRAWS))
    way = np.where(generator.random(DRAWS) < LATE, way, 1.0)
    all_of = _wobble(order) * generator.standard_normal((DRAWS, 1))
    found = []
    for kind in (1, 2):
        rates = np.stack([one[kind] for one in order])
        off = np.exp(all_of + TILT * generator.standard_normal((DRAWS, 1)))
        # At a share that was measured there is nothing to guess.
        guessed = ~np.isclose(grid[:, None], shares).any(axis=1)
        curve = _curve(shares, rates, grid, bend, power, way)
        found.append(np.minimum(np.where(guessed, curve * off, curve), 0.5))
    return found[0], found[1]


def _wobble(order: _Known) -> float:
    """Return by how much flips leave a smooth curve: by what a fall shows, where there is one."""
    turned = [max(float(np.mean(one[1] + one[2])), 1e-6) for one in order]
    falls = [np.log(a / b) for a, b in pairwise(turned) if a > b]
    return float(max([WOBBLE, *falls]))


def _curve(
    shares: FloatArray,
    rates: FloatArray,
    grid: FloatArray,
    bend: FloatArray,
    power: FloatArray,
    way: FloatArray,
) -> FloatArray:
    """Mix a straight line and a power of the share between measured ones; rates (k, DRAWS).

    Where `way` is above 1 the line gives way to a curve that rises late.
    """
    least = 1e-9
    logs = np.log(np.maximum(rates, least))
    found = np.empty((rates.shape[1], len(grid)))
    for j, share in enumerate(grid):
        k = int(np.searchsorted(shares, share))
        if k == 0:
            straight = rates[0] * share / shares[0]
            steep = power[:, 0]
            if len(shares) > 1:
                steep = (logs[1] - logs[0]) / np.log(shares[1] / shares[0])
                steep = np.clip(steep, 1.0, STEEPEST)
            curved = rates[0] * (share / shares[0]) ** steep
        elif k == len(shares):
            straight = curved = rates[-1]
        else:
            part = ((share - shares[k - 1]) / (shares[k] - shares[k - 1])) ** way
            straight = rates[k - 1] + part * (rates[k] - rates[k - 1])
            part = (np.log(share / shares[k - 1]) / np.log(shares[k] / shares[k - 1])) ** way
            curved = np.exp(logs[k - 1] + part * (logs[k] - logs[k - 1]))
        found[:, j] = bend[:, 0] * straight + (1 - bend[:, 0]) * curved
    return found
