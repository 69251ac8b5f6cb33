"""Columns of a table that is read in parts, as codes: one dictionary a column, kept over all parts.

Values are compared as text in one canonical form, as classes are (`model.class_names`), so that 1,
1.0 and "1" are one group in whatever file they stand.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from shipworthy.core.errors import DataError
from shipworthy.core.locale import text
from shipworthy.model.class_names import canonical, in_order

if TYPE_CHECKING:
    import polars as pl
    import pyarrow as pa
    from numpy.typing import NDArray

    Codes: TypeAlias = NDArray[np.int32]
    FloatArray: TypeAlias = NDArray[np.float64]

_SMALL_RANGE = 65_536
_CHECKED = 100_000
"""Distinct values of one part beyond which nothing is looked up any more."""


class Levels:
    """The values of one column, in the order in which they were met.

    most: values beyond which the column is refused, with the error `too_many`. kept: names that
    are told apart; all others share the name `REST`.
    """

    REST = "\0"

    def __init__(
        self, column: str, file: str, *, most: int, kept: Collection[str | None] | None = None
    ) -> None:
        self.column, self.file, self.most = column, file, most
        self.kept = None if kept is None else frozenset(kept)
        self.names: dict[str | None, int] = {}
        self._known: dict[Any, int] = {}

    def __len__(self) -> int:
        return len(self.names)

    def codes(self, values: pa.ChunkedArray) -> Codes:
        """Code of each value, shape (n,); missing and blank ones have the name None."""
        import pyarrow as pa

        array = values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values
        if isinstance(array, pa.ChunkedArray):
            array = array.chunk(0) if array.num_chunks else pa.array([], array.type)
        if pa.types.is_nested(array.type):
            raise DataError(text("error.predictions.nested"), file=self.file, column=self.column)
        if pa.types.is_integer(array.type) and array.null_count == 0 and len(array):
            found = self._of_integers(np.asarray(array))
            if found is not None:
                return found
        if not pa.types.is_dictionary(array.type):
            array = array.dictionary_encode()
        distinct = array.dictionary
        if len(distinct) > max(self.most, _CHECKED) and self.kept is None:
            raise self._too_many(len(distinct))
        table = self._lookup(distinct.to_pylist())
        places = array.indices
        if places.null_count:
            table = np.append(table, self._lookup([None]))
            places = places.fill_null(len(distinct))
        return np.asarray(table[np.asarray(places)], dtype=np.int32)

    def _of_integers(self, values: NDArray[Any]) -> Codes | None:
        low, high = int(values.min()), int(values.max())
        if high - low >= _SMALL_RANGE:
            return None
        place = values if low == 0 else values - low
        present = np.zeros(high - low + 1, dtype=bool)
        present[place] = True
        found = np.flatnonzero(present)
        table = np.zeros(high - low + 1, dtype=np.int32)
        table[found] = self._lookup([int(v) + low for v in found])
        return np.asarray(table[place])

    def _lookup(self, raw: list[Any]) -> Codes:
        import polars as pl

        new = [value for value in raw if value not in self._known]
        if new:
            names = canonical(pl.Series(new, strict=False)).to_list()
            for value, name in zip(new, names, strict=True):
                if self.kept is not None and name not in self.kept:
                    name = self.REST
                self._known[value] = self.names.setdefault(name, len(self.names))
            if len(self.names) > self.most:
                raise self._too_many(len(self.names))
        return np.array([self._known[value] for value in raw], dtype=np.int32)

    def _too_many(self, found: int) -> DataError:
        return DataError(
            text("error.audit.many_groups", found=found, most=self.most),
            file=self.file,
            column=self.column,
            fix=text("error.audit.many_groups.fix"),
        )

    def ordered(self) -> tuple[tuple[str | None, ...], NDArray[np.int64]]:
        """Names in order, missing last, and the place of each code among them; -1 for the rest."""
        named = in_order(n for n in self.names if n is not None and n != self.REST)
        names: tuple[str | None, ...] = (*named, None) if None in self.names else named
        place = {name: k for k, name in enumerate(names)}
        return names, np.array([place.get(n, -1) for n in self.names], dtype=np.int64)


def numbers(values: pa.ChunkedArray) -> FloatArray:
    """Numbers of a column, shape (n,); what is missing or no number is NaN."""
    import polars as pl

    series = pl.Series(pl.from_arrow(values))
    if series.dtype in (pl.Categorical, pl.Enum) or series.dtype.is_nested():
        series = series.cast(pl.String, strict=False)
    found = series.cast(pl.Float64, strict=False)
    if found.null_count():
        found = found.fill_null(float("nan"))
    return found.to_numpy()


def unit_hashes(values: pa.ChunkedArray) -> tuple[NDArray[np.uint64], pl.Series]:
    """64 bits for each unit, equal for equal units, and the units as they were read."""
    import polars as pl

    series = pl.Series(pl.from_arrow(values))
    # As text, so that 7 and "7" are one unit in whatever file they stand.
    series = canonical(series) if series.dtype.is_float() else series.cast(pl.String)
    return series.hash(seed=0).to_numpy(), series
