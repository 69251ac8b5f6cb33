"""Schedules are those of torch and transformers, and warm up in a straight line."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import get_constant_schedule_with_warmup, get_scheduler

from shipworthy.core.errors import SettingsError
from shipworthy.train.schedules import SCHEDULES, factor, learning_rates, step_rates

PEAK = 3e-4


def rates_of(scheduler: object, optimizer: torch.optim.Optimizer, steps: int) -> list[float]:
    found = []
    for _ in range(steps):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()  # type: ignore[attr-defined]
    return found


def optimizer() -> torch.optim.Optimizer:
    return torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=PEAK)


@pytest.mark.parametrize("name", ["cosine", "linear"])
@pytest.mark.parametrize(("steps", "warmup"), [(107, 6), (50, 0), (1000, 333), (3, 2)])
def test_equal_to_transformers(name: str, steps: int, warmup: int) -> None:
    theirs = optimizer()
    scheduler = get_scheduler(name, theirs, num_warmup_steps=warmup, num_training_steps=steps)
    ours = learning_rates(name, steps=steps, peak=PEAK, warmup=warmup)
    np.testing.assert_allclose(ours, rates_of(scheduler, theirs, steps), rtol=0, atol=1e-9 * PEAK)


def test_constant_equals_transformers() -> None:
    theirs = optimizer()
    scheduler = get_constant_schedule_with_warmup(theirs, num_warmup_steps=7)
    ours = learning_rates("constant", steps=40, peak=PEAK, warmup=7)
    np.testing.assert_allclose(ours, rates_of(scheduler, theirs, 40), rtol=0, atol=1e-9 * PEAK)


def test_equal_to_torch() -> None:
    steps = 80
    for name, make in (
        ("cosine", lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, steps)),
        ("linear", lambda o: torch.optim.lr_scheduler.LinearLR(o, 1.0, 0.0, steps)),
        ("constant", lambda o: torch.optim.lr_scheduler.ConstantLR(o, 1.0, steps)),
    ):
        theirs = optimizer()
        expected = rates_of(make(theirs), theirs, steps)
        ours = learning_rates(name, steps=steps, peak=PEAK)
        np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-9 * PEAK)


@given(
    st.sampled_from(sorted(SCHEDULES)),
    st.floats(0, 0.99),
    st.lists(st.floats(0, 1), min_size=1, max_size=30),
)
def test_factors_stay_inside(name: str, warmup: float, progress: list[float]) -> None:
    found = factor(name, progress, warmup_ratio=warmup)
    assert found.shape == (len(progress),)
    assert ((found >= 0) & (found <= 1)).all()


@given(st.sampled_from(sorted(SCHEDULES)), st.integers(1, 300), st.floats(0, 0.9))
def test_no_step_of_a_run_is_wasted(name: str, steps: int, warmup: float) -> None:
    rates = step_rates(name, steps=steps, peak=PEAK, warmup_ratio=warmup)
    assert (rates > 0).all() and (rates <= PEAK).all()
    rising = np.diff(rates) > 0
    assert not rising[int(np.ceil(warmup * steps)) :].any()


def test_what_does_not_exist() -> None:
    with pytest.raises(SettingsError, match="did you mean 'cosine'"):
        factor("cosin", 0.5)
    with pytest.raises(SettingsError, match="5 warm-up steps do not fit into 5 steps"):
        learning_rates("cosine", steps=5, warmup=5)
