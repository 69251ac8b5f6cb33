"""Candidates become smaller candidates; each lever takes a folder and writes a folder."""

from __future__ import annotations

from importlib import import_module
from typing import Any

_FILES = {
    "CompressSettings": "settings",
    "PruneSettings": "settings",
    "QuantizeSettings": "settings",
    "Recipe": "recipes",
    "expand": "recipes",
    "keeping": "sparing",
    "make": "making",
    "prune_weights": "prune",
    "quantize_weights": "quantize",
    "written": "recipes",
}

__all__ = [
    "CompressSettings",
    "PruneSettings",
    "QuantizeSettings",
    "Recipe",
    "expand",
    "keeping",
    "make",
    "prune_weights",
    "quantize_weights",
    "written",
]


def __getattr__(name: str) -> Any:
    if name in _FILES:
        return getattr(import_module(f"{__name__}.{_FILES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
