"""Planted models against policies: what must be held is held, and the good one ships."""

from __future__ import annotations

from typing import Any

import pytest

from shipworthy.core.errors import InputError, SettingsError
from shipworthy.core.locale import set_language
from shipworthy.core.records import Limit
from shipworthy.measure.catalogue import MEASURES
from shipworthy.release.policy import Policy, load_policy, policy_digest
from shipworthy.release.selftest import BAD, Selftest, run_selftest
from shipworthy.release.selftest_models import FAMILIES
from shipworthy.release.selftest_shown import lines

# One limit for each kind of bad model, the demo's margins.
QUALITY = {"measure": "accuracy", "at_least": 0.8, "tier": "critical"}
CHANGE = {"measure": "accuracy", "relative_to": "parent", "at_least": -0.015}
EACH = {**CHANGE, "slice": {"each": "domain"}, "at_least": -0.025}
LATENCY = {"measure": "latency_p95_ms", "at_most": 20}
SIZE = {"measure": "size_mb", "at_most": 100}
DEMO = [QUALITY, CHANGE, EACH, LATENCY, SIZE]
MACHINE = ("slow", "oversized")


def tried(*limits: dict[str, Any], skip: tuple[str, ...] = (), **more: Any) -> Selftest:
    return run_selftest(load_policy({"limits": list(limits), **more}), skip=skip)


def held_by(found: Selftest, name: str) -> list[str]:
    (planted,) = [p for p in found.planted if p.name == name]
    return [li.measure for li in planted.held_by]


def broken_by(found: Selftest) -> list[str]:
    """Family of the model that broke each limit; "" where none did."""
    return ["" if t.plant is None else t.plant.family for t in found.limits]


def test_the_demo_policy_passes_as_it_stands() -> None:
    found = tried(*DEMO)
    assert found.passed
    assert [p.name for p in found.planted] == ["good", *BAD]
    assert held_by(found, "slow") == ["latency_p95_ms"]
    assert held_by(found, "oversized") == ["size_mb"]
    assert held_by(found, "good") == []
    (biased,) = [p for p in found.planted if p.name == "biased"]
    assert biased.held_by == (Limit("accuracy", "at_least", -0.025, {"each": "domain"}, "parent"),)
    # What broke a limit lies beyond its bound, by no more than the mildest harm that does it.
    values = [t.decision.value for t in found.limits if t.decision is not None]
    assert values[:3] == pytest.approx([0.95 * 0.75, -0.095, -0.095], abs=0.002)
    assert values[3:] == pytest.approx([30, 150], rel=0.01)


@pytest.mark.parametrize(
    ("removed", "let_through"),
    [
        ("accuracy", "broken"),
        ("group", "biased"),
        ("latency_p95_ms", "slow"),
        ("size_mb", "oversized"),
    ],
)
def test_without_a_limit_its_model_is_let_through(removed: str, let_through: str) -> None:
    spread = {"measure": "equal_opportunity_difference", "at_most": 0.1}
    policy = {"accuracy": QUALITY, "group": spread, "latency_p95_ms": LATENCY, "size_mb": SIZE}
    assert tried(*policy.values()).passed
    left = [limit for name, limit in policy.items() if name != removed]
    found = tried(*left)
    assert not found.passed
    assert found.not_held == (let_through,)
    # What is let through is told by name, and so is a limit that would hold it.
    (told,) = [line for line in lines(found, width=300) if line.startswith("  !")]
    assert f"{let_through} model" in told
    (entry,) = [p for p in found.to_dict()["planted"] if not p["ok"]]
    assert entry["add"] in told
    assert tried(*left, load_policy_text(entry["add"])).passed
    assert tried(*left, skip=(let_through,)).passed
    assert tried(*left, selftest={"skip": [let_through]}).passed


def load_policy_text(limit: str) -> dict[str, Any]:
    """Read one limit as a policy file has it."""
    from ruamel.yaml import YAML

    return dict(YAML(typ="safe").load(limit))


TOOTHLESS: list[dict[str, Any]] = [
    {"measure": "accuracy", "at_least": 0.0},
    {"measure": "f1", "slice": {"each": "domain"}, "at_least": 0.0},
    {"measure": "accuracy", "relative_to": "parent", "at_least": -1.0},
    {"measure": "accuracy", "slice": "each group", "relative_to": "parent", "at_least": -0.99},
    {"measure": "false_positive_rate", "at_most": 1.0},
    {"measure": "selection_rate", "at_least": 0.0},
    {"measure": "turned_wrong", "relative_to": "parent", "at_most": 1.0},
    {"measure": "turned_right", "relative_to": "parent", "at_least": 0.0},
    {"measure": "log_loss", "at_most": 20},
    {"measure": "brier_score", "at_most": 1.0},
    {"measure": "auc", "at_least": 0.0},
    {"measure": "expected_calibration_error", "at_most": 1.0},
    {"measure": "disparate_impact_ratio", "slice": {"each": "domain"}, "at_least": 0.0},
    {"measure": "accuracy_difference", "slice": {"each": "domain"}, "at_most": 1.0},
    {"measure": "equalized_odds_difference", "slice": {"each": "domain"}, "at_most": 1.0},
    # On the side where no bad model is.
    {"measure": "latency_p95_ms", "at_least": 1},
    {"measure": "size_mb", "at_least": 1},
    {"measure": "accuracy", "at_most": 0.99},
    {"measure": "size_mb", "at_most": {"measure": "size_mb"}},
]


@pytest.mark.parametrize("limit", TOOTHLESS, ids=str)
def test_a_limit_that_nothing_breaks_is_named(limit: dict[str, Any]) -> None:
    found = tried(*DEMO, limit)
    assert found.not_held == (str(load_policy([limit]).limits[0]),)
    (told,) = [line for line in lines(found, width=300) if line.startswith("  !")]
    assert "never says no" in told
    # An advisory one says nothing at all, so nothing is asked of it.
    assert tried(*DEMO, {**limit, "tier": "advisory"}).passed


def test_limits_too_wide_for_a_plausible_bias_do_not_hold_it() -> None:
    """One group as good as lost breaks the limit, but nobody would call less than that fair."""
    found = tried(QUALITY, {**EACH, "at_least": -0.6}, skip=MACHINE)
    assert found.not_held == ("biased",)
    (wide,) = [t for t in found.limits if t.kind == "biased"]
    assert wide.plant is not None
    assert wide.plant.share == 1.0


@pytest.mark.parametrize("limit", [EACH, SIZE], ids=["group", "size"])
def test_an_advisory_limit_holds_nobody(limit: dict[str, Any]) -> None:
    found = tried(*[li if li is not limit else {**li, "tier": "advisory"} for li in DEMO])
    assert found.not_held == ({"accuracy": "biased", "size_mb": "oversized"}[limit["measure"]],)


def test_memory_is_no_speed_and_a_rate_is_no_size() -> None:
    memory, rate = {"measure": "peak_memory_mb", "at_most": 900}, {
        "measure": "throughput_rows_per_s", "at_least": 100,
    }  # fmt: skip
    assert tried(QUALITY, EACH, memory).not_held == ("slow",)
    assert tried(QUALITY, EACH, rate).not_held == ("oversized",)
    assert tried(QUALITY, EACH, rate, memory).passed


def test_what_is_skipped_is_said_to_be() -> None:
    found = tried(QUALITY, skip=("biased",), selftest={"skip": ["slow", "oversized"]})
    assert found.passed
    assert found.skipped == ("biased", "slow", "oversized")
    assert found.to_dict()["planted"][2] == {
        "name": "biased", "held_by": [], "ok": True, "skipped": True, "add": None,
    }  # fmt: skip
    assert sum("skipped" in line for line in lines(found)) == 3


def test_a_policy_too_tight_for_any_model_is_named() -> None:
    tight = {"measure": "accuracy", "relative_to": "parent", "at_least": 0.0}
    found = tried(*DEMO, tight)
    assert found.not_held == ("good",)
    assert found.planted[0].held_by == (Limit("accuracy", "at_least", 0.0, relative_to="parent"),)
    told = lines(found, width=300)
    assert "does not ship: Change in accuracy is too tight" in told[1]
    assert told[-1].startswith("Self-test failed")
    set_language("zh")
    assert "准确率相对父模型的变化" in lines(found, width=300)[1]
    assert lines(found)[-1].startswith("自检未通过")


SLICES: dict[str, Any] = {
    "one value": {"domain": "news"},
    "a truth value": {"urgent": True},
    "each group": "each group",
    "worst group": "worst group",
    "intersections": {"each": ["domain", "gender"]},
    "two columns": {"domain": "news", "gender": "f"},
}


@pytest.mark.parametrize("name", SLICES)
def test_every_form_of_slice_is_tried(name: str) -> None:
    found = tried(QUALITY, {**EACH, "slice": SLICES[name]}, skip=MACHINE)
    assert found.passed, found.not_held
    assert held_by(found, "biased") == ["accuracy"]
    assert [bool(t.plant.where) for t in found.limits if t.plant] == [False, True]
    wanted = SLICES[name] if isinstance(SLICES[name], dict) else {}
    columns = wanted.get("each", list(wanted)) or ["group"]
    plant = found.limits[1].plant
    assert plant is not None
    assert [column for column, _ in plant.where] == columns


POLICIES: dict[str, list[dict[str, Any]]] = {
    "spreads": [
        {"measure": "equalized_odds_difference", "slice": {"each": "domain"}, "at_most": 0.05},
        {"measure": "disparate_impact_ratio", "slice": {"each": "domain"}, "at_least": 0.8},
        {"measure": "statistical_parity_difference", "at_most": 0.1},
        {"measure": "f1", "at_least": 0.7},
    ],
    "scores": [
        {"measure": "auc", "at_least": 0.9},
        {"measure": "auc", "relative_to": "parent", "at_least": -0.02},
        {"measure": "log_loss", "at_most": 0.1},
        {"measure": "log_loss", "relative_to": "parent", "at_most": 0.01},
        {"measure": "brier_score", "at_most": 0.05},
        {"measure": "expected_calibration_error", "slice": {"each": "domain"}, "at_most": 0.05},
    ],
    "rates": [
        {"measure": "false_positive_rate", "at_most": 0.02},
        {"measure": "recall", "at_least": 0.95},
        {"measure": "precision", "at_least": 0.3},
        {"measure": "turned_wrong", "relative_to": "parent", "at_most": 0.01},
        {"measure": "turned_right", "relative_to": "parent", "at_most": 0.1},
        {"measure": "balanced_accuracy", "slice": {"each": "domain"}, "at_least": 0.97},
    ],
    "few positives": [
        QUALITY,
        {"measure": "selection_rate", "at_most": 0.1},
        {"measure": "true_positive_rate", "at_least": 0.5},
        {"measure": "selection_rate", "relative_to": "parent", "at_most": 0.03},
        {"measure": "selection_rate", "relative_to": "parent", "at_least": -0.03},
        EACH,
    ],
    "against the parent": [
        QUALITY, EACH,
        {"measure": "size_mb", "relative_to": "parent", "at_most": 0.27},
        {"measure": "latency_p95_ms", "relative_to": "parent", "at_most": 0.7},
        {"measure": "throughput_rows_per_s", "relative_to": "parent", "at_least": 1.3},
    ],
    "both ways": [
        QUALITY, EACH, SIZE, LATENCY,
        {"measure": "size_mb", "relative_to": "parent", "at_most": 1.0},
        {"measure": "latency_p95_ms", "relative_to": "parent", "at_most": 1.1},
    ],
    "better than the parent": [
        {"measure": "accuracy", "relative_to": "parent", "at_least": 0.02},
        {"measure": "turned_right", "relative_to": "parent", "at_least": 0.01},
        {"measure": "expected_calibration_error", "relative_to": "parent", "at_most": -0.01},
        EACH,
    ],
    "a bound that is measured": [
        QUALITY, EACH, SIZE, {"measure": "peak_memory_mb", "at_most": {"measure": "size_mb"}},
    ],
}  # fmt: skip


@pytest.mark.parametrize("name", POLICIES)
def test_other_kinds_of_policies_are_tried_fairly(name: str) -> None:
    machine = [m for m in MACHINE if name not in ("against the parent", "both ways")]
    found = tried(*POLICIES[name], skip=tuple(machine))
    assert found.passed, found.not_held


def test_scores_are_broken_without_a_wrong_answer_more() -> None:
    found = tried(*POLICIES["scores"], skip=MACHINE)
    assert set(broken_by(found)) == {"misscored", "overconfident"}
    # As many right answers as the good model has, the same rows churned.
    found = tried(*POLICIES["rates"], skip=MACHINE)
    assert broken_by(found)[3:5] == ["churning", "churning"]


def test_every_measure_has_models_that_break_it() -> None:
    by_rows = {name for name, kind in MEASURES.items() if kind.kind in ("quality", "spread")}
    assert set(FAMILIES) == by_rows


def test_many_columns_do_not_multiply_the_rows() -> None:
    columns = [f"column {k}" for k in range(12)]
    found = tried(QUALITY, *({**EACH, "slice": {"each": c}} for c in columns), skip=MACHINE)
    assert found.passed, found.not_held


def test_the_same_policy_has_the_same_result() -> None:
    assert tried(*DEMO) == tried(*DEMO)


def test_what_need_not_be_held_is_no_part_of_what_decides() -> None:
    """Another look at test rows would cost level, for a change that no decision sees."""
    bare, more = (
        load_policy({"limits": DEMO, **s}) for s in ({}, {"selftest": {"skip": ["slow"]}})
    )
    assert policy_digest(bare) == policy_digest(more)


def test_what_cannot_be_asked_is_an_error() -> None:
    with pytest.raises(InputError, match="--skip brokn: no such planted model; did you mean"):
        tried(QUALITY, skip=("brokn",))
    with pytest.raises(SettingsError, match=r"selftest.*skip"):
        tried(QUALITY, selftest={"skip": ["brokn"]})
    with pytest.raises(SettingsError, match="compares with the parent"):
        run_selftest(Policy(limits=(Limit("turned_wrong", "at_most", 0.1),)))
