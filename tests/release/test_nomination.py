import math

import numpy as np
import pytest

from shipworthy.core.records import ALL_ROWS, Limit, Slice
from shipworthy.measure.decide import Evidence
from shipworthy.measure.estimates import Fact, PairedChange, Unmeasured
from shipworthy.release.nomination import nominate
from shipworthy.release.policy import Policy

FLOOR = Limit("accuracy", "at_least", -0.02, relative_to="parent")
CEILING = Limit("size_mb", "at_most", 50.0)


def change(*points: float, limit: Limit = FLOOR) -> Evidence:
    """A change of accuracy on slices of 1,000 rows each, in points."""
    lost = np.array([max(-p, 0.0) * 10 for p in points])
    gained = np.array([max(p, 0.0) * 10 for p in points])
    n = np.full(len(points), 1000.0)
    estimate = PairedChange(
        lost, gained, n, n, np.ones(len(points)), np.zeros(len(points), dtype=bool)
    )
    slices = tuple(Slice.of({"g": k}) for k in range(len(points)))
    return Evidence(limit, 0, slices, estimate, float(limit.bound))


def size(mb: float) -> Evidence:
    return Evidence(CEILING, 1, (ALL_ROWS,), Fact(np.array([mb])), 50.0)


def chosen(evidence: dict[str, list[Evidence]], most: int = 3, **objective: float) -> list[str]:
    return list(nominate(evidence, Policy(nominate=most), objective=objective))


def test_only_those_inside_every_limit_are_nominated() -> None:
    evidence = {
        "inside": [change(-1.0), size(40)],
        "too much lost": [change(-2.1), size(10)],
        "too large": [change(0.0), size(51)],
    }
    assert chosen(evidence) == ["inside"]


def test_one_slice_outside_is_enough() -> None:
    assert chosen({"a": [change(0.0, -2.5, 1.0)], "b": [change(0.0, -1.5, 1.0)]}) == ["b"]


def test_the_bound_itself_is_inside() -> None:
    assert chosen({"a": [change(-2.0), size(50.0)]}) == ["a"]


def test_at_most_as_many_as_the_policy_says_best_first() -> None:
    evidence = {name: [change(0.0)] for name in "abcde"}
    objective = {"a": 5.0, "b": 1.0, "c": 3.0, "d": 2.0, "e": 4.0}
    assert chosen(evidence, 3, **objective) == ["b", "d", "c"]


def test_without_a_figure_a_candidate_comes_last_and_ties_keep_their_order() -> None:
    evidence = {name: [change(0.0)] for name in "abcd"}
    assert chosen(evidence, 4, a=math.nan, b=2.0, d=2.0) == ["b", "d", "a", "c"]


def test_advisory_limits_and_missing_numbers_object_to_nobody() -> None:
    advisory = Limit("accuracy", "at_least", -0.02, relative_to="parent", tier="advisory")
    missing = Evidence(CEILING, 1, (ALL_ROWS,), Unmeasured("not_measured"), 50.0)
    assert chosen({"a": [change(-9.0, limit=advisory), missing]}) == ["a"]


@pytest.mark.parametrize("evidence", [{}, {"a": [change(-3.0)]}])
def test_nobody_may_be_nominated(evidence: dict[str, list[Evidence]]) -> None:
    assert chosen(evidence) == []
