"""Markdown for pages that others comment on: names neither mention nor link, tables.

Names come from the user's files; on a pull request `@name` would call somebody, and an address
would become a link.
"""

from __future__ import annotations

from collections.abc import Sequence

from shipworthy.release.cells import clean
from shipworthy.release.markdown import escaped

_JOINER = "\u2060"


def inert(said: str) -> str:
    r"""Return a text of one line that Markdown shows as it is, whoever wrote it.

    A joiner of no width parts what would call a person, an issue or an address.

    >>> print(inert("a|b <i> *c*"))
    a\|b \<i\> \*c\*
    """
    plain = escaped(clean(said)).replace("@", "@" + _JOINER).replace("\\#", "\\#" + _JOINER)
    plain = plain.replace("$", "\\$").replace("&", "&amp;")
    return plain.replace("://", ":" + _JOINER + "//").replace("www.", "www" + _JOINER + ".")


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table; the cells of head and rows are Markdown already, an empty one is a dash."""
    lines = [list(head), ["---"] * len(head), *([c or "—" for c in row] for row in rows)]
    return "\n".join("| " + " | ".join(row) + " |" for row in lines)
