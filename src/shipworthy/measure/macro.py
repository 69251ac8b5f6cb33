"""F1 and precision averaged over classes, by bootstrap replicates of the confusion counts.

There is no binomial behind a macro average of more than two classes. Where rows are units, cells
are drawn from a multinomial, which is exactly the bootstrap of rows; else every unit gets a
Poisson(1) weight, which is the bootstrap of units.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from shipworthy.measure.counts import multinomial_replicates
from shipworthy.measure.estimates import Replicates

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from shipworthy.measure.slices import Partition
    from shipworthy.model.predictions import Predictions

    FloatArray: TypeAlias = NDArray[np.float64]
    IntArray: TypeAlias = NDArray[np.int64]

REPLICATES = 10_000
MIN_CELL = 10
"""Rows of each class below which replicates say nothing."""

MIN_UNITS = 30

_SEED = 0
_BLOCK = 500


def macro(name: str, rows: Partition, model: Predictions) -> Replicates:
    """Macro F1 or precision over the slices."""
    return _replicates(name, rows, model, None, identical=False)


def macro_change(
    name: str, rows: Partition, model: Predictions, parent: Predictions, identical: bool
) -> Replicates:
    """Change of macro F1 or precision against the parent, both drawn with the same rows."""
    return _replicates(name, rows, model, parent, identical=identical)


def macro_value(name: str, confusion: NDArray[np.generic]) -> FloatArray:
    """Macro average from confusion counts (..., label, prediction), over classes with labels.

    A class that is never predicted has precision and F1 of 0, as scikit-learn has it.
    """
    table = np.asarray(confusion, dtype=np.float64)
    hit = np.diagonal(table, axis1=-2, axis2=-1)
    actual, chosen = table.sum(axis=-1), table.sum(axis=-2)
    top, bottom = (2 * hit, actual + chosen) if name == "f1" else (hit, chosen)
    score = np.divide(top, bottom, out=np.zeros_like(top), where=bottom > 0)
    known = actual > 0
    count = known.sum(axis=-1)
    total = np.where(known, score, 0.0).sum(axis=-1)
    return np.asarray(np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0))


def _replicates(
    name: str, rows: Partition, model: Predictions, parent: Predictions | None, *, identical: bool
) -> Replicates:
    k = len(model.classes)
    assert model.labels is not None
    codes = model.labels * k + model.predicted
    if parent is not None:
        codes = codes * k + parent.predicted
    value, drawn = np.full(rows.m, np.nan), np.full((rows.m, REPLICATES), np.nan)
    reasons, units = [], np.zeros(rows.m)
    for s, chosen in enumerate(rows.parts):
        cells, place = np.unique(codes[chosen], return_inverse=True)
        owners = chosen if rows.unit_codes is None else rows.unit_codes[chosen]
        units[s] = len(np.unique(owners))
        counts = np.bincount(place, minlength=len(cells)).astype(np.float64)
        value[s] = _of_cells(name, cells, counts[None], k, parent is not None)[0]
        support = np.bincount(model.labels[chosen], minlength=k)
        reasons.append(_reason(support, units[s]))
        if reasons[-1] == "":
            drawn[s] = np.concatenate(
                [
                    _of_cells(name, cells, block, k, parent is not None)
                    for block in _draws(counts, place, owners, rows.unit_codes is None, s)
                ]
            )
    return Replicates(
        value=value,
        replicates=drawn,
        n=np.bincount(rows.codes, minlength=rows.m).astype(np.float64),
        units=units,
        method=f"percentile bootstrap, {REPLICATES:,} replicates",
        reasons=tuple(reasons),
        identical=np.full(rows.m, identical),
    )


def _draws(
    counts: FloatArray, place: IntArray, owners: IntArray, rows_are_units: bool, slice_index: int
) -> list[FloatArray]:
    """Replicates of the cells in blocks, each of shape (block, cells)."""
    generator = np.random.default_rng((_SEED, slice_index))
    sizes = [_BLOCK] * (REPLICATES // _BLOCK)
    if rows_are_units:
        return [multinomial_replicates(counts, size, generator).astype(float) for size in sizes]
    _, unit = np.unique(owners, return_inverse=True)
    table = np.zeros((int(unit.max()) + 1, len(counts)))
    np.add.at(table, (unit.reshape(-1), place.reshape(-1)), 1.0)
    return [generator.poisson(1.0, (size, len(table))).astype(float) @ table for size in sizes]


def _of_cells(name: str, cells: IntArray, counts: FloatArray, k: int, change: bool) -> FloatArray:
    """Macro value (or its change) of replicated cell counts, shape (R,)."""

    def confusion(codes: IntArray) -> FloatArray:
        table = np.zeros((len(counts), k * k))
        for column, code in enumerate(codes):
            table[:, code] += counts[:, column]
        return table.reshape(len(counts), k, k)

    if not change:
        return macro_value(name, confusion(cells))
    label, candidate, before = cells // (k * k), cells // k % k, cells % k
    after = macro_value(name, confusion(label * k + candidate))
    return after - macro_value(name, confusion(label * k + before))


def _reason(support: IntArray, units: float) -> str:
    if support.sum() == 0:
        return "no_data"
    if support[support > 0].min() < MIN_CELL:
        return "too_few_of_class"
    return "unit_count" if units < MIN_UNITS else ""
