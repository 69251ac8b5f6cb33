"""What a project of a table may say, and what its settings become."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from shipworthy.core.locale import text
from shipworthy.data.tables import ROW_TEXT
from shipworthy.release.contamination import MEASURE as CONTAMINATED

if TYPE_CHECKING:
    from shipworthy.core.yaml import Document
    from shipworthy.data.settings import DataSettings
    from shipworthy.release.project import Project

_NOT_FOR_TABLES = ("adapter", "train", "compress", "generate", "probes")
_OF_TABLES = ("features", "ignore", "kinds", "sensitive")
_OF_TEXTS = ("text", "contamination")


def for_table(project: Project, data: DataSettings, document: Document) -> dict[str, Any]:
    """Return what a table changes in the settings of a project.

    Raises SettingsError with file, line and key for what knows texts only.
    """
    if project.table is None:
        fix = text("error.project_tables.model.fix")
        raise document.error(text("error.project_tables.model"), ("model",), fix=fix)
    for key in _NOT_FOR_TABLES:
        if key in project.model_fields_set:
            raise document.error(
                text("error.project_tables.key", key=key), (key,),
                fix=text("error.project_tables.key.fix"),
            )  # fmt: skip
    for key in _OF_TEXTS:
        if key in project.data.model_fields_set:
            raise document.error(text("error.project_tables.texts", key=key), ("data", key))
    for place, limit in enumerate(project.policy.policy().limits):
        if limit.measure == CONTAMINATED:
            raise document.error(
                text("error.project_tables.measure", measure=limit.measure, number=place + 1),
                ("policy",),
            )
    _refuse_same_names(project, document)
    joins = data.near_duplicates if "near_duplicates" in data.model_fields_set else "off"
    if joins not in ("off", 1):
        at = ("data", "near_duplicates")
        fix = text("error.project_tables.duplicates.fix")
        raise document.error(text("error.project_tables.duplicates"), at, fix=fix)
    return {"data": data.model_copy(update={"text": ROW_TEXT, "near_duplicates": joins})}


def refuse_table_keys(project: Project, document: Document) -> None:
    """Raise SettingsError where a project of texts says what only tables know."""
    fix = text("error.project_tables.only.fix", task=project.task)
    if project.table is not None:
        raise document.error(text("error.project_tables.only", key="model"), ("model",), fix=fix)
    if project.challengers:
        key = "challengers"
        raise document.error(text("error.project_tables.only", key=key), (key,), fix=fix)
    for key in _OF_TABLES:
        if key in project.data.model_fields_set:
            at = ("data", key)
            raise document.error(text("error.project_tables.only", key=f"data.{key}"), at, fix=fix)


def _refuse_same_names(project: Project, document: Document) -> None:
    assert project.table is not None
    taken = {project.table.title}
    for place, model in enumerate(project.challengers):
        if model.title in taken:
            raise document.error(
                text("error.project_tables.name", name=model.title), ("challengers", place),
                fix=text("error.project_tables.name.fix"),
            )  # fmt: skip
        taken.add(model.title)
