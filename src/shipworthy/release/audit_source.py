"""What an audit reads: a frame in memory or a file of any size, as parts of some columns."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from shipworthy.core.errors import DataError, InputError, nearest
from shipworthy.core.locale import text
from shipworthy.measure.tally import MOST_LEVELS
from shipworthy.measure.tally_columns import Levels

if TYPE_CHECKING:
    import polars as pl
    import pyarrow as pa

LONG_ROWS = 2_000_000
LONG_BYTES = 64 << 20
"""Size of a table above which its progress is told."""


@dataclass(frozen=True)
class Table:
    """A table by name; rows: their number where it is known without reading.

    parts: yields Arrow tables of the columns that it is given. long: worth telling progress of.
    """

    name: str
    rows: int | None
    long: bool
    parts: Callable[[Sequence[str]], Iterator[pa.Table]]


def table_of(source: Any) -> Table:
    """Return a file, frame or mapping of columns as a table.

    Raises InputError for anything else, DataError for a file that is not there.
    """
    if isinstance(source, Path | str):
        from shipworthy.data.table_batches import ahead, known_rows, table_batches

        rows, path = known_rows(source), Path(source)
        size = path.stat().st_size if path.is_file() else 0
        long = rows > LONG_ROWS if rows is not None else not path.is_file() or size > LONG_BYTES
        return Table(str(source), rows, long, lambda names: ahead(table_batches(source, names)))
    frame = _frame(source)
    return Table("frame", frame.height, False, lambda names: _parts(frame, names))


def _frame(source: Any) -> pl.DataFrame:
    import polars as pl

    if isinstance(source, pl.DataFrame):
        return source
    if isinstance(source, pl.LazyFrame):
        return source.collect()
    if isinstance(source, Mapping):
        return pl.DataFrame(dict(source), strict=False)
    if type(source).__module__.partition(".")[0] == "pandas" and hasattr(source, "columns"):
        return pl.from_pandas(source)
    raise InputError(text("error.audit.source", kind=type(source).__name__))


def _parts(frame: pl.DataFrame, names: Sequence[str]) -> Iterator[pa.Table]:
    import polars as pl

    for name in names:
        if name not in frame.columns:
            raise DataError(
                text("error.table.no_column"), file="frame", column=name,
                fix=nearest(name, frame.columns),
            )  # fmt: skip
    chosen = frame.select(list(names)).with_columns(pl.col(pl.Categorical, pl.Enum).cast(pl.String))
    if chosen.height:
        yield chosen.to_arrow()


def kept_values(table: Table, columns: Sequence[str], top: int) -> dict[str, frozenset[str | None]]:
    """Return the most frequent values of each group column; of equally frequent ones the first."""
    levels = {c: Levels(c, table.name, most=MOST_LEVELS) for c in columns}
    counts = {c: np.zeros(0) for c in columns}
    for part in table.parts(columns):
        for column, one in levels.items():
            more = np.bincount(one.codes(part[column]), minlength=len(one)).astype(np.float64)
            counts[column] = more + np.pad(counts[column], (0, len(more) - len(counts[column])))
    found = {}
    for column, one in levels.items():
        names = list(one.names)
        order = sorted(range(len(names)), key=lambda k: (-counts[column][k], str(names[k])))
        found[column] = frozenset(names[k] for k in order[:top])
    return found
