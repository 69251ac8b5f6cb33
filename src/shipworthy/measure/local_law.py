"""The bias audit of New York City's Local Law 144, as 6 RCNY 5-300 to 5-303 have it.

Selection rates (5-301(b)) or scoring rates (5-301(c)) and impact ratios for sex, for race and
ethnicity, and for both crossed. The rule sets no threshold: the figures are published, nothing
passes or fails. Where its text leaves room, what was chosen stands in `docs/standards.md` and in
the arguments of `bias_audit`.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

from shipworthy.core.errors import DataError
from shipworthy.core.locale import text
from shipworthy.core.records import Slice
from shipworthy.measure.estimates import Rate
from shipworthy.measure.impact import Impact, impacts
from shipworthy.measure.rates import rate
from shipworthy.measure.slices import Partition, unit_codes
from shipworthy.measure.table_columns import finite, named_values, selected_rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    import polars as pl
    from numpy.typing import NDArray

    BoolArray: TypeAlias = NDArray[np.bool_]
    IntArray: TypeAlias = NDArray[np.int64]

Form: TypeAlias = Literal["selection", "scoring"]
Heading: TypeAlias = Literal["sex", "race_ethnicity", "intersectional"]

SMALL_CATEGORY = 0.02
"""Share of the data below which a category may be excluded from ratios: 6 RCNY 5-301(d)."""


@dataclass(frozen=True)
class AuditTable:
    """One of the three tables, for all that were selected or for one classification.

    classified: the class that the AEDT assigned, where 5-301(b)(4) asks for a table for each.
    unknown: individuals left out of this table because a category of its columns is unknown.
    """

    heading: Heading
    columns: tuple[str, ...]
    categories: tuple[Impact, ...]
    unknown: int
    classified: str | None = None

    @property
    def assessed(self) -> int:
        """Individuals in the calculations."""
        return sum(c.assessed for c in self.categories)

    @property
    def excluded(self) -> tuple[Impact, ...]:
        """Categories left out of the ratios."""
        return tuple(c for c in self.categories if c.excluded)


@dataclass(frozen=True)
class BiasAudit:
    """What 5-301 asks for, over all individuals of a file.

    assessed: all of them; unknown: those with any category unknown; median: of the scores of
    everybody (scoring form, else NaN); unknown_values: the values of the file that count as
    unknown; justification: why small categories were excluded, "" where none was.
    """

    form: Form
    tables: tuple[AuditTable, ...]
    assessed: int
    unknown: int
    median: float
    unknown_values: tuple[str, ...]
    by_row: bool
    justification: str
    confidence: float


def bias_audit(
    frame: pl.DataFrame,
    *,
    sex: str,
    race: str,
    selected: str | None = None,
    positive: str | None = None,
    classified: str | None = None,
    score: str | None = None,
    unknown: Sequence[str] = (),
    by_row: bool = True,
    justification: str = "",
    unit: str | None = None,
    confidence: float = 0.95,
    file: str = "",
) -> BiasAudit:
    """Calculate rates and impact ratios of the categories in two columns.

    One of selected (a column of two answers), classified (a column of classes: tables for each) and
    score (numbers) says what the tool put out. unknown: values of sex and race, besides missing
    ones and `UNKNOWN`, that stand for an unknown category. by_row: leave an individual with either
    category unknown out of all tables, as the examples of the rule do, else only out of those that
    need it. justification: excludes categories below `SMALL_CATEGORY` from the ratios for this
    reason; their number and rate stay. unit: column of repeated applicants, for intervals.
    Raises DataError where a column is absent, an answer or score is missing, or no category known.
    """
    values, told = zip(*(named_values(frame, c, unknown, file) for c in (sex, race)), strict=True)
    known = [np.array([v is not None for v in one]) for one in values]
    both = known[0] & known[1]
    units = None if unit is None else unit_codes(frame[unit])
    median = float("nan")
    if score is not None:
        scores = finite(frame, score, file)
        median = float(np.median(scores)) if len(scores) else float("nan")
        outcomes: list[tuple[str | None, BoolArray]] = [(None, scores > median)]
    elif classified is not None:
        classes, _ = named_values(frame, classified, (), file, complete=True)
        column = np.array(classes, dtype=object)
        outcomes = [(name, column == name) for name in sorted({str(c) for c in classes})]
    else:
        assert selected is not None
        outcomes = [(None, selected_rows(frame, selected, positive, file))]
    if not both.any():
        raise DataError(
            text("error.standards.none_known"), file=file, column=sex,
            fix=text("error.standards.none_known.fix"),
        )  # fmt: skip
    forms: tuple[tuple[Heading, tuple[int, ...]], ...] = (
        ("sex", (0,)), ("race_ethnicity", (1,)), ("intersectional", (0, 1)),
    )  # fmt: skip
    tables = []
    for name, success in outcomes:
        for heading, places in forms:
            kept = both if by_row else np.logical_and.reduce([known[p] for p in places])
            names, shares = category_rates([values[p] for p in places], kept, success, units)
            small = shares.trials < SMALL_CATEGORY * shares.trials.sum()
            tables.append(
                AuditTable(
                    heading=heading,
                    columns=tuple((sex, race)[p] for p in places),
                    categories=impacts(
                        names, shares, excluded=small if justification else None,
                        confidence=confidence,
                    ),
                    unknown=int((~kept).sum()),
                    classified=name,
                )
            )  # fmt: skip
    return BiasAudit(
        form="selection" if score is None else "scoring",
        tables=tuple(tables),
        assessed=frame.height,
        unknown=int((~both).sum()),
        median=median,
        unknown_values=tuple(sorted({v for one in told for v in one})),
        by_row=by_row,
        justification=justification if any(t.excluded for t in tables) else "",
        confidence=confidence,
    )


def category_rates(
    values: Sequence[Sequence[str | None]], kept: BoolArray, success: BoolArray,
    units: IntArray | None,
) -> tuple[list[tuple[str, ...]], Rate]:  # fmt: skip
    """Return the categories of some columns, crossed where there are several, and their rates.

    A crossing that nobody is in is a category too, with nobody assessed.
    """
    levels = [sorted({v for v, k in zip(one, kept, strict=True) if k and v}) for one in values]
    names = list(product(*levels))
    place = {name: k for k, name in enumerate(names)}
    rows = np.flatnonzero(kept).tolist()
    codes = np.array([place[tuple(str(one[r]) for one in values)] for r in rows], dtype=np.int64)
    slices = tuple(Slice.of({str(k): v for k, v in enumerate(name)}) for name in names)
    held = Partition((), slices, codes, None if units is None else units[rows])
    return names, rate(held, np.ones(len(rows), dtype=bool), success[rows])
