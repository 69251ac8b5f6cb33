"""Columns of one file of predictions, each checked where it is read.

Every complaint names the file, the row (from 1, without the header) and the column.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from shipworthy.core.errors import DataError, nearest
from shipworthy.core.locale import text
from shipworthy.model.class_names import canonical, canonical_name, in_order

if TYPE_CHECKING:
    from collections.abc import Mapping

    import polars as pl
    from numpy.typing import NDArray

    FloatArray: TypeAlias = NDArray[np.float64]

MOST_CLASSES = 1000


@dataclass(frozen=True)
class PredictionColumns:
    """One file's columns by what they are for.

    table: n rows as read; file: the name that errors carry.
    """

    table: pl.DataFrame
    file: str

    def column(self, name: str) -> pl.Series:
        """Return a column of plain values."""
        if name not in self.table.columns:
            raise DataError(
                text("error.table.no_column"),
                file=self.file,
                column=name,
                fix=nearest(name, self.table.columns),
            )
        values = self.table[name]
        if values.dtype.is_nested():
            raise DataError(text("error.predictions.nested"), file=self.file, column=name)
        return values

    def complete(self, values: pl.Series, column: str, what: str) -> None:
        """Raise DataError where a value is missing."""
        absent = np.flatnonzero(values.is_null().to_numpy())
        if len(absent):
            raise DataError(
                text(
                    "error.predictions.missing",
                    what=text(f"error.predictions.role.{what}"),
                    missing=len(absent),
                    rows=len(values),
                ),
                file=self.file,
                row=int(absent[0]) + 1,
                column=column,
                fix=text("error.predictions.missing.fix"),
            )

    def names(self, column: str, what: str) -> pl.Series:
        """Return class names in canonical form, shape (n,), none missing."""
        values = canonical(self.column(column))
        self.complete(values, column, what)
        distinct = values.n_unique()
        if distinct > MOST_CLASSES:
            raise DataError(
                text("error.predictions.many_values", distinct=distinct),
                file=self.file,
                column=column,
                fix=text(
                    "error.predictions.many_values.fix", what=text(f"error.predictions.role.{what}")
                ),
            )
        return values

    def ids(self, column: str) -> pl.Series:
        """Return ids as text, shape (n,), each once."""
        import polars as pl

        values = self.column(column)
        if values.dtype.is_float():
            values = canonical(values)
        values = values.cast(pl.String)
        self.complete(values, column, "id")
        first = values.is_first_distinct().to_numpy()
        if not first.all():
            again = int(np.flatnonzero(~first)[0])
            raise DataError(
                text(
                    "error.predictions.id_twice", value=values[again], repeated=int((~first).sum())
                ),
                file=self.file,
                row=again + 1,
                column=column,
                fix=text("error.predictions.id_twice.fix"),
            )
        return values.alias("id")

    def scores(
        self, score: str | Mapping[str, str] | None
    ) -> tuple[FloatArray | None, tuple[str, ...]]:
        """Return scores, shape (n, s) in [0, 1], and the classes that `score` names for them."""
        if score is None:
            return None, ()
        if isinstance(score, str):
            return self._score(score)[:, None], ()
        given = {canonical_name(c): column for c, column in score.items()}
        values = np.stack([self._score(column) for column in given.values()], axis=1)
        return values, tuple(given)

    def _score(self, column: str) -> FloatArray:
        import polars as pl

        raw = self.column(column)
        values = raw.cast(pl.Float64, strict=False).fill_null(float("nan")).to_numpy()
        wrong = np.flatnonzero(~((values >= 0) & (values <= 1)))
        if len(wrong):
            row = int(wrong[0])
            shown = text("error.predictions.missing_score") if raw[row] is None else f"{raw[row]}"
            raise DataError(
                text("error.predictions.score", shown=shown, wrong=len(wrong), rows=len(values)),
                file=self.file,
                row=row + 1,
                column=column,
                fix=text("error.predictions.score.fix"),
            )
        return np.asarray(values, dtype=np.float64)


def check_classes(
    labels: set[str], answers: pl.Series, file: str, label: str, prediction: str
) -> None:
    """Raise DataError where labels hold one class only or an answer is a number between classes."""
    if len(labels) < 2:
        raise DataError(
            text("error.predictions.one_class", name=next(iter(labels))),
            file=file,
            column=label,
            fix=text("error.predictions.one_class.fix"),
        )
    decimal = answers.str.contains(r"^[+-]?\d*\.\d+(?:[eE][+-]?\d+)?$") & ~answers.is_in(
        sorted(labels)
    )
    if decimal.any():
        row = int(np.flatnonzero(decimal.to_numpy())[0])
        raise DataError(
            text(
                "error.predictions.decimal", value=answers[row], classes=", ".join(in_order(labels))
            ),
            file=file,
            row=row + 1,
            column=prediction,
            fix=text("error.predictions.decimal.fix"),
        )
