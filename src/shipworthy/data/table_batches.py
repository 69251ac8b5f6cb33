"""Some columns of a table of any size, a part at a time.

Parquet and CSV are read in parts, so that memory does not grow with the file; other kinds are read
whole. Values of CSV files come as text: what they stand for is up to whoever reads them.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from shipworthy.core.errors import DataError, nearest
from shipworthy.core.locale import text
from shipworthy.core.locale.libraries import translated
from shipworthy.data.sources import read_table, source_files

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pyarrow as pa

BATCH_ROWS = 1 << 18
_BLOCK_BYTES = 8 << 20
_BUFFER_BYTES = 1 << 20


def table_batches(
    source: Path | str, columns: Sequence[str], *, batch_rows: int = BATCH_ROWS
) -> Iterator[pa.Table]:
    """Yield the columns of a file, glob, folder or builtin as Arrow tables of many rows.

    columns: in any order, each once. Raises DataError where a file is absent, empty or broken, and
    where a column is not there (with the nearest that is).
    """
    wanted = list(dict.fromkeys(columns))
    if str(source).startswith("builtin:"):
        yield _chosen(read_table(source).to_arrow(), wanted, source)
        return
    for file in source_files(source):
        kind = file.suffix.lower()
        if file.stat().st_size == 0:
            raise DataError(
                text("error.table.empty"), file=file, fix=text("error.sources.empty.fix")
            )
        if kind == ".parquet" and not Path(source).is_dir():
            yield from _parquet(file, wanted, batch_rows)
        elif kind in (".csv", ".tsv"):
            yield from _delimited(file, wanted, "\t" if kind == ".tsv" else ",")
        else:
            yield _chosen(read_table(file).to_arrow(), wanted, file)


def known_rows(source: Path | str) -> int | None:
    """Rows of a Parquet file or glob, from its footers; None where only reading would tell."""
    from pyarrow import ArrowException, parquet

    if str(source).startswith("builtin:") or Path(source).is_dir():
        return None
    files = source_files(source)
    if any(file.suffix.lower() != ".parquet" for file in files):
        return None
    try:
        return sum(int(parquet.read_metadata(file).num_rows) for file in files)
    except (ArrowException, OSError):
        return None


def ahead(parts: Iterator[pa.Table]) -> Iterator[pa.Table]:
    """Yield the same parts, the next one being read while one is worked on."""
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as reader:
        coming = reader.submit(next, parts, None)
        while (part := coming.result()) is not None:
            coming = reader.submit(next, parts, None)
            yield part


def _parquet(file: Path, wanted: list[str], batch_rows: int) -> Iterator[pa.Table]:
    import pyarrow as pa
    from pyarrow import parquet

    try:
        opened = parquet.ParquetFile(file)
        schema = opened.schema_arrow
        _check(schema.names, wanted, file)
        words = [n for n in wanted if _is_text(schema.field(n).type)]
        opened = parquet.ParquetFile(file, buffer_size=_BUFFER_BYTES, read_dictionary=words)
        for batch in opened.iter_batches(batch_size=batch_rows, columns=wanted):
            yield pa.Table.from_batches([batch])
    except (pa.ArrowException, OSError) as error:
        raise _unreadable(file, error) from None


def _delimited(file: Path, wanted: list[str], separator: str) -> Iterator[pa.Table]:
    import pyarrow as pa
    from pyarrow import csv

    from shipworthy.data.delimited import header, why_broken

    names = header(file, separator)
    by_name = {name.strip(): name for name in names}
    _check(list(by_name), wanted, file)
    try:
        reader = csv.open_csv(
            file,
            read_options=csv.ReadOptions(block_size=_BLOCK_BYTES),
            parse_options=csv.ParseOptions(delimiter=separator, newlines_in_values=True),
            convert_options=csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.large_string()),
                include_columns=[by_name[name] for name in wanted],
                null_values=[""],
                strings_can_be_null=True,
                quoted_strings_can_be_null=False,
            ),
        )
        for batch in reader:
            yield pa.Table.from_batches([batch]).rename_columns(wanted)
    except pa.ArrowInvalid as error:
        raise why_broken(file, separator, error) from None


def _chosen(table: pa.Table, wanted: list[str], file: Path | str) -> pa.Table:
    _check(table.column_names, wanted, file)
    return table.select(wanted)


def _check(names: Sequence[str], wanted: Sequence[str], file: Path | str) -> None:
    for name in wanted:
        if name not in names:
            raise DataError(
                text("error.table.no_column"), file=file, column=name, fix=nearest(name, names)
            )


def _is_text(kind: Any) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _unreadable(file: Path, error: Exception) -> DataError:
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    problem = text("error.sources.unreadable", kind=file.suffix, reason=translated(reason))
    return DataError(problem, file=file)
