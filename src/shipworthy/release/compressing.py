"""The verb `compress`: the search of a project, and what it tried; no test row is looked at."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from shipworthy.core.errors import SettingsError
from shipworthy.core.locale import text
from shipworthy.release.cells import Column, table
from shipworthy.release.search_rows import (
    HEADS,
    cells,
    layer_blocks,
    outcome,
    search_document,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from shipworthy.core.stages import Stage
    from shipworthy.release.project import Project

_WORDS = ("recipe", "outcome", "missed")


@dataclass(frozen=True)
class Compressed:
    """What a search tried. folder: of its stage; document: as `search_document` gives it."""

    folder: Path
    document: Mapping[str, Any]

    @property
    def chosen(self) -> tuple[str, ...]:
        """Names of the recipes that it ends with, the best first."""
        return tuple(self.document["chosen"])

    @property
    def trials(self) -> tuple[Mapping[str, Any], ...]:
        """All that was tried, the best first."""
        return tuple(self.document["trials"])

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {"folder": str(self.folder), **self.document}

    def lines(self, *, width: int) -> list[str]:
        """Return it as lines for people, of at most so many cells."""
        columns = [
            Column(text(f"compress.head.{name}"), align="left" if name in _WORDS else "right",
                   wraps=name in ("recipe", "missed"))
            for name in HEADS
        ]  # fmt: skip
        lines, _ = table(columns, cells(self.trials), width)
        said = ["  ".join(line).rstrip() for line in lines]
        layers = [
            one
            for head, lines in layer_blocks(self.document)
            for one in ("", head, *(f"  {line}" for line in lines))
        ]
        return [*said, "", *outcome(self.document), *layers]


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
    return Compressed(stage.folder, search_document(stage.folder))


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
