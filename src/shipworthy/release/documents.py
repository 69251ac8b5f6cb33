"""The `--json` document of `run`, `demo`, `judge` and `report`: one object, numbers as numbers.

The names are an interface that other people build on: extend, never rename. What is not known is
null, never 0 and never NaN.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from shipworthy.core.records import Candidate, Decision, Slice, measurement_id
from shipworthy.release.forgotten_records import Forgotten
from shipworthy.release.judgement import (
    Approval,
    Judgement,
    NextStep,
    Phrase,
    SelftestEvidence,
)
from shipworthy.release.levelling import levellings
from shipworthy.release.nulls import interval, to_null
from shipworthy.release.standing import Number, Survey, survey
from shipworthy.release.wording import phrase

_EXACT = ("size_mb",)
_MEASURED = ("accuracy", "latency_p95_ms", "throughput_rows_per_s", "expected_calibration_error")


def to_json(
    judgement: Judgement, *, report: Path | str | None, folder: Path | str | None, exit_code: int
) -> dict[str, Any]:
    """Return the document of a judgement, ready for `json.dumps(..., allow_nan=False)`.

    report and folder are paths, or None where nothing was written. `limits` holds one object for
    each decision, `candidate` in it is the candidate's id; value, low, high and bound are on the
    scale of `measurements.parquet` (shares in [0, 1], not per cent).
    """
    asked = survey(judgement)
    return {
        "run": judgement.run,
        "folder": None if folder is None else str(folder),
        "name": judgement.name,
        "kind": judgement.kind,
        "created": judgement.created.isoformat(),
        "task": judgement.task,
        "verdict": judgement.answer.value,
        "best": judgement.best,
        "exit_code": exit_code,
        "confidence": judgement.confidence,
        "alpha": judgement.alpha,
        "opening": judgement.opening,
        "objective": judgement.objective,
        "parent": _artefact(asked, judgement.parent),
        "candidates": [_candidate(asked, c) for c in judgement.candidates],
        "limits": [_decision(asked, d) for d in judgement.decisions],
        "next": [step_document(s) for s in judgement.next_steps],
        "not_measured": [phrase(p) for p in judgement.not_measured],
        "notes": [phrase(p) for p in judgement.notes],
        "forgotten": [_forgotten(one) for one in judgement.forgotten],
        "search": dict(judgement.search) or None,
        "approval": _approval(judgement.approval),
        "waivers": [
            {**asdict(w), "candidate_name": asked.name_of(w.candidate)} for w in judgement.waivers
        ],
        "selftest": _selftest(judgement.selftest),
        "report": None if report is None else str(report),
        "cached_stages": judgement.cached_stages,
        "seconds": to_null(judgement.seconds),
    }


def _forgotten(one: Forgotten) -> dict[str, Any]:
    """Return what a candidate forgot; changes are shares of rows, negative where rows were lost."""
    return {
        "candidate": one.candidate,
        "turned_wrong": one.turned_wrong,
        "turned_right": one.turned_right,
        "ranked_by": "parent_probability" if one.scored else "row_order",
        "rows": [
            {**asdict(row), "sure": to_null(row.sure), "text": row.text or None} for row in one.rows
        ],
        "tested": one.tested,
        "words_in": one.words_in,
        "slices": [
            {
                "kind": s.kind,
                "column": s.column or None,
                "value": s.name,
                "alike": s.alike.split("\n") if s.alike else [],
                "n": s.n,
                "n_units": s.n_units,
                "turned_wrong": s.turned_wrong,
                "turned_right": s.turned_right,
                "change": {"value": s.change, "low": to_null(s.low), "high": to_null(s.high)},
                "p": s.p,
                "p_adjusted": s.p_adjusted,
                "found": s.found,
            }
            for s in one.slices
        ],
    }


def step_document(step: NextStep) -> dict[str, Any]:
    """Return the object of one next step; its effect is on the scale of `measurements.parquet`."""
    effect = {
        "measure": step.effect_measure,
        **interval(step.effect, step.effect_low, step.effect_high),
    }
    return {
        "candidate": step.candidate,
        "text": phrase(step.phrase),
        **_keyed(step.phrase),
        "probability": to_null(step.probability),
        "pass_probability": to_null(step.pass_probability),
        "effect": effect if step.effect_measure and effect["value"] is not None else None,
        "cost_rows": step.cost_rows,
        "cost_minutes": to_null(step.cost_minutes),
        "cost_mb": to_null(step.cost_mb),
        "cost_ms": to_null(step.cost_ms),
        "cost_basis": step.cost_basis or None,
        "cost": to_null(step.cost),
        "currency": step.currency or None,
        "recipe": step.recipe or None,
    }


def _approval(approval: Approval | None) -> dict[str, Any] | None:
    if approval is None:
        return None
    return {
        "signed": [asdict(one) for one in approval.signed],
        "missing": list(approval.missing),
        "separated": approval.separated,
        "stale": [asdict(one) for one in approval.stale],
        "remarks": [{"text": phrase(said), **_keyed(said)} for said in approval.remarks],
    }


def _selftest(found: SelftestEvidence | None) -> dict[str, Any] | None:
    if found is None:
        return None
    return {
        **asdict(found),
        "expires": found.expires or None,
        "not_held": list(found.not_held),
        "skipped": list(found.skipped),
    }


def _artefact(asked: Survey, artefact: Candidate) -> dict[str, Any]:
    found: dict[str, Any] = {
        "id": artefact.id,
        "name": artefact.name,
        "lever": artefact.lever,
        "runtime": artefact.runtime,
        "folder": artefact.folder,
        "artefact_digest": artefact.artefact_digest,
    }
    for measure in _EXACT:
        one = asked.number(artefact.id, measure)
        found[measure] = None if one is None else to_null(one.value)
    for measure in _MEASURED:
        found[measure] = _interval(asked.number(artefact.id, measure))
    return found


def _candidate(asked: Survey, candidate: Candidate) -> dict[str, Any]:
    verdict, turned = asked.verdict(candidate.id), asked.turned(candidate.id)
    return {
        **_artefact(asked, candidate),
        "verdict": None if verdict is None else verdict.answer.value,
        "nominated": candidate.id in asked.judgement.nominated,
        "reasons": [] if verdict is None else list(verdict.reasons),
        "turned_wrong": None if turned is None else turned[0],
        "turned_right": None if turned is None else turned[1],
        "levelling": [one.to_dict() for one in levellings(asked, candidate)],
    }


def _decision(asked: Survey, d: Decision) -> dict[str, Any]:
    return {
        "measurement": measurement_id(d.run, d.candidate, d.measure, d.slice, d.relative_to),
        "measure": d.measure,
        "slice": dict(Slice.parse(d.slice).conditions),
        "candidate": d.candidate,
        "candidate_name": asked.name_of(d.candidate),
        "relative_to": d.relative_to,
        "value": to_null(d.value),
        "low": to_null(d.low),
        "high": to_null(d.high),
        "side": d.side,
        "bound": to_null(d.bound),
        "decision": d.decision.value,
        "reason": d.reason,
        "reason_before": d.reason_before or None,
        "n": d.n,
        "n_units": d.n_units,
        "n_needed": d.n_needed,
        "p_pass": to_null(d.p_pass),
        "p_fail": to_null(d.p_fail),
        "p_fail_adjusted": to_null(d.p_fail_adjusted),
        "alpha": to_null(d.alpha),
        "method": d.method,
        "tier": d.tier,
        "unknown": d.unknown,
        "owner": d.owner,
    }


def _keyed(said: Phrase) -> dict[str, Any]:
    """Return the key of a phrase and its plain arguments, for programs that don't read texts."""
    plain = {
        k: to_null(v) if isinstance(v, float) else v
        for k, v in said.arguments.items()
        if isinstance(v, str | int | float | bool)
    }
    return {"key": said.key, "arguments": plain}


def _interval(found: Number | None) -> dict[str, float | None] | None:
    if found is None:
        return None
    return interval(found.value, found.low, found.high)
