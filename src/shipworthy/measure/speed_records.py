"""What timing left behind: one row a process, candidate and quantity; and the file it grows in."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shipworthy.core.errors import DataError
from shipworthy.core.files import write_atomically
from shipworthy.core.locale import text
from shipworthy.core.locale.libraries import translated

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import polars as pl

LOAD_SECONDS = "load_seconds"
"""Recorded beside the measures but none of them: the processes of a round load at once."""


@dataclass(frozen=True)
class SpeedRecords:
    """Figures of every timed process.

    frame: candidate, measure, value; round (from 0) and position (order within it); requests (timed
    ones), dropped (warm-up), settled (whether warm-up ended); form, threads, seed, artefact_digest
    and device_flags.
    """

    frame: pl.DataFrame

    @property
    def candidates(self) -> tuple[str, ...]:
        """Names of those that were timed, sorted."""
        return tuple(self.frame["candidate"].unique().sort().to_list())

    def values(self, candidate: str, measure: str) -> dict[int, float]:
        """Return the value of each round's process."""
        import polars as pl

        rows = self.frame.filter(
            (pl.col("candidate") == candidate) & (pl.col("measure") == measure)
        ).sort("round")
        return dict(zip(rows["round"].to_list(), rows["value"].to_list(), strict=True))

    def said(self, candidate: str, column: str) -> Any:
        """Return what a column that is the same for all processes says of a candidate."""
        import polars as pl

        rows = self.frame.filter(pl.col("candidate") == candidate)
        return rows[column][0] if rows.height else None

    def unsettled(self, candidate: str) -> int:
        """Return how many processes never left warm-up; their last requests stand for them."""
        import polars as pl

        own = self.frame.filter((pl.col("candidate") == candidate) & ~pl.col("settled"))
        return int(own["round"].n_unique())

    def save(self, path: Path | str) -> None:
        """Write the records as a Parquet file."""
        content = BytesIO()
        self.frame.write_parquet(content)
        write_atomically(path, content.getvalue())

    @classmethod
    def load(cls, path: Path | str) -> SpeedRecords:
        """Read records back; raises DataError where the file does not hold them."""
        import polars as pl

        try:
            frame = pl.read_parquet(path)
        except (OSError, pl.exceptions.PolarsError) as error:
            raise DataError(
                text("error.speed_records.unreadable", error=translated(str(error))), file=path
            ) from error
        expected = _schema()
        for name, kind in expected.items():
            if frame.schema.get(name) != kind:
                raise DataError(
                    text("error.speed_records.none"),
                    file=path,
                    column=name,
                    fix=text("error.speed_records.none.fix"),
                )
        return cls(frame.select(list(expected)))

    @classmethod
    def of(cls, rows: Iterable[Mapping[str, Any]]) -> SpeedRecords:
        """Make records of rows with all columns."""
        import polars as pl

        return cls(pl.DataFrame(list(rows), schema=_schema()))


class WorkFile:
    """Rounds that are finished, line by line, so that a killed measurement goes on after them.

    key: what the figures depend on (settings, texts, artefacts, machine). A file of another key is
    started anew. path None keeps rounds in memory only.
    """

    def __init__(self, path: Path | None, key: str) -> None:
        self.path = path
        self.rounds: dict[int, list[dict[str, Any]]] = {}
        if path is None:
            return
        head = json.dumps({"key": key})
        lines = _whole_lines(path)
        if lines and lines[0] == head:
            for line in lines[1:]:
                kept = json.loads(line)
                self.rounds[kept["round"]] = kept["rows"]
        else:
            lines = [head]
        # Written anew in any case: a line that a kill cut short must not meet the next one.
        write_atomically(path, "".join(f"{line}\n" for line in lines))

    def add(self, number: int, rows: list[dict[str, Any]]) -> None:
        """Keep a finished round."""
        self.rounds[number] = rows
        if self.path is not None:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"round": number, "rows": rows}) + "\n")
                file.flush()
                os.fsync(file.fileno())

    def remove(self) -> None:
        """Delete the file; the rounds stay in memory."""
        if self.path is not None:
            self.path.unlink(missing_ok=True)


def _whole_lines(path: Path) -> list[str]:
    try:
        content = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return []
    return content.split("\n")[:-1]


def _schema() -> dict[str, Any]:
    import polars as pl

    return {
        "candidate": pl.String, "measure": pl.String, "value": pl.Float64, "round": pl.Int64,
        "position": pl.Int64, "requests": pl.Int64, "dropped": pl.Int64, "settled": pl.Boolean,
        "form": pl.String, "threads": pl.Int64, "seed": pl.Int64, "artefact_digest": pl.String,
        "device_flags": pl.String,
    }  # fmt: skip
