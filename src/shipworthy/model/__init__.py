"""Folders and files become things that predict; nothing heavy loads before it is needed."""

from __future__ import annotations

from importlib import import_module
from typing import Any

_FILES = {
    "Classifier": "capabilities",
    "Differentiable": "capabilities",
    "Encodes": "capabilities",
    "LanguageModel": "capabilities",
    "Predictions": "predictions",
    "Ragged": "capabilities",
    "Regressor": "capabilities",
    "TokenLosses": "capabilities",
    "align": "predictions",
    "load_predictions": "predictions",
    "require": "capabilities",
}

__all__ = [
    "Classifier",
    "Differentiable",
    "Encodes",
    "LanguageModel",
    "Predictions",
    "Ragged",
    "Regressor",
    "TokenLosses",
    "align",
    "load_predictions",
    "require",
]


def __getattr__(name: str) -> Any:
    if name in _FILES:
        return getattr(import_module(f"{__name__}.{_FILES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
