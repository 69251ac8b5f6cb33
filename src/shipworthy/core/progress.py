"""How far a long step is, with rate and remaining time, on stderr only.

On a terminal one live line; elsewhere (a log, a CI job) a line about every ten seconds and one at
the end. `SHIPWORTHY_PROGRESS=off` silences both.

    with progress("train", total=len(rows), unit="rows") as step:
        for batch in batches:
            ...
            step(len(batch))
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

from shipworthy.core.locale import has_text, number, text

if TYPE_CHECKING:
    from rich.progress import Progress


class Step(Protocol):
    """Says that some more units are done."""

    def __call__(self, done: float = 1, note: str = "") -> None:
        """Count `done` more units. note: what stands behind them, until the next one."""


_live: Progress | None = None


@contextmanager
def progress(
    name: str, total: float | None = None, unit: str = "", *, interval_seconds: float = 10.0
) -> Iterator[Step]:
    """Show the progress of the block; call the yielded function with how many units were done.

    total: number of units, None where it is not known. name and unit are shown by their
    texts `step.<name>` and `unit.<unit>` where the catalogue has them, else as they are.
    interval_seconds: time between two lines where stderr is no terminal.
    """
    shown, shown_unit = _shown(f"step.{name}", name), _shown(f"unit.{unit}", unit)
    if os.environ.get("SHIPWORTHY_PROGRESS", "").lower() == "off":
        yield _silent
    elif sys.stderr.isatty() and os.environ.get("TERM") != "dumb":
        with _live_line(shown, total, shown_unit) as step:
            yield step
    else:
        lines = _Lines(shown, total, shown_unit, interval_seconds)
        try:
            yield lines.step
        except BaseException:
            lines.end("progress.stopped")
            raise
        lines.end("progress.finished")


def duration(seconds: float) -> str:
    """Return a duration for people: `0.4 s`, `12 s`, `3 min 5 s`, `2 h 10 min`."""
    if seconds < 10:
        return text("time.seconds", seconds=number(seconds, 1))
    whole = round(seconds)
    if whole < 60:
        return text("time.seconds", seconds=whole)
    if whole < 3600:
        return text("time.minutes", minutes=whole // 60, seconds=whole % 60)
    minutes = round(seconds / 60)
    return text("time.hours", hours=minutes // 60, minutes=minutes % 60)


class _Lines:
    """Plain lines for a log."""

    def __init__(self, name: str, total: float | None, unit: str, interval_seconds: float) -> None:
        self.name, self.total, self.unit = name, total, unit
        self.interval_seconds = interval_seconds
        self.done = 0.0
        self.started = self.last = time.monotonic()

    def step(self, done: float = 1, note: str = "") -> None:
        self.done += done
        now = time.monotonic()
        if now - self.last >= self.interval_seconds:
            self.last = now
            pace = _pace(self.done, self.total, self.unit, now - self.started)
            self.write(" · ".join([self.where(), *pace, *([note] if note else [])]))

    def where(self) -> str:
        values = {"name": self.name, "done": number(self.done), "unit": self.unit}
        if self.total is None:
            return text("progress.counted", **values).rstrip()
        return text("progress.of", **values, total=number(self.total)).rstrip()

    def end(self, key: str) -> None:
        taken = duration(time.monotonic() - self.started)
        self.write(text(key, name=self.name, done=number(self.done), unit=self.unit, time=taken))

    def write(self, line: str) -> None:
        print(" ".join(line.split()), file=sys.stderr, flush=True)


def _pace(done: float, total: float | None, unit: str, seconds: float) -> list[str]:
    if seconds <= 0 or done <= 0:
        return []
    rate = done / seconds
    parts = [text("progress.rate", rate=number(rate, 0 if rate >= 10 else 1), unit=unit)]
    # The first pieces pay for what is loaded: before a hundredth is done no time is foretold.
    if total is not None and 0.01 * total <= done < total:
        parts.append(text("progress.remaining", time=duration((total - done) / rate)))
    return parts


@contextmanager
def _live_line(name: str, total: float | None, unit: str) -> Iterator[Step]:
    global _live
    outer = _live
    bars = outer if outer is not None else _bars()
    if outer is None:
        bars.start()
        _live = bars
    task = bars.add_task(name, total=total, unit=unit, note="")

    def step(done: float = 1, note: str = "") -> None:
        bars.update(task, advance=done, note=note)

    try:
        yield step
    finally:
        if outer is None:
            _live = None
            bars.stop()
        else:
            bars.remove_task(task)


def _bars() -> Progress:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, ProgressColumn, TextColumn
    from rich.text import Text

    class Pace(ProgressColumn):
        """What is done, at what rate, and the time that is left."""

        def render(self, task: Any) -> Text:
            counts, unit = number(task.completed), task.fields["unit"]
            if task.total is not None:
                counts += f" / {number(task.total)}"
            pace = _pace(task.completed, task.total, unit, task.elapsed or 0.0)
            note = [task.fields["note"]] if task.fields["note"] else []
            return Text("  ".join([f"{counts} {unit}".rstrip(), *pace, *note]))

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        Pace(),
        console=Console(stderr=True),
    )


def _silent(done: float = 1, note: str = "") -> None:
    return None


def _shown(key: str, name: str) -> str:
    return text(key) if has_text(key) else name
