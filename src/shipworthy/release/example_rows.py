"""The section of the report that shows rows whose answer changed."""

from __future__ import annotations

from dataclasses import dataclass

from markupsafe import Markup

from shipworthy.core.records import Outcome, Slice
from shipworthy.release.display import text
from shipworthy.release.examples import TURNED_RIGHT, TURNED_WRONG
from shipworthy.release.judgement import Example
from shipworthy.release.sections import icon_of
from shipworthy.release.standing import Survey


@dataclass(frozen=True)
class ExampleRow:
    """One row: a sign, a word and a tone for the way it turned, and what may be shown of it."""

    tone: str
    icon: Markup
    word: str
    name: str
    text: str
    groups: str
    label: str
    before: str
    after: str


@dataclass(frozen=True)
class Examples:
    """Rows by candidate, and what a reader must know about them."""

    candidates: tuple[tuple[str, tuple[ExampleRow, ...]], ...]
    under: str
    note: str


def example_rows(survey: Survey) -> Examples | None:
    """Return the rows whose answer changed, by candidate; None where there are none.

    The candidate that the verdict line names comes first.
    """
    found = survey.judgement.examples
    if not found:
        return None
    candidates = tuple(
        (c.name, tuple(_row(survey, one) for one in found if one.candidate == c.id))
        for c in sorted(survey.ordered, key=lambda c: c != survey.named)
        if any(one.candidate == c.id for one in found)
    )
    under = text("examples.under", wrong=str(TURNED_WRONG), right=str(TURNED_RIGHT))
    masked = all(one.masked for one in found)
    return Examples(
        candidates, under, text("examples.note.deidentified" if masked else "examples.note.raw")
    )


def _row(survey: Survey, one: Example) -> ExampleRow:
    right = one.after == one.label
    outcome = Outcome.PASS if right else Outcome.FAIL
    labels = [survey.slice_label(Slice.of({c: v})) or "" for c, v in one.groups.items()]
    return ExampleRow(
        tone=outcome.value,
        icon=icon_of(outcome),
        word=text("examples.right" if right else "examples.wrong"),
        name=one.row,
        text=one.text,
        groups=text("report.dot").join(labels),
        label=one.label,
        before=one.before,
        after=one.after,
    )
