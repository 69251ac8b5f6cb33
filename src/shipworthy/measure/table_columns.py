"""Columns of a user's table as what a question needs: categories, answers, numbers.

Each gives one line with file, row and column where the table cannot answer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from shipworthy.core.errors import DataError, nearest
from shipworthy.core.locale import text
from shipworthy.data.sources import require_columns
from shipworthy.model.class_names import canonical, canonical_name, default_positive, in_order

if TYPE_CHECKING:
    from collections.abc import Sequence

    import polars as pl
    from numpy.typing import NDArray

    BoolArray: TypeAlias = NDArray[np.bool_]
    FloatArray: TypeAlias = NDArray[np.float64]

MOST_CATEGORIES = 60
"""Values of a column of categories; more are names or numbers, and every pair is compared."""

UNKNOWN = (
    "unknown", "not specified", "not provided", "not disclosed", "undisclosed", "not stated",
    "prefer not to say", "prefer not to answer", "decline to answer", "decline to state",
    "declined to answer", "declined to state", "declined to self-identify",
    "i don't wish to answer", "n/a",
)  # fmt: skip
"""Values, in lower case, that stand for an unknown category beside a missing one.

Not `na`: it is short for Native American as well."""


def named_values(
    frame: pl.DataFrame,
    column: str,
    unknown: Sequence[str] = (),
    file: str = "",
    *,
    complete: bool = False,
) -> tuple[list[str | None], tuple[str, ...]]:
    """Return the categories of a column, None where unknown, and the values taken for unknown.

    unknown: further values that stand for it; upper and lower case are one. complete: every value
    counts, and a missing one is an error.
    Raises DataError for an absent column and for more than `MOST_CATEGORIES` values.
    """
    require_columns(frame, [column], file)
    values = canonical(frame[column])
    if complete and values.null_count():
        raise _missing(file, int(values.is_null().arg_max() or 0), column)
    count = values.drop_nulls().n_unique()
    if count > MOST_CATEGORIES:
        raise DataError(
            text("error.standards.many_categories", count=f"{count:,}", most=MOST_CATEGORIES),
            file=file, column=column, fix=text("error.standards.many_categories.fix"),
        )  # fmt: skip
    told = set() if complete else {*UNKNOWN, *(u.strip().lower() for u in unknown)}
    found = values.to_list()
    taken = {v for v in found if v is not None and v.lower() in told}
    return [None if v in taken else v for v in found], tuple(sorted(taken))


def selected_rows(frame: pl.DataFrame, column: str, positive: str | None, file: str) -> BoolArray:
    """Return who was selected, shape (n,); positive: the value that says so.

    Raises DataError where an answer is missing, none of two values is known as the positive one,
    or the one that was named does not occur.
    """
    require_columns(frame, [column], file)
    values = canonical(frame[column])
    if values.null_count():
        raise _missing(file, int(values.is_null().arg_max() or 0), column)
    classes = in_order(values.unique().to_list())
    named = default_positive(classes) if positive is None else canonical_name(positive)
    if named is None and set(classes) <= {"0", "false", "no", "neg", "negative"}:
        return np.zeros(frame.height, dtype=bool)
    if named is None or (named not in classes and positive is not None):
        key = "positive" if named is None else "no_such_class"
        shown = ", ".join(classes[:10])
        raise DataError(
            text(f"error.standards.{key}", name=positive or "", classes=shown),
            file=file, column=column,
            fix=text("error.standards.positive.fix") if named is None else nearest(named, classes),
        )  # fmt: skip
    chosen: BoolArray = (values == named).to_numpy()
    return chosen


def finite(frame: pl.DataFrame, column: str, file: str) -> FloatArray:
    """Return the numbers of a column, shape (n,). Raises DataError where one is missing."""
    import polars as pl

    require_columns(frame, [column], file)
    values = frame[column].cast(pl.Float64, strict=False)
    wrong = (values.is_null() | ~values.is_finite().fill_null(False)).arg_true()
    if len(wrong):
        row = int(wrong[0])
        raise DataError(
            text("error.standards.no_number", value=frame[column][row]), file=file,
            row=row + 1, column=column, fix=text("error.standards.no_number.fix"),
        )  # fmt: skip
    numbers: FloatArray = values.to_numpy()
    return numbers


def _missing(file: str, row: int, column: str) -> DataError:
    return DataError(
        text("error.standards.missing"), file=file, row=row + 1, column=column,
        fix=text("error.standards.missing.fix"),
    )  # fmt: skip
