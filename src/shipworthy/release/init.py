"""A project file from somebody's own data: columns guessed and said so, margins with their n.

The margins are the same for everybody; they don't follow from the rows. What follows from the rows
is printed beside them: how many test rows each margin needs, and which groups have too few.
"""

from __future__ import annotations

import math
import os
import re
from dataclasses import dataclass
from pathlib import Path
from textwrap import shorten, wrap
from typing import TYPE_CHECKING

from shipworthy.core import locale
from shipworthy.core.errors import InputError
from shipworthy.core.files import write_atomically
from shipworthy.core.locale import number
from shipworthy.core.yaml import Document, load_settings
from shipworthy.data.columns import Columns, Reason, guess_columns
from shipworthy.data.rows import Rows, load_rows
from shipworthy.data.settings import DataSettings
from shipworthy.data.sources import read_table
from shipworthy.measure.effective import MIN_ROWS, MIN_UNITS
from shipworthy.measure.power import (
    paired_rows_needed,
    rate_rows_needed,
    zero_event_rows,
    zero_event_rows_rate,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import polars as pl

MARGIN = 0.015
GROUP_MARGIN = 0.025
LEAST_ACCURACY = 0.80
OWNER = "ml-lead"

_TABLE = (0.005, 0.01, 0.02, 0.03, 0.05)
# Discordance of a mild and of a middling candidate (pruned 30 %, int8), as seen on short texts.
_FEW_FLIPS, _MANY_FLIPS = 0.025, 0.05
# Points above the floor that a candidate is taken to have where rows for it are told.
_ABOVE = 0.05
_PLAIN = re.compile(r"[A-Za-z_][\w./-]*(:[\w./-]+)?")
_NOT_TEXT = {"true", "false", "null", "yes", "no", "on", "off", "y", "n"}


@dataclass(frozen=True)
class Started:
    """A project file that was written, what its columns were taken for, and what to mind."""

    path: Path
    columns: Columns
    warnings: tuple[str, ...]


def write_project(
    data_path: Path | str,
    out_path: Path | str = "shipworthy.yaml",
    *,
    text: str | None = None,
    label: str | None = None,
    id: str | None = None,  # noqa: A002 (the name of the setting)
    unit: str | None = None,
    groups: Sequence[str] | None = None,
    model: str = "builtin:minilm",
    force: bool = False,
) -> Started:
    """Write a commented project file for a file of texts with classes.

    data_path: as in `read_table`; columns that are not given are guessed. force: overwrite.
    Raises DataError where the rows can't be used, InputError where out_path exists already.
    """
    out = Path(out_path)
    if out.is_dir():
        out = out / "shipworthy.yaml"
    if out.exists() and not force:
        raise InputError(locale.text("error.init.exists", path=out))
    frame = read_table(data_path)
    columns = guess_columns(
        frame, str(data_path), text=text, label=label, id=id, unit=unit, groups=groups
    )
    values = {
        "source": str(data_path),
        "text": columns.text,
        "label": columns.label,
        "id": columns.id,
        "unit": columns.unit,
        "groups": list(columns.groups),
    }
    rows = load_rows(load_settings(DataSettings, Document(values, str(data_path))))
    source = _relative(str(data_path), out)
    if not model.startswith("builtin:"):
        model = _relative(model, out)
    lines = [
        *_comment("init.first", source=source, rows=number(frame.height), file=out.name),
        f"name: {_yaml(_name(str(data_path)))}",
        "task: text-classification",
        *_comment("init.model"),
        f"model: {_yaml(model)}",
        "data:",
        *(f"  {line}" for line in _data(source, columns, rows)),
        "train:",
        "  epochs: 1",
        *_comment("init.compress"),
        "compress: {budget_minutes: 10, recipes: auto}",
        *_comment("init.objective"),
        "objective: size",
        *_policy(columns, rows),
        *_comment("init.examples"),
        "report: {examples: none}",
        *_comment("init.documentation"),
        "# documentation: {intended_use: …, risks: …, contact: …}",
    ]
    write_atomically(out, "\n".join(lines) + "\n")
    return Started(out, columns, tuple(_warnings(columns, rows)))


def _data(source: str, columns: Columns, rows: Rows) -> Iterator[str]:
    def why(role: str) -> list[str]:
        reason: Reason = columns.reasons[role]
        return _comment(reason.key, 0, **reason.arguments)

    yield f"source: {_yaml(source)}"
    yield from why("text")
    yield f"text: {_yaml(columns.text)}"
    yield from why("label")
    counts_of = _counts(rows.frame, columns.label)
    listed = ", ".join(f"{name} {number(count)}" for name, count in counts_of)
    yield from _comment("init.classes", classes=listed)
    yield f"label: {_yaml(columns.label)}"
    for role, name in (("id", columns.id), ("unit", columns.unit)):
        yield from why(role)
        yield f"{role}: {_yaml(name)}" if name is not None else f"# {role}: …"
    yield from why("groups")
    yield f"groups: [{', '.join(_yaml(name) for name in columns.groups)}]"
    yield "intersections: 1"
    counts = {name: number(count) for name, count in rows.splits.rows.items()}
    yield from _comment("init.shares", 0, **counts)
    if rows.splits.joined_rows:
        yield from _comment("init.joined", rows=number(rows.splits.joined_rows))
    yield "shares: {test: 0.4, validation: 0.15, calibration: 0.1}"


def _policy(columns: Columns, rows: Rows) -> Iterator[str]:
    test = rows.part("test")
    majority = _counts(rows.frame, columns.label)[0][1] / rows.frame.height
    # Half the errors of always naming the largest class, where that class alone nears the floor.
    floor = max(LEAST_ACCURACY, math.ceil(50 * (1 + majority)) / 100 if majority > 0.7 else 0)
    yield from _comment("init.policy")
    yield from _comment("init.owner")
    yield "policy:"
    floor = min(floor, 0.99)
    yield from _comment("init.accuracy", indent=2, majority=number(100 * majority, 1))
    better = min(floor + _ABOVE, (1 + floor) / 2)
    yield from _comment(
        "init.accuracy_rows",
        indent=2,
        accuracy=number(100 * better, 1),
        needed=number(int(rate_rows_needed(better, floor).item())),
        least=number(max(int(zero_event_rows_rate(1 - floor).item()), MIN_ROWS)),
    )
    yield _limit("accuracy", f"at_least: {floor:.2f}, tier: critical")
    yield from _comment(
        "init.change",
        indent=2,
        margin=_points(MARGIN),
        rows=number(test.height),
        needed=number(_needed(MARGIN)),
        least=number(_least(MARGIN)),
    )
    table = ", ".join(
        locale.text(
            "init.table_entry",
            margin=_points(margin),
            few=number(_needed(margin)),
            many=number(_needed(margin, _MANY_FLIPS)),
            least=number(_least(margin)),
        )
        for margin in _TABLE
    )
    yield from _comment("init.change_table", indent=2, table=table)
    yield _limit("accuracy", f"relative_to: parent, at_least: {-MARGIN}")
    for column in columns.groups:
        yield from _comment(
            "init.change_group",
            indent=2,
            margin=_points(GROUP_MARGIN),
            column=column,
            needed=number(_needed(GROUP_MARGIN)),
            many=number(_needed(GROUP_MARGIN, _MANY_FLIPS)),
            least=number(_least(GROUP_MARGIN)),
        )
        groups = locale.text("report.list_comma").join(
            _group_rows(name, n) for name, n in _counts(test, column)
        )
        yield from _comment("init.group_rows", indent=2, column=column, groups=groups)
        each = f"slice: {{each: {_yaml(column)}}}, "
        yield _limit("accuracy", f"{each}relative_to: parent, at_least: {-GROUP_MARGIN}")
    yield from _comment("init.latency", indent=2)
    yield _limit("latency_p95_ms", "at_most: 50")
    yield from _comment("init.size", indent=2)
    yield _limit("size_mb", "at_most: 500")


def _group_rows(name: str, rows: int) -> str:
    """Return a group with its test rows, marked where they are too few for the margin."""
    mark = ""
    if rows < _needed(GROUP_MARGIN):
        mark = locale.text("init.few" if rows < _least(GROUP_MARGIN) else "init.weak")
    return f"{name} {number(rows)}{mark}"


def _warnings(columns: Columns, rows: Rows) -> Iterator[str]:
    test = rows.part("test")
    if test.height < _needed(MARGIN):
        yield locale.text(
            "init.warn.rows",
            rows=number(test.height),
            needed=number(_needed(MARGIN)),
            margin=_points(MARGIN),
        )
    for name, count in _counts(test, columns.label):
        if count < MIN_ROWS:
            yield locale.text("init.warn.class", name=name, rows=number(count))
    for column in columns.groups:
        for name, count in _counts(test, column):
            if count < _needed(GROUP_MARGIN):
                few = count < _least(GROUP_MARGIN)
                yield locale.text(
                    "init.warn.group" if few else "init.warn.group_power",
                    column=column,
                    name=name,
                    rows=number(count),
                    least=number(_least(GROUP_MARGIN)),
                    needed=number(_needed(GROUP_MARGIN)),
                    margin=_points(GROUP_MARGIN),
                )
        if columns.unit is not None:
            yield from _few_units(test, column, columns.unit)


def _few_units(test: pl.DataFrame, column: str, unit: str) -> Iterator[str]:
    """Name the groups whose rows come from so few units that nothing is decided about them."""
    import polars as pl

    units = test.select(pl.col(column), pl.col(unit)).unique()
    for name, count in _counts(units, column):
        if count < MIN_UNITS:
            told = {"column": column, "name": name, "unit": unit, "count": count}
            yield locale.text("init.warn.units", **told, least=MIN_UNITS)


def _counts(frame: pl.DataFrame, column: str) -> list[tuple[str, int]]:
    """Return the values of a column and their rows, the largest first."""
    import polars as pl

    counts = frame[column].cast(pl.String).fill_null("(missing)").value_counts().rows()
    named = [(shorten(_printable(value), 40, placeholder=" …"), count) for value, count in counts]
    return sorted(named, key=lambda entry: (-entry[1], entry[0]))


def _needed(margin: float, discordance: float = _FEW_FLIPS) -> int:
    return int(paired_rows_needed(discordance, margin).item())


def _least(margin: float) -> int:
    return int(zero_event_rows(margin).item())


def _points(margin: float) -> str:
    return number(100 * margin, 1)


def _limit(measure: str, rest: str) -> str:
    return f"  - {{measure: {measure}, {rest}, owner: {OWNER}}}"


def _comment(key: str, indent: int = 0, **arguments: object) -> list[str]:
    margin = " " * indent + "# "
    return wrap(
        _printable(locale.text(key, **arguments)),
        98,
        initial_indent=margin,
        subsequent_indent=margin,
        break_on_hyphens=False,
    )


def _printable(value: str) -> str:
    """Return text on one line, without what YAML forbids in a comment."""
    return "".join(c if c.isprintable() else " " for c in value)


def _relative(source: str, out: Path) -> str:
    """Return a path as it is written in the file: from the file's folder, if it lies below."""
    if source.startswith("builtin:"):
        return source
    place = os.path.abspath(os.path.expanduser(source))
    below = os.path.relpath(place, out.resolve().parent)
    return Path(place).as_posix() if below.startswith("..") else Path(below).as_posix()


def _name(source: str) -> str:
    stem = Path(source.removeprefix("builtin:")).stem
    return re.sub(r"\W+", "-", stem).strip("-") or "project"


def _yaml(value: str) -> str:
    """Write text so that YAML reads the same text."""
    if _PLAIN.fullmatch(value) and value.lower() not in _NOT_TEXT:
        return value
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(c if c.isprintable() else f"\\U{ord(c):08x}" for c in escaped) + '"'
