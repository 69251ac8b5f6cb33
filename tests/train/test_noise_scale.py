"""The noise scale of a quadratic whose noise is known is found, or it is said that it cannot be."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom

from shipworthy.train.noise_scale import LEAST_STEPS, NoiseScale

WIDTH = 40


def measured(
    generator: np.random.Generator, steps: int, *, true: float, rows: int = 64, spread: float = 1.0
) -> NoiseScale:
    """Steps of a quadratic where its gradient has this square norm, with noise of spread^2."""
    gradient = np.full(WIDTH, np.sqrt(true / WIDTH))
    scale = NoiseScale()
    for _ in range(steps):
        each = gradient + spread * generator.standard_normal((rows, WIDTH))
        parts = np.array_split(each, 4)
        norms = [float(np.square(part.mean(0)).sum()) for part in parts]
        whole = float(np.square(each.mean(0)).sum())
        scale.add(norms, [len(part) for part in parts], whole, rows)
    return scale


@pytest.mark.parametrize("rows", [64, 50])
def test_recovered_within_its_interval(rows: int) -> None:
    found = measured(np.random.default_rng(3), 200, true=2.0, rows=rows).estimate()
    assert found.rows is not None and found.low is not None and found.high is not None
    assert found.low < WIDTH / 2.0 < found.high
    assert found.rows == pytest.approx(WIDTH / 2.0, rel=0.15)
    assert found.steps_needed == 0


@pytest.mark.parametrize("steps", [10, 40])
def test_the_interval_covers_as_often_as_it_says(steps: int) -> None:
    generator = np.random.default_rng(11)
    runs = 400
    hit = told = 0
    for _ in range(runs):
        found = measured(generator, steps, true=2.0).estimate()
        if found.rows is not None and found.low is not None and found.high is not None:
            told += 1
            hit += found.low <= WIDTH / 2.0 <= found.high
    assert told > 0.9 * runs
    # Chi-squares of few steps are skewed: 0.93 is asked of 0.95.
    assert hit >= binom.ppf(1e-4, told, 0.93)


def test_refused_where_there_is_no_signal() -> None:
    generator = np.random.default_rng(5)
    refused = sum(measured(generator, 20, true=0.0).estimate().rows is None for _ in range(300))
    assert refused >= binom.ppf(1e-4, 300, 0.95)
    found = measured(generator, 8, true=0.02).estimate()
    assert found.rows is None and found.steps_needed > 8


def test_too_few_steps_say_nothing() -> None:
    found = measured(np.random.default_rng(1), LEAST_STEPS - 1, true=2.0).estimate()
    assert (found.rows, found.steps_needed) == (None, LEAST_STEPS)
