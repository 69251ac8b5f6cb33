"""What a candidate with some parts kept would be told, forecast from the rows of validation.

A row of a slice stands in one of a few states before and after: turned against the limit, turned
for it or not at all (a change), right or wrong (a share). From validation we learn how rows move
between the states when parts are kept, each state's moves drawn from a Dirichlet of counts + 1/2.
The gate will count the same test rows again, so their states of today are where the moves start.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

from shipworthy.measure.effective import degrees
from shipworthy.measure.intervals import (
    Interval,
    binomial_tail_above,
    korn_graubard_n,
    tail,
)
from shipworthy.measure.paired import tango, tango_z

if TYPE_CHECKING:
    from numpy.typing import NDArray

    BoolArray: TypeAlias = NDArray[np.bool_]
    FloatArray: TypeAlias = NDArray[np.float64]
    IntArray: TypeAlias = NDArray[np.int64]

DRAWS = 4000
HARMED, HELPED, SAME = 0, 1, 2
"""States of a row under a limit on a change."""

WRONG, RIGHT = 0, 1
"""States of a row under a limit on a share; right is what the limit asks more of."""


@dataclass(frozen=True)
class Slice2:
    """Today's counts of one slice on the rows that decide.

    counts: rows in each state, before the design effect deff; units: sampling units among them.
    """

    counts: FloatArray
    deff: float
    units: float

    @property
    def rows(self) -> float:
        """Rows of the slice that the measure counts."""
        return float(self.counts.sum())


@dataclass(frozen=True)
class Forecast:
    """P(pass) of one limit on one slice at the next look, and its drawn values.

    values: the change or share, in the direction of "at least", shape (DRAWS,).
    """

    p_pass: float
    values: FloatArray

    @property
    def interval(self) -> tuple[float, float, float]:
        """Median, and where 95 of 100 futures lie."""
        low, middle, high = np.quantile(self.values, [0.025, 0.5, 0.975]).tolist()
        return middle, low, high


def change_states(before: BoolArray, after: BoolArray, side: Literal["at_least", "at_most"]) -> (
    IntArray
):  # fmt: skip
    """Return the state of each row under a limit on a change, shape (n,)."""
    lost, gained = before & ~after, after & ~before
    harmed, helped = (lost, gained) if side == "at_least" else (gained, lost)
    return np.where(harmed, HARMED, np.where(helped, HELPED, SAME)).astype(np.int64)


def share_states(after: BoolArray, side: Literal["at_least", "at_most"]) -> IntArray:
    """Return the state of each row under a limit on a share, shape (n,)."""
    wanted = after if side == "at_least" else ~after
    return np.where(wanted, RIGHT, WRONG).astype(np.int64)


def moves(now: IntArray, then: IntArray, states: int) -> FloatArray:
    """Count the rows by their state now and with parts kept, shape (states, states)."""
    table = np.bincount(now * states + then, minlength=states * states)
    return table.reshape(states, states).astype(np.float64)


def forecast(
    today: Slice2, table: FloatArray, bound: float, *, deff: float, alpha: float, seed: int
) -> Forecast:
    """Draw what the gate will say of a slice when its rows move as those of validation did.

    table: moves on validation, where deff is the design effect; bound in the direction of
    "at least"; alpha: level of the next look.
    """
    generator = np.random.default_rng(seed)
    states = len(table)
    total = np.zeros((DRAWS, states))
    for state in range(states):
        truth = generator.dirichlet(table[state] / max(deff, 1.0) + 0.5, size=DRAWS)
        total += generator.multinomial(int(today.counts[state]), truth)
    worth = max(today.deff, 1.0)
    rows, units = np.array(today.rows), np.array(today.units)
    if states == 3:
        z = tango_z(total[:, HARMED] / worth, total[:, HELPED] / worth,
                    np.full(DRAWS, today.rows / worth), bound)  # fmt: skip
        p = tail(z, degrees(rows, units))
        values = (total[:, HELPED] - total[:, HARMED]) / today.rows
    else:
        values = total[:, RIGHT] / today.rows
        n = korn_graubard_n(rows, units, np.array(worth), alpha)
        p = _share_p(values * n, n, bound)
    return Forecast(float((p <= alpha).mean()), values)


def given_back(
    now: BoolArray, then: BoolArray, *, deff: float = 1.0, confidence: float = 0.95
) -> tuple[float, Interval]:
    """Return what keeping parts changes in a share, on the same rows, with Tango's interval."""
    n, lost, gained = len(now), float((now & ~then).sum()), float((then & ~now).sum())
    worth = max(deff, 1.0)
    ends = tango([lost / worth], [gained / worth], [n / worth], confidence=confidence)
    return (gained - lost) / n if n else float("nan"), ends


def divergence(parent: FloatArray, model: FloatArray) -> float:
    """Return the mean Kullback-Leibler divergence of a model's answers from its parent's, nats.

    parent, model: probabilities, shape (n, k). It moves with every row, where flips are few.
    """
    p, q = np.clip(parent, 1e-12, 1.0), np.clip(model, 1e-12, 1.0)
    return float((p * (np.log(p) - np.log(q))).sum(axis=1).mean()) if len(p) else float("nan")


def _share_p(x: FloatArray, n: FloatArray, bound: float) -> FloatArray:
    """One-sided p of "the share lies above the bound"; a bound beyond 0 or 1 decides alone."""
    if not 0 < bound < 1:
        return np.full(len(x), 0.0 if bound <= 0 else 1.0)
    above: FloatArray = binomial_tail_above(x, n, bound)
    return above
