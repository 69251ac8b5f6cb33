"""What a search tried, best first: the document of a stage, and the cells of its table."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shipworthy.core.locale import NO_NUMBER, number, text
from shipworthy.release.places import TRIALS

CHOSEN = "chosen.json"
"""In the stage of a search: the recipes that it ends with, as a project file writes them."""
HEADS = ("recipe", "outcome", "size", "latency", "harm", "missed")
"""Columns of the table, by the names of their heads."""
MOST_SHOWN = 24
"""Rows of the table on a page; the file in the run has all."""


@dataclass(frozen=True)
class SearchSection:
    """The search on a page.

    words: what came of it; rows: cells of the table; more: what is not shown, empty where all is.
    """

    words: tuple[str, ...]
    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    more: str


def search_document(folder: Path) -> dict[str, Any]:
    """Return what the stage of a search holds, as JSON values.

    Those that were chosen come first, the others by what they miss and how long they take.
    """
    from shipworthy.compress.trials import named

    told = json.loads((folder / TRIALS).read_text(encoding="utf-8"))
    recipes = json.loads((folder / CHOSEN).read_text(encoding="utf-8"))
    chosen = [named(recipe).name for recipe in recipes]
    order = {name: place for place, name in enumerate(chosen)}
    trials = sorted(
        told["trials"], key=lambda trial: (order.get(trial["name"], len(order)), *_rank(trial))
    )
    return {
        "seconds": told["seconds"],
        "exhausted": told["exhausted"],
        "chosen": chosen,
        "trials": [_told(trial, trial["name"] in order) for trial in trials],
    }


def search_section(told: Mapping[str, Any]) -> SearchSection | None:
    """Return the search of a run for its page; None where there was none. told: its document."""
    if not told:
        return None
    trials = told["trials"]
    left = len(trials) - MOST_SHOWN
    return SearchSection(
        tuple(outcome(told)),
        tuple(text(f"compress.head.{name}") for name in HEADS),
        tuple(tuple(row) for row in cells(trials[:MOST_SHOWN])),
        text("compress.more", count=number(left), file=TRIALS) if left > 0 else "",
    )


def outcome(told: Mapping[str, Any]) -> list[str]:
    """Return what came of a search, as sentences."""
    trials, chosen = told["trials"], told["chosen"]
    kept = [trial for trial in trials if trial["state"] == "kept"]
    said = text(
        "compress.kept" if kept else "compress.none", count=number(len(trials)),
        minutes=number(told["seconds"] / 60, 1), kept=number(len(kept)),
        name=chosen[0] if chosen else NO_NUMBER,
    )  # fmt: skip
    whole = [text("compress.exhausted")] if told["exhausted"] else []
    return [said, *whole, text("compress.times")]


def cells(trials: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """Return the cells of the table, in the order of `HEADS`."""
    rows = []
    for trial in trials:
        state = "compress.chosen" if trial["chosen"] else f"compress.state.{trial['state']}"
        size, latency = trial["size_mb"], trial["latency_p95_ratio"]
        change = trial["worst_group_change"]
        rows.append(
            [
                trial["name"],
                text(state),
                NO_NUMBER if size is None else number(size, 1),
                NO_NUMBER if latency is None else f"{number(latency, 2)}×",
                NO_NUMBER if change is None else number(100 * change, 1, sign=True),
                trial["error"] or trial["worst"],
            ]
        )
    return rows


def _rank(trial: Mapping[str, Any]) -> tuple[float, float]:
    """Return the place of a trial among those that were not chosen: what it misses, its latency."""
    if trial["found"] is None:
        return math.inf, 0.0
    latency = trial["found"]["values"][1]
    missed = max(max(trial["found"]["excess"], default=0.0), 0.0)
    return missed, math.inf if latency is None else latency


def _told(trial: Mapping[str, Any], chosen: bool) -> dict[str, Any]:
    found = trial["found"] or {"values": [None] * 3, "excess": [], "worst": ""}
    size, latency, harm = found["values"]
    return {
        "name": trial["name"],
        "recipe": trial["recipe"],
        "state": trial["state"],
        "chosen": chosen,
        "size_mb": size,
        "latency_p95_ratio": latency,
        "worst_group_change": None if harm is None else -harm,
        "excess": found["excess"],
        "worst": found["worst"],
        "error": trial["error"],
        "seconds": trial["seconds"],
    }
