"""From limits to the decisions about one candidate: every rule of the gate once, by hand."""

import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shipworthy.core.records import ALL_ROWS, Answer, Outcome, Slice
from shipworthy.measure.decide import (
    CandidateDecision,
    decide_candidate,
    decide_run,
    holm,
)
from shipworthy.measure.estimates import Fact, Spread, Unmeasured
from shipworthy.measure.one_sided import one_sided

sys.path.insert(0, str(Path(__file__).parent))

from gate_builders import ALPHA, change, evidence, groups, mean, rate, replicates

PASS, FAIL, OPEN = Outcome.PASS, Outcome.FAIL, Outcome.CANNOT_TELL
NAN = float("nan")


def outcomes(decided: CandidateDecision) -> list[Outcome]:
    return [d.decision for d in decided.decisions]


def reasons(decided: CandidateDecision) -> list[str]:
    return [d.reason for d in decided.decisions]


# One limit, one slice


def test_pass_fail_and_cannot_tell_with_all_that_led_there():
    counted = change([5, 90, 30], [5, 20, 22], 1000, units=1000)
    decided = decide_candidate("c", [evidence(counted, -0.02, slices=groups(3))])
    assert outcomes(decided) == [PASS, FAIL, OPEN]
    assert reasons(decided) == ["", "", "across_bound"]
    first, second, third = decided.decisions
    assert (first.value, first.n, first.n_units, first.bound) == (0.0, 1000, 1000, -0.02)
    assert first.slice == '{"group":"g0"}'
    assert first.low < 0 < first.high
    assert first.method == "Tango; fail also Bonett-Price"
    test = one_sided(counted, -0.02, "at_least", alpha=ALPHA)
    assert [d.p_pass for d in decided.decisions] == test.p_pass.tolist()
    assert [d.p_pass_adjusted for d in decided.decisions] == test.p_pass.tolist()
    assert [d.p_fail for d in decided.decisions] == test.p_fail.tolist()
    assert [d.p_fail_adjusted for d in decided.decisions] == holm(test.p_fail).tolist()
    assert [d.alpha for d in decided.decisions] == pytest.approx([0.025] * 3)
    assert first.n_needed is None and second.n_needed is None
    assert third.n_needed is not None and third.n_needed > 1000
    assert decided.any_fail and not decided.all_pass
    assert decided.p_candidate == max(test.p_pass)


@pytest.mark.parametrize(
    ("estimate", "bound", "reason"),
    [
        (change(0, 0, 19), -0.02, "too_few_rows"),
        (change(0, 0, 500, units=9, deff=2.0), -0.02, "unit_count"),
        (change(0, 0, 0), -0.02, "no_data"),
        (rate(0, 0), 0.8, "no_data"),
        (rate(3, 3), 0.8, "too_few_rows"),
        (mean(0.9, 0.05, least=29, scale="logit"), 0.8, "too_few_of_class"),
        (mean(0.9, 0.05, df=3, n=NAN, reason="too_few_processes"), 0.8, "too_few_processes"),
        (replicates(0.8, [[0.7, 0.8, 0.9]], reasons=("too_few_of_class",)), 0.1,
         "too_few_of_class"),
        (Unmeasured("biased_labels"), 0.8, "biased_labels"),
        (Unmeasured(""), 0.8, "not_measured"),
        (Fact(np.array([NAN])), 0.8, "no_data"),
        (change(0, 0, 5000), NAN, "not_measured"),
        (Spread((rate([50, 2], [60, 3]),), "difference", ("a", "b")), 0.5, "too_few_rows"),
        (Spread((rate([50], [60]),), "difference", ("a",)), 0.5, "not_measured"),
        (change(20, 10, 600), -0.02, "across_bound"),
    ],
)  # fmt: skip
def test_reasons_of_cannot_tell(estimate, bound, reason):
    side = "at_most" if isinstance(estimate, Spread) else "at_least"
    decided = decide_candidate("c", [evidence(estimate, bound, side=side)])
    (only,) = decided.decisions
    assert (only.decision, only.reason) == (OPEN, reason)
    assert decided.reasons == (reason,)
    assert not decided.any_fail and not decided.all_pass
    if reason != "across_bound":
        assert np.isnan(only.p_pass)
        assert decided.p_candidate == 1.0


def test_a_group_of_three_rows_never_passes_or_fails():
    for lost, gained in ((0, 0), (3, 0), (0, 3)):
        decided = decide_candidate("c", [evidence(change(lost, gained, 3), -0.9)])
        assert (outcomes(decided), reasons(decided)) == ([OPEN], ["too_few_rows"])
        assert np.isnan(decided.decisions[0].p_fail_adjusted)
    for right in (0, 3):
        assert outcomes(decide_candidate("c", [evidence(rate(right, 3), 0.5)])) == [OPEN]


def test_a_mean_that_does_not_count_rows_or_units_is_exempt_from_their_minimum():
    # A latency is a mean over five processes: neither 20 rows nor 10 units can be asked of it.
    for n in (NAN, 2000.0):
        fast = mean(np.log(10) * 0 + 10.0, 0.02, df=4, n=n, units=NAN, scale="log")
        decided = decide_candidate("c", [evidence(fast, 20.0, side="at_most")])
        assert outcomes(decided) == [PASS]
        assert decided.decisions[0].n == (0 if np.isnan(n) else 2000)
        slow = mean(30.0, 0.02, df=4, n=n, units=NAN, scale="log")
        assert outcomes(decide_candidate("c", [evidence(slow, 20.0, side="at_most")])) == [FAIL]
        unsure = mean(19.5, 0.05, df=4, n=n, units=NAN, scale="log")
        (open_,) = decide_candidate("c", [evidence(unsure, 20.0, side="at_most")]).decisions
        assert (open_.decision, open_.reason, open_.n_needed) == (OPEN, "across_bound", None)
    counted = mean(10.0, 0.02, df=4, n=2000, units=5, scale="log")
    decided = decide_candidate("c", [evidence(counted, 20.0, side="at_most")])
    assert reasons(decided) == ["unit_count"]


def test_facts_are_compared_and_the_bound_itself_is_inside():
    for value, expected in ((89.9, PASS), (90.0, PASS), (90.1, FAIL)):
        decided = decide_candidate(
            "c", [evidence(Fact(np.array([value])), 90.0, side="at_most", relative_to="none")]
        )
        assert outcomes(decided) == [expected]
        (only,) = decided.decisions
        assert (only.low, only.value, only.high, only.method) == (value, value, value, "exact")
        assert only.p_pass_adjusted == (0.0 if expected is PASS else 1.0)


def test_the_parents_own_artefact_passes_every_change_limit_whatever_the_rows():
    same = change([0, 0, 0], [0, 0, 0], [3, 400, 5000], identical=True)
    decided = decide_candidate("c", [evidence(same, 0.0, slices=groups(3))])
    assert outcomes(decided) == [PASS] * 3
    for d in decided.decisions:
        assert (d.value, d.low, d.high, d.method, d.p_pass) == (0.0, 0.0, 0.0, "identical", 0.0)
    # The same counts under another digest are data: 765 rows are needed at half a point.
    other = change([0, 0, 0, 0], [0, 0, 0, 0], [3, 400, 764, 765])
    decided = decide_candidate("c", [evidence(other, -0.005, slices=groups(4))])
    assert outcomes(decided) == [OPEN, OPEN, OPEN, PASS]
    # A gain cannot be had from the same artefact.
    decided = decide_candidate("c", [evidence(change(0, 0, 900, identical=True), 0.01)])
    assert outcomes(decided) == [FAIL]


def test_slices_and_estimates_must_agree():
    with pytest.raises(ValueError, match="2 slices, 3 estimates"):
        decide_candidate("c", [evidence(change([1, 1, 1], 1, 900), -0.02, slices=groups(2))])


# Sides


@settings(max_examples=40, deadline=None)
@given(
    lost=st.integers(0, 60),
    gained=st.integers(0, 60),
    bound=st.sampled_from([-0.03, -0.01, 0.0, 0.02]),
)
def test_an_at_most_limit_is_the_mirror_of_an_at_least_limit(lost, gained, bound):
    plain = decide_candidate("c", [evidence(change(lost, gained, 700), bound)])
    mirror = decide_candidate("c", [evidence(change(gained, lost, 700), -bound, side="at_most")])
    one, other = plain.decisions[0], mirror.decisions[0]
    assert one.decision is other.decision and one.reason == other.reason
    assert one.p_pass == pytest.approx(other.p_pass, abs=1e-12)
    assert one.p_fail == pytest.approx(other.p_fail, abs=1e-12)
    assert (one.low, one.high) == (
        pytest.approx(-other.high, abs=1e-9),
        pytest.approx(-other.low, abs=1e-9),
    )
    assert one.n_needed == other.n_needed


def test_shares_mirror_too():
    one = decide_candidate("c", [evidence(rate(180, 200), 0.85)]).decisions[0]
    other = decide_candidate("c", [evidence(rate(20, 200), 0.15, side="at_most")]).decisions[0]
    assert one.decision is other.decision is OPEN
    assert one.p_pass == pytest.approx(other.p_pass, abs=1e-12)
    assert one.p_fail == pytest.approx(other.p_fail, abs=1e-12)
    assert one.n_needed == other.n_needed


# Children


def test_children_pass_together_and_fail_alone():
    def limit(*pairs):
        lost, gained = zip(*pairs, strict=True)
        return decide_candidate(
            "c", [evidence(change(lost, gained, 1000), -0.02, slices=groups(len(pairs)))]
        )

    good = limit((5, 5), (4, 6), (3, 3))
    assert good.all_pass and not good.any_fail and good.reasons == ()
    unsure = limit((5, 5), (4, 6), (30, 22))
    assert not unsure.all_pass and not unsure.any_fail and unsure.reasons == ("across_bound",)
    bad = limit((5, 5), (4, 6), (120, 20))
    assert bad.any_fail and not bad.all_pass
    named = [d.slice for d in bad.decisions if d.decision is FAIL]
    assert named == ['{"group":"g2"}']


def test_the_candidates_p_is_the_largest_p_of_its_limits():
    first = evidence(change([5, 8], [5, 4], 1500), -0.02, slices=groups(2))
    second = evidence(rate(1400, 1500), 0.9, index=1)
    decided = decide_candidate("c", [first, second])
    assert decided.all_pass
    assert decided.p_candidate == max(d.p_pass for d in decided.decisions) > 0


def test_nothing_that_blocks_is_not_a_pass():
    for kept in ([], [evidence(rate(190, 200), 0.8, tier="advisory")],
                 [evidence(rate(190, 200), 0.8, unknown="disclose")]):  # fmt: skip
        decided = decide_candidate("c", kept)
        assert not decided.all_pass and not decided.any_fail
        assert (decided.p_candidate, decided.reasons) == (1.0, ("not_measured",))


# Advisory, disclose, small slices


def test_advisory_limits_are_shown_and_count_for_nothing():
    sound = evidence(rate(190, 200), 0.8)
    bad = evidence(change(200, 0, 1000), -0.02, tier="advisory", index=1)
    decided = decide_candidate("c", [sound, bad])
    assert outcomes(decided) == [PASS, FAIL]
    assert decided.all_pass and not decided.any_fail
    assert decided.p_candidate == decided.decisions[0].p_pass


def test_a_disclosed_cannot_tell_does_not_block_but_a_disclosed_fail_holds():
    sound = evidence(rate(190, 200), 0.8)
    unsure = evidence(change(20, 10, 600), -0.02, unknown="disclose", index=1)
    decided = decide_candidate("c", [sound, unsure])
    assert outcomes(decided) == [PASS, OPEN]
    assert decided.all_pass and decided.p_candidate == decided.decisions[0].p_pass
    broken = evidence(change(200, 0, 1000), -0.02, unknown="disclose", index=1)
    decided = decide_candidate("c", [sound, broken])
    assert decided.any_fail
    verdict = decide_run([decided], ["c"], alpha=ALPHA, objective={}).verdicts[0]
    assert verdict.answer is Answer.HOLD


SIZES = change([2, 0, 3], [2, 0, 3], [900, 12, 900])


@pytest.mark.parametrize(
    ("small_slices", "intersection", "reported"),
    [
        ("default", False, False),
        ("default", True, True),
        ("undecided", False, False),
        ("undecided", True, False),
        ("report", False, True),
        ("report", True, True),
    ],
)
def test_small_slices(small_slices, intersection, reported):
    cells = groups(3)
    if intersection:
        cells = tuple(Slice.of({"group": f"g{k}", "sex": "f"}) for k in range(3))
    limit = evidence(SIZES, -0.02, slices=cells, intersection=intersection)
    decided = decide_candidate("c", [limit], small_slices=small_slices)
    assert outcomes(decided) == [PASS, OPEN, PASS]
    assert decided.all_pass is reported
    assert decided.uncovered == ((cells[1],) if reported else ())
    assert decided.reasons == (() if reported else ("too_few_rows",))


def test_reporting_small_slices_hides_no_fail_and_no_other_cannot_tell():
    bad = change([200, 0], [0, 0], [1000, 12])
    decided = decide_candidate("c", [evidence(bad, -0.02, slices=groups(2))], small_slices="report")
    assert decided.any_fail and decided.uncovered == (groups(2)[1],)
    unsure = change([20, 0], [10, 0], [600, 12])
    decided = decide_candidate(
        "c", [evidence(unsure, -0.02, slices=groups(2))], small_slices="report"
    )
    assert not decided.all_pass and decided.reasons == ("across_bound",)


def test_a_limit_that_covers_nothing_is_no_pass_and_all_rows_are_never_reported():
    small = change([0, 0], [0, 0], [12, 8])
    decided = decide_candidate(
        "c", [evidence(small, -0.02, slices=groups(2))], small_slices="report"
    )
    assert not decided.all_pass and decided.uncovered == ()
    both = [evidence(change(0, 0, 12), -0.02), evidence(rate(190, 200), 0.8, index=1)]
    assert both[0].slices == (ALL_ROWS,)
    assert not decide_candidate("c", both, small_slices="report").all_pass


def test_advisory_slices_are_not_reported_as_uncovered():
    limit = evidence(SIZES, -0.02, slices=groups(3), tier="advisory")
    assert decide_candidate("c", [limit], small_slices="report").uncovered == ()
