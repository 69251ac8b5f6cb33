"""Which rows make up each step of a training run: a function of lengths, settings and seed alone.

A run's order never depends on processes, on parts of a step or on where it was resumed: those ask
this file for the same step and take their share of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from shipworthy.data.batches import buckets

if TYPE_CHECKING:
    from numpy.typing import NDArray


def steps_per_epoch(rows: int, global_rows: int) -> int:
    """Steps that a pass over the rows takes.

    >>> steps_per_epoch(6810, 64)
    107
    """
    return -(-rows // global_rows)


def step_rows(
    lengths: NDArray[np.int64], *, global_rows: int, seed: int, epoch: int
) -> list[NDArray[np.int64]]:
    """Return the row numbers of each step of an epoch, every row once, in a shuffled order.

    Rows of like length stand in one step. One step of an epoch, wherever it stands, holds the rest.
    """
    longest = max(1, int(lengths.max(initial=1)))
    return buckets(
        lengths, token_budget=longest * global_rows, seed=seed, epoch=epoch, max_rows=global_rows
    )


def share(
    rows: NDArray[np.int64], lengths: NDArray[np.int64], index: int, of: int
) -> NDArray[np.int64]:
    """Return the rows of a step that one of `of` processes computes, about equally many tokens.

    Rows are dealt by falling length, there and back, so that shares differ by at most one row.
    lengths: of all rows of the set. index: in [0, of).
    """
    if of == 1:
        return rows
    falling = np.argsort(-lengths[rows], kind="stable")
    turn = np.arange(len(rows)) % (2 * of)
    owner = np.where(turn < of, turn, 2 * of - 1 - turn)
    mine: NDArray[np.int64] = rows[falling[owner == index]]
    return mine
