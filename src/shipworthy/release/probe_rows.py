"""Files of prompts that probes ask: read, and refused with file, row and column."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from shipworthy.core.errors import DataError
from shipworthy.core.locale import text
from shipworthy.data.bias_sets import crows_pairs, stereoset
from shipworthy.data.responses import choice_list
from shipworthy.data.sources import read_table, require_columns

if TYPE_CHECKING:
    import polars as pl

BUILTIN_PAIRS = ("builtin:crows-pairs", "builtin:stereoset")


def read_templates(path: Path) -> tuple[list[str], list[list[str]] | None]:
    """Return prompts with a slot, and the choices of each; None without such a column."""
    frame = _table(path, ("prompt",))
    choices = None
    if "choices" in frame.columns:
        choices = [
            choice_list(value, str(path), row, "choices")
            for row, value in enumerate(frame["choices"])
        ]
    return frame["prompt"].to_list(), choices


def read_pairs(source: str) -> pl.DataFrame:
    """Return pairs of whole texts: columns stereotype and other."""
    import polars as pl

    if source not in BUILTIN_PAIRS:
        return _table(Path(source), ("stereotype", "other")).select("stereotype", "other")
    frame = crows_pairs() if source == BUILTIN_PAIRS[0] else stereoset()

    def said(place: str) -> pl.Expr:
        whole = pl.concat_str("context", pl.col("choices").list.get(pl.col(place)), separator=" ")
        return whole.str.strip_chars()

    return frame.select(said("stereotype").alias("stereotype"), said("anti").alias("other"))


def _table(path: Path, texts: tuple[str, ...]) -> pl.DataFrame:
    import polars as pl

    frame = read_table(str(path))
    require_columns(frame, texts, str(path))
    if frame.is_empty():
        raise DataError(text("error.predictions.no_rows"), file=str(path))
    frame = frame.with_columns(pl.col(name).cast(pl.String) for name in texts)
    for name in texts:
        missing = (frame[name].fill_null("").str.strip_chars() == "").arg_true()
        if len(missing):
            raise DataError(
                text("error.probe_rows.missing"), file=str(path), row=int(missing[0]) + 1,
                column=name, fix=text("error.probe_rows.missing.fix"),
            )  # fmt: skip
    return frame
