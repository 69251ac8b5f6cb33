"""Trials of a search: what a recipe said, the journal that keeps it, and trials one by one.

Where trials are made is no matter of the search: it hands recipes to `Tries` and takes what ended.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from shipworthy.compress.recipes import Recipe, named

if TYPE_CHECKING:
    from pathlib import Path

    from shipworthy.compress.search_space import Choice

State: TypeAlias = Literal["kept", "missed", "stopped", "failed"]

OBJECTIVES = ("size_mb", "latency", "harm")
"""What is made small: the file, p95 latency as a share of the parent's, and what the group loses
that loses most, as a share of its rows."""

JOURNAL = "trials.jsonl"


@dataclass(frozen=True)
class Found:
    """What a trial said.

    values: by `OBJECTIVES`; NaN where the trial was stopped before it was timed. excess: by how
    much each limit is missed on validation, as a share of the limit; 0 or less where it is kept.
    worst: what is missed most, as words for people, empty where nothing is. stopped: whether the
    first rows already said that a limit is missed.
    """

    values: tuple[float, ...]
    excess: tuple[float, ...]
    worst: str = ""
    stopped: bool = False


@dataclass(frozen=True)
class Trial:
    """One recipe that was tried. recipe: as a project file writes it; error: why it failed."""

    name: str
    recipe: Any
    found: Found | None
    seconds: float
    error: str = ""

    @property
    def state(self) -> State:
        """What became of it."""
        if self.found is None:
            return "failed"
        if self.found.stopped:
            return "stopped"
        return "missed" if self.missed > 0 else "kept"

    @property
    def missed(self) -> float:
        """The largest excess over a limit; infinite where there is none known."""
        if self.found is None:
            return math.inf
        return max(self.found.excess, default=0.0)


class TrialError(Exception):
    """A recipe cannot be made of this model; the search goes on."""


Tries: TypeAlias = Callable[[Iterator[Any]], Iterator[Trial]]
"""Takes recipes, as a project file writes them, and yields each one's trial as it ends.

A recipe is taken from the iterator when there is room to begin it at once, and what has ended is
yielded before the next is taken: which recipe comes next depends on what the others said. Where the
iterator is at its end, what was begun is finished. Trials may end in another order.
"""


def one_by_one(
    measure: Callable[[Recipe], Found], clock: Callable[[], float] = time.monotonic
) -> Tries:
    """Return what tries one recipe after the other in this process."""

    def tries(recipes: Iterator[Any]) -> Iterator[Trial]:
        for recipe in recipes:
            yield tried(measure, recipe, clock)

    return tries


def tried(measure: Callable[[Recipe], Found], recipe: Any, clock: Callable[[], float]) -> Trial:
    """Measure a recipe here; what cannot be made is a trial that failed."""
    one, begun = named(recipe), clock()
    found, error = None, ""
    try:
        found = measure(one)
    except TrialError as failure:
        error = str(failure)
    return Trial(one.name, recipe, found, clock() - begun, error)


def plain_trial(trial: Trial) -> dict[str, Any]:
    """Return a trial as JSON values; numbers that there are none of are null."""
    told = asdict(trial)
    if trial.found is not None:
        told["found"]["values"] = [None if math.isnan(v) else v for v in trial.found.values]
    return told


@dataclass(frozen=True)
class Line:
    """A line of the journal. choice: what spelt the recipe, None for one that was given.

    spent: seconds that the search had lasted when the trial ended, over all sittings.
    """

    trial: Trial
    choice: Choice | None
    spent: float


def write_line(journal: Path, line: Line) -> None:
    """Add a line to the journal, on disk when this returns."""
    told = {"choice": line.choice, "trial": plain_trial(line.trial), "spent": line.spent}
    with journal.open("a", encoding="utf-8") as file:
        file.write(json.dumps(told, ensure_ascii=False) + "\n")
        file.flush()
        os.fsync(file.fileno())


def read_lines(journal: Path) -> list[Line]:
    """Return the journal of earlier sittings; a line that a kill cut short is none."""
    if not journal.is_file():
        return []
    found = []
    whole = b"".join(x for x in journal.read_bytes().splitlines(keepends=True) if x[-1:] == b"\n")
    for line in whole.decode("utf-8").splitlines():
        told = json.loads(line)
        found.append(Line(_trial(told["trial"]), told["choice"], told["spent"]))
    journal.write_bytes(whole)
    return found


def _trial(told: dict[str, Any]) -> Trial:
    found = told.pop("found")
    if found is not None:
        values = [math.nan if v is None else v for v in found["values"]]
        found = Found(tuple(values), tuple(found["excess"]), found["worst"], found["stopped"])
    return Trial(found=found, **told)
