"""What tables of a data set's composition share: heads, figures, groups against the rest."""

from __future__ import annotations

import math
from collections.abc import Sequence

from shipworthy.core.locale import NO_NUMBER, has_text, number
from shipworthy.core.records import Outcome
from shipworthy.measure.composition_roles import ByGroup
from shipworthy.measure.contrasts import Contrast
from shipworthy.release.composition import Composed
from shipworthy.release.display import text
from shipworthy.release.evidence import percent
from shipworthy.release.plain_page import Cell, Head, Mark, Table

MOST_CALM = 3
"""Tables by group in which no group fails and that are shown all the same."""

_KINDS = {"n": "number", "t": "text", "m": "name"}


def heads(*keys: tuple[str, str], confidence: str = "") -> tuple[Head, ...]:
    """Return heads of columns by their keys, each with n (number), t (text) or m (name)."""
    return tuple(
        Head(text(f"composition.head.{key}", confidence=confidence), _KINDS[kind])  # type: ignore[arg-type]
        for key, kind in keys
    )


def per_cent(value: float, decimals: int = 1) -> str:
    """Return a share as a number of per cent; a dash for NaN."""
    return NO_NUMBER if math.isnan(value) else number(100 * value, decimals)


def ends(low: float, high: float, decimals: int = 1, factor: float = 100.0) -> str:
    """Return both ends of an interval; a dash for NaN."""
    if math.isnan(low) or math.isnan(high):
        return NO_NUMBER
    return f"[{number(factor * low, decimals)}, {number(factor * high, decimals)}]"


def p_value(p: float) -> str:
    """Return a p-value with three decimals, or that it is below them."""
    if math.isnan(p):
        return NO_NUMBER
    return "< 0.001" if p < 0.001 else number(p, 3)


def group_name(group: str) -> str:
    """Return the name of a group, and words where its value is missing."""
    return group or text("report.missing_value")


def mark(answer: Outcome | None, reason: str) -> Cell:
    """Return an answer with its reason, where that says more than the answer."""
    if answer is None:
        return NO_NUMBER
    known = reason and reason != "across_bound" and has_text(f"report.reason.{reason}")
    return Mark(answer, text(f"report.reason.{reason}") if known else "")


def contrasts(composed: Composed, one: ByGroup) -> Table:
    """Return the groups of one column against the rest."""
    confidence = percent(composed.found.roles.confidence)
    head = heads(
        ("answer", "t"), ("group", "m"), ("rows", "n"), ("share", "n"), ("rest", "n"),
        ("difference", "n"), ("interval", "n"), ("p", "n"), confidence=confidence,
    )  # fmt: skip
    caption = one.column
    if one.subject:
        caption = text("composition.by_group", column=one.column, subject=one.subject)
    return Table(head, tuple(_contrast(c) for c in one.contrasts), caption)


def _contrast(c: Contrast) -> tuple[Cell, ...]:
    difference = NO_NUMBER if math.isnan(c.difference) else number(100 * c.difference, 1, sign=True)
    return (
        mark(c.answer, c.reason), group_name(c.group), number(c.rows), per_cent(c.share),
        per_cent(c.rest), difference, ends(c.low, c.high), p_value(c.p),
    )  # fmt: skip


def tables_by_group(composed: Composed, some: Sequence[ByGroup]) -> tuple[tuple[Table, ...], int]:
    """Return tables where a group fails, and the first of the others; and how many are left out."""
    loud = [b for b in some if any(c.answer is Outcome.FAIL for c in b.contrasts)]
    calm = [b for b in some if b not in loud]
    shown = [*loud, *calm[:MOST_CALM]]
    return tuple(contrasts(composed, b) for b in shown), len(some) - len(shown)
