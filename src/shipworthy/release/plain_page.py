"""A document of facts, sentences and tables, for the terminal and as one HTML page.

What is not about a run and its candidates is shown by this: one document, put into lines for a
terminal and into a page that looks as the report does. Texts may come from the user's files; both
forms take out or escape what could do harm.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

from markupsafe import Markup

from shipworthy.core.locale import language
from shipworthy.core.records import Outcome
from shipworthy.release.cells import Column, clean, table, wrap
from shipworthy.release.report import LANGUAGE_TAGS
from shipworthy.release.sections import icon_of, tone
from shipworthy.release.templating import environment
from shipworthy.release.wording import outcome_word


@dataclass(frozen=True)
class Mark:
    """A cell that says what a test or a line made of a row; why: a few words, or ""."""

    outcome: Outcome
    why: str = ""

    @property
    def word(self) -> str:
        """Pass, fail, cannot tell."""
        return outcome_word(self.outcome)

    @property
    def tone(self) -> str:
        """Class of the page that colours the word."""
        return tone(self.outcome)

    @property
    def icon(self) -> Markup:
        """Its icon."""
        return icon_of(self.outcome)


Cell: TypeAlias = str | Mark


@dataclass(frozen=True)
class Head:
    """Head of a column. kind: `name` may wrap, `number` is set to the right, `text` wraps."""

    text: str
    kind: Literal["name", "number", "text"] = "number"


@dataclass(frozen=True)
class Table:
    """One table; caption: a line above it, or ""."""

    heads: tuple[Head, ...]
    rows: tuple[tuple[Cell, ...], ...]
    caption: str = ""


@dataclass(frozen=True)
class Part:
    """One section: a heading, sentences, tables, notes below them."""

    heading: str
    sentences: tuple[str, ...] = ()
    tables: tuple[Table, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Page:
    """The document. subject: what it is about (a file's name); facts: label and value."""

    title: str
    subject: str
    sentences: tuple[str, ...]
    facts: tuple[tuple[str, str], ...]
    parts: tuple[Part, ...]
    notes: tuple[str, ...] = ()


def html(page: Page) -> str:
    """Return the page as one self-contained HTML file."""
    found: str = (
        environment()
        .get_template("plain_page.html.jinja")
        .render(page=page, lang=LANGUAGE_TAGS[language()])
    )
    return found


def lines(page: Page, *, width: int) -> list[str]:
    """Return the page as lines of a terminal of `width` cells."""
    return [line.rstrip() for line in _lines(page, width)]


def _lines(page: Page, width: int) -> Iterator[str]:
    yield from _wrapped(f"{page.title} · {page.subject}", width)
    for sentence in page.sentences:
        yield from _wrapped(sentence, width)
    for label, value in page.facts:
        yield from _wrapped(f"{label}: {value}", width, "    ")
    for part in page.parts:
        yield ""
        yield from _wrapped(part.heading, width)
        for sentence in part.sentences:
            yield from _wrapped(sentence, width, "    ")
        for one in part.tables:
            if one.caption:
                yield ""
                yield from _wrapped(one.caption, width, "    ")
            yield from _table(one, width)
        for note in part.notes:
            yield from _wrapped(note, width, "    ")
    if page.notes:
        yield ""
        for note in page.notes:
            yield from _wrapped(note, width)


def _wrapped(said: str, width: int, indent: str = "  ") -> list[str]:
    return [indent + line for line in wrap(clean(said), width - len(indent))]


def _table(one: Table, width: int) -> list[str]:
    columns = [
        Column(h.text, "right" if h.kind == "number" else "left", h.kind != "number")
        for h in one.heads
    ]
    body = [[clean(_said(c)) for c in row] for row in one.rows]
    laid, _ = table(columns, body, width - 4)
    return ["    " + "  ".join(cells) for cells in laid]


def _said(cell: Cell) -> str:
    if isinstance(cell, str):
        return cell
    return f"{cell.word} ({cell.why})" if cell.why else cell.word
