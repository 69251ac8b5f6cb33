"""A comparison of two runs as a table for the terminal, as Markdown, and as one JSON document."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, TypeAlias

from shipworthy.core.locale import NO_NUMBER, number
from shipworthy.core.records import Candidate, Decision, Slice
from shipworthy.release.cells import Column, clean, table, wrap
from shipworthy.release.compare import Comparison, Moved, Pair, Side
from shipworthy.release.display import Shown, capital, measure_name, shown, text
from shipworthy.release.evidence import percent
from shipworthy.release.judgement import Judgement
from shipworthy.release.load import Run
from shipworthy.release.markdown_table import inert, markdown_table
from shipworthy.release.nulls import to_null
from shipworthy.release.wording import answer_word, bound_figure, outcome_word, phrase


def lines(found: Comparison, *, width: int) -> list[str]:
    """Return the lines of a comparison for a terminal of `width` cells."""
    said = ["  " + line for line in wrap(clean(_headline(found)), width - 2)]
    for sentence in _sentences(found):
        first, *rest = wrap(clean(sentence), width - 4)
        said += ["  ! " + first, *("    " + line for line in rest)]
    for heading, head, body in _tables(found):
        wraps = [Column(h, "left" if k < _TEXTS or k == len(head) - 1 else "right", k < _TEXTS)
                 for k, h in enumerate(head)]  # fmt: skip
        said += ["", "  " + clean(heading), *_set(wraps, body, width)]
    return [*said, "", *("  " + line for line in wrap(_conclusion(found), width - 2))]


def markdown(found: Comparison) -> str:
    """Return the comparison as Markdown; names in it neither link nor mention."""
    parts = [f"## {inert(_headline(found))}"]
    sentences = list(_sentences(found))
    if sentences:
        parts.append("\n".join(f"- {inert(s)}" for s in sentences))
    parts.append(inert(_conclusion(found)))
    for heading, head, body in _tables(found):
        cells = [[inert(c) for c in row] for row in body]
        parts += [f"### {inert(heading)}", markdown_table([inert(h) for h in head], cells)]
    return "\n\n".join(parts) + "\n"


def to_json(found: Comparison) -> dict[str, Any]:
    """Return the comparison as one object; what is not known is null.

    Values are on the scale of `measurements.parquet`; `change` is after - before, and after /
    before where `ratio` is true.
    """
    return {
        "before": _run(found.before),
        "after": _run(found.after),
        "differences": [
            {"key": p.key.removeprefix("compare.differs."), "text": phrase(p)}
            for p in found.differences
        ],
        "rows": {
            "before": found.rows_before,
            "after": found.rows_after,
            "shared": found.rows_shared,
        },
        "alpha": found.alpha,
        "comparisons": found.family,
        "candidates": [_pair(found, p) for p in found.pairs],
        "only_before": [_candidate(c) for c in found.only_before],
        "only_after": [_candidate(c) for c in found.only_after],
        "moved": len(found.moved),
        "measurements": [_move(m) for m in found.moves],
        "limits": [_side(s) for s in found.sides],
    }


# -- sentences -------------------------------------------------------------------------------------


def _headline(found: Comparison) -> str:
    one, other = found.before.judgement, found.after.judgement
    return text(
        "compare.headline",
        before=_named(one),
        after=_named(other),
        answer_before=answer_word(one.answer),
        answer_after=answer_word(other.answer),
    )


def _named(judgement: Judgement) -> str:
    return text("compare.run", name=judgement.name, run=judgement.run)


def _sentences(found: Comparison) -> Iterator[str]:
    """What must be known before the table is read."""
    for said in found.differences:
        yield phrase(said)
    if found.rows_shared and found.rows_shared == found.rows_before == found.rows_after:
        yield text("compare.same_rows", rows=number(found.rows_shared))
    for pair in found.pairs:
        if pair.by in ("name", "only"):
            key = f"compare.joined.{pair.by}"
            yield text(key, before=pair.before.name, after=pair.after.name)
    for key, left in (("gone", found.only_before), ("come", found.only_after)):
        if left:
            yield text(f"compare.candidates.{key}", names=", ".join(c.name for c in left))
    for pair in found.pairs:
        was, now = found.verdicts(pair)
        if was is not None and now is not None and was is not now:
            yield text("compare.verdict", name=pair.after.name, before=answer_word(was),
                       after=answer_word(now))  # fmt: skip


def _conclusion(found: Comparison) -> str:
    told = {
        "moved": number(len(found.moved)),
        "compared": number(len(found.moves)),
        "family": number(found.family),
        "alpha": f"{found.alpha:g}",
    }
    return text("compare.conclusion", **told)


# -- tables ----------------------------------------------------------------------------------------

_TEXTS = 2
"""Columns, from the left, that hold names and may wrap."""

_SIDE_HEADS = ("limit", "rows", "before", "after")

_Table: TypeAlias = tuple[str, list[str], list[list[str]]]


def _tables(found: Comparison) -> Iterator[_Table]:
    """Yield heading, head and rows: the numbers of each candidate, then limits that turned."""
    confidence = percent(1 - found.alpha)
    names = ("measure", "rows", "before", "after", "change", "p", "moved")
    head = [text(f"compare.head.{name}", confidence=confidence) for name in names]
    for pair in found.pairs:
        rows = [_move_cells(found, m) for m in found.moves if m.pair == pair]
        if rows:
            yield _pair_heading(pair), head, rows
    for pair in found.pairs:
        sides = [_side_cells(found, s) for s in found.sides if s.pair == pair]
        if sides:
            heading = text("compare.sides", name=pair.after.name)
            yield heading, [text(f"compare.head.{n}") for n in _SIDE_HEADS], sides


def _pair_heading(pair: Pair) -> str:
    if pair.by == "parent":
        return text("compare.of_parent", name=pair.after.name)
    return pair.after.name


def _move_cells(found: Comparison, m: Moved) -> list[str]:
    change, level, moved = m.change, _level_form(m), _change_form(m)
    figure = moved.figure(change.value)
    if change.low != change.high:
        figure = f"{figure} {moved.interval(change.low, change.high)}"
    return [
        _measure_label(m.measure, m.relative_to, level),
        _where(found.after.judgement, m.slice),
        level.figure(change.before),
        level.figure(change.after),
        figure,
        NO_NUMBER if math.isnan(m.p_adjusted) else _p(m.p_adjusted),
        text("compare.apart", word=_word(m)) if change.kind == "independent" else _word(m),
    ]


def _word(m: Moved) -> str:
    if m.moved:
        return text("compare.moved.better" if m.better else "compare.moved.worse")
    if m.change.kind in ("identical", "exact"):
        return text("compare.moved.same")
    return text("compare.moved.unknown" if m.change.reason else "compare.moved.unclear")


def _p(p: float) -> str:
    return "< 0.001" if p < 0.001 else number(p, 3)


def _level_form(m: Moved) -> Shown:
    form = shown(m.measure, relative=m.relative_to == "parent", value_unit=m.value_unit)
    # Flips are stored as shares of the rows; the table counts them only in one run.
    return shown("accuracy") if m.value_unit == "share" else form


def _change_form(m: Moved) -> Shown:
    if m.change.is_ratio:
        return shown(m.measure, relative=True, value_unit="ratio")
    if m.value_unit == "share":
        return shown("accuracy", relative=True)
    return shown(m.measure, relative=True, value_unit=m.value_unit)


def _measure_label(measure: str, relative_to: str, form: Shown) -> str:
    name = capital(measure_name(measure))
    if relative_to == "parent" and not measure.startswith("turned"):
        name = capital(text("report.limit.change_parent", measure=measure_name(measure)))
    return text("report.column", name=name, unit=form.unit_text) if form.unit else name


def _where(judgement: Judgement, slice: str) -> str:
    found = Slice.parse(slice)
    if not found.conditions:
        return text("report.all_rows")
    alone = len(judgement.groups) == 1
    return ", ".join(
        _value(judgement, value) if alone or column == "each"
        else f"{column}: {_value(judgement, value)}"
        for column, value in found.conditions
    )  # fmt: skip


def _value(judgement: Judgement, value: object) -> str:
    if value is None:
        return text("report.missing_value")
    return judgement.group_names.get(str(value), str(value))


def _side_cells(found: Comparison, s: Side) -> list[str]:
    known = s.after or s.before
    assert known is not None
    form = shown(s.measure, relative=s.relative_to != "none", value_unit=known.value_unit)
    return [
        _measure_label(s.measure, s.relative_to, form),
        _where(found.after.judgement, s.slice),
        _decided(s.before),
        _decided(s.after),
    ]


def _decided(d: Decision | None) -> str:
    if d is None:
        return text("compare.not_asked")
    bound = text(f"report.limit.{d.side}_sign", value=bound_figure(d))
    return text("compare.decided", bound=bound, outcome=outcome_word(d.decision))


def _set(columns: list[Column], body: list[list[str]], width: int) -> list[str]:
    cleaned = [[clean(c) for c in row] for row in body]
    set_lines, _ = table(columns, cleaned, width - 2)
    return ["  " + "  ".join(cells).rstrip() for cells in set_lines]


# -- JSON ------------------------------------------------------------------------------------------


def _run(run: Run) -> dict[str, Any]:
    found = run.judgement
    return {
        "run": found.run,
        "folder": str(run.folder),
        "name": found.name,
        "kind": found.kind,
        "created": found.created.isoformat(),
        "verdict": found.answer.value,
        "best": found.best,
        "versions": dict(found.versions),
    }


def _candidate(candidate: Candidate) -> dict[str, Any]:
    return {"id": candidate.id, "name": candidate.name, "lever": candidate.lever}


def _pair(found: Comparison, pair: Pair) -> dict[str, Any]:
    was, now = found.verdicts(pair)
    return {
        "before": _candidate(pair.before),
        "after": _candidate(pair.after),
        "joined_by": pair.by,
        "verdict_before": None if was is None else was.value,
        "verdict_after": None if now is None else now.value,
    }


def _move(m: Moved) -> dict[str, Any]:
    change = m.change
    return {
        "candidate": m.pair.after.id,
        "candidate_name": m.pair.after.name,
        "measure": m.measure,
        "slice": dict(Slice.parse(m.slice).conditions),
        "relative_to": m.relative_to,
        "before": to_null(change.before),
        "after": to_null(change.after),
        "change": {
            "value": to_null(change.value),
            "low": to_null(change.low),
            "high": to_null(change.high),
        },
        "ratio": change.is_ratio,
        "n": change.n,
        "kind": change.kind,
        "method": change.method,
        "p": to_null(change.p),
        "p_adjusted": to_null(m.p_adjusted),
        "moved": m.moved,
        "better": m.better,
        "reason": change.reason,
    }


def _side(s: Side) -> dict[str, Any]:
    return {
        "candidate": s.pair.after.id,
        "candidate_name": s.pair.after.name,
        "measure": s.measure,
        "slice": dict(Slice.parse(s.slice).conditions),
        "relative_to": s.relative_to,
        "turned": s.turned,
        "before": _decision(s.before),
        "after": _decision(s.after),
    }


def _decision(d: Decision | None) -> dict[str, Any] | None:
    if d is None:
        return None
    return {"decision": d.decision.value, "bound": to_null(d.bound), "reason": d.reason}
