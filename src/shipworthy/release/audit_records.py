"""What an audit found: numbers of groups, comparisons of them, and what limits say about both."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from shipworthy.core.errors import EXIT_HOLD, EXIT_SHIP, EXIT_UNDECIDED
from shipworthy.core.records import ALL_ROWS, Decision, Outcome, Slice

if TYPE_CHECKING:
    import polars as pl

    from shipworthy.measure.audited_gaps import Gap
    from shipworthy.release.judgement import Phrase

Task = Literal["classification", "regression", "ranking"]

EXIT_CODES = {
    None: EXIT_SHIP,
    Outcome.PASS: EXIT_SHIP,
    Outcome.FAIL: EXIT_HOLD,
    Outcome.CANNOT_TELL: EXIT_UNDECIDED,
}


@dataclass(frozen=True)
class GroupNumber:
    """A measure of one group with its interval; NaN is "no data".

    n: rows in its own denominator. shrunk: the share drawn towards those of the other groups, NaN
    for what is no share.
    """

    measure: str
    value: float
    low: float
    high: float
    n: int
    method: str
    shrunk: float = math.nan


@dataclass(frozen=True)
class GroupRow:
    """The numbers of one slice. name: the class that is looked at, where there are several."""

    slice: Slice
    columns: tuple[str, ...]
    n: int
    numbers: tuple[GroupNumber, ...]
    name: str | None = None

    def number(self, measure: str) -> GroupNumber | None:
        """Return one of the numbers, or None."""
        return next((x for x in self.numbers if x.measure == measure), None)


@dataclass(frozen=True)
class Compared:
    """A comparison of groups; name: the class that is looked at, where there are several."""

    gap: Gap
    name: str | None = None


@dataclass(frozen=True)
class Audit:
    """One finished audit.

    whole: the numbers of all rows, one a class. rows: those that count. decisions: what limits say,
    empty without a policy. verdict: pass, fail or cannot tell, None without a policy.
    """

    name: str
    task: Task
    rows: int
    whole: tuple[GroupRow, ...]
    slices: tuple[GroupRow, ...]
    comparisons: tuple[Compared, ...]
    confidence: float
    attributes: tuple[tuple[str, ...], ...]
    positive: str | None = None
    classes: tuple[str, ...] = ()
    unit: str | None = None
    weighted: bool = False
    decisions: tuple[Decision, ...] = ()
    verdict: Outcome | None = None
    notes: tuple[Phrase, ...] = ()
    columns: Mapping[str, str] = field(default_factory=dict)

    @property
    def exit_code(self) -> int:
        """0 pass or no policy, 3 fail, 4 cannot tell."""
        return EXIT_CODES[self.verdict]

    @property
    def groups(self) -> pl.DataFrame:
        """One row for each slice (and class): its columns, n, and each measure with its ends."""
        import polars as pl

        names = list(dict.fromkeys(c for row in self.slices for c, _ in row.slice.conditions))
        measures = list(dict.fromkeys(x.measure for row in self.slices for x in row.numbers))
        found = []
        for row in self.slices:
            values = dict(row.slice.conditions)
            line: dict[str, Any] = {"attribute": attribute_of(row.columns)}
            line |= {f"group.{c}": None if c not in values else _said(values[c]) for c in names}
            line |= {"class": row.name, "n": row.n}
            for measure in measures:
                number = row.number(measure)
                for end in ("value", "low", "high"):
                    key = measure if end == "value" else f"{measure}_{end}"
                    value = math.nan if number is None else getattr(number, end)
                    line[key] = None if math.isnan(value) else value
            found.append(line)
        schema: dict[str, Any] = {"attribute": pl.String}
        schema |= {f"group.{c}": pl.String for c in names}
        schema |= {"class": pl.String, "n": pl.Int64}
        schema |= {f"{m}{end}": pl.Float64 for m in measures for end in ("", "_low", "_high")}
        return pl.DataFrame(found, schema=schema)

    @property
    def measures(self) -> pl.DataFrame:
        """One row for each comparison: its value with its ends, and between which groups."""
        import polars as pl

        schema: dict[str, Any] = {
            "name": pl.String, "attribute": pl.String, "class": pl.String, "value": pl.Float64,
            "low": pl.Float64, "high": pl.Float64, "between": pl.List(pl.String), "n": pl.Int64,
            "method": pl.String, "expected_by_chance": pl.Float64, "far_by_chance": pl.Float64,
            "share_by_chance": pl.Float64, "detectable": pl.Float64,
        }  # fmt: skip
        return pl.DataFrame([measure_of(c) for c in self.comparisons], schema=schema)

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON document: plain values, null for what there is no number of."""
        from shipworthy.release.audit_document import document

        return document(self)

    def _repr_html_(self) -> str:
        from shipworthy.release.audit_page import fragment

        return fragment(self)


def attribute_of(columns: tuple[str, ...]) -> str | None:
    """Return how a document names the columns that are compared; None for all rows."""
    return " × ".join(columns) if columns else None


def group_label(slice: Slice) -> str:
    """Return the values of a slice as one name."""
    return " × ".join(_said(v) for _, v in slice.conditions)


def measure_of(compared: Compared) -> dict[str, Any]:
    """Return one comparison as plain values."""
    gap = compared.gap
    return {
        "name": gap.measure,
        "attribute": attribute_of(gap.columns),
        "class": compared.name,
        "value": _number(gap.value),
        "low": _number(gap.low),
        "high": _number(gap.high),
        "between": [group_label(s) for s in gap.between] or None,
        "n": gap.n,
        "method": gap.method,
        "expected_by_chance": _number(gap.by_chance.mean),
        "far_by_chance": _number(gap.by_chance.far),
        "share_by_chance": _number(gap.by_chance.share),
        "detectable": _number(gap.detectable),
    }


def is_whole(row: GroupRow) -> bool:
    """Whether a row of numbers is of all rows."""
    return row.slice == ALL_ROWS


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _said(value: Any) -> str:
    return "(missing)" if value is None else str(value)
