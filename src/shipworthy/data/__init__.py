"""Files become rows, rows become splits, texts become batches."""

from __future__ import annotations

from importlib import import_module
from typing import Any

_MODULES = {
    "Batch": "batches",
    "Columns": "columns",
    "DataSettings": "settings",
    "Description": "builtin",
    "Encoded": "batches",
    "Rows": "rows",
    "Shares": "settings",
    "Splits": "splits",
    "buckets": "batches",
    "builtin_archive": "builtin",
    "builtin_model": "builtin",
    "builtin_table": "builtin",
    "check_splits": "splits",
    "describe": "builtin",
    "encode": "batches",
    "guess_columns": "columns",
    "load_rows": "rows",
    "minilm": "builtin",
    "pad": "batches",
    "read_sentiment": "builtin",
    "read_table": "sources",
    "require_columns": "sources",
    "sentiment": "builtin",
    "source_files": "sources",
    "split": "splits",
}

__all__ = [
    "Batch",
    "Columns",
    "DataSettings",
    "Description",
    "Encoded",
    "Rows",
    "Shares",
    "Splits",
    "buckets",
    "builtin_archive",
    "builtin_model",
    "builtin_table",
    "check_splits",
    "describe",
    "encode",
    "guess_columns",
    "load_rows",
    "minilm",
    "pad",
    "read_sentiment",
    "read_table",
    "require_columns",
    "sentiment",
    "source_files",
    "split",
]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
