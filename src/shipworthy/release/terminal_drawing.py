"""Intervals drawn in terminal cells, with the signs of a UTF-8 or a plain terminal."""

from __future__ import annotations

import math
from dataclasses import dataclass

from shipworthy.core.locale import number
from shipworthy.core.records import Outcome
from shipworthy.release import charts
from shipworthy.release.candidates import Frame
from shipworthy.release.cells import pad, width
from shipworthy.release.display import text
from shipworthy.release.limit_rows import LimitRow
from shipworthy.release.sections import drawn

LEAST = 22
"""Least width of a drawing in cells."""


@dataclass(frozen=True)
class Signs:
    """The signs of a terminal: icons beside words, and what drawings are made of."""

    icons: dict[Outcome | None, str]
    parent_icon: str
    marks: dict[Outcome, str]
    line: str
    limit: str
    crossing: str
    parent: str
    rule: str


UNICODE = Signs(
    {Outcome.PASS: "●", Outcome.FAIL: "■", Outcome.CANNOT_TELL: "◇", None: "·"},
    "○",
    {Outcome.PASS: "●", Outcome.FAIL: "■", Outcome.CANNOT_TELL: "◇"},
    "━",
    "┃",
    "╋",
    "╎",
    "─",
)
ASCII = Signs(
    {Outcome.PASS: "(+)", Outcome.FAIL: "[x]", Outcome.CANNOT_TELL: "<?>", None: " . "},
    "(o)",
    {Outcome.PASS: "+", Outcome.FAIL: "x", Outcome.CANNOT_TELL: "?"},
    "=",
    "|",
    "#",
    ":",
    "-",
)


SPELLED = str.maketrans(
    {
        "−": "-", "—": "-", "≥": ">=", "≤": "<=", "·": "-", "\u00a0": " ", "×": "x", "α": "alpha",
        "“": '"', "”": '"', "…": "...",
    }
)  # fmt: skip


def words(frame: Frame, cells: int, signs: Signs) -> str:
    """Return "outside | inside" with the sign of the limit at its place."""
    at = _cell(frame.limit_at, cells)
    outside, inside = text("report.outside_word"), text("report.inside")
    left = pad(outside, max(at - 1, width(outside)), "right")
    return f"{left} {signs.limit} {inside}"


def draw(row: LimitRow | None, frame: Frame, cells: int, signs: Signs) -> str:
    """Return the interval of a row with its mark, the limit and the parent."""
    axis = None if row is None else frame.axis_of(row)
    canvas = [" "] * cells
    if row is None or axis is None:
        canvas[_cell(frame.limit_at, cells)] = signs.limit
        return "".join(canvas)
    one, form = drawn(row.decision), row.form
    limit = _cell(axis.at(form.value(row.decision.bound)), cells)
    if not math.isnan(row.parent):
        parent = axis.at(form.value(row.parent))
        if 0 <= parent <= 100:
            canvas[_cell(parent, cells)] = signs.parent
    places = [axis.at(e) if math.isfinite(e) else None for e in (one.low, one.high)]
    known = [p for p in places if p is not None] or [axis.at(one.value)]
    low, high = min(known), max(known)
    first, last = _cell(low, cells), _cell(high, cells)
    canvas[first : last + 1] = signs.line * (last + 1 - first)
    canvas[limit] = signs.crossing if first <= limit <= last else signs.limit
    if low < 0:
        canvas[0] = "<"
    if high > 100:
        canvas[-1] = ">"
    canvas[_cell(axis.at(one.value), cells)] = signs.marks[row.outcome]
    return "".join(canvas)


def _cell(place: float, cells: int) -> int:
    return min(max(round(place / 100 * (cells - 1)), 0), cells - 1)


def ticks(axis: charts.Axis, cells: int) -> str:
    """Return the tick labels below a drawing, as many as have room."""
    canvas = [" "] * cells
    for tick in axis.ticks():
        label = number(tick, 0 if float(tick).is_integer() else 2, sign=True)
        start = _cell(axis.at(tick), cells) - len(label) // 2
        if (
            start >= 0
            and start + len(label) <= cells
            and not "".join(canvas[max(start - 1, 0) : start + len(label) + 1]).strip()
        ):
            canvas[start : start + len(label)] = label
    return "".join(canvas)
