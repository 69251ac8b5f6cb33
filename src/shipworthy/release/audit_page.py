"""An audit as one self-contained page, in the look of the report: no script, no network."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

from shipworthy.core.files import write_atomically
from shipworthy.core.locale import language as current_language
from shipworthy.core.locale import number
from shipworthy.release import charts
from shipworthy.release.audit_records import Audit, Compared, GroupRow, group_label
from shipworthy.release.audit_words import (
    asked_notes,
    attribute,
    between,
    drawn_measures,
    figure,
    form,
    headline,
    interval,
    limit_line,
    named,
    sentences,
    title,
)
from shipworthy.release.display import capital, measure_name, text
from shipworthy.release.evidence import percent
from shipworthy.release.report import LANGUAGE_TAGS
from shipworthy.release.sections import icon_of, method_name, tone
from shipworthy.release.templating import environment
from shipworthy.release.wording import outcome_word, phrase

MOST_DRAWN = 30
"""Groups of one column that are drawn; all stand in the table."""

FEW = 30
"""Rows below which the shrunk share stands beside the raw one."""

PER_LINE = 5


@dataclass(frozen=True)
class Panel:
    """One measure of all drawn groups of some columns."""

    title: str
    drawing: Markup
    ticks: Markup
    values: tuple[str, ...]


@dataclass(frozen=True)
class Attribute:
    """The groups of some columns (of one class): pictures, and a table of every number."""

    heading: str
    names: tuple[tuple[str, str], ...]
    panels: tuple[Panel, ...]
    more: str
    heads: tuple[str, ...]
    rows: tuple[tuple[str, str, tuple[tuple[str, str, str], ...]], ...]
    comparisons: tuple[dict[str, str], ...]


def write_page(audit: Audit, path: Path) -> Path:
    """Write an audit as one HTML file, whole or not at all, and return its path."""
    write_atomically(path, render_page(audit))
    return path


def render_page(audit: Audit) -> str:
    """Return the page as text, in the language in use."""
    page: str = environment().get_template("audit.html.jinja").render(_context(audit))
    return page


def fragment(audit: Audit) -> str:
    """Return the heart of the page for a notebook: sentences and tables, without a style."""
    found: str = environment().get_template("audit_fragment.html.jinja").render(_context(audit))
    return found


def _context(audit: Audit) -> dict[str, Any]:
    outcome = audit.verdict
    return {
        "t": text,
        "lang": LANGUAGE_TAGS[current_language()],
        "audit": audit,
        "word": capital(headline(audit)),
        "tone": "plain" if outcome is None else tone(outcome),
        "icon": icon_of(outcome, 64),
        "sentences": sentences(audit),
        "limits": [_limit(d) for d in audit.decisions],
        "attributes": _attributes(audit),
        "whole": [_all_rows(row) for row in audit.whole],
        "notes": [phrase(p) for p in asked_notes(audit)],
        "methods": _methods(audit),
        "confidence": percent(audit.confidence),
        "row_height": charts.PANEL_ROW,
    }


def _limit(decision: Any) -> dict[str, Any]:
    name, sign, value, why = limit_line(decision)
    return {
        "icon": icon_of(decision.decision, 16), "outcome": decision.decision.value,
        "word": outcome_word(decision.decision), "title": name, "bound": sign, "value": value,
        "why": why, "n": number(decision.n), "owner": decision.owner,
    }  # fmt: skip


def _attributes(audit: Audit) -> list[Attribute]:
    found = []
    for columns in audit.attributes:
        for name in dict.fromkeys(r.name for r in audit.slices if r.columns == columns):
            rows = [r for r in audit.slices if r.columns == columns and r.name == name]
            compared = [c for c in audit.comparisons if c.gap.columns == columns and c.name == name]
            found.append(_attribute(audit, columns, rows, compared))
    return found


def _attribute(
    audit: Audit, columns: tuple[str, ...], rows: list[GroupRow], compared: list[Compared]
) -> Attribute:
    largest = sorted(rows, key=lambda r: -r.n)[:MOST_DRAWN]
    drawn = [r for r in rows if r in largest]
    measures = list(dict.fromkeys(x.measure for r in rows for x in r.numbers))
    panels = [
        _panel(drawn, m)
        for m in drawn_measures(audit)
        if any(r.number(m) is not None for r in drawn)
    ]
    left = len(rows) - len(drawn)
    return Attribute(
        heading=named(rows[0], attribute(columns)),
        names=tuple((group_label(r.slice), number(r.n)) for r in drawn),
        panels=tuple(panels),
        more=text("audit.more", count=left) if left else "",
        heads=tuple(title(m) for m in measures),
        rows=tuple(
            (group_label(r.slice), number(r.n), tuple(_cell(r, m) for m in measures)) for r in rows
        ),
        comparisons=tuple(_comparison(c) for c in compared),
    )


def _panel(rows: Sequence[GroupRow], measure: str) -> Panel:
    own = form(measure)
    found = [row.number(measure) for row in rows]
    shown = [
        None if x is None else charts.Interval(
            own.value(x.value), own.value(x.low), own.value(x.high), None
        )
        for x in found
    ]  # fmt: skip
    axis = _axis([v for x in shown if x is not None for v in (x.value, x.low, x.high)],
                 share=own.unit == "percent")  # fmt: skip
    values = tuple(figure(measure, math.nan if x is None else x.value) for x in found)
    said = text("clause.separator").join(
        text("clause.about", subject=group_label(row.slice), said=_said(row, measure))
        for row in rows
    )
    label = text("report.drawing.panel", title=title(measure), rows=said)
    return Panel(
        title(measure),
        Markup(charts.panel(shown, axis, None, label=label)),
        Markup(_ticks(axis)),
        values,
    )


def _axis(values: Sequence[float], *, share: bool) -> charts.Axis:
    known = [v for v in values if math.isfinite(v)] or [0.0, 1.0]
    low, high = min(known), max(known)
    pad = max(0.08 * (high - low), 1e-9 * max(abs(high), 1.0), 1e-12)
    low, high = low - pad, high + pad
    if share:
        low, high = max(low, -2.0), min(high, 102.0)
    return charts.Axis(low, high)


def _ticks(axis: charts.Axis) -> str:
    parts = []
    ticks = axis.ticks()
    places = next((p for p in range(6) if all(abs(round(t, p) - t) < 1e-9 for t in ticks)), 6)
    for tick in ticks:
        x = charts.percent(axis.at(tick))
        parts.append(
            f'<line class="t" x1="{x}" x2="{x}" y1="0" y2="4"/>'
            f'<text x="{x}" y="15" text-anchor="middle">{number(tick, places)}</text>'
        )
    return charts.svg("".join(parts), height=18, label="", cls="ticks")


def _said(row: GroupRow, measure: str) -> str:
    value, ends, _ = _cell(row, measure)
    return f"{value} {ends}".strip()


def _cell(row: GroupRow, measure: str) -> tuple[str, str, str]:
    """Value, interval, and for few rows the shrunk share."""
    found = row.number(measure)
    if found is None or math.isnan(found.value):
        return text("audit.no_data"), "", ""
    ends = form(measure).interval(found.low, found.high)
    towards = ""
    if found.n < FEW and not math.isnan(found.shrunk):
        towards = text("audit.shrunk", value=figure(measure, found.shrunk), n=found.n)
    return figure(measure, found.value), ends, towards


def _comparison(compared: Compared) -> dict[str, str]:
    gap = compared.gap
    m = gap.measure
    return {
        "title": title(m),
        "value": figure(m, gap.value),
        "interval": interval(m, gap),
        "between": between(compared),
        "chance": figure(m, gap.by_chance.mean),
        "far": figure(m, gap.by_chance.far),
        "detectable": figure(m, gap.detectable),
        "n": number(gap.n),
    }


def _all_rows(row: GroupRow) -> dict[str, Any]:
    return {
        "name": named(row, text("report.all_rows_title")),
        "n": number(row.n),
        "cells": [(title(x.measure), *_cell(row, x.measure)[:2]) for x in row.numbers],
    }


def _methods(audit: Audit) -> list[str]:
    by_method: dict[str, dict[str, None]] = {}
    numbers = [x for r in audit.slices[:1] for x in r.numbers]
    for measure, method in [(x.measure, x.method) for x in numbers] + [
        (c.gap.measure, c.gap.method) for c in audit.comparisons
    ]:
        by_method.setdefault(method, {})[measure] = None
    return [
        text("clause.about", subject=method_name(method),
             said=text("report.list_comma").join(measure_name(m) for m in measures))
        for method, measures in by_method.items()
    ]  # fmt: skip
