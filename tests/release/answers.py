"""Frames of predictions in which every flip is placed by hand."""

from __future__ import annotations

import numpy as np
import polars as pl

GROUPS = ("movie", "news", "shop", "tweets")


def parent(n: int = 2000, *, wrong: int | None = None, seed: int = 0) -> pl.DataFrame:
    """n rows, both classes alike, four groups in turn; `wrong` answers (a tenth) spread over all.

    Columns: i (id), y (label), p (prediction), s (P(1)), domain, author (five rows each).
    """
    generator = np.random.default_rng(seed)
    place = np.arange(n)
    label = (place // 4) % 2
    right = np.ones(n, dtype=bool)
    right[generator.permutation(n)[: n // 10 if wrong is None else wrong]] = False
    return _frame(place, label, right, generator)


def candidate(
    base: pl.DataFrame, *, lost: int = 0, gained: int = 0, within: str | None = None, seed: int = 1
) -> pl.DataFrame:
    """The parent's answers with `lost` right ones turned wrong and `gained` wrong ones right.

    within: turn them in this group only.
    """
    generator = np.random.default_rng(seed)
    label = base["y"].to_numpy()
    right = label == base["p"].to_numpy()
    allowed = np.ones(len(right), dtype=bool)
    if within is not None:
        allowed = (base["domain"] == within).to_numpy()
    changed = right.copy()
    for state, count in ((True, lost), (False, gained)):
        rows = generator.permutation(np.flatnonzero((right == state) & allowed))
        assert len(rows) >= count
        changed[rows[:count]] = not state
    return _frame(base["i"].str.slice(1).cast(pl.Int64).to_numpy(), label, changed, generator)


def _frame(
    place: np.ndarray, label: np.ndarray, right: np.ndarray, generator: np.random.Generator
) -> pl.DataFrame:
    predicted = np.where(right, label, 1 - label)
    sure = 0.55 + 0.4 * generator.random(len(label))
    return pl.DataFrame(
        {
            "i": [f"r{k}" for k in place],
            "y": label,
            "p": predicted,
            "s": np.where(predicted == 1, sure, 1 - sure).round(6),
            "domain": [GROUPS[k % 4] for k in place],
            "author": place // 5,
        }
    )


def answers(frame: pl.DataFrame) -> list[tuple[str, int, int, str]]:
    """(id, label, prediction, group) of each row, for counting by hand."""
    return list(frame.select("i", "y", "p", "domain").iter_rows())
