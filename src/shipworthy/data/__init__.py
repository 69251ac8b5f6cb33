"""Files become rows, rows become splits, texts become batches."""

from __future__ import annotations

from importlib import import_module
from typing import Any

_MODULES = {
    "Batch": "batches",
    "Encoded": "batches",
    "buckets": "batches",
    "encode": "batches",
    "pad": "batches",
}

__all__ = ["Batch", "Encoded", "buckets", "encode", "pad"]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
