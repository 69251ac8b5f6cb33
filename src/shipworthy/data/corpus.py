"""One column of a source as text, part by part: corpora may be larger than the memory.

`sources.read_table` holds all rows and looks at them together; this holds a few at a time and looks
at one column alone, as it stands in the file: nothing is inferred from all of its values.
"""

from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING, Any

from shipworthy.core.errors import DataError, nearest
from shipworthy.core.locale import text
from shipworthy.core.locale.libraries import translated
from shipworthy.data.json_lines import parse_object
from shipworthy.data.sources import read_table, require_columns, source_files

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import polars as pl

# Bytes of a file that are read at once; a longer line is read whole.
BLOCK_BYTES = 8 << 20
# Rows of a Parquet file that are read at once: they can be long.
BATCH_ROWS = 512


def read_texts(source: str | Path, column: str, *, root: Path | None = None) -> Iterator[pl.Series]:
    """Yield the texts of a column of a source, in order, in parts.

    source, root: as of `sources.read_table`. A value that is missing is null.
    Raises DataError where a file is absent, empty, broken or has no such column.
    """
    if str(source).startswith("builtin:"):
        frame = read_table(source)
        require_columns(frame, [column], source)
        yield frame[column]
        return
    for file in source_files(source, root=root):
        yield from _read(file, column)


def _read(file: Path, column: str) -> Iterator[pl.Series]:
    import polars as pl
    from polars.exceptions import PolarsError
    from pyarrow import ArrowException

    if file.stat().st_size == 0:
        raise DataError(text("error.table.empty"), file=file, fix=text("error.sources.empty.fix"))
    kind = file.suffix.lower()
    readers = {".parquet": _parquet, ".arrow": _arrow, ".csv": _delimited, ".tsv": _delimited}
    try:
        for part in readers.get(kind, _json_lines)(file, column):
            yield part if part.dtype == pl.String else part.cast(pl.String)
    except (PolarsError, ArrowException, OSError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(
            text("error.sources.unreadable", kind=kind, reason=translated(reason)), file=file
        ) from None


def _parquet(file: Path, column: str) -> Iterator[pl.Series]:
    from pyarrow import parquet

    # Without a buffer size a whole column of a row group is read at once.
    with parquet.ParquetFile(file, buffer_size=1 << 20, pre_buffer=False) as content:
        _require(column, content.schema_arrow.names, file)
        for batch in content.iter_batches(batch_size=BATCH_ROWS, columns=[column]):
            yield _series(batch.column(0))


def _arrow(file: Path, column: str) -> Iterator[pl.Series]:
    from pyarrow import ipc

    with ipc.open_stream(file) as reader:
        _require(column, reader.schema.names, file)
        for batch in reader:
            yield _series(batch.column(column))


def _delimited(file: Path, column: str) -> Iterator[pl.Series]:
    import pyarrow as pa
    from pyarrow import csv as arrow

    from shipworthy.data.delimited import BLOCK_BYTES as MOST_OF_A_ROW
    from shipworthy.data.delimited import not_utf8, read_text_columns

    separator = "\t" if file.suffix.lower() == ".tsv" else ","
    try:
        with file.open(encoding="utf-8-sig", newline="") as lines:
            names = next((row for row in csv.reader(lines, delimiter=separator) if row), [])
    except UnicodeDecodeError:
        raise not_utf8(file) from None
    _require(column, [name.strip() for name in names], file)
    name = next(name for name in names if name.strip() == column)
    try:
        with arrow.open_csv(
            file,
            read_options=arrow.ReadOptions(block_size=MOST_OF_A_ROW, use_threads=False),
            parse_options=arrow.ParseOptions(delimiter=separator, newlines_in_values=True),
            convert_options=arrow.ConvertOptions(
                include_columns=[name],
                column_types={name: pa.large_string()},
                null_values=[""],
                strings_can_be_null=True,
                quoted_strings_can_be_null=False,
            ),
        ) as reader:
            for batch in reader:
                yield _series(batch.column(0))
    except pa.ArrowInvalid:
        # It reads the file once more and says which row it is.
        read_text_columns(file, separator)
        raise


def _json_lines(file: Path, column: str) -> Iterator[pl.Series]:
    import polars as pl

    known, first, row = False, b"", 1
    for block in _lines(file):
        values = _values(file, block, column, row)
        row += len(values)
        known |= values.null_count() < len(values)
        first = first or next((x for x in block[: 1 << 20].splitlines() if x.strip()), b"")
        del block
        yield values
    if not known and first:
        # All are null: either so they stand there, or no row has such a key.
        try:
            _require(column, pl.read_ndjson(io.BytesIO(first)).columns, file)
        except pl.exceptions.PolarsError:
            return


def _lines(file: Path) -> Iterator[bytes]:
    """Yield whole lines, about a block together."""
    waiting: list[bytes] = []
    with file.open("rb") as content:
        while block := content.read(BLOCK_BYTES):
            end = block.rfind(b"\n") + 1
            if not end:
                waiting.append(block)
                continue
            waiting.append(block[:end])
            whole = [b"".join(waiting)]
            waiting = [block[end:]]
            # Handed over, not kept: a line of gigabytes should be there once.
            yield whole.pop()
    if rest := b"".join(waiting):
        yield rest


def _values(file: Path, block: bytes, column: str, row: int) -> pl.Series:
    """Return the values of a key in some lines; row: number of the first."""
    import polars as pl

    # The fast reader holds a long line several times, and knows no NaN.
    if len(block) <= 2 * BLOCK_BYTES:
        try:
            frame = pl.read_ndjson(io.BytesIO(block), schema={column: pl.String})
            return frame[column]
        except pl.exceptions.PolarsError:
            pass
    values: list[str | None] = []
    start = 0
    while start < len(block):
        end = block.find(b"\n", start) + 1 or len(block)
        line = block[start:end]
        if not line.isspace():
            values.append(_value(file, line, column, row + len(values)))
        start = end
    return pl.Series(column, values, dtype=pl.String)


def _value(file: Path, line: bytes, column: str, row: int) -> str | None:
    value = parse_object(file, row, line).get(column)
    return value if value is None or isinstance(value, str) else json.dumps(value)


def _series(column: Any) -> pl.Series:
    import polars as pl

    return pl.Series(pl.from_arrow(column))


def _require(column: str, names: list[str], file: Path) -> None:
    if column not in names:
        fix = nearest(column, names)
        raise DataError(text("error.table.no_column"), file=file, column=column, fix=fix)
