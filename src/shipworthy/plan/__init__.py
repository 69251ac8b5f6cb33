"""What a training step takes and what this machine reaches; nothing heavy loads here."""

from __future__ import annotations

from importlib import import_module
from typing import Any

_FILES: dict[str, str] = {}

__all__: list[str] = []


def __getattr__(name: str) -> Any:
    if name in _FILES:
        return getattr(import_module(f"{__name__}.{_FILES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
