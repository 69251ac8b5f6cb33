"""A finished run, read back from its folder, as it counts now."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from shipworthy.core.records import Answer, Candidate
from shipworthy.release.approvals import approved, open_place
from shipworthy.release.judgement import Judgement

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

    What it rests on may have ended since: then it ships no more than `report` says.
    Raises InputError where there is no finished run.
    """
    place = open_place(path)
    return Run(place.folder, approved(place))
