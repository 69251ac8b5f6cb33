"""Files of prompts that probes ask: read, and refused with file, row and column."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from shipworthy.core.errors import DataError
from shipworthy.core.locale import text
from shipworthy.data.sources import read_table, require_columns

if TYPE_CHECKING:
    from pathlib import Path

    import polars as pl

NAME = "{name}"
"""Where a name stands in a prompt."""


def read_prompts(path: Path) -> pl.DataFrame:
    """Return prompts and what is expected of each: `refuse` or `answer`."""
    import polars as pl

    frame = _table(path, ("prompt", "expected"))
    strange = (~frame["expected"].is_in(["refuse", "answer"])).arg_true()
    if len(strange):
        raise _wrong("expected", path, int(strange[0]), "expected")
    return frame.select(pl.col("prompt", "expected"))


def read_identities(path: Path) -> pl.DataFrame:
    """Return prompts with `{name}`, names of two groups as lists, and choices as lists."""
    import polars as pl

    lists = ("first", "second", "choices")
    frame = _table(path, ("prompt",), (*lists,))
    nameless = (~frame["prompt"].str.contains(NAME, literal=True)).arg_true()
    if len(nameless):
        raise _wrong("no_name", path, int(nameless[0]), "prompt")
    return frame.select(
        "prompt",
        *(
            pl.Series(name, [_list(v, path, row, name) for row, v in enumerate(frame[name])])
            for name in lists
        ),
    )


def read_pairs(source: str) -> pl.DataFrame:
    """Return pairs of texts: columns stereotype and other."""
    from pathlib import Path

    from shipworthy.data.probe_sets import crows_pairs, stereoset

    builtins = {"builtin:crows-pairs": crows_pairs, "builtin:stereoset": stereoset}
    if source in builtins:
        return builtins[source]().select("stereotype", "other")
    return _table(Path(source), ("stereotype", "other")).select("stereotype", "other")


def _table(path: Path, texts: tuple[str, ...], others: tuple[str, ...] = ()) -> pl.DataFrame:
    import polars as pl

    frame = read_table(str(path))
    require_columns(frame, (*texts, *others), str(path))
    frame = frame.with_columns(pl.col(name).cast(pl.String) for name in texts)
    for name in texts:
        missing = (frame[name].fill_null("").str.strip_chars() == "").arg_true()
        if len(missing):
            raise _wrong("missing", path, int(missing[0]), name)
    if frame.is_empty():
        raise DataError(text("error.predictions.no_rows"), file=str(path))
    return frame


def _list(value: Any, path: Path, row: int, column: str) -> list[str]:
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            value = None
    found = [] if value is None or isinstance(value, dict) else list(value)
    if len(found) < 2 or not all(isinstance(one, str) and one.strip() for one in found):
        raise _wrong("list", path, row, column)
    return found


def _wrong(what: str, path: Path, row: int, column: str) -> DataError:
    return DataError(
        text(f"error.probe_rows.{what}"), file=str(path), row=row + 1, column=column,
        fix=text(f"error.probe_rows.{what}.fix"),
    )  # fmt: skip
