"""What can be written in a project, policy or team file: from the settings' own docstrings.

The rooms' settings are the single source; here they become a JSON Schema, with which an editor
completes and checks a YAML file, and lines for people.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any, TypeAlias, get_args

from shipworthy.core.errors import InputError, nearest
from shipworthy.core.locale import has_text, text

if TYPE_CHECKING:
    from pydantic import BaseModel

Schema: TypeAlias = dict[str, Any]

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def _project() -> type[BaseModel]:
    from shipworthy.release.project import Project

    return Project


def _policy() -> type[BaseModel]:
    from shipworthy.release.policy import PolicyFile

    return PolicyFile


def _team() -> type[BaseModel]:
    from shipworthy.team.settings import TeamSettings

    return TeamSettings


def _ask() -> type[BaseModel]:
    from shipworthy.release.ask import AskSettings

    return AskSettings


SUBJECTS: dict[str, Callable[[], type[BaseModel]]] = {
    "project": _project,
    "policy": _policy,
    "team": _team,
    "ask": _ask,
}


def model_of(subject: str) -> type[BaseModel]:
    """Return the settings model of a kind of file. Raises InputError for an unknown one."""
    if subject not in SUBJECTS:
        raise InputError(text("error.schema.subject", name=subject, fix=nearest(subject, SUBJECTS)))
    return SUBJECTS[subject]()


def json_schema(subject: str) -> Schema:
    """Return the JSON Schema (2020-12) of a kind of file, documented in the language in use."""
    model = model_of(subject)
    found: Schema = model.model_json_schema()
    # A list of limits and a policy with keys need no name of their own in an editor.
    found.pop("title", None)
    by_name = {m.__name__: m for m in models(model)}
    for name, part in {model.__name__: found, **found.get("$defs", {})}.items():
        if name in by_name:
            _document(by_name[name], part)
    return {"$schema": DIALECT, "title": text(f"schema.title.{subject}"), **found}


def models(model: type[BaseModel]) -> Iterator[type[BaseModel]]:
    """Yield a settings model and all that it is put together from, each once."""
    seen: dict[type[BaseModel], None] = {}
    waiting = [model]
    while waiting:
        one = waiting.pop(0)
        if one in seen:
            continue
        seen[one] = None
        for info in one.model_fields.values():
            waiting += _models_in(info.annotation)
    yield from seen


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    from pydantic import BaseModel

    if inspect.isclass(annotation) and issubclass(annotation, BaseModel):
        return [annotation]
    return [found for part in get_args(annotation) for found in _models_in(part)]


@cache
def docstrings(model: type[BaseModel]) -> Mapping[str, str]:
    """Return the docstring below each field of a settings model, on one line; "" is the model's."""
    (tree,) = ast.parse(textwrap.dedent(inspect.getsource(model))).body
    assert isinstance(tree, ast.ClassDef)
    found = {"": _one_line(ast.get_docstring(tree) or "")}
    for field, below in zip(tree.body, tree.body[1:], strict=False):
        if not (isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)):
            continue
        if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant):
            found[field.target.id] = _one_line(str(below.value.value))
    return found


def documentation(model: type[BaseModel], field: str = "") -> str:
    """Return what is said about a field, or about the model, in the language in use."""
    key = f"schema.{model.__name__}.{field}".rstrip(".")
    return text(key) if has_text(key) else docstrings(model).get(field, "")


def _document(model: type[BaseModel], part: Schema) -> None:
    """Put docstrings into the schema of a model, and what only its validators know."""
    part["description"] = documentation(model)
    if "title" in part:
        del part["title"]
    names = {info.alias or name: name for name, info in model.model_fields.items()}
    for key, value in part.get("properties", {}).items():
        value.pop("title", None)
        value["description"] = documentation(model, names[key])
        _known(model.__name__, key, value)
    if model.__name__ == "LimitSettings":
        part["oneOf"] = [
            {"required": ["measure", "at_least"]},
            {"required": ["measure", "at_most"]},
            {"required": ["licence_allows"]},
        ]


def _known(model: str, key: str, value: Schema) -> None:
    """Name the values that an editor can offer."""
    from shipworthy.release.policy import NAMED_SLICES, known_measures

    if key == "measure" and model in ("LimitSettings", "OtherMeasure"):
        value["enum"] = sorted(known_measures())
    if key == "slice" and model == "LimitSettings":
        value["anyOf"][0] = {"enum": list(NAMED_SLICES)}
    if value.get("format") == "path":
        del value["format"]
    for branch in value.get("anyOf", ()):
        if branch.get("format") == "path":
            del branch["format"]


def _one_line(said: str) -> str:
    return " ".join(said.split())
