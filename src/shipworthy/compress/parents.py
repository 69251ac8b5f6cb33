"""What every lever asks of the candidate that it starts from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shipworthy.core.errors import ModelError
from shipworthy.core.locale import text
from shipworthy.model.checkpoint import read_info

if TYPE_CHECKING:
    from pathlib import Path

    from shipworthy.model.checkpoint import RuntimeInfo


def require_fp32(parent: Path | str, lever: str) -> RuntimeInfo:
    """Return how a parent runs; raise ModelError where it is not of the runtime `torch`."""
    info = read_info(parent)
    if info.runtime != "torch":
        raise ModelError(
            text("error.parents.fp32", lever=text(f"error.parents.{lever}"), runtime=info.runtime),
            folder=parent,
            fix=text("error.parents.fp32.fix"),
        )
    return info
