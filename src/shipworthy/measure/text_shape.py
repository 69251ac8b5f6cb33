"""Lengths and scripts of texts, in all rows and in each group."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from shipworthy.measure.rates import mean
from shipworthy.measure.scripts import SCRIPTS, scripts
from shipworthy.measure.shown import assess

if TYPE_CHECKING:
    from collections.abc import Callable

    import polars as pl
    from numpy.typing import NDArray

    from shipworthy.measure.slices import Partition

    IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class Lengths:
    """Lengths of the texts of a group ("" is all rows) in one unit: characters, words or tokens.

    mean with its ends, by units; median; p95: what 95 % are at most.
    """

    column: str
    group: str
    unit: str
    rows: int
    mean: float
    low: float
    high: float
    median: float
    p95: float


def count_lengths(
    texts: pl.Series, tokens: Callable[[list[str]], list[int]] | None = None
) -> dict[str, IntArray]:
    """Return characters and words of each text, and tokens where something counts them.

    A word is what stands between white space; a Han, kana or Hangul character is one by itself.
    """
    whole = texts.fill_null("")
    signs = whole.str.count_matches(r"[\p{Han}\p{Hiragana}\p{Katakana}]")
    plain = whole.str.replace_all(r"[\p{Han}\p{Hiragana}\p{Katakana}]", " ")
    words = plain.str.count_matches(r"\S*[\p{L}\p{N}]\S*") + signs
    found = {
        "characters": whole.str.len_chars().to_numpy().astype(np.int64),
        "words": words.to_numpy().astype(np.int64),
    }
    if tokens is not None:
        found["tokens"] = np.array(tokens(whole.to_list()), dtype=np.int64)
    return found


def lengths_of(
    counted: dict[str, IntArray], rows: Partition, *, confidence: float = 0.95
) -> tuple[Lengths, ...]:
    """Return the lengths in each slice of a partition by one column or none."""
    column = rows.columns[0] if rows.columns else ""
    found = []
    for unit, values in counted.items():
        reach = float(values.max(initial=1))
        shown = assess(mean(rows, values.astype(np.float64), reach=reach), confidence=confidence)
        for k, (one, places) in enumerate(zip(rows.slices, rows.parts, strict=True)):
            own = values[places]
            value = one.conditions[0][1] if one.conditions else ""
            found.append(
                Lengths(
                    column, "" if value is None else str(value), unit, len(own),
                    float(shown.value[k]), float(shown.low[k]), float(shown.high[k]),
                    float(np.median(own)), float(np.quantile(own, 0.95, method="higher")),
                )
            )  # fmt: skip
    return tuple(found)


def script_names(texts: pl.Series) -> NDArray[np.object_]:
    """Return the script that each text is mostly written in, shape (n,)."""
    return np.array(SCRIPTS, dtype=object)[scripts(texts.fill_null(""))]
