"""Learning-rate schedules as pure functions of progress.

Progress is the share of the run that is behind, in [0, 1]; a schedule answers with a factor of the
peak rate, also in [0, 1]. Written in progress, a schedule does not care how many steps a run has,
how many processes compute them or in how many parts: nothing is counted that could be counted
twice.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from shipworthy.core.errors import SettingsError, nearest
from shipworthy.core.locale import text
from shipworthy.train.settings import SCHEDULE_OPTIONS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import ArrayLike, NDArray

    from shipworthy.train.settings import ScheduleSettings

    Floats = NDArray[np.float64]
    Shape = Callable[..., Floats]

# A one-cycle run begins at this share of its peak (Smith and Topin 2018, as in torch).
ONE_CYCLE_START = 1 / 25
# Keeps a drop that lies on a step from slipping behind it by rounding.
_ROUNDING = 1e-9


def constant(after: Floats) -> Floats:
    """1 throughout."""
    return np.ones_like(after)


def linear(after: Floats, *, floor: float = 0.0) -> Floats:
    """A straight line from 1 to the floor."""
    return floor + (1.0 - floor) * (1.0 - after)


def cosine(after: Floats, *, floor: float = 0.0, restarts: int = 0) -> Floats:
    """Half a cosine from 1 to the floor, begun again `restarts` times (Loshchilov, Hutter 2017)."""
    cycles = restarts + 1
    inside = np.where(after >= 1.0, 1.0, (cycles * after) % 1.0)
    return floor + (1.0 - floor) * 0.5 * (1.0 + np.cos(np.pi * inside))


def polynomial(after: Floats, *, floor: float = 0.0, power: float = 1.0) -> Floats:
    """A power of what is left of the run, from 1 to the floor."""
    return floor + (1.0 - floor) * (1.0 - after) ** power


def step(after: Floats, *, decay: float = 0.1, drops: float = 2) -> Floats:
    """1, and `decay` times as much after each of `drops` drops, equally far apart."""
    return decay ** np.floor(after * (drops + 1) + _ROUNDING)


def exponential(after: Floats, *, decay: float = 0.1) -> Floats:
    """From 1 to `decay`, by the same share in every step."""
    return np.power(decay, after)


def warmup_stable_decay(
    after: Floats, *, floor: float = 0.0, tail: str = "linear", tail_ratio: float = 0.2
) -> Floats:
    """1, and a fall to the floor in the last part (Hu et al. 2024; tails: Haegele et al. 2024).

    tail_ratio: share of what comes after the warm-up.
    """
    inside = np.clip((after - (1.0 - tail_ratio)) / tail_ratio, 0.0, 1.0)
    left = {
        "linear": 1.0 - inside,
        "cosine": 0.5 * (1.0 + np.cos(np.pi * inside)),
        "inverse_sqrt": 1.0 - np.sqrt(inside),
    }[tail]
    return floor + (1.0 - floor) * left


SCHEDULES: dict[str, Shape] = {
    "constant": constant,
    "cosine": cosine,
    "exponential": exponential,
    "inverse_sqrt": constant,  # its curve hangs on the warm-up: `factor` draws it
    "linear": linear,
    "one_cycle": cosine,
    "polynomial": polynomial,
    "step": step,
    "warmup_stable_decay": warmup_stable_decay,
}


def factor(
    name: str, progress: ArrayLike, *, warmup_ratio: float = 0.0, **options: Any
) -> NDArray[np.float64]:
    """Factor of the peak rate at each progress.

    progress: in [0, 1], any shape. warmup_ratio: share of the run, in [0, 1), in which the factor
    rises to 1: in a straight line from 0 (`warmup_stable_decay`: from its floor), or for
    `one_cycle` on half a cosine from 1/25; the schedule's own curve fills the rest. options: of the
    schedule, by the names of `ScheduleSettings`; `tail_ratio` is a share of the whole run.
    `inverse_sqrt` falls with the root of progress counted in warm-ups, or in `timescale`, a share
    of the run.
    Raises SettingsError where no schedule has this name, or it has no such option.

    >>> factor("linear", [0.0, 0.1, 0.2, 0.6, 1.0], warmup_ratio=0.2).tolist()
    [0.0, 0.5, 1.0, 0.5, 0.0]
    """
    _check(name, options)
    p = np.asarray(progress, dtype=np.float64)
    after = np.clip((p - warmup_ratio) / (1.0 - warmup_ratio), 0.0, 1.0)
    if name == "inverse_sqrt":
        scale = float(options.get("timescale", warmup_ratio))
        if scale <= 0:
            raise SettingsError(
                text("error.schedules.no_warmup", name=name),
                key="train.schedule.warmup_ratio",
                fix=text("error.schedules.no_warmup.fix"),
            )
        falling = np.sqrt(scale / (np.maximum(p - warmup_ratio, 0.0) + scale))
    else:
        if name == "warmup_stable_decay" and "tail_ratio" in options:
            share = float(options["tail_ratio"]) / (1.0 - warmup_ratio)
            options = {**options, "tail_ratio": min(share, 1.0)}
        falling = SCHEDULES[name](after, **options)
    if warmup_ratio == 0.0:
        return falling
    rising = np.minimum(p, warmup_ratio) / warmup_ratio
    if name == "one_cycle":
        smooth = 0.5 * (1.0 - np.cos(np.pi * rising))
        rising = ONE_CYCLE_START + (1.0 - ONE_CYCLE_START) * smooth
    elif name == "warmup_stable_decay":
        floor = float(options.get("floor", 0.0))
        rising = floor + (1.0 - floor) * rising
    return np.where(p < warmup_ratio, rising, falling)


def learning_rates(
    name: str, *, steps: int, peak: float = 1.0, warmup: int = 0, **options: Any
) -> NDArray[np.float64]:
    """Learning rate of each of `steps` steps, shape (steps,), taken where each step begins.

    peak: largest rate. warmup: steps, fewer than `steps`, until it is reached. With a warm-up the
    first rate is 0, as in the schedulers of torch and transformers. options: as in `factor`. The
    last rate of `one_cycle` is its floor: there progress is 1 where the last step begins.

    >>> learning_rates("linear", steps=4, peak=8.0, warmup=2).tolist()
    [0.0, 4.0, 8.0, 4.0]
    """
    if steps < 1 or not 0 <= warmup < steps:
        raise SettingsError(text("error.schedules.warmup", warmup=warmup, steps=steps))
    whole = max(1, steps - 1) if name == "one_cycle" else steps
    ratio = min(warmup / whole, 1.0 - _ROUNDING)
    return peak * factor(name, np.arange(steps) / whole, warmup_ratio=ratio, **options)


def run_rates(
    settings: ScheduleSettings, *, peak: float, sizes: Sequence[int]
) -> NDArray[np.float64]:
    """Learning rate of each step of a training run, shape (steps,), taken at the step's middle.

    Taken there, no step is spent at a rate of 0, neither the first of a warm-up nor the last.
    sizes: rows or tokens of each step, by what counts as progress.
    """
    behind = np.concatenate([[0.0], np.cumsum(np.asarray(sizes, dtype=np.float64))])
    total = behind[-1]
    ratio = settings.warmup_ratio
    if settings.warmup_steps is not None:
        if settings.warmup_steps >= len(sizes):
            raise SettingsError(
                text("error.schedules.warmup", warmup=settings.warmup_steps, steps=len(sizes)),
                key="train.schedule.warmup_steps",
            )
        ratio = float(behind[settings.warmup_steps] / total)
    middle = (behind[:-1] + behind[1:]) / (2 * total)
    options = {name: getattr(settings, name) for name in SCHEDULE_OPTIONS[settings.name]}
    return peak * factor(settings.name, middle, warmup_ratio=ratio, **options)


def _check(name: str, options: dict[str, Any]) -> None:
    if name not in SCHEDULES:
        raise SettingsError(
            text("error.schedules.unknown", name=name), fix=nearest(name, SCHEDULES)
        )
    known = {*SCHEDULE_OPTIONS[name], *(("timescale",) if name == "inverse_sqrt" else ())}
    for option in options:
        if option not in known:
            raise SettingsError(
                text("error.schedules.option", name=name, option=option),
                fix=nearest(option, known),
            )
