"""JSON Lines files into Polars: one object a line."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from shipworthy.core.errors import DataError
from shipworthy.core.locale import text
from shipworthy.core.locale.libraries import translated
from shipworthy.data.delimited import not_utf8

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import polars as pl


def read_json_lines(file: Path) -> pl.DataFrame:
    """Return a JSON Lines file; a key that a row lacks is null there.

    Python's `NaN` and `Infinity` are read, although they are no JSON, since that is how Python
    writes them. Rows are lines that are not blank.
    Raises DataError naming the row that is no object, is broken or repeats a key.
    """
    import polars as pl
    from polars.exceptions import PolarsError

    if file.stat().st_size == 0:
        raise DataError(
            text("error.table.empty"), file=file, fix=text("error.json_lines.empty.fix")
        )
    try:
        return pl.read_ndjson(file, infer_schema_length=None)
    except PolarsError:
        # The fast reader names no row and knows no NaN; this one does both.
        return _read_slowly(file)


def _read_slowly(file: Path) -> pl.DataFrame:
    import polars as pl
    from polars.exceptions import PolarsError

    try:
        with file.open(encoding="utf-8-sig", newline="\n") as lines:
            rows = [
                _row(file, number, line)
                for number, line in enumerate((x for x in lines if x.strip()), start=1)
            ]
    except UnicodeDecodeError:
        raise not_utf8(file) from None
    names = dict.fromkeys(name for row in rows for name in row)
    columns = {}
    for name in names:
        values = [row.get(name) for row in rows]
        try:
            columns[name] = pl.Series(name, values, strict=True)
        except (PolarsError, TypeError):
            columns[name] = pl.Series(name, _one_type(file, name, values))
    return pl.DataFrame(columns)


def parse_object(
    file: Path,
    number: int,
    line: str | bytes,
    *,
    pairs: Callable[[list[tuple[str, Any]]], dict[str, Any]] | None = None,
) -> dict[str, Any]:
    """Return the object on a line. number: of its row, for messages; pairs: see `json.loads`.

    Raises DataError naming the row where the line is broken or no object, and the line of the file
    that is not UTF-8.
    """
    try:
        found = json.loads(line, object_pairs_hook=pairs)
    except json.JSONDecodeError as error:
        raise DataError(
            text("error.json_lines.broken", position=error.pos + 1, message=translated(error.msg)),
            file=file,
            row=number,
            fix=text("error.json_lines.broken.fix"),
        ) from None
    except UnicodeDecodeError:
        raise not_utf8(file) from None
    if not isinstance(found, dict):
        raise DataError(
            text("error.json_lines.no_object", kind=type(found).__name__),
            file=file,
            row=number,
            fix=text("error.json_lines.no_object.fix"),
        )
    return found


def _row(file: Path, number: int, line: str) -> dict[str, Any]:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        row = dict(pairs)
        if len(row) < len(pairs):
            names = [name for name, _ in pairs]
            name = next(name for name in names if names.count(name) > 1)
            raise DataError(
                text("error.json_lines.repeated_key"), file=file, row=number, column=name
            )
        return row

    return parse_object(file, number, line, pairs=unique)


def _one_type(file: Path, name: str, values: list[Any]) -> list[Any]:
    """Make numbers of integers, floats and booleans; refuse what has no common type."""
    for number, value in enumerate(values, start=1):
        if value is not None and not isinstance(value, bool | int | float):
            raise DataError(
                text("error.json_lines.other_type", value=str(value)[:40]),
                file=file,
                row=number,
                column=name,
                fix=text("error.json_lines.other_type.fix"),
            )
    return [None if value is None else float(value) for value in values]
