"""The folder of a judgement: what was measured, what was decided, and the page that shows it.

    measurements.parquet    every number about a candidate, columns of `Measurement`
    decisions.parquet       what each limit made of them, columns of `Decision`
    answers.parquet         who answered what on which row, without texts (`answers_table`)
    forgotten.parquet       slices that lost more than the rest, exploratory (`forgotten_records`)
    verdict.json            limits, candidates, verdicts, notes: all else, written last
    report.html             the page

A folder without `verdict.json` is unfinished: an older one is removed before anything is written.
"""

from __future__ import annotations

import io
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, fields, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shipworthy.core.errors import InputError
from shipworthy.core.files import write_atomically
from shipworthy.core.locale import text
from shipworthy.core.locale.libraries import translated
from shipworthy.core.records import (
    Answer,
    Candidate,
    Decision,
    Limit,
    Measurement,
    Outcome,
    Verdict,
    to_frame,
)
from shipworthy.release.answers_table import ANSWERS, answers_bytes
from shipworthy.release.forgotten_records import (
    FORGOTTEN,
    ForgottenSlice,
    from_document,
    slices_bytes,
    to_document,
)
from shipworthy.release.judgement import (
    Example,
    Judgement,
    NextStep,
    Phrase,
    SelftestEvidence,
    Waiver,
)

if TYPE_CHECKING:
    import polars as pl

MEASUREMENTS = "measurements.parquet"
DECISIONS = "decisions.parquet"
VERDICT = "verdict.json"
REPORT = "report.html"

_FORMAT = 2
_MISFITS = (KeyError, TypeError, ValueError, AttributeError, RecursionError)


def write_record(judgement: Judgement, folder: Path | str) -> Path:
    """Write the whole record of a judgement into a folder and return the path of its page."""
    from shipworthy.release.report import write_report

    place = Path(folder)
    # Nor must the page of an earlier verdict stay, should this one come to no end.
    for name in (VERDICT, REPORT):
        (place / name).unlink(missing_ok=True)
    decisions = [replace(d, run=judgement.run) for d in judgement.decisions]
    write_atomically(place / MEASUREMENTS, _parquet(judgement.measurements))
    write_atomically(place / DECISIONS, _parquet(to_frame(decisions, Decision)))
    if judgement.answers is not None:
        write_atomically(place / ANSWERS, answers_bytes(judgement.answers()))
    if judgement.forgotten:
        write_atomically(place / FORGOTTEN, slices_bytes(judgement.forgotten))
    else:
        (place / FORGOTTEN).unlink(missing_ok=True)
    page = write_report(judgement, place / REPORT)
    document = json.dumps(_document(judgement), ensure_ascii=False, indent=1)
    write_atomically(place / VERDICT, document)
    return page


def read_record(folder: Path | str) -> Judgement:
    """Read a judgement back from its folder.

    Raises InputError where the folder holds no finished judgement or a file of it is damaged.
    """
    place = Path(folder)
    document = _read(place / VERDICT, lambda path: json.loads(path.read_text(encoding="utf-8")))
    if not isinstance(document, dict):
        raise _damaged(place / VERDICT, text("error.record.no_object"))
    if document.get("format") != _FORMAT:
        raise InputError(text("error.record.version", path=place / VERDICT))
    measurements = _read(place / MEASUREMENTS, _frame)
    decisions = _read(place / DECISIONS, _frame)
    # Records of before there was such a list have none.
    losses = _read(place / FORGOTTEN, _frame) if document.get("forgotten") else None
    for name, frame, kind in (
        (MEASUREMENTS, measurements, Measurement), (FORGOTTEN, losses, ForgottenSlice),
    ):  # fmt: skip
        lacking = {f.name for f in fields(kind)} - set(() if frame is None else frame.columns)
        if frame is not None and lacking:
            raise _damaged(place / name, ", ".join(sorted(lacking)))
    try:
        found = _judgement(document, measurements, decisions, losses)
    except _MISFITS as error:
        raise _damaged(place, f"{type(error).__name__}: {error}") from error
    if any(d.run != found.run for d in found.decisions):
        raise _damaged(place / DECISIONS, text("error.record.other_run"))
    return found


def _read(path: Path, reader: Callable[[Path], Any]) -> Any:
    """Return what a file of the record holds, or raise InputError."""
    from polars.exceptions import PolarsError

    try:
        return reader(path)
    except FileNotFoundError as error:
        raise InputError(text("error.record.absent", folder=path.parent, file=path.name)) from error
    except (ValueError, OSError, PolarsError, RecursionError) as error:
        told = str(error).splitlines() or [type(error).__name__]
        raise _damaged(path, translated(told[0])) from error


def _frame(path: Path) -> pl.DataFrame:
    import polars as pl

    # Read whole first: the parser of a missing or a torn file names neither.
    return pl.read_parquet(io.BytesIO(path.read_bytes()))


def _damaged(path: Path, why: str) -> InputError:
    return InputError(text("error.record.damaged", path=path, why=why))


def _document(judgement: Judgement) -> dict[str, Any]:
    kept = {f.name: getattr(judgement, f.name) for f in fields(judgement)}
    for name in ("measurements", "decisions", "approval", "answers"):
        del kept[name]
    return {
        **kept,
        "format": _FORMAT,
        "created": judgement.created.isoformat(),
        "limits": [asdict(limit) for limit in judgement.limits],
        "parent": judgement.parent.to_dict(),
        "candidates": [c.to_dict() for c in judgement.candidates],
        "verdicts": [_finite(asdict(v)) for v in judgement.verdicts],
        "next_steps": [
            _finite({**asdict(s), "phrase": _from_phrase(s.phrase)}) for s in judgement.next_steps
        ],
        "not_measured": [_from_phrase(p) for p in judgement.not_measured],
        "notes": [_from_phrase(p) for p in judgement.notes],
        "group_names": dict(judgement.group_names),
        "waivers": [asdict(w) for w in judgement.waivers],
        "selftest": None if judgement.selftest is None else asdict(judgement.selftest),
        "examples": [asdict(e) for e in judgement.examples],
        "forgotten": [to_document(one) for one in judgement.forgotten],
    }


def _judgement(
    document: Mapping[str, Any],
    measurements: pl.DataFrame,
    decisions: pl.DataFrame,
    losses: pl.DataFrame | None,
) -> Judgement:
    names = {f.name for f in fields(Judgement)}
    kept = {k: tuple(v) if isinstance(v, list) else v for k, v in document.items() if k in names}
    values: dict[str, Any] = {
        **kept,
        "created": _time(document["created"]),
        "answer": Answer(document["answer"]),
        "limits": tuple(_limit(values) for values in document["limits"]),
        "parent": Candidate.from_dict(document["parent"]),
        "candidates": tuple(Candidate.from_dict(c) for c in document["candidates"]),
        "measurements": measurements,
        "decisions": tuple(_decision(row) for row in decisions.iter_rows(named=True)),
        "verdicts": tuple(_verdict(values) for values in document["verdicts"]),
        "next_steps": tuple(_next_step(values) for values in document["next_steps"]),
        "not_measured": tuple(_to_phrase(p) for p in document["not_measured"]),
        "notes": tuple(_to_phrase(p) for p in document["notes"]),
        "evidence": tuple((label, told) for label, told in document["evidence"]),
        "waivers": tuple(Waiver(**w) for w in document["waivers"]),
        "selftest": _selftest(document["selftest"]),
        "examples": tuple(Example(**e) for e in document["examples"]),
        "forgotten": ()
        if losses is None
        else tuple(from_document(one, losses) for one in document["forgotten"]),
        "training": document.get("training", {}),
        "search": document.get("search", {}),
    }
    return Judgement(**values)


def _selftest(values: Mapping[str, Any] | None) -> SelftestEvidence | None:
    if values is None:
        return None
    kept: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
    found = SelftestEvidence(**kept)
    for written in filter(None, (found.created, found.expires)):
        _time(written)
    return found


def _time(written: str) -> datetime:
    """Return a time; raises ValueError for one that does not say its zone."""
    time = datetime.fromisoformat(written)
    if time.tzinfo is None:
        raise ValueError(written)
    return time


def _limit(values: Mapping[str, Any]) -> Limit:
    slices = values["slices"]
    if isinstance(slices, dict):
        slices = {k: tuple(v) if isinstance(v, list) else v for k, v in slices.items()}
    return Limit(**{**values, "slices": slices})


def _decision(row: Mapping[str, Any]) -> Decision:
    return Decision(**{**row, "decision": Outcome(row["decision"])})


def _verdict(values: Mapping[str, Any]) -> Verdict:
    return Verdict(
        **{
            **_numbers(values, "p_candidate", "p_candidate_adjusted"),
            "answer": Answer(values["answer"]),
            "reasons": tuple(values["reasons"]),
        }
    )


def _next_step(values: Mapping[str, Any]) -> NextStep:
    told = _numbers(
        {"cost_ms": 0.0, **values}, "probability", "pass_probability", "effect", "effect_low",
        "effect_high", "cost_mb", "cost_ms", "cost",
    )  # fmt: skip
    return NextStep(**{**told, "phrase": _to_phrase(values["phrase"])})


def _from_phrase(phrase: Phrase) -> dict[str, Any]:
    arguments = {
        k: _from_phrase(v) if isinstance(v, Phrase) else v for k, v in phrase.arguments.items()
    }
    return {"key": phrase.key, "arguments": arguments}


def _to_phrase(values: Mapping[str, Any]) -> Phrase:
    arguments = {
        k: _to_phrase(v) if isinstance(v, dict) and "key" in v else v
        for k, v in values["arguments"].items()
    }
    return Phrase(values["key"], arguments)


def _finite(values: dict[str, Any]) -> dict[str, Any]:
    """Return the values with NaN as null: JSON has no NaN."""
    return {k: None if isinstance(v, float) and math.isnan(v) else v for k, v in values.items()}


def _numbers(values: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {
        **values,
        **{name: math.nan if values[name] is None else values[name] for name in names},
    }


def _parquet(frame: pl.DataFrame) -> bytes:
    buffer = io.BytesIO()
    frame.write_parquet(buffer)
    return buffer.getvalue()
