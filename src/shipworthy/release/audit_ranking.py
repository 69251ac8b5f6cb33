"""An audit of a ranking: exposure, the first k, and, with labels, who is ranked above whom."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from shipworthy.core.errors import DataError, InputError, nearest
from shipworthy.core.locale import text
from shipworthy.core.records import Slice
from shipworthy.measure.audited_gaps import MOST_COMPARED, gaps_of_shares, of_numbers
from shipworthy.measure.audited_ranking import Ranked
from shipworthy.measure.cells import largest, over
from shipworthy.measure.shown import assess
from shipworthy.measure.tally import Counted, Roles
from shipworthy.model.class_names import canonical_name, default_positive
from shipworthy.release.audit_records import Audit, Compared, GroupNumber, GroupRow
from shipworthy.release.audit_rows import numbers_of, reference_slice
from shipworthy.release.judgement import Phrase

if TYPE_CHECKING:
    from shipworthy.measure.cells import Area
    from shipworthy.release.audit_source import Table

GAPS = {"exposure_difference": "exposure", "auc_difference": "auc"}


def ranking(
    table: Table, columns: tuple[str, ...], crossed: tuple[tuple[str, ...], ...], *,
    label: str | None, score: str | None, rank: str | None, unit: str | None,
    reference: Mapping[str, str], positive: str | None, confidence: float, first: Sequence[int],
) -> Audit:  # fmt: skip
    """Audit one ranking; see `audit`. Rows are kept, so memory grows with them."""
    from shipworthy.release.audit import check_reference, count

    roles = Roles(columns, label=label, score=score or rank, unit=unit, free=True)
    counted = count(table, roles)
    asked = {c: canonical_name(v) for c, v in reference.items()}
    check_reference(table, counted, asked, columns)
    cells = counted.cells
    if rank is not None:
        cells = replace(cells, numbers={"score": -_places(table, cells.numbers["score"], rank)})
    relevant, name = _relevant(table, counted, label, positive)
    ranked = Ranked(cells, relevant)
    tops = [k for k in dict.fromkeys(first) if k < len(cells)]
    slices: list[GroupRow] = []
    comparisons: list[Compared] = []
    for one in crossed:
        slices += _rows(ranked, one, tops, confidence)
        comparisons += _compared(ranked, one, tops, confidence, reference_slice(one, asked))
    notes = [] if unit else [Phrase("judge.note.independent")]
    return Audit(
        name=table.name, task="ranking", rows=counted.rows,
        whole=tuple(_rows(ranked, (), [], confidence)), slices=tuple(slices),
        comparisons=tuple(comparisons), confidence=confidence, attributes=crossed, positive=name,
        unit=unit, notes=tuple(notes),
    )  # fmt: skip


def _places(table: Table, found: np.ndarray, column: str) -> np.ndarray:
    wrong = (found < 1) | (found != np.round(found))
    if wrong.any():
        raise DataError(
            text("error.audit.rank", shown=f"{found[wrong][0]:g}"), file=table.name, column=column,
            fix=text("error.audit.rank.fix"),
        )  # fmt: skip
    return found


def _relevant(
    table: Table, counted: Counted, label: str | None, positive: str | None
) -> tuple[int, str | None]:
    """Return the code of the relevant label and its name; -1 without labels."""
    if label is None:
        return -1, None
    names = [str(n) for n in counted.names["label"]]
    wanted = canonical_name(positive) if positive is not None else default_positive(names)
    if wanted is None:
        raise InputError(text("error.audit.positive_of", number=len(names)))
    if wanted not in names:
        raise DataError(
            text("error.predictions.no_positive", positive=wanted), file=table.name, column=label,
            fix=nearest(wanted, names),
        )  # fmt: skip
    return names.index(wanted), wanted


def _rows(
    ranked: Ranked, columns: tuple[str, ...], tops: Sequence[int], confidence: float
) -> list[GroupRow]:
    where = ranked.area(columns)
    numbers: list[list[GroupNumber]] = [[] for _ in range(where.m)]
    for k in tops:
        for place, found in enumerate(_of_top(ranked, where, k, confidence)):
            numbers[place] += found
    across = ("bpsn_auc", "bnsp_auc") if where.m < 2 else ()
    for measure in ranked.measures:
        if measure in across:
            continue
        for place, number in enumerate(numbers_of(measure, ranked.on(measure, where), confidence)):
            numbers[place].append(number)
    n = where.rows(np.ones(len(where.cells), dtype=bool))
    return [
        GroupRow(one, columns, round(float(n[k])), tuple(numbers[k]))
        for k, one in enumerate(where.slices)
    ]


def _of_top(ranked: Ranked, where: Area, k: int, confidence: float) -> list[list[GroupNumber]]:
    """Return share of the first k, skew, and share of the own rows, of each slice."""
    share = assess(ranked.share_of_top(where, k), confidence=confidence)
    own = assess(ranked.selected(where, k), confidence=confidence)
    n = where.rows(np.ones(len(where.cells), dtype=bool))
    whole = over(n, np.full(where.m, float(len(ranked.cells))))
    with np.errstate(divide="ignore"):
        skew = [np.log(x / whole) for x in (share.value, share.low, share.high)]
    return [
        [
            GroupNumber(f"share_of_top_{k}", float(share.value[g]), float(share.low[g]),
                        float(share.high[g]), int(share.n[g]), share.method),
            GroupNumber(f"skew_at_{k}", float(skew[0][g]), float(skew[1][g]), float(skew[2][g]),
                        int(share.n[g]), share.method),
            GroupNumber(f"selection_rate_in_top_{k}", float(own.value[g]), float(own.low[g]),
                        float(own.high[g]), int(own.n[g]), own.method),
        ]
        for g in range(where.m)
    ]  # fmt: skip


def _compared(
    ranked: Ranked, columns: tuple[str, ...], tops: Sequence[int], confidence: float,
    base: Slice | None,
) -> list[Compared]:  # fmt: skip
    where = largest(ranked.area(columns), MOST_COMPARED)
    if where.m < 2 or (base is not None and base not in where.slices):
        return []
    place = None if base is None else where.slices.index(base)
    found = [
        gap
        for name, measure in GAPS.items()
        if measure in ranked.measures
        for gap in of_numbers(name, where, ranked.on(measure, where), confidence, place)
    ]
    for k in tops:
        name, rates = f"selection_rate_in_top_{k}_difference", (ranked.selected(where, k),)
        found += gaps_of_shares(name, where, rates, "difference", confidence, place)
    return [Compared(gap) for gap in found]
