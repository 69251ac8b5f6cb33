"""Timing processes that outlive their candidate, for runs of which the times are not looked at.

Each fresh process imports torch and transformers anew, which takes longer than all that a run of a
tiny model does besides, ten times a run. That processes are fresh is looked at in tests/measure.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import pytest

from shipworthy.core.launch import Worker


@contextmanager
def lasting_workers(measuring: ModuleType) -> Iterator[None]:
    """Give a module that measures speed, for the block, processes that another has done with."""
    idle: list[Worker] = []

    class Lasting(Worker):
        def close(self) -> None:
            if self not in idle:
                idle.append(self)

    def started(module: str, **settings: Any) -> Worker:
        return idle.pop() if idle else Lasting(module, **settings)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(measuring, "Worker", started)
        yield
    for worker in idle:
        Worker.close(worker)
