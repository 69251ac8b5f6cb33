"""Texts with identities swapped: words and their counterparts from lists that anybody can edit.

    he / she           one pair a line, swapped both ways
    mr <- ms           one way only: the right word becomes the left one
    = god bless        stays as it is, whatever stands in it
    # ...              a remark

Whole words are swapped (in Chinese, wherever they stand), the longest first, in the case in which
they stand; "a" and "an" follow. English has one word for two in her (him, his) and his (her, hers):
the next word decides. What a swap leaves wrong, such as a name with another gender's pronoun, is
left: lists are swapped one at a time.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import Literal, TypeAlias

from shipworthy.core.errors import DataError, nearest
from shipworthy.core.locale import text as said

Language: TypeAlias = Literal["en", "zh"]

BUILTIN_PAIRS = ("age", "gender", "names", "nationality", "religion")
"""Lists in the package, each in English and Chinese."""
CONTROL = "control"
"""The list of words that mean the same."""

_LINE = re.compile(r"(?P<left>[^/<]+?)\s*(?P<way>/|<-)\s*(?P<right>[^/<]+)$")
_HAN = re.compile(r"[\u3400-\u9fff]")
_NEXT = re.compile(r"\s+([A-Za-z]+)")
_ARTICLE = re.compile(r"\b(an?)(\s+)$", re.IGNORECASE)

# What may follow a pronoun that stands alone, but hardly a noun's companion.
_FUNCTION_WORDS = frozenset(
    [
        "a",
        "about",
        "after",
        "again",
        "all",
        "along",
        "also",
        "alone",
        "although",
        "am",
        "an",
        "and",
        "any",
        "are",
        "around",
        "as",
        "at",
        "away",
        "back",
        "be",
        "because",
        "been",
        "before",
        "being",
        "but",
        "by",
        "can",
        "could",
        "did",
        "do",
        "does",
        "down",
        "during",
        "even",
        "every",
        "everything",
        "few",
        "for",
        "from",
        "get",
        "go",
        "had",
        "has",
        "have",
        "he",
        "her",
        "here",
        "him",
        "his",
        "how",
        "i",
        "if",
        "in",
        "into",
        "is",
        "it",
        "its",
        "just",
        "like",
        "may",
        "me",
        "might",
        "more",
        "much",
        "must",
        "my",
        "no",
        "nor",
        "not",
        "now",
        "of",
        "off",
        "on",
        "once",
        "only",
        "or",
        "our",
        "out",
        "over",
        "shall",
        "she",
        "should",
        "since",
        "so",
        "some",
        "such",
        "than",
        "that",
        "the",
        "their",
        "them",
        "then",
        "there",
        "these",
        "they",
        "this",
        "those",
        "though",
        "through",
        "to",
        "today",
        "together",
        "tonight",
        "too",
        "under",
        "until",
        "up",
        "us",
        "was",
        "we",
        "well",
        "were",
        "what",
        "when",
        "where",
        "which",
        "while",
        "who",
        "whom",
        "whose",
        "why",
        "will",
        "with",
        "without",
        "would",
        "yet",
        "you",
        "your",
    ]
)
_SILENT_H = ("heir", "honest", "honor", "honour", "hour")
_SAID_WITH_Y = ("eu", "one", "uni", "use", "usu", "uti")


@dataclass(frozen=True)
class PairList:
    """Words and what becomes of them. table: by the word in lower case; kept: phrases that stay."""

    name: str
    table: Mapping[str, str]
    listed: Mapping[str, str]
    """Each word in lower case, and as the list writes it."""
    kept: tuple[str, ...] = ()

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        known = sorted({*self.table, *self.kept}, key=lambda word: (-len(word), word))
        return re.compile("|".join(map(_bounded, known)), re.IGNORECASE)

    def swap(self, text: str, *, most: int | None = None) -> tuple[str, int]:
        """Return a text with its words swapped, and how many were; the first `most` if given.

        >>> gender = read_pairs("gender", "en")
        >>> gender.swap("He told her that an actor lost his way, as his king had.")
        ('She told him that an actress lost her way, as her queen had.', 6)
        >>> read_pairs("gender", "zh").swap("他和其他人说，他的父亲来了。")
        ('她和其他人说，她的母亲来了。', 3)
        """
        parts: list[str] = []
        place = count = 0
        for found in self._pattern.finditer(text):
            word = _known(found[0])
            # A phrase that stays hides the words in it.
            if word in self.kept or (most is not None and count >= most):
                continue
            new = self._counterpart(found[0], text[found.end() :])
            parts.append(_agreeing(text[place : found.start()], new))
            parts.append(new)
            place, count = found.end(), count + 1
        return "".join([*parts, text[place:]]), count

    def _counterpart(self, word: str, rest: str) -> str:
        low = _known(word)
        new = self.table[low]
        if low in ("her", "his") and {"her", "his"} <= self.table.keys():
            alone = _stands_alone(rest)
            new = ("him" if alone else "his") if low == "her" else ("hers" if alone else "her")
        if word == self.listed[low]:
            return new
        if word.isupper() and len(word) > 1:
            return new.upper()
        return new[:1].upper() + new[1:] if word[:1].isupper() else new.lower()


def read_pairs(name: str | Path, language: Language = "en") -> PairList:
    """Return a list in the package by its name, or one in a file.

    Raises DataError for an unknown name, and naming file and line for a line that is no pair and
    for a word that has two counterparts.
    """
    if str(name) in (*BUILTIN_PAIRS, CONTROL):
        place = files("shipworthy.data") / "word_lists" / "pairs" / f"{name}-{language}.txt"
        return _parsed(str(name), place.read_text(encoding="utf-8"))
    path = Path(name)
    if not path.is_file():
        raise DataError(
            said("error.identity_pairs.absent", name=name), fix=nearest(str(name), BUILTIN_PAIRS)
        )
    try:
        content = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise DataError(said("error.identity_pairs.encoding"), file=path) from error
    return _parsed(str(path), content)


def _parsed(name: str, content: str) -> PairList:
    table: dict[str, str] = {}
    listed: dict[str, str] = {}
    kept: list[str] = []
    for number, raw in enumerate(content.splitlines(), start=1):
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        if line.startswith("="):
            kept.append(line[1:].strip().lower())
            continue
        found = _LINE.match(line)
        if found is None:
            raise DataError(
                said("error.identity_pairs.line", line=line), file=name, row=number,
                fix=said("error.identity_pairs.line.fix"),
            )  # fmt: skip
        left, right = found["left"].strip(), found["right"].strip()
        ways = [(left, right), (right, left)] if found["way"] == "/" else [(right, left)]
        for word, other in ways:
            if table.get(word.lower(), other) != other:
                raise DataError(
                    said("error.identity_pairs.twice", word=word), file=name, row=number,
                    fix=said("error.identity_pairs.twice.fix"),
                )  # fmt: skip
            table[word.lower()] = other
            listed[word.lower()] = word
    if not table:
        raise DataError(said("error.identity_pairs.empty"), file=name)
    return PairList(name, table, listed, tuple(kept))


def _known(word: str) -> str:
    """Return a word as tables have it: in lower case, with single blanks."""
    return " ".join(word.lower().split())


def _bounded(word: str) -> str:
    escaped = re.escape(word).replace(r"\ ", r"\s+")
    return escaped if _HAN.search(word) else rf"\b{escaped}\b"


def _stands_alone(rest: str) -> bool:
    """Whether no noun seems to follow."""
    found = _NEXT.match(rest)
    return found is None or found[1].lower() in _FUNCTION_WORDS


def _agreeing(before: str, word: str) -> str:
    """Return what stands before a word with its article as the word wants it."""
    found = _ARTICLE.search(before)
    if found is None or not word.isascii():
        return before
    low = word.lower()
    vowel = low.startswith(_SILENT_H) or (low[0] in "aeiou" and not low.startswith(_SAID_WITH_Y))
    article = found[1][0] + (("N" if found[1][1:] == "N" else "n") if vowel else "")
    return before[: found.start()] + article + found[2]
