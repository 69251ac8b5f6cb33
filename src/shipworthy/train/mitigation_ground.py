"""What mitigations work on: rows, their groups, the trained model and what it said."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from shipworthy.core.locale import text as said

if TYPE_CHECKING:
    from pathlib import Path

    import polars as pl
    from numpy.typing import NDArray

    from shipworthy.train.mitigation_recipes import Mitigation
    from shipworthy.train.settings import TrainSettings

    FloatArray: TypeAlias = NDArray[np.float64]
    IntArray: TypeAlias = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Ground:
    """What a mitigation works on.

    start: folder of the model that training started from; parent: of the trained one. train,
    calibration: frames with the columns `text`, `label` (values of `classes`) and the groups.
    training: the settings that the parent was trained with. work: folder of what a training needs
    to go on after a kill; cache: of tokenised texts. groups: columns; unit: column, if any.
    """

    start: Path
    parent: Path
    train: pl.DataFrame
    calibration: pl.DataFrame
    text: str
    label: str
    classes: tuple[str, ...]
    training: TrainSettings
    seed: int
    work: Path
    groups: tuple[str, ...] = ()
    unit: str | None = None
    cache: Path | None = None


def group_numbers(values: pl.Series) -> tuple[IntArray, list[str | None]]:
    """Return the number of each row's group, shape (n,), and the groups; absent is one as well."""
    import polars as pl

    told = values.cast(pl.String)
    names: list[str | None] = sorted(told.unique().drop_nulls().to_list())
    if told.null_count():
        names.append(None)
    known = {name: number for number, name in enumerate(names)}
    return np.array([known[name] for name in told.to_list()], dtype=np.int64), names


def shown_names(names: list[str | None]) -> list[str]:
    """Return the names of groups for people."""
    return [said("error.mitigation.absent") if name is None else name for name in names]


def told_of(ground: Ground) -> FloatArray:
    """Return the parent's log-probabilities of the calibration rows, before any decision."""
    from shipworthy.model.runtimes import load_classifier

    model = load_classifier(ground.parent)
    texts = ground.calibration[ground.text].to_list()
    found: FloatArray = model.undecided(model.encode(texts))
    return found


def calibration_groups(recipe: Mitigation, ground: Ground) -> tuple[IntArray, list[str | None]]:
    """Return the numbers and names of the groups of the calibration rows."""
    return group_numbers(ground.calibration[str(recipe.group_of(ground.groups))])


def labels_of(rows: pl.DataFrame, ground: Ground) -> IntArray:
    """Return the number of each row's class, shape (n,)."""
    from shipworthy.train.selection import class_numbers

    return class_numbers(rows, label=ground.label, classes=ground.classes, split="train")
