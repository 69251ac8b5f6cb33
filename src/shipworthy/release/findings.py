"""What a check found, one sentence each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from shipworthy.core.locale import text
from shipworthy.release.judgement import Phrase
from shipworthy.release.wording import phrase

Level: TypeAlias = Literal["wrong", "warning", "note"]


@dataclass(frozen=True)
class Finding:
    """One thing that was found.

    level: `wrong` voids the evidence, a `warning` is for people to weigh, a `note` only tells.
    where: file, or file:line.
    """

    level: Level
    where: str
    phrase: Phrase

    def __str__(self) -> str:
        return text("clause.about", subject=self.where, said=phrase(self.phrase))

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {
            "level": self.level,
            "where": self.where,
            "finding": self._innermost.key.rpartition(".")[2],
            "text": phrase(self.phrase),
        }

    @property
    def _innermost(self) -> Phrase:
        inner = self.phrase.arguments.get("problem")
        return inner if isinstance(inner, Phrase) else self.phrase


def wrong(where: object, key: str, /, **arguments: Any) -> Finding:
    """Return a finding that voids the evidence; key: below `verify.`."""
    return Finding("wrong", str(where), Phrase(f"verify.{key}", arguments))


def warning(where: object, key: str, /, **arguments: Any) -> Finding:
    """Return a finding for people to weigh; key: below `verify.`."""
    return Finding("warning", str(where), Phrase(f"verify.{key}", arguments))


def note(where: object, key: str, /, **arguments: Any) -> Finding:
    """Return a finding that only tells; key: below `verify.`."""
    return Finding("note", str(where), Phrase(f"verify.{key}", arguments))
