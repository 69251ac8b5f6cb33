"""The forgotten list in words: names of slices, and one line of it for the terminal."""

from __future__ import annotations

from collections.abc import Iterator

from shipworthy.core.locale import has_text, number
from shipworthy.core.records import Slice
from shipworthy.release.display import text
from shipworthy.release.forgotten_records import Forgotten, ForgottenSlice
from shipworthy.release.standing import Survey

MOST_LINES = 3
"""Candidates that the terminal tells of."""


def slice_name(survey: Survey, one: ForgottenSlice) -> str:
    """Return a slice for people, its kind included: `length 1–42`, `words “refund”`."""
    if one.kind == "column":
        label = survey.slice_label(Slice.of({one.column: one.name}))
        return label or text("clause.about", subject=one.column, said=one.name)
    return text(f"forgotten.slice.{one.kind}", name=value_name(one))


def value_name(one: ForgottenSlice) -> str:
    """Return the value of a slice alone; a script by its name for people."""
    key = f"forgotten.script.{one.name}"
    return text(key) if one.kind == "script" and has_text(key) else one.name


def ordered(survey: Survey) -> Iterator[tuple[str, Forgotten]]:
    """Yield name and list of each candidate that has one, the one of the verdict line first."""
    lists = {one.candidate: one for one in survey.judgement.forgotten}
    for candidate in sorted(survey.ordered, key=lambda c: c != survey.named):
        if candidate.id in lists:
            yield candidate.name, lists[candidate.id]


def counted(name: str, one: Forgotten) -> str:
    """Return how many answers turned, and how many slices stand out of those tested."""
    turned = text(
        "forgotten.turned",
        name=name,
        wrong=number(one.turned_wrong),
        right=number(one.turned_right),
    )
    if not one.tested:
        return turned
    found, of = len(one.found), number(one.tested)
    told = text("forgotten.none", of=of)
    if found:
        told = text("forgotten.stand_out", found=number(found), of=of, count=found)
    return text("clause.aside", said=turned, aside=told)


def terminal_lines(survey: Survey) -> list[str]:
    """Return a line for the candidate of the verdict line, and for others with a finding."""
    lines = []
    for name, one in ordered(survey):
        named = survey.named is not None and one.candidate == survey.named.id
        if one.found:
            first = one.found[0]
            where = text(
                "forgotten.most",
                slice=slice_name(survey, first),
                wrong=number(first.turned_wrong),
                n=number(first.n),
            )
            lines.append(text("forgotten.line", said=counted(name, one), where=where))
        elif named and one.turned_wrong:
            lines.append(counted(name, one))
    return lines[:MOST_LINES]
