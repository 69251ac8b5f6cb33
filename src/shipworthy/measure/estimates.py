"""What was counted, before anybody asks whether it is enough.

One object holds the same measure over m slices: every array has shape (m,). Rooms that measure make
these; `decide.py` alone turns them into intervals, one-sided p and decisions.

n is the number of rows in the measure's own denominator, units the number of sampling units
(author, source, person) that these rows come from, deff the design effect >= 1 by which clustering
or weights shrink n (`docs/method.md`). Where rows are units, units = n and deff = 1.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, is_dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeVar

Scale: TypeAlias = Literal["identity", "log", "logit"]
"""On which an estimate is about normal."""

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    FloatArray: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True)
class Rate:
    """A share: successes of trials (both shape (m,); trials 0 is "no data")."""

    successes: FloatArray
    trials: FloatArray
    units: FloatArray
    deff: FloatArray


@dataclass(frozen=True)
class PairedChange:
    """Change of a share on the same rows: (gained - lost) / n.

    lost and gained are the discordant pairs (for accuracy: turned wrong, turned right).
    identical marks slices answered by the same artefact as the parent: change 0 [0, 0].
    """

    lost: FloatArray
    gained: FloatArray
    n: FloatArray
    units: FloatArray
    deff: FloatArray
    identical: NDArray[np.bool_]


@dataclass(frozen=True)
class F1Score:
    """F1 of one class through J = TP / (TP + FP + FN), a binomial share; F1 = 2J / (1 + J)."""

    jaccard: Rate


@dataclass(frozen=True)
class RateMean:
    """Equal-weight mean of independent shares, as balanced accuracy (mean recall over classes)."""

    rates: tuple[Rate, ...]


@dataclass(frozen=True)
class ChangeMean:
    """Equal-weight mean of independent paired changes, as the change of balanced accuracy."""

    changes: tuple[PairedChange, ...]


@dataclass(frozen=True)
class Mean:
    """A number with a standard error and t degrees of freedom on the scale given.

    value is on the natural scale; standard_error on `scale` (identity, log or logit).
    p-values and intervals are t on that scale. least_count is the smallest number of rows of a
    class that the measure needs (AUC: both classes), NaN where it needs none.
    """

    value: FloatArray
    standard_error: FloatArray
    df: FloatArray
    n: FloatArray
    units: FloatArray
    deff: FloatArray
    scale: Scale
    method: str
    least_count: FloatArray
    identical: NDArray[np.bool_]
    reason: str = ""
    """Why no slice can be decided ("too_few_processes"), or empty."""


@dataclass(frozen=True)
class Replicates:
    """A number with bootstrap replicates (macro F1 of more than two classes and its change).

    replicates: shape (m, R). Refused (`reason`, shape (m,), "" where allowed) where a cell that the
    measure needs is below 10 or units are below 30 (`docs/method.md`).
    """

    value: FloatArray
    replicates: FloatArray
    n: FloatArray
    units: FloatArray
    method: str
    reasons: tuple[str, ...]
    identical: NDArray[np.bool_]


@dataclass(frozen=True)
class RateDifference:
    """first - second for two disjoint groups (m pairs)."""

    first: Rate
    second: Rate


@dataclass(frozen=True)
class RateRatio:
    """first / second for two disjoint groups (m pairs)."""

    first: Rate
    second: Rate


@dataclass(frozen=True)
class Spread:
    """How far apart groups lie: over K groups, for one share or several (equalised odds: TPR, FPR).

    Each rate holds the K groups, shape (K,). kind "difference" is the largest max - min over the
    rates; kind "ratio" the smallest min / max.
    """

    rates: tuple[Rate, ...]
    kind: Literal["difference", "ratio"]
    groups: tuple[str, ...]


@dataclass(frozen=True)
class Fact:
    """Numbers that are known, not estimated: bytes, files, an epsilon that was claimed."""

    value: FloatArray


@dataclass(frozen=True)
class Unmeasured:
    """There is no number, and why: `not_measured`, `no_data`, `too_few_of_class` ..."""

    reason: str
    m: int = 1


Estimate: TypeAlias = (
    Rate
    | PairedChange
    | F1Score
    | RateMean
    | ChangeMean
    | Mean
    | Replicates
    | RateDifference
    | RateRatio
    | Spread
    | Fact
    | Unmeasured
)

T = TypeVar(
    "T", Rate, PairedChange, F1Score, RateMean, ChangeMean, Mean, Replicates, Fact, Unmeasured
)


def take(estimate: T, places: Sequence[int]) -> T:
    """Return the same estimate on some of its slices, in the order given."""
    parts: dict[str, Any] = {
        f.name: _taken(getattr(estimate, f.name), places) for f in fields(estimate)
    }
    if isinstance(estimate, Unmeasured):
        parts["m"] = len(places)
    return replace(estimate, **parts)


def _taken(value: Any, places: Sequence[int]) -> Any:
    if isinstance(value, tuple):
        if value and isinstance(value[0], str):
            return tuple(value[k] for k in places)
        return tuple(_taken(part, places) for part in value)
    if is_dataclass(value):
        return take(value, places)  # type: ignore[type-var]
    return value[list(places)] if hasattr(value, "shape") else value
