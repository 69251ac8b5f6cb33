"""How many tokens are computed at once: the most that memory holds, predicted and then confirmed.

Only the cut of a step into parts is chosen here. The rows of a step, and with them its gradient and
its rate, are the settings' own, whatever fits: a finder that changed them would change the training
without a word.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np

from shipworthy.core.errors import SettingsError
from shipworthy.core.locale import number, text
from shipworthy.train.metrics import memory_mb
from shipworthy.train.packing import Reason

if TYPE_CHECKING:
    from collections.abc import Callable

    import polars as pl
    from numpy.typing import NDArray

    from shipworthy.plan.memory import Memory

LEAST_TOKENS = 256
# Budgets whose speed is measured double from here; each for at most this long.
_CURVE_START, _CURVE_SECONDS, _CURVE_ROUNDS = 256, 1.5, 3
_OUT_OF_MEMORY = ("can't allocate memory", "out of memory", "not enough memory")
_CGROUPS = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    (
        "/sys/fs/cgroup/memory/memory.limit_in_bytes",
        "/sys/fs/cgroup/memory/memory.usage_in_bytes",
    ),
)


@dataclass(frozen=True, eq=False)
class Found:
    """What was found. curve: frame with tokens, tokens_per_second, low, high and memory_mb."""

    tokens: int
    reason: Reason
    curve: pl.DataFrame | None


def find_tokens(
    execute: Callable[[NDArray[np.int64], int], None],
    *,
    lengths: NDArray[np.int64],
    steps: list[NDArray[np.int64]],
    memory: Memory,
    available: float,
    alone: bool = True,
) -> Found:
    """Return the most tokens at once that memory holds, confirmed by one real step.

    execute: computes the gradient of these rows, so many tokens at once, and forgets it. lengths:
    of all rows. steps: rows of each step of an epoch. memory: what was counted of the model;
    available: bytes that this process may take in all. alone: whether no other process takes part;
    where others do, none can step down by itself, and one that fails ends all.
    Raises SettingsError where not even the longest row fits.
    """
    tokens = np.array([int(lengths[rows].sum()) for rows in steps])
    largest = steps[int(tokens.argmax())]
    whole = int(tokens.max())
    longest = max(1, int(lengths.max(initial=1)))
    budget = max(longest, min(whole, memory.most_tokens(available)))
    key = "batch_size.step" if budget == whole else "batch_size.fits"
    wanted = budget
    while not _fits(execute, largest, budget):
        if budget <= longest or not alone:
            raise out_of_memory(lengths, budget)
        budget = max(longest, budget // 2)
        key = "batch_size.smaller"
    values = {
        "available": number(available / 1e6),
        "tokens": number(budget),
        "predicted": number(memory.total(wanted) / 1e6),
        "measured": number(memory_mb()),
    }
    curve = throughput(execute, largest, lengths, budget) if alone else None
    return Found(budget, Reason(key, values), curve)


def throughput(
    execute: Callable[[NDArray[np.int64], int], None],
    rows: NDArray[np.int64],
    lengths: NDArray[np.int64],
    most: int,
) -> pl.DataFrame:
    """Return tokens a second by the tokens computed at once, doubling up to `most`.

    Each is measured some times; the figure is the median, low and high the extremes.
    """
    import polars as pl

    longest = int(lengths[rows].max())
    start = max(_CURVE_START, longest)
    budgets = [start * 2**k for k in range(20) if start * 2**k < most]
    points = []
    total = int(lengths[rows].sum())
    for budget in [*budgets, most]:
        rates: list[float] = []
        begun = perf_counter()
        while len(rates) < _CURVE_ROUNDS or not rates:
            before = perf_counter()
            execute(rows, budget)
            rates.append(total / (perf_counter() - before))
            if perf_counter() - begun > _CURVE_SECONDS:
                break
        points.append(
            {
                "tokens": budget,
                "tokens_per_second": float(np.median(rates)),
                "low": min(rates),
                "high": max(rates),
                "memory_mb": memory_mb(),
            }
        )
    return pl.DataFrame(points)


def available_bytes() -> float:
    """Return what this process may take in all: what it holds and what is free.

    The limit of its control group counts where there is one; on a GPU the memory of that.
    """
    import torch

    if torch.cuda.is_available():
        free, _ = torch.cuda.mem_get_info()
        return float(free + torch.cuda.memory_reserved())
    held = memory_mb() * 1e6
    room = float("inf")
    with suppress(OSError, ValueError, IndexError):
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable"):
                room = float(line.split()[1]) * 1024
    for limit, used in _CGROUPS:
        with suppress(OSError, ValueError):
            room = min(room, float(Path(limit).read_text()) - float(Path(used).read_text()))
    if room == float("inf"):
        room = float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")) / 2
    return held + max(0.0, room)


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error says that memory did not do."""
    import torch

    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(
        words in str(error).lower() for words in _OUT_OF_MEMORY
    )


def out_of_memory(lengths: NDArray[np.int64], tokens: int) -> SettingsError:
    """Return the error of a first step that memory did not do for, with what would fit."""
    row = int(lengths.argmax())
    longest = int(lengths[row])
    smaller = max(LEAST_TOKENS, tokens // 2)
    return SettingsError(
        text("error.batch_size.memory", row=row + 1, longest=longest, tokens=tokens),
        key="train.batch_size.tokens",
        fix=text("error.batch_size.memory.fix", smaller=smaller, length=max(8, longest // 2)),
    )


def _fits(
    execute: Callable[[NDArray[np.int64], int], None], rows: NDArray[np.int64], budget: int
) -> bool:
    try:
        execute(rows, budget)
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        return False
    return True
