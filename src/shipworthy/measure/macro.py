"""F1 and precision averaged over classes, by bootstrap replicates of the confusion counts.

There is no binomial behind a macro average of more than two classes. Where rows are units, cells
are drawn from a multinomial, which is exactly the bootstrap of rows; else every unit gets a
Poisson(1) weight, which is the bootstrap of units. A bootstrap knows nothing of errors that it has
not met, so the replicates are spread as far as `rates.cautious` asks for the linearised average.
"""

from __future__ import annotations

from math import factorial
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from scipy import sparse
from scipy.special import ndtri

from shipworthy.measure.counts import multinomial_replicates
from shipworthy.measure.estimates import Replicates
from shipworthy.measure.intervals import critical
from shipworthy.measure.rates import cautious
from shipworthy.measure.slices import compacted, hashed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from shipworthy.measure.slices import Partition
    from shipworthy.model.predictions import Predictions

    FloatArray: TypeAlias = NDArray[np.float64]
    IntArray: TypeAlias = NDArray[np.int64]

REPLICATES = 10_000
MIN_CELL = 10
"""Rows in the denominator of a class below which replicates say nothing."""

MIN_UNITS = 30
MOST_BUCKETS = 1_000
"""More units than these are drawn in as many buckets: their sums have the same variance."""

_SEED = 0
_BLOCK = 500
_SHARES = np.cumsum([np.exp(-1) / factorial(j) for j in range(10)])
_POISSON = np.searchsorted(_SHARES, (np.arange(65_536) + 0.5) / 65_536).astype(np.float32)
"""Poisson(1) from 16 random bits, exact to 1.5e-5."""


def macro(name: str, rows: Partition, model: Predictions) -> Replicates:
    """Macro F1 or precision over the slices."""
    return _replicates(name, rows, [model], identical=False)


def macro_change(
    name: str, rows: Partition, model: Predictions, parent: Predictions, identical: bool
) -> Replicates:
    """Change of macro F1 or precision against the parent, both drawn with the same rows."""
    return _replicates(name, rows, [model, parent], identical=identical)


def macro_value(name: str, hit: FloatArray, actual: FloatArray, chosen: FloatArray) -> FloatArray:
    """Macro average over classes with labels, shape (...).

    hit, actual, chosen: rows of each class that are answered right, labelled, answered with it,
    shape (..., k). A class that is never predicted has precision and F1 of 0, as scikit-learn has
    it; NaN without any label.
    """
    top, bottom = _ratio(name, hit, actual, chosen)
    score = np.divide(top, bottom, out=np.zeros_like(top), where=bottom > 0)
    known = actual > 0
    count = known.sum(axis=-1)
    total = np.where(known, score, 0.0).sum(axis=-1)
    return np.asarray(np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0))


def _ratio(
    name: str, hit: FloatArray, actual: FloatArray, chosen: FloatArray
) -> tuple[FloatArray, FloatArray]:
    return (2 * hit, actual + chosen) if name == "f1" else (hit, chosen)


class _Cells:
    """What each cell, a combination of label and answers, counts for in every class."""

    def __init__(self, label: IntArray, answers: list[IntArray], k: int) -> None:
        self.k, self.label, self.answers = k, label, answers
        self._actual = self._sums(label, np.ones(len(label)))
        self._chosen = [self._sums(a, np.ones(len(a))) for a in answers]
        self._hit = [self._sums(a, (a == label).astype(float)) for a in answers]

    def _sums(self, classes: IntArray, weights: FloatArray) -> Any:
        places = (classes, np.arange(len(classes)))
        return sparse.csr_array((weights, places), shape=(self.k, len(classes)))

    def tables(self, counts: FloatArray) -> list[tuple[FloatArray, FloatArray, FloatArray]]:
        """Hit, actual and chosen rows of each class from cell counts (R, cells), for each model."""
        columns = np.ascontiguousarray(counts.T)
        actual = (self._actual @ columns).T
        return [
            ((hit @ columns).T, actual, (chosen @ columns).T)
            for hit, chosen in zip(self._hit, self._chosen, strict=True)
        ]

    def value(self, name: str, counts: FloatArray) -> FloatArray:
        """Macro average (or its change, the first model minus the second), shape (R,)."""
        values = [macro_value(name, *table) for table in self.tables(counts)]
        return values[0] if len(values) == 1 else values[0] - values[1]

    def influence(self, name: str, counts: FloatArray) -> tuple[FloatArray, float]:
        """What one row of each cell contributes to the error of the value, shape (cells,).

        It sums to 0 over the rows (Woodruff 1971, for a mean of ratios). The second is the largest
        contribution that one row can make.
        """
        total, reach = np.zeros(len(self.label)), 0.0
        for sign, answer, table in zip((1, -1), self.answers, self.tables(counts), strict=False):
            hit, actual, chosen = (part[0] for part in table)
            top, bottom = _ratio(name, hit, actual, chosen)
            used = (actual > 0) & (bottom > 0)
            one = np.divide(1.0, bottom * (actual > 0).sum(), out=np.zeros(self.k), where=used)
            score = np.divide(top, bottom, out=np.zeros(self.k), where=used)
            gain, loss = (2.0 if name == "f1" else 1.0) * one, score * one
            own = np.where(answer == self.label, gain[answer], 0.0) - loss[answer]
            if name == "f1":
                own = own - loss[self.label]
            # A row that turns leaves one class for another.
            moved = float((gain - loss).max() + loss.max())
            total, reach = total + sign * own, max(reach, moved)
        return total, reach


def _replicates(
    name: str, rows: Partition, models: list[Predictions], *, identical: bool
) -> Replicates:
    labels, k = models[0].labels, len(models[0].classes)
    if labels is None:
        raise ValueError(f"{models[0].file} has no labels; align it with its parent first")
    codes = labels
    for one in models:
        codes = codes * k + one.predicted
    distinct, places = compacted(codes, k ** (1 + len(models)))
    units = rows.units(np.ones(len(codes), dtype=bool))
    value, drawn = np.full(rows.m, np.nan), np.full((rows.m, REPLICATES), np.nan)
    reasons = []
    for s, chosen in enumerate(rows.parts):
        # Only combinations that this slice has are drawn.
        present, place = compacted(places[chosen], len(distinct))
        *answers, label = _digits(distinct[present], k, len(models))
        cells = _Cells(label, answers[::-1], k)
        counts = np.bincount(place, minlength=len(present)).astype(np.float64)
        value[s] = cells.value(name, counts[None])[0]
        reasons.append(_reason(name, cells, counts, units[s]))
        if reasons[-1]:
            continue
        sums = None
        if rows.unit_codes is not None:
            sums = _unit_sums(rows.unit_codes[chosen], place, len(present))
        blocks = _draws(counts, sums, s)
        raw = np.concatenate([cells.value(name, block) for block in blocks])
        influence, reach = cells.influence(name, counts)
        parts = influence[place] if sums is None else sums @ influence
        reach *= len(chosen) / units[s]
        wide = _widened(raw, value[s], parts, reach, units[s])
        drawn[s] = np.clip(wide, 0.0 if len(models) == 1 else -1.0, 1.0)
    return Replicates(
        value=value,
        replicates=drawn,
        n=np.bincount(rows.codes, minlength=rows.m).astype(np.float64),
        units=units,
        method=f"percentile bootstrap, {REPLICATES:,} replicates",
        reasons=tuple(reasons),
        identical=np.full(rows.m, identical),
    )


def _digits(codes: IntArray, k: int, models: int) -> list[IntArray]:
    """Answers, the last model's first, and the label behind combined codes."""
    return [codes // k**j % k for j in range(models + 1)]


def _unit_sums(units: IntArray, place: IntArray, cells: int) -> FloatArray:
    """Rows of each unit (or bucket of units) in each cell."""
    present, codes = compacted(units, int(units.max()) + 1)
    if len(present) > MOST_BUCKETS:
        codes = hashed(present, MOST_BUCKETS)[codes]
    size = int(codes.max()) + 1
    table = np.bincount(codes * cells + place, minlength=size * cells).reshape(size, cells)
    return table.astype(np.float64)


def _draws(counts: FloatArray, sums: FloatArray | None, index: int) -> Iterator[FloatArray]:
    """Replicates of the cells in blocks, each of shape (block, cells)."""
    generator = np.random.default_rng((_SEED, index))
    narrow = None if sums is None else sums.astype(np.float32)
    for _ in range(REPLICATES // _BLOCK):
        if narrow is None:
            yield multinomial_replicates(counts, _BLOCK, generator).astype(np.float64)
        else:
            bits = generator.integers(0, 65_536, (_BLOCK, len(narrow)), dtype=np.uint16)
            yield (_POISSON[bits] @ narrow).astype(np.float64)


def _widened(
    raw: FloatArray, value: float, parts: FloatArray, reach: float, units: float
) -> FloatArray:
    """Replicates stretched about the value to the standard error that few errors call for.

    Percentiles then reach as far as t with units - 1 degrees of freedom.
    """
    plain = np.sqrt((parts**2).sum(keepdims=True))
    inflated = plain * np.sqrt(units / (units - 1))
    one = np.zeros(len(parts), dtype=np.int64)
    wide = float(cautious(inflated, parts, one, np.array([reach]), few=True)[0])
    wide *= float(critical(0.95, units - 1) / critical(0.95, np.inf))
    if plain[0] <= 1e-9 * reach:
        return np.asarray(value + wide * ndtri((np.arange(len(raw)) + 0.5) / len(raw)))
    return np.asarray(value + (raw - value) * (wide / plain[0]))


def _reason(name: str, cells: _Cells, counts: FloatArray, units: float) -> str:
    """Why a slice has no replicates: a class has too few rows in its denominator, or few units."""
    if not len(counts):
        return "no_data"
    for _, actual, chosen in cells.tables(counts[None]):
        least = actual if name == "f1" else np.minimum(actual, chosen)
        if least[actual > 0].min() < MIN_CELL:
            return "too_few_of_class"
    return "unit_count" if units < MIN_UNITS else ""
