"""Text in terminal cells: widths (a Han character takes two), padding, wrapping, tables.

Names come from the user's files, so whatever could move a cursor is taken out before it is printed.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from rich.cells import cell_len

Align = Literal["left", "right"]

_NO_START = "，。；：、？！）」》”%…"
"""Signs that begin no line of Chinese."""


def clean(text: str) -> str:
    """Return the text without control and format characters; line breaks become spaces."""
    return "".join(
        " " if c in "\n\r\t" else "\ufffd" if unicodedata.category(c)[0] == "C" else c for c in text
    )


def width(text: str) -> int:
    """Return the number of cells that a text takes."""
    return cell_len(text)


def pad(text: str, cells: int, align: Align = "left") -> str:
    """Fill a text with spaces up to a number of cells."""
    blank = " " * max(cells - width(text), 0)
    return blank + text if align == "right" else text + blank


def wrap(text: str, cells: int) -> list[str]:
    """Break a text into lines of at most `cells`, at spaces where there are some.

    >>> wrap("half the size of its parent", 12)
    ['half the', 'size of its', 'parent']
    >>> wrap("大小为父模型的一半，可发布", 18)
    ['大小为父模型的一', '半，可发布']
    """
    lines, line = [], ""
    for word in text.split(" "):
        trial = f"{line} {word}" if line else word
        if width(trial) <= cells:
            line = trial
            continue
        if line and (width(word) <= cells or cells - width(line) < 4):
            lines.append(line)
            trial = word
        while width(trial) > cells:
            cut = _fitting(trial, cells)
            lines.append(trial[:cut])
            trial = trial[cut:]
        line = trial
    return [*lines, line] if line or not lines else lines


def _fitting(text: str, cells: int) -> int:
    taken = 0
    for i, c in enumerate(text):
        taken += width(c)
        if taken > cells:
            # The sign stays with the character before it.
            return max(i - 1 if c in _NO_START else i, 1)
    return len(text)


@dataclass(frozen=True)
class Column:
    """One column: its head, how it is set, and whether its text may wrap."""

    head: str
    align: Align = "left"
    wraps: bool = False


def table(
    columns: Sequence[Column], rows: Sequence[Sequence[str]], cells: int, *, gap: int = 2
) -> tuple[list[list[str]], list[int]]:
    """Fit rows into `cells`: return the padded cells of each printed line, and the widths.

    The first line is the head. Columns that wrap share what the others leave, the widest giving
    first (at least 8 cells); a row whose text wraps gives several lines. Joining the cells of a
    line with `gap` spaces gives the line.
    """
    widest = [max([width(c.head), *(width(row[i]) for row in rows)]) for i, c in enumerate(columns)]
    over = sum(widest) + gap * (len(columns) - 1) - cells
    while over > 0:
        able = [i for i, c in enumerate(columns) if c.wraps and widest[i] > 8]
        if not able:
            break
        widest[max(able, key=lambda i: widest[i])] -= 1
        over -= 1
    lines = []
    for row in [[c.head for c in columns], *rows]:
        parts = [
            wrap(text, widest[i]) if columns[i].wraps else [text] for i, text in enumerate(row)
        ]
        for k in range(max(len(p) for p in parts)):
            lines.append(
                [
                    pad(p[k] if k < len(p) else "", widest[i], columns[i].align)
                    for i, p in enumerate(parts)
                ]
            )
    return lines, widest
