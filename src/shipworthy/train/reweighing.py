"""Row weights under which label and group have nothing to do with each other.

    w(g, y) = P(g) P(y) / P(g, y)

(Kamiran and Calders 2012, sec. 4.3). A group keeps its weight as a whole, and so does a class; only
the pairs change. The weights are those of the training rows: what a model makes of them on new rows
is for the ruler to say.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from shipworthy.core.errors import DataError
from shipworthy.core.locale import text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    IntArray: TypeAlias = NDArray[np.int64]
    FloatArray: TypeAlias = NDArray[np.float64]


def reweighing_weights(
    labels: IntArray, groups: IntArray, *, names: tuple[Sequence[str], Sequence[str]] | None = None
) -> FloatArray:
    """Return how much each row counts, above 0, with mean 1; shape (n,).

    labels, groups: their numbers, from 0, shape (n,). names: of classes and groups, for errors.
    Raises DataError where a group has no row of a class, or there is only one group.

    >>> reweighing_weights(np.array([1, 1, 0, 1, 0]), np.array([0, 0, 0, 1, 1])).round(3).tolist()
    [0.9, 0.9, 1.2, 1.2, 0.8]
    """
    counts = np.zeros((int(groups.max(initial=-1)) + 1, int(labels.max(initial=-1)) + 1))
    np.add.at(counts, (groups, labels), 1.0)
    require_groups(len(counts))
    if (counts == 0).any():
        group, label = (int(place) for place in np.argwhere(counts == 0)[0])
        classes, values = names or (range(counts.shape[1]), range(counts.shape[0]))
        raise DataError(
            text("error.mitigation.cell", group=values[group], label=classes[label]),
            fix=text("error.mitigation.cell.fix"),
        )
    expected = np.outer(counts.sum(axis=1), counts.sum(axis=0)) / counts.sum()
    found: FloatArray = (expected / counts)[groups, labels]
    return found


def require_groups(count: int) -> None:
    """Raise DataError where there are less than two groups."""
    if count < 2:
        raise DataError(
            text("error.mitigation.one_group"), fix=text("error.mitigation.one_group.fix")
        )
