"""What the stages of a run made: the parent, its candidates, and the rows that they stand on."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any

from shipworthy.core.device import device_flags
from shipworthy.core.records import Candidate

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import polars as pl

    from shipworthy.core.stages import Stage

ROWS = "rows.parquet"
CLASSES = "classes.json"
MODEL = "model"
SPLIT_COLUMN = "__split__"
"""Column of a row's split in the file of rows."""


@dataclass(frozen=True)
class Made:
    """An artefact that exists: what it is and where it lies."""

    candidate: Candidate
    folder: Path
    stage: Stage


def made(
    stage: Stage,
    name: str,
    lever: str,
    *,
    parents: tuple[str, ...] = (),
    settings: Mapping[str, Any] | None = None,
    seed: int = 0,
) -> Made:
    """Return the candidate that a stage made."""
    from shipworthy.model.checkpoint import artefact_digest, read_info

    folder = stage.folder / MODEL
    candidate = Candidate(
        name=name,
        lever=lever,
        parents=parents,
        settings=dict(settings or {}),
        seed=seed,
        runtime=read_info(folder).runtime,
        artefact_digest=artefact_digest(folder),
        device_flags=device_flags(),
    )
    # Relative to the run, which is a record that may be moved.
    return Made(replace(candidate, folder=f"candidates/{candidate.id}"), folder, stage)


@cache
def part(data: Stage, split: str) -> pl.DataFrame:
    """Return the rows of a split from the stage that made them."""
    import polars as pl

    frame = pl.read_parquet(data.folder / ROWS)
    return frame.filter(pl.col(SPLIT_COLUMN) == split).drop(SPLIT_COLUMN)


def classes(data: Stage) -> tuple[str, ...]:
    """Return the classes from the stage that made the rows."""
    return tuple(json.loads((data.folder / CLASSES).read_text(encoding="utf-8")))
