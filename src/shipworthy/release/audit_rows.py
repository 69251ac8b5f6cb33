"""From what was counted to rows of an audit: each group with its numbers, each comparison."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from shipworthy.core.records import Slice
from shipworthy.measure.audited import ODDS, RATES, SCORED, Answers
from shipworthy.measure.audited_gaps import MOST_COMPARED, gaps, odds_interval, of_numbers
from shipworthy.measure.audited_numbers import GAPS, Numbers
from shipworthy.measure.cells import largest
from shipworthy.measure.conditional import conditional_disparity
from shipworthy.measure.estimates import Rate, Unmeasured
from shipworthy.measure.shown import assess, sizes
from shipworthy.measure.shrinkage import shrunk
from shipworthy.release.audit_records import Compared, GroupNumber, GroupRow

if TYPE_CHECKING:
    from shipworthy.measure.cells import Area
    from shipworthy.measure.estimates import Estimate

Provider: TypeAlias = Answers | Numbers

CONDITIONAL = {
    "conditional_demographic_disparity": False,
    "conditional_demographic_disparity_of_labels": True,
}


@dataclass(frozen=True)
class Found:
    """Numbers of all rows, of slices, and comparisons."""

    whole: tuple[GroupRow, ...]
    slices: tuple[GroupRow, ...]
    comparisons: tuple[Compared, ...]

    @classmethod
    def together(cls, parts: Sequence[Found]) -> Found:
        """Join what was found of several classes."""
        return cls(
            tuple(r for p in parts for r in p.whole),
            tuple(r for p in parts for r in p.slices),
            tuple(c for p in parts for c in p.comparisons),
        )

    def with_whole(self, number: GroupNumber) -> Found:
        """Add a number to those of all rows."""
        first = replace(self.whole[0], numbers=(*self.whole[0].numbers, number))
        return replace(self, whole=(first, *self.whole[1:]))


def found_of(
    provider: Provider, crossed: tuple[tuple[str, ...], ...], *, confidence: float,
    reference: Mapping[str, str], name: str | None = None,
) -> Found:  # fmt: skip
    """Measure all rows, every slice of every crossing, and compare the slices of each."""
    slices: list[GroupRow] = []
    comparisons: list[Compared] = []
    for columns in crossed:
        slices += rows_of(provider, columns, confidence=confidence, name=name)
        base = reference_slice(columns, reference)
        if isinstance(provider, Answers):
            found = gaps(provider, columns, confidence=confidence, reference=base)
            comparisons += [Compared(g, name) for g in found]
        else:
            comparisons += _of_numbers(provider, columns, confidence, base)
    whole = rows_of(provider, (), confidence=confidence, name=name)
    return Found(tuple(whole), tuple(slices), tuple(comparisons))


def rows_of(
    provider: Provider, columns: tuple[str, ...], *, confidence: float, name: str | None
) -> list[GroupRow]:
    """Measure the slices of some columns; of none, all rows."""
    where = provider.area(columns)
    scored = provider.area(columns, scored=True) if _has_scores(provider) else None
    numbers: list[list[GroupNumber]] = [[] for _ in range(where.m)]
    for measure in provider.measures:
        own = scored if measure in SCORED and scored is not None else where
        for k, number in enumerate(numbers_of(measure, provider.on(measure, own), confidence)):
            numbers[k].append(number)
    if columns and isinstance(provider, Answers) and "condition" in where.cells.keys:
        for measure, estimate in _conditional(provider, where):
            for k, number in enumerate(numbers_of(measure, estimate, confidence)):
                numbers[k].append(number)
    n = where.rows(np.ones(len(where.cells), dtype=bool))
    return [
        GroupRow(one, columns, round(float(n[k])), tuple(numbers[k]), name)
        for k, one in enumerate(where.slices)
    ]


def numbers_of(measure: str, estimate: Estimate, confidence: float) -> list[GroupNumber]:
    """Return the value of each slice with its interval; none where it was not measured."""
    if isinstance(estimate, Unmeasured):
        return []
    shown = assess(estimate, confidence=confidence)
    value, low, high = shown.value, shown.low, shown.high
    if measure == ODDS and isinstance(estimate, Rate):
        value, ends = odds_interval(estimate, confidence)
        low, high = ends.low, ends.high
    n = sizes(estimate, len(value))[0]
    towards = np.full(len(value), np.nan)
    if measure in RATES and isinstance(estimate, Rate) and len(value) > 2:
        towards = shrunk(estimate)
    return [
        GroupNumber(
            measure, float(value[k]), float(low[k]), float(high[k]), round(float(n[k])),
            shown.method, float(towards[k]),
        )
        for k in range(len(value))
    ]  # fmt: skip


def _has_scores(provider: Provider) -> bool:
    return isinstance(provider, Answers) and provider.counted.scored is not None


def _conditional(provider: Answers, where: Area) -> list[tuple[str, Estimate]]:
    if provider.positive is None or where.m < 2:
        return []
    stratum = where.cells.keys["condition"]
    return [
        (
            measure,
            conditional_disparity(where, provider.chosen(where.cells, labels=labels), stratum),
        )
        for measure, labels in CONDITIONAL.items()
        if provider.labelled or not labels
    ]


def _of_numbers(
    provider: Numbers, columns: tuple[str, ...], confidence: float, base: Slice | None
) -> list[Compared]:
    where = largest(provider.area(columns), MOST_COMPARED)
    place: Any = where.slices.index(base) if base in where.slices else None
    if where.m < 2 or (base is not None and place is None):
        return []
    return [
        Compared(gap)
        for name, measure in GAPS.items()
        for gap in of_numbers(name, where, provider.on(measure, where), confidence, place)
    ]


def reference_slice(columns: tuple[str, ...], asked: Mapping[str, str]) -> Slice | None:
    """Return the reference group of some columns, or None where not all of them have one."""
    if not asked or not all(c in asked for c in columns):
        return None
    return Slice.of({c: asked[c] for c in columns})
