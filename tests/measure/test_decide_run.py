"""From decisions about candidates to the verdicts and the answer of a run."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from shipworthy.core.records import Answer, Outcome
from shipworthy.measure.decide import (
    CandidateDecision,
    decide_candidate,
    decide_run,
)
from shipworthy.measure.estimates import F1Score, Fact

sys.path.insert(0, str(Path(__file__).parent))

from gate_builders import ALPHA, change, evidence, groups, rate

NAN = float("nan")


def made(name, p, *, fail=False, reasons=()):
    return CandidateDecision(name, (), p, fail, not fail and not reasons, (), tuple(reasons))


def answers(run):
    return {v.candidate: v.answer for v in run.verdicts}


def test_a_run_ships_the_best_of_those_that_pass():
    three = [made("bf16", 0.001), made("prune", 0.012), made("int8", 0.3, reasons=["across_bound"])]
    sizes = {"bf16": 45.0, "prune": 30.0, "int8": 23.0}
    run = decide_run(three, ["bf16", "prune", "int8"], alpha=ALPHA, objective=sizes)
    assert run.answer is Answer.SHIP and run.best == "prune"
    assert answers(run) == {
        "bf16": Answer.SHIP,
        "prune": Answer.SHIP,
        "int8": Answer.UNDECIDED,
    }
    by_name = {v.candidate: v for v in run.verdicts}
    assert by_name["bf16"].p_candidate_adjusted == pytest.approx(0.003)
    assert by_name["prune"].p_candidate_adjusted == pytest.approx(0.024)
    assert by_name["int8"].reasons == ("across_bound",)


def test_unknown_objectives_rank_last():
    pair = [made("a", 0.001), made("b", 0.001)]
    for objective, best in (({"b": 9.0}, "b"), ({"a": NAN, "b": 9.0}, "b"), ({}, "a")):
        assert decide_run(pair, ["a", "b"], alpha=ALPHA, objective=objective).best == best


def test_holm_over_the_nominated_turns_a_pass_into_undecided():
    pair = [made("a", 0.02), made("b", 0.9, reasons=["across_bound"])]
    alone = decide_run(pair[:1], ["a"], alpha=ALPHA, objective={})
    assert alone.answer is Answer.SHIP
    run = decide_run(pair, ["a", "b"], alpha=ALPHA, objective={})
    assert run.answer is Answer.UNDECIDED and run.best is None
    assert run.verdicts[0].reasons == ("correction",)
    assert run.verdicts[0].p_candidate_adjusted == pytest.approx(0.04)
    # One that is held counts in the family too: it was nominated.
    held = [made("a", 0.02), made("b", 1.0, fail=True)]
    run = decide_run(held, ["a", "b"], alpha=ALPHA, objective={})
    assert answers(run) == {"a": Answer.UNDECIDED, "b": Answer.HOLD}
    assert run.answer is Answer.UNDECIDED


def test_a_family_does_not_shrink_when_fewer_are_nominated_again():
    one = [made("a", 0.012)]
    assert decide_run(one, ["a"], alpha=ALPHA, objective={}, family=2).answer is Answer.SHIP
    run = decide_run(one, ["a"], alpha=ALPHA, objective={}, family=3)
    assert run.answer is Answer.UNDECIDED
    assert run.verdicts[0].p_candidate_adjusted == pytest.approx(0.036)
    assert decide_run(one, ["a"], alpha=ALPHA, objective={}, family=1).answer is Answer.SHIP


def test_only_the_nominated_can_ship_and_all_can_be_held():
    three = [made("a", 0.0001), made("b", 1.0, fail=True), made("c", 1.0, fail=True)]
    run = decide_run(three, ["b"], alpha=ALPHA, objective={})
    assert run.answer is Answer.HOLD
    assert answers(run) == {"a": Answer.UNDECIDED, "b": Answer.HOLD, "c": Answer.HOLD}
    assert [v.nominated for v in run.verdicts] == [False, True, False]
    assert run.verdicts[0].reasons == ("not_nominated",)
    # Those outside the nomination cost the nominated no correction.
    run = decide_run([made("a", 0.02), *three[1:]], ["a"], alpha=ALPHA, objective={})
    assert run.answer is Answer.SHIP and run.best == "a"


def test_a_run_holds_when_every_nominated_one_holds_or_none_was_nominated():
    held = [made("a", 1.0, fail=True), made("b", 1.0, fail=True)]
    run = decide_run(held, ["a", "b"], alpha=ALPHA, objective={})
    assert (run.answer, run.best) == (Answer.HOLD, None)
    assert decide_run([made("a", 0.0001)], [], alpha=ALPHA, objective={}).answer is Answer.HOLD
    assert decide_run([], [], alpha=ALPHA, objective={}).answer is Answer.HOLD
    mixed = [made("a", 1.0, fail=True), made("b", 0.4, reasons=["across_bound"])]
    run = decide_run(mixed, ["a", "b"], alpha=ALPHA, objective={})
    assert run.answer is Answer.UNDECIDED


def test_the_level_of_a_run_is_that_of_its_opening():
    one = [made("a", 0.02)]
    assert decide_run(one, ["a"], alpha=0.025, objective={}).answer is Answer.SHIP
    assert decide_run(one, ["a"], alpha=0.0125, objective={}).answer is Answer.UNDECIDED


def test_names_must_be_known_and_single():
    one = [made("a", 0.02)]
    with pytest.raises(ValueError, match="not measured: b"):
        decide_run(one, ["a", "b"], alpha=ALPHA, objective={})
    with pytest.raises(ValueError, match="named twice"):
        decide_run(one, ["a", "a"], alpha=ALPHA, objective={})
    with pytest.raises(ValueError, match="named twice"):
        decide_run([*one, replace(one[0], p_candidate=0.5)], ["a"], alpha=ALPHA, objective={})


def test_a_whole_run_from_counts():
    def candidate(name, overall, by_group, size):
        return decide_candidate(
            name,
            [
                evidence(rate(1700, 2000), 0.80, relative_to="none"),
                evidence(change(*overall, 2000), -0.015, index=1),
                evidence(change(*by_group, 500), -0.03, index=2, slices=groups(4)),
                evidence(F1Score(rate(800, 1000)), 0.85, index=3, relative_to="none"),
                evidence(Fact(np.array([size])), 60.0, side="at_most", index=4),
            ],
        )

    still = candidate("bf16", (6, 6), ([2, 1, 2, 1], [1, 2, 1, 2]), 45.0)
    cut = candidate("prune", (70, 30), ([60, 5, 3, 2], [2, 10, 9, 9]), 30.0)
    big = candidate("wide", (6, 6), ([2, 1, 2, 1], [1, 2, 1, 2]), 91.0)
    run = decide_run(
        [still, cut, big], ["bf16", "prune", "wide"], alpha=ALPHA,
        objective={"bf16": 45.0, "prune": 30.0, "wide": 91.0},
    )  # fmt: skip
    assert answers(run) == {"bf16": Answer.SHIP, "prune": Answer.HOLD, "wide": Answer.HOLD}
    assert (run.answer, run.best) == (Answer.SHIP, "bf16")
    failed = {(d.limit, d.slice) for d in cut.decisions if d.decision is Outcome.FAIL}
    assert (2, '{"group":"g0"}') in failed
    assert {d.limit for d in big.decisions if d.decision is Outcome.FAIL} == {4}
