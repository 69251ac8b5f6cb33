"""The words that all rooms share: slices, candidates, measurements, limits, decisions, verdicts.

Frozen dataclasses for values in memory and one Arrow schema a table. `measurements.parquet` is the
single table of numbers about a candidate; `decisions.parquet` says what each limit made of them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from enum import StrEnum
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable

    import polars as pl

Scalar: TypeAlias = str | int | float | bool | None
RelativeTo: TypeAlias = Literal["none", "parent", "baseline"]
Tier: TypeAlias = Literal["critical", "supporting", "advisory"]
OnUnknown: TypeAlias = Literal["block", "disclose"]

LEVERS = (
    "train", "quantize", "prune", "low_rank", "vocabulary", "distill",
    "mitigate", "private", "federate", "threshold", "runtime", "repair",
)  # fmt: skip


SMALL = ("too_few_rows", "unit_count", "too_few_of_class", "no_data")
"""Reasons that make a slice "not covered" where small slices are reported instead of blocking."""
WAIVED = "waived"
"""Reason of every decision of a limit that an able person waived; it leaves the verdict."""


class Outcome(StrEnum):
    """What one limit says about one slice."""

    PASS = "pass"
    FAIL = "fail"
    CANNOT_TELL = "cannot_tell"


class Answer(StrEnum):
    """The verdict of a candidate or of a run."""

    SHIP = "ship"
    HOLD = "hold"
    UNDECIDED = "undecided"


@dataclass(frozen=True, order=True)
class Slice:
    """Rows that share the given column values; no condition means all rows."""

    conditions: tuple[tuple[str, Scalar], ...] = ()

    @classmethod
    def of(cls, conditions: Mapping[str, Scalar]) -> Slice:
        """Build a slice with its keys sorted."""
        return cls(tuple(sorted(conditions.items())))

    @classmethod
    def parse(cls, text: str) -> Slice:
        """Read the canonical JSON form back."""
        return cls.of(json.loads(text))

    @property
    def json(self) -> str:
        """Canonical JSON: keys sorted, no spaces; `{}` is all rows."""
        return json.dumps(
            dict(self.conditions), sort_keys=True, ensure_ascii=False, separators=(",", ":")
        )

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns that define the slice."""
        return tuple(name for name, _ in self.conditions)

    def __str__(self) -> str:
        return ", ".join(f"{k}={'(missing)' if v is None else v}" for k, v in self.conditions)


ALL_ROWS = Slice()


@dataclass(frozen=True)
class Candidate:
    """One artefact that might ship, and how it came to be.

    `id` is the first 12 hex digits of sha256 over parents, lever, settings, seed, artefact digest.
    """

    name: str
    lever: str
    parents: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0
    folder: str = ""
    runtime: str = ""
    artefact_digest: str = ""
    device_flags: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        """Identity of the candidate, bound to the bytes of its artefact."""
        key = [
            list(self.parents), self.lever, dict(self.settings), self.seed, self.artefact_digest
        ]  # fmt: skip
        return sha256(json.dumps(key, sort_keys=True, default=str).encode()).hexdigest()[:12]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, with the id, for JSON."""
        return {"id": self.id, **asdict(self), "settings": dict(self.settings)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Candidate:
        """Inverse of `to_dict`."""
        known = {f.name for f in fields(cls)}
        kept = {k: v for k, v in values.items() if k in known}
        for name in ("parents", "device_flags"):
            kept[name] = tuple(kept.get(name, ()))
        return cls(**kept)


@dataclass(frozen=True)
class Measurement:
    """One number about one candidate on one slice, with its interval and its evidence.

    A number without an interval has low = high = value and method `exact`.
    n counts rows in the measure's own denominator; n_effective is n after units and weights.
    """

    candidate: str
    measure: str
    value: float
    low: float
    high: float
    slice: str = "{}"
    relative_to: str = "none"
    n: int = 0
    n_units: int = 0
    n_effective: float = 0.0
    value_unit: str = ""
    method: str = "exact"
    confidence: float = 0.95
    run: str = ""
    data_digest: str = ""
    artefact_digest: str = ""
    split: str = "test"
    device_flags: str = ""
    seed: int = 0
    seconds: float = 0.0
    created: datetime = field(default_factory=lambda: datetime.now(UTC))


@dataclass(frozen=True)
class Limit:
    """One line of a policy.

    slices: "all", "each group", "worst group", {"each": column}, {"each": (column, column)} for
    intersections, or {column: value}.
    bound: a number, or the name of another measure of the same candidate.
    """

    measure: str
    side: Literal["at_least", "at_most"]
    bound: float | str
    slices: str | Mapping[str, Scalar | tuple[str, ...]] = "all"
    relative_to: RelativeTo = "none"
    tier: Tier = "supporting"
    unknown: OnUnknown = "block"
    owner: str = ""
    expires_days: int | None = None

    def __str__(self) -> str:
        sign = "≥" if self.side == "at_least" else "≤"
        relation = "" if self.relative_to == "none" else f" against {self.relative_to}"
        return f"{self.measure}{relation}{self._where()} {sign} {self.bound}"

    def _where(self) -> str:
        if isinstance(self.slices, str):
            return "" if self.slices == "all" else f" on {self.slices}"
        told = [
            f"each {' × '.join(v) if isinstance(v, tuple) else v}" if k == "each" else f"{k}={v}"
            for k, v in self.slices.items()
        ]
        return f" on {', '.join(told)}"


@dataclass(frozen=True)
class Decision:
    """What one limit says about one slice of one candidate, with all that led there.

    p_pass is the one-sided p of "not inside the limit", p_fail of "not outside"; the adjusted ones
    carry Holm's correction. n_needed is the total n that would decide with power 0.8, or None.
    reason_before is the reason without the waiver, where there is one.
    """

    candidate: str
    measure: str
    slice: str
    relative_to: str
    bound: float
    side: str
    value: float
    low: float
    high: float
    n: int
    n_units: int
    p_pass: float
    p_fail: float
    p_pass_adjusted: float
    p_fail_adjusted: float
    alpha: float
    method: str
    decision: Outcome
    reason: str = ""
    n_needed: int | None = None
    tier: str = "supporting"
    unknown: str = "block"
    owner: str = ""
    limit: int = 0
    value_unit: str = ""
    run: str = ""
    reason_before: str = ""


@dataclass(frozen=True)
class Verdict:
    """The answer for one candidate.

    p_candidate is the largest p_pass of the limits that count, before and after Holm over the
    nominated candidates.
    """

    candidate: str
    answer: Answer
    nominated: bool
    p_candidate: float
    p_candidate_adjusted: float
    reasons: tuple[str, ...] = ()


def measurement_id(run: str, candidate: str, measure: str, slice: str, relative_to: str) -> str:
    """Return the name of one number of a run: 12 hex digits of a sha256 over what it is of.

    A `Measurement` and the `Decision` about it have the same one.
    """
    key = json.dumps([run, candidate, measure, slice, relative_to], ensure_ascii=False)
    return sha256(key.encode()).hexdigest()[:12]


def to_frame(records: Iterable[Any], kind: type) -> pl.DataFrame:
    """Return dataclass records as a Polars frame with the columns and types of `kind`."""
    import polars as pl

    types: dict[str, Any] = {
        "str": pl.String, "float": pl.Float64, "int": pl.Int64, "int | None": pl.Int64,
        "bool": pl.Boolean, "datetime": pl.Datetime("us", "UTC"), "Outcome": pl.String,
    }  # fmt: skip
    schema = {f.name: types[str(f.type)] for f in fields(kind)}
    rows = [{name: _plain(getattr(r, name)) for name in schema} for r in records]
    return pl.DataFrame(rows, schema=schema)


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, StrEnum) else value
