"""Proof of the gate: simulated releases whose truth is known meet the real rules.

Each check has few replicates in the fast suite and its full count in the slow one, where mutants of
the rules must be noticed as well. What was found is kept by `gate_record`.
"""

import importlib
import sys
from pathlib import Path

import numpy as np
import pytest

from shipworthy.core.records import Answer, Outcome
from shipworthy.measure.decide import decide_candidate, decide_run, opening_alpha
from shipworthy.measure.estimates import (
    F1Score,
    RateDifference,
    Spread,
)
from shipworthy.measure.power import zero_event_rows

sys.path.insert(0, str(Path(__file__).parent))

import gate_engine as engine
from gate_builders import ALPHA, change, evidence, groups
from gate_engine import replicates, seeded
from gate_record import broken, check

decide = importlib.import_module("shipworthy.measure.decide")
rules = importlib.import_module("shipworthy.measure.one_sided")

MARGIN = 0.02


# The fast path is the gate


@replicates(20, 200)
def test_the_simulated_path_gives_the_answers_of_the_gate(runs):
    rng = seeded(0, runs)
    changes = engine.flips(rng, runs, 4, 600, [0.05, 0.05, 0.03, 0.09], [0.03, 0.04, 0.02, 0.03])
    right = engine.shares(rng, runs, 3, 400, [0.85, 0.8, 0.9])
    apart = Spread((engine.shares(rng, runs, 3, 300, [0.85, 0.8, 0.85]),), "difference", ())
    p = [
        engine.p_values(changes, -MARGIN),
        engine.p_values(right, 0.82),
        tuple(x[:, None] for x in engine.p_values(apart, 0.12, "at_most")),
    ]
    p_pass, p_fail = (np.concatenate(parts, axis=1) for parts in zip(*p, strict=True))
    fails, passes = engine.fails(p_fail), engine.passes(p_pass)
    seen = set()
    for row in range(runs):
        one = decide_candidate(
            "c",
            [
                evidence(engine.run(changes, row), -MARGIN, slices=groups(4)),
                evidence(engine.run(right, row), 0.82, slices=groups(3), index=1),
                evidence(engine.run(apart, row), 0.12, side="at_most", index=2),
            ],
        )
        decided = [d.decision for d in one.decisions]
        assert [d is Outcome.FAIL for d in decided] == fails[row].tolist()
        assert [d is Outcome.PASS for d in decided] == (passes & ~fails)[row].tolist()
        assert one.any_fail == fails[row].any()
        assert one.all_pass == passes[row].all()
        assert one.p_candidate == pytest.approx(p_pass[row].max(), abs=1e-12)
        seen |= set(decided)
    assert seen == set(Outcome)


# 1. Identity


@replicates(20, 200)
def test_a_copy_of_the_parent_passes_in_every_group(runs):
    rng = seeded(1, runs)
    not_passed = failed = wrong = 0
    least = int(zero_event_rows(MARGIN))
    right = rng.random(20 * least) < 0.87
    for _ in range(runs):
        group = rng.integers(0, 20, len(right))
        n = np.bincount(group, minlength=20)
        lost = np.bincount(group, weights=right & ~right, minlength=20)
        same = evidence(change(lost, lost, n, identical=True), -0.005, slices=groups(20))
        other = evidence(change(lost, lost, n), -MARGIN, slices=groups(20))
        copied, equal = (decide_candidate("c", [e]) for e in (same, other))
        not_passed += not copied.all_pass
        failed += copied.any_fail or equal.any_fail
        passed = np.array([d.decision is Outcome.PASS for d in equal.decisions])
        wrong += not np.array_equal(passed, n >= least)
        assert {d.method for d in copied.decisions} == {"identical"}
    check(1, "a copy does not pass everywhere", not_passed, replicates=runs, allowed=0.0)
    check(1, "no flips, a group fails", failed, replicates=runs, allowed=0.0)
    check(1, "no flips pass from other than z²(1−m)/m rows", wrong, replicates=runs, allowed=0.0)


# 2. Equal truth


def any_fail_of_twenty(runs: int) -> int:
    counted = engine.flips(seeded(2, runs), runs, 20, 200, 0.03, 0.03)
    _, p_fail = engine.p_values(counted, 0.0)
    return int(engine.fails(p_fail).any(axis=1).sum())


EQUAL = "any fail, 20 equal groups of 200, margin 0"


@replicates(500, 2000)
def test_equal_truth_is_not_held(runs):
    check(2, EQUAL, any_fail_of_twenty(runs), replicates=runs, allowed=ALPHA)


@pytest.mark.slow
def test_without_holm_equal_truth_is_held(monkeypatch):
    monkeypatch.setattr(decide, "holm", lambda p: p)
    broken(2, EQUAL, "no Holm", any_fail_of_twenty(2000), replicates=2000, allowed=ALPHA)


# 3. False ship


def ships_with_a_group_at_the_margin(runs: int) -> int:
    lost, gained = [0.05, 0.02, 0.02, 0.02], [0.03, 0.02, 0.02, 0.02]
    counted = engine.flips(seeded(3, runs), runs, 4, 600, lost, gained)
    p_pass, p_fail = engine.p_values(counted, -MARGIN)
    ships = (engine.p_candidate(p_pass) <= ALPHA) & ~engine.fails(p_fail).any(axis=1)
    return int(ships.sum())


def false_passes(runs: int, n: int, lost: float, gained: float, item: int = 3) -> int:
    counted = engine.flips(seeded(item, runs), runs, 1, n, lost, gained)
    return int(engine.passes(engine.p_values(counted, gained - lost)[0]).sum())


SHIP = "false ship, one of 4 groups of 600 at the margin"
FEW = "false pass, 300 rows, flips (.02, 0), margin 2 points"
AT_MARGIN = "false pass, 600 rows, flips (.05, .03), margin 2 points"


@replicates(4000, 20_000)
def test_harm_at_the_margin_is_not_shipped(runs):
    check(3, SHIP, ships_with_a_group_at_the_margin(runs), replicates=runs, allowed=ALPHA)
    check(3, AT_MARGIN, false_passes(runs, 600, 0.05, 0.03), replicates=runs, allowed=ALPHA)
    check(3, FEW, false_passes(runs, 300, 0.02, 0.0), replicates=runs, allowed=ALPHA)


def wald_z(lost, gained, n, delta):
    change = (gained - lost) / n
    error = np.sqrt(np.maximum((gained + lost) / n - change**2, 1e-12) / n)
    return (change - delta) / error


@pytest.mark.slow
@pytest.mark.parametrize("mutant", ["Wald", "Bonett-Price only"])
def test_other_tests_would_let_few_flips_pass(mutant, monkeypatch):
    monkeypatch.setattr(rules, "tango_z", wald_z if mutant == "Wald" else rules.bonett_price_z)
    events = false_passes(20_000, 300, 0.02, 0.0)
    broken(3, FEW, mutant, events, replicates=20_000, allowed=ALPHA)


@pytest.mark.slow
def test_a_swapped_sign_would_ship_harm(monkeypatch):
    flips_of = rules.flips_of

    def swapped(counted):
        lost, gained, n, df = flips_of(counted)
        return gained, lost, n, df

    monkeypatch.setattr(rules, "flips_of", swapped)
    events = ships_with_a_group_at_the_margin(20_000)
    broken(3, SHIP, "swapped sign", events, replicates=20_000, allowed=ALPHA)


# 4. False hold


def holds_at_the_margin(runs: int, limits: int) -> int:
    counted = engine.flips(seeded(4, runs), runs, limits, 600, 0.05, 0.03)
    _, p_fail = engine.p_values(counted, -MARGIN)
    return int(engine.fails(p_fail).any(axis=1).sum())


def holds_of_mixed_limits(runs: int) -> int:
    """Twenty limits of four kinds, each with the truth exactly on its bound."""
    rng = seeded(44, runs)
    first, second = (engine.shares(rng, runs, 5, n, p) for n, p in ((400, 0.88), (300, 0.86)))
    kinds = [
        engine.p_values(engine.flips(rng, runs, 5, 600, 0.05, 0.03), -MARGIN),
        engine.p_values(engine.shares(rng, runs, 5, 500, 0.85), 0.85),
        engine.p_values(F1Score(engine.shares(rng, runs, 5, 300, 0.6)), 0.75),
        engine.p_values(RateDifference(first, second), 0.02, "at_most"),
    ]
    p_fail = np.concatenate([p for _, p in kinds], axis=1)
    return int(engine.fails(p_fail).any(axis=1).sum())


HELD = "false hold, 4 groups of 600 at the margin"


@replicates(4000, 20_000)
def test_a_candidate_at_the_margin_is_not_held(runs):
    check(4, HELD, holds_at_the_margin(runs, 4), replicates=runs, allowed=ALPHA)


@replicates(1000, 20_000)
def test_twenty_limits_hold_no_more_often_than_one(runs):
    events = holds_at_the_margin(runs, 20)
    check(4, "false hold, 20 limits at the margin", events, replicates=runs, allowed=ALPHA)
    events = holds_of_mixed_limits(runs)
    check(4, "false hold, 20 limits of four kinds", events, replicates=runs, allowed=ALPHA)


@pytest.mark.slow
def test_without_holm_a_candidate_at_the_margin_is_held(monkeypatch):
    monkeypatch.setattr(decide, "holm", lambda p: p)
    events = holds_at_the_margin(20_000, 4)
    broken(4, HELD, "no Holm", events, replicates=20_000, allowed=ALPHA)


# 5. Planted


@replicates(20, 200)
def test_a_planted_harm_is_held_and_named_and_no_change_ships(runs):
    rng = seeded(5, runs)
    harmed = engine.flips(rng, runs, 4, 1000, [0.01, 0.01, 0.12, 0.01], [0.01, 0.01, 0.02, 0.01])
    still = engine.flips(rng, runs, 4, 1000, 0.01, 0.01)
    missed = unshipped = 0
    for row in range(runs):
        bad = decide_candidate(
            "bad", [evidence(engine.run(harmed, row), -MARGIN, slices=groups(4))]
        )
        good = decide_candidate("good", [evidence(engine.run(still, row), -0.03, slices=groups(4))])
        named = [d.slice for d in bad.decisions if d.decision is Outcome.FAIL]
        verdicts = decide_run([bad], ["bad"], alpha=ALPHA, objective={})
        missed += verdicts.answer is not Answer.HOLD or named != ['{"group":"g2"}']
        unshipped += (
            decide_run([good], ["good"], alpha=ALPHA, objective={}).answer is not Answer.SHIP
        )
    # At most 5 of 200: what a rate of .003 explains.
    check(5, "harm of 10 points not held or not named", missed, replicates=runs, allowed=0.003)
    check(5, "no change, margin 3 points, not shipped", unshipped, replicates=runs, allowed=0.003)


# 9. Looks and search


def five_looks(runs: int, level) -> tuple[int, int]:
    """Runs with a false pass, and with a false fail, in any of five looks at growing data."""
    rng = seeded(9, runs)
    drawn = rng.multinomial(600, [0.05, 0.03, 0.92], size=(runs, 5)).cumsum(axis=1)
    counted = change(drawn[..., 0], drawn[..., 1], 600 * np.arange(1, 6))
    levels = np.array([level(j) for j in range(1, 6)])
    p_pass, p_fail = engine.p_values(counted, -MARGIN)
    return tuple(int((p <= levels).any(axis=1).sum()) for p in (p_pass, p_fail))


@replicates(4000, 20_000)
def test_five_looks_at_the_margin(runs):
    found = five_looks(runs, lambda j: opening_alpha(ALPHA, j))
    for side, events in zip(("pass", "fail"), found, strict=True):
        check(9, f"false {side} in 5 looks", events, replicates=runs, allowed=2 * ALPHA)


@pytest.mark.slow
def test_five_looks_at_a_flat_level_would_pass_harm():
    events, _ = five_looks(20_000, lambda j: ALPHA)
    broken(9, "false pass in 5 looks", "level not halved", events, replicates=20_000,
           allowed=2 * ALPHA)  # fmt: skip


def ships_of_three(runs: int) -> int:
    counted = engine.flips(seeded(99, runs), runs, 3, 600, 0.05, 0.03)
    p_pass, _ = engine.p_values(counted, -MARGIN)
    return int((decide.holm(p_pass) <= ALPHA).any(axis=1).sum())


THREE = "any ship, 3 nominated at the margin"


@replicates(4000, 20_000)
def test_three_nominated_ship_no_more_harm_than_one(runs):
    check(9, THREE, ships_of_three(runs), replicates=runs, allowed=ALPHA)


@replicates(12, 150)
def test_three_nominated_are_decided_as_they_are_simulated(runs):
    counted = engine.flips(seeded(99, runs), runs, 3, 600, 0.05, 0.02)
    ships = decide.holm(engine.p_values(counted, -0.04)[0]) <= ALPHA
    for row in range(runs):
        one = engine.run(counted, row)
        made = [
            decide_candidate(str(k), [evidence(engine.run(one, slice(k, k + 1)), -0.04)])
            for k in range(3)
        ]
        run = decide_run(made, ["0", "1", "2"], alpha=ALPHA, objective={})
        assert [v.answer is Answer.SHIP for v in run.verdicts] == ships[row].tolist()
    assert ships.any() and not ships.all()


def best_of_forty(runs: int, *, all_of_them: bool = False) -> int:
    rng = seeded(999, runs)
    validation = rng.multinomial(600, [0.05, 0.03, 0.92], size=(runs, 40))
    best = (validation[..., 1] - validation[..., 0]).argmax(axis=1)
    test = engine.flips(rng, runs, 40, 600, 0.05, 0.03)
    p_pass, _ = engine.p_values(test, -MARGIN)
    if all_of_them:
        return int((p_pass <= ALPHA).any(axis=1).sum())
    return int((p_pass[np.arange(runs), best] <= ALPHA).sum())


FORTY = "false ship, best of 40 on validation"


@replicates(1000, 20_000)
def test_the_best_of_forty_on_validation_is_judged_on_fresh_rows(runs):
    check(9, FORTY, best_of_forty(runs), replicates=runs, allowed=ALPHA)


@pytest.mark.slow
def test_forty_candidates_on_test_would_let_one_through(monkeypatch):
    events = best_of_forty(2000, all_of_them=True)
    broken(9, FORTY, "all 40 on test", events, replicates=2000, allowed=ALPHA)
    monkeypatch.setattr(decide, "holm", lambda p: p)
    broken(9, THREE, "no Holm", ships_of_three(20_000), replicates=20_000, allowed=ALPHA)
