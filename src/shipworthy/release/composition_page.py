"""The composition of a file as a page, for the terminal and HTML."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator

from shipworthy.core.locale import NO_NUMBER, number
from shipworthy.core.records import Outcome
from shipworthy.measure.contrasts import GroupShare
from shipworthy.release.composition import Composed, Needed
from shipworthy.release.composition_cells import (
    contrasts,
    ends,
    group_name,
    heads,
    mark,
    p_value,
    per_cent,
    tables_by_group,
)
from shipworthy.release.composition_guesses import (
    agreement_part,
    governance_part,
    lengths_part,
    noise_part,
    proxies_part,
    scripts_part,
)
from shipworthy.release.display import text
from shipworthy.release.evidence import percent
from shipworthy.release.plain_page import Cell, Head, Mark, Page, Part, Table


def page(composed: Composed) -> Page:
    """Return the document of a file's composition."""
    parts = (
        _groups(composed), _enough(composed), _labels(composed), _missing(composed),
        _repeats(composed), noise_part(composed), agreement_part(composed), proxies_part(composed),
        lengths_part(composed), scripts_part(composed), governance_part(composed),
    )  # fmt: skip
    return Page(
        title=text("composition.title"),
        subject=composed.file or text("standards.frame"),
        sentences=tuple(_sentences(composed)),
        facts=tuple(_facts(composed)),
        parts=tuple(p for p in parts if p is not None),
    )


def _tests(composed: Composed) -> Iterator[Outcome]:
    found = composed.found
    for shares in found.groups:
        yield from (g.answer for g in shares.groups if g.answer is not None)
    for some in (
        found.labels, found.missing_by_group, found.repeats_by_group, found.noise.by_group,
        found.scripts_by_group,
    ):  # fmt: skip
        yield from (c.answer for one in some for c in one.contrasts)
    yield from (a.found.answer for a in found.proxies if a.found is not None)


def _sentences(composed: Composed) -> Iterator[str]:
    counted = Counter(_tests(composed))
    margin = f"{100 * composed.found.roles.margin:g}"
    if counted:
        yield text(
            "composition.tests", margin=margin,
            passed=number(counted[Outcome.PASS]), failed=number(counted[Outcome.FAIL]),
            open=number(counted[Outcome.CANNOT_TELL]),
        )  # fmt: skip
    if not composed.found.roles.groups:
        yield text("composition.no_groups")
    if composed.found.roles.unit is None:
        yield text("judge.note.independent")


def _facts(composed: Composed) -> Iterator[tuple[str, str]]:
    found = composed.found
    comma = text("report.list_comma")
    yield text("composition.fact.rows"), number(found.rows)
    if found.splits:
        said = comma.join(f"{name} {number(rows)}" for name, rows in found.splits.items())
        yield text("composition.fact.splits"), said
    if found.classes:
        listed = list(found.classes.items())[:10]
        said = comma.join(f"{name} {number(rows)}" for name, rows in listed)
        yield text("composition.fact.classes"), said
    if composed.reference is not None and composed.reference.source:
        yield text("composition.fact.reference"), composed.reference.source


def _groups(composed: Composed) -> Part | None:
    found = composed.found
    if not found.groups:
        return None
    confidence = percent(found.roles.confidence)
    tables, notes = [], []
    for one in found.groups:
        declared = not all(math.isnan(g.declared) for g in one.groups)
        keys = [("group", "m"), ("rows", "n"), ("share", "n"), ("interval", "n")]
        if declared:
            keys = [("answer", "t"), *keys, ("declared", "n"), ("p", "n"), ("needed", "n")]
        rows = tuple(_group_row(g, declared) for g in one.groups)
        caption = one.column
        if declared:
            caption = text(
                "composition.groups.caption", column=one.column, p=p_value(one.p),
                method=text(f"composition.method.{one.method}") if one.method else NO_NUMBER,
                expected=number(one.least_expected, 1),
            )  # fmt: skip
        tables.append(Table(heads(*keys, confidence=confidence), rows, caption))
        if one.missing:
            notes.append(
                text("composition.groups.missing", column=one.column, rows=number(one.missing))
            )
        if one.undeclared:
            notes.append(
                text(
                    "composition.groups.undeclared", column=one.column, rows=number(one.undeclared)
                )
            )
        if len(one.groups) < 2:
            notes.append(text("composition.groups.one", column=one.column))
    sentence = text(
        "composition.groups.declared"
        if composed.reference
        else "composition.groups.undeclared_all",
        margin=f"{100 * found.roles.margin:g}",
    )
    return Part(text("composition.groups.heading"), (sentence,), tuple(tables), tuple(notes))


def _group_row(g: GroupShare, declared: bool) -> tuple[Cell, ...]:
    own: tuple[Cell, ...] = (
        group_name(g.group), number(g.rows), per_cent(g.share), ends(g.low, g.high),
    )  # fmt: skip
    if not declared:
        return own
    needed = number(g.needed) if math.isfinite(g.needed) else NO_NUMBER
    return (mark(g.answer, g.reason), *own, per_cent(g.declared), p_value(g.p), needed)


def _enough(composed: Composed) -> Part | None:
    found = composed.found
    if not found.groups:
        return None
    head = (
        *heads(("column", "m"), ("group", "m"), ("rows", "n")),
        *(
            Head(text("composition.head.margin", margin=f"{100 * n.margin:g}"), "text")
            for n in composed.needed
        ),
    )
    rows: tuple[tuple[Cell, ...], ...] = tuple(
        (
            one.column,
            group_name(g.group),
            number(g.rows),
            *(_bears(g.rows, n) for n in composed.needed),
        )
        for one in found.groups
        for g in one.groups
    )
    comma = text("composition.semicolon")
    told = comma.join(
        text(
            "composition.enough.margin", margin=f"{100 * n.margin:g}", least=number(n.least),
            typical=number(n.typical),
        )
        for n in composed.needed
    )  # fmt: skip
    return Part(
        text("composition.enough.heading"),
        (text("composition.enough.what", told=told),),
        (Table(head, rows),),
    )


def _bears(rows: int, needed: Needed) -> Mark:
    if rows < needed.least:
        return Mark(Outcome.FAIL)
    return Mark(Outcome.PASS if rows >= needed.typical else Outcome.CANNOT_TELL)


def _labels(composed: Composed) -> Part | None:
    found = composed.found
    if not found.labels:
        return None
    sentence = text("composition.labels.what", margin=f"{100 * found.roles.margin:g}")
    tables = tuple(contrasts(composed, one) for one in found.labels)
    return Part(text("composition.labels.heading"), (sentence,), tables)


def _missing(composed: Composed) -> Part:
    found = composed.found
    heading = text("composition.missing.heading")
    if not found.missing:
        return Part(heading, (text("composition.missing.none"),))
    head = heads(("column", "m"), ("rows", "n"), ("share", "n"))
    rows = tuple((m.column, number(m.rows), per_cent(m.share, 2)) for m in found.missing)
    tables, left = tables_by_group(composed, found.missing_by_group)
    notes = (text("composition.left_out", count=left),) if left else ()
    return Part(
        heading,
        (text("composition.missing.what", margin=f"{100 * found.roles.margin:g}"),),
        (Table(head, rows), *tables),
        notes,
    )


def _repeats(composed: Composed) -> Part:
    found, roles = composed.found, composed.found.roles
    masks = {"equal": found.repeats.equal}
    if roles.text is not None and roles.similarity < 1:
        masks["alike"] = found.repeats.alike
    masks["later"] = found.repeats.later
    if roles.split is not None:
        masks["leaking"] = found.repeats.leaking
    if roles.label is not None:
        masks["conflicting"] = found.repeats.conflicting
    rows = tuple(
        (text(f"composition.repeats.{name}"), number(int(m.sum())), per_cent(float(m.mean()), 2))
        for name, m in masks.items()
    )
    what = "composition.repeats.rows"
    if roles.text is not None:
        what = "composition.repeats.text"
    sentence = text(what, similarity=f"{roles.similarity:g}")
    some = [b for b in found.repeats_by_group if found.repeats.alike.any()]
    tables, _ = tables_by_group(composed, some)
    head = heads(("what", "m"), ("rows", "n"), ("share", "n"))
    return Part(text("composition.repeats.heading"), (sentence,), (Table(head, rows), *tables))
