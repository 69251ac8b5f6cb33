"""shipworthy: one ruler for every lever, a written policy, a verdict.

Importing the package imports nothing heavy; each public name loads its room on first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_ROOMS = {
    "Audit": "shipworthy.release.audit_records",
    "Judgement": "shipworthy.release.judgement",
    "audit": "shipworthy.release.audit",
    "judge": "shipworthy.release.judge",
    "load_run": "shipworthy.release.load",
}

__all__ = ["Audit", "Judgement", "__version__", "audit", "judge", "load_run"]


def __getattr__(name: str) -> Any:
    if name in _ROOMS:
        return getattr(import_module(_ROOMS[name]), name)
    raise AttributeError(f"module 'shipworthy' has no attribute {name!r}")
