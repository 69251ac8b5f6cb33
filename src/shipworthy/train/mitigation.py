"""From a mitigation's recipe to the folder of its candidate.

Some train the model again from its start, otherwise or on other rows; some leave it as it is and
change what becomes of its answers (`decision.json`); one fits its head again. What the algorithms
reached on the rows that they were given is written beside the candidate: a hint at best, since the
ruler measures it on rows that none of them saw.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from shipworthy.core.errors import DataError, SettingsError
from shipworthy.core.files import write_atomically
from shipworthy.core.locale import text as said
from shipworthy.train.mitigation_decisions import with_calibration, with_thresholds
from shipworthy.train.mitigation_ground import Ground, group_numbers, labels_of, shown_names
from shipworthy.train.mitigation_head import with_another_head
from shipworthy.train.mitigation_recipes import ANEW
from shipworthy.train.settings import ParallelSettings

if TYPE_CHECKING:
    from pathlib import Path

    import polars as pl

    from shipworthy.train.lesson import Lesson
    from shipworthy.train.mitigation_recipes import Mitigation
    from shipworthy.train.mitigation_settings import (
        AdversarialSettings,
        AugmentationSettings,
        GroupDroSettings,
    )

FACTS = "mitigation.json"
"""Beside the candidate's folder: what its algorithm reached on the rows that it was given."""
WEIGHT = "__weight__"
"""Column of how much a row counts."""


def mitigate(recipe: Mitigation, ground: Ground, out: Path) -> None:
    """Write the candidate of a recipe to `out`, and `mitigation.json` beside it.

    Raises SettingsError, DataError or ModelError where the recipe does not fit rows or model.
    """
    if recipe.kind in ANEW:
        facts = _train_anew(recipe, ground, out)
    elif recipe.kind == "threshold_per_group":
        facts = with_thresholds(recipe, ground, out)
    elif recipe.kind == "calibration_per_group":
        facts = with_calibration(recipe, ground, out)
    else:
        facts = with_another_head(recipe, ground, out)
    content = json.dumps({"recipe": recipe.kind, **facts}, ensure_ascii=False, indent=1)
    write_atomically(out.parent / FACTS, content)


def _train_anew(recipe: Mitigation, ground: Ground, out: Path) -> dict[str, Any]:
    from shipworthy.train.loop import fit
    from shipworthy.train.selection import select

    # Chosen before, so that what a lesson knows of each row is in the order of the rows.
    rows = select(ground.train, ground.training.rows, unit=ground.unit, seed=ground.seed)
    rows, weight, lesson, facts = _prepared(recipe, ground, rows)
    changed: dict[str, Any] = {"rows": None, "race": None}
    if lesson is not None and ground.training.parallel == "auto":
        changed["parallel"] = ParallelSettings()
    fit(
        ground.start,
        rows,
        ground.calibration,
        text=ground.text,
        label=ground.label,
        classes=ground.classes,
        settings=ground.training.model_copy(update=changed),
        seed=ground.seed,
        out=out,
        work=ground.work,
        unit=ground.unit,
        cache=ground.cache,
        weight=weight,
        lesson=lesson,
    )
    return facts


def _prepared(
    recipe: Mitigation, ground: Ground, rows: pl.DataFrame
) -> tuple[pl.DataFrame, str | None, Lesson | None, dict[str, Any]]:
    """Return the rows, the column of their weights, the lesson, and facts."""
    import polars as pl

    if recipe.kind == "counterfactual_augmentation":
        settings = cast("AugmentationSettings", recipe.settings)
        more, counts = swapped_rows(rows, ground.text, settings)
        return pl.concat([rows, *more]), None, None, {"rows": rows.height, "swapped": counts}
    column = str(recipe.group_of(ground.groups))
    groups, names = group_numbers(rows[column])
    labels = labels_of(rows, ground)
    facts: dict[str, Any] = {"group": column, "rows": rows.height}
    if recipe.kind == "reweighing":
        from shipworthy.train.reweighing import reweighing_weights

        weights = reweighing_weights(labels, groups, names=(ground.classes, shown_names(names)))
        facts["weights"] = [float(weights.min()), float(weights.max())]
        return rows.with_columns(pl.Series(WEIGHT, weights)), WEIGHT, None, facts
    from shipworthy.train.reweighing import require_groups

    require_groups(len(names))
    if recipe.kind == "adversarial":
        from shipworthy.train.adversary import Adversarial

        against = cast("AdversarialSettings", recipe.settings)
        return rows, None, Adversarial(groups, against.constraint, against.alpha), facts
    from shipworthy.train.group_dro import GroupDRO

    if ground.training.regularization.r_drop > 0:
        raise SettingsError(
            said("error.mitigation.r_drop", recipe=recipe.kind),
            key="train.regularization.r_drop",
            fix=said("error.mitigation.r_drop.fix"),
        )
    robust = cast("GroupDroSettings", recipe.settings)
    if robust.by_label:
        # Numbers without gaps: a group need not have every class.
        _, groups = np.unique(groups * len(ground.classes) + labels, return_inverse=True)
    return rows, None, GroupDRO(groups.astype(np.int64), robust.step, robust.adjustment), facts


def swapped_rows(
    rows: pl.DataFrame, column: str, settings: AugmentationSettings
) -> tuple[list[pl.DataFrame], dict[str, int]]:
    """Return the rows with identities swapped, one frame a list, and how many rows each has.

    Labels and all other columns stay as they are; rows without a word of a list are left out.
    Raises DataError where no text has a word of any.
    """
    import polars as pl

    from shipworthy.data.identity_pairs import read_pairs

    frames, counts = [], {}
    for name in settings.pairs:
        pairs = read_pairs(name, settings.language)
        told = [pairs.swap(one) for one in rows[column].to_list()]
        changed = pl.Series([count > 0 for _, count in told], dtype=pl.Boolean)
        texts = pl.Series(column, [one for one, _ in told], dtype=pl.String)
        frames.append(rows.with_columns(texts).filter(changed))
        counts[name] = frames[-1].height
    if not any(counts.values()):
        raise DataError(
            said("error.mitigation.no_swap", lists=", ".join(settings.pairs)),
            column=column,
            fix=said("error.mitigation.no_swap.fix"),
        )
    return frames, counts
