"""A judgement as SARIF 2.1.0: limits are rules, what they hold back are results.

A fail is an error, a cannot tell a warning, both outside the verdict a note; a waived one is a
suppressed result. Each points at the line of the policy that asks for it.
"""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

from shipworthy.core.errors import SettingsError
from shipworthy.core.locale import text
from shipworthy.core.records import WAIVED, Limit, Outcome
from shipworthy.core.yaml import Document, Key, read_yaml
from shipworthy.release.exports import Case, cases, explanation, surveyed, title
from shipworthy.release.load import Run
from shipworthy.release.places import PROJECT
from shipworthy.release.standing import Survey
from shipworthy.release.wording import limit_in_full, limit_title

SCHEMA = (
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
)


def to_sarif(run: Run, *, policy: Path | None = None) -> str:
    """Return the SARIF log of a run.

    policy: the file whose lines results point at, written as it is given (relative to the
    repository it should be); None takes the one that `judge` was given, else the run's project.
    """
    asked, place = surveyed(run), _Place(run, policy)
    judgement = asked.judgement
    rules = [_rule(i, limit) for i, limit in enumerate(judgement.limits)]
    log = {
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {
                    "driver": {
                        "name": "shipworthy",
                        "version": judgement.versions.get("shipworthy", "unknown"),
                        "rules": rules,
                    }
                },
                "automationDetails": {"id": f"shipworthy/{judgement.name}/{judgement.run}"},
                "columnKind": "unicodeCodePoints",
                "results": [
                    _result(asked, case, rules[case.index]["id"], place)
                    for case in cases(asked)
                    if case.decision is not None and not _passes(case)
                ],
                "properties": {
                    "run": judgement.run,
                    "verdict": judgement.answer.value,
                    "created": judgement.created.isoformat(),
                },
            }
        ],
    }
    return json.dumps(log, ensure_ascii=False, indent=1, allow_nan=False) + "\n"


def _passes(case: Case) -> bool:
    return case.decision is not None and case.decision.decision is Outcome.PASS


def _rule(index: int, limit: Limit) -> dict[str, Any]:
    return {
        # A limit that moves in the file stays the same rule.
        "id": f"{limit.measure}/{sha256(str(limit).encode()).hexdigest()[:8]}",
        "name": f"Limit{index + 1}",
        "shortDescription": {"text": limit_title(limit)},
        "fullDescription": {"text": limit_in_full(limit)},
        "defaultConfiguration": {"level": "note" if limit.tier == "advisory" else "error"},
        "properties": {"tier": limit.tier, "owner": limit.owner, "unknown": limit.unknown},
    }


def _result(asked: Survey, case: Case, rule: str, place: _Place) -> dict[str, Any]:
    d = case.decision
    assert d is not None
    level = {"fail": "error", "undecided": "warning"}.get(case.status, "note")
    found: dict[str, Any] = {
        "ruleId": rule,
        "ruleIndex": case.index,
        "level": level,
        "message": {
            "text": text(
                "report.drawing.panel",
                title=text("clause.about", subject=case.candidate.name, said=title(asked, case)),
                rows=explanation(case),
            )
        },
        "locations": [place.of(case.index)],
        "partialFingerprints": {
            "limitOnSlice/v1": sha256(
                json.dumps([case.candidate.name, rule, d.slice]).encode()
            ).hexdigest()[:32]
        },
        "properties": {
            "candidate": case.candidate.id,
            "decision": d.decision.value,
            "reason": d.reason,
            "slice": d.slice,
            "n": d.n,
        },
    }
    if d.reason == WAIVED:
        found["suppressions"] = [
            {"kind": "external", "status": "accepted", "justification": case.why}
        ]
    return found


class _Place:
    """Where limits are written."""

    def __init__(self, run: Run, policy: Path | None) -> None:
        asked = run.judgement.sources.get("policy")
        inside = run.folder / PROJECT
        self.uri = "policy.yaml"
        self.document: Document | None = None
        if policy is not None:
            self.uri, self.document = policy.as_posix(), read_yaml(policy)
            return
        for file in (None if asked is None else Path(asked), inside):
            if file is not None and file.is_file():
                try:
                    self.document = read_yaml(file)
                except SettingsError:
                    continue
                self.uri = PROJECT if file == inside else file.as_posix()
                return

    def of(self, index: int) -> dict[str, Any]:
        """Return the location of a limit."""
        from urllib.parse import quote

        # A path with spaces or brackets is no URI, and an absolute one needs its scheme.
        uri = quote(self.uri, safe="/:@-._~") if "\\" not in self.uri else quote(self.uri)
        place: dict[str, Any] = {"artifactLocation": {"uri": f"file://{uri}" if uri[:1] == "/"
                                                      else uri}}  # fmt: skip
        line = self._line(index)
        if line is not None:
            place["region"] = {"startLine": line}
        return {"physicalLocation": place}

    def _line(self, index: int) -> int | None:
        if self.document is None:
            return None
        at: tuple[Key, ...] = ()
        value = self.document.data
        for key in ("policy", "limits"):
            if isinstance(value, dict) and key in value:
                at, value = (*at, key), value[key]
        if not isinstance(value, list) or index >= len(value):
            return None
        return self.document.line((*at, index))
