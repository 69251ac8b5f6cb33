"""What the simulations of the gate found: one record a check, kept in build/gate.json.

A check observes events that must be rare: false passes, false fails, false ships. It is accepted
while they do not exceed the quantile 1e-4 *above the allowed rate*, so that a sound gate
practically never fails it. A mutant is the same check with one rule of the gate broken: it must be
noticed. `scripts/gate_table.py` shows the records in docs/method.md.
"""

import json
from datetime import UTC, datetime
from pathlib import Path

from scipy import stats

from shipworthy.core.files import write_atomically

ROOT = Path(__file__).parents[2]
RECORDS = ROOT / "build" / "gate.json"
RARE = 1e-4


def most(allowed: float, replicates: int) -> int:
    """The largest number of events that a rate of at most `allowed` explains."""
    return int(stats.binom.isf(RARE, replicates, allowed))


def check(item: int, name: str, events: int, *, replicates: int, allowed: float) -> None:
    """Record a check of the gate and accept it."""
    accepted = most(allowed, replicates)
    _record(item, name, events, accepted, replicates, allowed, mutant="")
    assert events <= accepted, f"{name}: {events} of {replicates}, accepted up to {accepted}"


def broken(
    item: int, name: str, mutant: str, events: int, *, replicates: int, allowed: float
) -> None:
    """Record the same check of a broken gate: it must not be accepted."""
    accepted = most(allowed, replicates)
    _record(item, name, events, accepted, replicates, allowed, mutant=mutant)
    assert events > accepted, f"{mutant} stays unseen: {events} of {replicates} in {name}"


def exactly(item: int, name: str, worst: float, *, allowed: float) -> None:
    """Record a rate that was enumerated and not drawn."""
    _record(item, name, worst, allowed, 0, allowed, mutant="")
    assert worst <= allowed, f"{name}: {worst}, allowed {allowed}"


def worst_of(item: int, name: str, worst: float, *, replicates: int, allowed: float) -> None:
    """Record the worst rate of a grid; each of its cells is accepted as a check is."""
    accepted = most(allowed, replicates) / replicates
    _record(item, name, worst * replicates, accepted * replicates, replicates, allowed, mutant="")
    assert worst <= accepted, f"{name}: {worst}, accepted up to {accepted}"


def _record(
    item: int, name: str, observed: float, accepted: float, replicates: int, allowed: float,
    *, mutant: str,
) -> None:  # fmt: skip
    count = max(replicates, 1)
    record = {
        "item": item,
        "check": name,
        "mutant": mutant,
        "observed": observed / count,
        "allowed": allowed,
        "accepted": accepted / count,
        "replicates": replicates,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    print(
        f"gate {item} {name}{f' [mutant: {mutant}]' if mutant else ''}: observed "
        f"{observed / count:.4f}, allowed {allowed:.4f}, accepted up to {accepted / count:.4f}, "
        f"replicates {replicates or 'all'}"
    )
    key = (item, name, mutant, replicates)
    known = json.loads(RECORDS.read_text(encoding="utf-8")) if RECORDS.exists() else []
    kept = [r for r in known if (r["item"], r["check"], r["mutant"], r["replicates"]) != key]
    RECORDS.parent.mkdir(exist_ok=True)
    write_atomically(RECORDS, json.dumps([*kept, record], indent=1) + "\n")
