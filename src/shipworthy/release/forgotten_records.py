"""What is kept of the answers that a candidate forgot: rows, and slices that lost the most.

Rows and counts stand in `verdict.json`, slices in `forgotten.parquet` of a run folder, one row each
with the columns of `ForgottenSlice`. Exploratory: nothing here enters a verdict.
"""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import TYPE_CHECKING, Any

from shipworthy.core.records import to_frame

if TYPE_CHECKING:
    import polars as pl

FORGOTTEN = "forgotten.parquet"


@dataclass(frozen=True)
class ForgottenRow:
    """One row that was right and is wrong.

    row: id or 16 hex digits of a hash; sure: the parent's probability of its answer, NaN without
    scores; label: the true class, the parent's answer too; text: as it may be shown, "" if not.
    """

    row: str
    sure: float
    label: str
    after: str
    text: str = ""


@dataclass(frozen=True)
class ForgottenSlice:
    """The change on one slice against the parent, a share of its rows.

    kind: `length`, `script`, `label`, `column` or `words`; column: of a `column`; name: its value,
    as it may be shown; alike: further words of mostly the same lost rows, each in its own line.
    p: one-sided, of "harmed more than all other rows"; p_adjusted: among all slices of the
    candidate; found: p_adjusted is at most 0.1.
    """

    candidate: str
    kind: str
    column: str
    name: str
    n: int
    n_units: int
    turned_wrong: int
    turned_right: int
    change: float
    low: float
    high: float
    p: float
    p_adjusted: float
    found: bool
    alike: str = ""


@dataclass(frozen=True)
class Forgotten:
    """The forgotten list of one candidate.

    rows: the first of those that turned wrong, the surest first where there are scores (`scored`).
    tested: slices that were tested; slices: the leading ones, the smallest p first. words_in: rows
    in which words were looked for, 0 where they were not.
    """

    candidate: str
    turned_wrong: int
    turned_right: int
    scored: bool
    tested: int
    words_in: int
    rows: tuple[ForgottenRow, ...] = ()
    slices: tuple[ForgottenSlice, ...] = ()

    @property
    def found(self) -> tuple[ForgottenSlice, ...]:
        """The slices that stand out."""
        return tuple(s for s in self.slices if s.found)


def slices_bytes(lists: Sequence[Forgotten]) -> bytes:
    """Return the content of `forgotten.parquet`."""
    buffer = io.BytesIO()
    to_frame([s for one in lists for s in one.slices], ForgottenSlice).write_parquet(buffer)
    return buffer.getvalue()


def to_document(one: Forgotten) -> dict[str, Any]:
    """Return what `verdict.json` keeps: all but the slices; NaN is null."""
    values = asdict(replace(one, slices=()))
    del values["slices"]
    for row in values["rows"]:
        row["sure"] = None if math.isnan(row["sure"]) else row["sure"]
    return values


def from_document(values: Mapping[str, Any], slices: pl.DataFrame) -> Forgotten:
    """Inverse of `to_document` and `slices_bytes`; slices: of all candidates."""
    rows = [{**r, "sure": math.nan if r["sure"] is None else r["sure"]} for r in values["rows"]]
    names = [f.name for f in fields(ForgottenSlice)]
    own = slices.select(names).iter_rows(named=True)
    return Forgotten(
        **{
            **values,
            "rows": tuple(ForgottenRow(**r) for r in rows),
            "slices": tuple(
                ForgottenSlice(**s) for s in own if s["candidate"] == values["candidate"]
            ),
        }
    )
