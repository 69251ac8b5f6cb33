"""Which row of a candidate's file answers which row of the parent's.

Rows pair by id, or by position where count, labels, groups and units agree. Anything else is an
error that names the file, the row or id, and the column: a pair that is wrong in silence would turn
into flips that never happened.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from shipworthy.core.errors import DataError
from shipworthy.core.locale import text
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
            text("error.pairing.one_id"), file=other.file, fix=text("error.pairing.one_id.fix")
        )
    if parent.ids is None or other.ids is None:
        if len(parent) != len(other):
            raise DataError(
                text("error.pairing.rows", rows=len(other), file=parent.file, expected=len(parent)),
                file=other.file,
                fix=text("error.pairing.rows.fix"),
            )
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
    first = parent.ids[int(absent[0])]
    count = text("error.pairing.count", absent=len(absent), rows=len(parent))
    if back:
        raise DataError(
            text("error.pairing.no_id", value=first, file=other.file, count=count),
            file=parent.file,
            row=int(absent[0]) + 1,
            column=parent.id,
            fix=text("error.pairing.same_rows.fix"),
        )
    raise DataError(
        text(
            "error.pairing.id_absent", value=first, row=absent[0] + 1, file=parent.file, count=count
        ),
        file=other.file,
        column=other.id,
        fix=text("error.pairing.same_rows.fix"),
    )


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
        text(
            "error.pairing.label",
            here=here,
            there=there,
            row=row + 1,
            file=parent.file,
            wrong=len(wrong),
            rows=len(parent),
        ),
        file=other.file,
        row=int(order[row]) + 1,
        column=other.label,
        fix=text("error.pairing.label.fix") if other.id else text("error.pairing.order.fix"),
    )


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
                text("error.pairing.group", here=theirs[row], there=ours[row], file=parent.file),
                file=other.file,
                row=row + 1,
                column=column,
                fix=text("error.pairing.order.fix"),
            )
