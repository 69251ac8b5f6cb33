"""A finished run, read back from its folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from shipworthy.core.records import Answer, Candidate
from shipworthy.release.judgement import Judgement
from shipworthy.release.record import read_record

if TYPE_CHECKING:
    import polars as pl


@dataclass(frozen=True)
class Run:
    """A run folder: `judgement` is all of it, the properties are what one asks for most."""

    folder: Path
    judgement: Judgement

    @property
    def measurements(self) -> pl.DataFrame:
        """Every number about a candidate, columns of `Measurement`."""
        return self.judgement.measurements

    @property
    def decisions(self) -> pl.DataFrame:
        """What each limit made of them, columns of `Decision`."""
        return self.judgement.table

    @property
    def candidates(self) -> tuple[Candidate, ...]:
        """The candidates, without the parent."""
        return self.judgement.candidates

    @property
    def verdict(self) -> Answer:
        """Ship, hold or undecided."""
        return self.judgement.answer


def load_run(path: Path | str) -> Run:
    """Read a run from its folder (or a file in it).

    Raises InputError where there is no finished run.
    """
    folder = Path(path)
    folder = folder.parent if folder.is_file() else folder
    return Run(folder, read_record(folder))
