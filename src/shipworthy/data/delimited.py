"""CSV and TSV files into Polars: strict about rows, careful about types.

Every value is read as text first, so that a type never depends on the first hundred rows, an id
such as `007` keeps its zeros and an id of 20 digits all of them. A short or a long row is an error:
padded with nulls it would be a wrong row that looks right.
"""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING, Any

from shipworthy.core.errors import DataError
from shipworthy.core.locale import text
from shipworthy.core.locale.libraries import translated

if TYPE_CHECKING:
    from pathlib import Path

    import polars as pl

# A value longer than this is an error of the parser; a row must fit into one block.
BLOCK_BYTES = 32 << 20

_INTEGER = r"^\s*-?(0|[1-9][0-9]{0,17})\s*$"
_NUMBER = r"^\s*([+-]?(0|[1-9][0-9]*)?(\.[0-9]*)?([eE][+-]?[0-9]+)?|(?i:nan|[+-]?inf))\s*$"
_LONG_INTEGER = r"^\s*[+-]?[0-9]{16,}\s*$"
_BOOLEANS = {"true": True, "True": True, "TRUE": True}
_BOOLEANS |= {"false": False, "False": False, "FALSE": False}
_SAMPLE_ROWS = 1000


def read_text_columns(file: Path, separator: str) -> pl.DataFrame:
    """Return a delimited file with every column as text; an empty unquoted field is null.

    Raises DataError for an empty file, duplicate column names, a row with too few or too many
    fields, a quote that is never closed, bytes that are not UTF-8.
    """
    import polars as pl
    import pyarrow as pa
    from pyarrow import csv as arrow

    names = header(file, separator)
    options = {
        "parse_options": arrow.ParseOptions(delimiter=separator, newlines_in_values=True),
        "convert_options": arrow.ConvertOptions(
            column_types=dict.fromkeys(names, pa.large_string()),
            null_values=[""],
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
        ),
    }
    try:
        table = arrow.read_csv(
            file, read_options=arrow.ReadOptions(block_size=BLOCK_BYTES), **options
        )
    except pa.ArrowInvalid as error:
        raise why_broken(file, separator, error) from None
    frame = pl.DataFrame(pl.from_arrow(table)).rename(lambda name: name.strip())
    if frame.height and _unclosed(file, frame):
        raise DataError(
            text("error.delimited.open_quote"),
            file=file,
            row=frame.height,
            fix=text("error.delimited.open_quote.fix"),
        )
    return frame


def infer_types(frame: pl.DataFrame) -> pl.DataFrame:
    """Return the frame with text columns turned into booleans, integers or numbers.

    A column changes only where every value that is not null has the form; a leading zero or more
    than 18 digits keep it text.

    >>> import polars as pl
    >>> infer_types(pl.DataFrame({"a": ["1", "-2"], "b": ["01", "2"], "c": ["nan", "2"]})).dtypes
    [Int64, String, Float64]
    """
    return frame.with_columns(_infer(column) for column in frame.get_columns())


def _infer(column: pl.Series) -> pl.Series:
    import polars as pl

    def all_match(pattern: str) -> bool:
        values = column.drop_nulls()
        if values.is_empty():
            return False
        sample = values.head(_SAMPLE_ROWS)
        return bool(sample.str.contains(pattern).all() and values.str.contains(pattern).all())

    if column.dtype != pl.String:
        return column
    if all_match(_INTEGER):
        return column.str.strip_chars().cast(pl.Int64)
    if all_match(_NUMBER) and not column.str.contains(_LONG_INTEGER).any():
        numbers = column.str.strip_chars().cast(pl.Float64, strict=False)
        # The pattern lets "" and "." through.
        return column if numbers.null_count() > column.null_count() else numbers
    if all_match("^(" + "|".join(_BOOLEANS) + ")$"):
        return column.replace_strict(_BOOLEANS, return_dtype=pl.Boolean)
    return column


def header(file: Path, separator: str) -> list[str]:
    """Return the names of the columns as they stand in the file, spaces included.

    Raises DataError where there are none, one twice, or another separator.
    """
    try:
        with file.open(encoding="utf-8-sig", newline="") as lines:
            names = next((row for row in csv.reader(lines, delimiter=separator) if row), [])
    except UnicodeDecodeError:
        raise not_utf8(file) from None
    except csv.Error as error:
        raise DataError(
            text("error.delimited.header", error=translated(str(error))), file=file
        ) from None
    if not names:
        raise DataError(text("error.table.empty"), file=file, fix=text("error.delimited.empty.fix"))
    stripped = [name.strip() for name in names]
    for name in stripped:
        if stripped.count(name) > 1:
            raise DataError(
                text("error.delimited.repeated_name", columns=stripped.count(name)),
                file=file,
                column=name,
                fix=text("error.delimited.repeated_name.fix"),
            )
    if len(names) == 1 and separator == "," and any(mark in names[0] for mark in ";\t|"):
        raise DataError(
            text("error.delimited.one_column", column=names[0]),
            file=file,
            fix=text("error.delimited.one_column.fix"),
        )
    return names


def why_broken(file: Path, separator: str, error: Exception) -> DataError:
    """Find the row or line that made the parser give up; it reads in parallel and can't tell."""
    from pyarrow import ArrowInvalid
    from pyarrow import csv as arrow

    if "UTF8" in str(error):
        return not_utf8(file)
    wrong: list[Any] = []

    def first(row: Any) -> str:
        wrong.append(row)
        return "error"

    try:
        arrow.read_csv(
            file,
            read_options=arrow.ReadOptions(block_size=BLOCK_BYTES, use_threads=False),
            parse_options=arrow.ParseOptions(
                delimiter=separator, newlines_in_values=True, invalid_row_handler=first
            ),
        )
    except (ArrowInvalid, UnicodeDecodeError):
        if wrong:
            # The parser counts the header as row 1.
            return DataError(
                text(
                    "error.delimited.fields",
                    found=wrong[0].actual_columns,
                    expected=wrong[0].expected_columns,
                ),
                file=file,
                row=wrong[0].number - 1,
                fix=text("error.delimited.fields.fix"),
            )
    return DataError(translated(str(error).splitlines()[0]), file=file)


def not_utf8(file: Path) -> DataError:
    """Return the error for a file that is not UTF-8, with the first line that is not."""
    fix = text("error.delimited.not_utf8.fix")
    with file.open("rb") as content:
        if content.read(2) in (b"\xff\xfe", b"\xfe\xff"):
            return DataError(text("error.delimited.utf16"), file=file, fix=fix)
        content.seek(0)
        for number, line in enumerate(content, start=1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError as error:
                byte = line[error.start]
                problem = text("error.delimited.line_not_utf8", number=number, byte=byte)
                return DataError(problem, file=file, fix=fix)
    return DataError(text("error.delimited.not_utf8"), file=file, fix=fix)


def _unclosed(file: Path, frame: pl.DataFrame) -> bool:
    """Whether the last value runs over a line break without a closing quote at the file's end."""
    last = frame[-1, -1]
    if last is None or "\n" not in last:
        return False
    with file.open("rb") as content:
        content.seek(max(0, file.stat().st_size - 4))
        return not content.read().rstrip(b"\r\n").endswith(b'"')
