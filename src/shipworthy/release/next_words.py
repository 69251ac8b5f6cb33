"""The words of next steps: what a limit looks at, figures with their unit, what an action costs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

from shipworthy.core.locale import number
from shipworthy.core.records import Decision, Slice
from shipworthy.release.display import Shown, text
from shipworthy.release.judgement import NextStep, Phrase
from shipworthy.release.limit_rows import form_of
from shipworthy.release.wording import about
from shipworthy.release.wording import phrase as rendered

if TYPE_CHECKING:
    from typing import Any


def told(name: str, decision: Decision) -> dict[str, str | Phrase]:
    """Return what the phrases of a step are told; `what` and `where` are for people."""
    found = Slice.parse(decision.slice)
    where: str | Phrase = str(found)
    if found.columns == ("each",):
        where = Phrase("next.where.every", {"column": str(dict(found.conditions)["each"])})
    what = "level" if decision.relative_to == "none" else "change"
    return {
        "candidate": name,
        "measure": decision.measure,
        "slice": str(found),
        "what": Phrase(f"next.what.{what}", {"measure": decision.measure}),
        "where": where,
    }


def said(key: str, words: Mapping[str, Any]) -> Phrase:
    """Return the phrase of a step, in the form for a group where it is about one."""
    grouped = bool(words["slice"]) and key in _OF_ROWS
    return Phrase(f"{key}.group" if grouped else key, words)


_OF_ROWS = (
    "compress.layers.heading", "next.change", "next.keep", "next.keep_none", "next.label",
    "next.label_far", "next.label_least", "next.layers", "next.layers_priced", "next.nearer",
    "next.no_rows", "next.other", "next.parts.heading", "next.repair", "next.share",
    "next.steps.heading", "run.note.search_layers", "run.note.search_missed.at_least",
    "run.note.search_missed.at_most",
)  # fmt: skip


def figure(decision: Decision, value: float, low: float, high: float) -> str | Phrase:
    """Return a value on the scale of a decision, with its interval and unit."""
    return figure_in(form_of(decision), value, low, high)


def figure_in(form: Shown, value: float, low: float, high: float) -> str | Phrase:
    """Return a value in the form of its measure, with its interval and unit."""
    shown = form.figure(value)
    if not (math.isnan(low) or math.isnan(high) or low == high):
        shown = f"{shown} {form.interval(low, high)}"
    return (
        Phrase(f"measure.unit.{form.unit}.with", {"value": shown, "count": 2})
        if form.unit
        else shown
    )


def cost_text(step: NextStep) -> str:
    """Return what a step costs, for people: rows, minutes, megabytes, money; "" where nothing."""
    parts = []
    if step.cost_rows:
        parts.append(text("next.cost.rows", rows=about(step.cost_rows), count=step.cost_rows))
    if step.cost_minutes >= 0.1:
        places = 0 if step.cost_minutes >= 10 else 1
        parts.append(text("next.cost.minutes", minutes=number(step.cost_minutes, places)))
    if step.cost_basis:
        parts.append(price_text(step))
    if not math.isnan(step.cost) and step.cost >= 0.005:
        money = number(step.cost, 2)
        parts.append(f"{money} {step.currency}".rstrip())
    return " · ".join(parts)


def price_text(step: NextStep) -> str:
    """Return megabytes and p95 milliseconds against the candidate, and where they are from."""
    shown = price_words(step.cost_mb, step.cost_ms)
    if shown is None or step.cost_basis == "same_shape":
        return text("next.price.same_shape")
    return text(f"next.price.{step.cost_basis}", price=rendered(shown))


def price_words(mb: float, ms: float) -> Phrase | None:
    """Return a price in megabytes and p95 milliseconds, either left out where it is not known."""
    words = {
        "mb": number(mb, 1, sign=True),
        "ms": number(ms, 1 if abs(ms) >= 1 else 2, sign=True),
    }
    if math.isnan(mb) and math.isnan(ms):
        return None
    if math.isnan(ms):
        return Phrase("next.price.mb", words)
    return Phrase("next.price.ms" if math.isnan(mb) else "next.price.both", words)


def besides(step: NextStep) -> str:
    """Return chance and cost of a step in one line, for people; "" where neither is known."""
    return " · ".join(said for said in (chance_text(step), cost_text(step)) if said)


def chance_text(step: NextStep) -> str:
    """Return how likely a step decides its limit, for people; "" where nobody can say."""
    if not step.probability > 0:
        return ""
    if step.probability == step.pass_probability:
        return text("next.chance.pass", passes=number(100 * step.pass_probability))
    return text(
        "report.next.chance",
        decided=number(100 * step.probability),
        passes=number(100 * step.pass_probability),
    )
