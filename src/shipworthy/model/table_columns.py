"""How the columns of a table become numbers: fitted on the rows to train on, kept in `table.json`.

    number     missing: the median, and a column that says so where training rows lacked any;
               then less the mean, over the standard deviation
    category   one column for each value seen often enough, one for all others (rare ones, and those
               that were never seen), one for missing

Trees take both as they are: numbers with gaps, categories as codes, and find their own way around
what is missing. The file lies in the model's folder and belongs to its digest.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from shipworthy.core.errors import DataError, ModelError, nearest
from shipworthy.core.files import write_atomically
from shipworthy.core.locale import text
from shipworthy.core.locale.libraries import translated
from shipworthy.model.checkpoint import TABLE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import polars as pl
    from numpy.typing import NDArray

    FloatArray: TypeAlias = NDArray[np.float64]

LEAST_SEEN = 10
"""Rows to train on that a category needs for a column of its own."""

MOST_LEVELS = 200
"""Categories of a column that get one; of more, those seen most."""

FURTHEST = 1e6
"""Standard deviations from the mean beyond which a number counts as this far off."""

MISSING, OTHER = 0, 1
"""Codes of a category that is missing, and of one that has no column of its own."""


@dataclass(frozen=True)
class Number:
    """A column of numbers. median, mean and deviation (above 0): of the rows to train on."""

    name: str
    median: float
    mean: float
    deviation: float
    had_missing: bool


@dataclass(frozen=True)
class Category:
    """A column of names. levels: those with a code of their own, from 2 on, sorted."""

    name: str
    levels: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Columns:
    """Rows, column by column. values: numbers, NaN where missing; codes: of the categories."""

    rows: int
    values: Sequence[FloatArray]
    codes: Sequence[NDArray[np.int64]]


@dataclass(frozen=True)
class Preparation:
    """All columns, and what the label of a regression is scaled by.

    center, spread: of the label, for a network that learns it; else 0 and 1.
    """

    numbers: tuple[Number, ...]
    categories: tuple[Category, ...]
    center: float = 0.0
    spread: float = 1.0

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the columns that a row must have."""
        return (*(n.name for n in self.numbers), *(c.name for c in self.categories))

    @property
    def width(self) -> int:
        """Columns of `matrix`."""
        gaps = sum(number.had_missing for number in self.numbers)
        return len(self.numbers) + gaps + sum(len(c.levels) + 2 for c in self.categories)

    def matrix(self, columns: Columns) -> NDArray[np.float32]:
        """Return rows as numbers without gaps, shape (n, width)."""
        found = np.zeros((columns.rows, self.width), dtype=np.float32)
        place = 0
        for number, column in zip(self.numbers, columns.values, strict=True):
            gap = np.isnan(column)
            scaled = (np.where(gap, number.median, column) - number.mean) / number.deviation
            found[:, place] = np.clip(scaled, -FURTHEST, FURTHEST)
            place += 1
            if number.had_missing:
                found[:, place] = gap
                place += 1
        each = np.arange(columns.rows)
        for category, code in zip(self.categories, columns.codes, strict=True):
            found[each, place + code] = 1.0
            place += len(category.levels) + 2
        return found

    def codes(self, columns: Columns) -> FloatArray:
        """Return rows as trees take them, shape (n, columns): gaps are NaN, categories codes."""
        named = [np.where(code == MISSING, np.nan, code - OTHER) for code in columns.codes]
        return np.column_stack([*columns.values, *named]).astype(np.float64)

    def of_frame(self, rows: pl.DataFrame) -> Columns:
        """Return the columns of a frame.

        Raises DataError naming row and column for a column that is absent, a text that is no number
        and an infinite number.
        """
        import polars as pl

        for name in self.names:
            if name not in rows.columns:
                raise DataError(
                    text("error.table.no_column"), column=name, fix=nearest(name, rows.columns)
                )
        values = [_as_numbers(rows[number.name]) for number in self.numbers]
        codes = []
        for category, known in zip(self.categories, self._known, strict=True):
            named = rows[category.name].cast(pl.String).str.strip_chars()
            named = named.set(named == "", None)
            code = named.replace_strict(known, default=OTHER, return_dtype=pl.Int64)
            codes.append(code.set(named.is_null(), MISSING).to_numpy())
        return Columns(rows.height, values, codes)

    def of_records(self, rows: Sequence[Mapping[str, Any]]) -> Columns:
        """Return the columns of a few rows, each a mapping of names to values; see `of_frame`."""
        try:
            values = [
                np.array([_as_number(row[n.name], place, n.name) for place, row in enumerate(rows)])
                for n in self.numbers
            ]
            codes = [
                np.array([_code(row[c.name], known) for row in rows], dtype=np.int64)
                for c, known in zip(self.categories, self._known, strict=True)
            ]
        except KeyError as error:
            name = str(error.args[0])
            place = next(k for k, row in enumerate(rows) if name not in row)
            problem = text("error.table.no_column")
            raise DataError(problem, row=place + 1, column=name) from error
        return Columns(len(rows), values, codes)

    @cached_property
    def _known(self) -> list[dict[str, int]]:
        """Codes of the levels of each category."""
        return [{name: k + 2 for k, name in enumerate(c.levels)} for c in self.categories]

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return asdict(self)


def prepare(rows: pl.DataFrame, numbers: Sequence[str], categories: Sequence[str]) -> Preparation:
    """Return how columns become numbers, from the rows to train on."""
    return Preparation(
        tuple(_number(rows[name]) for name in numbers),
        tuple(_category(rows[name]) for name in categories),
    )


def write_table(folder: Path, preparation: Preparation) -> None:
    """Write `table.json`."""
    told = json.dumps(preparation.to_dict(), indent=1, ensure_ascii=False)
    write_atomically(folder / TABLE, told + "\n")


def read_table(folder: Path | str) -> Preparation:
    """Read `table.json`; raises ModelError where it is absent or damaged."""
    file = Path(folder) / TABLE
    if not file.is_file():
        raise ModelError(text("error.checkpoint.absent", file=TABLE), folder=folder)
    try:
        told = json.loads(file.read_text(encoding="utf-8"))
        return Preparation(
            tuple(Number(**one) for one in told["numbers"]),
            tuple(Category(one["name"], tuple(one["levels"])) for one in told["categories"]),
            float(told["center"]),
            float(told["spread"]),
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(
            text("error.checkpoint.no_json", file=TABLE, error=translated(str(error))),
            folder=folder,
        ) from error


def _number(values: pl.Series) -> Number:
    import polars as pl

    known = values.cast(pl.Float64).drop_nulls().to_numpy()
    filled = np.concatenate([known, np.full(values.null_count(), np.median(known))])
    deviation = float(filled.std())
    return Number(
        values.name, float(np.median(known)), float(filled.mean()),
        deviation if deviation > 0 else 1.0, values.null_count() > 0,
    )  # fmt: skip


def _category(values: pl.Series) -> Category:
    counted = values.drop_nulls().value_counts().iter_rows()
    often = sorted((-n, str(name)) for name, n in counted if n >= LEAST_SEEN)[:MOST_LEVELS]
    return Category(values.name, tuple(sorted(name for _, name in often)))


def _as_numbers(values: pl.Series) -> FloatArray:
    """Return numbers as 64-bit floats, NaN where missing.

    Raises DataError naming row and column for a text that is no number, and an infinite one.
    """
    import polars as pl

    parsed = values.cast(pl.Float64, strict=False)
    broken = (parsed.is_null() & values.is_not_null()).arg_true()
    if len(broken):
        row = int(broken[0])
        raise DataError(
            text("error.table_columns.no_number", value=values[row]),
            row=row + 1, column=values.name,
        )  # fmt: skip
    endless = parsed.is_infinite().arg_true()
    if len(endless):
        raise DataError(
            text("error.tables.infinite"), row=int(endless[0]) + 1, column=values.name,
            fix=text("error.tables.infinite.fix"),
        )  # fmt: skip
    return parsed.to_numpy().astype(np.float64)


def _as_number(value: Any, place: int, column: str) -> float:
    if value is None:
        return math.nan
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise DataError(
            text("error.table_columns.no_number", value=value), row=place + 1, column=column
        )
    if math.isinf(value):
        raise DataError(
            text("error.tables.infinite"), row=place + 1, column=column,
            fix=text("error.tables.infinite.fix"),
        )  # fmt: skip
    return float(value)


def _code(value: Any, known: Mapping[str, int]) -> int:
    if value is None:
        return MISSING
    name = (str(value).lower() if isinstance(value, bool) else str(value)).strip()
    return known.get(name, OTHER) if name else MISSING
