"""Files of what a language model said: columns that `ask` writes and `judge` reads.

expected    "right" for each row; "text" where nothing is answered
answer      "right" or "wrong"; "text"
said        the answer itself
value:*     numbers of a row: loss (nats), tokens, bytes, scores
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from shipworthy.core.errors import DataError
from shipworthy.core.locale import text

if TYPE_CHECKING:
    from collections.abc import Iterable

    import polars as pl
    from numpy.typing import NDArray

    from shipworthy.model.predictions import AnswerForm

    FloatArray: TypeAlias = NDArray[np.float64]

EXPECTED, ANSWER, SAID, VALUE = "expected", "answer", "said", "value:"
RIGHT, WRONG, TEXT = "right", "wrong", "text"


def is_spoken(path: Path | str) -> bool:
    """Say whether a file is one that `ask` wrote."""
    import polars as pl

    if Path(path).suffix != ".parquet" or not Path(path).is_file():
        return False
    try:
        names = pl.read_parquet_schema(path).keys()
    except (OSError, pl.exceptions.PolarsError):
        return False
    return {EXPECTED, ANSWER} <= set(names) and any(n.startswith(VALUE) for n in names)


def form_of_answers(labels: Iterable[str], answers: Iterable[str]) -> AnswerForm:
    """Return what answers are: classes, right or wrong, or nothing but a likelihood."""
    wanted, given = set(labels), set(answers)
    if wanted == {RIGHT} and given <= {RIGHT, WRONG}:
        return "right"
    return "likelihood" if wanted == {TEXT} and given == {TEXT} else "class"


def row_values(table: pl.DataFrame, file: str) -> dict[str, FloatArray]:
    """Return the numbers of each row by name. Raises DataError where one is missing."""
    found = {}
    for column in table.columns:
        if not column.startswith(VALUE):
            continue
        values = table[column].cast(float, strict=False).to_numpy()
        missing = np.flatnonzero(~np.isfinite(values.astype(np.float64)))
        if len(missing):
            raise DataError(
                text("error.spoken.value", value=table[column][int(missing[0])]),
                file=file,
                row=int(missing[0]) + 1,
                column=column,
            )
        found[column.removeprefix(VALUE)] = values.astype(np.float64)
    return found
