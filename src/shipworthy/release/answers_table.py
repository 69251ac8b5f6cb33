"""Who answered what on which row: `answers.parquet` of a run folder. It holds no text.

    row                   16 hex digits: hash of the row's id; of its text or place without one
    label                 true class, or number where numbers are predicted
    unit                  16 hex digits: hash of the sampling unit, where there are units
    group:<column>        value of a group column
    prediction:<id>       answer of the parent or of a candidate
    score:<id>:<class>    probability of a class, where there are scores; of two classes, the last

Two runs on the same rows can so be compared row by row, long after the texts are gone.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

from shipworthy.core.errors import InputError
from shipworthy.core.locale import text
from shipworthy.core.locale.libraries import translated
from shipworthy.core.openings import row_hashes
from shipworthy.model.predictions import Predictions

if TYPE_CHECKING:
    import polars as pl
    from numpy.typing import NDArray

ANSWERS = "answers.parquet"

MOST_SCORED = 20
"""Classes beyond which scores are not kept: the table would be mostly scores."""

RowNames: TypeAlias = Literal["id", "text", "position"]

UNIT = "\x00unit"
"""Name of the unit column beside group columns: no column of a file is called so."""

_ROW, _LABEL, _UNIT = "row", "label", "unit"
_GROUP, _PREDICTION, _SCORE = "group:", "prediction:", "score:"


@dataclass(frozen=True, eq=False)
class AnswersTable:
    """Answers of several subjects on n rows.

    frame: the columns above. named_by: what `row` is a hash of. classes: all that occur, in order;
    positive: the positive one, or None.
    """

    frame: pl.DataFrame
    named_by: RowNames
    classes: tuple[str, ...]
    positive: str | None

    @property
    def groups(self) -> tuple[str, ...]:
        """Names of the group columns."""
        return tuple(c.removeprefix(_GROUP) for c in self.frame.columns if c.startswith(_GROUP))

    @property
    def has_units(self) -> bool:
        """Whether rows come in units."""
        return _UNIT in self.frame.columns

    def predictions(
        self, subject: str, rows: NDArray[np.int64], classes: tuple[str, ...]
    ) -> Predictions | None:
        """Return a subject's answers on some rows, with codes into the given classes.

        None where the table does not hold the subject. Columns are called as `columns` says.
        """
        import polars as pl

        if _PREDICTION + subject not in self.frame.columns:
            return None
        part = self.frame[rows]
        prefix = f"{_SCORE}{subject}:"
        scored = [c for c in part.columns if c.startswith(prefix)]
        if part[_LABEL].dtype.is_float():
            return self._numbers(subject, part, rows)
        kind = pl.Enum(classes)
        return Predictions(
            name=subject,
            file=subject,
            classes=classes,
            positive=self.positive,
            labels=part[_LABEL].cast(kind).to_physical().to_numpy().astype(np.int64),
            predicted=part[_PREDICTION + subject].cast(kind).to_physical().to_numpy().astype(
                np.int64
            ),
            scores=part.select(scored).to_numpy() if scored else None,
            scored=tuple(c.removeprefix(prefix) for c in scored),
            frame=self.columns(rows),
            ids=None,
            label=_LABEL,
            id=None,
            groups=self.groups,
            unit=UNIT if self.has_units else None,
        )  # fmt: skip

    def _numbers(self, subject: str, part: pl.DataFrame, rows: NDArray[np.int64]) -> Predictions:
        nothing = np.zeros(part.height, dtype=np.int64)
        return Predictions(
            name=subject, file=subject, classes=self.classes, positive=None, labels=nothing,
            predicted=nothing, scores=None, scored=(), frame=self.columns(rows), ids=None,
            label=_LABEL, id=None, groups=self.groups, unit=UNIT if self.has_units else None,
            values={
                "label": part[_LABEL].to_numpy(),
                "prediction": part[_PREDICTION + subject].to_numpy(),
            },
            form="number",
        )  # fmt: skip

    def columns(self, rows: NDArray[np.int64]) -> pl.DataFrame:
        """Return group columns under their own names, and the unit as `UNIT`, of some rows."""
        kept = {c: c.removeprefix(_GROUP) for c in self.frame.columns if c.startswith(_GROUP)}
        units = {_UNIT: UNIT} if self.has_units else {}
        return self.frame[rows].select([*kept, *units]).rename({**kept, **units})


def answers_table(
    predictions: Mapping[str, Predictions], names: Iterable[str], *, named_by: RowNames
) -> AnswersTable:
    """Put the aligned answers of the parent and of all candidates into one table.

    predictions: by candidate id, the parent first, all on the same rows. names: what names each row
    (its id, its text, or its place in this very set).
    """
    import polars as pl

    first = next(iter(predictions.values()))
    kind = pl.Enum(first.classes)
    numbers = first.form == "number"
    label = pl.Series(first.values["label"]) if numbers else _named(first.labels, kind)
    columns = {_ROW: _hex(names), _LABEL: label}
    if first.unit is not None:
        # A missing unit is a unit too, as in the partition of the rows.
        units = first.frame[first.unit].cast(pl.String).fill_null("\x00")
        columns[_UNIT] = _hex(units.to_list())
    columns |= {_GROUP + g: first.frame[g] for g in first.groups}
    for subject, one in predictions.items():
        answer = pl.Series(one.values["prediction"]) if numbers else _named(one.predicted, kind)
        columns[_PREDICTION + subject] = answer
        if one.scores is None or len(one.classes) > MOST_SCORED:
            continue
        # Of two probabilities that add up to 1 one is enough.
        kept = one.scored[-1:] if len(one.classes) == 2 else one.scored
        for name in kept:
            scores = one.scores[:, one.scored.index(name)]
            columns[f"{_SCORE}{subject}:{name}"] = pl.Series(scores, dtype=pl.Float64)
    return AnswersTable(pl.DataFrame(columns), named_by, first.classes, first.positive)


def answers_bytes(table: AnswersTable) -> bytes:
    """Return the content of `answers.parquet`."""
    told = {
        "rows": table.named_by,
        "classes": json.dumps(table.classes, ensure_ascii=False),
        "positive": json.dumps(table.positive, ensure_ascii=False),
    }
    buffer = io.BytesIO()
    table.frame.write_parquet(buffer, metadata=told)
    return buffer.getvalue()


def read_answers_table(folder: Path) -> AnswersTable | None:
    """Return the answers that a run folder keeps, or None where it keeps none.

    Raises InputError for a damaged file.
    """
    import polars as pl
    from polars.exceptions import PolarsError

    path = folder / ANSWERS
    if not path.is_file():
        return None
    raw = path.read_bytes()
    try:
        frame = pl.read_parquet(io.BytesIO(raw))
        told = pl.read_parquet_metadata(io.BytesIO(raw))
        return AnswersTable(
            frame,
            "id" if told["rows"] == "id" else "text" if told["rows"] == "text" else "position",
            tuple(json.loads(told["classes"])),
            json.loads(told["positive"]),
        )
    except (PolarsError, KeyError, ValueError, OSError) as error:
        why = translated(str(error).splitlines()[0]) if str(error) else type(error).__name__
        raise InputError(text("error.compare.damaged", path=path, why=why)) from error


def _hex(names: Iterable[str]) -> pl.Series:
    import polars as pl

    return pl.Series([f"{h:016x}" for h in row_hashes(names).tolist()], dtype=pl.String)


def _named(codes: NDArray[np.int64] | None, kind: pl.Enum) -> pl.Series:
    import polars as pl

    assert codes is not None
    return pl.Series(kind.categories, dtype=kind).gather(codes)
