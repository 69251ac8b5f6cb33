"""Which rows belong to which slice, and which units they come from.

A partition splits all rows into disjoint slices by the values of some columns; a missing value is a
slice of its own. Everything that is counted per slice is counted over all slices of a partition at
once, so the number of groups costs nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from shipworthy.core.records import ALL_ROWS, Scalar, Slice

if TYPE_CHECKING:
    from collections.abc import Sequence

    import polars as pl
    from numpy.typing import NDArray

    FloatArray: TypeAlias = NDArray[np.float64]
    IntArray: TypeAlias = NDArray[np.int64]

_MIX = np.uint64(0x9E3779B97F4A7C15)
"""2**64 over the golden ratio: multiples of it lie evenly (Knuth, volume 3, 6.4)."""


@dataclass(frozen=True, eq=False)
class Partition:
    """n rows in m disjoint slices.

    codes: the slice of each row, shape (n,), in [0, m). unit_codes: the sampling unit of each row,
    shape (n,), from 0, or None where rows are units.
    """

    columns: tuple[str, ...]
    slices: tuple[Slice, ...]
    codes: IntArray
    unit_codes: IntArray | None = None

    @property
    def m(self) -> int:
        """Number of slices."""
        return len(self.slices)

    def sums(self, values: NDArray[np.generic]) -> FloatArray:
        """Sum of a number per row over each slice, shape (m,)."""
        weights = np.asarray(values, dtype=np.float64)
        return np.asarray(np.bincount(self.codes, weights, self.m), dtype=np.float64)

    @cached_property
    def parts(self) -> tuple[IntArray, ...]:
        """Rows of each slice, ascending."""
        order = np.argsort(_short(self.codes, self.m), kind="stable")
        ends = np.cumsum(np.bincount(self.codes, minlength=self.m))[:-1]
        return tuple(np.split(order, ends))

    @cached_property
    def cells(self) -> tuple[IntArray, IntArray]:
        """Units within slices: the cell of each row, shape (n,), and the slice of each cell.

        Cells are sorted by slice, then by unit.
        """
        if self.unit_codes is None:
            return np.arange(len(self.codes), dtype=np.int64), self.codes
        width = int(self.unit_codes.max(initial=0)) + 1
        keys, inverse = compacted(self.codes * width + self.unit_codes, self.m * width)
        return inverse, keys // width

    def unit_sums(self, values: NDArray[np.generic]) -> tuple[FloatArray, IntArray]:
        """Sum of a number per row over each unit within each slice, and the slice of each sum."""
        cells, owners = self.cells
        weights = np.asarray(values, dtype=np.float64)
        return np.asarray(np.bincount(cells, weights, len(owners)), dtype=np.float64), owners

    def units(self, counted: NDArray[np.bool_]) -> FloatArray:
        """Units that hold at least one counted row, per slice, shape (m,)."""
        if self.unit_codes is None:
            return self.sums(counted)
        sums, owners = self.unit_sums(counted)
        return np.asarray(np.bincount(owners, sums > 0, self.m), dtype=np.float64)

    def order(self, values: NDArray[np.generic]) -> IntArray:
        """Rows sorted by slice, and by a number per row within each slice, shape (n,)."""
        ascending = np.argsort(values)
        if self.m == 1:
            return ascending
        slices = _short(self.codes, self.m)[ascending]
        return np.asarray(ascending[np.argsort(slices, kind="stable")])

    def midranks(self, order: IntArray, values: NDArray[np.generic]) -> FloatArray:
        """Ranks from 1 within the slice, ties sharing their mean rank, in the order given.

        order: rows as `order` sorts them by these values, or some of them in that order; then the
        ranks are those among these rows.
        """
        slices, sorted_values = self.codes[order], np.asarray(values)[order]
        starts = np.concatenate(([0], np.cumsum(np.bincount(slices, minlength=self.m))))[:-1]
        other = (slices[1:] != slices[:-1]) | (sorted_values[1:] != sorted_values[:-1])
        first = np.flatnonzero(np.concatenate(([True], other)))[: len(order)]
        ties = np.diff(np.append(first, len(order)))
        ranks = np.repeat(first + (ties + 1) / 2, ties)
        return np.asarray(ranks - starts[slices])

    def variance(self, deviations: NDArray[np.generic], units: FloatArray) -> FloatArray:
        """Variance of a sum of centred row values over each slice, from its unit sums, shape (m,).

        G / (G - 1) times the sum of squared unit sums; NaN for fewer than two units.
        """
        sums, owners = self.unit_sums(deviations)
        squares = np.bincount(owners, weights=sums**2, minlength=self.m)
        scale = np.divide(units, units - 1, out=np.full(self.m, np.nan), where=units > 1)
        return np.asarray(squares * scale)


def partition(
    frame: pl.DataFrame, columns: Sequence[str] = (), *, unit: str | None = None
) -> Partition:
    """Split rows by the values of the columns; no column gives the one slice of all rows.

    Slices are sorted by their values, missing last; combinations that no row has are left out.
    """
    units = None if unit is None else unit_codes(frame[unit])
    if not columns:
        return Partition((), (ALL_ROWS,), np.zeros(frame.height, dtype=np.int64), units)
    codes = np.zeros(frame.height, dtype=np.int64)
    levels: list[list[Scalar]] = []
    for column in columns:
        own, values = _levels(frame[column])
        levels.append(values)
        codes = codes * len(values) + own
    present, compact = compacted(codes, math.prod(len(values) for values in levels))
    places = np.unravel_index(present, [len(values) for values in levels])
    slices = tuple(
        Slice.of({c: v[int(p[k])] for c, v, p in zip(columns, levels, places, strict=True)})
        for k in range(len(present))
    )
    return Partition(tuple(columns), slices, compact, units)


def crossings(columns: Sequence[str], intersections: int) -> tuple[tuple[str, ...], ...]:
    """Single columns, then all crossings of up to `intersections` of them.

    >>> crossings(["a", "b"], 2)
    (('a',), ('b',), ('a', 'b'))
    """
    depth = range(1, min(intersections, len(columns)) + 1)
    return tuple(found for size in depth for found in combinations(columns, size))


def unit_codes(values: pl.Series) -> IntArray:
    """Codes from 0 for the units in a column, in the order of their names, not of the rows.

    Rows without a unit share one: taking them as independent would promise too much.
    """
    return _levels(values)[0]


def compacted(keys: IntArray, size: int) -> tuple[IntArray, IntArray]:
    """Distinct keys in [0, size), ascending, and the place of each key among them.

    It is `np.unique`, by a table instead of a sort where the table is small.
    """
    if size > 16 * len(keys) + 65_536:
        found, places = np.unique(keys, return_inverse=True)
        return found, places.reshape(-1).astype(np.int64)
    present = np.zeros(size, dtype=bool)
    present[keys] = True
    return np.flatnonzero(present), (np.cumsum(present) - 1)[keys]


def hashed(codes: IntArray, buckets: int) -> IntArray:
    """Bucket in [0, buckets) of each code, evenly spread and always the same."""
    high = (codes.astype(np.uint64) * _MIX) >> np.uint64(32)
    return np.asarray((high * np.uint64(buckets)) >> np.uint64(32), dtype=np.int64)


def _levels(values: pl.Series) -> tuple[IntArray, list[Scalar]]:
    """Codes into the sorted distinct values, which stay booleans, integers or text."""
    import polars as pl

    if values.dtype.is_float():
        values = values.fill_nan(None) + 0.0  # -0.0 and 0.0 are one group
    if not (values.dtype == pl.Boolean or values.dtype.is_integer() or values.dtype.is_float()):
        values = values.cast(pl.String)
    distinct = values.unique().drop_nulls().sort()
    names: list[Scalar] = distinct.to_list()
    place = pl.DataFrame({"value": distinct, "code": np.arange(len(names), dtype=np.int64)})
    codes = (
        values.alias("value").to_frame().join(place, on="value", how="left", maintain_order="left")
    )
    found = codes["code"].fill_null(len(names)).to_numpy().astype(np.int64)
    return found, [*names, None] if values.null_count() else names


def _short(codes: IntArray, m: int) -> NDArray[np.integer[Any]]:
    """Codes in 16 bits where they fit: numpy sorts those in linear time."""
    return codes.astype(np.uint16) if m <= 65_536 else codes
