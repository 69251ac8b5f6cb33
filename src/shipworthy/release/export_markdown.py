"""A judgement as Markdown for a pull request: verdict, limits, candidates, what to do next.

At most 60 kB, below what a comment and a job summary may hold; names in it neither link nor mention
anybody.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from shipworthy.core.locale import NO_NUMBER, number
from shipworthy.core.records import Answer
from shipworthy.release.candidates import COSTS, QUALITY
from shipworthy.release.display import capital, measure_name, shown, text
from shipworthy.release.evidence import percent
from shipworthy.release.exports import STATUS_WORDS, Case, cases, explanation, surveyed, title
from shipworthy.release.load import Run
from shipworthy.release.markdown_table import inert, markdown_table
from shipworthy.release.record import REPORT
from shipworthy.release.standing import Survey
from shipworthy.release.summary import headline, why
from shipworthy.release.terminal import short
from shipworthy.release.wording import answer_word, outcome_word, phrase

MOST_BYTES = 60_000
MOST_OPEN = 40
"""Cases that are listed; the others are counted."""

_MARKS = {Answer.SHIP: "✅", Answer.HOLD: "⛔", Answer.UNDECIDED: "❔"}


def to_markdown(run: Run) -> str:
    """Return the summary of a run, at most `MOST_BYTES` long."""
    asked = surveyed(run)
    parts = list(_parts(asked, run))
    for most in (MOST_OPEN, 15, 5, 0):
        page = "\n\n".join([*parts[:2], *_open(asked, most), *parts[2:]]) + "\n"
        if len(page.encode()) <= MOST_BYTES:
            return page
    # Names alone can be longer than any page: cut at a line, and say so.
    cut = page.encode()[: MOST_BYTES - 200].decode(errors="ignore").rpartition("\n")[0]
    return f"{cut}\n\n{inert(text('exports.cut'))}\n"


def _parts(asked: Survey, run: Run) -> Iterator[str]:
    judgement, first = asked.judgement, headline(asked)
    mark = _MARKS[judgement.answer]
    name = f" – {inert(first.name)}" if first.name else ""
    yield "## " + text(
        "clause.about", subject=f"{mark} {inert(judgement.name)}", said=f"{inert(first.word)}{name}"
    )
    yield "\n".join(inert(s) for s in (*_waivers(asked), *first.sentences)) or NO_NUMBER
    yield _candidates(asked)
    steps = [phrase(s.phrase) for s in judgement.next_steps]
    yield from _list(text("report.next.heading"), steps)
    yield from _list(text("report.notes.heading"), [phrase(p) for p in judgement.notes])
    yield from _list(
        text("report.not_measured.heading"), [phrase(p) for p in judgement.not_measured]
    )
    yield _foot(asked, run)


def _waivers(asked: Survey) -> list[str]:
    return list(dict.fromkeys(c.why for c in cases(asked) if c.waiver is not None))


def _candidates(asked: Survey) -> str:
    quality = next((m for m in QUALITY if asked.measured(m)), None)
    measures = [m for m in COSTS if asked.measured(m)] + ([quality] if quality else [])
    head = [text("report.head.verdict"), text("report.head.candidate")]
    head += [_column(m) for m in measures]
    rows = [[text("report.parent"), inert(asked.judgement.parent.name),
             *_figures(asked, asked.judgement.parent.id, measures), ""]]  # fmt: skip
    for candidate in asked.ordered:
        named = asked.named is not None and candidate.id == asked.named.id
        name = f"**{inert(candidate.name)}**" if named else inert(candidate.name)
        found = _figures(asked, candidate.id, measures)
        rows.append(
            [outcome_word(asked.outcome(candidate.id)), name, *found, inert(why(asked, candidate))]
        )
    return markdown_table([*head, text("report.head.decided")], rows)


def _column(measure: str) -> str:
    name, unit = capital(measure_name(measure, short=True)), shown(measure).unit_text
    return text("report.column", name=name, unit=unit) if unit else name


def _figures(asked: Survey, candidate: str, measures: Sequence[str]) -> list[str]:
    found = [asked.number(candidate, m) for m in measures]
    return [
        NO_NUMBER if f is None else shown(m).figure(f.value)
        for m, f in zip(measures, found, strict=True)
    ]


def _open(asked: Survey, most: int) -> Iterator[str]:
    """Yield what is not inside its limit, then how many cases there are of each kind."""
    everything = list(cases(asked))
    order = {"fail": 0, "undecided": 1, "skipped": 2}
    listed = sorted((c for c in everything if c.status in order), key=lambda c: order[c.status])
    head = [text("report.head.verdict"), text("report.head.candidate"),
            text("report.head.limit"), text("exports.head.found"),
            text("report.head.owner")]  # fmt: skip
    rows = [_row(asked, c) for c in listed[:most]]
    if rows:
        yield markdown_table(head, rows)
    counts = {s: sum(c.status == s for c in everything) for s in STATUS_WORDS}
    told = [text("report.limit.slices", count=number(n), outcome=STATUS_WORDS[s]())
            for s, n in counts.items() if n]  # fmt: skip
    if len(listed) > len(rows):
        told.append(text("exports.not_listed", count=number(len(listed) - len(rows))))
    if told:
        yield inert(text("exports.counts", counts=text("report.list_comma").join(told)))


def _row(asked: Survey, case: Case) -> list[str]:
    return [
        STATUS_WORDS[case.status](),
        inert(case.candidate.name),
        inert(title(asked, case)),
        inert(explanation(case)),
        inert(case.limit.owner),
    ]


def _list(heading: str, told: Sequence[str]) -> Iterator[str]:
    if told:
        yield "\n".join([f"**{inert(heading)}**", "", *(f"- {inert(t)}" for t in told)])


def _foot(asked: Survey, run: Run) -> str:
    judgement, named = asked.judgement, asked.named
    parts = [text("exports.run", run=judgement.run, answer=answer_word(judgement.answer))]
    if named is not None and named.artefact_digest:
        parts.append(text("terminal.artefact", digest=short(named.artefact_digest)))
    digests = [d for d in judgement.measurements["data_digest"].to_list() if d]
    if digests:
        parts.append(text("terminal.data", digest=short(digests[0])))
    parts.append(text("terminal.opening", opening=number(judgement.opening)))
    parts.append(text("exports.confidence", confidence=percent(judgement.confidence)))
    said = inert(text("report.dot").join(parts))
    return f"<sub>{said} · [{inert(text('terminal.report'))}]({_link(run)})</sub>"


def _link(run: Run) -> str:
    from urllib.parse import quote

    return quote((run.folder / REPORT).as_posix())
