"""YAML 1.2 with line numbers, and settings whose errors name file, line, key and nearest name.

YAML 1.2 reads `1e-5` as a number and `NO` as text. Duplicate keys, tabs, tags and merge keys are
errors. Settings are checked strictly: `"3"` is no number and `true` is not 1.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from shipworthy.core.errors import SettingsError
from shipworthy.core.locale import text
from shipworthy.core.locale.libraries import refusal, translated

if TYPE_CHECKING:
    from pydantic import BaseModel

    Model = TypeVar("Model", bound=BaseModel)

Key: TypeAlias = str | int
KeyPath: TypeAlias = tuple[Key, ...]

_MOST_NODES = 100_000
_TAG = "tag:yaml.org,2002:"


@dataclass(frozen=True)
class Document:
    """The plain values of a YAML file, and where each of them stands."""

    data: Any
    file: str
    lines: Mapping[KeyPath, int] = field(default_factory=dict, repr=False)

    def line(self, path: Sequence[Key]) -> int | None:
        """Return the line (from 1) of a key or list item; None where there is no such key."""
        return self.lines.get(tuple(path))

    def nearest_line(self, path: Sequence[Key]) -> int | None:
        """Return the line of a key, or of the closest one above it that exists."""
        for end in range(len(path), -1, -1):
            found = self.line(path[:end])
            if found is not None:
                return found
        return None

    def at(self, path: Sequence[Key]) -> Any:
        """Return the value under a path of keys; raises KeyError or IndexError where absent."""
        value = self.data
        for key in path:
            value = value[key]
        return value

    def error(self, problem: str, path: Sequence[Key] = (), *, fix: str = "") -> SettingsError:
        """Return a SettingsError that names this file and the line of a key."""
        return SettingsError(
            problem, file=self.file, line=self.nearest_line(path), key=dotted(path), fix=fix
        )


def dotted(path: Sequence[Key]) -> str:
    """Return a key path as people write it.

    >>> dotted(("policy", 2, "at_least"))
    'policy[2].at_least'
    """
    parts: list[str] = []
    for key in path:
        if isinstance(key, int):
            parts.append(f"[{key}]")
        else:
            parts.append(f".{key}" if parts else key)
    return "".join(parts)


def read_yaml(path: Path | str) -> Document:
    """Read a YAML 1.2 file (JSON is YAML 1.2).

    Raises SettingsError with file and line where it is absent, not UTF-8, broken, or holds a
    duplicate key, a tab, a tag or more than one document.
    """
    try:
        content = Path(path).read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise SettingsError(text("error.unreadable", reason=refusal(error)), file=path) from error
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise SettingsError(
            text("error.yaml.not_utf8"), file=path, line=line, fix=text("error.yaml.not_utf8.fix")
        ) from error
    return parse_yaml(content, file=str(path))


def parse_yaml(content: str, *, file: str = "settings") -> Document:
    """Read YAML 1.2 text; file is the name that errors carry. Raises as `read_yaml`."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError, YAMLError, YAMLStreamError

    reader = YAML(typ="safe", pure=True)
    try:
        root = reader.compose(content)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = None if mark is None else mark.line + 1
        if "end" in str(error.problem) and "stream" in str(error.problem) and error.context_mark:
            # The end of the file is no help; what was opened and not closed is.
            line = error.context_mark.line + 1
        problem = " ".join(str(error.problem or error.context or "broken YAML").split())
        if "'\\t'" in problem or (line and _indented_by_tab(content, line)):
            raise SettingsError(
                text("error.yaml.tab"), file=file, line=line, fix=text("error.yaml.tab.fix")
            ) from error
        if "another document" in problem:
            problem = text("error.yaml.two_documents")
        raise SettingsError(
            text("error.yaml.broken", problem=translated(problem)), file=file, line=line
        ) from error
    except (YAMLError, YAMLStreamError) as error:
        raise SettingsError(text("error.yaml.broken", problem=error), file=file) from error
    except RecursionError as error:
        raise SettingsError(text("error.yaml.deep"), file=file) from error
    if root is None:
        return Document(None, file, {(): 1})
    builder = _Builder(file)
    return Document(builder.build(root, ()), file, builder.lines)


def load_settings(model_class: type[Model], document: Document, at: Sequence[Key] = ()) -> Model:
    """Check the values under a key path against a pydantic model, strictly.

    The model sees strict JSON: lists fit tuples, text fits paths and dates. What a "before"
    validator returns is checked as strict Python instead, so it must return tuples and paths.
    Raises SettingsError for the first problem in the file, with line, dotted key and, for unknown
    names, the nearest valid one.
    """
    from pydantic import ValidationError

    from shipworthy.core.settings_errors import explain

    value = document.at(at)
    if value is None:
        value = {}
    try:
        # Strict JSON keeps types apart but still takes lists for tuples and text for paths.
        return model_class.model_validate_json(json.dumps(value), strict=True)
    except ValidationError as error:
        raise explain(error, model_class, document, tuple(at)) from error


def _indented_by_tab(content: str, line: int) -> bool:
    rows = content.split("\n")
    return line <= len(rows) and "\t" in rows[line - 1][: -len(rows[line - 1].lstrip()) or None]


class _Builder:
    """Turns YAML nodes into plain values and notes their lines."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.lines: dict[KeyPath, int] = {}
        self._open: set[int] = set()
        self._built = 0

    def build(self, node: Any, path: KeyPath) -> Any:
        from ruamel.yaml.nodes import MappingNode, ScalarNode

        self._built += 1
        line = node.start_mark.line + 1
        self.lines.setdefault(path, line)
        # Aliases are followed, so a small file could stand for a huge or an endless one.
        if id(node) in self._open or self._built > _MOST_NODES:
            raise SettingsError(
                text("error.yaml.aliases"), file=self.file, line=line, key=dotted(path)
            )
        tag = str(node.tag)
        if not tag.startswith(_TAG):
            raise self._refuse(text("error.yaml.tag", tag=tag), node, path)
        if isinstance(node, ScalarNode):
            return self._scalar(node, path, tag.removeprefix(_TAG))
        if tag.removeprefix(_TAG) not in ("map", "seq"):
            raise self._refuse(text("error.yaml.tag", tag=tag), node, path)
        self._open.add(id(node))
        built = (
            self._mapping(node, path)
            if isinstance(node, MappingNode)
            else [self.build(item, (*path, i)) for i, item in enumerate(node.value)]
        )
        self._open.discard(id(node))
        return built

    def _mapping(self, node: Any, path: KeyPath) -> dict[str, Any]:
        from ruamel.yaml.nodes import ScalarNode

        values: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, ScalarNode):
                raise self._refuse(text("error.yaml.key"), key_node, path)
            key, line = key_node.value, key_node.start_mark.line + 1
            if key in values:
                first = self.lines[(*path, key)]
                problem = text("error.yaml.key_twice", key=key, line=first)
                raise self._refuse(problem, key_node, (*path, key))
            if key_node.tag == f"{_TAG}merge":
                raise self._refuse(text("error.yaml.merge"), key_node, path)
            self.lines[(*path, key)] = line
            values[key] = self.build(value_node, (*path, key))
        return values

    def _scalar(self, node: Any, path: KeyPath, kind: str) -> Any:
        written = node.value
        try:
            if kind == "null":
                return None
            if kind == "bool":
                return {"true": True, "false": False}[written.lower()]
            if kind == "int":
                return _whole(written.replace("_", ""))
            if kind == "float":
                return _float(written.replace("_", "").lower())
        except (ValueError, KeyError) as error:
            raise self._refuse(
                text("error.yaml.kind", written=written, kind=kind), node, path
            ) from error
        # YAML 1.2 has no dates; a day such as 2026-01-31 stays text.
        if kind in ("str", "timestamp"):
            return written
        raise self._refuse(text("error.yaml.tag", tag=f"!!{kind}"), node, path)

    def _refuse(self, problem: str, node: Any, path: KeyPath) -> SettingsError:
        line = node.start_mark.line + 1
        return SettingsError(problem, file=self.file, line=line, key=dotted(path))


def _whole(written: str) -> int:
    sign, digits = (-1, written[1:]) if written[0] == "-" else (1, written.lstrip("+"))
    base = {"0x": 16, "0o": 8}.get(digits[:2].lower(), 10)
    return sign * int(digits[2:] if base != 10 else digits, base)


def _float(written: str) -> float:
    if written.endswith((".inf", ".nan")):
        return float(written.replace(".", ""))
    return float(written)
