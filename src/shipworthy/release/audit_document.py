"""An audit as one JSON document."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from shipworthy.core.records import ALL_ROWS, Slice
from shipworthy.release.audit_records import Audit, GroupNumber, GroupRow, measure_of
from shipworthy.release.nulls import interval, to_null
from shipworthy.release.wording import phrase

if TYPE_CHECKING:
    from shipworthy.core.records import Decision


def document(audit: Audit) -> dict[str, Any]:
    """Return the document of an audit: numbers are numbers, null where there is none."""
    measures = [measure_of(c) for c in audit.comparisons]
    for one in measures:
        if one["class"] is None:
            del one["class"]
    found: dict[str, Any] = {
        "rows": audit.rows,
        "task": audit.task,
        "positive": audit.positive,
        "classes": list(audit.classes),
        "confidence": audit.confidence,
        "unit": audit.unit,
        "weighted": audit.weighted,
        "attributes": [list(columns) for columns in audit.attributes],
        "overall": [_group(row) for row in audit.whole],
        "groups": [_group(row) for row in audit.slices],
        "measures": measures,
        "notes": [phrase(p) for p in audit.notes],
    }
    if audit.verdict is not None:
        found["verdict"] = audit.verdict.value
        found["limits"] = [_limit(d) for d in audit.decisions]
    found["exit_code"] = audit.exit_code
    return found


def _group(row: GroupRow) -> dict[str, Any]:
    found: dict[str, Any] = {} if row.slice == ALL_ROWS else {"group": dict(row.slice.conditions)}
    if row.name is not None:
        found["class"] = row.name
    return {**found, "n": row.n, **{x.measure: _interval(x) for x in row.numbers}}


def _interval(number: GroupNumber) -> dict[str, Any]:
    found: dict[str, Any] = {
        **interval(number.value, number.low, number.high),
        "n": number.n,
    }
    if not math.isnan(number.shrunk):
        found["shrunk"] = number.shrunk
    return found


def _limit(decision: Decision) -> dict[str, Any]:
    return {
        "measure": decision.measure,
        "slice": dict(Slice.parse(decision.slice).conditions),
        "value": to_null(decision.value),
        "low": to_null(decision.low),
        "high": to_null(decision.high),
        "side": decision.side,
        "bound": to_null(decision.bound),
        "decision": decision.decision.value,
        "reason": decision.reason,
        "n": decision.n,
        "n_needed": decision.n_needed,
        "tier": decision.tier,
        "owner": decision.owner,
    }
