"""Who answers for what: people, their roles and the keys they sign with.

Each name loads its file on first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_FILES = {
    "Person": "roster",
    "PersonSettings": "settings",
    "Roster": "roster",
    "TeamSettings": "settings",
    "check_owners": "roster",
    "load_roster": "roster",
}

__all__ = [
    "Person",
    "PersonSettings",
    "Roster",
    "TeamSettings",
    "check_owners",
    "load_roster",
]


def __getattr__(name: str) -> Any:
    if name in _FILES:
        return getattr(import_module(f"{__name__}.{_FILES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
