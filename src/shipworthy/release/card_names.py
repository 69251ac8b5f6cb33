"""The kinds of cards and the names of their files in a run folder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TypeAlias

Kind: TypeAlias = Literal["model", "annex-iv", "datasheet"]

NAMES: Mapping[Kind, str] = {
    "model": "model_card",
    "annex-iv": "technical_documentation",
    "datasheet": "datasheet",
}
"""Name of each kind's file, without its ending."""
