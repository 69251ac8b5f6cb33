"""From records of processes to estimates: means of logarithms, with the spread of the processes.

Requests of one process share its luck (where memory landed, what else ran), so that a process is
one observation: the interval is t on logs with P - 1 degrees of freedom. A change is a paired t of
log ratios, since candidate and parent run in one round, on the same texts. Upper ends from pooled
requests hold in 90 % of cases instead of 97.5 % where processes differ by 5 % and requests by 25 %.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from shipworthy.core.records import RelativeTo
from shipworthy.measure.catalogue import MEASURES
from shipworthy.measure.estimates import Estimate, Fact, Mean, Unmeasured
from shipworthy.measure.settings import LEAST_PROCESSES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from shipworthy.measure.speed_records import SpeedRecords

    FloatArray: TypeAlias = NDArray[np.float64]

SPEED_MEASURES: dict[str, tuple[str, str]] = {
    name: (kind.unit, kind.better) for name, kind in MEASURES.items() if kind.kind == "speed"
}
"""Name -> unit and which side is better. With `ids` the texts are token ids already.

Latencies are of one text at a time, throughput of batches as the runtime answers them: an int8
graph takes their texts one by one. peak_memory_mb is the whole process (interpreter, libraries,
model, single requests and batches) in 1e6 bytes.
"""

_COUNTED = frozenset({"kv_cache_mb"})
"""Measures that are counted and not timed: where all processes agree, there is no error."""

_AGREED = 1e-9
"""Largest relative distance of counts that agree: they were divided, so that last digits differ."""


def speed_estimates(
    records: SpeedRecords, candidate: str, *, parent: str
) -> Mapping[tuple[str, RelativeTo], Estimate]:
    """Return the estimate of every speed measure, absolute ("none") and against the parent.

    A value is exp of the mean log over processes; a change is a ratio, candidate over parent, 1
    where nothing changed. What all processes counted alike is a Fact. Fewer than five processes
    carry the reason `too_few_processes`, and so do changes measured in the short form. What was not
    timed is Unmeasured; the parent has no changes.
    """
    found: dict[tuple[str, RelativeTo], Estimate] = {}
    short = records.said(candidate, "form") == "short"
    form = ", short form" if short else ""
    digest = records.said(candidate, "artefact_digest")
    same = digest is not None and digest == records.said(parent, "artefact_digest")
    for measure in SPEED_MEASURES:
        own, base = records.values(candidate, measure), records.values(parent, measure)
        values = np.array(list(own.values()))
        unsettled = _told(records.unsettled(candidate))
        method = f"t on logs of {len(values)} fresh processes{form}{unsettled}"
        found[measure, "none"] = _counted(measure, values) or _mean(np.log(values), method)
        if candidate == parent:
            continue
        shared = [k for k in own if k in base]
        ratios = np.array([own[k] / base[k] for k in shared])
        unsettled = _told(records.unsettled(candidate) + records.unsettled(parent))
        method = f"paired t on logs of {len(ratios)} rounds{form}{unsettled}"
        exact = None if short or same else _counted(measure, ratios)
        found[measure, "parent"] = exact or _mean(
            np.log(ratios), method, undecided=short, identical=same
        )
    return found


def _counted(measure: str, values: FloatArray) -> Fact | None:
    """Return what enough processes counted alike: with no spread, no t would ever decide it."""
    if measure not in _COUNTED or len(values) < LEAST_PROCESSES:
        return None
    return Fact(values[:1]) if np.ptp(values) <= _AGREED * values[0] else None


def _told(unsettled: int) -> str:
    return f", {unsettled} never settled" if unsettled else ""


def _mean(
    logs: FloatArray, method: str, *, undecided: bool = False, identical: bool = False
) -> Estimate:
    count = len(logs)
    if count == 0:
        return Unmeasured("not_measured")
    error = logs.std(ddof=1) / np.sqrt(count) if count > 1 else np.nan
    nothing = np.array([np.nan])
    few = undecided or count < LEAST_PROCESSES
    return Mean(
        # The same bytes are as fast as themselves, whatever the clock said.
        value=np.array([1.0 if identical else np.exp(logs.mean())]),
        standard_error=np.array([error]),
        df=np.array([count - 1.0]),
        # Neither rows nor units: a mean over processes is exempt from the minimum of rows.
        n=nothing,
        units=nothing,
        deff=np.ones(1),
        scale="log",
        method=method,
        least_count=nothing,
        identical=np.array([identical]),
        reason="too_few_processes" if few and not identical else "",
    )
