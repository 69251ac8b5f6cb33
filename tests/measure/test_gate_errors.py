"""Proof of the gate, rule by rule: one-sided errors, units, spreads over groups.

Each check has few replicates in the fast suite and its full count in the slow one, where mutants of
the rules must be noticed as well. What was found is kept by `gate_record`.
"""

import importlib
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from shipworthy.measure.estimates import (
    ChangeMean,
    F1Score,
    RateDifference,
    RateMean,
    RateRatio,
    Spread,
)
from shipworthy.measure.one_sided import one_sided

sys.path.insert(0, str(Path(__file__).parent))

import gate_engine as engine
from gate_builders import ALPHA, change, rate
from gate_engine import replicates, seeded
from gate_record import broken, check, exactly, worst_of

rules = importlib.import_module("shipworthy.measure.one_sided")
spread = importlib.import_module("shipworthy.measure.spread")


# 6. One-sided errors of every rule (enumerated where two counts say it all)

RATES = (0.02, 0.05, 0.1, 0.3, 0.5, 0.7, 0.9, 0.95, 0.98)
ALLOWED = 0.029


@pytest.mark.parametrize(
    "sizes",
    [(20, 50, 100, 300), pytest.param((20, 50, 100, 300, 1000, 5000, 20_000),
                                      marks=pytest.mark.slow)],
)  # fmt: skip
def test_one_sided_errors_of_a_share_and_of_f1(sizes):
    worst, worst_f1 = 0.0, 0.0
    for n in sizes:
        x = np.arange(n + 1)
        for p in RATES:
            weight = stats.binom.pmf(x, n, p)
            likely = weight > 1e-12
            counted = rate(x[likely], n)
            for estimate, bound in ((counted, p), (F1Score(counted), 2 * p / (1 + p))):
                made = one_sided(estimate, bound, "at_least", alpha=ALPHA)
                errors = [weight[likely][q <= ALPHA].sum() for q in (made.p_pass, made.p_fail)]
                if estimate is counted:
                    worst = max(worst, *errors)
                else:
                    worst_f1 = max(worst_f1, *errors)
    # The bound on F1 comes back from a fraction: its last digit may lie on the other side.
    exactly(6, f"one share, n to {max(sizes):,}", worst, allowed=ALPHA + 1e-9)
    exactly(6, f"F1, n to {max(sizes):,}", worst_f1, allowed=ALPHA + 1e-9)


@replicates(3000, 60_000)
def test_one_sided_errors_of_changes_differences_and_ratios(runs):
    # Twenty rows of which almost half flip reach .0304 exactly; from fifty on none exceeds .027.
    rng = seeded(6, runs)
    worst = dict.fromkeys(("change", "difference", "ratio"), 0.0)
    for n in (20, 50, 100, 300, 1000, 5000, 20_000):
        for margin, up in ((0.0, 0.02), (0.01, 0.005), (0.02, 0.0), (0.03, 0.05), (0.05, 0.2)):
            p = engine.p_values(engine.flips(rng, runs, 1, n, up + margin, up), -margin)
            worst["change"] = max(worst["change"], *((q <= ALPHA).mean() for q in p))
        for m in (20, 300, 20_000):
            for p1, p2 in ((0.02, 0.02), (0.1, 0.05), (0.5, 0.4), (0.9, 0.88), (0.98, 0.9)):
                x, y = rng.binomial(n, p1, runs), rng.binomial(m, p2, runs)
                pair = rate(x, n), rate(y, m)
                for kind, made, bound in (
                    ("difference", RateDifference(*pair), p1 - p2),
                    ("ratio", RateRatio(*pair), p1 / p2),
                ):
                    p = engine.p_values(made, bound)
                    worst[kind] = max(worst[kind], *((q <= ALPHA).mean() for q in p))
    for kind, found in worst.items():
        worst_of(6, f"{kind}, worst of the grid", found, replicates=runs, allowed=ALLOWED)


def test_one_sided_errors_of_balanced_accuracy():
    worst = 0.0
    for (n1, p1), (n2, p2) in (((40, 0.9), (60, 0.7)), ((60, 0.95), (25, 0.9))):
        x, y = (a.ravel() for a in np.indices((n1 + 1, n2 + 1)))
        weight = stats.binom.pmf(x, n1, p1) * stats.binom.pmf(y, n2, p2)
        likely = weight > 1e-7
        parts = RateMean((rate(x[likely], n1), rate(y[likely], n2)))
        made = one_sided(parts, (p1 + p2) / 2, "at_least", alpha=ALPHA)
        worst = max(worst, *(weight[likely][q <= ALPHA].sum() for q in (made.p_pass, made.p_fail)))
    exactly(6, "balanced accuracy", worst, allowed=ALLOWED)


@replicates(300, 4000)
def test_one_sided_errors_of_the_change_of_balanced_accuracy(runs):
    rng = seeded(66, runs)
    first, second = (
        engine.flips(rng, runs, 1, n, b, c) for n, b, c in ((300, 0.05, 0.03), (200, 0.04, 0.02))
    )
    p = engine.p_values(ChangeMean((first, second)), -0.02)
    for name, q in zip(("pass", "fail"), p, strict=True):
        events = int((q <= ALPHA).sum())
        check(6, f"change of balanced accuracy, false {name}", events, replicates=runs,
              allowed=ALPHA)  # fmt: skip


# 7. Units

UNITS = ((60, 10, 0.2), (10, 10, 0.2), (300, 10, 0.2), (100, 10, 0.3))


def clustered(runs: int, units: int, size: int, icc: float) -> tuple[int, int]:
    counted = engine.clustered_flips(seeded(7, runs), runs, units, size, icc, 0.08, 0.06)
    return tuple(int((p <= ALPHA).sum()) for p in engine.p_values(counted, -0.02))


@pytest.mark.parametrize(("units", "size", "icc"), UNITS)
@replicates(400, 2000)
def test_rows_of_few_units_are_not_taken_for_many_rows(runs, units, size, icc):
    for side, events in zip(("pass", "fail"), clustered(runs, units, size, icc), strict=True):
        name = f"false {side}, {units} units of {size}, ICC {icc}"
        check(7, name, events, replicates=runs, allowed=0.031)


@pytest.mark.parametrize(("units", "size", "icc"), [UNITS[0], UNITS[2], UNITS[3]])
@replicates(400, 2000)
def test_shares_of_few_units(runs, units, size, icc):
    # The nearer a share is to 1, the more units its design effect needs: at .95 false passes are
    # .031 with 100 units, .039 with 60 and .067 with 10 (20,000 runs each).
    counted = engine.clustered_shares(seeded(77, runs), runs, units, size, icc, 0.85)
    for side, p in zip(("pass", "fail"), engine.p_values(counted, 0.85), strict=True):
        name = f"false {side} of a share, {units} units of {size}, ICC {icc}"
        check(7, name, int((p <= ALPHA).sum()), replicates=runs, allowed=0.031)


@pytest.mark.slow
def test_independent_rows_would_be_too_sure(monkeypatch):
    flips_of = rules.flips_of

    def independent(counted):
        return flips_of(change(counted.lost, counted.gained, counted.n))

    monkeypatch.setattr(rules, "flips_of", independent)
    units, size, icc = UNITS[0]
    for side, events in zip(("pass", "fail"), clustered(2000, units, size, icc), strict=True):
        name = f"false {side}, {units} units of {size}, ICC {icc}"
        broken(7, name, "rows independent", events, replicates=2000, allowed=0.031)
        assert events > 0.08 * 2000


# 8. Max - min over groups


def apart(rng, runs: int, count: int, n: int, rates, kind="difference", measures=1) -> Spread:
    made = tuple(engine.shares(rng, runs, count, n, rates) for _ in range(measures))
    return Spread(made, kind, tuple(str(k) for k in range(count)))


def spread_fails(runs: int, count: int, n: int) -> int:
    counted = apart(seeded(8, runs), runs, count, n, 0.88)
    return int((engine.p_values(counted, 0.0, "at_most")[1] <= ALPHA).sum())


@pytest.mark.parametrize(("count", "n"), [(4, 600), (20, 200)])
@replicates(300, 2000)
def test_equal_groups_are_not_held_for_their_spread(runs, count, n):
    events = spread_fails(runs, count, n)
    check(8, f"{count} equal groups of {n} fail d = 0", events, replicates=runs, allowed=ALPHA)


@replicates(500, 2000)
def test_a_spread_at_its_limit_does_not_pass(runs):
    rng = seeded(88, runs)
    one_low = np.array([0.88, 0.88, 0.82, 0.88])
    for name, counted, bound, side in (
        ("max − min .06", apart(rng, runs, 4, 600, one_low), 0.06, "at_most"),
        ("max − min .06, 2 groups", apart(rng, runs, 2, 600, one_low[1:3]), 0.06, "at_most"),
        ("equalised odds .06", apart(rng, runs, 4, 600, one_low, measures=2), 0.06, "at_most"),
        ("min / max", apart(rng, runs, 4, 600, one_low, "ratio"), 0.82 / 0.88, "at_least"),
    ):
        p_pass, _ = engine.p_values(counted, bound, side)
        events = int((p_pass <= ALPHA).sum())
        check(8, f"{name} passes at its limit", events, replicates=runs, allowed=ALPHA)


@replicates(500, 2000)
def test_equal_groups_are_not_held_for_odds_and_ratios(runs):
    rng = seeded(888, runs)
    for name, counted, bound, side in (
        ("equalised odds, 4 groups of 600", apart(rng, runs, 4, 600, 0.88, measures=2), 0.0,
         "at_most"),
        ("min / max, 4 groups of 600", apart(rng, runs, 4, 600, 0.88, "ratio"), 1.0, "at_least"),
    ):  # fmt: skip
        _, p_fail = engine.p_values(counted, bound, side)
        events = int((p_fail <= ALPHA).sum())
        check(8, f"{name}: equal groups fail", events, replicates=runs, allowed=ALPHA)


@pytest.mark.slow
def test_unordered_pairs_would_hold_equal_groups(monkeypatch):
    name = "4 equal groups of 600 fail d = 0"
    sound = spread_fails(20_000, 4, 600)
    check(8, name, sound, replicates=20_000, allowed=ALPHA)
    spread_p = spread.spread_p

    def unordered(counted, bound):
        within, beyond, reasons = spread_p(counted, bound)
        return within, beyond / 2, reasons

    monkeypatch.setattr(spread, "spread_p", unordered)
    events = spread_fails(20_000, 4, 600)
    broken(8, name, "unordered pairs", events, replicates=20_000, allowed=ALPHA)
    assert events > 0.035 * 20_000


@pytest.mark.slow
def test_a_percentile_bootstrap_would_hold_equal_groups():
    rng, count, n = seeded(8, 0), 4, 600
    x = rng.binomial(n, 0.88, size=(400, count))
    drawn = rng.binomial(n, x[..., None] / n, size=(400, count, 2000))
    low = np.quantile(np.ptp(drawn, axis=1) / n, ALPHA, axis=-1)
    name = "4 equal groups of 600 fail d = 0"
    broken(8, name, "percentile bootstrap", int((low > 0).sum()), replicates=400, allowed=ALPHA)
