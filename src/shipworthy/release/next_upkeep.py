"""What is left to people: sign-offs that a verdict waits for, waivers that have ended."""

from __future__ import annotations

import math

from shipworthy.core.records import Answer
from shipworthy.release.judgement import Judgement, NextStep, Phrase

_ENDED = "approval.idle.expired"


def upkeep(judgement: Judgement, *, run: str) -> tuple[NextStep, ...]:
    """Return what people have to do for a verdict; nothing where nobody is asked.

    judgement: with its approval; run: the folder, as a command line names it.
    """
    approval = judgement.approval
    if approval is None:
        return ()
    found = []
    best = judgement.best
    if judgement.answer is Answer.SHIP and best is not None:
        for role in approval.missing:
            found.append(_step(best, "next.signoff", role=role, run=run))
        if approval.separated is False:
            found.append(_step(best, "next.second_person", run=run))
    names = {c.name: c.id for c in judgement.candidates}
    for remark in approval.remarks:
        if remark.key == _ENDED:
            owner = names.get(str(remark.arguments["name"]), "")
            found.append(_step(owner, "next.waive_again", run=run, **remark.arguments))
    return tuple(found)


def _step(candidate: str, key: str, **arguments: object) -> NextStep:
    return NextStep(candidate, Phrase(key, arguments), math.nan, math.nan)
