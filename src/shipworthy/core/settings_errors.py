"""What pydantic found wrong in a settings file, said as one line for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import UnionType
from typing import TYPE_CHECKING, Annotated, Any, Union, get_args, get_origin

from shipworthy.core.errors import SettingsError, did_you_mean, nearest
from shipworthy.core.locale import text
from shipworthy.core.locale.libraries import translated

if TYPE_CHECKING:
    from pydantic import BaseModel, ValidationError

    from shipworthy.core.yaml import Document, Key, KeyPath

_WANTED = {
    "int": "whole",
    "float": "number",
    "finite_number": "finite",
    "string": "text",
    "path": "path",
    "bool": "bool",
    "list": "list",
    "tuple": "list",
    "dict": "keys",
    "model": "keys",
    "mapping": "keys",
    "date": "date",
    "datetime": "time",
}
"""What each kind of pydantic's errors wants, as the end of a locale key."""


def explain(
    error: ValidationError, model_class: type[BaseModel], document: Document, at: KeyPath
) -> SettingsError:
    """Return the first problem, in the order of the file, as a SettingsError.

    at: key path of the model inside the document.
    """
    problems = [
        _Problem(details, model_class, document, at) for details in error.errors(include_url=False)
    ]
    problems = [p for p in problems if not p.is_echo] or problems
    first = min(_meant(problems), key=lambda problem: problem.line or 0)
    return SettingsError(
        first.sentence, file=document.file, line=first.line, key=first.key, fix=first.fix
    )


def fields_at(model_class: type[BaseModel], path: Sequence[Key]) -> set[str]:
    """Return the names that are valid keys under a path of a settings model.

    Parts of the path that name a union branch or a validator are passed over.
    """
    kinds = list(_leaves(model_class))
    for key in path:
        kinds = [leaf for kind in kinds for leaf in _below(kind, key)] or kinds
    return {
        info.alias or name
        for kind in kinds
        if _is_model(kind)
        for name, info in kind.model_fields.items()
    }


class _Problem:
    """One error of pydantic with its place in the file."""

    def __init__(
        self, details: Any, model_class: type[BaseModel], document: Document, at: KeyPath
    ) -> None:
        from shipworthy.core.yaml import dotted

        self.kind: str = details["type"]
        self.given = details["input"]
        self.context = details.get("ctx", {})
        self.message: str = details["msg"]
        inside, branch = _existing(details["loc"], document.at(at), self.kind)
        self.place = (*at, *inside)
        self.union = None if branch is None else ("union", *at, *inside[:branch])
        self.line = document.nearest_line(self.place)
        self.key = dotted(self.place)
        self.wanted = ""
        self.fix = ""
        self.sentence = self._sentence(model_class, details["loc"])

    @property
    def is_echo(self) -> bool:
        """Whether a list is called too short only since none of its items fits."""
        many = isinstance(self.given, list | tuple) and len(self.given)
        return self.kind == "too_short" and bool(many) and many >= self.context["min_length"]

    def _sentence(self, model_class: type[BaseModel], loc: KeyPath) -> str:
        if self.kind == "extra_forbidden":
            self.fix = nearest(str(loc[-1]), fields_at(model_class, loc[:-1]))
            return text("error.settings.unknown_key")
        if self.kind == "missing":
            return text("error.settings.missing")
        if self.kind in ("value_error", "assertion_error"):
            return str(self.context.get("error", self.message))
        if self.kind in ("literal_error", "enum"):
            written = self.context["expected"].replace(" or ", ", ")
            allowed = [word.strip(" '") for word in written.split(",")]
            if isinstance(self.given, str):
                self.fix = did_you_mean(self.given, allowed)
            self.wanted = text("error.settings.or").join(repr(word) for word in allowed)
            return text(
                "error.settings.choice", given=_shown(self.given), allowed=", ".join(allowed)
            )
        if self.kind == "too_short":
            return text("error.settings.too_few", least=self.context["min_length"])
        kind = self.kind.removesuffix("_type").removesuffix("_parsing")
        wanted = _WANTED["int"] if kind.startswith("int_") else _WANTED.get(kind)
        if wanted:
            self.wanted = text(f"error.settings.kind.{wanted}")
            return text("error.settings.wanted", wanted=self.wanted, given=_shown(self.given))
        message = self.message.removeprefix("Input should be ").removeprefix("Value ")
        return text("error.settings.must_be", wanted=translated(message), given=_shown(self.given))


def _meant(problems: list[_Problem]) -> list[_Problem]:
    """Of what each branch of a union says keep the branch that went deepest; join equals."""
    groups: dict[Any, list[_Problem]] = {}
    for index, problem in enumerate(problems):
        name = index if problem.union is None else problem.union
        groups.setdefault(name, []).append(problem)
    kept = []
    for group in groups.values():
        deepest = max(len(problem.place) for problem in group)
        best = [problem for problem in group if len(problem.place) == deepest]
        first = min(best, key=lambda problem: problem.line or 0)
        wanted = dict.fromkeys(p.wanted for p in best if p.place == first.place)
        if len(wanted) > 1 and "" not in wanted:
            either = text("error.settings.or").join(wanted)
            first.sentence = text("error.settings.wanted", wanted=either, given=_shown(first.given))
        kept.append(first)
    return kept


def _existing(loc: Sequence[Any], data: Any, kind: str) -> tuple[KeyPath, int | None]:
    """Return the keys of a pydantic location that stand in the file, and where a union began.

    Locations also hold the names of union branches and validators; those are no keys. The last
    part of a missing key is kept.
    """
    kept: list[Key] = []
    branch: int | None = None
    for index, key in enumerate(loc):
        if _holds(data, key):
            data = data[key]
        elif not (kind == "missing" and index == len(loc) - 1):
            branch = len(kept) if branch is None else branch
            continue
        kept.append(key)
    return tuple(kept), branch


def _holds(data: Any, key: Any) -> bool:
    if isinstance(data, list):
        return isinstance(key, int) and key < len(data)
    return isinstance(data, Mapping) and key in data


def _below(kind: Any, key: Key) -> Iterator[Any]:
    if _is_model(kind):
        for name, info in kind.model_fields.items():
            if key in (name, info.alias):
                yield from _leaves(info.annotation)
    elif get_origin(kind) is dict and isinstance(key, str):
        yield from _leaves(get_args(kind)[1])
    elif get_origin(kind) in (list, tuple) and isinstance(key, int):
        yield from _leaves(get_args(kind)[0])


def _leaves(annotation: Any) -> Iterator[Any]:
    """Yield the models and containers that a value of this annotation may be."""
    from pydantic import RootModel

    if isinstance(annotation, type) and issubclass(annotation, RootModel):
        yield from _leaves(annotation.model_fields["root"].annotation)
    elif get_origin(annotation) is Annotated:
        yield from _leaves(get_args(annotation)[0])
    elif get_origin(annotation) in (Union, UnionType):
        for part in get_args(annotation):
            yield from _leaves(part)
    else:
        yield annotation


def _is_model(value: Any) -> bool:
    from pydantic import BaseModel

    return get_origin(value) is None and isinstance(value, type) and issubclass(value, BaseModel)


def _shown(value: Any) -> str:
    if value is None:
        return text("error.settings.nothing")
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Mapping):
        return text("error.settings.kind.keys")
    if isinstance(value, list | tuple):
        return text("error.settings.kind.list")
    written = repr(value)
    return written if len(written) <= 60 else f"{written[:57]}…'"
