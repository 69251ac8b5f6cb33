"""The noise of the gradient, and the batch from which on more rows buy little.

The gradient of a batch of b rows is the true one plus noise of variance tr(S) / b. The batch at
which both are equally large is the simple noise scale B = tr(S) / |G|^2 (McCandlish et al. 2018,
sec. 2.2 and App. A.1): much smaller batches waste steps, much larger ones waste rows. It is told
from the square norms of a step's gradient and of the gradients of its parts, which cost nothing
but the norms.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

LEAST_STEPS = 5
"""Fewer steps say nothing of how far steps lie apart."""


@dataclass(frozen=True)
class NoiseEstimate:
    """What the steps said.

    rows: the noise scale in rows, with low and high; None where the steps are too noisy to say.
    steps: that were measured. steps_needed: that would probably do, 0 where these did.
    """

    rows: float | None
    low: float | None
    high: float | None
    steps: int
    steps_needed: int
    confidence: float


@dataclass
class NoiseScale:
    """Estimates of |G|^2 and tr(S), one pair a step; JSON values only."""

    signal: list[float] = field(default_factory=list)
    noise: list[float] = field(default_factory=list)

    def add(
        self,
        part_norms: Sequence[float],
        part_rows: Sequence[int],
        whole_norm: float,
        rows: int,
    ) -> None:
        """Count a step.

        part_norms: square norms of the mean gradient of each part; part_rows: their rows;
        whole_norm, rows: of the step. A part's expected square norm is |G|^2 + tr(S) / its rows,
        so that two equations give both, without bias.
        """
        parts = float(np.mean(part_norms))
        inverse = float(np.mean(1.0 / np.asarray(part_rows, dtype=np.float64)))
        noise = (parts - whole_norm) / (inverse - 1.0 / rows)
        self.noise.append(noise)
        self.signal.append(whole_norm - noise / rows)

    def estimate(self, confidence: float = 0.95) -> NoiseEstimate:
        """Return the noise scale with its interval (Fieller 1954, over steps).

        The ratio of two means has a bounded interval only where the denominator is told from 0;
        where it is not, the steps are too noisy to say, and so many would probably do.
        """
        from scipy.stats import t

        n = len(self.signal)
        if n < LEAST_STEPS:
            return NoiseEstimate(None, None, None, n, LEAST_STEPS, confidence)
        x, y = np.asarray(self.noise), np.asarray(self.signal)
        mean_x, mean_y = float(x.mean()), float(y.mean())
        cov = np.cov(x, y) / n
        quantile = float(t.ppf(0.5 + confidence / 2, n - 1)) ** 2
        a = mean_y**2 - quantile * cov[1, 1]
        if a <= 0 or mean_y <= 0:
            return NoiseEstimate(None, None, None, n, self._needed(mean_y, cov[1, 1]), confidence)
        b = mean_x * mean_y - quantile * cov[0, 1]
        c = mean_x**2 - quantile * cov[0, 0]
        root = math.sqrt(max(b * b - a * c, 0.0))
        low, high = (b - root) / a, (b + root) / a
        return NoiseEstimate(
            max(mean_x / mean_y, 0.0), max(low, 0.0), max(high, 0.0), n, 0, confidence
        )

    def _needed(self, mean: float, variance_of_mean: float) -> int:
        """Steps after which a signal of this size would stand out of its error, twofold."""
        n = len(self.signal)
        if mean <= 0:
            return 10 * n
        return min(max(n + 1, math.ceil(n * 8.0 * variance_of_mean / mean**2)), 1000 * n)
