"""Numbers of a finished run, made again: equal or not, and where not possible, why.

Quality, fairness and size come out equal, to `TOLERANCE` for what is computed from scores. A time
does not repeat: it is measured again and lies inside the recorded interval or not; only a
difference beyond chance counts against it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

from shipworthy.core.device import device_flags
from shipworthy.core.errors import EXIT_BAD_INPUT, EXIT_HOLD, EXIT_SHIP, InputError, did_you_mean
from shipworthy.core.locale import text
from shipworthy.core.records import Candidate, Measurement, Slice, measurement_id, to_frame
from shipworthy.measure.catalogue import MEASURES
from shipworthy.measure.decide import assess
from shipworthy.release.compare_change import apart
from shipworthy.release.load import Run
from shipworthy.release.nulls import from_null
from shipworthy.release.rerun_sources import Impossible, Source, source_of
from shipworthy.release.ruler import Ruler, Subject

Status: TypeAlias = Literal["equal", "different", "impossible"]

TOLERANCE = 1e-6
"""Difference, of 1 or of the value where it is larger, up to which two numbers are equal."""

_ENDS = ("value", "low", "high")


@dataclass(frozen=True)
class Recorded:
    """One number of a run's table, with its id."""

    id: str
    candidate: Candidate
    row: Mapping[str, Any]

    @property
    def is_timing(self) -> bool:
        """Whether it is a time, a throughput or the memory of a process."""
        measure = self.row["measure"]
        return measure in MEASURES and MEASURES[measure].kind == "speed"


@dataclass(frozen=True)
class Again:
    """A number made again.

    value, low, high: the new ones, NaN where there are none. inside: of a timing, whether the new
    value lies in the recorded interval; None for all else. why: for what is impossible.
    """

    recorded: Recorded
    status: Status
    value: float = math.nan
    low: float = math.nan
    high: float = math.nan
    inside: bool | None = None
    why: str = ""

    @property
    def difference(self) -> float:
        """The new value minus the recorded one."""
        return self.value - from_null(self.recorded.row["value"])


@dataclass(frozen=True)
class Rerun:
    """All numbers that were made again, and the devices then and now."""

    run: Run
    results: tuple[Again, ...]
    device_then: str
    device_now: str

    @property
    def exit_code(self) -> int:
        """3 where a number differs, else 2 where one cannot be made again, else 0."""
        statuses = {r.status for r in self.results}
        if "different" in statuses:
            return EXIT_HOLD
        return EXIT_BAD_INPUT if "impossible" in statuses else EXIT_SHIP


def recorded_numbers(run: Run) -> list[Recorded]:
    """Return every number of a run with its id, in the order of the table."""
    judgement = run.judgement
    by_id = {c.id: c for c in (judgement.parent, *judgement.candidates)}
    return [
        Recorded(
            measurement_id(
                judgement.run, row["candidate"], row["measure"], row["slice"], row["relative_to"]
            ),
            by_id[row["candidate"]],
            row,
        )
        for row in judgement.measurements.iter_rows(named=True)
        if row["candidate"] in by_id
    ]


def rerun(
    run: Run,
    wanted: Sequence[str] | None = None,
    *,
    timings: bool = False,
    root: Path | None = None,
) -> Rerun:
    """Make numbers of a run again.

    wanted: ids; None makes all again, times only where `timings`. root: see `source_of`.
    Raises InputError for an id that the run does not hold.
    """
    known = recorded_numbers(run)
    chosen = [r for r in known if timings or not r.is_timing]
    if wanted is not None:
        by_id = {r.id: r for r in known}
        for one in wanted:
            if one not in by_id:
                hint = did_you_mean(one, by_id) or text("error.rerun.unknown.fix")
                raise InputError(text("error.rerun.unknown", id=one, run=run.folder, fix=hint))
        chosen = [by_id[one] for one in dict.fromkeys(wanted)]
    flags = {f for f in run.judgement.measurements["device_flags"].to_list() if f}
    return Rerun(
        run,
        tuple(_made(run, chosen, source_of(run, root))),
        " | ".join(sorted(flags)),
        " ".join(device_flags()),
    )


def _made(run: Run, chosen: Sequence[Recorded], source: Source) -> Iterator[Again]:
    ruler: Ruler | None = None
    for one in chosen:
        try:
            if one.is_timing:
                yield _timed(run, one, source)
                continue
            ruler = ruler or _ruler(run, source)
            yield _compared(one, _row(ruler, source, one))
        except Impossible as why:
            yield Again(one, "impossible", why=str(why))


def _ruler(run: Run, source: Source) -> Ruler:
    judgement = run.judgement
    return Ruler(
        source.subject(judgement.parent),
        groups=judgement.groups,
        unit=judgement.unit,
        confidence=judgement.confidence,
        split="validation" if judgement.kind == "rehearsal" else "test",
        run=judgement.run,
    )


def _row(ruler: Ruler, source: Source, one: Recorded) -> Mapping[str, Any]:
    row, subject = one.row, ruler.parent
    digest = ruler.parent.predictions.data_digest
    if digest != row["data_digest"]:
        raise Impossible(text("rerun.why.rows", before=row["data_digest"][:12], after=digest[:12]))
    if one.candidate != ruler.parent.candidate:
        subject = source.subject(one.candidate)
    return _of_slice(ruler, subject, one)


def _of_slice(ruler: Ruler, subject: Subject, one: Recorded) -> Mapping[str, Any]:
    """Return the new row of the same measure, slice and relation."""
    row = one.row
    conditions = Slice.parse(row["slice"])
    columns = conditions.columns
    if columns == ("each",):
        columns = tuple(str(dict(conditions.conditions)["each"]).split(" × "))
    made = ruler.rows_of(subject, row["measure"], columns, row["relative_to"])
    for found in to_frame(made, Measurement).iter_rows(named=True):
        if found["slice"] == row["slice"]:
            return found
    raise Impossible(text("rerun.why.no_number"))


def _compared(one: Recorded, new: Mapping[str, Any]) -> Again:
    old = one.row
    equal = (old["n"], old["n_units"]) == (new["n"], new["n_units"]) and all(
        _equal(from_null(old[e]), from_null(new[e])) for e in _ENDS
    )
    value, low, high = (from_null(new[e]) for e in _ENDS)
    return Again(one, "equal" if equal else "different", value, low, high)


def _timed(run: Run, one: Recorded, source: Source) -> Again:
    """Measure a timing again; only a difference beyond chance counts as one."""
    row = one.row
    estimate = source.timed(one.candidate).get((row["measure"], row["relative_to"]))
    if estimate is None:
        raise Impossible(text("rerun.why.no_number"))
    confidence = run.judgement.confidence
    shown = assess(estimate, confidence=confidence)
    value, low, high = (float(x[0]) for x in (shown.value, shown.low, shown.high))
    if math.isnan(value):
        raise Impossible(text("rerun.why.no_number"))
    change = apart(
        row, {**row, "value": value, "low": low, "high": high}, confidence=confidence
    )  # fmt: skip
    inside = from_null(row["low"]) <= value <= from_null(row["high"])
    agrees = inside or not change.p <= 1 - confidence
    return Again(one, "equal" if agrees else "different", value, low, high, inside)


def _equal(one: float, other: float) -> bool:
    if math.isnan(one) or math.isnan(other):
        return math.isnan(one) and math.isnan(other)
    return one == other or abs(one - other) <= TOLERANCE * max(1.0, abs(one))
