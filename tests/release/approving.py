"""A run that is held for one limit, and the people that answer for it, each with a key."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import answers

import shipworthy as sw
from shipworthy.core.keys import SigningKey, new_key
from shipworthy.core.ledger import Ledger
from shipworthy.release.judgement import Judgement
from shipworthy.release.record import write_record
from shipworthy.release.recorded import record_run

PEOPLE = {
    "ada": ("fairness",),
    "ben": ("trainer", "ml-lead"),
    "cy": ("ml-lead", "platform"),
    "dora": ("trainer", "fairness"),
}
"""Ids and roles of the team file; everybody has the key of the same name. `eve` is of nobody."""
POLICY = [
    {"measure": "accuracy", "at_least": 0.8, "tier": "critical", "owner": "ml-lead"},
    {"measure": "accuracy", "relative_to": "parent", "at_least": -0.05, "owner": "ml-lead"},
    {"measure": "accuracy", "slice": {"each": "domain"}, "relative_to": "parent",
     "at_least": -0.03, "owner": "fairness"},
    {"measure": "accuracy", "slice": {"domain": "news"}, "at_least": 0.7},
    {"measure": "f1", "at_least": 0.99, "tier": "advisory", "owner": "platform"},
]  # fmt: skip
GROUPS = "accuracy against parent on each domain ≥ -0.03"
"""Text of the limit that the candidate `int8` fails, of the role fairness."""
REASON = "Movie reviews are retired in March; the client agreed."


@cache
def judged(**lost: int) -> Judgement:
    """Judge candidates against their parent, once; by default `int8`, which fails on movie rows.

    lost: right answers on movie rows that turned wrong, by the name of a candidate.
    """
    lost = lost or {"int8": 60}
    base = answers.parent(2000)
    made = [answers.candidate(base, lost=n, within="movie") for n in lost.values()]
    found = sw.judge(
        base, made, POLICY, label="y", prediction="p", id="i", positive="1", groups=["domain"]
    )
    names = dict(zip((c.id for c in found.candidates), lost, strict=True))
    candidates = tuple(replace(c, name=names[c.id]) for c in found.candidates)
    return replace(found, name="base", candidates=candidates)


def keys(folder: Path) -> dict[str, SigningKey]:
    """Make a key for everybody, and one for a stranger."""
    return {name: new_key(folder / name, name) for name in (*PEOPLE, "eve")}


def team(path: Path, made: dict[str, SigningKey], **changes: Any) -> Path:
    """Write a team file; changes: roles of a person, None for one that is not of the team."""
    lines = ["people:"]
    for person, roles in {**PEOPLE, **changes}.items():
        if roles is not None:
            told = ", ".join(roles)
            lines.append(f"  - {{id: {person}, roles: [{told}], key: {made[person].public.text}}}")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def kept(folder: Path, judgement: Judgement) -> Path:
    """Write a run folder with a ledger of its own."""
    write_record(judgement, folder)
    record_run(Ledger(folder / "ledger.jsonl"), folder, judgement)
    return folder


def artefact(judgement: Judgement, candidate: str, *, by: str = "") -> dict[str, Any]:
    """Return what a ledger says of an artefact of a run."""
    everyone = (judgement.parent, *judgement.candidates)
    one = next(c for c in everyone if c.id == candidate)
    return {
        "run": judgement.run, "candidate": one.id, "name": one.name, "lever": one.lever,
        "parents": list(one.parents), "artefact_digest": one.artefact_digest, "by": by,
    }  # fmt: skip
