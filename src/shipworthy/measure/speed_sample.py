"""From the times of one process to its percentiles: the order statistic and where warm-up ends."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    FloatArray: TypeAlias = NDArray[np.float64]

LEAST_DROPPED = 20
"""Requests that are dropped in any case."""

WINDOW = 50
"""Requests of the running median."""

TOLERANCE = 0.05
"""Largest relative distance of the running median from the median of the last quarter."""


def order_statistic(times: ArrayLike, percent: int) -> float:
    """Return the percentile of m times as the ceil(percent / 100 * (m + 1))-th smallest of them.

    times: shape (m,), m >= 1; percent: whole, in [1, 99]. The rank is at most m.

    >>> order_statistic([5.0, 1.0, 4.0, 2.0, 3.0], 50)
    3.0
    """
    values = np.asarray(times, dtype=np.float64)
    if values.ndim != 1 or values.size == 0:
        raise ValueError(f"times must have the shape (m,) with m >= 1, got {values.shape}")
    if not 1 <= percent <= 99:
        raise ValueError(f"percent must lie between 1 and 99, got {percent}")
    # Whole numbers: 0.95 * (m + 1) in floating point can land just above a whole rank.
    rank = min(-(-percent * (values.size + 1) // 100), values.size)
    return float(np.partition(values, rank - 1)[rank - 1])


def warm_up(times: ArrayLike) -> int | None:
    """Return how many of the first times belong to warming up; None where it is not over.

    It is over at the first request, after at least 20, from which the median of 50 lies within 5 %
    of the median of the last quarter of all times. times: shape (m,), in the order of the requests.
    """
    values = np.asarray(times, dtype=np.float64)
    if len(values) < LEAST_DROPPED + WINDOW:
        return None
    late = np.median(values[-(len(values) // 4) :])
    windows = np.lib.stride_tricks.sliding_window_view(values[LEAST_DROPPED:], WINDOW)
    level = np.abs(np.median(windows, axis=1) - late) <= TOLERANCE * late
    return LEAST_DROPPED + int(np.argmax(level)) if level.any() else None


def in_random_order(texts: Sequence[str], count: int, generator: np.random.Generator) -> list[str]:
    """Return `count` texts in random order; all are taken once before one is taken again."""
    drawn: list[int] = []
    while len(drawn) < count:
        drawn += generator.permutation(len(texts))[: count - len(drawn)].tolist()
    return [texts[k] for k in drawn]
