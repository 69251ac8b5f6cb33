"""From subjects to a Judgement: measure, decide, and say what would change the answer."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

from shipworthy.core.openings import OpeningState
from shipworthy.core.records import Answer, Measurement, Verdict, to_frame
from shipworthy.measure.catalogue import MEASURES
from shipworthy.measure.decide import CandidateDecision, decide_candidate, decide_run
from shipworthy.release.judgement import Judgement, NextStep, Phrase
from shipworthy.release.next_ground import Background
from shipworthy.release.next_plan import plan
from shipworthy.release.ruler import Ruler, Subject
from shipworthy.release.standing import OBJECTIVES, QUALITY_OF_NUMBERS

if TYPE_CHECKING:
    import polars as pl

    from shipworthy.release.policy import Policy

LIBRARIES = ("numpy", "onnxruntime", "polars", "scipy", "tokenizers", "torch", "transformers")
"""Libraries whose version may move a number."""

MOST_CANDIDATES = 3
"""Nominated candidates beyond which the correction among them is worth a warning."""


@dataclass(frozen=True)
class Question:
    """What is asked about the subjects.

    kind: a rehearsal decides on validation rows and never ships. nominated: ids.
    """

    run: str
    name: str
    kind: Literal["judge", "run", "rehearsal"]
    policy: Policy
    nominated: tuple[str, ...]
    objective: str
    opening: OpeningState
    task: str = "text-classification"


def reach_verdict(
    question: Question,
    ruler: Ruler,
    candidates: Sequence[Subject],
    *,
    background: Background | None = None,
    **more: Any,
) -> Judgement:
    """Measure all subjects, decide every limit, and return the whole judgement.

    background: what a run knows besides, for its next steps.
    more: further fields of the Judgement (notes, evidence, seconds, ...); notes are added to.
    """
    policy, opening = question.policy, question.opening
    table: list[Measurement] = list(ruler.measurements(ruler.parent, policy.limits))
    decided: list[CandidateDecision] = []
    evidence = {}
    for subject in candidates:
        table += ruler.measurements(subject, policy.limits)
        name = subject.candidate.id
        evidence[name] = ruler.evidence(subject, policy.limits)
        decided.append(
            decide_candidate(
                name,
                evidence[name],
                confidence=policy.confidence,
                opening=opening.number,
                small_slices=policy.small_slices,
                worn_out=opening.worn_out,
            )
        )
    measurements = to_frame(table, Measurement)
    verdict = decide_run(
        decided,
        question.nominated,
        alpha=policy.alpha * opening.alpha_factor,
        objective=objective_values(
            question.objective, measurements, [s.candidate.id for s in candidates]
        ),
        family=opening.family,
    )
    verdicts, answer, best = verdict.verdicts, verdict.answer, verdict.best
    if question.kind == "rehearsal":
        # Validation rows chose these candidates, so they cannot vouch for them.
        verdicts = tuple(_rehearsed(v) for v in verdicts)
        answer, best = Answer.UNDECIDED, None
    names = {s.candidate.id: s.candidate.name for s in candidates}
    steps = [
        *plan(
            decided,
            evidence,
            names,
            question.nominated,
            answer,
            run="" if question.kind == "judge" else question.run,
            confidence=policy.confidence,
            opening=opening.number,
            background=background,
        )
    ]
    steps += _fewer(verdicts, decided, question.nominated, names)
    notes = (*more.pop("notes", ()), *_notes(question, candidates))
    return Judgement(
        run=question.run,
        name=question.name,
        kind=question.kind,
        created=datetime.now(UTC),
        task=question.task,
        limits=policy.limits,
        parent=ruler.parent.candidate,
        candidates=tuple(s.candidate for s in candidates),
        nominated=question.nominated,
        measurements=measurements,
        decisions=tuple(replace(d, run=question.run) for one in decided for d in one.decisions),
        verdicts=verdicts,
        answer=answer,
        best=best,
        objective=question.objective,
        confidence=policy.confidence,
        alpha=policy.alpha * opening.alpha_factor,
        opening=opening.number,
        family=opening.family,
        nominate=policy.nominate,
        small_slices=policy.small_slices,
        separation_of_duties=policy.separation_of_duties,
        selftest_skip=policy.selftest.skip,
        selftest_days=policy.selftest.expires_days,
        groups=ruler.groups,
        unit=ruler.unit,
        next_steps=tuple(steps),
        notes=notes,
        not_measured=(*more.pop("not_measured", ()), *_not_measured(question, measurements)),
        versions=used_versions(everything=question.kind != "judge"),
        **more,
    )


def used_versions(*, everything: bool) -> dict[str, str]:
    """Return the versions of this package and of libraries that make numbers.

    everything: all that are installed. Stages of a run are keyed by them, so that answers from the
    cache were made with these versions too, although nothing is loaded now. Else those in use.
    """
    from importlib.metadata import PackageNotFoundError, version

    found = {"shipworthy": version("shipworthy")}
    for name in LIBRARIES:
        if everything or name in sys.modules:
            with suppress(PackageNotFoundError):
                found[name] = version(name)
    return found


def _fewer(
    verdicts: Sequence[Verdict],
    decided: Sequence[CandidateDecision],
    nominated: Sequence[str],
    names: dict[str, str],
) -> list[NextStep]:
    """The step of each candidate that only the correction among the candidates keeps back."""
    inside = {d.candidate for d in decided if d.all_pass}
    return [
        NextStep(
            v.candidate,
            Phrase("next.fewer", {"candidate": names[v.candidate], "count": len(nominated)}),
            math.nan,
            math.nan,
        )
        for v in verdicts
        if v.candidate in inside and v.answer is Answer.UNDECIDED and "correction" in v.reasons
    ]


def _rehearsed(verdict: Verdict) -> Verdict:
    if verdict.answer is not Answer.SHIP:
        return verdict
    return replace(verdict, answer=Answer.UNDECIDED, reasons=("rehearsal",))


def objective_values(
    objective: str, measurements: pl.DataFrame, candidates: Iterable[str]
) -> dict[str, float]:
    """Return what the objective minimises, by candidate id; NaN where it was not measured.

    candidates: their ids.
    """
    measure, sign = OBJECTIVES.get(objective, ("", 1.0))
    if objective == "quality" and not (measurements["measure"] == measure).any():
        measure, sign = QUALITY_OF_NUMBERS
    found = {
        row["candidate"]: sign * row["value"]
        for row in measurements.iter_rows(named=True)
        if row["measure"] == measure and row["slice"] == "{}" and row["relative_to"] == "none"
    }
    return {name: found.get(name, math.nan) for name in candidates}


def _notes(question: Question, candidates: Sequence[Subject]) -> list[Phrase]:
    """What a reader must know about the looks at the test rows and the number of candidates."""
    notes = []
    names = {s.candidate.id: s.candidate.name for s in candidates}
    if question.opening.after_sight:
        late = set(question.opening.after_sight)
        listed = ", ".join(name for id, name in names.items() if id in late)
        notes.append(Phrase("judge.note.after_sight", {"names": listed}))
    if question.opening.worn_out:
        notes.append(Phrase("judge.note.worn_out", {"count": question.opening.number}))
    elif question.opening.number > 1:
        notes.append(_opening_note(question.opening.number))
    if len(question.nominated) > MOST_CANDIDATES:
        notes.append(Phrase("judge.note.many", {"count": len(question.nominated)}))
    return notes


def _opening_note(number: int) -> Phrase:
    return Phrase("judge.note.opening", {"number": number, "divisor": 2 ** (number - 1)})


def _not_measured(question: Question, measurements: pl.DataFrame) -> list[Phrase]:
    """Kinds of measures that no number stands for, so that silence is not taken for a pass."""
    present = set(measurements["measure"].to_list())
    kinds = {"speed": "judge.missing.speed", "fact": "judge.missing.size"}
    missing = [
        Phrase(key)
        for kind, key in kinds.items()
        if not any(MEASURES[m].kind == kind for m in present)
    ]
    # A language model tells no classes: nothing is missing.
    if not any(MEASURES[m].values for m in present) and not present & {"log_loss", "auc"}:
        missing.append(Phrase("judge.missing.scores"))
    return missing
