"""Rows that are alike, counted together: what an audit is computed from, whatever its size.

A cell holds n rows with the same groups, unit, label, prediction and score. Where a table is small
each row is a cell; of a large one only cells are kept, so that a billion rows take no more room
than a thousand. Weights add up: a cell knows the sum of its rows' weights and of their squares.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from shipworthy.core.records import ALL_ROWS, Slice
from shipworthy.measure.estimates import Rate
from shipworthy.measure.rates import design_effect
from shipworthy.measure.slices import compacted

if TYPE_CHECKING:
    from numpy.typing import NDArray

    FloatArray: TypeAlias = NDArray[np.float64]
    IntArray: TypeAlias = NDArray[np.int64]
    BoolArray: TypeAlias = NDArray[np.bool_]

LEFT_OUT = -1
"""Code of a group that is not compared."""


@dataclass(frozen=True, eq=False)
class Cells:
    """c cells.

    groups: column -> codes (c,) into `levels[column]`, `LEFT_OUT` where the value is not compared.
    keys: further codes (label, prediction, condition), each shape (c,). numbers: sums over the
    rows of each cell, or, for `score`, the value that its rows share. n: rows; w: their weights
    added up; w2: squares of their weights added up; each shape (c,). unit: codes, or None where
    rows are units.
    """

    groups: Mapping[str, IntArray]
    levels: Mapping[str, tuple[str | None, ...]]
    n: FloatArray
    w: FloatArray
    w2: FloatArray
    keys: Mapping[str, IntArray] = field(default_factory=dict)
    numbers: Mapping[str, FloatArray] = field(default_factory=dict)
    unit: IntArray | None = None

    def __len__(self) -> int:
        return len(self.n)

    @property
    def weighted(self) -> bool:
        """Whether some row weighs other than 1."""
        return bool(np.any(self.w != self.n) or np.any(self.w2 != self.n))

    def taken(self, chosen: BoolArray | IntArray) -> Cells:
        """Return some of the cells."""
        return replace(
            self,
            groups={k: v[chosen] for k, v in self.groups.items()},
            keys={k: v[chosen] for k, v in self.keys.items()},
            numbers={k: v[chosen] for k, v in self.numbers.items()},
            n=self.n[chosen],
            w=self.w[chosen],
            w2=self.w2[chosen],
            unit=None if self.unit is None else self.unit[chosen],
        )


@dataclass(frozen=True, eq=False)
class Area:
    """Cells in m disjoint slices; codes: the slice of each cell, shape (c,), in [0, m)."""

    columns: tuple[str, ...]
    slices: tuple[Slice, ...]
    codes: IntArray
    cells: Cells

    @property
    def m(self) -> int:
        """Number of slices."""
        return len(self.slices)

    def sums(self, values: NDArray[np.generic]) -> FloatArray:
        """Sum of a number per cell over each slice, shape (m,)."""
        weights = np.asarray(values, dtype=np.float64)
        return np.asarray(np.bincount(self.codes, weights, self.m), dtype=np.float64)

    def rows(self, counted: BoolArray) -> FloatArray:
        """Counted rows of each slice."""
        return self.sums(self.cells.n * counted)

    @cached_property
    def places(self) -> tuple[IntArray, IntArray]:
        """Place of each cell among the units of its slice, and the slice of each place."""
        unit = self.cells.unit
        if unit is None:
            return np.arange(len(self.codes), dtype=np.int64), self.codes
        width = int(unit.max(initial=0)) + 1
        keys, places = compacted(self.codes * width + unit, self.m * width)
        return places, keys // width

    def unit_sums(self, values: NDArray[np.generic]) -> tuple[FloatArray, IntArray]:
        """Sum of a number per cell over each unit within each slice, and the slice of each sum."""
        places, owners = self.places
        weights = np.asarray(values, dtype=np.float64)
        return np.asarray(np.bincount(places, weights, len(owners)), np.float64), owners

    def units(self, counted: BoolArray) -> FloatArray:
        """Units with at least one counted row, per slice; rows where they are units."""
        if self.cells.unit is None:
            return self.rows(counted)
        held, owners = self.unit_sums(self.cells.n * counted)
        return np.asarray(np.bincount(owners, held > 0, self.m), dtype=np.float64)

    def kish(self, counted: BoolArray) -> FloatArray:
        """Rows over effective rows, n sum of w**2 / (sum of w)**2, at least 1 (Kish 1965)."""
        w = self.sums(self.cells.w * counted)
        shrunk = over(self.rows(counted) * self.sums(self.cells.w2 * counted), w**2)
        return np.fmax(shrunk, 1.0)


def area(cells: Cells, columns: Sequence[str] = ()) -> Area:
    """Split cells by the values of group columns; no column gives the one slice of all rows.

    Values that are not compared are left out; slices without rows do not appear. Slices stand in
    the order of their levels.
    """
    if not columns:
        return Area((), (ALL_ROWS,), np.zeros(len(cells), dtype=np.int64), cells)
    inside = np.all([cells.groups[c] != LEFT_OUT for c in columns], axis=0)
    kept = cells if inside.all() else cells.taken(inside)
    sizes = [len(cells.levels[c]) for c in columns]
    codes = np.zeros(len(kept), dtype=np.int64)
    for column, size in zip(columns, sizes, strict=True):
        codes = codes * size + kept.groups[column]
    present, compact = compacted(codes, int(np.prod(sizes)))
    found = np.unravel_index(present, sizes)
    slices = tuple(
        Slice.of({c: cells.levels[c][int(p[k])] for c, p in zip(columns, found, strict=True)})
        for k in range(len(present))
    )
    return Area(tuple(columns), slices, compact, kept)


def condensed(where: Area, *shared: str) -> Area:
    """Put the cells of a slice together that have the same keys (and unit): fewer, the same sums.

    shared: numbers that cells with the same keys share, as the score of a bin.
    """
    cells = where.cells
    columns = [where.codes, *cells.keys.values()]
    columns += [] if cells.unit is None else [cells.unit]
    sizes = [int(c.max(initial=0)) + 1 for c in columns]
    if float(np.prod(sizes, dtype=np.float64)) > 2**62:
        return where
    key = np.zeros(len(cells), dtype=np.int64)
    for column, size in zip(columns, sizes, strict=True):
        key = key * size + column
    present, place = compacted(key, int(np.prod(sizes)))
    if len(present) == len(key):
        return where
    found = [np.asarray(c, np.int64) for c in np.unravel_index(present, sizes)]

    def added(values: FloatArray) -> FloatArray:
        return np.asarray(np.bincount(place, values, len(present)), dtype=np.float64)

    numbers = {k: added(v) for k, v in cells.numbers.items() if k not in shared}
    for name in shared:
        numbers[name] = np.empty(len(present))
        numbers[name][place] = cells.numbers[name]
    return Area(
        where.columns,
        where.slices,
        found[0],
        Cells(
            {}, {}, added(cells.n), added(cells.w), added(cells.w2),
            dict(zip(cells.keys, found[1:], strict=False)), numbers,
            None if cells.unit is None else found[-1],
        ),
    )  # fmt: skip


def largest(where: Area, most: int) -> Area:
    """Keep the slices with the most rows, in their order; of equal ones the first."""
    if where.m <= most:
        return where
    rows = where.rows(np.ones(len(where.cells), dtype=bool))
    kept = np.sort(np.argsort(-rows, kind="stable")[:most])
    place = np.full(where.m, -1, dtype=np.int64)
    place[kept] = np.arange(most)
    inside = place[where.codes] >= 0
    return Area(
        where.columns,
        tuple(where.slices[k] for k in kept),
        place[where.codes][inside],
        where.cells.taken(inside),
    )


def rate(where: Area, counted: BoolArray, success: BoolArray) -> Rate:
    """Share of successes among the counted rows of each slice, by weight where rows have one.

    trials counts rows; successes is the weighted share of them; deff holds what weights (Kish) and
    units cost.
    """
    cells = where.cells
    n, total = where.rows(counted), where.sums(cells.w * counted)
    share = over(where.sums(cells.w * (counted & success)), total)
    weighted = cells.weighted
    successes = share * n if weighted else where.rows(counted & success)
    successes = np.clip(np.nan_to_num(successes), 0.0, n)
    units = where.units(counted)
    deff = where.kish(counted) if weighted else np.ones(where.m)
    if cells.unit is not None:
        scale = np.nan_to_num(over(n, total))[where.codes]
        weight = cells.w * scale * counted
        centred = np.where(counted, success - np.nan_to_num(share)[where.codes], 0.0)
        sums, owners = where.unit_sums(weight * centred)
        clustered = np.bincount(owners, sums**2, where.m) * over(units, units - 1)
        independent = np.nan_to_num(n * share * (1 - share) * over(n, n - 1))
        held, _ = where.unit_sums(weight)
        size = np.nan_to_num(over(np.bincount(owners, held**2, where.m), n))
        deff = np.maximum(deff, design_effect(clustered, independent, size))
    return Rate(successes, n, units, deff)


def over(x: NDArray[np.generic], n: NDArray[np.generic]) -> FloatArray:
    """X / n, NaN where n is not above 0."""
    top, bottom = np.asarray(x, dtype=np.float64), np.asarray(n, dtype=np.float64)
    nothing = np.full(np.shape(bottom), np.nan)
    return np.asarray(np.divide(top, bottom, out=nothing, where=bottom > 0))
