"""Counts over combinations of codes whose number is not known beforehand.

Where the combinations are few they are one dense array, which grows when a new value turns up;
where they are many only those that occur are kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    FloatArray: TypeAlias = NDArray[np.float64]
    IntArray: TypeAlias = NDArray[np.int64]

MOST_DENSE = 1 << 22
"""Combinations up to which counts are one dense array."""

_MOST_PARTS = 1 << 22
"""Sparse entries after which parts are put together."""


class Counter:
    """Sums over combinations of `axes` axes: of rows, and of `sums` further numbers a row."""

    def __init__(self, axes: int, sums: int = 0) -> None:
        self.sums = sums
        self.shape: tuple[int, ...] = (1,) * axes
        self._dense: FloatArray | None = None
        self._keys: list[IntArray] = []
        self._parts: list[FloatArray] = []

    def add(
        self, codes: Sequence[NDArray[Any]], sizes: Sequence[int], values: Sequence[FloatArray] = ()
    ) -> None:
        """Add rows. sizes: values of each axis so far; values: `sums` numbers of each row."""
        self._grow(tuple(max(a, b) for a, b in zip(sizes, self.shape, strict=True)))
        key = _joined(codes, self.shape)
        total = int(np.prod(self.shape, dtype=np.float64))
        if total <= MOST_DENSE:
            if self._dense is None:
                self._dense = np.zeros((self.sums + 1, total))
            self._dense[0] += np.bincount(key, minlength=total)
            for k, value in enumerate(values, start=1):
                self._dense[k] += np.bincount(key, value, minlength=total)
            return
        found, places = np.unique(key, return_inverse=True)
        parts = [np.bincount(places, w, len(found)) for w in (None, *values)]
        self._keys.append(found.astype(np.int64))
        self._parts.append(np.stack([np.asarray(p, dtype=np.float64) for p in parts]))
        if sum(map(len, self._keys)) > _MOST_PARTS:
            self._together()

    def cells(self) -> tuple[list[IntArray], FloatArray]:
        """Codes of each combination that has rows, an array an axis, and its sums, shape (s, c)."""
        if self._dense is not None:
            present = np.flatnonzero(self._dense[0])
            found, parts = present.astype(np.int64), self._dense[:, present]
        elif self._keys:
            self._together()
            found, parts = self._keys[0], self._parts[0]
        else:
            found, parts = np.zeros(0, np.int64), np.zeros((self.sums + 1, 0))
        return [np.asarray(p, np.int64) for p in np.unravel_index(found, self.shape)], parts

    def _grow(self, shape: tuple[int, ...]) -> None:
        if shape == self.shape:
            return
        before = self.shape
        total = int(np.prod(shape, dtype=np.float64))
        if self._dense is not None:
            if total <= MOST_DENSE:
                grown = np.zeros((self.sums + 1, *shape))
                inside = (slice(None), *(slice(0, size) for size in before))
                grown[inside] = self._dense.reshape(self.sums + 1, *before)
                self._dense = grown.reshape(self.sums + 1, total)
            else:
                present = np.flatnonzero(self._dense[0])
                self._keys = [present.astype(np.int64)]
                self._parts = [self._dense[:, present]]
                self._dense = None
        if self._keys:
            self._keys = [
                np.ravel_multi_index(np.unravel_index(k, before), shape).astype(np.int64)
                for k in self._keys
            ]
        self.shape = shape

    def _together(self) -> None:
        found, places = np.unique(np.concatenate(self._keys), return_inverse=True)
        whole = np.concatenate(self._parts, axis=1)
        self._parts = [np.stack([np.bincount(places, part, len(found)) for part in whole])]
        self._keys = [found]


def _joined(codes: Sequence[NDArray[Any]], shape: tuple[int, ...]) -> NDArray[Any]:
    """One number for each combination; in 32 bits where they hold it."""
    total = float(np.prod(shape, dtype=np.float64))
    kind = np.int32 if total < 2**31 else np.int64
    key: NDArray[Any] = codes[0].astype(kind, copy=True)
    for code, size in zip(codes[1:], shape[1:], strict=True):
        np.multiply(key, kind(size), out=key)
        np.add(key, code, out=key, casting="unsafe")
    return key
