"""Text in a Markdown document: whatever comes from data or people is escaped."""

from __future__ import annotations

import re

_SPECIAL = re.compile(r"([\\`*_{}\[\]<>#|~])")
# At the start of a line these begin a list, a quotation, a rule or a heading.
_STARTS = re.compile(r"^(\s*)(?:([-+=])|(\d+)([.)]))(?=\s|$|[-=])")


class Markdown(str):
    """Text that is Markdown already."""

    __slots__ = ()


def escaped(value: object) -> str:
    r"""Return a value as it reads in a Markdown paragraph, on one line.

    >>> escaped("a_b | <i>")
    'a\\_b \\| \\<i\\>'
    """
    if isinstance(value, Markdown):
        return value
    line = " ".join(str(value).split())
    line = _SPECIAL.sub(r"\\\1", line)
    return _STARTS.sub(lambda m: f"{m[1]}{m[3] or ''}\\{m[2] or m[4]}", line)


def cell(value: str) -> Markdown:
    """Return a value for the cell of a table; an empty one is a dash."""
    return Markdown(escaped(value) if value else "—")
