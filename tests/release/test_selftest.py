"""Planted models against policies: what must be held is held, and the good one ships."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from shipworthy.core.errors import InputError, SettingsError
from shipworthy.core.locale import set_language
from shipworthy.core.records import Answer, Limit
from shipworthy.release.policy import Policy, load_policy
from shipworthy.release.selftest import BAD, Selftest, lines, run_selftest

# One limit for each kind of bad model, the demo's margins.
QUALITY = {"measure": "accuracy", "at_least": 0.8, "tier": "critical"}
EACH = {
    "measure": "accuracy", "slice": {"each": "domain"}, "relative_to": "parent",
    "at_least": -0.025,
}  # fmt: skip
LATENCY = {"measure": "latency_p95_ms", "at_most": 20}
SIZE = {"measure": "size_mb", "at_most": 100}
DEMO = [QUALITY, {"measure": "accuracy", "relative_to": "parent", "at_least": -0.015}, EACH,
        LATENCY, SIZE]  # fmt: skip


@pytest.fixture(autouse=True)
def fewer_rows(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """3,000 rows a group: the margins here are wide, and the suite is long."""
    monkeypatch.setattr("shipworthy.release.selftest.GROUP_ROWS", 3_000)
    yield


def tried(*limits: dict[str, Any], skip: tuple[str, ...] = (), **more: Any) -> Selftest:
    return run_selftest(load_policy({"limits": list(limits), **more}), skip=skip)


def fates(found: Selftest) -> dict[str, bool]:
    return {p.name: p.ok for p in found.planted}


def held_by(found: Selftest, name: str) -> list[str]:
    (planted,) = [p for p in found.planted if p.name == name]
    return [li.measure for li in planted.held_by]


def test_the_demo_policy_passes_as_it_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    found = tried(*DEMO)
    assert found.passed
    assert fates(found) == dict.fromkeys(("good", *BAD), True)
    assert held_by(found, "slow") == ["latency_p95_ms"]
    assert held_by(found, "oversized") == ["size_mb"]
    assert held_by(found, "good") == []
    (biased,) = [p for p in found.planted if p.name == "biased"]
    assert biased.held_by == (Limit("accuracy", "at_least", -0.025, {"each": "domain"}, "parent"),)


@pytest.mark.parametrize(
    ("removed", "let_through"),
    [
        ("accuracy", {"broken"}),
        ("group", {"biased"}),
        ("latency_p95_ms", {"slow"}),
        ("size_mb", {"oversized"}),
    ],
)
def test_without_a_limit_its_model_is_let_through(removed: str, let_through: set[str]) -> None:
    spread = {"measure": "accuracy_difference", "slice": {"each": "domain"}, "at_most": 0.05}
    policy = {"accuracy": QUALITY, "group": spread, "latency_p95_ms": LATENCY, "size_mb": SIZE}
    assert tried(*policy.values()).passed
    found = tried(*(limit for name, limit in policy.items() if name != removed))
    assert not found.passed
    assert {name for name, ok in fates(found).items() if not ok} == let_through
    # Who is let through is told by name, and so is the way out.
    told = "\n".join(lines(found))
    for name in let_through:
        assert f"{name} model: not held" in told
    assert "--skip" in told
    assert tried(
        *(limit for name, limit in policy.items() if name != removed), skip=tuple(let_through)
    ).passed


@pytest.mark.parametrize("more", [{"tier": "advisory"}])
def test_an_advisory_limit_holds_nobody(more: dict[str, str]) -> None:
    found = tried(QUALITY, {**EACH, **more}, LATENCY, {**SIZE, **more})
    assert {name for name, ok in fates(found).items() if not ok} == {"biased", "oversized"}
    # The biased model falls below the limit on all rows; that is not what has to hold it.
    strict = {"measure": "accuracy", "relative_to": "parent", "at_least": -0.005}
    found = tried(strict, {**EACH, **more}, skip=("slow", "oversized"))
    assert fates(found)["biased"] is False


def test_what_is_skipped_is_said_to_be() -> None:
    found = tried(QUALITY, skip=("biased", "slow", "oversized"))
    assert found.passed
    assert [p.name for p in found.planted if p.skipped] == ["biased", "slow", "oversized"]
    assert found.to_dict()["planted"][2] == {
        "name": "biased", "verdict": None, "held_by": [], "ok": True, "skipped": True,
    }  # fmt: skip
    assert sum("skipped" in line for line in lines(found)) == 3


def test_a_policy_too_tight_for_any_model_is_named() -> None:
    tight = {"measure": "accuracy", "relative_to": "parent", "at_least": 0.0}
    found = tried(QUALITY, tight, skip=("biased", "slow", "oversized"))
    assert not found.passed
    good = found.planted[0]
    assert good.answer is Answer.UNDECIDED
    assert good.held_by == (Limit("accuracy", "at_least", 0.0, relative_to="parent"),)
    told = lines(found)
    assert "It does not pass Change in accuracy" in told[0]
    assert told[-1].startswith("Self-test failed")
    set_language("zh")
    assert "准确率相对父模型的变化" in lines(found)[0]
    assert lines(found)[-1].startswith("自检未通过")


POLICIES: dict[str, tuple[list[dict[str, Any]], tuple[str, ...]]] = {
    "spreads": (
        [
            {"measure": "equalized_odds_difference", "slice": {"each": "domain"}, "at_most": 0.05},
            {"measure": "disparate_impact_ratio", "slice": {"each": "domain"}, "at_least": 0.8},
            {"measure": "f1", "at_least": 0.7},
        ],
        ("slow", "oversized"),
    ),
    "one value": (
        [QUALITY, {**EACH, "slice": {"domain": "news"}}], ("slow", "oversized"),
    ),
    "each group": ([{**EACH, "slice": "each group"}, QUALITY], ("slow", "oversized")),
    "worst group": (
        [{"measure": "accuracy", "slice": "worst group", "at_least": 0.9}, QUALITY],
        ("slow", "oversized"),
    ),
    "intersections": (
        [{**EACH, "slice": {"each": ["domain", "gender"]}}, QUALITY], ("slow", "oversized"),
    ),
    "scores": (
        [
            {"measure": "auc", "at_least": 0.9},
            {"measure": "auc", "relative_to": "parent", "at_least": -0.02},
            {"measure": "log_loss", "at_most": 0.1},
            {"measure": "brier_score", "at_most": 0.05},
            {"measure": "expected_calibration_error", "at_most": 0.05},
        ],
        ("biased", "slow", "oversized"),
    ),
    "rates": (
        [
            {"measure": "false_positive_rate", "at_most": 0.02},
            {"measure": "recall", "at_least": 0.95},
            {"measure": "turned_wrong", "relative_to": "parent", "at_most": 0.01},
            {"measure": "balanced_accuracy", "at_least": 0.97},
        ],
        ("biased", "slow", "oversized"),
    ),
    "against the parent": (
        [
            QUALITY,
            {"measure": "size_mb", "relative_to": "parent", "at_most": 0.27},
            {"measure": "latency_p95_ms", "relative_to": "parent", "at_most": 0.7},
            {"measure": "throughput_rows_per_s", "relative_to": "parent", "at_least": 1.3},
        ],
        ("biased",),
    ),
    "both ways": (
        [
            QUALITY, SIZE, LATENCY,
            {"measure": "size_mb", "relative_to": "parent", "at_most": 1.0},
            {"measure": "latency_p95_ms", "relative_to": "parent", "at_most": 1.1},
            {"measure": "throughput_rows_per_s", "at_least": 100},
        ],
        ("biased",),
    ),
    "better than the parent": (
        [{"measure": "accuracy", "relative_to": "parent", "at_least": 0.02}, EACH],
        ("slow", "oversized"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", POLICIES)
def test_other_kinds_of_policies_are_tried_fairly(name: str) -> None:
    limits, skip = POLICIES[name]
    found = tried(*limits, skip=skip)
    assert found.passed, "\n".join(lines(found))


def test_every_limit_on_speed_and_size_is_tried_by_itself() -> None:
    """A second speed limit that nothing exceeds would otherwise hide behind the first."""
    found = tried(
        QUALITY, LATENCY, {"measure": "peak_memory_mb", "at_most": 900, "tier": "advisory"},
        skip=("biased", "oversized"),
    )  # fmt: skip
    assert fates(found)["slow"] is False
    slow = found.planted[3]
    assert slow.answer is Answer.SHIP
    assert held_by(found, "slow") == ["latency_p95_ms"]


def test_the_same_policy_has_the_same_result() -> None:
    assert tried(QUALITY, EACH, LATENCY) == tried(QUALITY, EACH, LATENCY)


def test_what_cannot_be_asked_is_an_error() -> None:
    with pytest.raises(InputError, match="--skip brokn: no such planted model; did you mean"):
        tried(QUALITY, skip=("brokn",))
    with pytest.raises(SettingsError, match="compares with the parent"):
        run_selftest(Policy(limits=(Limit("turned_wrong", "at_most", 0.1),)))
