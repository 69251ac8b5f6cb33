"""Learning-rate schedules as pure functions of progress.

Progress is the share of the run that is behind, in [0, 1]; a schedule answers with a factor of the
peak rate, also in [0, 1]. Written in progress, a schedule does not care how many steps a run has.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from shipworthy.core.errors import SettingsError, nearest
from shipworthy.core.locale import text

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import ArrayLike, NDArray

    Shape = Callable[[NDArray[np.float64]], NDArray[np.float64]]


def cosine(after_warmup: NDArray[np.float64]) -> NDArray[np.float64]:
    """Half a cosine from 1 to 0 (Loshchilov and Hutter 2017, eq. 5, without restarts)."""
    return 0.5 * (1.0 + np.cos(np.pi * after_warmup))


def linear(after_warmup: NDArray[np.float64]) -> NDArray[np.float64]:
    """A straight line from 1 to 0."""
    return 1.0 - after_warmup


def constant(after_warmup: NDArray[np.float64]) -> NDArray[np.float64]:
    """1 throughout."""
    return np.ones_like(after_warmup)


SCHEDULES: dict[str, Shape] = {"constant": constant, "cosine": cosine, "linear": linear}


def factor(name: str, progress: ArrayLike, *, warmup_ratio: float = 0.0) -> NDArray[np.float64]:
    """Factor of the peak rate at each progress.

    progress: in [0, 1], any shape. warmup_ratio: share of the run, in [0, 1), in which the factor
    rises in a straight line from 0 to 1; the schedule's own curve fills the rest.
    Raises SettingsError where no schedule has this name.

    >>> factor("linear", [0.0, 0.1, 0.2, 0.6, 1.0], warmup_ratio=0.2).tolist()
    [0.0, 0.5, 1.0, 0.5, 0.0]
    """
    if name not in SCHEDULES:
        raise SettingsError(
            text("error.schedules.unknown", name=name), fix=nearest(name, SCHEDULES)
        )
    p = np.asarray(progress, dtype=np.float64)
    falling = SCHEDULES[name](np.clip((p - warmup_ratio) / (1.0 - warmup_ratio), 0.0, 1.0))
    if warmup_ratio == 0.0:
        return falling
    return np.where(p < warmup_ratio, np.minimum(p, warmup_ratio) / warmup_ratio, falling)


def learning_rates(
    name: str, *, steps: int, peak: float = 1.0, warmup: int = 0
) -> NDArray[np.float64]:
    """Learning rate of each of `steps` steps, shape (steps,), taken where each step begins.

    peak: largest rate. warmup: steps, fewer than `steps`, until it is reached. With a warm-up the
    first rate is 0, as in the schedulers of torch and transformers.

    >>> learning_rates("linear", steps=4, peak=8.0, warmup=2).tolist()
    [0.0, 4.0, 8.0, 4.0]
    """
    if steps < 1 or not 0 <= warmup < steps:
        raise SettingsError(text("error.schedules.warmup", warmup=warmup, steps=steps))
    return peak * factor(name, np.arange(steps) / steps, warmup_ratio=warmup / steps)


def step_rates(
    name: str, *, steps: int, peak: float, warmup_ratio: float = 0.0
) -> NDArray[np.float64]:
    """Learning rate of each step of a training run, shape (steps,), taken at the step's middle.

    Taken there, no step is spent at a rate of 0, neither the first of a warm-up nor the last.
    """
    return peak * factor(name, (np.arange(steps) + 0.5) / steps, warmup_ratio=warmup_ratio)
