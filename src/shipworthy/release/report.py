"""report.html: one self-contained page that holds without script, network or fonts of its own.

Read in this order: the verdict and why, the limits of the named candidate, all candidates, the
change of each group, the frontier, what was not measured, and the evidence.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC
from pathlib import Path
from typing import Any

from markupsafe import Markup

from shipworthy.core.files import write_atomically
from shipworthy.core.locale import language as current_language
from shipworthy.core.locale import number, set_language, text
from shipworthy.core.records import Answer, Outcome
from shipworthy.release import charts
from shipworthy.release.approval_rows import approval_rows
from shipworthy.release.candidates import candidates_table
from shipworthy.release.evidence import evidence, percent
from shipworthy.release.example_rows import example_rows
from shipworthy.release.forgotten_section import forgotten_section
from shipworthy.release.headings import candidates_heading
from shipworthy.release.judgement import Judgement
from shipworthy.release.levelling import levelling_lines
from shipworthy.release.limit_rows import LimitRow
from shipworthy.release.next_words import besides
from shipworthy.release.panels import frontier_section, groups
from shipworthy.release.search_rows import is_search_note, search_section
from shipworthy.release.sections import counts, every_limit, icon_of, limits_table, tone
from shipworthy.release.standing import Survey, survey
from shipworthy.release.summary import headline
from shipworthy.release.templating import environment
from shipworthy.release.training_section import training_section
from shipworthy.release.wording import phrase

LANGUAGE_TAGS = {"en": "en", "zh": "zh-Hans"}
_OUTCOMES = {
    Answer.SHIP: Outcome.PASS,
    Answer.HOLD: Outcome.FAIL,
    Answer.UNDECIDED: Outcome.CANNOT_TELL,
}


def write_report(judgement: Judgement, path: Path, *, language: str | None = None) -> Path:
    """Write the report of a judgement as one HTML file and return its path.

    language: `en` or `zh`; None takes the one in use. The file is replaced whole or not at all.
    Raises SettingsError for a language without texts.
    """
    write_atomically(path, render_report(judgement, language=language))
    return path


def render_report(judgement: Judgement, *, language: str | None = None) -> str:
    """Return the report as text; see `write_report`."""
    before = current_language()
    if language is not None and language != before:
        set_language(language)
    try:
        asked = survey(judgement)
        template = environment().get_template("report.html.jinja")
        page: str = template.render(_context(asked))
    finally:
        if current_language() != before:
            set_language(before)
    return page


def _context(asked: Survey) -> dict[str, Any]:
    judgement, named = asked.judgement, asked.named
    outcome = _OUTCOMES[judgement.answer]
    confidence = percent(judgement.confidence)
    limits = [] if named is None else limits_table(asked, named)
    rows = () if named is None else asked.rows[named.id]
    return {
        "t": text,
        "number": number,
        "lang": LANGUAGE_TAGS[current_language()],
        "judgement": judgement,
        "date": _date(judgement),
        "kind": text(f"report.kind.{judgement.kind}"),
        "headline": headline(asked),
        "tone": tone(outcome),
        "icon": icon_of(outcome, 64),
        "counts": counts(asked),
        "approvals": approval_rows(asked),
        "named": named,
        "limits": limits,
        "owners": any(line.owner for line in limits),
        "limit_words": _gauge_words(rows),
        "candidates_heading": candidates_heading(asked),
        "candidates": candidates_table(asked),
        "groups": groups(asked),
        "examples": example_rows(asked),
        "forgotten": forgotten_section(asked),
        "panel_height": charts.PANEL_ROW,
        "frontier": frontier_section(asked),
        "search": search_section(judgement.search),
        "training": training_section(judgement.training),
        "every": every_limit(asked) if len(judgement.candidates) > 1 else [],
        "not_measured": [phrase(p) for p in judgement.not_measured],
        "next_steps": [(phrase(s.phrase), besides(s)) for s in judgement.next_steps],
        "notes": [
            *levelling_lines(asked),
            # The search has a section of its own on this page.
            *(phrase(p) for p in judgement.notes if not (judgement.search and is_search_note(p))),
        ],
        "evidence": evidence(asked),
        "confidence": confidence,
    }


def _gauge_words(rows: Sequence[LimitRow]) -> Markup:
    """Return the words above the gauges; "parent" only where some row has its line."""
    has_parent = any(r.known and not math.isnan(r.parent) for r in rows)
    return Markup(
        charts.words(charts.GAUGE_LIMIT, parent=charts.GAUGE_PARENT if has_parent else None)
    )


def _date(judgement: Judgement) -> str:
    at = judgement.created.astimezone(UTC)
    month = text(f"report.month.{at.month}")
    return text("report.date", day=at.day, month=month, year=at.year, time=f"{at:%H:%M}")
