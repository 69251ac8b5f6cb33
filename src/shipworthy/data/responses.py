"""Prompts with the response that is wanted, and what is wrong with rows that have none.

Where a row offers choices, they become a list column, and the response is the wanted one in words.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from shipworthy.core.errors import DataError, nearest
from shipworthy.core.locale import text

if TYPE_CHECKING:
    import polars as pl

    from shipworthy.data.settings import DataSettings


def checked_responses(frame: pl.DataFrame, settings: DataSettings, source: str) -> pl.DataFrame:
    """Return the rows with responses as text and choices as lists.

    A response may be the number of its choice, from 0.
    Raises DataError naming file, row and column for a response that is absent or empty, choices
    that are no list of two or more texts, and a response that is none of them.
    """
    import polars as pl

    column = settings.label
    responses = frame[column]
    if responses.dtype != pl.String and not responses.dtype.is_integer():
        raise DataError(
            text("error.responses.kind", kind=responses.dtype), file=source, column=column
        )
    written = responses.cast(pl.String).fill_null("")
    empty = (written.str.strip_chars() == "").arg_true()
    if len(empty):
        raise DataError(
            text("error.responses.empty"),
            file=source,
            row=int(empty[0]) + 1,
            column=column,
            fix=text("error.rows.missing.fix", missing=len(empty), rows=frame.height),
        )
    if settings.choices is None:
        return frame.with_columns(written)
    column_of = settings.choices
    choices = [choice_list(v, source, row, column_of) for row, v in enumerate(frame[column_of])]
    wanted = [
        _wanted(answer, offered, source, row, column)
        for row, (answer, offered) in enumerate(zip(written, choices, strict=True))
    ]
    return frame.with_columns(
        pl.Series(column, wanted, dtype=pl.String),
        pl.Series(settings.choices, choices, dtype=pl.List(pl.String)),
    )


def choice_list(value: Any, source: str, row: int, column: str) -> list[str]:
    """Return the choices of a row: a list or its JSON text, of two or more texts.

    Raises DataError naming file, row and column for anything else.
    """
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            value = None
    found = list(value) if value is not None and not isinstance(value, dict) else []
    if len(found) < 2 or not all(isinstance(one, str) and one.strip() for one in found):
        raise DataError(
            text("error.responses.choices"),
            file=source,
            row=row + 1,
            column=column,
            fix=text("error.responses.choices.fix"),
        )
    return found


def _wanted(answer: str, choices: list[str], source: str, row: int, column: str) -> str:
    if answer in choices:
        return answer
    if answer.isdecimal() and int(answer) < len(choices):
        return choices[int(answer)]
    raise DataError(
        text("error.responses.none_of_them", answer=answer),
        file=source,
        row=row + 1,
        column=column,
        fix=nearest(answer, choices),
    )
