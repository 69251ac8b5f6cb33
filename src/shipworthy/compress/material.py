"""What a lever may look at besides its parent: rows, and how the parent was trained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    import polars as pl

    from shipworthy.train.settings import TrainSettings


@dataclass(frozen=True, eq=False)
class Material:
    """Rows of a project, and what training needs to go on.

    train, calibration: frames with the columns `text` and `label`. groups: columns of protected or
    otherwise watched groups. training: the settings that the parent was trained with. work: folder
    in which a training keeps what it needs after a kill, apart for each recipe. cache: of tokenised
    texts. unit: column of the sampling unit, if any.
    """

    train: pl.DataFrame
    calibration: pl.DataFrame
    text: str
    label: str
    training: TrainSettings
    seed: int
    work: Path
    groups: tuple[str, ...] = ()
    unit: str | None = None
    cache: Path | None = None

    @property
    def tokens(self) -> Path:
        """Folder of tokenised texts: shared by all recipes where there is one."""
        return self.cache or self.work / "tokens"
