"""What the verb `next` says: lines for people, one document for programs."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from shipworthy.release.display import text
from shipworthy.release.documents import step_document
from shipworthy.release.limit_rows import form_of
from shipworthy.release.look_shown import look_document, part_lines, step_lines
from shipworthy.release.next_words import besides, figure, said, told
from shipworthy.release.wording import phrase

if TYPE_CHECKING:
    from shipworthy.release.next_run import Found
    from shipworthy.release.sensitivity import Look


def lines(found: Found, *, run: str, minutes: float) -> list[str]:
    """Return the steps, lowest cost for the chance first, and what each part gives back."""
    shown = []
    for place, step in enumerate(found.steps, start=1):
        shown.append(f"{place}. {phrase(step.phrase)}")
        if besides(step):
            shown.append(f"   {besides(step)}")
    if not shown:
        shown.append(text("next.none"))
    for look in found.looks:
        shown += ["", *_look(look)]
        if look.left:
            more = {"count": look.left, "run": run, "minutes": f"{minutes:g}"}
            shown.append(text("next.parts.more", **more))
    return shown


def to_json(found: Found) -> dict[str, Any]:
    """Return the document; shares are in [0, 1], what is not known is null."""
    return {
        "run": found.judgement.run,
        "verdict": found.judgement.answer.value,
        "next": [step_document(step) for step in found.steps],
        "layers": [look_document(look) for look in found.looks],
    }


def _look(look: Look) -> list[str]:
    worst = look.decisions[0]
    words: dict[str, Any] = told(look.candidate.name, worst)
    words["now"] = figure(worst, look.now, math.nan, math.nan)
    document, form = look_document(look), form_of(worst)
    blocks = [
        ("next.steps.heading", step_lines(document, form)),
        ("next.parts.heading", part_lines(document, form)),
    ]
    return [
        line
        for key, lines in blocks
        if lines
        for line in (phrase(said(key, words)), *(f"  {one}" for one in lines))
    ]
