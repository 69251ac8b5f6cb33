"""The words and tools that all rooms share; each name loads its file on first use.

`progress` is imported from `core.progress`: a function that is named as its file would hide it.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_FILES = {
    "ALL_ROWS": "records",
    "Answer": "records",
    "Candidate": "records",
    "DataError": "errors",
    "Decision": "records",
    "Document": "yaml",
    "InputError": "errors",
    "Limit": "records",
    "Measurement": "records",
    "ModelError": "errors",
    "Outcome": "records",
    "SettingsError": "errors",
    "ShipworthyError": "errors",
    "Slice": "records",
    "Verdict": "records",
    "digest_bytes": "digest",
    "digest_file": "digest",
    "digest_folder": "digest",
    "digest_frame": "digest",
    "digest_json": "digest",
    "load_settings": "yaml",
    "number": "locale",
    "read_yaml": "yaml",
    "set_language": "locale",
    "text": "locale",
    "to_frame": "records",
    "write_atomically": "files",
}

__all__ = [
    "ALL_ROWS",
    "Answer",
    "Candidate",
    "DataError",
    "Decision",
    "Document",
    "InputError",
    "Limit",
    "Measurement",
    "ModelError",
    "Outcome",
    "SettingsError",
    "ShipworthyError",
    "Slice",
    "Verdict",
    "digest_bytes",
    "digest_file",
    "digest_folder",
    "digest_frame",
    "digest_json",
    "load_settings",
    "number",
    "read_yaml",
    "set_language",
    "text",
    "to_frame",
    "write_atomically",
]


def __getattr__(name: str) -> Any:
    if name in _FILES:
        return getattr(import_module(f"{__name__}.{_FILES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
