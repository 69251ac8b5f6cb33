"""Which row of a candidate's file answers which row of the parent's.

Rows pair by id, or by position where count, labels, groups and units agree. Anything else is an
error that names the file, the row or id, and the column: a pair that is wrong in silence would turn
into flips that never happened.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from shipworthy.core.errors import DataError
from shipworthy.model.class_names import canonical

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from shipworthy.model.predictions import Predictions

    IntArray: TypeAlias = NDArray[np.int64]


def paired_rows(parent: Predictions, other: Predictions) -> IntArray:
    """Return the candidate's row for each row of the parent, shape (n,).

    Both must carry the same `classes`. Raises DataError where the rows are not the same ones.
    """
    order = _order(parent, other)
    if other.labels is not None:
        _check_labels(parent, other, order, other.labels)
    if other.id is None:
        _check_frame(parent, other)
    return order


def _order(parent: Predictions, other: Predictions) -> IntArray:
    if (parent.ids is None) != (other.ids is None):
        raise DataError(
            "ids are read from one file only", file=other.file, fix="read both with id="
        )
    if parent.ids is None or other.ids is None:
        if len(parent) != len(other):
            raise DataError(
                f"{len(other):,} rows, but {parent.file} has {len(parent):,}", file=other.file,
                fix="predict the same rows, and give --id COLUMN to pair them by name",
            )  # fmt: skip
        return np.arange(len(parent), dtype=np.int64)
    _check_same_ids(parent, other)
    _check_same_ids(other, parent, back=True)
    order = other.ids.arg_sort().to_numpy().astype(np.int64)
    rank = parent.ids.arg_sort().to_numpy().astype(np.int64)
    out = np.empty_like(rank)
    out[rank] = order
    return out


def _check_same_ids(parent: Predictions, other: Predictions, *, back: bool = False) -> None:
    assert parent.ids is not None
    assert other.ids is not None
    absent = np.flatnonzero(~parent.ids.is_in(other.ids.implode()).to_numpy())
    if not len(absent):
        return
    first, count = parent.ids[int(absent[0])], f"{len(absent):,} of {len(parent):,} rows"
    if back:
        raise DataError(
            f"the id {first!r} is not in {other.file} ({count})", file=parent.file,
            row=int(absent[0]) + 1, column=parent.id, fix="both files need exactly the same rows",
        )  # fmt: skip
    raise DataError(
        f"no row with the id {first!r}, which is row {absent[0] + 1} of {parent.file} ({count})",
        file=other.file, column=other.id, fix="both files need exactly the same rows",
    )  # fmt: skip


def _check_labels(
    parent: Predictions, other: Predictions, order: IntArray, labels: IntArray
) -> None:
    assert parent.labels is not None
    wrong = np.flatnonzero(labels[order] != parent.labels)
    if not len(wrong):
        return
    row = int(wrong[0])
    here, there = parent.classes[labels[order[row]]], parent.classes[parent.labels[row]]
    raise DataError(
        f"the label is {here!r}, but {there!r} in row {row + 1} of {parent.file} "
        f"({len(wrong):,} of {len(parent):,} rows differ)",
        file=other.file, row=int(order[row]) + 1, column=other.label,
        fix="labels must be equal" if other.id else "sort both files alike, or give --id COLUMN",
    )  # fmt: skip


def _check_frame(parent: Predictions, other: Predictions) -> None:
    """Rows that pair by position must lie in the same groups and units."""
    for column in other.frame.columns:
        if column not in parent.frame.columns:
            continue
        ours, theirs = canonical(parent.frame[column]), canonical(other.frame[column])
        wrong = np.flatnonzero(~ours.eq_missing(theirs).to_numpy())
        if len(wrong):
            row = int(wrong[0])
            raise DataError(
                f"{theirs[row]!r} here, but {ours[row]!r} in the same row of {parent.file}",
                file=other.file, row=row + 1, column=column,
                fix="sort both files alike, or give --id COLUMN",
            )  # fmt: skip
