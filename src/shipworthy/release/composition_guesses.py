"""Sections of a data set's composition on labels, annotators, stand-ins, texts and governance."""

from __future__ import annotations

import math

from shipworthy.core.locale import NO_NUMBER, has_text, number
from shipworthy.release.composition import MOST_SUSPECTS, Composed
from shipworthy.release.composition_cells import (
    ends,
    group_name,
    heads,
    mark,
    per_cent,
    tables_by_group,
)
from shipworthy.release.display import text
from shipworthy.release.evidence import percent
from shipworthy.release.plain_page import Part, Table

MOST_IMPORTANT = 5
"""Columns that stand in for an attribute and are listed."""


def noise_part(composed: Composed) -> Part | None:
    """Return what is said of labels that are probably wrong."""
    noise = composed.found.noise
    if composed.found.roles.label is None:
        return None
    heading = text("composition.noise.heading")
    if noise.found is None:
        return Part(heading, (text(f"composition.why.{noise.reason}"),))
    n = noise.found
    told = {
        "rows": number(noise.rows), "share": per_cent(n.share), "ends": ends(n.low, n.high),
        "flagged": number(int(n.flagged.sum())), "accuracy": per_cent(n.balanced_accuracy),
        "accuracy_ends": ends(n.accuracy_low, n.accuracy_high),
        "chance": per_cent(1 / len(noise.classes)),
    }  # fmt: skip
    key = "composition.noise.found" if n.trusted else "composition.noise.blind"
    head = heads(("row", "n"), ("given", "m"), ("likely", "m"), ("odds", "n"))
    rows = tuple(
        (number(s.row), s.given, s.likely, number(math.exp(min(s.odds, 700)), 0))
        for s in noise.suspects[:MOST_SUSPECTS]
    )
    by_group, _ = tables_by_group(composed, noise.by_group if n.trusted else ())
    tables = (Table(head, rows), *by_group) if rows and n.trusted else by_group
    return Part(heading, (text(key, **told),), tables, (text("composition.noise.note"),))


def agreement_part(composed: Composed) -> Part | None:
    """Return the agreement of annotators."""
    found = composed.found.agreement
    if not found:
        return None
    confidence = percent(composed.found.roles.confidence)
    head = heads(
        ("group", "m"), ("items", "n"), ("judgements", "n"), ("alpha", "n"), ("interval", "n"),
        confidence=confidence,
    )  # fmt: skip
    rows = tuple(
        (
            a.group or text("report.all_rows"), number(a.items), number(a.judgements),
            number(a.alpha, 3), ends(a.low, a.high, 3, 1.0),
        )
        for a in found
    )  # fmt: skip
    return Part(
        text("composition.agreement.heading"),
        (text("composition.agreement.what"),),
        (Table(head, rows),),
    )


def proxies_part(composed: Composed) -> Part | None:
    """Return what stands in for groups."""
    found = composed.found.proxies
    if not found:
        return None
    confidence = percent(composed.found.roles.confidence)
    head = heads(
        ("answer", "t"), ("column", "m"), ("rows", "n"), ("balanced", "n"), ("interval", "n"),
        ("chance", "n"), ("majority", "n"), ("auc", "n"), ("by", "t"), confidence=confidence,
    )  # fmt: skip
    rows, notes = [], []
    for a in found:
        if a.found is None:
            notes.append(
                text(
                    "composition.proxies.not",
                    column=a.column,
                    why=text(f"composition.why.{a.reason}"),
                )
            )
            continue
        p = a.found
        by = text("report.list_comma").join(
            text("composition.proxies.by", column=i.column, loss=number(100 * i.loss, 1))
            for i in p.importances[:MOST_IMPORTANT]
            if i.low > 0
        )
        area = NO_NUMBER
        if not math.isnan(p.auc):
            area = f"{number(p.auc, 3)} {ends(p.auc_low, p.auc_high, 3, 1.0)}"
        rows.append(
            (
                mark(p.answer, p.reason), a.column, number(p.rows), per_cent(p.balanced_accuracy),
                ends(p.low, p.high), per_cent(p.chance), per_cent(p.majority), area,
                by or NO_NUMBER,
            )
        )  # fmt: skip
    what = text("composition.proxies.what", margin=f"{100 * composed.found.roles.margin:g}")
    tables = (Table(head, tuple(rows)),) if rows else ()
    return Part(text("composition.proxies.heading"), (what,), tables, tuple(notes))


def lengths_part(composed: Composed) -> Part | None:
    """Return the lengths of texts."""
    found = composed.found.lengths
    if not found:
        return None
    confidence = percent(composed.found.roles.confidence)
    head = heads(
        ("group", "m"), ("rows", "n"), ("mean", "n"), ("interval", "n"), ("median", "n"),
        ("p95", "n"), confidence=confidence,
    )  # fmt: skip
    tables = []
    for unit in dict.fromkeys(one.unit for one in found):
        rows = tuple(
            (
                _where(one.column, one.group),
                number(one.rows), number(one.mean, 1), ends(one.low, one.high, 1, 1.0),
                number(one.median), number(one.p95),
            )
            for one in found
            if one.unit == unit
        )  # fmt: skip
        tables.append(Table(head, rows, text(f"composition.unit.{unit}")))
    return Part(text("composition.lengths.heading"), (), tuple(tables))


def _where(column: str, group: str) -> str:
    return f"{column} = {group_name(group)}" if column else text("report.all_rows")


def scripts_part(composed: Composed) -> Part | None:
    """Return the scripts of texts."""
    found = composed.found
    if not found.scripts:
        return None
    head = heads(("script", "m"), ("rows", "n"), ("share", "n"))
    rows = tuple(
        (text(f"composition.script.{name}") if has_text(f"composition.script.{name}") else name,
         number(n), per_cent(n / found.rows, 2))
        for name, n in found.scripts.items()
    )  # fmt: skip
    tables, _ = tables_by_group(composed, found.scripts_by_group)
    return Part(
        text("composition.scripts.heading"),
        (text("composition.scripts.what"),),
        (Table(head, rows), *tables),
    )


def governance_part(composed: Composed) -> Part:
    """Return the eight items of Article 10(2)."""
    head = heads(("item", "m"), ("said", "t"))
    rows = tuple(
        (text(f"composition.item.{item}"), said or text("composition.governance.empty"))
        for item, said in composed.governance.items()
    )
    empty = sum(not said for said in composed.governance.values())
    return Part(
        text("composition.governance.heading"),
        (text("composition.governance.what", empty=empty, count=empty),),
        (Table(head, rows),),
    )
