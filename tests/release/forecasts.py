"""Planted truths, the step that is advised, the action done, and what came of it.

Each function returns rows of (stated probability, what happened) of one kind of action: the truth
is planted, today's data are drawn from it, the step is asked for, the new data are drawn from the
same truth, and the gate decides at the next look.

Two worlds: in the `even` one truths lie evenly over all that the data could be about, so that a
right forecast keeps its word; in the `near` one they crowd around the limit, or on its good side,
as candidates that somebody bothers to judge do, which no forecast from the data alone can know.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.stats import norm

from shipworthy.core.records import Decision, Limit, Outcome, Slice
from shipworthy.measure.decide import Evidence, decide_candidate
from shipworthy.measure.estimates import Estimate, Mean, PairedChange, Rate, Spread
from shipworthy.release.judgement import NextStep
from shipworthy.release.next_step import next_steps

LABEL = ("next.label", "next.label_far")


@dataclass(frozen=True)
class Pair:
    """What a step said and what happened; decided and passed are 0 or 1."""

    decided: float
    passes: float
    was_decided: bool
    was_passed: bool


def floats(*values: float) -> np.ndarray:
    return np.array(values, dtype=np.float64)


def evidence(limit: Limit, estimate: Estimate) -> Evidence:
    where = Slice.of({"each": "g"}) if isinstance(estimate, Spread) else Slice.of({"g": "a"})
    assert not isinstance(limit.bound, str)
    return Evidence(limit, 0, (where,), estimate, limit.bound)


def told(item: Evidence) -> NextStep | None:
    """Return the step for a limit that cannot be told; None where it is told already."""
    decided = decide_candidate("id", [item])
    if decided.decisions[0].decision is not Outcome.CANNOT_TELL:
        return None
    found = next_steps("id", "new", decided.decisions, [item], confidence=0.95, opening=1)
    return found[0] if found else None


def happened(step: NextStep, item: Evidence, opening: int = 2) -> Pair:
    outcome = decision(item, opening).decision
    return Pair(
        step.probability, step.pass_probability, outcome is not Outcome.CANNOT_TELL,
        outcome is Outcome.PASS,
    )  # fmt: skip


def decision(item: Evidence, opening: int) -> Decision:
    return decide_candidate("id", [item], opening=opening).decisions[0]


def labelled(step: NextStep) -> bool:
    return step.phrase.key.removesuffix(".group") in LABEL


# -- rows to label ---------------------------------------------------------------------------------


def change(lost: float, gained: float, n: float, bound: float) -> Evidence:
    estimate = PairedChange(
        floats(lost), floats(gained), floats(n), floats(n), np.ones(1), np.zeros(1, dtype=bool)
    )
    return evidence(Limit("accuracy", "at_least", bound, {"g": "a"}, "parent"), estimate)


def changes(generator: np.random.Generator, cases: int, world: str = "even") -> Iterator[Pair]:
    """A group's change, with more rows of the group."""
    while cases:
        # A row's three fates, evenly over what they can be while few rows turn.
        p = generator.dirichlet([0.5, 0.5, 10.0])
        if world == "near":
            flips = float(np.exp(generator.uniform(np.log(0.01), np.log(0.12))))
            drift = flips * generator.uniform(-0.8, 0.2)
            p = np.array([(flips - drift) / 2, (flips + drift) / 2, 1 - flips])
        margin = generator.choice([0.01, 0.02, 0.03])
        n = int(generator.choice([300, 600, 1200]))
        old = generator.multinomial(n, p)
        step = told(change(*old[:2].astype(float), n, -margin))
        if step is None or not labelled(step):
            continue
        both = old + generator.multinomial(step.cost_rows, p)
        yield happened(step, change(*both[:2].astype(float), float(both.sum()), -margin))
        cases -= 1


def share(x: float, n: float, bound: float) -> Evidence:
    estimate = Rate(floats(x), floats(n), floats(n), np.ones(1))
    return evidence(Limit("accuracy", "at_least", bound, {"g": "a"}), estimate)


def shares(generator: np.random.Generator, cases: int, world: str = "even") -> Iterator[Pair]:
    """A group's accuracy, with more rows of the group."""
    while cases:
        bound, n = generator.choice([0.7, 0.8, 0.9]), int(generator.choice([150, 400, 1000]))
        p = float(generator.beta(0.5, 0.5))
        if world == "near":
            p = float(np.clip(bound + generator.normal(0, 0.03), 0.02, 0.98))
        x = generator.binomial(n, p)
        step = told(share(x, n, bound))
        if step is None or not labelled(step):
            continue
        more = x + generator.binomial(step.cost_rows, p)
        yield happened(step, share(more, n + step.cost_rows, bound))
        cases -= 1


def loss(values: np.ndarray, bound: float) -> Evidence:
    n = float(len(values))
    estimate = Mean(
        floats(values.mean()), floats(values.std(ddof=1) / np.sqrt(n)), floats(n - 1), floats(n),
        floats(n), np.ones(1), "identity", "t", floats(np.nan), np.zeros(1, dtype=bool),
    )  # fmt: skip
    return evidence(Limit("log_loss", "at_most", bound, {"g": "a"}, "parent"), estimate)


def losses(generator: np.random.Generator, cases: int, world: str = "even") -> Iterator[Pair]:
    """A group's change in log loss, skewed as losses are, with more rows of the group."""
    while cases:
        n, bound = int(generator.choice([200, 500, 1000])), 0.05
        centre = bound + generator.uniform(-0.08, 0.08)
        if world == "near":
            centre = bound + generator.normal(0, 0.02)

        def rows(count: int, centre: float = centre) -> np.ndarray:
            return centre + 0.15 * (generator.gamma(0.5, 2.0, count) - 1.0)

        old = rows(n)
        step = told(loss(old, bound))
        if step is None or not labelled(step):
            continue
        yield happened(step, loss(np.append(old, rows(step.cost_rows)), bound))
        cases -= 1


def gap(right: np.ndarray, n: np.ndarray, bound: float) -> Evidence:
    estimate = Spread(
        (Rate(right.astype(float), n.astype(float), n.astype(float), np.ones(len(n))),),
        "difference", tuple("abc"[: len(n)]),
    )  # fmt: skip
    return evidence(Limit("accuracy_difference", "at_most", bound, {"each": "g"}), estimate)


def gaps(generator: np.random.Generator, cases: int, world: str = "even") -> Iterator[Pair]:
    """The gap between three groups, with more rows of each."""
    while cases:
        n = generator.choice([200, 400, 800], 3)
        p = generator.uniform(0.6, 0.99, 3)
        if world == "near":
            p = 0.85 + generator.normal(0, 0.03, 3)
        right = generator.binomial(n, p)
        bound = 0.08
        step = told(gap(right, n, bound))
        if step is None or not labelled(step):
            continue
        more = np.rint(step.cost_rows * n / n.sum()).astype(int)
        yield happened(step, gap(right + generator.binomial(more, p), n + more, bound))
        cases -= 1


# -- processes to time -----------------------------------------------------------------------------


def speed(logs: np.ndarray, bound: float) -> Evidence:
    count, nothing = len(logs), floats(np.nan)
    estimate = Mean(
        floats(float(np.exp(logs.mean()))), floats(logs.std(ddof=1) / np.sqrt(count)),
        floats(count - 1.0), nothing, nothing, np.ones(1), "log", "t", nothing,
        np.zeros(1, dtype=bool),
    )  # fmt: skip
    limit = Limit("latency_p95_ms", "at_most", bound)
    return Evidence(limit, 0, (Slice(),), estimate, bound)


def timings(generator: np.random.Generator, cases: int, world: str = "even") -> Iterator[Pair]:
    """Latency from a few processes, timed again in more of them."""
    while cases:
        spread, bound = float(np.exp(generator.uniform(np.log(0.01), np.log(0.3)))), 20.0
        centre = np.log(bound) + generator.uniform(-0.5, 0.5)
        if world == "near":
            centre = np.log(bound) + generator.normal(0, 0.06)
        processes = int(generator.choice([5, 7]))
        step = told(speed(centre + spread * generator.standard_normal(processes), bound))
        if step is None:
            continue
        again = int(step.phrase.arguments["processes"])
        # The test rows are not looked at again, so the level stays.
        found = speed(centre + spread * generator.standard_normal(again), bound)
        yield happened(step, found, opening=1)
        cases -= 1


KINDS = {
    "change": changes, "share": shares, "loss": losses, "gap": gaps, "timing": timings,
}  # fmt: skip


# -- is a stated chance kept? ----------------------------------------------------------------------


@dataclass(frozen=True)
class Calibration:
    """Stated chances against what happened, over all cases and in bins of the chance.

    z: (happened - stated) over its standard deviation if the chances were right. bins: count,
    mean stated, share that happened, z. brier: mean squared error; best: what it would be on
    average if the chances were right.
    """

    cases: int
    stated: float
    happened: float
    z: float
    bins: tuple[tuple[int, float, float, float], ...]
    brier: float
    best: float


EDGES = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)


def calibration(stated: np.ndarray, outcome: np.ndarray) -> Calibration:
    p, y = np.asarray(stated, dtype=float), np.asarray(outcome, dtype=float)

    def z(chosen: np.ndarray) -> float:
        spread = np.sqrt((p[chosen] * (1 - p[chosen])).sum())
        return float((y[chosen] - p[chosen]).sum() / max(spread, 0.5))

    bins = []
    for low, high in zip(EDGES, EDGES[1:], strict=False):
        chosen = (p >= low) & ((p < high) | (high == 1.0))
        if chosen.sum() >= 5:
            bins.append(
                (int(chosen.sum()), float(p[chosen].mean()), float(y[chosen].mean()), z(chosen))
            )
    everything = np.ones(len(p), dtype=bool)
    return Calibration(
        len(p), float(p.mean()), float(y.mean()), z(everything), tuple(bins),
        float(((p - y) ** 2).mean()), float((p * (1 - p)).mean()),
    )  # fmt: skip


def most(comparisons: int) -> float:
    """Size of z beyond which one in 10,000 correct builds lies, over all comparisons."""
    return float(norm.isf(1e-4 / 2 / comparisons))
