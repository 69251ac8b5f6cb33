"""What a look into the layers found, as a document for programs and as lines for people.

The lines are written from the document, so that a search that was kept on disk can say them too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from shipworthy.core.locale import number
from shipworthy.core.records import Slice
from shipworthy.release.display import text
from shipworthy.release.judgement import Phrase
from shipworthy.release.next_words import figure_in
from shipworthy.release.nulls import from_null, interval, to_null
from shipworthy.release.wording import phrase

if TYPE_CHECKING:
    from shipworthy.release.display import Shown
    from shipworthy.release.sensitivity import Look, Part


def look_document(look: Look) -> dict[str, Any]:
    """Return a look as JSON values; what is not known is null."""
    worst = look.decisions[0]
    return {
        "candidate": look.candidate.id,
        "candidate_name": look.candidate.name,
        "measure": worst.measure,
        "slice": dict(Slice.parse(worst.slice).conditions),
        "relative_to": worst.relative_to,
        "value": to_null(look.now),
        "value_unit": worst.value_unit,
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


def step_lines(told: Mapping[str, Any], form: Shown) -> list[str]:
    """Say what each step of a recipe of several leaves, and where the costliest can spare none.

    told: as `look_document` gives it; form: of its measure.
    """
    steps, shown = told["steps"], []
    for step in steps:
        way = "further" if from_null(step["further"]) >= 0 else "nearer"
        shown.append(
            text(
                f"next.steps.line.{way}",
                step=step["recipe"],
                value=_figure(form, step["value"]),
                nats=number(abs(from_null(step["further"])), 4),
            )
        )
    if steps:
        most = max(steps, key=lambda step: from_null(step["further"]))
        if not most["spares"]:
            why = "one_width" if most["step"] == "neurons" else "whole"
            shown.append(text(f"next.steps.{why}", step=most["step"]))
    return shown


def part_lines(told: Mapping[str, Any], form: Shown) -> list[str]:
    """Say what each part gives back, the best first, and which step spared it.

    told, form: as of `step_lines`.
    """
    shown = []
    if told["steps"] and told["parts"]:
        shown.append(text("next.steps.spared", step=told["steps"][told["spared_by"]]["step"]))
    for part in told["parts"]:
        nearer, mb = from_null(part["nearer"]), from_null(part["mb"])
        line = text(
            f"next.parts.line.{'nearer' if nearer >= 0 else 'further'}",
            part=phrase(named(tuple(part["parts"]))),
            value=_back(form, part),
            share=number(100 * abs(nearer)),
        )
        if abs(mb) >= 0.05:
            line += text("next.parts.mb", mb=number(mb, 1, sign=True))
        shown.append(line)
    return shown


def _back(form: Shown, part: Mapping[str, Any]) -> str:
    back = part["back"]
    return _figure(form, back["value"], back["low"], back["high"])


def _figure(
    form: Shown, value: float | None, low: float | None = None, high: float | None = None
) -> str:
    found = figure_in(form, from_null(value), from_null(low), from_null(high))
    return found if isinstance(found, str) else phrase(found)


def named(parts: tuple[Any, ...]) -> Phrase:
    """Return parts of a model in words, one phrase inside the other."""
    each = [
        Phrase("next.part.embeddings")
        if part == "embeddings"
        else Phrase("next.part.block", {"number": part})
        for part in parts
    ]
    joined = each[0]
    for one in each[1:]:
        joined = Phrase("next.part.both", {"first": joined, "second": one})
    return joined


def _part(part: Part) -> dict[str, Any]:
    from shipworthy.compress.recipes import written

    return {
        "parts": list(part.parts),
        "recipe": written(part.recipe),
        "back": interval(part.back, part.low, part.high),
        "nearer": to_null(part.nearer),
        "mb": to_null(part.mb),
        "p95_ms": to_null(part.ms),
        "seconds": to_null(part.seconds),
        "pass_probability": to_null(part.chance),
    }
