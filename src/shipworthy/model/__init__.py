"""Folders and files become things that predict; nothing heavy loads before it is needed."""

from __future__ import annotations

from importlib import import_module
from typing import Any

_FILES = {
    "Classifier": "capabilities",
    "Differentiable": "capabilities",
    "Encodes": "capabilities",
    "LanguageModel": "capabilities",
    "OnnxClassifier": "onnx_runtime",
    "Predictions": "predictions",
    "Ragged": "capabilities",
    "Regressor": "capabilities",
    "RuntimeInfo": "checkpoint",
    "TextClassifier": "text_classifier",
    "TokenLosses": "capabilities",
    "TorchClassifier": "torch_runtime",
    "align": "predictions",
    "artefact_digest": "checkpoint",
    "artefact_files": "checkpoint",
    "export_onnx": "onnx_export",
    "load_classifier": "runtimes",
    "load_predictions": "predictions",
    "load_pretrained": "pretrained",
    "read_info": "checkpoint",
    "require": "capabilities",
    "save_model": "pretrained",
    "size_bytes": "checkpoint",
}

__all__ = [
    "Classifier",
    "Differentiable",
    "Encodes",
    "LanguageModel",
    "OnnxClassifier",
    "Predictions",
    "Ragged",
    "Regressor",
    "RuntimeInfo",
    "TextClassifier",
    "TokenLosses",
    "TorchClassifier",
    "align",
    "artefact_digest",
    "artefact_files",
    "export_onnx",
    "load_classifier",
    "load_predictions",
    "load_pretrained",
    "read_info",
    "require",
    "save_model",
    "size_bytes",
]


def __getattr__(name: str) -> Any:
    if name in _FILES:
        return getattr(import_module(f"{__name__}.{_FILES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
