"""The cheapest action: rows to label, a change of the candidate, or a measurement."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from answers import candidate, parent

import shipworthy as sw
from shipworthy.core.locale import set_language
from shipworthy.core.records import Decision, Limit, Outcome, Slice
from shipworthy.measure.decide import Evidence, decide_candidate
from shipworthy.measure.estimates import F1Score, Mean, PairedChange, Spread, Unmeasured
from shipworthy.measure.estimates import Rate as Share
from shipworthy.measure.power import futures
from shipworthy.release.judgement import NextStep
from shipworthy.release.next_step import LIKELY, MOST_STEPS, next_steps
from shipworthy.release.wording import phrase

ALPHA = 0.025
BASE = parent(2000)


def floats(*values: float) -> np.ndarray:
    return np.array(values, dtype=np.float64)


def change(
    *lost_of: tuple[float, float], deff: float = 1.0, units: float | None = None
) -> Evidence:
    """A limit of −3 points on slices a, b, ...; lost_of: rows turned wrong, rows."""
    n = floats(*(n for _, n in lost_of))
    estimate = PairedChange(
        lost=floats(*(lost for lost, _ in lost_of)), gained=np.zeros(len(n)), n=n,
        units=n if units is None else np.full(len(n), units), deff=np.full(len(n), deff),
        identical=np.zeros(len(n), dtype=bool),
    )  # fmt: skip
    limit = Limit("accuracy", "at_least", -0.03, {"each": "group"}, "parent")
    names = "abcdefghijklmnopqrstuvwxyz"[: len(n)]
    return Evidence(limit, 0, tuple(Slice.of({"group": c}) for c in names), estimate, -0.03)


def other(limit: Limit, estimate: Any, index: int = 0, slice_: Slice | None = None) -> Evidence:
    bound = limit.bound if isinstance(limit.bound, float) else float("nan")
    return Evidence(limit, index, (slice_ or Slice(),), estimate, bound)


def steps(*evidence: Evidence, opening: int = 1) -> tuple[NextStep, ...]:
    decided = decide_candidate("id", evidence, opening=opening)
    return next_steps("id", "new", decided.decisions, evidence, confidence=0.95, opening=opening)


def keys(found: tuple[NextStep, ...]) -> list[str]:
    return [s.phrase.key for s in found]


def test_rows_of_the_undecided_group_that_are_likely_to_decide() -> None:
    (step,) = steps(change((0, 500), (8, 500)))
    assert step.phrase.key == "next.label.group"
    assert step.phrase.arguments["slice"] == "group=b"
    assert step.candidate == "id"
    assert step.probability >= LIKELY
    assert 0 < step.pass_probability <= step.probability
    # Drawn apart, at the level of the next look, with both slices in the family of a fail.
    drawn = futures(8, 0, 500, 0.03, alpha_next=ALPHA / 2, seed=1, family=2)
    assert drawn.needed is not None
    assert abs(np.log(step.cost_rows / drawn.needed)) < np.log(1.6)
    said = phrase(step.phrase)
    assert said.startswith("new: label about ")
    assert said.endswith(" more rows of group=b to decide the change in accuracy.")
    set_language("zh")
    assert "group=b" in phrase(step.phrase)
    assert phrase(step.phrase).startswith("new：再标注约 ")


def test_a_later_look_needs_more_rows() -> None:
    costs = [steps(change((8, 500)), opening=j)[0].cost_rows for j in (1, 3)]
    assert costs[0] < costs[1]


def test_clustered_rows_are_needed_in_greater_number() -> None:
    (plain,), (clustered,) = steps(change((8, 500))), steps(change((8, 500), deff=2.0, units=300))
    assert plain.phrase.key == clustered.phrase.key == "next.label.group"
    assert clustered.cost_rows > 1.5 * plain.cost_rows


def test_what_ten_times_the_rows_would_not_pass_has_to_change() -> None:
    found = steps(change((8, 500), (22, 500)))
    # Labels of a are wasted while b cannot pass.
    assert keys(found) == ["next.change.group"]
    assert found[0].phrase.arguments["slice"] == "group=b"
    assert found[0].pass_probability < 0.1
    assert found[0].cost_rows == 0
    assert "make a milder candidate" in phrase(found[0].phrase)


def test_what_stays_open_within_reach_is_said_to() -> None:
    (step,) = steps(change((12, 500)))
    assert step.phrase.key == "next.label_far.group"
    assert step.probability < LIKELY
    assert "may leave the change in accuracy open" in phrase(step.phrase)


@pytest.mark.parametrize(
    ("reason", "key", "words"),
    [
        ("not_measured", "next.measure", "new: measure the latency p95"),
        ("no_scores", "next.scores", "new: give the scores"),
        ("no_positive_class", "next.positive", "positive one"),
        ("no_data", "next.no_rows", "no test row counts for"),
    ],
)
def test_what_has_no_number_wants_what_is_missing(reason: str, key: str, words: str) -> None:
    limit = Limit("latency_p95_ms", "at_most", 20.0)
    (step,) = steps(other(limit, Unmeasured(reason)))
    assert step.phrase.key == key
    assert words in phrase(step.phrase)


def test_an_absent_value_of_a_group_is_named() -> None:
    limit = Limit("accuracy", "at_least", 0.5, {"domain": "nwes"})
    (step,) = steps(other(limit, Unmeasured("no_data"), slice_=Slice.of({"domain": "nwes"})))
    assert phrase(step.phrase) == (
        "new: no test row of domain=nwes counts for the accuracy; add such rows, or correct the "
        "limit."
    )


def mean(value: float, error: float, *, n: float, reason: str = "", df: float = 1e6) -> Mean:
    return Mean(
        value=floats(value), standard_error=floats(error), df=floats(df), n=floats(n),
        units=floats(n), deff=np.ones(1), scale="identity", method="t",
        least_count=floats(np.nan), identical=np.zeros(1, dtype=bool), reason=reason,
    )  # fmt: skip


def test_too_few_processes_want_the_full_timing() -> None:
    limit = Limit("latency_p95_ms", "at_most", 1.1, relative_to="parent")
    estimate = mean(1.0, 0.1, n=np.nan, reason="too_few_processes", df=2)
    (step,) = steps(other(limit, estimate))
    assert phrase(step.phrase) == (
        "new: time the change in latency p95 in full, with more processes and requests."
    )


def test_a_mean_is_told_rows_or_to_change() -> None:
    limit = Limit("log_loss", "at_most", 0.05, relative_to="parent")
    near, far = (steps(other(limit, mean(value, 0.02, n=1000)))[0] for value in (0.02, 0.08))
    assert near.phrase.key == "next.label"
    assert near.probability >= LIKELY
    assert near.effect_low < near.effect == 0.02 < near.effect_high
    # The value of today, known better.
    assert near.effect_high - near.effect_low < 2 * 1.96 * 0.02
    assert far.phrase.key == "next.change"


def test_a_mean_without_a_spread_is_told_the_least_that_decides() -> None:
    estimate = replace(mean(0.02, 0.02, n=1000), standard_error=floats(np.nan))
    limit = Limit("log_loss", "at_most", 0.05, relative_to="parent")
    decided = decide_candidate("id", [other(limit, estimate)]).decisions
    told = [replace(d, reason="across_bound", n_needed=1800) for d in decided]
    (step,) = next_steps("id", "new", told, [other(limit, estimate)], confidence=0.95, opening=1)
    assert (step.phrase.key, step.cost_rows) == ("next.label_least", 800)
    assert "label at least 800 more rows" in phrase(step.phrase)


@pytest.mark.parametrize(("bound", "key"), [(0.8, "next.label"), (1.5, None), (2.0, None)])
def test_f1_is_told_rows_and_a_bound_out_of_reach_is_no_crash(
    bound: float, key: str | None
) -> None:
    jaccard = Share(floats(350), floats(500), floats(500), np.ones(1))
    found = steps(other(Limit("f1", "at_least", bound), F1Score(jaccard)))
    # F1 is 0.82 here; above 1 it fails, and nothing is to be done about that.
    assert keys(found) == ([key] if key else [])


def test_a_spread_speaks_of_every_group() -> None:
    share = Share(floats(140, 160), floats(200, 200), floats(200, 200), np.ones(2))
    limit = Limit("accuracy_difference", "at_most", 0.15, {"each": "domain"})
    spread = Spread((share,), "difference", ("a", "b"))
    (step,) = steps(other(limit, spread, slice_=Slice.of({"each": "domain"})))
    assert step.phrase.arguments["slice"] == "each=domain"
    assert step.phrase.key == "next.label_far.group"
    assert 0 < step.pass_probability < step.probability < LIKELY
    assert (
        "rows of all groups of domain together may leave the accuracy difference between groups"
        in phrase(step.phrase)
    )


def test_the_cheapest_come_first_and_only_a_few() -> None:
    found = steps(change((8, 500), (2, 180), (9, 500), (3, 210), (8, 480)))
    assert len(found) == MOST_STEPS
    assert [s.cost_rows for s in found] == sorted(s.cost_rows for s in found)


def test_very_many_open_slices_still_end_soon_and_find_the_hopeless_one() -> None:
    found = steps(change(*[(3, 210)] * 20, (15, 210)))
    assert keys(found) == ["next.change.group"]
    assert found[0].phrase.arguments["slice"] == "group=u"


@pytest.mark.parametrize("more", [{"tier": "advisory"}, {"unknown": "disclose"}])
def test_limits_that_do_not_block_ask_for_nothing(more: dict[str, Any]) -> None:
    item = change((8, 500))
    assert steps(replace(item, limit=replace(item.limit, **more))) == ()


def test_after_the_last_look_only_new_rows_help() -> None:
    limit = Limit("latency_p95_ms", "at_most", 20.0)
    for opening in (5, 6):
        found = steps(
            change((8, 500), (12, 500)), other(limit, Unmeasured("not_measured"), 1),
            opening=opening,
        )  # fmt: skip
        # What costs nothing comes first.
        assert keys(found) == ["next.measure", "next.new_test_rows"]
        assert [s.cost_rows for s in found] == [0, 250]


def test_the_same_judgement_has_the_same_steps() -> None:
    policy = [{"measure": "accuracy", "relative_to": "parent", "at_least": -0.01}]
    found = [
        sw.judge(BASE, candidate(BASE, lost=14), policy=policy, label="y", prediction="p", id="i")
        for _ in range(2)
    ]
    assert found[0].decisions[0].decision is Outcome.CANNOT_TELL
    assert found[0].next_steps == found[1].next_steps
    assert found[0].next_steps[0].phrase.key in ("next.label", "next.label_far")
    assert isinstance(found[0].decisions[0], Decision)
