"""An audit in the terminal: verdict, limits, groups, comparisons, each number with its interval."""

from __future__ import annotations

import math
from collections.abc import Sequence

from shipworthy.core.locale import number
from shipworthy.core.records import Outcome
from shipworthy.release.audit_records import Audit, Compared, GroupRow, group_label
from shipworthy.release.audit_words import (
    asked_notes,
    attribute,
    between,
    drawn_measures,
    figure,
    headline,
    interval,
    limit_line,
    named,
    sentences,
    title,
)
from shipworthy.release.cells import Column, clean, pad, table, width, wrap
from shipworthy.release.display import measure_name, text
from shipworthy.release.evidence import percent
from shipworthy.release.terminal_drawing import ASCII, SPELLED, UNICODE, Signs
from shipworthy.release.wording import outcome_word, phrase

MOST_GROUPS = 15
MOST_LIMITS = 40
OF_CROSSINGS = 5
"""Comparisons that are printed of a crossing; all of them are in the document and on the page."""

_COLOURS = {Outcome.PASS: "32", Outcome.FAIL: "31", Outcome.CANNOT_TELL: "35"}


def render(audit: Audit, *, width: int = 100, color: bool, unicode: bool, report: str = "") -> str:
    """Return the text of an audit, ending in a line break.

    width: in cells, at least 60. color: whether ANSI colours may be used. unicode: False spells
    signs in ASCII. report: path of the page, if one was written.
    """
    page = _Page(audit, max(width, 60), color, UNICODE if unicode else ASCII)
    lines = [*page.head(), *page.limits(), *page.groups(), *page.comparisons(), *page.foot(report)]
    return "\n".join(line.rstrip() for line in lines) + "\n"


class _Page:
    def __init__(self, audit: Audit, cells: int, color: bool, signs: Signs) -> None:
        self.audit, self.cells, self.color, self.signs = audit, cells, color, signs

    def head(self) -> list[str]:
        outcome = self.audit.verdict
        word = headline(self.audit).upper()
        if outcome is not None:
            word = f"{self.signs.icons[outcome]} {word}"
        name = wrap(self.spell(self.audit.name), self.cells - 6 - width(word))
        lines = [f"  {self.paint(word, outcome)}  {name[0]}", *(f"      {n}" for n in name[1:]), ""]
        for sentence in sentences(self.audit):
            lines += [f"    {line}" for line in wrap(self.spell(sentence), self.cells - 4)]
        return [*lines, ""]

    def limits(self) -> list[str]:
        decisions = sorted(
            self.audit.decisions,
            key=lambda d: [Outcome.FAIL, Outcome.CANNOT_TELL, Outcome.PASS].index(d.decision),
        )
        if not decisions:
            return []
        columns = [
            Column(""), Column(text("report.head.limit"), wraps=True),
            Column(text("terminal.at"), "right"),
            Column(text("audit.head.value", confidence=percent(self.audit.confidence))),
            Column(text("audit.head.why"), wraps=True), Column("n", "right"),
        ]  # fmt: skip
        rows = []
        for d in decisions[:MOST_LIMITS]:
            icon = f"{self.signs.icons[d.decision]} {outcome_word(d.decision)}"
            rows.append([icon, *limit_line(d), number(d.n)])
        outcomes = [d.decision for d in decisions[:MOST_LIMITS]]
        return [*self._table(columns, rows, outcomes), *self._more(len(decisions) - MOST_LIMITS)]

    def groups(self) -> list[str]:
        lines: list[str] = []
        for columns in self.audit.attributes:
            rows = [r for r in self.audit.slices if r.columns == columns]
            if rows:
                lines += self._groups(columns, rows)
        return lines

    def _groups(self, columns: tuple[str, ...], rows: list[GroupRow]) -> list[str]:
        measures = drawn_measures(self.audit)
        shown_rows = sorted(rows, key=lambda r: -r.n)[:MOST_GROUPS]
        kept = [r for r in rows if r in shown_rows]
        labels = [self.spell(named(r, group_label(r.slice))) for r in kept]
        cells = [[self._number(r, m) for m in measures] for r in kept]
        room = self.cells - 4 - min(max(map(width, labels)), 30) - 10
        fitting, taken = 0, 0
        for k, measure in enumerate(measures):
            taken += 2 + max(width(title(measure)), *(width(row[k]) for row in cells))
            fitting = k + 1 if taken <= room or k == 0 else fitting
        heads = [
            Column(attribute(columns), wraps=True), Column("n", "right"),
            *(Column(title(m)) for m in measures[:fitting]),
        ]  # fmt: skip
        body = [
            [label, number(r.n), *row[:fitting]]
            for label, r, row in zip(labels, kept, cells, strict=True)
        ]
        return [*self._table(heads, body, [None] * len(body)), *self._more(len(rows) - len(kept))]

    def _number(self, row: GroupRow, measure: str) -> str:
        found = row.number(measure)
        if found is None or math.isnan(found.value):
            return text("audit.no_data")
        low, high = figure(measure, found.low), figure(measure, found.high)
        return self.spell(f"{figure(measure, found.value)} [{low}, {high}]")

    def comparisons(self) -> list[str]:
        found: list[Compared] = []
        for columns in self.audit.attributes:
            own = [c for c in self.audit.comparisons if c.gap.columns == columns]
            found += own if len(columns) == 1 else own[:OF_CROSSINGS]
        if not found:
            return []
        heads = [
            Column(text("audit.head.measure"), wraps=True),
            Column(text("audit.head.attribute"), wraps=True),
            Column(text("audit.head.value", confidence=percent(self.audit.confidence))),
            Column(text("audit.head.between"), wraps=True),
            Column(text("audit.head.chance"), "right"),
            Column(text("audit.head.detectable"), "right"),
        ]  # fmt: skip
        body = []
        for c in found[:MOST_LIMITS]:
            m = c.gap.measure
            body.append([
                self.spell(named(c, measure_name(m))), self.spell(attribute(c.gap.columns)),
                self.spell(f"{figure(m, c.gap.value)} {interval(m, c)}"), self.spell(between(c)),
                self.spell(figure(m, c.gap.by_chance.mean)),
                self.spell(figure(m, c.gap.detectable)),
            ])  # fmt: skip
        return [*self._table(heads, body, [None] * len(body)),
                *self._more(len(found) - MOST_LIMITS)]  # fmt: skip

    def foot(self, report: str) -> list[str]:
        lines: list[str] = []
        for said in asked_notes(self.audit):
            lines += [f"  {line}" for line in wrap(self.spell(phrase(said)), self.cells - 2)]
        facts = [(text("terminal.report"), report)] if report else []
        code = self.audit.exit_code
        facts.append((text("terminal.exit"), text("audit.exit", code=code)))
        cells = max(width(label) for label, _ in facts)
        return [*lines, "", *(f"  {pad(label, cells)}  {self.spell(v)}" for label, v in facts)]

    def _more(self, count: int) -> list[str]:
        return [f"  {text('audit.more', count=count)}", ""] if count > 0 else []

    def spell(self, said: str) -> str:
        return clean(said).translate(SPELLED) if self.signs is ASCII else clean(said)

    def paint(self, said: str, outcome: Outcome | None) -> str:
        if not self.color or outcome is None:
            return said
        return f"\x1b[{_COLOURS[outcome]}m{said}\x1b[0m"

    def _table(
        self, columns: Sequence[Column], rows: list[list[str]], outcomes: Sequence[Outcome | None]
    ) -> list[str]:
        heads = [Column(self.spell(c.head), c.align, c.wraps) for c in columns]
        lines, widths = table(heads, [[self.spell(c) for c in r] for r in rows], self.cells - 2)
        above = max(
            len(wrap(c.head, cells)) if c.wraps else 1
            for c, cells in zip(heads, widths, strict=True)
        )
        said = [f"  {'  '.join(cells)}" for cells in lines[:above]]
        said.append("  " + self.signs.rule * (self.cells - 2))
        at = -1
        for cells in lines[above:]:
            if any(outcomes) and cells[0].strip():
                # The first column holds sign and word, which do not wrap.
                at += 1
                cells = [self.paint(cells[0], outcomes[at]), *cells[1:]]
            said.append("  " + "  ".join(cells))
        return [*said, ""]
