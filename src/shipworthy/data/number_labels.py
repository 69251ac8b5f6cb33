"""Labels that are numbers: finite, none missing, not all the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shipworthy.core.errors import DataError
from shipworthy.core.locale import text

if TYPE_CHECKING:
    import polars as pl


def number_labels(values: pl.Series, source: str) -> pl.Series:
    """Return labels as 64-bit floats.

    Raises DataError naming file, row and column for a label that is missing, no number or infinite,
    and where all are equal.
    """
    import polars as pl

    if values.dtype == pl.String:
        numbers = values.str.strip_chars().cast(pl.Float64, strict=False)
    elif values.dtype.is_numeric():
        numbers = values.cast(pl.Float64)
    else:
        raise DataError(
            text("error.number_labels.kind", kind=values.dtype), file=source, column=values.name,
            fix=text("error.number_labels.kind.fix"),
        )  # fmt: skip
    finite = numbers.is_finite().fill_null(False)
    broken = (~finite).arg_true()
    if len(broken):
        row = int(broken[0])
        value = values[row]
        missing = value is None or str(value).strip() in ("", "nan")
        key = "error.rows.label_missing" if missing else "error.number_labels.no_number"
        raise DataError(
            text(key, value=value), file=source, row=row + 1, column=values.name,
            fix=text("error.rows.missing.fix", missing=len(broken), rows=len(values)),
        )  # fmt: skip
    if numbers.n_unique() < 2:
        raise DataError(
            text("error.number_labels.one", value=numbers[0]), file=source, column=values.name,
            fix=text("error.number_labels.one.fix"),
        )  # fmt: skip
    return numbers.alias(values.name)
