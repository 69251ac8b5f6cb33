"""What one limit looks at: which slices, and the estimate on them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from shipworthy.core.records import Limit, RelativeTo, Slice
from shipworthy.measure.catalogue import MEASURES
from shipworthy.measure.decide import Evidence
from shipworthy.measure.estimates import Unmeasured, take
from shipworthy.release.policy_fit import columns_of

if TYPE_CHECKING:
    from shipworthy.measure.estimates import Estimate


def columns_looked_at(
    limit: Limit, groups: Sequence[str], crossed: tuple[tuple[str, ...], ...]
) -> tuple[tuple[str, ...], ...]:
    """Return the columns whose slices a limit looks at, one tuple for each partition.

    crossed: what `each group` means: the group columns and their crossings.
    """
    if limit.slices in ("each group", "worst group"):
        return crossed
    if limit.slices == "all":
        spread = MEASURES[limit.measure].kind == "spread"
        return tuple((column,) for column in groups) if spread else ((),)
    return (columns_of(limit),)


def evidence_on(
    limit: Limit,
    index: int,
    columns: tuple[str, ...],
    slices: tuple[Slice, ...],
    estimate: Estimate,
    bound: float,
) -> Evidence:
    """Return what a limit looks at on one partition; slices: those of the estimate."""
    if MEASURES[limit.measure].kind == "spread":
        slices = (over(columns),)
    elif columns and not _is_each(limit):
        slices, estimate = _one_slice(limit, slices, estimate)
    return Evidence(
        limit=limit,
        index=index,
        slices=slices,
        estimate=estimate,
        bound=bound,
        value_unit=value_unit(limit.measure, limit.relative_to),
        intersection=len(columns) > 1,
    )


def over(columns: Sequence[str]) -> Slice:
    """Return the slice that stands for "all groups of these columns compared"."""
    return Slice.of({"each": " × ".join(columns)})


def value_unit(measure: str, relative_to: RelativeTo) -> str:
    """Return the unit of a stored value; times and sizes against the parent are ratios."""
    kind = MEASURES[measure]
    return "ratio" if relative_to != "none" and kind.kind in ("speed", "fact") else kind.unit


def _is_each(limit: Limit) -> bool:
    return isinstance(limit.slices, str) or "each" in limit.slices


def _one_slice(
    limit: Limit, slices: tuple[Slice, ...], estimate: Estimate
) -> tuple[tuple[Slice, ...], Estimate]:
    """Pick the slice whose values a limit writes; values compare as text, `true` as true."""
    wanted = Slice.of(cast("Mapping[str, Any]", limit.slices))
    told = [(c, _as_text(v)) for c, v in wanted.conditions]
    for place, one in enumerate(slices):
        if [(c, _as_text(v)) for c, v in one.conditions] == told:
            if isinstance(estimate, Unmeasured):
                return (one,), Unmeasured(estimate.reason)
            return (one,), take(cast("Any", estimate), [place])
    return (wanted,), Unmeasured("no_data")


def _as_text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
