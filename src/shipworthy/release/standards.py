"""Legal standards on selection rates, from a file of people who were assessed.

Local Law 144 of New York City, the four-fifths rule and the rule of standard deviations
(`measure/local_law.py`, `measure/adverse_impact.py`), put together for one file: the figures, one
JSON document, one table. Not legal advice, and no audit is independent because a tool made it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from shipworthy.core.errors import (
    EXIT_HOLD,
    EXIT_SHIP,
    EXIT_UNDECIDED,
    InputError,
    nearest,
)
from shipworthy.core.locale import text
from shipworthy.core.records import Outcome
from shipworthy.data.sources import read_table, require_columns
from shipworthy.measure.adverse_impact import (
    Deviations,
    FourFifths,
    four_fifths,
    standard_deviations,
)
from shipworthy.measure.estimates import Rate
from shipworthy.measure.impact import FOUR_FIFTHS, Impact, impacts
from shipworthy.measure.local_law import BiasAudit, bias_audit, category_rates
from shipworthy.measure.reference import Reference, read_reference
from shipworthy.measure.slices import unit_codes
from shipworthy.measure.table_columns import finite, named_values, selected_rows
from shipworthy.release.nulls import interval, to_null

if TYPE_CHECKING:
    from pathlib import Path

    import polars as pl

LL144, FIFTHS, DEVIATIONS = "ll144", "four-fifths", "two-sd"
STANDARDS = (LL144, FIFTHS, DEVIATIONS)
UnknownIn = Literal["any", "own"]


@dataclass(frozen=True)
class Stated:
    """What the publisher of an audit has to state beside the figures (5-302, 5-303); "": nothing.

    date: of the audit; distribution: when the tool was first used; source: of the data, with an
    explanation.
    """

    date: str = ""
    distribution: str = ""
    source: str = ""


@dataclass(frozen=True)
class Question:
    """What is asked of a file: which standards, and what its columns hold.

    One of selected, classified and score. groups: further columns, for the two federal rules.
    unknown_in: who is left out of a table, see `bias_audit`. population: file of a reference.
    """

    standards: tuple[str, ...] = ()
    sex: str | None = None
    race: str | None = None
    groups: tuple[str, ...] = ()
    selected: str | None = None
    positive: str | None = None
    classified: str | None = None
    score: str | None = None
    unknown: tuple[str, ...] = ()
    unknown_in: UnknownIn = "any"
    justification: str = ""
    population: Path | None = None
    unit: str | None = None
    confidence: float = 0.95
    stated: Stated = field(default_factory=Stated)


@dataclass(frozen=True)
class Disparity:
    """The federal rules on one column, or on sex and race crossed.

    top: the category with the highest rate, None where nobody was selected; fifths: the others
    against it; deviations: each against what was expected; unknown: people left out.
    """

    columns: tuple[str, ...]
    impacts: tuple[Impact, ...]
    top: Impact | None
    fifths: tuple[FourFifths, ...]
    deviations: tuple[Deviations, ...]
    unknown: int


@dataclass(frozen=True)
class Standards:
    """What each standard says of a file. audit: None where Local Law 144 was not asked for."""

    file: str
    rows: int
    question: Question
    audit: BiasAudit | None
    disparities: tuple[Disparity, ...]
    reference: Reference | None

    @property
    def exit_code(self) -> int:
        """3 where a disparity is shown beyond chance, 4 where one can't be told, else 0.

        Local Law 144 has no threshold. The rule of standard deviations can find, not clear: beside
        the four-fifths rule only what it finds counts.
        """
        fifths = [i.answer for d in self.disparities for i in d.impacts if i.answer is not None]
        tested = [d.answer for one in self.disparities for d in one.deviations]
        asked = fifths if FIFTHS in self.question.standards else []
        if DEVIATIONS in self.question.standards:
            asked = [*asked, *(a for a in tested if not asked or a is Outcome.FAIL)]
        if Outcome.FAIL in asked:
            return EXIT_HOLD
        return EXIT_UNDECIDED if Outcome.CANNOT_TELL in asked else EXIT_SHIP


def standards(source: str | Path | pl.DataFrame, question: Question) -> Standards:
    """Answer a question about a file, or about a frame.

    Raises InputError for an unknown standard and for columns that a standard needs and nobody
    named, DataError as `bias_audit` and `read_reference` do.
    """
    import polars as pl

    question = _complete(question)
    file = "" if isinstance(source, pl.DataFrame) else str(source)
    frame = source if isinstance(source, pl.DataFrame) else read_table(source)
    if question.unit is not None:
        require_columns(frame, [question.unit], file)
    audit = None
    if LL144 in question.standards:
        assert question.sex is not None and question.race is not None
        audit = bias_audit(
            frame, sex=question.sex, race=question.race, selected=question.selected,
            positive=question.positive, classified=question.classified, score=question.score,
            unknown=question.unknown, by_row=question.unknown_in == "any",
            justification=question.justification, unit=question.unit,
            confidence=question.confidence, file=file,
        )  # fmt: skip
    reference = None if question.population is None else read_reference(question.population)
    rules = {FIFTHS, DEVIATIONS} & set(question.standards)
    found = _disparities(frame, question, reference, file) if rules else ()
    return Standards(file, frame.height, question, audit, found, reference)


def unknown_in(word: str) -> UnknownIn:
    """Return where an unknown category leaves somebody out. Raises InputError for another word."""
    if word not in ("any", "own"):
        raise InputError(text("error.standards.unknown_in", word=word))
    return "any" if word == "any" else "own"


def justification(reason: str | None) -> str:
    """Return why small categories are excluded, "" where they aren't.

    Raises InputError for a blank reason: 5-301(d) wants one.
    """
    if reason is not None and not reason.strip():
        raise InputError(text("error.standards.no_reason"))
    return "" if reason is None else reason.strip()


def _complete(question: Question) -> Question:
    for name in question.standards:
        if name not in STANDARDS:
            raise InputError(
                text("error.standards.unknown", name=name, fix=nearest(name, STANDARDS))
            )
    outputs = [question.selected, question.classified, question.score]
    if sum(o is not None for o in outputs) != 1:
        raise InputError(text("error.standards.output"))
    both = question.sex is not None and question.race is not None
    chosen = question.standards or (
        (FIFTHS, DEVIATIONS)
        if not both
        else ((LL144,) if question.classified is not None else STANDARDS)
    )
    if LL144 in chosen and not both:
        raise InputError(text("error.standards.sex_and_race"))
    rules = {FIFTHS, DEVIATIONS} & set(chosen)
    if rules and question.classified is not None:
        raise InputError(text("error.standards.classified"))
    if rules and not (question.sex or question.race or question.groups):
        raise InputError(text("error.standards.no_group"))
    return replace(question, standards=tuple(s for s in STANDARDS if s in chosen))


def _disparities(
    frame: pl.DataFrame, question: Question, reference: Reference | None, file: str
) -> tuple[Disparity, ...]:
    if question.score is not None:
        scores = finite(frame, question.score, file)
        success = scores > np.median(scores)
    else:
        assert question.selected is not None
        success = selected_rows(frame, question.selected, question.positive, file)
    named = [c for c in (question.sex, question.race, *question.groups) if c is not None]
    asked: list[tuple[str, ...]] = [(c,) for c in dict.fromkeys(named)]
    if question.sex is not None and question.race is not None:
        asked.append((question.sex, question.race))
    units = None if question.unit is None else unit_codes(frame[question.unit])
    return tuple(
        _disparity(frame, columns, success, units, question, reference, file) for columns in asked
    )


def _disparity(
    frame: pl.DataFrame, columns: tuple[str, ...], success: Any, units: Any, question: Question,
    reference: Reference | None, file: str,
) -> Disparity:  # fmt: skip
    values = [named_values(frame, c, question.unknown, file)[0] for c in columns]
    known = [[v is not None for v in one] for one in values]
    kept = np.logical_and.reduce([np.array(one, dtype=bool) for one in known])
    names, rate = category_rates(values, kept, success, units)
    shown: tuple[Impact, ...] = ()
    fifths: tuple[FourFifths, ...] = ()
    top: Impact | None = None
    if FIFTHS in question.standards:
        shown = impacts(names, rate, line=FOUR_FIFTHS, confidence=question.confidence)
        compared = four_fifths(names, rate, confidence=question.confidence)
        if compared is not None:
            top, fifths = compared
    deviations: tuple[Deviations, ...] = ()
    if DEVIATIONS in question.standards:
        population = None
        if reference is not None and len(columns) == 1 and columns[0] in reference.shares:
            population = reference.shares[columns[0]]
            names, rate = _all_of(names, rate, population, columns[0], question)
        deviations = standard_deviations(
            names, rate, population=population, confidence=question.confidence
        )
    return Disparity(columns, shown, top, fifths, deviations, int((~kept).sum()))


def _all_of(
    names: Sequence[tuple[str, ...]], rate: Rate, population: Any, column: str, question: Question
) -> tuple[list[tuple[str, ...]], Rate]:
    """Add the values of a population that the file has nobody of."""
    for (name,) in names:
        if name not in population:
            raise InputError(
                text(
                    "error.standards.population", value=name, column=column,
                    file=question.population, fix=nearest(name, population),
                )
            )  # fmt: skip
    absent = [v for v in population if (v,) not in names]
    zeros = np.zeros(len(absent))
    return [*names, *((v,) for v in absent)], Rate(
        np.append(rate.successes, zeros), np.append(rate.trials, zeros),
        np.append(rate.units, zeros), np.append(rate.deff, zeros + 1),
    )  # fmt: skip


def to_json(found: Standards) -> dict[str, Any]:
    """Return one JSON document; what is not known is null, intervals are value, low, high."""
    stated, audit = found.question.stated, found.audit
    document: dict[str, Any] = {
        "file": found.file,
        "rows": found.rows,
        "standards": list(found.question.standards),
        "confidence": found.question.confidence,
        "exit_code": found.exit_code,
    }
    if audit is not None:
        document["ll144"] = {
            "form": audit.form,
            "date": stated.date or None,
            "distribution_date": stated.distribution or None,
            "source": stated.source or None,
            "assessed": audit.assessed,
            "unknown": audit.unknown,
            "unknown_values": list(audit.unknown_values),
            "median": to_null(audit.median),
            "excluded_because": audit.justification or None,
            "tables": [
                {
                    "table": t.heading,
                    "columns": list(t.columns),
                    "classified": t.classified,
                    "assessed": t.assessed,
                    "unknown": t.unknown,
                    "categories": [_impact(i, t.columns) for i in t.categories],
                }
                for t in audit.tables
            ],
        }
    if FIFTHS in found.question.standards:
        document["four_fifths"] = [
            {
                "columns": list(d.columns),
                "unknown": d.unknown,
                "highest": None if d.top is None else dict(zip(d.columns, d.top.name, strict=True)),
                "categories": [_impact(i, d.columns) for i in d.impacts],
                "comparisons": [_comparison(f, d.columns) for f in d.fifths],
            }
            for d in found.disparities
        ]
    if DEVIATIONS in found.question.standards:
        document["standard_deviations"] = [
            {
                "columns": list(d.columns),
                "model": d.deviations[0].model if d.deviations else None,
                "categories": [_deviation(v, d.columns) for v in d.deviations],
            }
            for d in found.disparities
        ]
    return document


def _impact(i: Impact, columns: Sequence[str]) -> dict[str, Any]:
    return {
        "group": dict(zip(columns, i.name, strict=True)),
        "assessed": i.assessed,
        "selected": i.selected,
        "share": to_null(i.share),
        "rate": interval(i.rate, i.low, i.high),
        "impact_ratio": interval(i.ratio, i.ratio_low, i.ratio_high),
        "highest": i.highest,
        "excluded": i.excluded,
        "below": i.below,
        "p_within": to_null(i.p_within),
        "p_beyond": to_null(i.p_beyond),
        "answer": None if i.answer is None else i.answer.value,
        "reason": i.reason or None,
    }


def _comparison(f: FourFifths, columns: Sequence[str]) -> dict[str, Any]:
    return {
        "group": dict(zip(columns, f.impact.name, strict=True)),
        "p": f.p,
        "p_lower": f.p_lower,
        "below": f.impact.below,
        "below_with_one_more": f.one_more,
        "below_with_one_fewer": f.one_fewer,
        "one_selection_turns_it": f.turns,
        "one_other_person_reverses_it": f.reversed,
        "selections_short": f.short,
        "notes": list(f.notes),
    }


def _deviation(d: Deviations, columns: Sequence[str]) -> dict[str, Any]:
    return {
        "group": dict(zip(columns, d.name, strict=True)),
        "assessed": d.assessed,
        "selected": d.selected,
        "share": to_null(d.share),
        "expected": to_null(d.expected),
        "standard_deviation": to_null(d.standard_deviation),
        "deviations": to_null(d.deviations),
        "p": to_null(d.p),
        "p_fewer_adjusted": to_null(d.p_fewer),
        "beyond_two": d.beyond_two,
        "beyond_three": d.beyond_three,
        "answer": d.answer.value,
    }
