"""Numbers made again, and those that can be, for the terminal and as one JSON document."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

from shipworthy.core.locale import number
from shipworthy.core.records import Slice
from shipworthy.release.cells import Column, clean, table, wrap
from shipworthy.release.display import capital, measure_name, shown, text
from shipworthy.release.load import Run
from shipworthy.release.rerun import Again, Recorded, Rerun
from shipworthy.release.standing import Survey, survey

MOST_LISTED = 30
"""Numbers made again beyond which those that came out equal are only counted."""


def listing(run: Run, numbers: Sequence[Recorded], *, width: int) -> list[str]:
    """Return the lines that name every number of a run by its id."""
    asked = survey(run.judgement)
    heads = [text(f"rerun.head.{h}") for h in ("id", "candidate", "measure", "rows", "recorded")]
    rows = [[n.id, *_about(asked, n), _recorded(n)] for n in numbers]
    return _set(heads, rows, width)


def lines(found: Rerun, *, width: int) -> list[str]:
    """Return the lines of numbers that were made again, with the reason of each that was not."""
    asked = survey(found.run.judgement)
    said: list[str] = []
    if found.device_then and found.device_now not in found.device_then.split(" | "):
        told = text("rerun.device", before=found.device_then, after=found.device_now)
        said += ["  ! " + line for line in wrap(clean(told), width - 4)] + [""]
    few = len(found.results) <= MOST_LISTED
    made = [
        r
        for r in found.results
        if r.status == "different" or r.inside is not None or (few and r.status == "equal")
    ]
    if made:
        names = ("id", "candidate", "measure", "rows", "recorded", "now", "result")
        heads = [text(f"rerun.head.{h}") for h in names]
        rows = [
            [r.recorded.id, *_about(asked, r.recorded), _recorded(r.recorded), _now(r), _word(r)]
            for r in made
        ]
        said += [*_set(heads, rows, width), ""]
    reasons: dict[str, list[str]] = {}
    for r in found.results:
        if r.status == "impossible":
            reasons.setdefault(r.why, []).append(r.recorded.id)
    for why, ids in reasons.items():
        told = text("rerun.impossible", ids=_ids(ids), why=why)
        said += ["  " + line for line in wrap(clean(told), width - 2)]
    return [*said, "  " + _conclusion(found)]


def to_json(found: Rerun) -> dict[str, Any]:
    """Return numbers that were made again as one object; what is not known is null."""
    counts = Counter(r.status for r in found.results)
    return {
        "run": found.run.judgement.run,
        "folder": str(found.run.folder),
        "device_then": found.device_then,
        "device_now": found.device_now,
        "equal": counts["equal"],
        "different": counts["different"],
        "impossible": counts["impossible"],
        "measurements": [
            {
                **named(r.recorded),
                "status": r.status,
                "now": _three(r.value, r.low, r.high),
                "difference": _finite(r.difference),
                "inside": r.inside,
                "why": r.why,
            }
            for r in found.results
        ],
        "exit_code": found.exit_code,
    }


def named(one: Recorded) -> dict[str, Any]:
    """Return one recorded number with its id, for JSON."""
    row = one.row
    return {
        "id": one.id,
        "candidate": one.candidate.id,
        "candidate_name": one.candidate.name,
        "measure": row["measure"],
        "slice": dict(Slice.parse(row["slice"]).conditions),
        "relative_to": row["relative_to"],
        "recorded": _three(*(row[e] for e in ("value", "low", "high"))),
        "n": row["n"],
    }


def _conclusion(found: Rerun) -> str:
    counts = Counter(r.status for r in found.results)
    told = {s: number(counts[s]) for s in ("equal", "different", "impossible")}
    return text("rerun.conclusion", **told)


def _ids(ids: Sequence[str], most: int = 3) -> str:
    told = ", ".join(ids[:most])
    left = len(ids) - most
    return told if left <= 0 else text("report.and_more", names=told, count=number(left))


def _about(asked: Survey, one: Recorded) -> list[str]:
    row = one.row
    name = measure_name(row["measure"])
    if row["relative_to"] != "none" and row["value_unit"] != "share":
        name = text(f"report.limit.change_{row['relative_to']}", measure=name)
    where = asked.slice_label(Slice.parse(row["slice"])) or text("report.all_rows")
    return [one.candidate.name, capital(name), where]


def _figure(one: Recorded, value: float) -> str:
    row = one.row
    if row["value_unit"] == "share":
        # Flips among all rows: a share that is measured against the parent, and no change of one.
        form = shown("accuracy")
    else:
        relative = row["relative_to"] != "none"
        form = shown(row["measure"], relative=relative, value_unit=row["value_unit"])
    return form.with_unit(form.figure(value))


def _recorded(one: Recorded) -> str:
    value = one.row["value"]
    return _figure(one, math.nan if value is None else value)


def _now(r: Again) -> str:
    return _figure(r.recorded, r.value)


def _word(r: Again) -> str:
    if r.inside is not None:
        return text("rerun.timed.inside" if r.inside else f"rerun.timed.{r.status}")
    if r.status == "equal":
        return text("rerun.equal")
    return text("rerun.different", difference=f"{r.difference:+.3g}")


def _set(heads: Sequence[str], rows: Sequence[Sequence[str]], width: int) -> list[str]:
    columns = [Column(h, "left", k in (1, 2, 3, 6)) for k, h in enumerate(heads)]
    cleaned = [[clean(c) for c in row] for row in rows]
    set_lines, _ = table(columns, cleaned, width - 2)
    return ["  " + "  ".join(cells).rstrip() for cells in set_lines]


def _three(value: float | None, low: float | None, high: float | None) -> dict[str, Any]:
    return {"value": _finite(value), "low": _finite(low), "high": _finite(high)}


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
