"""The frontier: change of the deciding group against speed, or against size.

Both panels share one y. A grey step joins the candidates that no other beats on both; labels move
before they overlap, tried at the widths of a wide page and of a phone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from html import escape

from shipworthy.core.locale import number
from shipworthy.release.charts import Interval, mark, percent, svg
from shipworthy.release.display import text

HEIGHT = 300
LOW, HIGH = -7.2, 1.6
WIDTHS = (508.0, 290.0)
"""Widths in px at which labels must not touch: a wide page, and a phone, where the number is left
out."""
LONGEST = 26
_STEPS = (1, 2, 2.5, 5, 10)


@dataclass(frozen=True)
class Place:
    """One candidate on the frontier: x as measured and as told, y with its interval."""

    name: str
    x: float
    x_text: str
    y: Interval


@dataclass(frozen=True)
class Panel:
    """One panel: the drawing, its y labels, and the words below its x axis."""

    drawing: str
    labels: str


@dataclass(frozen=True)
class _Scale:
    low: float
    high: float
    right: float
    sign: int = 1

    def x(self, value: float) -> float:
        return 100.0 * value / self.right

    def y(self, value: float) -> float:
        return HEIGHT * (self.high - value) / (self.high - self.low)


@dataclass(frozen=True)
class _Box:
    left: float
    top: float
    right: float
    bottom: float

    def meets(self, other: _Box) -> bool:
        return (
            self.left < other.right
            and other.left < self.right
            and self.top < other.bottom
            and other.top < self.bottom
        )


def frontier(
    places: Sequence[Place], *, parent: tuple[str, float] | None, limit: float | None,
    title: str, label: str, limit_text: str = "", mirrored: bool = False,
) -> Panel:  # fmt: skip
    """Return one panel.

    parent is its name and x; limit the y of the limit line, limit_text how it is told. mirrored:
    less is better, and better is up.
    """
    if mirrored:
        places = [replace(p, y=_upside_down(p.y)) for p in places]
        limit = None if limit is None else -limit
    scale = replace(_scale(places, parent, limit), sign=-1 if mirrored else 1)
    body = _ground(scale, limit)
    body += _steps_line(places, scale)
    if parent is not None:
        x, y = percent(scale.x(parent[1])), f"{scale.y(0):.1f}"
        body += f'<svg x="{x}" y="{y}" overflow="visible" class="ring"><circle r="8"/></svg>'
    for place in places:
        body += _candidate(place, scale)
    body += _labels(places, parent, limit, scale)
    body += _x_axis(scale, title)
    drawing = svg(body, height=HEIGHT + 36, label=label, cls="frontier")
    return Panel(drawing, _y_labels(scale, limit, limit_text))


def _upside_down(y: Interval) -> Interval:
    return replace(y, value=-y.value, low=-y.high, high=-y.low)


def unbeaten(places: Sequence[Place]) -> list[Place]:
    """Return the places that no other beats on both x (less) and y (more), by x."""
    found: list[Place] = []
    for place in sorted(places, key=lambda p: (p.x, -p.y.value)):
        if not found or place.y.value > found[-1].y.value:
            found.append(place)
    return found


def _scale(
    places: Sequence[Place], parent: tuple[str, float] | None, limit: float | None
) -> _Scale:
    ys = [p.y.value for p in places] + [0.0] + ([limit] if limit is not None else [])
    span = max(ys) - min(ys)
    low, high = LOW, HIGH
    if 1e-6 < span < 0.7:
        low, high = min(ys) - 0.6 * span, max(ys) + 0.3 * span
    else:
        while min(ys) < low + 0.2:
            low -= 1
        while max(ys) > high - 0.2:
            high += 1
    xs = [p.x for p in places] + ([parent[1]] if parent is not None else [])
    right = max(xs) * 1.17 if max(xs, default=0.0) > 0 else 1.0
    return _Scale(low, high, right)


def _ground(scale: _Scale, limit: float | None) -> str:
    zero = f"{scale.y(0):.1f}"
    parts = []
    if limit is not None:
        y = scale.y(limit)
        parts.append(
            f'<rect class="out" x="0" y="{y:.1f}" width="100%" height="{HEIGHT - y:.1f}"/>'
        )
    for tick in _y_ticks(scale):
        if tick:
            y_tick = f"{scale.y(tick):.1f}"
            parts.append(f'<line class="g" x1="0" x2="100%" y1="{y_tick}" y2="{y_tick}"/>')
    parts.append(f'<line class="p" x1="0" x2="100%" y1="{zero}" y2="{zero}"/>')
    if limit is not None:
        y = scale.y(limit)
        parts.append(f'<line class="l" x1="0" x2="100%" y1="{y:.1f}" y2="{y:.1f}"/>')
        inside, outside = escape(text("report.inside")), escape(text("report.outside_word"))
        parts.append(f'<text class="word" x="0" dx="5" y="{y - 6:.1f}">{inside}</text>')
        parts.append(f'<text class="word" x="0" dx="5" y="{y + 15:.1f}">{outside}</text>')
    return "".join(parts)


def _steps_line(places: Sequence[Place], scale: _Scale) -> str:
    best = unbeaten(places)
    parts = []
    for one, two in zip(best, best[1:], strict=False):
        x1, x2 = percent(scale.x(one.x)), percent(scale.x(two.x))
        y1, y2 = f"{scale.y(one.y.value):.1f}", f"{scale.y(two.y.value):.1f}"
        parts.append(f'<line class="s" x1="{x1}" x2="{x2}" y1="{y1}" y2="{y1}"/>')
        parts.append(f'<line class="s" x1="{x2}" x2="{x2}" y1="{y1}" y2="{y2}"/>')
    return "".join(parts)


def _candidate(place: Place, scale: _Scale) -> str:
    x, y = percent(scale.x(place.x)), scale.y(place.y.value)
    ends = [v if math.isfinite(v) else place.y.value for v in (place.y.low, place.y.high)]
    top, bottom = (min(max(scale.y(v), 0.0), HEIGHT) for v in (ends[1], ends[0]))
    line = f'<line class="i {place.y.tone}" x1="{x}" x2="{x}" y1="{top:.1f}" y2="{bottom:.1f}"/>'
    arrow = ""
    if scale.y(ends[0]) > HEIGHT:
        arrow = (
            f'<svg x="{x}" y="{HEIGHT}" overflow="visible" class="a {place.y.tone}">'
            '<path d="M-4.5 -6L0 -1L4.5 -6"/></svg>'
        )
    return line + arrow + mark(place.y.outcome, scale.x(place.x), f"{y:.1f}")


def _labels(
    places: Sequence[Place], parent: tuple[str, float] | None, limit: float | None, scale: _Scale
) -> str:
    taken = [_obstacles(places, parent, limit, scale, width) for width in WIDTHS]
    parts = []
    for p in places:
        ends = [p.y.value if math.isnan(v) else v for v in (p.y.low, p.y.high)]
        below, above = (min(max(scale.y(v), 0.0), HEIGHT) for v in ends)
        y, x = scale.y(p.y.value), scale.x(p.x)
        parts.append(_label(p.name, p.x_text, x, y, "name", taken, above=above, below=below))
    if parent is not None:
        y, x = scale.y(0) + 22, scale.x(parent[1])
        parts.append(_label(parent[0], "", x, y, "of-parent", taken, above=y, below=y))
    return "".join(parts)


def _obstacles(
    places: Sequence[Place],
    parent: tuple[str, float] | None,
    limit: float | None,
    scale: _Scale,
    width: float,
) -> list[_Box]:
    """Return what a label must not cover: marks, intervals, lines, and the words at the limit."""
    boxes = [_Box(0, scale.y(0) - 1, width, scale.y(0) + 1)]
    if limit is not None:
        y = scale.y(limit)
        boxes += [_Box(0, y - 1, width, y + 1), _Box(0, y - 18, 50, y + 18)]
    for place in places:
        x = width * scale.x(place.x) / 100
        y, top, bottom = (scale.y(v) for v in (place.y.value, place.y.high, place.y.low))
        boxes.append(_Box(x - 6, y - 6, x + 6, y + 6))
        if math.isfinite(top) and math.isfinite(bottom):
            boxes.append(_Box(x - 1.5, top, x + 1.5, bottom))
    if parent is not None:
        x = width * scale.x(parent[1]) / 100
        boxes.append(_Box(x - 9, scale.y(0) - 9, x + 9, scale.y(0) + 9))
    best = unbeaten(places)
    for one, two in zip(best, best[1:], strict=False):
        x1, x2 = (width * scale.x(p.x) / 100 for p in (one, two))
        y1, y2 = (scale.y(p.y.value) for p in (one, two))
        boxes += [_Box(x1, y1 - 1, x2, y1 + 1), _Box(x2 - 1, y2, x2 + 1, y1)]
    return boxes


def _label(
    name: str, x_text: str, x: float, y: float, cls: str, taken: list[list[_Box]], *,
    above: float, below: float,
) -> str:  # fmt: skip
    """Place one label: right, left, steps up and down, beyond the interval; the first free spot."""
    short = name if len(name) <= LONGEST else name[: LONGEST - 1] + "…"
    spots: list[tuple[str, float]] = [
        (side, float(dy))
        for dy in (0, -18, -34, 18, 34, -50, 50, 66)
        for side in (("start", "end") if cls == "name" else ("middle", "end", "start"))
    ]
    spots += [("middle", below - y + 14), ("middle", above - y - 14)]

    def boxes(side: str, dy: float) -> list[_Box]:
        found = []
        for i, width in enumerate(WIDTHS):
            long = _width(short) + (_width(x_text) + 6 if i == 0 and x_text else 0)
            centre = width * x / 100
            left = {"start": centre + 10, "end": centre - 10 - long, "middle": centre - long / 2}
            found.append(_Box(left[side], y + dy - 7, left[side] + long, y + dy + 7))
        return found

    def touched(spot: tuple[str, float]) -> int:
        found = boxes(*spot)
        return sum(
            10 * (box.left < 0 or box.right > WIDTHS[i] + 8 or box.top < 0 or box.bottom > HEIGHT)
            + sum(box.meets(other) for other in taken[i])
            for i, box in enumerate(found)
        )

    side, dy = min(spots, key=touched)
    for i, box in enumerate(boxes(side, dy)):
        taken[i].append(box)
    dx = {"start": 10, "end": -10, "middle": 0}[side]
    full = "" if short == name else f"<title>{escape(name)}</title>"
    value = f'<tspan class="x" dx="5">{escape(x_text)}</tspan>' if x_text else ""
    return (
        f'<text class="{cls}" x="{percent(x)}" dx="{dx}" y="{y + dy:.1f}" dy="4.5" '
        f'text-anchor="{side}">{full}{escape(short)}{value}</text>'
    )


def _width(label: str) -> float:
    """Return about the width of a label of 13 px: Han characters are twice as wide."""
    return sum(13.0 if ord(c) > 0x2E7F else 6.9 for c in label)


def _x_axis(scale: _Scale, title: str) -> str:
    step = _nice(scale.right / 3.4)
    parts = [f'<line class="p" x1="0" x2="100%" y1="{HEIGHT}" y2="{HEIGHT}"/>']
    places = 0 if step >= 1 and float(step).is_integer() else 1 if step >= 0.1 else 3
    for i in range(int(scale.right / step) + 1):
        x = scale.x(i * step)
        anchor = "start" if i == 0 else "end" if x > 97 else "middle"
        parts.append(
            f'<line class="t" x1="{percent(x)}" x2="{percent(x)}" y1="{HEIGHT}" y2="{HEIGHT + 4}"/>'
            f'<text class="word" x="{percent(x)}" y="{HEIGHT + 17}" text-anchor="{anchor}">'
            f"{number(i * step, places if i else 0)}</text>"
        )
    parts.append(
        f'<text class="word" x="50%" y="{HEIGHT + 32}" text-anchor="middle">{escape(title)}</text>'
    )
    return "".join(parts)


def _nice(rough: float) -> float:
    power = 10.0 ** math.floor(math.log10(rough))
    return next(power * m for m in _STEPS if power * m >= rough * 0.999)


def _y_ticks(scale: _Scale) -> list[float]:
    step = _nice((scale.high - scale.low) / 5)
    first, last = math.ceil(scale.low / step), math.floor(scale.high / step)
    return [i * step for i in range(first, last + 1)]


def _y_labels(scale: _Scale, limit: float | None, limit_text: str) -> str:
    parts = []
    for tick in _y_ticks(scale):
        if limit is None or abs(scale.y(tick) - scale.y(limit)) > 13:
            places = 0 if float(tick).is_integer() else 2
            label = number(scale.sign * tick, places, sign=True)
            parts.append(f'<text class="word" x="8" y="{scale.y(tick) + 4:.1f}">{label}</text>')
    if limit is not None:
        y = scale.y(limit) + 4
        parts.append(f'<text class="word b" x="8" y="{y:.1f}">{escape(limit_text)}</text>')
    return svg("".join(parts), height=HEIGHT + 36, label="", cls="frontier-y")
