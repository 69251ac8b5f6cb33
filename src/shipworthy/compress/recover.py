"""Recovery: a training of the smaller model that makes good for what was taken out of it.

The settings are those that the parent was trained with, but for length and rate. A matrix of low
rank is trained as the two that it is a product of, so that it keeps its rank, and weights that are
zero stay so; both in one process. Groups can be made to weigh alike: each row then counts 1 over
the size of its group, so that a small group pulls as hard as a large one.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from shipworthy.compress.blocks import block_matrices
from shipworthy.compress.parents import require_fp32
from shipworthy.core.errors import ModelError
from shipworthy.core.locale import text
from shipworthy.model.pretrained import load_module
from shipworthy.train.settings import ParallelSettings

if TYPE_CHECKING:
    import polars as pl
    from torch import nn

    from shipworthy.compress.lever_settings import (
        Balance,
        DistillSettings,
        QuantizationAwareSettings,
        RecoverSettings,
    )
    from shipworthy.compress.material import Material
    from shipworthy.train.lesson import Lesson
    from shipworthy.train.settings import TrainSettings

# Trained weights are hardly ever zero by chance.
FEW_ZEROS = 1e-3
WEIGHT = "__weight__"
"""Column of how much a row counts."""


def recover(
    parent: Path | str, out: Path | str, settings: RecoverSettings, material: Material
) -> None:
    """Write a candidate that was trained on from its parent.

    Goes on after a kill from what lies in `material.work`.
    Raises ModelError where the parent is of another runtime, and what training raises.
    """
    info = require_fp32(parent, "shaped")
    training = adapted(material.training, settings)
    train_on(
        parent, out, training, settings.balance, material, classes=info.classes, work="recover"
    )


def train_on(
    start: Path | str,
    out: Path | str,
    training: TrainSettings,
    balance: Balance,
    material: Material,
    *,
    classes: tuple[str, ...],
    work: str,
    lesson: Lesson | None = None,
) -> None:
    """Train a model of the runtime `torch` on, keeping what earlier steps made of it.

    Zeros stay zeros and matrices of low rank stay so, which takes one process; so does a lesson,
    where the layout was left to choose. work: name of the folder in `material.work`.
    Raises ModelError where groups are to weigh alike and there are none, and what training raises.
    """
    from shipworthy.compress.factors import is_low_rank, merge, split
    from shipworthy.train.form import Form
    from shipworthy.train.loop import fit

    module = load_module(start)
    zeros = has_zeros(module)
    form = Form("factors", split, merge) if is_low_rank(module) else None
    if zeros or form is not None or (lesson is not None and training.parallel == "auto"):
        training = training.model_copy(update={"parallel": ParallelSettings()})
    rows, weight = weighed(balance, material)
    fit(
        Path(start),
        rows,
        material.calibration,
        text=material.text,
        label=material.label,
        classes=classes,
        settings=training,
        seed=material.seed,
        out=Path(out),
        work=material.work / work,
        unit=material.unit,
        cache=material.cache,
        weight=weight,
        hold_zeros=zeros,
        form=form,
        lesson=lesson,
    )


def has_zeros(module: nn.Module) -> bool:
    """Say whether matrices in the blocks of a model hold zeros, as after unstructured pruning."""
    matrices = [weights for _, weights in block_matrices(module)]
    count = sum(int((weights == 0).sum()) for weights in matrices)
    return count > FEW_ZEROS * sum(weights.numel() for weights in matrices)


def weighed(balance: Balance, material: Material) -> tuple[pl.DataFrame, str | None]:
    """Return the training rows, and the column of how much each counts, None where all are alike.

    Raises ModelError where groups are to weigh alike and there are none.
    """
    if balance == "rows":
        return material.train, None
    weights = balanced(material.train, material.groups).alias(WEIGHT)
    return material.train.with_columns(weights), WEIGHT


def adapted(
    training: TrainSettings, settings: RecoverSettings | DistillSettings | QuantizationAwareSettings
) -> TrainSettings:
    """Return the settings of the parent's training, with length and rate of the recovery."""
    changed = {
        "epochs": settings.epochs,
        "learning_rate": settings.learning_rate,
        "race": None,
        "lora": None,
    }
    return training.model_copy(update=changed)


def balanced(rows: pl.DataFrame, groups: tuple[str, ...]) -> pl.Series:
    """Return how much each row counts, with mean 1, so that the values of each column weigh alike.

    A row's weight is the mean over the columns of 1 / (values x share of its value); an absent
    value counts as one of its own.
    Raises ModelError where there are no groups.
    """
    import polars as pl

    if not groups:
        raise ModelError(
            text("error.importance.groups", rows=1), fix=text("error.importance.groups.fix")
        )

    total = np.zeros(rows.height)
    for column in groups:
        codes = rows[column].cast(pl.String).fill_null("").rank("dense").cast(pl.Int64).to_numpy()
        sizes = np.bincount(codes - 1)
        total += rows.height / (len(sizes) * sizes[codes - 1])
    return pl.Series(total / len(groups))
