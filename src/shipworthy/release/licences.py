"""Licences of what a project's model is made of, and the figure that a limit on them looks at."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shipworthy.data.builtin import PREFIX, licence_of
from shipworthy.measure.licences import Licensed, allows_commercial_use
from shipworthy.release.card_origins import declared_licence
from shipworthy.release.judgement import Phrase

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from shipworthy.release.project import Project

_SOURCES = ("source", "train", "calibration", "validation", "test")


def licensed(project: Project, folder: Path | None) -> tuple[Licensed, ...]:
    """Return the model of the start and the rows, with the licence that each declares.

    folder: of the model; None where there is none, for tables. What its own files say comes first,
    for a built-in thing what it came with; the project's `documentation` speaks for what says
    nothing.
    """
    said = project.documentation
    sources = [str(v) for v in (getattr(project.data, key) for key in _SOURCES) if v is not None]
    builtin = [name for name in sources if name.startswith(PREFIX)]
    rows = said.data.licence or (licence_of(builtin[0]) if builtin else None)
    name = builtin[0] if builtin else project.data.source or project.data.train or ""
    found: list[Licensed] = []
    if folder is not None:
        base = declared_licence(folder)[0] or licence_of(project.base) or said.base_licence
        found.append(Licensed("model", _short(project.base), base))
    if project.adapter is not None:
        own = declared_licence(project.adapter)[0]
        found.append(Licensed("adapter", project.adapter.name, own))
    return (*found, Licensed("rows", _short(name), rows))


def _short(name: str) -> str:
    return name if name.startswith(PREFIX) else name.rpartition("/")[2]


def licence_note(parts: Sequence[Licensed]) -> Phrase:
    """Return what each part's licence says of commercial use, for people."""
    answers = {True: "allows", False: "forbids", None: "unknown"}
    words = {
        part.part: Phrase(
            f"licences.{answers[allows_commercial_use(part.licence)]}"
            if part.licence is not None
            else "licences.none",
            {"name": part.name, "licence": part.licence or ""},
        )
        for part in parts
    }
    key = "run.note.licences_adapter" if "adapter" in words else "run.note.licences"
    key = key if "model" in words else "run.note.licences_rows"
    return Phrase(key, words)
