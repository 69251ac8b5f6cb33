"""Which rows are trained on, and what is wrong with rows that cannot be."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from shipworthy.core.errors import DataError, nearest
from shipworthy.core.locale import text

if TYPE_CHECKING:
    import polars as pl
    from numpy.typing import NDArray


def select(frame: pl.DataFrame, wanted: int | None, *, unit: str | None, seed: int) -> pl.DataFrame:
    """Return whole units, drawn by the seed, that together have at most `wanted` rows.

    Units are taken in a drawn order; one that no longer fits is passed over. Rows keep their order.
    wanted: None, or more than there are, takes all. unit: column; None makes each row a unit of its
    own, and so is a row without a unit.
    Raises DataError where even the smallest unit has more rows than wanted.
    """
    if wanted is None or wanted >= frame.height:
        return frame
    units = _units(frame, unit)
    sizes = np.bincount(units)
    kept = np.zeros(len(sizes), dtype=bool)
    left = wanted
    for number in np.random.default_rng([seed, len(sizes)]).permutation(len(sizes)):
        if sizes[number] <= left:
            kept[number] = True
            left -= int(sizes[number])
    if not kept.any():
        raise DataError(
            text("error.selection.units", wanted=wanted, smallest=int(sizes.min())),
            column=unit,
            fix=text("error.selection.units.fix"),
        )
    return frame.filter(kept[units])


def class_numbers(
    frame: pl.DataFrame, *, label: str, classes: tuple[str, ...], split: str
) -> NDArray[np.int64]:
    """Return the number of each row's class in `classes`, shape (n,).

    Raises DataError that names the row where a label is missing or not one of them.
    """
    numbers = {name: number for number, name in enumerate(classes)}
    values = frame[label].to_list()
    labels = np.fromiter((numbers.get(v, -1) for v in values), dtype=np.int64, count=len(values))
    if (labels < 0).any():
        row = int((labels < 0).argmax())
        raise DataError(
            text("error.selection.label", value=values[row]),
            row=row + 1,
            column=label,
            file=text("error.selection.split", split=split),
            fix=nearest(str(values[row]), classes),
        )
    return labels


def require_classes(labels: NDArray[np.int64], *, label: str, classes: tuple[str, ...]) -> None:
    """Raise DataError where a class has no row to learn it from."""
    counts = np.bincount(labels, minlength=len(classes))
    if (counts == 0).any():
        absent = [name for name, count in zip(classes, counts, strict=True) if count == 0]
        raise DataError(
            text("error.selection.no_class", rows=len(labels), name=absent[0]),
            column=label,
            fix=text("error.selection.no_class.fix"),
        )


def _units(frame: pl.DataFrame, unit: str | None) -> NDArray[np.int64]:
    if unit is None:
        return np.arange(frame.height)
    values = frame[unit]
    numbers = (values.rank("dense") - 1).cast(int).fill_null(-1).to_numpy().astype(np.int64)
    alone = numbers < 0
    numbers[alone] = numbers.max(initial=-1) + 1 + np.arange(int(alone.sum()))
    return numbers
