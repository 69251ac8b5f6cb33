"""Rows and a model become a fine-tuned model; nothing heavy loads before it is needed."""

from __future__ import annotations

from importlib import import_module
from typing import Any

_FILES = {
    "BatchSizeSettings": "settings",
    "Fitted": "loop",
    "ParallelSettings": "settings",
    "RegularizationSettings": "settings",
    "ScheduleSettings": "settings",
    "TrainSettings": "settings",
    "fit": "loop",
    "learning_rates": "schedules",
}

__all__ = [
    "BatchSizeSettings",
    "Fitted",
    "ParallelSettings",
    "RegularizationSettings",
    "ScheduleSettings",
    "TrainSettings",
    "fit",
    "learning_rates",
]


def __getattr__(name: str) -> Any:
    if name in _FILES:
        return getattr(import_module(f"{__name__}.{_FILES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
