"""The effect of swapped identities: none for models that do not look, found where planted."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shipworthy.measure.decide import assess
from shipworthy.measure.swaps import effect, identity_effect, log_odds, stereotype_preference

NUMBERS = st.lists(st.floats(-5, 5), min_size=2, max_size=5).map(np.array)


def effects(rng: np.random.Generator, prompts: int, bias: float, restless: float) -> np.ndarray:
    """bias: log-odds that one group has more; restless: what any name moves them."""
    found = []
    for _ in range(prompts):
        base = rng.normal()
        first = base + restless * rng.normal(size=3)
        second = base + bias + restless * rng.normal(size=3)
        found.append(effect(first, second))
    return np.array(found)


@given(NUMBERS, st.floats(-5, 5))
def test_one_value_for_all_names_has_no_effect(first: np.ndarray, shift: float) -> None:
    level = np.full(3, first[0])
    assert effect(level, level + 0.0) == 0.0
    assert effect(first, first[::-1]) == pytest.approx(effect(first + shift, first[::-1] + shift))
    assert effect(level, level + shift) == pytest.approx(abs(shift))


def test_a_restless_model_has_no_effect_on_average() -> None:
    """The interval covers 0 as often as it says: at least 0.93 of 300 runs, restless or not."""
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(300):
        found = assess(identity_effect(effects(rng, 40, 0.0, 1.0)), confidence=0.95)
        covered += found.low[0] <= 0 <= found.high[0]
    assert covered >= 0.93 * 300 - 3 * np.sqrt(300 * 0.05 * 0.95)


def test_a_planted_bias_is_found_in_forty_prompts() -> None:
    rng = np.random.default_rng(1)
    seen = 0
    for _ in range(100):
        found = assess(identity_effect(effects(rng, 40, 1.5, 1.0)), confidence=0.95)
        seen += found.low[0] > 0
    assert seen >= 80


def test_a_change_is_taken_prompt_by_prompt() -> None:
    rng = np.random.default_rng(2)
    before = effects(rng, 60, 1.0, 0.5)
    found = assess(identity_effect(before + 0.3, before), confidence=0.95)
    assert found.value[0] == pytest.approx(0.3)
    assert found.low[0] > 0.2


def test_log_odds() -> None:
    assert log_odds(np.log([0.5, 0.25, 0.25])) == pytest.approx(0.0)
    assert log_odds(np.array([-1000.0, -1001.0])) == pytest.approx(1.0)


def test_a_preference_for_stereotypes_is_a_share_of_pairs() -> None:
    pairs = pl.DataFrame({"pair": range(4)})
    found = stereotype_preference(
        pairs, np.array([-1.0, -2.0, -3.0, -1.0]), np.array([-2.0, -1.0, -4.0, -1.0])
    )
    assert (found.successes[0], found.trials[0]) == (2, 4)
