"""Sensible policies of all kinds pass; without a limit, or with one made idle, they fail."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from shipworthy.core.records import Limit
from shipworthy.measure.catalogue import MEASURES
from shipworthy.release.policy import Policy
from shipworthy.release.selftest import Selftest, run_selftest


def limit(
    measure: str, side: str, bounds: tuple[float, float], **more: Any
) -> st.SearchStrategy[Limit]:
    return st.floats(*bounds).map(lambda b: Limit(measure, side, round(b, 4), **more))  # type: ignore[arg-type]


def least(measure: str, low: float, high: float, **more: Any) -> st.SearchStrategy[Limit]:
    return limit(measure, "at_least", (low, high), **more)


def most(measure: str, low: float, high: float, **more: Any) -> st.SearchStrategy[Limit]:
    return limit(measure, "at_most", (low, high), **more)


SLICES = st.sampled_from([
    {"each": "domain"}, {"each": "sex"}, {"each": ("domain", "sex")}, "each group", "worst group",
    {"domain": "news"}, {"domain": "news", "sex": "f"},
])  # fmt: skip
OVER = st.sampled_from([{"each": "domain"}, {"each": "sex"}, {"each": ("domain", "sex")}])
PARENT = {"relative_to": "parent"}

QUALITY = st.one_of(
    least("accuracy", 0.55, 0.98),
    least("balanced_accuracy", 0.55, 0.98),
    least("f1", 0.55, 0.95),
    least("recall", 0.55, 0.95),
    most("false_positive_rate", 0.02, 0.4),
    least("accuracy", -0.03, -0.005, **PARENT),
    least("accuracy", 0.01, 0.05, **PARENT),
    least("auc", 0.6, 0.97),
    most("log_loss", 0.05, 0.6),
)
GROUPS = st.one_of(
    st.builds(
        lambda li, s: replace(li, slices=s), least("accuracy", -0.04, -0.01, **PARENT), SLICES
    ),
    st.builds(lambda li, s: replace(li, slices=s), least("accuracy", 0.6, 0.95), SLICES),
    st.builds(lambda li, s: replace(li, slices=s), least("true_positive_rate", 0.6, 0.95), SLICES),
    st.builds(
        lambda li, s: replace(li, slices=s), most("turned_wrong", 0.01, 0.1, **PARENT), SLICES
    ),
    st.builds(lambda li, s: replace(li, slices=s), least("disparate_impact_ratio", 0.7, 0.9), OVER),
    st.builds(
        lambda li, s: replace(li, slices=s),
        st.one_of(
            most("statistical_parity_difference", 0.03, 0.2),
            most("equal_opportunity_difference", 0.03, 0.2),
            most("equalized_odds_difference", 0.03, 0.2),
            most("accuracy_difference", 0.03, 0.2),
        ),
        OVER,
    ),
)
SPEED = st.one_of(
    most("latency_p95_ms", 1, 500),
    most("latency_p50_ids_ms", 1, 500),
    least("throughput_rows_per_s", 10, 10_000),
    most("latency_p95_ms", 0.5, 1.2, **PARENT),
    least("throughput_rows_per_s", 0.9, 2.0, **PARENT),
)
SIZE = st.one_of(
    most("size_mb", 1, 20_000),
    most("size_mb", 0.2, 1.0, **PARENT),
    most("peak_memory_mb", 100, 20_000),
)
FURTHER = st.one_of(
    most("brier_score", 0.03, 0.3),
    most("expected_calibration_error", 0.02, 0.1),
    most("log_loss", 0.005, 0.05, **PARENT),
    least("auc", -0.03, -0.005, **PARENT),
    most("turned_right", 0.02, 0.2, **PARENT),
    most("selection_rate", 0.55, 0.8),
    least("selection_rate", 0.2, 0.4),
    least("precision", 0.5, 0.9),
)
POLICIES = st.builds(
    lambda *parts: Policy(limits=tuple(parts[:4]) + tuple(parts[4]), confidence=0.95),
    QUALITY, GROUPS, SPEED, SIZE,
    st.lists(FURTHER, max_size=2, unique_by=lambda li: (li.measure, li.side)),
)  # fmt: skip


def idle(li: Limit) -> Limit:
    """The same limit with a bound that nothing is beyond; facts and times have none such."""
    if li.relative_to == "parent" and not li.measure.startswith("turned"):
        return replace(li, bound=-1.0 if li.side == "at_least" else 20.0)
    if li.side == "at_least":
        return replace(li, bound=0.0)
    return replace(li, bound=20.0 if li.measure == "log_loss" else 1.0)


def tried(policy: Policy) -> Selftest:
    return run_selftest(policy)


@given(POLICIES)
@settings(max_examples=20, deadline=None)
def test_sensible_policies_pass(policy: Policy) -> None:
    found = tried(policy)
    assert found.passed, found.not_held


@given(POLICIES, st.sampled_from([(1, "biased"), (2, "slow"), (3, "oversized")]))
@settings(max_examples=8, deadline=None)
def test_without_the_limit_of_a_kind_they_fail_and_name_it(
    policy: Policy, removed: tuple[int, str]
) -> None:
    place, name = removed
    left = tuple(li for k, li in enumerate(policy.limits) if k != place)
    assert tried(replace(policy, limits=left)).not_held == (name,)


@given(POLICIES, st.data())
@settings(max_examples=8, deadline=None)
def test_with_a_limit_made_idle_they_fail_and_name_it(policy: Policy, data: st.DataObject) -> None:
    able = [k for k, li in enumerate(policy.limits)
            if MEASURES[li.measure].kind in ("quality", "spread")]  # fmt: skip
    place = data.draw(st.sampled_from(able))
    limits = tuple(idle(li) if k == place else li for k, li in enumerate(policy.limits))
    found = tried(replace(policy, limits=limits))
    assert str(limits[place]) in found.not_held
    assert "good" not in found.not_held
