"""Rows that say what another row says: equal, nearly equal, across splits, with another label."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from shipworthy.data.duplicates import connected, find_duplicates

if TYPE_CHECKING:
    import polars as pl
    from numpy.typing import NDArray

    BoolArray: TypeAlias = NDArray[np.bool_]
    IntArray: TypeAlias = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Repeats:
    """Which of n rows repeat others; masks of shape (n,).

    component: rows with equal or nearly equal content share a number. equal: another row is equal;
    alike: another is at least nearly equal. later: not the first of its component: what would go if
    one of each stayed. leaking: a row that is alike lies in another split. conflicting: an equal
    row has another label.
    """

    component: IntArray
    equal: BoolArray
    alike: BoolArray
    later: BoolArray
    leaking: BoolArray
    conflicting: BoolArray


def find_repeats(
    content: pl.Series,
    *,
    similarity: float,
    split: pl.Series | None = None,
    label: pl.Series | None = None,
) -> Repeats:
    """Find repeated rows by a text; see `find_duplicates` for the similarity.

    A null repeats nothing. A row without a label conflicts with none.
    """
    found = find_duplicates(content, similarity=similarity)
    texts = int(found.text.max(initial=-1)) + 1
    component = connected(texts, found.pairs)[found.text]
    sizes = np.bincount(component, minlength=1)
    alone = np.bincount(found.text, minlength=1)
    first = np.zeros(len(component), dtype=bool)
    if len(component):
        first[np.unique(component, return_index=True)[1]] = True
    nothing = np.zeros(len(component), dtype=bool)
    return Repeats(
        component=component,
        equal=alone[found.text] > 1,
        alike=sizes[component] > 1,
        later=~first,
        leaking=nothing if split is None else _several(component, split),
        conflicting=nothing if label is None else _several(found.text, label),
    )


def content_of(frame: pl.DataFrame, columns: list[str]) -> pl.Series:
    """Return all that the rows hold in some columns, as one text each; nulls without a column."""
    import polars as pl

    if not columns:
        return pl.Series("content", [None] * frame.height, dtype=pl.String)
    parts = [pl.col(c).cast(pl.String).fill_null("\0") for c in columns]
    return frame.select(pl.concat_str(parts, separator="\x01").alias("content")).to_series()


def _several(codes: IntArray, values: pl.Series) -> BoolArray:
    """Return the rows whose code occurs with more than one value; nulls are no value."""
    import polars as pl

    table = pl.DataFrame({"code": codes, "value": values})
    several = pl.col("value").drop_nulls().n_unique().over("code") > 1
    kept = several & pl.col("value").is_not_null()
    mask: BoolArray = table.select(kept.alias("found")).to_series().to_numpy()
    return mask
