"""Drawings as inline SVG: x in per cent, y in px, colours as CSS variables, no script.

One drawing fits any width, so a page needs no second one for print or for 390 px. The same black
line is the limit everywhere, the same tint lies outside it, the same three marks stand for pass,
fail and cannot tell.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

from shipworthy.core.locale import number
from shipworthy.core.records import Outcome
from shipworthy.release.display import text

LOW, HIGH = -7.0, 3.5
"""Domain of a change in points, before it is widened."""
PANEL_ROW = 26
SMALL = 6.0
"""Width of an interval, in per cent, under which its mark shrinks so as not to hide the ends."""
GAUGE_LIMIT, GAUGE_PARENT = 30.0, 60.0


@dataclass(frozen=True)
class Interval:
    """A number to draw, on the scale that is shown; NaN is "no data"."""

    value: float
    low: float
    high: float
    outcome: Outcome | None
    """None is a number that no limit looks at: drawn, but not judged."""

    @property
    def tone(self) -> str:
        """The class that colours it."""
        return "plain" if self.outcome is None else self.outcome.value


@dataclass(frozen=True)
class Axis:
    """A horizontal scale; `mirrored` where less is better, so that better is always right."""

    low: float
    high: float
    mirrored: bool = False

    def at(self, value: float) -> float:
        """Return the place of a value in per cent of the width; it may lie outside 0 to 100."""
        share = 100.0 * (value - self.low) / (self.high - self.low)
        return 100.0 - share if self.mirrored else share

    def ticks(self) -> list[float]:
        """Return about five round values inside the axis, zero among them."""
        step = _step((self.high - self.low) / 6)
        first, last = math.ceil(self.low / step), math.floor(self.high / step)
        inside = [i * step for i in range(first, last + 1)]
        return [t for t in inside if 4 <= self.at(t) <= 96]


def change_axis(points: Iterable[float], limit: float, *, mirrored: bool = False) -> Axis:
    """Return the axis that all change drawings of a page share.

    -7 to +3.5 points, widened in steps of 1 where a point (not an interval) or the limit would
    leave it. Numbers that are not on the scale of points get an axis of their own size.
    """
    values = [v for v in (*points, limit, 0.0) if math.isfinite(v)]
    low, high = (-HIGH, -LOW) if mirrored else (LOW, HIGH)
    span = max(values) - min(values)
    if 1e-6 < span < 0.7:
        pad = 0.35 * span
        return Axis(min(values) - 2 * pad, max(values) + pad, mirrored)
    while min(values) < low:
        low -= 1
    while max(values) > high:
        high += 1
    return Axis(low, high, mirrored)


def _step(rough: float) -> float:
    power = 10.0 ** math.floor(math.log10(rough))
    return next(power * m for m in (1, 2, 5, 10) if power * m >= rough * 0.999)


def percent(value: float) -> str:
    """Return an x for SVG, with no more digits than a screen can show."""
    return f"{value:.2f}".rstrip("0").rstrip(".") + "%"


def svg(body: str, *, height: int | None, label: str, cls: str = "") -> str:
    """Wrap a drawing: an image with a sentence, as wide as its place.

    height None fills the table cell, so that the limit lines of all rows join into one.
    """
    size = "" if height is None else f' height="{height}"'
    name = f"d {cls}".strip()
    if not label:
        return f'<svg class="{name}" width="100%"{size} aria-hidden="true">{body}</svg>'
    return (
        f'<svg class="{name}" width="100%"{size} role="img" aria-label="{escape(label)}">'
        f"{body}</svg>"
    )


def mark(outcome: Outcome | None, x: float, y: str, *, small: bool = False) -> str:
    """Return the mark of an outcome: pass disc, fail square, cannot tell diamond, by size 9 px."""
    r = 3.25 if small else 4.5
    tone = "plain" if outcome is None else outcome.value
    if outcome is None:
        shape = '<circle r="3"/>'
    elif outcome is Outcome.PASS:
        shape = f'<circle r="{r}"/>'
    elif outcome is Outcome.FAIL:
        shape = f'<rect x="{-r}" y="{-r}" width="{2 * r}" height="{2 * r}"/>'
    else:
        h = 4.25 if small else 5.5
        shape = f'<path d="M0 {-h}L{h} 0L0 {h}L{-h} 0Z"/>'
    return f'<svg x="{percent(x)}" y="{y}" overflow="visible" class="m {tone}">{shape}</svg>'


def interval(drawn: Interval, axis: Axis, y: str) -> str:
    """Return an interval without caps and its mark over it; arrows where it leaves the drawing."""
    if math.isnan(drawn.value):
        return f'<text class="none" x="50%" y="{y}" dy="4" text-anchor="middle">—</text>'
    value = min(max(axis.at(drawn.value), 1.5), 98.5)
    ends = [axis.at(v) if math.isfinite(v) else None for v in (drawn.low, drawn.high)]
    low, high = (value if e is None and math.isnan(v) else e for e, v in
                 zip(ends, (drawn.low, drawn.high), strict=True))  # fmt: skip
    low = (100.0 if axis.mirrored else 0.0) - 1 if low is None else low
    high = (0.0 if axis.mirrored else 100.0) + 1 if high is None else high
    left, right = sorted((low, high))
    parts = []
    cls = drawn.tone
    if right - left > 0.05:
        a, b = min(max(left, 0.0), 100.0), min(max(right, 0.0), 100.0)
        parts.append(
            f'<line class="i {cls}" x1="{percent(a)}" x2="{percent(b)}" y1="{y}" y2="{y}"/>'
        )
    if left < 0:
        parts.append(_arrow(0.0, y, cls, "M6 -4.5L1 0L6 4.5"))
    if right > 100:
        parts.append(_arrow(100.0, y, cls, "M-6 -4.5L-1 0L-6 4.5"))
    parts.append(mark(drawn.outcome, value, y, small=right - left < SMALL))
    return "".join(parts)


def _arrow(x: float, y: str, cls: str, path: str) -> str:
    return (
        f'<svg x="{percent(x)}" y="{y}" overflow="visible" class="a {cls}"><path d="{path}"/></svg>'
    )


def ground(limit: float, parent: float | None) -> str:
    """Return the tint outside the limit, the line of the parent and the line of the limit."""
    edge = min(max(limit, 0.0), 100.0)
    parts = [f'<rect class="out" x="0" y="0" width="{percent(edge)}" height="100%"/>']
    if parent is not None and 0 <= parent <= 100:
        x = percent(parent)
        parts.append(f'<line class="p" x1="{x}" x2="{x}" y1="0" y2="100%"/>')
    if 0 <= limit <= 100:
        x = percent(limit)
        parts.append(f'<line class="l" x1="{x}" x2="{x}" y1="0" y2="100%"/>')
    return "".join(parts)


def words(limit: float, *, parent: float | None = None, height: int = 16) -> str:
    """Return "outside | inside" beside the limit, and "parent" over its line, once a column."""
    y = height - 4
    x = percent(limit)
    said = (
        f'<text x="{x}" dx="-6" y="{y}" text-anchor="end">{escape(text("report.outside_word"))}'
        f'</text><text x="{x}" dx="6" y="{y}">{escape(text("report.inside"))}</text>'
    )
    if parent is not None:
        name = escape(text("report.parent"))
        said += f'<text x="{percent(parent)}" y="{y}" dx="4">{name}</text>'
    return svg(said, height=height, label="", cls="words")


def tick_labels(axis: Axis, *, decimals: int | None = None) -> str:
    """Return the ticks of a change axis with their signed numbers, below a drawing."""
    ticks = axis.ticks()
    places = _decimals(ticks) if decimals is None else decimals
    parts = []
    for tick in ticks:
        x = percent(axis.at(tick))
        label = number(tick, places if tick else 0, sign=True)
        parts.append(
            f'<line class="t" x1="{x}" x2="{x}" y1="0" y2="4"/>'
            f'<text x="{x}" y="15" text-anchor="middle">{label}</text>'
        )
    return svg("".join(parts), height=18, label="", cls="ticks")


def _decimals(ticks: Sequence[float]) -> int:
    for places in range(5):
        if all(abs(round(t, places) - t) < 1e-9 for t in ticks):
            return places
    return 5


def change(drawn: Interval, axis: Axis, limit: float, *, label: str, parent: float = 0.0) -> str:
    """Return one row of the change column, as high as its table row."""
    where = None if math.isnan(parent) else axis.at(parent)
    body = ground(axis.at(limit), where) + interval(drawn, axis, "50%")
    return svg(body, height=None, label=label, cls="fill")


def empty(limit_at: float, *, label: str) -> str:
    """Return the drawing of what has no number: the limit's line and a dash."""
    nothing = Interval(math.nan, math.nan, math.nan, None)
    body = ground(limit_at, None) + interval(nothing, Axis(0.0, 1.0), "50%")
    return svg(body, height=None, label=label, cls="fill")


def panel(drawn: Sequence[Interval | None], axis: Axis, limit: float | None, *, label: str) -> str:
    """Return a small multiple: one row of 26 px a candidate; None leaves its row empty."""
    body = ground(axis.at(limit) if limit is not None else -1.0, axis.at(0.0))
    for i, one in enumerate(drawn):
        if one is not None:
            body += interval(one, axis, str(PANEL_ROW // 2 + PANEL_ROW * i))
    return svg(body, height=PANEL_ROW * len(drawn), label=label, cls="rows")


def gauge_axis(
    drawn: Interval, limit: float, parent: float, *, at_least: bool,
    limit_at: float = GAUGE_LIMIT, parent_at: float = GAUGE_PARENT,
) -> Axis:  # fmt: skip
    """Return an axis of its own for one limit: limit at 30 %, parent at 60 %, better to the right.

    Without a parent inside the limit, the value takes the parent's distance. Where the value would
    leave the drawing the scale shrinks, and the parent's line moves with it; for the ends of the
    interval it shrinks by no more than half.
    """
    side = 1.0 if at_least else -1.0
    room = side * (parent - limit)
    distance = side * (drawn.value - limit)
    # Below this two numbers are one on any screen, and a scale of their distance would overflow.
    least = 1e-9 * max(abs(limit), abs(drawn.value), 1e-9)
    if not room > least:
        room = abs(distance) if abs(distance) > least else max(abs(limit), 1.0)
    per_unit = (parent_at - limit_at) / room
    per_unit = min(per_unit, _fit(distance, limit_at))
    for end in (drawn.low, drawn.high):
        if math.isfinite(end):
            needed = _fit(side * (end - limit), limit_at)
            per_unit = max(min(per_unit, needed), per_unit / 2) if needed < per_unit else per_unit
    left, right = limit - side * limit_at / per_unit, limit + side * (100 - limit_at) / per_unit
    return Axis(min(left, right), max(left, right), mirrored=not at_least)


def _fit(distance: float, limit_at: float) -> float:
    """Per cent of the width for each unit with which a distance from the limit just fits in."""
    if distance == 0:
        return math.inf
    return (94 - limit_at) / distance if distance > 0 else (limit_at - 6) / -distance


def gauge(
    drawn: Interval, limit: float, parent: float, *, at_least: bool, label: str,
    limit_at: float = GAUGE_LIMIT, parent_at: float = GAUGE_PARENT,
) -> str:  # fmt: skip
    """Return the drawing of one limit on its own scale; parent NaN draws no grey line."""
    if math.isnan(drawn.value) or not math.isfinite(limit):
        return empty(limit_at, label=label)
    axis = gauge_axis(
        drawn, limit, parent, at_least=at_least, limit_at=limit_at, parent_at=parent_at
    )
    return change(drawn, axis, limit, label=label, parent=parent)


def icon(outcome: Outcome | None, *, size: int = 16, kind: str = "") -> str:
    """Return the icon of an outcome; the word follows it, so it is hidden from readers.

    kind "parent" is the hollow ring of the parent; None without a kind is a dotted ring.
    """
    head = (
        f'<svg class="icon" width="{size}" height="{size}" viewBox="0 0 16 16" aria-hidden="true"'
    )
    if kind == "parent":
        return f'{head}><circle class="ring" cx="8" cy="8" r="6.4"/></svg>'
    if outcome is None:
        return f'{head}><circle class="ring dots" cx="8" cy="8" r="6.4"/></svg>'
    shapes = {
        Outcome.PASS: '<circle cx="8" cy="8" r="8"/><path d="M4.4 8.3L7 10.9L11.7 5.6"/>',
        Outcome.FAIL: '<rect width="15" height="15" x=".5" y=".5" rx="2.2"/>'
        '<path d="M5.3 5.3L10.7 10.7M10.7 5.3L5.3 10.7"/>',
        Outcome.CANNOT_TELL: '<path class="edge" d="M8 .9L15.1 8L8 15.1L.9 8Z"/>'
        '<path d="M6.3 6.5C6.4 5.3 7.2 4.8 8.1 4.8C9.1 4.8 9.8 5.4 9.8 6.3C9.8 7.5 8.1 7.6 8.1 9"/>'
        '<circle class="dot" cx="8.1" cy="11" r=".85"/>',
    }
    return (
        head.replace('class="icon"', f'class="icon {outcome.value}"') + f">{shapes[outcome]}</svg>"
    )
