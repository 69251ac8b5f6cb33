"""Schedules are those of torch and transformers, and functions of progress alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.optim import lr_scheduler
from transformers import get_scheduler

from shipworthy.core.errors import SettingsError
from shipworthy.train.schedules import SCHEDULES, factor, learning_rates, run_rates
from shipworthy.train.settings import ScheduleSettings

PEAK = 3e-4
SIZES = [(107, 6), (50, 0), (1000, 333), (3, 2)]


def rates_of(scheduler: object, optimizer: torch.optim.Optimizer, steps: int) -> list[float]:
    found = []
    for _ in range(steps):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()  # type: ignore[attr-defined]
    return found


def optimizer() -> torch.optim.Optimizer:
    return torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=PEAK)


@pytest.mark.parametrize(("steps", "warmup"), SIZES)
@pytest.mark.parametrize(
    ("ours", "theirs", "given_to_them"),
    [
        (("linear", {}), "linear", {}),
        (("cosine", {}), "cosine", {}),
        (("constant", {}), "constant_with_warmup", {}),
        (("cosine", {"floor": 0.1}), "cosine_with_min_lr", {"min_lr_rate": 0.1}),
        (("cosine", {"restarts": 2}), "cosine_with_restarts", {"num_cycles": 3}),
        (
            ("polynomial", {"power": 2.0, "floor": 0.01}),
            "polynomial",
            {"power": 2.0, "lr_end": 0.01 * PEAK},
        ),
    ],
)
def test_equal_to_transformers(
    ours: tuple[str, dict[str, Any]],
    theirs: str,
    given_to_them: dict[str, Any],
    steps: int,
    warmup: int,
) -> None:
    stepped = optimizer()
    scheduler = get_scheduler(
        theirs, stepped, num_warmup_steps=warmup, num_training_steps=steps,
        scheduler_specific_kwargs=given_to_them,
    )  # fmt: skip
    found = learning_rates(ours[0], steps=steps, peak=PEAK, warmup=warmup, **ours[1])
    np.testing.assert_allclose(found, rates_of(scheduler, stepped, steps), rtol=0, atol=1e-9 * PEAK)


@pytest.mark.parametrize(("steps", "warmup"), [(107, 6), (1000, 333)])
def test_inverse_root_is_that_of_transformers(steps: int, warmup: int) -> None:
    for timescale in (None, 50):
        stepped = optimizer()
        scheduler = get_scheduler(
            "inverse_sqrt", stepped, num_warmup_steps=warmup,
            scheduler_specific_kwargs={"timescale": timescale},
        )  # fmt: skip
        options = {} if timescale is None else {"timescale": timescale / steps}
        found = learning_rates("inverse_sqrt", steps=steps, peak=PEAK, warmup=warmup, **options)
        expected = rates_of(scheduler, stepped, steps)
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-9 * PEAK)


@pytest.mark.parametrize("floor", [0.0, 0.05])
@pytest.mark.parametrize(
    ("tail", "theirs"), [("linear", "linear"), ("cosine", "cosine"), ("inverse_sqrt", "1-sqrt")]
)
def test_tails_are_those_of_transformers(tail: str, theirs: str, floor: float) -> None:
    steps, warmup, decay = 120, 12, 30
    stepped = optimizer()
    scheduler = get_scheduler(
        "warmup_stable_decay", stepped, num_warmup_steps=warmup, num_training_steps=steps,
        scheduler_specific_kwargs={
            "num_decay_steps": decay, "decay_type": theirs, "min_lr_ratio": floor,
        },
    )  # fmt: skip
    found = learning_rates(
        "warmup_stable_decay", steps=steps, peak=PEAK, warmup=warmup, tail=tail,
        tail_ratio=decay / steps, floor=floor,
    )  # fmt: skip
    np.testing.assert_allclose(found, rates_of(scheduler, stepped, steps), rtol=0, atol=1e-9 * PEAK)


TORCH: list[tuple[str, dict[str, Any], int, Callable[[Any], Any]]] = [
    ("constant", {}, 0, lambda o: lr_scheduler.ConstantLR(o, 1.0, 80)),
    ("linear", {}, 0, lambda o: lr_scheduler.LinearLR(o, 1.0, 0.0, 80)),
    ("linear", {"floor": 0.25}, 0, lambda o: lr_scheduler.LinearLR(o, 1.0, 0.25, 80)),
    ("cosine", {}, 0, lambda o: lr_scheduler.CosineAnnealingLR(o, 80)),
    ("cosine", {"floor": 0.1}, 0, lambda o: lr_scheduler.CosineAnnealingLR(o, 80, 0.1 * PEAK)),
    (
        "cosine",
        {"restarts": 3, "floor": 0.1},
        0,
        lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, 20, eta_min=0.1 * PEAK),
    ),
    ("polynomial", {"power": 1.7}, 0, lambda o: lr_scheduler.PolynomialLR(o, 80, 1.7)),
    ("step", {"decay": 0.3, "drops": 3}, 0, lambda o: lr_scheduler.StepLR(o, 20, 0.3)),
    ("step", {"decay": 0.3, "drops": 80 / 7 - 1}, 0, lambda o: lr_scheduler.StepLR(o, 7, 0.3)),
    ("exponential", {"decay": 0.97**80}, 0, lambda o: lr_scheduler.ExponentialLR(o, 0.97)),
    (
        "one_cycle",
        {"floor": 1 / 25 / 1e4},
        23,
        lambda o: lr_scheduler.OneCycleLR(o, PEAK, 80, pct_start=24 / 80),
    ),
]


@pytest.mark.parametrize(("name", "options", "warmup", "make"), TORCH)
def test_equal_to_torch(
    name: str, options: dict[str, Any], warmup: int, make: Callable[[Any], Any]
) -> None:
    stepped = optimizer()
    scheduler = make(stepped)
    expected = [stepped.param_groups[0]["lr"]]
    for _ in range(79):
        stepped.step()
        scheduler.step()
        expected.append(stepped.param_groups[0]["lr"])
    found = learning_rates(name, steps=80, peak=PEAK, warmup=warmup, **options)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-9 * PEAK)


@given(
    st.sampled_from(sorted(SCHEDULES)),
    st.floats(0.001, 0.99),
    st.lists(st.floats(0, 1), min_size=1, max_size=30),
)
def test_factors_stay_inside(name: str, warmup: float, progress: list[float]) -> None:
    found = factor(name, progress, warmup_ratio=warmup)
    assert found.shape == (len(progress),)
    assert ((found >= 0) & (found <= 1)).all()


@given(
    st.sampled_from(sorted(SCHEDULES)),
    st.lists(st.integers(1, 90), min_size=2, max_size=200),
    st.floats(0.01, 0.9),
)
def test_no_step_of_a_run_is_wasted(name: str, sizes: list[int], warmup: float) -> None:
    settings = ScheduleSettings(name=name, warmup_ratio=warmup)  # type: ignore[arg-type]
    rates = run_rates(settings, peak=PEAK, sizes=sizes)
    assert rates.shape == (len(sizes),)
    assert (rates > 0).all() and (rates <= PEAK * (1 + 1e-12)).all()
    behind = np.cumsum(sizes) - np.array(sizes) / 2 > warmup * sum(sizes)
    assert not (np.diff(rates)[behind[:-1]] > 1e-12).any()


@given(st.sampled_from(sorted(SCHEDULES)), st.integers(2, 60), st.integers(1, 8))
def test_more_processes_or_parts_move_no_rate(name: str, steps: int, parts: int) -> None:
    """A scheduler that each process or each part steps would be `parts` times too fast."""
    settings = ScheduleSettings(name=name, warmup_ratio=0.1)  # type: ignore[arg-type]
    whole = run_rates(settings, peak=PEAK, sizes=[64] * steps)
    again = run_rates(settings, peak=PEAK, sizes=[sum([64 // parts] * parts) for _ in range(steps)])
    np.testing.assert_allclose(whole, again, rtol=1e-12)


def test_progress_counts_what_it_is_given() -> None:
    settings = ScheduleSettings(name="linear", warmup_ratio=0.0)
    rates = run_rates(settings, peak=1.0, sizes=[10, 30, 60])
    assert rates.tolist() == pytest.approx([0.95, 0.75, 0.3])
    warmed = ScheduleSettings(name="linear", warmup_steps=1)
    assert run_rates(warmed, peak=1.0, sizes=[10, 30, 60]).tolist() == pytest.approx(
        [0.5, 75 / 90, 30 / 90]
    )


def test_what_does_not_exist() -> None:
    with pytest.raises(SettingsError, match="did you mean 'cosine'"):
        factor("cosin", 0.5)
    with pytest.raises(SettingsError, match="5 warm-up steps do not fit into 5 steps"):
        learning_rates("cosine", steps=5, warmup=5)
    with pytest.raises(SettingsError, match="the schedule linear has no restarts"):
        learning_rates("linear", steps=5, restarts=2)
    with pytest.raises(SettingsError, match="counts in warm-ups"):
        learning_rates("inverse_sqrt", steps=5)
    with pytest.raises(ValueError, match="the schedule linear has no restarts"):
        ScheduleSettings(name="linear", restarts=2)
    with pytest.raises(SettingsError, match="3 warm-up steps do not fit"):
        run_rates(ScheduleSettings(warmup_steps=3), peak=1.0, sizes=[1, 1, 1])
