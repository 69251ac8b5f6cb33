"""The release: a policy, a judgement, and everything that shows it.

Each name loads its file on first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_FILES = {
    "Judgement": "judgement",
    "NextStep": "judgement",
    "Phrase": "judgement",
    "Policy": "policy",
    "load_policy": "policy",
    "load_project": "project",
    "render": "terminal",
    "render_report": "report",
    "to_json": "documents",
    "write_project": "init",
    "write_report": "report",
}

__all__ = [
    "Judgement",
    "NextStep",
    "Phrase",
    "Policy",
    "load_policy",
    "load_project",
    "render",
    "render_report",
    "to_json",
    "write_project",
    "write_report",
]


def __getattr__(name: str) -> Any:
    if name in _FILES:
        return getattr(import_module(f"{__name__}.{_FILES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
