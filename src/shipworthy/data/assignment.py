"""Whole sets of rows to splits, so that each split gets its share of every label and group.

Sets of several rows are placed one by one, large ones first, where they lower the chi-square
distance to the wanted counts most; sets of one row, usually the many, then fill what is lacking.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    import polars as pl
    from numpy.typing import NDArray

# Spread of the noise on log size by which units of like size are ordered.
_SIZE_NOISE = 0.5


def codes_of(frame: pl.DataFrame, columns: Sequence[str]) -> NDArray[np.int64]:
    """Number the combinations of values of some columns in the order of their first rows."""
    import polars as pl

    rows = frame.select(columns).with_row_index("row\0")
    first = pl.col("row\0").min().over(columns)
    codes = rows.select(first).to_series().rank("dense").to_numpy()
    return np.asarray(codes, dtype=np.int64) - 1


def compact(codes: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return codes as 0, 1, … and how many rows each has."""
    _, dense, sizes = np.unique(codes, return_inverse=True, return_counts=True)
    return dense.astype(np.int64), sizes.astype(np.int64)


def strata_of(frame: pl.DataFrame, columns: list[str]) -> NDArray[np.int64]:
    """Return the strata of each row: all rows, each column alone, all columns together.

    Shape (n, systems), numbered through so that no two systems share a number; the last system
    is the finest.
    """
    systems = [np.zeros(frame.height, dtype=np.int64)]
    systems += [codes_of(frame, [column]) for column in columns]
    if len(columns) > 1:
        systems.append(codes_of(frame, columns))
    starts = np.cumsum([0] + [int(codes.max(initial=0)) + 1 for codes in systems])[:-1]
    return np.stack(systems, axis=1) + starts.astype(np.int64)


def assign(
    whole: NDArray[np.int64],
    sizes: NDArray[np.int64],
    strata: NDArray[np.int64],
    shares: list[float],
    generator: np.random.Generator,
) -> NDArray[np.int64]:
    """Return the split of each set of rows; shape (sets,).

    whole: set of each row, shape (n,); sizes: rows of each set; strata: as `strata_of` gives them;
    shares: wanted share of the rows by split, sum 1.
    """
    chosen = np.full(len(sizes), -1, dtype=np.int64)
    totals = np.bincount(strata.ravel())
    need = totals[:, None] * np.asarray(shares)
    _place_large(whole, sizes, strata, need, totals, shares, chosen, generator)
    _place_single(whole, sizes, strata, need, shares, chosen, generator)
    return chosen


def _place_large(
    whole: NDArray[np.int64],
    sizes: NDArray[np.int64],
    strata: NDArray[np.int64],
    need: NDArray[np.float64],
    totals: NDArray[np.int64],
    shares: list[float],
    chosen: NDArray[np.int64],
    generator: np.random.Generator,
) -> None:
    """Give each set of several rows, large ones first, to the split where it fits best.

    Best is the least rise of the chi-square distance sum((placed - target)² / target) over strata.
    need (strata, splits) is lowered by what is placed.
    """
    noise = generator.uniform(0, _SIZE_NOISE, size=len(sizes))
    large = np.flatnonzero(sizes > 1)
    large = large[np.argsort(-(np.log(sizes[large]) + noise[large]), kind="stable")]
    rows = np.argsort(whole, kind="stable")
    ends = np.cumsum(sizes)
    # One row more in each target keeps strata of a few rows from outweighing the others.
    weights = (1 / (totals[:, None] * np.asarray(shares) + 1)).tolist()
    left: list[list[float]] = need.tolist()
    open_splits = [k for k, share in enumerate(shares) if share > 0]
    for one in large.tolist():
        members = strata[rows[ends[one] - sizes[one] : ends[one]]].ravel()
        held: dict[int, int] = {}
        for stratum in members.tolist():
            held[stratum] = held.get(stratum, 0) + 1
        best, lowest = open_splits[0], float("inf")
        for k in open_splits:
            rise = sum(c * (c - 2 * left[s][k]) * weights[s][k] for s, c in held.items())
            if rise < lowest:
                best, lowest = k, rise
        chosen[one] = best
        for stratum, count in held.items():
            left[stratum][best] -= count
    need[:] = left


def _place_single(
    whole: NDArray[np.int64],
    sizes: NDArray[np.int64],
    strata: NDArray[np.int64],
    need: NDArray[np.float64],
    shares: list[float],
    chosen: NDArray[np.int64],
    generator: np.random.Generator,
) -> None:
    """Fill what is lacking in each of the finest strata with sets of one row, in random order.

    What rounding leaves over in a stratum is carried to the next one.
    """
    rows = np.flatnonzero(sizes[whole] == 1)
    rows = rows[generator.permutation(rows.size)]
    finest = strata[rows, -1]
    order = rows[np.argsort(finest, kind="stable")]
    present, counts = np.unique(finest, return_counts=True)
    carry = np.zeros(len(shares))
    fair = np.asarray(shares)
    start = 0
    for stratum, count in zip(present.tolist(), counts.tolist(), strict=True):
        wish = np.maximum(need[stratum], 0)
        wish = wish * (count / wish.sum()) if wish.sum() > 0 else fair * count
        quota = np.where(fair > 0, np.maximum(wish + carry, 0), 0)
        quota *= count / quota.sum()
        given = np.floor(quota).astype(np.int64)
        rest = np.argsort(-(quota - given), kind="stable")[: count - int(given.sum())]
        given[rest] += 1
        carry += wish - given
        members = order[start : start + count]
        chosen[whole[members]] = np.repeat(np.arange(len(shares)), given)
        start += count
