"""A judgement in the terminal: verdict, limits, candidates with their intervals, what to do next.

At most `width` cells wide. Colour is an addition only: shape and word carry each verdict, and
without UTF-8 they are spelled in ASCII.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from shipworthy.core.errors import EXIT_HOLD, EXIT_SHIP, EXIT_UNDECIDED
from shipworthy.core.locale import NO_NUMBER, has_text, number
from shipworthy.core.records import Answer, Candidate, Outcome
from shipworthy.release.approval_rows import approval_rows
from shipworthy.release.candidates import COSTS, QUALITY, Frame
from shipworthy.release.cells import Column, clean, pad, table, width, wrap
from shipworthy.release.display import measure_name, shown, text
from shipworthy.release.evidence import percent
from shipworthy.release.forgotten_words import terminal_lines
from shipworthy.release.judgement import Judgement, NextStep
from shipworthy.release.levelling import levelling_lines
from shipworthy.release.limit_rows import LimitRow
from shipworthy.release.next_words import besides
from shipworthy.release.standing import Survey, survey
from shipworthy.release.summary import headline
from shipworthy.release.terminal_drawing import (
    ASCII,
    LEAST,
    SPELLED,
    UNICODE,
    Signs,
    draw,
    ticks,
    words,
)
from shipworthy.release.wording import (
    bound_figure,
    group_name,
    limit_title,
    outcome_word,
    phrase,
    room,
)

EXIT_CODES = {
    Answer.SHIP: EXIT_SHIP,
    Answer.HOLD: EXIT_HOLD,
    Answer.UNDECIDED: EXIT_UNDECIDED,
}
_OUTCOMES = {
    Answer.SHIP: Outcome.PASS,
    Answer.HOLD: Outcome.FAIL,
    Answer.UNDECIDED: Outcome.CANNOT_TELL,
}
_COLOURS = {Outcome.PASS: "32", Outcome.FAIL: "31", Outcome.CANNOT_TELL: "35"}


def render(
    judgement: Judgement,
    *,
    width: int = 100,
    color: bool,
    unicode: bool,
    report: str = "",
    waits: bool = False,
) -> str:
    """Return the text of a judgement, ending in a line break.

    width: in cells, at least 60. color: whether ANSI colours may be used (the caller respects
    NO_COLOR). unicode: False spells signs in ASCII; words keep their language. report: path of the
    report to name, if there is one. waits: whether the program ends with 4 since sign-offs that
    were asked for are missing.
    """
    asked = survey(judgement)
    page = _Page(asked, max(width, 60), color, UNICODE if unicode else ASCII)
    lines = [
        *page.verdict(),
        *page.limits(),
        *page.candidates(),
        *page.foot(report, waits=waits),
    ]
    said = "\n".join(line.rstrip() for line in lines) + "\n"
    return said


class _Page:
    """Lays out the parts; every line begins with two spaces and stays within the width."""

    def __init__(self, asked: Survey, cells: int, color: bool, signs: Signs) -> None:
        self.survey, self.judgement = asked, asked.judgement
        self.cells, self.color, self.signs = cells, color, signs

    def verdict(self) -> list[str]:
        first = headline(self.survey)
        outcome = _OUTCOMES[self.judgement.answer]
        word = f"{self.signs.icons[outcome]} {first.word.upper()}"
        name = wrap(self.spell(first.name), self.cells - 4 - width(word))
        lines = [
            f"  {self.paint(word, outcome, bold=True)}  {name[0]}",
            *("      " + n for n in name[1:]),
        ]
        lines.append("")
        for sentence in first.sentences:
            lines += ["    " + line for line in wrap(self.spell(sentence), self.cells - 4)]
        said = [(row.label, row.value, row.detail) for row in approval_rows(self.survey)]
        if said:
            lines += ["", *self._approvals(said)]
        return [*lines, ""]

    def _approvals(self, said: Sequence[tuple[str, str, str]]) -> list[str]:
        label_cells = max(width(label) for label, _, _ in said)
        lines = []
        for label, value, detail in said:
            told = wrap(self.spell(value), self.cells - label_cells - 6)
            told += wrap(self.spell(detail), self.cells - label_cells - 6) if detail else []
            for k, line in enumerate(told):
                lines.append(f"    {pad(label if k == 0 else '', label_cells)}  {line}")
        return lines

    def limits(self) -> list[str]:
        named = self.survey.named
        rows = [] if named is None else list(self.survey.rows[named.id])
        if not rows:
            return []
        confidence = percent(self.judgement.confidence)
        columns = [
            Column(""),
            Column(text("report.head.limit"), wraps=True),
            Column(text("terminal.at"), "right"),
            Column(text("terminal.measured"), "right"),
            Column(text("terminal.interval", confidence=confidence)),
            Column(text("terminal.room"), "right", wraps=True),
            Column("n", "right"),
            Column(text("terminal.owner")),
        ]
        body = [self._limit(r) for r in rows]
        if not any(row[-1] for row in body):
            columns, body = columns[:-1], [row[:-1] for row in body]
        return self._table(columns, body, [r.outcome for r in rows])

    def _limit(self, row: LimitRow) -> list[str]:
        d, form = row.decision, row.form
        title = limit_title(row.limit)
        if form.unit:
            title = text("report.column", name=title, unit=form.unit_text)
        group = group_name(self.survey, d)
        if group is not None and len(row.children) > 1:
            title = text("terminal.limit_of", title=title, group=group)
        if row.limit.tier == "advisory":
            title = text("terminal.note", title=title, note=text("report.tier.advisory_short"))
        if d.reason == "waived":
            title = text("terminal.note", title=title, note=text("report.tier.waived"))
        left, said = room(row)
        if row.outcome is Outcome.FAIL:
            left = text("terminal.over", value=left)
        elif row.outcome is Outcome.CANNOT_TELL:
            left = text("terminal.needs", rows=left) if left else said
        has_interval = row.known and d.low != d.high
        return [
            self.icon(row.outcome),
            self.spell(title),
            text(f"report.limit.{d.side}_sign", value=bound_figure(d)),
            form.figure(d.value),
            form.interval(d.low, d.high) if has_interval else "",
            left,
            number(d.n) if d.n else NO_NUMBER,
            self.spell(d.owner),
        ]

    def candidates(self) -> list[str]:
        asked = self.survey
        quality = next((m for m in QUALITY if asked.measured(m)), None)
        measures = [m for m in COSTS if asked.measured(m)] + ([quality] if quality else [])
        deciders = {c.id: asked.decider(c.id) for c in asked.ordered}
        frame = Frame(asked, [r for r in deciders.values() if r is not None])
        by_group = frame.axis is not None and not frame.own_scale
        columns = [Column(""), Column(text("report.head.candidate"), wraps=True)]
        columns += [Column(_head(m), "right") for m in measures]
        head = text("terminal.group" if by_group else "terminal.decided_by")
        columns.append(Column(head, wraps=True))
        own = next((r.form for r in deciders.values() if r is not None and frame.belongs(r)), None)
        head = (
            text("terminal.measured")
            if own is None
            else own.unit_text or text("report.head.change")
        )
        parent = self._costs(asked.judgement.parent, measures)
        rows = [[f"{self.signs.parent_icon} {text('report.parent')}",
                 self.spell(asked.judgement.parent.name), *parent, "", ""]]  # fmt: skip
        outcomes: list[Outcome | None] = [None]
        for candidate in asked.ordered:
            row, outcome = deciders[candidate.id], asked.outcome(candidate.id)
            rows.append([
                self.icon(outcome), self.spell(candidate.name), *self._costs(candidate, measures),
                self.spell(self._decided_by(row, frame)), _figure(row, frame),
            ])  # fmt: skip
            outcomes.append(outcome)
        columns.append(Column(head, "right"))
        room_left = self.cells - 2 - LEAST - 2
        spelled = [[self.spell(c) for c in r] for r in rows]
        lines, widths = table(self._spelled(columns), spelled, room_left)
        plot = max(self.cells - 2 - sum(widths) - 2 * len(widths), LEAST)
        plot = min(plot, 40)
        drawings = [self.spell(words(frame, plot, self.signs)), ""]
        drawings += [draw(deciders[c.id], frame, plot, self.signs) for c in asked.ordered]
        return self._joined(lines, drawings, outcomes, plot, frame, widths)

    def _joined(
        self, lines: list[list[str]], drawings: list[str], outcomes: list[Outcome | None],
        plot: int, frame: Frame, widths: list[int],
    ) -> list[str]:  # fmt: skip
        """Put the drawing before the last column, rules below the head, ticks below the last."""
        said, at = [], -1
        for cells in lines:
            starts = bool(cells[0].strip()) or at < 0
            at += starts
            drawing = drawings[at] if starts else ""
            if at > 0 and starts:
                cells = [self.paint(cells[0], outcomes[at - 1]), *cells[1:]]
            said.append("  " + "  ".join([*cells[:-1], pad(drawing, plot), cells[-1]]))
            if at == 0 and starts:
                said.append("  " + self.signs.rule * (self.cells - 2))
        if frame.axis is not None:
            before = 2 + sum(widths[:-1]) + 2 * (len(widths) - 1)
            said.append(" " * before + self.spell(ticks(frame.axis, plot)))
        return [*said, ""]

    def _costs(self, candidate: Candidate, measures: Sequence[str]) -> list[str]:
        found = [self.survey.number(candidate.id, m) for m in measures]
        return [
            NO_NUMBER if f is None else shown(m).figure(f.value)
            for m, f in zip(measures, found, strict=True)
        ]

    def _decided_by(self, row: LimitRow | None, frame: Frame) -> str:
        if row is None:
            return ""
        group = group_name(self.survey, row.decision)
        if frame.belongs(row):
            return group or text("report.all_rows")
        name = measure_name(row.decision.measure, short=True)
        return text("report.subject.group", measure=name, group=group) if group else name

    # -- the rest ------------------------------------------------------------------------------

    def foot(self, report: str, *, waits: bool = False) -> list[str]:
        judgement, lines = self.judgement, []
        confidence = percent(judgement.confidence)
        for sentence in (
            text("terminal.note_change", confidence=confidence),
            *levelling_lines(self.survey),
            *(phrase(p) for p in judgement.notes),
        ):
            lines += ["  " + line for line in wrap(self.spell(sentence), self.cells - 2)]
        lines.append("")
        facts = [(text("report.next.heading"), _step(s)) for s in judgement.next_steps]
        facts += [(text("report.not_measured.heading"), phrase(p)) for p in judgement.not_measured]
        facts += [(text("forgotten.label"), said) for said in terminal_lines(self.survey)]
        if report:
            facts.append((text("terminal.report"), report))
        facts.append((text("report.evidence.heading"), self._evidence()))
        code = EXIT_CODES[Answer.UNDECIDED if waits else judgement.answer]
        word = text("terminal.waits" if waits else f"report.answer.{judgement.answer.value}")
        facts.append((text("terminal.exit"), text("terminal.exit_value", code=code, word=word)))
        label_cells = max(width(label) for label, _ in facts)
        before = ""
        for label, value in facts:
            told = "" if label == before else label
            before = label
            for k, line in enumerate(wrap(self.spell(value), self.cells - label_cells - 4)):
                lines.append(f"  {pad(told if k == 0 else '', label_cells)}  {line}")
        return lines

    def _evidence(self) -> str:
        named, judgement = self.survey.named, self.judgement
        parts = []
        if named is not None and named.artefact_digest:
            parts.append(text("terminal.artefact", digest=short(named.artefact_digest)))
        digests = [d for d in judgement.measurements["data_digest"].to_list() if d]
        if digests:
            parts.append(text("terminal.data", digest=short(digests[0])))
        parts.append(text("terminal.opening", opening=number(judgement.opening)))
        return "  ".join(parts)

    def _spelled(self, columns: Sequence[Column]) -> list[Column]:
        return [replace(c, head=self.spell(c.head)) for c in columns]

    def spell(self, said: str) -> str:
        """Return a text with nothing that moves the cursor, in ASCII signs where asked for."""
        return clean(said).translate(SPELLED) if self.signs is ASCII else clean(said)

    def icon(self, outcome: Outcome | None) -> str:
        """Return sign and word of an outcome."""
        return f"{self.signs.icons[outcome]} {outcome_word(outcome)}"

    def paint(self, said: str, outcome: Outcome | None, *, bold: bool = False) -> str:
        """Colour a text by an outcome, where colours may be used."""
        if not self.color or outcome is None:
            return said
        return f"\x1b[{'1;' if bold else ''}{_COLOURS[outcome]}m{said}\x1b[0m"

    def _table(
        self, columns: Sequence[Column], rows: list[list[str]], outcomes: Sequence[Outcome | None]
    ) -> list[str]:
        lines, _ = table(
            self._spelled(columns), [[self.spell(c) for c in r] for r in rows], self.cells - 2
        )
        said, at = [], -1
        for cells in lines:
            starts = bool(cells[0].strip()) or at < 0
            at += starts
            if at > 0 and starts:
                cells = [self.paint(cells[0], outcomes[at - 1]), *cells[1:]]
            said.append("  " + "  ".join(cells))
            if at == 0 and starts:
                said.append("  " + self.signs.rule * (self.cells - 2))
        return [*said, ""]


def short(digest: str) -> str:
    """Return a digest as people compare it: both ends."""
    return digest if len(digest) <= 16 else f"{digest[:8]}…{digest[-4:]}"


def _head(measure: str) -> str:
    key = f"terminal.head.{measure}"
    return text(key) if has_text(key) else measure_name(measure, short=True)


def _figure(row: LimitRow | None, frame: Frame) -> str:
    if row is None:
        return NO_NUMBER
    figure = row.form.figure(row.decision.value)
    return figure if frame.belongs(row) else row.form.with_unit(figure)


def _step(step: NextStep) -> str:
    """Return a next step with its chance and cost in one line."""
    more = besides(step)
    said = phrase(step.phrase)
    return text("clause.aside", said=said, aside=more) if more else said
