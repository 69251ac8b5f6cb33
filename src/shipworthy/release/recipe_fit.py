"""Whether the recipes of a project can be of its model, before anything is trained."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from shipworthy.core.errors import SettingsError
from shipworthy.core.yaml import dotted

if TYPE_CHECKING:
    from shipworthy.compress.fits import Shape
    from shipworthy.core.yaml import Document
    from shipworthy.release.project import Project

_AT = ("compress", "recipes")
CONFIG = "config.json"


def check_file(project: Project, document: Document) -> None:
    """Raise SettingsError, with file and line, for what the model of a project does not have.

    A model that is not a folder here yet, or does not say how large it is, is looked at when
    training begins.
    """
    from shipworthy.compress.fits import Shape, misfits

    shape = _shape(Path(project.base)) or Shape()
    for one in misfits(project.compress, shape, groups=project.data.groups):
        raise document.error(one.problem, (*_AT, *one.path), fix=one.fix)


def require_fit(project: Project, model: Path, *, calibration: int) -> None:
    """Raise SettingsError for a recipe that model and rows cannot have.

    model: folder that training starts from. calibration: rows of that split.
    """
    from shipworthy.compress.fits import Shape, misfits, too_few_rows

    shape = _shape(model) or Shape()
    few = too_few_rows(project.compress, calibration)
    for one in (*misfits(project.compress, shape, groups=project.data.groups), few):
        if one is not None:
            raise SettingsError(one.problem, key=dotted((*_AT, *one.path)), fix=one.fix)


def _shape(model: Path) -> Shape | None:
    """Return the shape that a folder tells of; what is wrong with the file is said later."""
    from shipworthy.compress.fits import shape_of

    try:
        config = json.loads((model / CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return shape_of(config) if isinstance(config, dict) else None
