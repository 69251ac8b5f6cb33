"""How much faster one model answers than another, at a glance: one process, requests in turn.

Good enough to tell a search where to look; never an answer to a limit, which takes fresh processes
(`speed.py`): how one process feels about its luck with memory is in every request of it.
"""

from __future__ import annotations

from time import perf_counter_ns
from typing import TYPE_CHECKING

import numpy as np

from shipworthy.measure.speed_sample import in_random_order, order_statistic

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from shipworthy.model.text_classifier import TextClassifier

REQUESTS = 120
"""Timed requests of each model."""
WARM_UP = 24
TURN = 12
"""Requests that a model answers before it is the other one's turn."""


def paired_p95_ms(
    parent: TextClassifier, candidate: TextClassifier, texts: Sequence[str], *, seed: int
) -> tuple[float, float]:
    """Return the 95th percentile of both, ms, on the same texts one at a time, from text on.

    texts: as they come in service; `REQUESTS` of them are drawn.
    """
    generator = np.random.default_rng([seed, len(texts)])
    drawn = in_random_order(texts, WARM_UP + REQUESTS, generator)
    times: tuple[list[int], list[int]] = ([], [])
    for start in range(0, len(drawn), TURN):
        turn = drawn[start : start + TURN]
        # Who begins changes, so that neither always finds the caches of the other.
        order = (0, 1) if (start // TURN) % 2 == 0 else (1, 0)
        for place in order:
            times[place].extend(_times((parent, candidate)[place], turn))
    own, other = (_p95(np.array(found[WARM_UP:], np.int64)) for found in times)
    return own, other


def _times(model: TextClassifier, texts: Sequence[str]) -> list[int]:
    found = []
    for text in texts:
        begun = perf_counter_ns()
        model.score(model.encode([text]))
        found.append(perf_counter_ns() - begun)
    return found


def _p95(times: NDArray[np.int64]) -> float:
    return float(order_statistic(times, 95)) / 1e6
