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

TEXTS = 64
"""Texts that each model is timed on."""
ROUNDS = 3
"""Times that each text is answered; the quickest counts, since others were interrupted."""
WARM_UP = 24
TURN = 16
"""Requests that a model answers before it is the other one's turn."""


def paired_p95_ms(
    parent: TextClassifier, candidate: TextClassifier, texts: Sequence[str], *, seed: int
) -> tuple[float, float]:
    """Return the 95th percentile of both over the same texts, one at a time, ms, from text on.

    texts: as they come in service; `TEXTS` of them are drawn.
    """
    generator = np.random.default_rng([seed, len(texts)])
    drawn = in_random_order(texts, TEXTS, generator)
    models = (parent, candidate)
    for model in models:
        _times(model, drawn[:WARM_UP])
    least = np.full((2, TEXTS), np.iinfo(np.int64).max, np.int64)
    turns = 0
    for _ in range(ROUNDS):
        for start in range(0, TEXTS, TURN):
            # Who begins changes, so that neither always finds the caches of the other.
            for place in (0, 1) if turns % 2 == 0 else (1, 0):
                part = slice(start, start + TURN)
                found = np.array(_times(models[place], drawn[part]), np.int64)
                least[place, part] = np.minimum(least[place, part], found)
            turns += 1
    return _p95(least[0]), _p95(least[1])


def _times(model: TextClassifier, texts: Sequence[str]) -> list[int]:
    found = []
    for text in texts:
        begun = perf_counter_ns()
        model.score(model.encode([text]))
        found.append(perf_counter_ns() - begun)
    return found


def _p95(times: NDArray[np.int64]) -> float:
    return float(order_statistic(times, 95)) / 1e6
