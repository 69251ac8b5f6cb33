"""The count cube: how many rows have each combination of slice, label, prediction.

Everything that is a rate is read off one integer array, so ten million rows are looked at once and
parts counted elsewhere add up. Drawing the cells of a cube from a multinomial is exactly the
bootstrap of its rows (rows must be units), at a cost that does not depend on the number of rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from shipworthy.measure.intervals import CountError

if TYPE_CHECKING:
    import polars as pl
    from numpy.typing import ArrayLike, NDArray

    IntArray: TypeAlias = NDArray[np.int64]
    FloatArray: TypeAlias = NDArray[np.float64]

BLOCK_ROWS = 65_536
"""Rows counted at a time: the index of a block stays in the processor's cache."""


@dataclass(frozen=True)
class CountCube:
    """Rows per combination of axis values.

    axes: names, in order. levels: for each axis the values that its positions stand for.
    counts: int64, one dimension an axis.
    Raises CountError where the three do not fit together.
    """

    axes: tuple[str, ...]
    levels: tuple[tuple[Any, ...], ...]
    counts: IntArray

    def __post_init__(self) -> None:
        """Check that names, levels and counts agree."""
        if len(set(self.axes)) != len(self.axes):
            raise CountError(f"axis names repeat: {', '.join(self.axes)}")
        if self.counts.shape != tuple(len(values) for values in self.levels):
            raise CountError(f"counts of shape {self.counts.shape} do not fit the levels")

    def __add__(self, other: CountCube) -> CountCube:
        """Counts of both parts together; axes and levels must be equal."""
        if (self.axes, self.levels) != (other.axes, other.levels):
            raise CountError("cubes with different axes or levels do not add up")
        return CountCube(self.axes, self.levels, self.counts + other.counts)

    @property
    def total(self) -> int:
        """Number of rows."""
        return int(self.counts.sum())

    def axis(self, name: str) -> int:
        """Dimension of an axis."""
        if name not in self.axes:
            raise CountError(f"no axis {name!r}; known: {', '.join(self.axes)}")
        return self.axes.index(name)

    def sum_over(self, axes: str | Sequence[str]) -> CountCube:
        """Cube without the given axes, their counts added."""
        gone = {self.axis(name) for name in ([axes] if isinstance(axes, str) else axes)}
        kept = [i for i in range(len(self.axes)) if i not in gone]
        return CountCube(
            tuple(self.axes[i] for i in kept),
            tuple(self.levels[i] for i in kept),
            np.asarray(self.counts.sum(axis=tuple(sorted(gone)))),
        )

    def take(self, axis: str, value: Any) -> CountCube:
        """Cube of the rows whose axis has this value; the axis disappears."""
        place = self.axis(axis)
        if value not in self.levels[place]:
            raise CountError(f"axis {axis!r} has no value {value!r}")
        return CountCube(
            self.axes[:place] + self.axes[place + 1 :],
            self.levels[:place] + self.levels[place + 1 :],
            np.asarray(self.counts.take(self.levels[place].index(value), axis=place)),
        )


def count(codes: Mapping[str, ArrayLike], levels: Mapping[str, int | Sequence[Any]]) -> CountCube:
    """Count rows by the codes of each axis.

    codes: axis -> (n,) integers or booleans from 0. levels: axis -> its number of values, or the
    values themselves; its order is the order of the axes.
    Raises CountError for codes outside their levels, for unequal lengths and names.

    >>> count({"group": [0, 1, 1], "y": [1, 0, 1]}, {"group": ["a", "b"], "y": 2}).counts.tolist()
    [[0, 1], [1, 1]]
    """
    if set(codes) != set(levels) or not levels:
        raise CountError(f"codes of {sorted(codes)} do not match levels of {sorted(levels)}")
    names = tuple(levels)
    values = tuple(tuple(range(v)) if isinstance(v, int) else tuple(v) for v in levels.values())
    columns = [_as_codes(name, codes[name]) for name in names]
    if len({len(column) for column in columns}) > 1:
        raise CountError("axes have different numbers of rows")
    shape = tuple(len(v) for v in values)
    cells = int(np.prod(shape))
    # The narrowest index type wins: a block of 32 cells is added up in bytes.
    narrow = np.min_scalar_type(cells)
    strides = [int(np.prod(shape[i + 1 :])) for i in range(len(shape))]
    total = np.zeros(cells, dtype=np.int64)
    for start in range(0, len(columns[0]), BLOCK_ROWS):
        blocks = [column[start : start + BLOCK_ROWS] for column in columns]
        for name, size, block in zip(names, shape, blocks, strict=True):
            if int(block.max()) >= size or int(block.min()) < 0:
                row = start + int(np.argmax((block >= size) | (block < 0)))
                raise CountError(
                    f"axis {name!r}: code {block[row - start]} in row {row} "
                    f"is outside its {size} levels"
                )
        index = np.zeros(len(blocks[0]), dtype=narrow)
        for stride, block in zip(strides, blocks, strict=True):
            index += block.astype(narrow, copy=False) * narrow.type(stride)
        total += np.bincount(index, minlength=cells)
    return CountCube(names, values, total.reshape(shape))


def encode_strings(values: ArrayLike | pl.Series) -> tuple[NDArray[Any], tuple[str | None, ...]]:
    """Codes from 0 and the sorted names that they stand for; missing is the last name, None.

    Codes are the smallest unsigned type that holds them. Names are sorted, so equal data give equal
    codes in whatever order rows come.

    >>> codes, names = encode_strings(["b", "a", "b"])
    >>> codes.tolist(), names
    ([1, 0, 1], ('a', 'b'))
    """
    import polars as pl

    if not isinstance(values, pl.Series):
        array = np.asarray(values)
        values = pl.Series(array.tolist() if array.dtype == object else array, strict=False)
    series = values.cast(pl.String)
    names = series.unique().drop_nulls().sort().to_list()
    codes = series.cast(pl.Enum(names)).to_physical()
    if series.null_count() == 0:
        return codes.to_numpy(), tuple(names)
    kind = np.min_scalar_type(len(names))
    wide = codes.cast(pl.UInt32).fill_null(len(names)).to_numpy()
    return wide.astype(kind), (*names, None)


def multinomial_replicates(
    counts: ArrayLike, replicates: int, seed: int | np.random.Generator
) -> IntArray:
    """Bootstrap replicates of the cells: shape (replicates, *counts.shape), int64.

    Each replicate is a multinomial draw of as many rows from the observed shares: the distribution
    of the counts when rows are drawn with replacement. Valid only where rows are units.
    """
    counts = np.asarray(counts)
    flat = counts.ravel()
    total = int(flat.sum())
    drawn = np.zeros((replicates, flat.size), dtype=np.int64)
    # Empty cells stay out: rounding must never put a row into them.
    present = np.flatnonzero(flat)
    if total > 0:
        generator = np.random.default_rng(seed)
        drawn[:, present] = generator.multinomial(total, flat[present] / total, size=replicates)
    return drawn.reshape((replicates, *counts.shape))


def equalized_odds_difference(counts: ArrayLike) -> FloatArray:
    """Worst of the spreads (highest minus lowest group) of true and false positive rates.

    counts: (..., groups, label, prediction), the last two of size 2 with the positive class at 1.
    Returns shape (...). Groups without rows of a label are left out of that rate; a rate with fewer
    than two groups makes the answer NaN.

    >>> equalized_odds_difference([[[8, 2], [1, 9]], [[9, 1], [4, 6]]]).round(6).tolist()
    0.3
    """
    table = np.asarray(counts)
    if table.ndim < 3 or table.shape[-2:] != (2, 2):
        raise CountError(f"counts of shape {table.shape} are not (..., groups, 2, 2)")
    positive = table[..., 1].astype(np.float64)
    rows = positive + table[..., 0]
    with np.errstate(invalid="ignore", divide="ignore"):
        rates = positive / rows
    known = rows > 0
    if known.all():
        spread = rates.max(axis=-2) - rates.min(axis=-2)
    else:
        highest = np.where(known, rates, -np.inf).max(axis=-2)
        spread = highest - np.where(known, rates, np.inf).min(axis=-2)
    spread = np.where(known.sum(axis=-2) >= 2, spread, np.nan)
    worst: FloatArray = spread.max(axis=-1)
    return worst


def _as_codes(name: str, values: ArrayLike) -> NDArray[Any]:
    column = np.asarray(values)
    if column.dtype == np.bool_:
        column = column.view(np.uint8)
    if column.ndim != 1 or (column.dtype.kind not in "iu" and column.size > 0):
        raise CountError(f"axis {name!r}: codes must be one row of integers, not {column.dtype}")
    return column
