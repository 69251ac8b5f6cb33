"""Which of two models people prefer, from a file of their judgements, and how far they agree."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from shipworthy.core.errors import DataError
from shipworthy.core.locale import text
from shipworthy.data.sources import read_table, require_columns
from shipworthy.measure.estimates import Estimate, Unmeasured
from shipworthy.measure.rates import mean, rate
from shipworthy.measure.slices import partition

if TYPE_CHECKING:
    from pathlib import Path

    import polars as pl
    from numpy.typing import NDArray

    FloatArray: TypeAlias = NDArray[np.float64]

COLUMNS = ("item", "first", "second", "winner", "rater")
WINNERS = ("first", "second", "tie")


def read_judgements(path: Path | str) -> pl.DataFrame:
    """Return the judgements of a file, `COLUMNS` as text and its other columns as they are.

    Raises DataError naming file, row and column for a value that is missing, a winner that is not
    `first`, `second` or `tie`, a model against itself, and a rater who judged a pair twice.
    """
    import polars as pl

    table = read_table(str(path))
    require_columns(table, COLUMNS, str(path))
    frame = table.with_columns(pl.col(name).cast(pl.String) for name in COLUMNS)
    for column in COLUMNS:
        missing = (frame[column].fill_null("").str.strip_chars() == "").arg_true()
        if len(missing):
            raise _wrong("missing", path, int(missing[0]), column)
    strange = (~frame["winner"].is_in(WINNERS)).arg_true()
    if len(strange):
        raise _wrong("winner", path, int(strange[0]), "winner")
    alone = (frame["first"] == frame["second"]).arg_true()
    if len(alone):
        raise _wrong("alone", path, int(alone[0]), "second")
    keys = frame.select("item", "rater", pl.concat_list(pl.col("first", "second")).list.sort())
    again = (~keys.to_struct("keys").is_first_distinct()).arg_true()
    if len(again):
        raise _wrong("again", path, int(again[0]), "rater")
    return frame


def preference(judgements: pl.DataFrame, candidate: str, parent: str) -> pl.DataFrame:
    """Return what a candidate scores against its parent in each item, a row for each, as `score`.

    A judgement scores 1 where the candidate wins, 0 where its parent does, 0.5 for a tie; an item
    scores the mean of its judgements. Other columns hold what the item's first judgement has there.
    No rows where the two were not compared.
    """
    import polars as pl

    names = pl.col("first", "second")
    pairs = judgements.filter(pl.all_horizontal(names.is_in([candidate, parent])))
    won = pl.when(pl.col("winner") == "first").then(pl.col("first")).otherwise(pl.col("second"))
    score = (
        pl.when(pl.col("winner") == "tie").then(0.5).otherwise((won == candidate).cast(pl.Float64))
    )
    others = [name for name in judgements.columns if name not in (*COLUMNS, "score")]
    items = pairs.with_columns(score.alias("score")).group_by("item", maintain_order=True)
    return items.agg(pl.col("score").mean(), pl.col(others).first())


def preferred_share(judgements: pl.DataFrame, candidate: str, parent: str) -> Estimate:
    """Return the mean `preference` for a candidate over the items; 0.5 is none.

    Unmeasured where the two were not compared.
    """
    scores = preference(judgements, candidate, parent)
    if scores.is_empty():
        return Unmeasured("not_measured")
    return mean(partition(scores.select("item")), scores["score"].to_numpy(), reach=1.0)


def first_share(judgements: pl.DataFrame) -> Estimate:
    """Return how often the answer that stood first won, ties aside; 0.5 is no bias of position.

    Judgements of one item count as alike. It says something where each model stood first as often.
    Unmeasured where all are ties.
    """
    import polars as pl

    decided = judgements.filter(pl.col("winner") != "tie")
    if decided.is_empty():
        return Unmeasured("not_measured")
    first = (decided["winner"] == "first").to_numpy()
    rows = partition(decided.select("item"), unit="item")
    return rate(rows, np.ones(len(first), dtype=bool), first)


def agreement(judgements: pl.DataFrame) -> float:
    """Return Krippendorff's alpha of the raters, nominal: 1 is agreement, 0 that of chance.

    NaN where no pair was judged by two of them, or all said the same. (Krippendorff 2011.)
    """
    import polars as pl

    # Who stood first is no part of an opinion.
    swapped = pl.col("first") > pl.col("second")
    flipped = (
        pl.when(~swapped | (pl.col("winner") == "tie"))
        .then(pl.col("winner"))
        .otherwise(
            pl.when(pl.col("winner") == "first").then(pl.lit("second")).otherwise(pl.lit("first"))
        )
    )
    pair = pl.concat_list(pl.col("first", "second")).list.sort().list.join("\x00")
    counts = (
        judgements.with_columns(flipped.alias("opinion"), pair.alias("pair"))
        .group_by("item", "pair")
        .agg((pl.col("opinion") == w).sum().alias(w) for w in WINNERS)
        .select(WINNERS)
        .to_numpy()
        .astype(np.float64)
    )
    return krippendorff_alpha(counts)


def krippendorff_alpha(counts: FloatArray) -> float:
    """Return alpha of nominal values. counts: how often each item got each value, (items, values).

    >>> krippendorff_alpha(np.array([[3.0, 0.0], [0.0, 2.0]]))
    1.0
    """
    sizes = counts.sum(axis=1)
    paired = counts[sizes >= 2]
    sizes = paired.sum(axis=1)
    total = sizes.sum()
    if total == 0:
        return float("nan")
    apart = ((sizes**2 - (paired**2).sum(axis=1)) / (sizes - 1)).sum() / total
    values = paired.sum(axis=0)
    expected = (total**2 - (values**2).sum()) / (total * (total - 1))
    return float(1 - apart / expected) if expected > 0 else float("nan")


def _wrong(what: str, path: Path | str, row: int, column: str) -> DataError:
    return DataError(
        text(f"error.preferences.{what}"),
        file=str(path),
        row=row + 1,
        column=column,
        fix=text("error.preferences.fix"),
    )
