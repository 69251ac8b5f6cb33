"""A mitigation that nobody tried yet, where a limit on a group or on a spread keeps one back."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from shipworthy.core.records import ALL_ROWS, Decision, Slice
from shipworthy.measure.catalogue import MEASURES
from shipworthy.release.judgement import NextStep
from shipworthy.release.next_words import said, told

if TYPE_CHECKING:
    from shipworthy.core.records import Candidate
    from shipworthy.release.made import Made
    from shipworthy.release.project import Project

    Asked: TypeAlias = tuple[str, dict[str, Any]]


@dataclass(frozen=True)
class Mitigating:
    """What a run knows of mitigations.

    able: whether the project's task has any. groups: its columns. tried: recipes as a project lists
    them. train_minutes: what training took; ask_minutes: what asking the parent took.
    """

    able: bool = False
    groups: tuple[str, ...] = ()
    tried: frozenset[str] = frozenset()
    train_minutes: float = 0.0
    ask_minutes: float = 0.0


_THRESHOLDS = "threshold_per_group"
_FOR: dict[str, tuple[Asked, ...]] = {
    "statistical_parity_difference": (
        ("reweighing", {}),
        (_THRESHOLDS, {"constraint": "demographic_parity"}),
    ),
    "disparate_impact_ratio": (
        ("reweighing", {}),
        (_THRESHOLDS, {"constraint": "demographic_parity"}),
    ),
    "equal_opportunity_difference": (
        ("exponentiated_gradient", {"constraint": "equal_opportunity"}),
        (_THRESHOLDS, {}),
    ),
    "equalized_odds_difference": (
        ("adversarial", {"constraint": "equalized_odds"}),
        (_THRESHOLDS, {"constraint": "equalized_odds", "draws": True}),
    ),
    "accuracy_difference": (("group_dro", {}),),
    "expected_calibration_error": (("calibration_per_group", {}),),
    "log_loss": (("calibration_per_group", {}),),
    "brier_score": (("calibration_per_group", {}),),
}
"""Measure -> recipes, one that needs no group at answers first."""


def mitigating(project: Project, everyone: Sequence[Made], asking_seconds: float) -> Mitigating:
    """Return what a run knows of mitigations. everyone: the parent first."""
    return Mitigating(
        able=project.task == "text-classification" and bool(project.data.groups),
        groups=project.data.groups,
        tried=frozenset(_written(m.candidate) for m in everyone if m.candidate.lever == "mitigate"),
        train_minutes=everyone[0].stage.seconds / 60,
        ask_minutes=asking_seconds / 60,
    )


def mitigated(
    ground: Mitigating, candidate: str, name: str, worst: Sequence[Decision]
) -> list[NextStep]:
    """Return the recipes that are made for the limit which keeps a candidate back most."""
    from shipworthy.train.mitigation_recipes import ANEW, ASKS_GROUP, written

    first = worst[0]
    column = _column(first)
    if not ground.able or column not in ground.groups or first.relative_to != "none":
        return []
    found = []
    for kind, options in _recipes(first.measure):
        asked = options if column == ground.groups[0] else {"group": column, **options}
        recipe = written(kind, asked)
        if recipe in ground.tried:
            continue
        minutes = ground.ask_minutes + (ground.train_minutes if kind in ANEW else 0.0)
        key = "next.mitigate_told" if kind in ASKS_GROUP else "next.mitigate"
        words = told(name, first) | {"recipe": recipe, "column": column}
        found.append(
            NextStep(
                candidate, said(key, words), math.nan, math.nan, cost_minutes=minutes,
                recipe=recipe,
            )
        )  # fmt: skip
    return found


def _recipes(measure: str) -> tuple[Asked, ...]:
    if measure in _FOR:
        return _FOR[measure]
    # How many of a group are right, whatever is counted: the group with the highest loss gains.
    return (("group_dro", {}),) if MEASURES[measure].kind == "quality" else ()


def _column(decision: Decision) -> str:
    """Return the column of the group that a decision is about; "" for all rows and crossings."""
    one = Slice.parse(decision.slice)
    if one == ALL_ROWS or len(one.columns) != 1:
        return ""
    (column,) = one.columns
    return str(dict(one.conditions)["each"]) if column == "each" else column


def _written(candidate: Candidate) -> str:
    from shipworthy.train.mitigation_recipes import written

    ((kind, options),) = candidate.settings.items()
    return written(kind, options)
