"""What the verb `next` says: lines for people, one document for programs."""

from __future__ import annotations

import math
from typing import Any

from shipworthy.core.locale import number
from shipworthy.core.records import Slice
from shipworthy.release.display import text
from shipworthy.release.documents import step_document
from shipworthy.release.next_run import Found, named
from shipworthy.release.next_words import besides, figure, said, told
from shipworthy.release.nulls import to_null
from shipworthy.release.sensitivity import Look, Part
from shipworthy.release.wording import phrase


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
        "layers": [_document(look) for look in found.looks],
    }


def _look(look: Look) -> list[str]:
    worst = look.decisions[0]
    words: dict[str, Any] = told(look.candidate.name, worst)
    words["now"] = figure(worst, look.now, math.nan, math.nan)
    shown = [phrase(said("next.parts.heading", words)), *_steps(look)]
    for part in look.tried:
        value = figure(worst, part.back, part.low, part.high)
        line = text(
            f"next.parts.line.{'nearer' if part.nearer >= 0 else 'further'}",
            part=phrase(named(part.parts)),
            value=value if isinstance(value, str) else phrase(value),
            share=number(100 * abs(part.nearer)),
        )
        if abs(part.mb) >= 0.05:
            line += text("next.parts.mb", mb=number(part.mb, 1, sign=True))
        shown.append(f"  {line}")
    return shown


def _steps(look: Look) -> list[str]:
    """Say what each step of a recipe of several leaves, and which one parts were spared by."""
    shown = []
    for step in look.steps:
        value = figure(look.decisions[0], step.now, math.nan, math.nan)
        line = text(
            f"next.steps.line.{'further' if step.further >= 0 else 'nearer'}",
            step=step.name,
            value=value if isinstance(value, str) else phrase(value),
            nats=number(abs(step.further), 4),
        )
        shown.append(f"  {line}")
    most = look.costliest
    if most is not None:
        if not most.spares:
            key = "one_width" if most.kind == "neurons" else "whole"
            shown.append("  " + text(f"next.steps.{key}", step=most.kind))
        if look.tried:
            shown.append("  " + text("next.steps.spared", step=look.steps[look.at].kind))
    return shown


def _document(look: Look) -> dict[str, Any]:
    worst = look.decisions[0]
    return {
        "candidate": look.candidate.id,
        "candidate_name": look.candidate.name,
        "measure": worst.measure,
        "slice": dict(Slice.parse(worst.slice).conditions),
        "relative_to": worst.relative_to,
        "value": to_null(look.now),
        "steps": [
            {
                "recipe": step.name,
                "step": step.kind,
                "value": to_null(step.now),
                "further": to_null(step.further),
                "spares": step.spares,
            }
            for step in look.steps
        ],
        "spared_by": look.at,
        "seconds": look.spent,
        "parts": [_part(part) for part in look.tried],
        "proposal": None if look.proposal is None else _part(look.proposal),
        "left": look.left,
    }


def _part(part: Part) -> dict[str, Any]:
    from shipworthy.compress.recipes import written

    return {
        "parts": list(part.parts),
        "recipe": written(part.recipe),
        "back": {"value": to_null(part.back), "low": to_null(part.low), "high": to_null(part.high)},
        "nearer": to_null(part.nearer),
        "mb": to_null(part.mb),
        "p95_ms": to_null(part.ms),
        "seconds": to_null(part.seconds),
        "pass_probability": to_null(part.chance),
    }
