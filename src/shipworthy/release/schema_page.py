"""The keys of a settings file for people: what each means, its type, range and default."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from shipworthy.core.locale import text
from shipworthy.release.cells import wrap
from shipworthy.release.schema import Schema, json_schema

_INDENT = 2
_RANGES = (
    ("minimum", "≥"),
    ("exclusiveMinimum", ">"),
    ("maximum", "≤"),
    ("exclusiveMaximum", "<"),
)


def lines(subject: str, *, width: int) -> list[str]:
    """Return every key of a kind of file with its documentation, nested keys indented."""
    whole = json_schema(subject)
    return ["  " + whole["title"], "", *_keys(whole, whole, width, 1, set())]


def _keys(whole: Schema, part: Schema, width: int, depth: int, told: set[str]) -> Iterator[str]:
    """Yield the keys of every model that a part of the schema may be; each model once."""
    for name in _refs(part):
        if name not in told:
            told.add(name)
            yield from _keys(whole, whole["$defs"][name], width, depth, told)
    required = set(part.get("required", ()))
    for key, value in part.get("properties", {}).items():
        start = " " * (_INDENT * depth)
        facts = [kind(value)]
        if key in required:
            facts.append(text("schema.required"))
        elif not (_refs(value) and value.get("default") is not None):
            facts.append(text("schema.default", value=_written(value.get("default"))))
        line = text("schema.key", key=key, facts=text("schema.and").join(facts))
        yield from _wrapped(line, start, width)
        yield from _wrapped(value["description"], start + "    ", width)
        yield from _keys(whole, {"anyOf": [value]}, width, depth + 1, told)
        if depth == 1:
            yield ""


def kind(value: Schema) -> str:
    """Return type and range of a value in words."""
    if "anyOf" in value:
        parts = [kind(v) for v in value["anyOf"] if v.get("type") != "null"]
        return text("schema.or").join(dict.fromkeys(parts))
    if "enum" in value or "const" in value:
        values = value.get("enum", [value.get("const")])
        return " | ".join(str(v) for v in values)
    if "$ref" in value:
        return text("schema.type.object")
    if value.get("type") == "array":
        if "prefixItems" in value or "items" not in value:
            return text("schema.type.array")
        return text("schema.type.array_of", kind=kind(value["items"]))
    name = text(f"schema.type.{value.get('type', 'any')}")
    bounds = [f"{sign} {_number(value[key])}" for key, sign in _RANGES if key in value]
    return f"{name} {', '.join(bounds)}" if bounds else name


def _refs(part: Schema) -> list[str]:
    """Names of the models that a value may be, in it or in a list of it."""
    found = [part["$ref"].rpartition("/")[2]] if "$ref" in part else []
    for branch in (*part.get("anyOf", ()), part.get("items")):
        found += _refs(branch) if isinstance(branch, dict) else []
    return list(dict.fromkeys(found))


def _written(value: Any) -> str:
    """Return a default as one would write it in YAML."""
    if value is None or value == "" or value == []:
        return text("schema.nothing")
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:g}"


def _wrapped(said: str, start: str, width: int) -> Iterator[str]:
    for line in wrap(said, max(width - len(start), 20)):
        yield start + line
