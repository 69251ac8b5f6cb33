"""The verb `compress`: the search of a project, and what it tried; no test row is looked at."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from shipworthy.core.errors import SettingsError
from shipworthy.core.locale import NO_NUMBER, number, text
from shipworthy.release.cells import Column, table
from shipworthy.release.places import TRIALS
from shipworthy.release.searching import CHOSEN

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from shipworthy.core.stages import Stage
    from shipworthy.release.project import Project


@dataclass(frozen=True)
class Compressed:
    """What a search tried, best first. folder: of its stage; chosen: names, the best first."""

    folder: Path
    seconds: float
    exhausted: bool
    chosen: tuple[str, ...]
    trials: tuple[dict[str, Any], ...]

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            "folder": str(self.folder),
            "seconds": self.seconds,
            "exhausted": self.exhausted,
            "chosen": list(self.chosen),
            "trials": [_told(trial, trial["name"] in self.chosen) for trial in self.trials],
        }

    def lines(self, *, width: int) -> list[str]:
        """Return it as lines for people, of at most so many cells."""
        columns = [
            Column(text(f"compress.head.{name}"), align="left" if name in _TEXTS else "right",
                   wraps=name == "missed")
            for name in ("recipe", "outcome", "size", "latency", "harm", "missed")
        ]  # fmt: skip
        rows = [_row(trial, chosen=trial["name"] in self.chosen) for trial in self.trials]
        cells, _ = table(columns, rows, width)
        said = ["  ".join(line).rstrip() for line in cells]
        kept = [trial for trial in self.trials if trial["state"] == "kept"]
        key = "compress.kept" if kept else "compress.none"
        end = text(
            key, count=number(len(self.trials)), minutes=number(self.seconds / 60, 1),
            kept=number(len(kept)), name=self.chosen[0] if self.chosen else NO_NUMBER,
        )  # fmt: skip
        whole = [text("compress.exhausted")] if self.exhausted else []
        return [*said, "", end, *whole, text("compress.times")]


_TEXTS = ("recipe", "outcome", "missed")


def compress_project(
    project: Project, root: Path, *, wait: bool = False, tell: Callable[[Stage], None]
) -> Compressed:
    """Search the recipes of a project and return what was tried.

    The recipes that the project lists are tried first, whether it asks for a search or not.
    Raises what a run raises before its candidates are made.
    """
    from shipworthy.release.pipeline import run_project

    asked = project.model_copy(
        update={"compress": project.compress.model_copy(update={"search": True})}
    )
    finished = run_project(asked, root=root, only="candidates", wait=wait, tell=tell)
    stage = next(stage for stage in finished.stages if stage.name == "search")
    return read_search(stage.folder)


def within(project: Project, minutes: float | None) -> Project:
    """Return the project with the budget of the command line, in minutes.

    Raises SettingsError where it is not above 0, and for a language model.
    """
    if project.task != "text-classification":
        raise SettingsError(
            text("error.compressing.task", task=project.task),
            key="task",
            fix=text("error.compressing.task.fix"),
        )
    if minutes is None:
        return project
    if not 0 < minutes < math.inf:
        raise SettingsError(
            text("error.compressing.minutes", minutes=f"{minutes:g}"),
            key="--minutes",
            fix=text("error.compressing.minutes.fix"),
        )
    changed = project.compress.model_copy(update={"budget_minutes": minutes})
    return project.model_copy(update={"compress": changed})


def read_search(folder: Path) -> Compressed:
    """Return what a search left in the folder of its stage."""
    from shipworthy.compress.search import named

    told = json.loads((folder / TRIALS).read_text(encoding="utf-8"))
    recipes = json.loads((folder / CHOSEN).read_text(encoding="utf-8"))
    chosen = tuple(named(recipe).name for recipe in recipes)
    order = {name: place for place, name in enumerate(chosen)}
    trials = sorted(
        told["trials"],
        key=lambda trial: (order.get(trial["name"], len(order)), *_rank(trial)),
    )
    return Compressed(folder, told["seconds"], told["exhausted"], chosen, tuple(trials))


def _rank(trial: dict[str, Any]) -> tuple[float, float]:
    """Return the place of a trial among those that were not chosen: what it misses, its latency."""
    if trial["found"] is None:
        return math.inf, 0.0
    latency = trial["found"]["values"][1]
    missed = max(max(trial["found"]["excess"], default=0.0), 0.0)
    return missed, math.inf if latency is None else latency


def _row(trial: dict[str, Any], *, chosen: bool) -> list[str]:
    found = trial["found"]
    state = text("compress.chosen") if chosen else text(f"compress.state.{trial['state']}")
    if found is None:
        return [trial["name"], state, NO_NUMBER, NO_NUMBER, NO_NUMBER, trial["error"]]
    size, latency, harm = found["values"]
    return [
        trial["name"],
        state,
        NO_NUMBER if size is None else number(size, 1),
        NO_NUMBER if latency is None else f"{number(latency, 2)}×",
        NO_NUMBER if harm is None else number(-100 * harm, 1),
        found["worst"],
    ]


def _told(trial: dict[str, Any], chosen: bool) -> dict[str, Any]:
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
