"""Legal standards of a file as a page, for the terminal and HTML, and as one CSV table."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

from shipworthy.core.locale import NO_NUMBER, has_text, number
from shipworthy.core.records import Outcome
from shipworthy.measure.adverse_impact import Deviations, FourFifths
from shipworthy.measure.impact import Impact
from shipworthy.measure.local_law import SMALL_CATEGORY, AuditTable, BiasAudit
from shipworthy.release.display import text
from shipworthy.release.evidence import percent
from shipworthy.release.plain_page import Cell, Head, Mark, Page, Part, Table
from shipworthy.release.standards import DEVIATIONS, FIFTHS, Disparity, Standards

_FORMULA_SIGNS = ("=", "+", "-", "@", "\t", "\r")
"""A cell that begins so is reckoned by a spreadsheet."""


def page(found: Standards) -> Page:
    """Return the document of a file's standards."""
    parts = []
    if found.audit is not None:
        parts += [_law_part(found.audit, t) for t in found.audit.tables]
    if FIFTHS in found.question.standards:
        parts += [_fifths_part(d, found) for d in found.disparities]
    if DEVIATIONS in found.question.standards:
        parts += [_deviations_part(d, found) for d in found.disparities]
    return Page(
        title=text("standards.title"),
        subject=found.file or text("standards.frame"),
        sentences=tuple(_sentences(found)),
        facts=tuple(_facts(found)),
        parts=tuple(_once(parts)),
        notes=(text("standards.no_advice"),),
    )


def _once(parts: Sequence[Part]) -> Iterator[Part]:
    """Yield parts; what was said below or above an earlier one is not said again."""
    told: set[str] = set()
    for part in parts:
        said = {*part.sentences, *part.notes}
        sentences = tuple(s for s in part.sentences if s not in told)
        yield replace(
            part, sentences=sentences, notes=tuple(n for n in part.notes if n not in told)
        )
        # What names people left out belongs to each table.
        told |= {s for s in said if not any(sign.isdigit() for sign in s[:8])}


def _sentences(found: Standards) -> Iterator[str]:
    if found.audit is not None:
        yield text("standards.law.what")
    if FIFTHS in found.question.standards:
        failed = [(d, i) for d in found.disparities for i in d.impacts if i.answer is Outcome.FAIL]
        below = [i for d in found.disparities for i in d.impacts if i.below]
        every = [i for d in found.disparities for i in d.impacts if i.below is not None]
        yield text(
            "standards.fifths.what", below=number(len(below)), of=number(len(every)),
            shown=number(len(failed)),
        )  # fmt: skip


def _facts(found: Standards) -> Iterator[tuple[str, str]]:
    audit, stated = found.audit, found.question.stated
    if audit is not None:
        for key, said in (
            ("date", stated.date), ("distribution", stated.distribution), ("source", stated.source),
        ):  # fmt: skip
            yield text(f"standards.fact.{key}"), said or text("standards.fact.not_stated")
        yield text("standards.fact.form"), text(f"standards.form.{audit.form}")
        if audit.form == "scoring":
            yield text("standards.fact.median"), number(audit.median, 4)
        yield text("standards.fact.assessed"), number(audit.assessed)
        yield text("standards.fact.unknown"), number(audit.unknown)
        if audit.unknown_values:
            yield (
                text("standards.fact.unknown_values"),
                text("report.list_comma").join(audit.unknown_values),
            )
        if audit.justification:
            yield text("standards.fact.justification"), audit.justification
    elif found.rows:
        yield text("standards.fact.assessed"), number(found.rows)
    if found.reference is not None and found.reference.source:
        yield text("standards.fact.population"), found.reference.source


def _share(value: float) -> str:
    return NO_NUMBER if math.isnan(value) else number(100 * value, 1)


def _ends(low: float, high: float, decimals: int, factor: float = 1.0) -> str:
    if math.isnan(low) or math.isnan(high):
        return NO_NUMBER
    return f"[{number(factor * low, decimals)}, {number(factor * high, decimals)}]"


def _name(name: Sequence[str]) -> str:
    return " × ".join(name)


def _ratio(i: Impact) -> str:
    return number(i.ratio, 3)


def _heads(*keys: tuple[str, str], confidence: str) -> tuple[Head, ...]:
    kinds = {"n": "number", "t": "text", "m": "name"}
    return tuple(
        Head(text(f"standards.head.{key}", confidence=confidence), kinds[kind])  # type: ignore[arg-type]
        for key, kind in keys
    )


def _law_part(audit: BiasAudit, t: AuditTable) -> Part:
    confidence = percent(audit.confidence)
    rate = "selection_rate" if audit.form == "selection" else "scoring_rate"
    heads = _heads(
        ("category", "m"), ("assessed", "n"), ("share", "n"),
        ("selected" if audit.form == "selection" else "above", "n"), (rate, "n"),
        ("interval", "n"), ("ratio", "n"), ("interval", "n"), ("remark", "t"),
        confidence=confidence,
    )  # fmt: skip
    rows = tuple(
        (
            _name(i.name), number(i.assessed), _share(i.share), number(i.selected), _share(i.rate),
            _ends(i.low, i.high, 1, 100), _ratio(i), _ends(i.ratio_low, i.ratio_high, 3),
            _law_remark(i),
        )
        for i in t.categories
    )  # fmt: skip
    heading = text(f"standards.law.{t.heading}")
    if t.classified is not None:
        heading = text("standards.law.class", heading=heading, name=t.classified)
    notes = [text("standards.law.unknown", count=t.unknown, rows=number(t.unknown))]
    if t.excluded:
        notes.append(
            text(
                "standards.law.excluded", names=text("report.list_comma").join(
                    _name(i.name) for i in t.excluded),
                share=f"{100 * SMALL_CATEGORY:g}", why=audit.justification,
            )
        )  # fmt: skip
    sentence = text(
        "standards.law.section", section="5-301(b)" if audit.form == "selection" else "5-301(c)"
    )
    return Part(heading, (sentence,), (Table(heads, rows),), tuple(notes))


def _law_remark(i: Impact) -> str:
    if i.excluded:
        return text("standards.remark.excluded")
    if not i.assessed:
        return text("standards.remark.nobody")
    if i.highest:
        return text("standards.remark.highest")
    return text("standards.remark.few") if i.units < 20 else ""


def _line(below: bool | None) -> Cell:
    if below is None:
        return NO_NUMBER
    return text("standards.line.below" if below else "standards.line.not_below")


def _fifths_part(d: Disparity, found: Standards) -> Part:
    confidence = percent(found.question.confidence)
    heading = text("standards.fifths.heading", column=_name(d.columns))
    if d.top is None:
        return Part(heading, (text("standards.fifths.nobody"),))
    others = {f.impact.name: f for f in d.fifths}
    heads = _heads(
        ("tested", "t"), ("category", "m"), ("assessed", "n"), ("selected", "n"),
        ("selection_rate", "n"), ("ratio", "n"), ("interval", "n"), ("line", "t"), ("fisher", "n"),
        ("one", "t"), ("remark", "t"), confidence=confidence,
    )  # fmt: skip
    rows = []
    for i in d.impacts:
        if not i.assessed:
            continue
        f = others.get(i.name)
        assert i.answer is not None
        rows.append(
            (
                Mark(i.answer, _reason(i.reason)), _name(i.name), number(i.assessed),
                number(i.selected), _share(i.rate), _ratio(i),
                _ends(i.ratio_low, i.ratio_high, 3), _line(i.below),
                NO_NUMBER if f is None else _p(f.p), "" if f is None else _one(f),
                text("standards.remark.highest") if f is None else _fifths_remark(f),
            )
        )  # fmt: skip
    notes = [text("standards.fifths.note", confidence=confidence)]
    if d.unknown:
        notes.append(text("standards.left_out", rows=number(d.unknown)))
    if found.question.unit is not None:
        notes.append(text("standards.unit_note", unit=found.question.unit))
    return Part(heading, (text("standards.fifths.rule"),), (Table(heads, tuple(rows)),),
                tuple(notes))  # fmt: skip


def _reason(reason: str) -> str:
    # An interval across the line needs no words beside "cannot tell".
    if reason in ("", "across_bound"):
        return ""
    key = f"standards.reason.{reason}"
    return text(key) if has_text(key) else text(f"report.reason.{reason}")


def _one(f: FourFifths) -> str:
    if f.turns:
        return text("standards.one.turns")
    if f.short:
        return text("standards.one.short", count=f.short, more=number(f.short))
    return text("standards.one.stays")


def _fifths_remark(f: FourFifths) -> str:
    said = [text(f"standards.note.{note}") for note in f.notes]
    if f.reversed:
        said.append(text("standards.note.reversed"))
    return text("standards.note.join").join(said)


def _p(p: float) -> str:
    if math.isnan(p):
        return NO_NUMBER
    return "< 0.001" if p < 0.001 else number(p, 3)


def _deviations_part(d: Disparity, found: Standards) -> Part:
    confidence = percent(found.question.confidence)
    binomial = bool(d.deviations) and d.deviations[0].model == "binomial"
    heads = _heads(
        ("tested", "t"), ("category", "m"), ("assessed", "n"),
        ("population" if binomial else "pool", "n"), ("selected", "n"), ("expected", "n"),
        ("sd", "n"), ("deviations", "n"), ("sd_line", "t"), ("exact", "n"),
        confidence=confidence,
    )  # fmt: skip
    rows = tuple(
        (
            Mark(v.answer), _name(v.name), number(v.assessed), _share(v.share), number(v.selected),
            number(v.expected, 1), number(v.standard_deviation, 2),
            number(v.deviations, 2, sign=True), _sd_line(v), _p(v.p),
        )
        for v in d.deviations
    )  # fmt: skip
    model = "binomial" if binomial else "hypergeometric"
    return Part(
        text("standards.sd.heading", column=_name(d.columns)),
        (text(f"standards.sd.{model}"),),
        (Table(heads, rows),),
        (text("standards.sd.note", alpha=f"{(1 - found.question.confidence) / 2:g}"),),
    )


def _sd_line(v: Deviations) -> str:
    if math.isnan(v.deviations):
        return NO_NUMBER
    if v.beyond_three:
        return text("standards.sd.three")
    return text("standards.sd.two" if v.beyond_two else "standards.sd.within")


CSV_HEAD = (
    "standard", "table", "classified", "category", "assessed", "selected", "share_of_assessed",
    "rate", "rate_low", "rate_high", "impact_ratio", "impact_ratio_low", "impact_ratio_high",
    "excluded", "below_four_fifths", "tested", "expected", "standard_deviations", "p",
)  # fmt: skip


def to_csv(found: Standards) -> str:
    """Return all tables as one: a row for each category of each; unrounded, unknown is empty.

    Names that a spreadsheet would reckon get an apostrophe in front.
    """
    out = io.StringIO()
    writer = csv.DictWriter(out, CSV_HEAD, restval="", lineterminator="\n")
    writer.writeheader()
    for row in _csv_rows(found):
        writer.writerow({k: _plain(v) for k, v in row.items()})
    return out.getvalue()


def _csv_rows(found: Standards) -> Iterator[dict[str, object]]:
    for t in found.audit.tables if found.audit is not None else ():
        for i in t.categories:
            told = {"standard": "ll144", "table": t.heading, "classified": t.classified or ""}
            yield told | _csv_impact(i)
        yield {
            "standard": "ll144", "table": t.heading, "classified": t.classified or "",
            "category": "unknown", "assessed": t.unknown,
        }  # fmt: skip
    for d in found.disparities:
        table = _name(d.columns)
        p = {f.impact.name: f.p for f in d.fifths}
        for i in d.impacts:
            answer = "" if i.answer is None else i.answer.value
            own = {"below_four_fifths": i.below, "tested": answer, "p": p.get(i.name)}
            yield {"standard": FIFTHS, "table": table} | _csv_impact(i) | own
        for v in d.deviations:
            yield {
                "standard": DEVIATIONS, "table": table, "category": _name(v.name),
                "assessed": v.assessed, "selected": v.selected, "tested": v.answer.value,
                "expected": v.expected, "standard_deviations": v.deviations, "p": v.p,
            }  # fmt: skip


def _csv_impact(i: Impact) -> dict[str, object]:
    return {
        "category": _name(i.name), "assessed": i.assessed, "selected": i.selected,
        "share_of_assessed": i.share, "rate": i.rate, "rate_low": i.low, "rate_high": i.high,
        "impact_ratio": i.ratio, "impact_ratio_low": i.ratio_low, "impact_ratio_high": i.ratio_high,
        "excluded": i.excluded,
    }  # fmt: skip


def _plain(value: object) -> object:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str) and value.startswith(_FORMULA_SIGNS):
        return f"'{value}"
    return value
