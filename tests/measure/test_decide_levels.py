"""The levels of the gate: Holm over a candidate's family, openings, worn-out test sets."""

import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shipworthy.core.records import Outcome
from shipworthy.measure.decide import (
    CandidateDecision,
    decide_candidate,
    holm,
    opening_alpha,
)
from shipworthy.measure.estimates import Fact, Unmeasured
from shipworthy.measure.one_sided import one_sided

sys.path.insert(0, str(Path(__file__).parent))

from gate_builders import ALPHA, change, evidence, groups, rate

PASS, FAIL, OPEN = Outcome.PASS, Outcome.FAIL, Outcome.CANNOT_TELL
NAN = float("nan")


def outcomes(decided: CandidateDecision) -> list[Outcome]:
    return [d.decision for d in decided.decisions]


def reasons(decided: CandidateDecision) -> list[str]:
    return [d.reason for d in decided.decisions]


# Holm


def test_holm_is_the_step_down_rule():
    # Holm 1979: p times the number still in play, never smaller than the one before.
    p = np.array([0.02, 0.001, 0.04, 0.011])
    assert holm(p) == pytest.approx([0.04, 0.004, 0.04, 0.033])
    assert holm([0.5, 0.9]).tolist() == [1.0, 1.0]
    assert holm([]).tolist() == []
    assert np.isnan(holm([NAN, NAN])).all()


def test_holm_counts_only_what_was_tested_and_works_along_any_axis():
    p = np.array([[0.01, NAN, 0.04], [0.2, 0.01, 0.01]])
    assert holm(p)[0] == pytest.approx([0.02, NAN, 0.04], nan_ok=True)
    assert holm(p)[1] == pytest.approx([0.2, 0.03, 0.03])
    assert np.array_equal(holm(p.T, axis=0), holm(p).T, equal_nan=True)


@settings(deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_rejects_what_stepping_down_rejects(p):
    ordered, rejected = sorted(range(len(p)), key=lambda i: p[i]), set()
    for step, i in enumerate(ordered):
        if p[i] * (len(p) - step) > ALPHA:
            break
        rejected.add(i)
    assert set(np.flatnonzero(holm(p) <= ALPHA)) == rejected


def test_levels_of_openings_halve_and_stay_below_twice_alpha():
    assert [opening_alpha(0.025, j) for j in (1, 2, 3)] == [0.025, 0.0125, 0.00625]
    assert sum(opening_alpha(0.025, j) for j in range(1, 60)) <= 0.05
    with pytest.raises(ValueError, match="count from 1"):
        opening_alpha(0.025, 0)


# Family


def test_one_family_over_all_limits_and_slices_of_the_candidate():
    first = evidence(change([40, 12], [20, 10], 800), -0.01, slices=groups(2))
    second = evidence(rate([150, 170], 200), 0.8, slices=groups(2), index=1, relative_to="none")
    decided = decide_candidate("c", [first, second])
    raw = np.array([d.p_fail for d in decided.decisions])
    assert [d.p_fail_adjusted for d in decided.decisions] == holm(raw).tolist()
    assert [d.limit for d in decided.decisions] == [0, 0, 1, 1]


def test_what_is_not_tested_costs_nobody_a_correction():
    lonely = evidence(change(52, 26, 800), -0.01)
    alone = decide_candidate("c", [lonely]).decisions[0]
    assert alone.decision is FAIL and 0.01 < alone.p_fail <= ALPHA
    others = [
        evidence(change(40, 20, 800), -0.01, tier="advisory", index=1),
        evidence(Fact(np.array([80.0])), 90.0, side="at_most", index=2),
        evidence(change(0, 0, 800, identical=True), -0.01, index=3),
        evidence(change(1, 0, 19), -0.01, index=4, slices=groups(1), unknown="disclose"),
        evidence(Unmeasured("not_measured"), 0.5, index=5, unknown="disclose"),
    ]
    beside = decide_candidate("c", [lonely, *others])
    assert beside.decisions[0].p_fail_adjusted == alone.p_fail
    assert beside.decisions[0].decision is FAIL
    # Shown, not corrected: an advisory mark is outside the verdict.
    assert beside.decisions[1].p_fail_adjusted == beside.decisions[1].p_fail
    # A limit that is tested does cost: the fail becomes a cannot tell for want of the correction.
    tested = decide_candidate("c", [lonely, evidence(rate(190, 200), 0.9, index=1)])
    assert tested.decisions[0].p_fail_adjusted == pytest.approx(2 * alone.p_fail)
    assert (tested.decisions[0].decision, tested.decisions[0].reason) == (OPEN, "correction")
    assert not tested.any_fail


def test_a_disclosed_limit_is_tested_in_the_family():
    lonely = evidence(change(52, 26, 800), -0.01)
    told = evidence(rate(190, 200), 0.9, unknown="disclose", index=1)
    decided = decide_candidate("c", [lonely, told])
    assert decided.decisions[0].p_fail_adjusted == pytest.approx(2 * decided.decisions[0].p_fail)


def test_rows_that_a_correction_needs_are_more_than_without_it():
    lonely = evidence(change(52, 26, 800), -0.01)
    crowd = evidence(rate([190] * 30, 200), 0.9, index=1, slices=groups(30))
    decided = decide_candidate("c", [lonely, crowd]).decisions[0]
    assert decided.reason == "correction"
    assert decided.n_needed is not None and decided.n_needed > 800
    at_full_level = decide_candidate("c", [evidence(change(30, 16, 800), -0.01)]).decisions[0]
    assert at_full_level.reason == "across_bound"


# Openings


def test_later_openings_decide_at_half_the_level():
    counted = [evidence(change(20, 12, 1500), -0.0138)]
    (p,) = one_sided(counted[0].estimate, -0.0138, "at_least", alpha=ALPHA).p_pass
    assert 0.0125 < p <= 0.025
    first, second = (decide_candidate("c", counted, opening=j) for j in (1, 2))
    assert outcomes(first) == [PASS] and outcomes(second) == [OPEN]
    assert second.decisions[0].alpha == pytest.approx(0.0125)
    # The interval that is shown stays at the policy's confidence.
    assert first.decisions[0].low == second.decisions[0].low
    failing = [evidence(change(52, 26, 800), -0.01)]
    assert outcomes(decide_candidate("c", failing)) == [FAIL]
    assert outcomes(decide_candidate("c", failing, opening=2)) == [OPEN]


def test_confidence_sets_the_level():
    decided = decide_candidate("c", [evidence(change(20, 12, 1500), -0.0138)], confidence=0.99)
    assert decided.decisions[0].alpha == pytest.approx(0.005)
    assert outcomes(decided) == [OPEN]


@pytest.mark.parametrize("how", [{"worn_out": True}, {"opening": 6}])
def test_a_worn_out_test_set_decides_nothing_but_what_is_known(how):
    limits = [
        evidence(change([3, 300], [3, 0], 5000), -0.02, slices=groups(2)),
        evidence(change(0, 0, 12), -0.02, index=1),
        evidence(change(0, 0, 12, identical=True), -0.02, index=2),
        evidence(Fact(np.array([80.0])), 90.0, side="at_most", index=3),
    ]
    decided = decide_candidate("c", limits, **how)
    assert outcomes(decided) == [OPEN, OPEN, OPEN, PASS, PASS]
    assert reasons(decided) == ["worn_out", "worn_out", "too_few_rows", "", ""]
    assert not decided.any_fail and not decided.all_pass
    assert decided.decisions[0].n_needed is None


def test_the_fifth_opening_still_decides():
    decided = decide_candidate("c", [evidence(change(3, 3, 5000), -0.02)], opening=5)
    assert outcomes(decided) == [PASS]


@settings(max_examples=40, deadline=None)
@given(
    lost=st.integers(0, 90),
    gained=st.integers(0, 90),
    n=st.integers(180, 3000),
    bound=st.floats(-0.05, 0.05),
    opening=st.integers(1, 6),
)
def test_decisions_follow_their_p_and_a_later_look_never_decides_more(
    lost, gained, n, bound, opening
):
    limits = [evidence(change([lost, 0], [gained, 0], n), bound, slices=groups(2))]
    decided = decide_candidate("c", limits, opening=opening)
    earlier = decide_candidate("c", limits)
    for d, before in zip(decided.decisions, earlier.decisions, strict=True):
        if d.decision is PASS:
            assert d.p_pass <= d.alpha
        elif d.decision is FAIL:
            assert d.p_fail_adjusted <= d.alpha
        else:
            assert d.reason in ("across_bound", "correction", "worn_out")
        assert d.decision in (OPEN, before.decision)
        assert d.low <= d.value <= d.high
