"""The race of a project: its recipes on its rows, measured on validation rows."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from shipworthy.data.tokens import encode_cached
from shipworthy.model.pretrained import load_tokenizer
from shipworthy.train.race import race, recipes_of, run_in_process, trials
from shipworthy.train.selection import select

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import polars as pl

    from shipworthy.release.project import Project


def run_race(
    project: Project,
    model: Path,
    split: Mapping[str, pl.DataFrame],
    *,
    classes: tuple[str, ...],
    work: Path,
    cache: Path,
) -> dict[str, Any]:
    """Race the recipes of a project and return the result as JSON values.

    split: rows of train, calibration and validation. work: folder of finished trainings; cache: of
    tokenised texts. Raises SettingsError where a recipe can't be.
    """
    settings, columns = project.train, project.data
    assert settings.race is not None
    recipes = recipes_of(settings)
    work.mkdir(parents=True, exist_ok=True)
    files = {name: str(work / f"{name}.parquet") for name in split}
    for name, frame in split.items():
        frame.write_parquet(files[name])
    tokens = settings.race.tokens
    if tokens is None:
        chosen = select(split["train"], settings.rows, unit=columns.unit, seed=project.seed)
        found = encode_cached(
            load_tokenizer(model), chosen[columns.text].to_list(),
            max_length=settings.max_length, cache=cache,
        )  # fmt: skip
        tokens = found.tokens * settings.epochs
    given = {
        "model_folder": str(model),
        "rows": files["train"],
        "calibration": files["calibration"],
        "validation": files["validation"],
        "text": columns.text,
        "label": columns.label,
        "classes": list(classes),
        "unit": columns.unit,
        "cache": str(cache),
    }
    units = None
    if columns.unit is not None:
        names = split["validation"][columns.unit]
        units = (names.rank("dense") - 1).cast(int).to_numpy().astype(np.int64)
    asked = trials(recipes, seed=project.seed, seeds=settings.race.seeds, tokens=tokens)
    result = race(asked, partial(run_in_process, given=given), work=work, units=units)
    return asdict(result)
