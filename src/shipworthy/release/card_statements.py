"""Statements of a document: each rests on a file of the run, or says "none" and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from shipworthy.release.card_facts import Facts, Source
from shipworthy.release.display import text
from shipworthy.release.markdown import Markdown, escaped
from shipworthy.release.places import PROJECT


@dataclass(frozen=True)
class Statement:
    """One sentence.

    source: what it rests on; None where it says that there is nothing. part: key in that file.
    """

    text: str
    source: Source | None
    part: str = ""


@dataclass(frozen=True)
class Point:
    """A label and what there is to say under it, at least one statement."""

    label: str
    statements: tuple[Statement, ...]


@dataclass(frozen=True)
class Section:
    """A heading and its points."""

    heading: str
    points: tuple[Point, ...]


class Writer:
    """Makes the statements about one run."""

    def __init__(self, facts: Facts) -> None:
        self.facts = facts

    def said(self, file: str | Source, key: str, /, **arguments: Any) -> Statement:
        """Return a sentence of the catalogues that rests on a file of the run."""
        source = file if isinstance(file, Source) else self.facts.files[file]
        return Statement(_marked(key, arguments), source)

    def quoted(self, file: str, sentence: str, part: str = "") -> Statement:
        """Return a sentence that stands ready, in the run or in what people declared."""
        return Statement(sentence, self.facts.files[file], part)

    def absent(self, key: str, /, **arguments: Any) -> Statement:
        """Return "none, because ..."."""
        return Statement(Markdown(text("card.none", why=_marked(key, arguments))), None)

    def declared(self, *keys: str) -> tuple[Statement, ...]:
        """Return what was declared under keys of `documentation:`; of each the absence if not."""
        return tuple(s for key in keys for s in self._declared(key))

    def _declared(self, key: str) -> tuple[Statement, ...]:
        if self.facts.project is None:
            return (self.absent("card.why.no_project", key=f"documentation.{key}"),)
        value: Any = self.facts.documentation
        for part in key.split("."):
            value = getattr(value, part)
        values: Sequence[str] = (value,) if isinstance(value, str) else value or ()
        if not values:
            return (self.absent("card.why.not_declared", key=f"documentation.{key}"),)
        return tuple(self.quoted(PROJECT, one, f"documentation.{key}") for one in values)

    def point(self, label: str, *statements: Statement) -> Point:
        """Return a point; label is a locale key."""
        return Point(text(label), statements)


def _marked(key: str, arguments: Mapping[str, Any]) -> Markdown:
    """Return a text of the catalogues as Markdown, what it is about escaped."""
    shown = {k: escaped(v) if isinstance(v, str) else v for k, v in arguments.items()}
    return Markdown(text(key, **shown))


def settings_text(settings: Mapping[str, Any]) -> str:
    """Return settings on one line, nested keys with dots: "epochs 1, schedule.name cosine"."""
    parts: list[str] = []

    def add(prefix: str, value: Any) -> None:
        if isinstance(value, Mapping):
            for name, inner in value.items():
                add(f"{prefix}.{name}" if prefix else str(name), inner)
        elif value is not None:
            parts.append(f"{prefix} {value}")

    add("", settings)
    return ", ".join(parts)
