"""The rows of a split that stand in the training text, and the figure that a limit looks at."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from shipworthy.core.locale import number
from shipworthy.measure.estimates import Estimate, Fact, Unmeasured
from shipworthy.release.judgement import Phrase

if TYPE_CHECKING:
    import polars as pl
    from numpy.typing import NDArray

    from shipworthy.data.settings import DataSettings
    from shipworthy.release.policy import Policy

MEASURE = "contaminated_share"
FILE = "contamination.parquet"
"""In a run's folder: split, row (its place in the split, from 1), id, overlap."""
SPLITS = ("validation", "test")


def asks(policy: Policy) -> bool:
    """Say whether a policy limits it."""
    return any(MEASURE in (limit.measure, limit.bound) for limit in policy.limits)


def overlaps(settings: DataSettings, train: pl.Series, texts: pl.Series) -> NDArray[np.float64]:
    """Return the overlap of each text with the training text and the corpora of the settings."""
    from shipworthy.data.contamination import overlap
    from shipworthy.data.sources import read_table, require_columns

    def corpus() -> Any:
        yield train
        for source in settings.contamination.corpora:
            frame = read_table(source)
            require_columns(frame, [settings.text], source)
            yield frame[settings.text].cast(train.dtype)

    return overlap(texts, corpus(), ngram=settings.contamination.ngram)


def write_overlaps(settings: DataSettings, rows: dict[str, pl.DataFrame], folder: Path) -> None:
    """Write the overlap of each row of the splits that verdicts rest on; rows: frames by split."""
    import polars as pl

    train = rows["train"][settings.text]
    parts = []
    for split in SPLITS:
        frame = rows[split]
        ids = pl.col(settings.id).cast(pl.String) if settings.id else pl.lit(None, pl.String)
        parts.append(
            frame.select(
                pl.lit(split).alias("split"),
                pl.int_range(1, pl.len() + 1).alias("row"),
                ids.alias("id"),
                pl.Series("overlap", overlaps(settings, train, frame[settings.text])),
            )
        )
    pl.concat(parts).write_parquet(folder / FILE)


def share_of(overlap: Sequence[float] | NDArray[np.float64], settings: DataSettings) -> Estimate:
    """Return the share of rows whose overlap reaches that of the settings."""
    found = np.asarray(overlap)
    if not found.size:
        return Unmeasured("no_data")
    return Fact(np.array([float(np.mean(found >= settings.contamination.share))]))


def read_share(folder: Path, split: str, settings: DataSettings) -> Estimate:
    """Return the share of the rows of a split, from what `write_overlaps` wrote."""
    return share_of(_overlap(folder, split), settings)


def contamination_note(folder: Path, split: str, settings: DataSettings) -> Phrase:
    """Return how many rows of the split were found, for people."""
    found = _overlap(folder, split)
    return Phrase(
        "run.note.contamination",
        {
            "rows": number(int((found >= settings.contamination.share).sum())),
            "of": number(len(found)),
            "share": f"{100 * settings.contamination.share:g}",
            "ngram": settings.contamination.ngram,
            "corpora": len(settings.contamination.corpora),
            "file": FILE,
        },
    )


def _overlap(folder: Path, split: str) -> NDArray[np.float64]:
    import polars as pl

    frame = pl.read_parquet(folder / FILE).filter(pl.col("split") == split)
    return np.asarray(frame["overlap"].to_numpy())
