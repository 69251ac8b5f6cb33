"""What a search tried, best first: the document of a stage, and the cells of its table."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shipworthy.core.locale import NO_NUMBER, has_text, number
from shipworthy.core.records import Slice
from shipworthy.release.display import Shown, shown, text
from shipworthy.release.judgement import Phrase
from shipworthy.release.look_shown import named as named_parts
from shipworthy.release.look_shown import part_lines, step_lines
from shipworthy.release.next_words import figure_in, said
from shipworthy.release.nulls import from_null
from shipworthy.release.places import TRIALS
from shipworthy.release.wording import phrase

CHOSEN = "chosen.json"
"""In the stage of a search: the recipes that it ends with, as a project file writes them."""
HEADS = ("recipe", "outcome", "size", "latency", "harm", "missed")
"""Columns of the table, by the names of their heads."""
NOTE = "run.note.search"
"""What the keys of all notes on a search begin with."""
MOST_PARTS = 4
"""Parts that are told of, those first that give back most."""
MOST_SHOWN = 24
"""Rows of the table on a page; the file in the run has all."""


@dataclass(frozen=True)
class SearchSection:
    """The search on a page.

    words: what came of it; layers: which steps and layers cost the nearest trial, headings with
    their lines; rows: cells of the table; more: what is not shown, empty where all is.
    """

    words: tuple[str, ...]
    layers: tuple[tuple[str, tuple[str, ...]], ...]
    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    more: str


def search_document(folder: Path) -> dict[str, Any]:
    """Return what the stage of a search holds, as JSON values.

    Those that were chosen come first, the others by what they miss and how long they take.
    """
    from shipworthy.compress.recipes import named

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
        "layers": told["layers"],
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
        tuple((head, tuple(lines)) for head, lines in layer_blocks(told)),
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
    layers = told.get("layers")
    return [said, *whole, *_nearest(layers), text("compress.times")]


def layer_blocks(told: Mapping[str, Any]) -> list[tuple[str, list[str]]]:
    """Say which steps and layers cost the nearest trial: a heading, and its lines.

    told: document of the search; nothing where a trial kept all limits.
    """
    layers = told.get("layers")
    if layers is None or layers["look"] is None:
        return []
    look = layers["look"]
    form, found = _form(look), []
    words = _words(look) | {"candidate": layers["candidate_name"]}
    if look["steps"]:
        found.append((phrase(said("next.steps.heading", words)), step_lines(look, form)))
    if look["parts"]:
        words["minutes"] = number(layers["seconds"] / 60, 1)
        best = {**look, "parts": look["parts"][:MOST_PARTS]}
        found.append((phrase(said("compress.layers.heading", words)), part_lines(best, form)))
    return found


def _nearest(told: Mapping[str, Any] | None) -> list[str]:
    """Say what the nearest trial misses, and why no layers are named or what was tried for them."""
    if told is None:
        return []
    found, look = [], told["look"]
    if told["missed"] is not None:
        found.append(phrase(_missed(told)))
    if told["reason"]:
        key = f"compress.layers.{told['reason']}"
        found.append(text(key) if has_text(key) else told["reason"])
    if look is not None and look["left"]:
        found.append(text("compress.layers.left", count=look["left"]))
    if told["tried"] is not None:
        found.append(text("compress.layers.tried", name=told["tried"]))
    return found


def search_notes(told: Mapping[str, Any]) -> list[Phrase]:
    """Return what a search did, for a place that has no table of it. told: its document."""
    trials, layers = told["trials"], told.get("layers")
    kept = [trial for trial in trials if trial["state"] == "kept"]
    words: dict[str, Any] = {
        "count": len(trials),
        "minutes": f"{told['seconds'] / 60:.0f}",
        "kept": len(kept),
    }
    ended = [trial for trial in trials if trial["state"] != "failed"]
    if kept or not ended:
        notes = [Phrase(NOTE, words)]
    else:
        nearest = min(ended, key=lambda trial: max(trial["excess"], default=0.0))
        words |= {"name": nearest["name"], "worst": nearest["worst"]}
        notes = [Phrase(f"{NOTE}_none", words)]
    if layers is not None and layers["missed"] is not None:
        notes.append(_missed(layers))
    look = None if layers is None else layers["look"]
    if look is not None and look["parts"] and from_null(look["parts"][0]["nearer"]) > 0:
        best = look["parts"][0]
        value, low, high = (from_null(best["back"][end]) for end in ("value", "low", "high"))
        words = {
            **_words(look),
            "parts": named_parts(tuple(best["parts"])),
            "value": figure_in(_form(look), value, low, high),
            "share": number(100 * from_null(best["nearer"])),
        }
        notes.append(said(f"{NOTE}_layers", words))
    return notes


def is_search_note(note: Phrase) -> bool:
    """Say whether a note tells of a search; a page has a section of its own for it."""
    return note.key.startswith(NOTE)


def _missed(told: Mapping[str, Any]) -> Phrase:
    """Say what the nearest trial misses, where, and by how much."""
    missed = told["missed"]
    form = _form(missed)
    words = _words(missed) | {
        "candidate": told["candidate_name"],
        "value": figure_in(form, from_null(missed["value"]), math.nan, math.nan),
        "bound": figure_in(form, from_null(missed["bound"]), math.nan, math.nan),
    }
    return said(f"{NOTE}_missed.{missed['side']}", words)


def _form(told: Mapping[str, Any]) -> Shown:
    """Return how the numbers of a measure are shown."""
    relative = told["relative_to"] != "none"
    return shown(told["measure"], relative=relative, value_unit=told.get("value_unit", ""))


def _words(told: Mapping[str, Any]) -> dict[str, Any]:
    """Return the words for a measure and a slice."""
    conditions = dict(told["slice"])
    where: str | Phrase = str(Slice.of(conditions))
    if set(conditions) == {"each"}:
        where = Phrase("next.where.every", {"column": str(conditions["each"])})
    what = "level" if told["relative_to"] == "none" else "change"
    return {
        "what": Phrase(f"next.what.{what}", {"measure": told["measure"]}),
        "where": where,
        "slice": str(Slice.of(conditions)),
    }


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
