"""Mitigations that leave the model as it is and change what becomes of its answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias, cast

import numpy as np

from shipworthy.core.digest import digest_json
from shipworthy.core.errors import DataError
from shipworthy.core.files import write_atomically
from shipworthy.core.locale import text as said
from shipworthy.model.class_names import default_positive
from shipworthy.train.mitigation_ground import (
    calibration_groups,
    labels_of,
    shown_names,
    told_of,
)
from shipworthy.train.mitigation_recipes import positive_class

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from shipworthy.model.decision import Choice, Unknown
    from shipworthy.train.mitigation_ground import Ground
    from shipworthy.train.mitigation_recipes import Mitigation
    from shipworthy.train.mitigation_settings import (
        GroupCalibrationSettings,
        GroupThresholdSettings,
    )

    FloatArray: TypeAlias = NDArray[np.float64]

NEVER = 1e3
"""Offset, nats, under which a class is taken always, and under its negative never."""


def with_thresholds(recipe: Mitigation, ground: Ground, out: Path) -> dict[str, Any]:
    """Write the model with a threshold for each group; return what it reached."""
    from shipworthy.train.group_thresholds import choose_thresholds

    settings = cast("GroupThresholdSettings", recipe.settings)
    positive = positive_class(recipe, ground.classes, default_positive(ground.classes))
    groups, names = calibration_groups(recipe, ground)
    told = told_of(ground)
    found = choose_thresholds(
        told[:, positive] - told[:, 1 - positive],
        labels_of(ground.calibration, ground) == positive,
        groups, settings.constraint, draws=settings.draws, within=settings.within,
        names=shown_names(names),
    )  # fmt: skip
    choices = {
        name: tuple(_cut(share, cut, positive) for share, cut in cuts)
        for name, cuts in zip(names, found.cuts, strict=True)
    }
    _write_decided(recipe, ground, out, choices, unknown=settings.unknown)
    return {
        "group": recipe.group_of(ground.groups),
        "constraint": settings.constraint,
        "rows": ground.calibration.height,
        "gap": found.gap,
        "allowed": 0.0 if settings.draws else settings.within,
        "reached": found.gap <= (1e-9 if settings.draws else settings.within),
        "accuracy": found.accuracy,
    }


def with_calibration(recipe: Mitigation, ground: Ground, out: Path) -> dict[str, Any]:
    """Write the model with a scale for each group; return on how many rows it was fitted."""
    from shipworthy.train.group_calibration import fit_scale
    from shipworthy.train.group_thresholds import LEAST_ROWS

    settings = cast("GroupCalibrationSettings", recipe.settings)
    groups, names = calibration_groups(recipe, ground)
    told, labels = told_of(ground), labels_of(ground.calibration, ground)
    choices: dict[str | None, tuple[Choice, ...]] = {}
    for number, name in enumerate(names):
        own = groups == number
        if own.sum() < LEAST_ROWS:
            raise DataError(
                said("error.mitigation.rows", group=shown_names([name])[0], rows=int(own.sum()),
                     least=LEAST_ROWS),
                fix=said("error.mitigation.rows.fix"),
            )  # fmt: skip
        choices[name] = (_choice(*fit_scale(told[own], labels[own], settings.method)),)
    pooled = _choice(*fit_scale(told, labels, settings.method))
    _write_decided(recipe, ground, out, choices, unknown=settings.unknown, pooled=pooled)
    return {"group": recipe.group_of(ground.groups), "rows": ground.calibration.height}


def _choice(scale: float, offsets: FloatArray) -> Choice:
    from shipworthy.model.decision import Choice

    return Choice(offsets, scale)


def _cut(share: float, cut: float, positive: int) -> Choice:
    """Return the choice that takes the positive class where its log-odds lie above a cut."""
    from shipworthy.model.decision import Choice

    offsets = np.zeros(2)
    offsets[positive] = float(np.clip(-cut, -NEVER, NEVER))
    return Choice(offsets, 1.0, share)


def _write_decided(
    recipe: Mitigation,
    ground: Ground,
    out: Path,
    choices: dict[str | None, tuple[Choice, ...]],
    *,
    unknown: Unknown,
    pooled: Choice | None = None,
) -> None:
    """Write the parent's weights with another `decision.json`; `runtime.json` comes last."""
    from shipworthy.model.checkpoint import INFO, artefact_files, read_info, write_info
    from shipworthy.model.decision import DecisionRule, GroupRules, read_rule, write_rule

    info = read_info(ground.parent)
    rules = GroupRules(
        str(recipe.group_of(ground.groups)), choices, unknown, row=ground.text,
        # It spreads answers evenly over rows; it is no secret to whoever has the folder.
        key=digest_json([recipe.kind, dict(recipe.options), ground.seed])[:32],
    )  # fmt: skip
    out.mkdir(parents=True, exist_ok=True)
    (out / INFO).unlink(missing_ok=True)
    for name, file in artefact_files(ground.parent).items():
        if name != INFO:
            write_atomically(out / name, file.read_bytes())
    before = read_rule(ground.parent, info.classes).pooled if pooled is None else pooled
    write_rule(out, DecisionRule(info.classes, before, rules))
    write_info(out, info)
