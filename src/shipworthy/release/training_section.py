"""How the parent was trained, in the record of a run and as a section of its page."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from shipworthy.core.locale import number
from shipworthy.release.artefacts import RACE
from shipworthy.release.display import text
from shipworthy.release.training import fact_lines

if TYPE_CHECKING:
    from pathlib import Path

WIDTH, HEIGHT = 100.0, 120.0
_TOP = 0.08  # room above the highest point, as a share of the height


@dataclass(frozen=True)
class Drawing:
    """One curve: its title, the picture, and what stands below its axes."""

    title: str
    picture: Markup
    least: str
    most: str
    first: str
    last: str
    unit: str


@dataclass(frozen=True)
class Section:
    """lines: facts as sentences. drawings: curves. race: rows of its table; race_words: before."""

    lines: tuple[str, ...]
    drawings: tuple[Drawing, ...]
    race_words: str
    race: tuple[tuple[str, str, str], ...]


def training_record(folder: Path, race: Path | None) -> dict[str, Any]:
    """Return what the stage of a training left, as JSON values. race: folder of a race's stage."""
    from shipworthy.train.fitted import FACTS, read_fitted

    told: dict[str, Any] = json.loads((folder / FACTS).read_text(encoding="utf-8"))
    if "model" in told:
        return told
    fitted = read_fitted(folder)
    found = fitted.facts()
    found["history"] = fitted.history.to_dicts()
    found["throughput"] = [] if fitted.throughput is None else fitted.throughput.to_dicts()
    found["race"] = None
    if race is not None:
        found["race"] = json.loads((race / RACE).read_text(encoding="utf-8"))
    return found


def training_section(training: Mapping[str, Any]) -> Section | None:
    """Return the section of a record's training, None where there is none."""
    if not training:
        return None
    if "model" in training:
        return Section((table_line(training),), (), "", ())
    history = training["history"]
    drawings = []
    losses = [(row["step"], row["loss"]) for row in history]
    name = "calibration_loss"
    held = [(row["step"], row[name]) for row in history if row[name] is not None]
    if len(losses) > 1:
        drawings.append(_drawing("loss", losses, held, decimals=3))
        rates = [(row["step"], row["learning_rate"]) for row in history]
        drawings.append(_drawing("rate", rates, (), decimals=6))
    speed = [(row["tokens"], row["tokens_per_second"]) for row in training["throughput"]]
    if len(speed) > 1:
        drawings.append(_drawing("throughput", speed, (), decimals=0, from_zero=True))
    words, rows = _race(training["race"])
    return Section(tuple(fact_lines(training)), tuple(drawings), words, rows)


def table_line(training: Mapping[str, Any]) -> str:
    """Return how the model of a table was fitted, as a sentence."""
    loss = training["loss"]
    return text(
        f"training.table.{training['model']}", rows=number(training["rows"]),
        columns=number(training["columns"]), rounds=number(training["rounds"]),
        seconds=number(training["seconds"], 1), loss="-" if loss is None else number(loss, 4),
    )  # fmt: skip


def _drawing(
    name: str,
    points: Sequence[tuple[float, float]],
    marked: Sequence[tuple[float, float]],
    *,
    decimals: int,
    from_zero: bool = False,
) -> Drawing:
    """Draw a line through points, and a ring at each that is marked."""
    xs = [x for x, _ in points]
    ys = [y for _, y in [*points, *marked]]
    low = 0.0 if from_zero else min(ys)
    high = max(ys)
    span = (high - low) or 1.0
    wide = (max(xs) - min(xs)) or 1.0

    def place(x: float, y: float) -> tuple[float, float]:
        across = WIDTH * (x - min(xs)) / wide
        return across, HEIGHT * (1.0 - (y - low) / span * (1.0 - _TOP))

    line = " ".join(f"{a:.2f},{b:.1f}" for a, b in (place(x, y) for x, y in points))
    rings = "".join(
        f'<svg x="{a:.2f}%" y="{b:.1f}" overflow="visible" class="ring"><circle r="4"/></svg>'
        for a, b in (place(x, y) for x, y in marked)
    )
    label = text(f"training.chart.{name}.label", low=number(low, decimals),
                 high=number(high, decimals))  # fmt: skip
    picture = (
        f'<svg class="d curve" width="100%" height="{HEIGHT:.0f}" role="img" '
        f'aria-label="{escape(label)}">'
        f'<svg viewBox="0 0 {WIDTH:.0f} {HEIGHT:.0f}" preserveAspectRatio="none" '
        f'width="100%" height="{HEIGHT:.0f}" overflow="visible">'
        f'<polyline points="{line}"/></svg>{rings}</svg>'
    )
    return Drawing(
        text(f"training.chart.{name}"), Markup(picture), number(low, decimals),
        number(high, decimals), number(min(xs)), number(max(xs)),
        text(f"training.chart.{name}.unit"),
    )  # fmt: skip


def _race(race: Mapping[str, Any] | None) -> tuple[str, tuple[tuple[str, str, str], ...]]:
    """Return the words before the table of a race, and its rows: recipe, accuracy, change."""
    if not race or not race["standings"]:
        return "", ()
    first = race["standings"][0]
    said = text("race.said", seeds=first["seeds"], tokens=number(race["tokens"]),
                rows=number(first["rows"]),
                confidence=number(100 * race["confidence"]))  # fmt: skip
    won = race["winner"] != "default"
    told = text("race.won", name=race["winner"]) if won else text("race.kept")
    rows = [(text("race.default"), number(100 * race["default_accuracy"], 1), "")]
    for one in race["standings"]:
        change = " ".join(
            [
                number(100 * one["change"], 1, sign=True),
                f"[{number(100 * one['low'], 1, sign=True)}, "
                f"{number(100 * one['high'], 1, sign=True)}]",
            ]
        )
        rows.append((one["recipe"], number(100 * one["accuracy"], 1), change))
    return f"{said}{text('report.gap')}{told}", tuple(rows)
