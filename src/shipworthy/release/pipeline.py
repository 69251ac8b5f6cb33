"""A whole project, from its rows to a verdict and a page; the only file that knows every lever.

    data -> train -> candidates -> validation answers, speed -> nomination
         -> test answers -> verdict -> report

Every stage is cached by content, so `run` goes on where it was stopped and a second run reads what
the first one made. Nomination uses validation rows only and is in the ledger before the test rows
are opened; all candidates are then measured on test, but only the nominated can ship.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from shipworthy.core.device import native_bf16
from shipworthy.core.digest import digest_json
from shipworthy.core.errors import InputError, nearest
from shipworthy.core.ledger import Ledger
from shipworthy.core.openings import OpeningState, open_test, row_hashes, rows_sketch
from shipworthy.core.records import Measurement, RelativeTo, to_frame
from shipworthy.core.stages import Stage, link_into
from shipworthy.measure.estimates import Estimate, Fact
from shipworthy.measure.speed_means import speed_estimates
from shipworthy.release.artefacts import PARENT, Made, Workshop, classes, made, part
from shipworthy.release.judgement import Judgement, Phrase
from shipworthy.release.nomination import nominate
from shipworthy.release.policy import Policy, policy_digest
from shipworthy.release.policy_fit import check_fit
from shipworthy.release.record import REPORT, read_record, write_record
from shipworthy.release.ruler import Ruler, Subject
from shipworthy.release.verdicts import Question, objective_values, reach_verdict

if TYPE_CHECKING:
    from shipworthy.measure.speed_records import SpeedRecords
    from shipworthy.model.predictions import Predictions
    from shipworthy.release.project import Project

STAGES = ("data", "train", "candidates", "validation", "speed", "test")
"""What `--only` can stop after."""

CACHE = ".shipworthy"
RUNS = "runs"
LEDGER = "ledger.jsonl"


@dataclass(frozen=True)
class Finished:
    """What a run left: the judgement (None where it stopped before), its folder and its page."""

    judgement: Judgement | None
    folder: Path | None
    report: Path | None
    stages: tuple[Stage, ...]
    seconds: float


def run_project(
    project: Project,
    *,
    root: Path,
    text: str = "",
    only: str | None = None,
    rehearse: bool = False,
    tell: Callable[[Stage], None] = lambda stage: None,
) -> Finished:
    """Run all stages of a project that are not cached and reach a verdict.

    root: folder for `.shipworthy/` (cache, ledger) and `runs/`. text: of the project file, kept in
    the run. only: name of the stage to stop after. rehearse: decide on validation rows; nothing is
    opened, written to the ledger or shipped. tell: called with each finished stage.
    Raises InputError for what cannot be used.
    """
    started = time.monotonic()
    if only is not None and only not in STAGES:
        raise InputError(f"--only {only}: no such stage; {nearest(only, STAGES)}")
    policy = project.policy.policy()
    check_fit(policy, project.data.groups, remedy="(declare it under data.groups)")
    shop = Workshop(project, root / CACHE, tell)

    def stopped() -> Finished:
        return Finished(None, None, None, tuple(shop.stages), time.monotonic() - started)

    data = shop.rows()
    if only == "data":
        return stopped()
    parent = made(shop.train(data), PARENT, "train", settings=_plain(project.train),
                  seed=project.seed)  # fmt: skip
    if only == "train":
        return stopped()
    candidates, skipped = _candidates(shop, parent)
    everyone = [parent, *candidates]
    if only == "candidates":
        return stopped()
    answers = [shop.answers(data, one, "validation") for one in everyone]
    if only == "validation":
        return stopped()
    records = shop.speed(data, everyone)
    if only == "speed":
        return stopped()
    on_validation = _subjects(everyone, answers, records)
    nominated = _nominate(project, policy, on_validation)
    notes = _notes(project, everyone, skipped)
    if rehearse:
        found = _decide(shop, data, policy, on_validation, nominated, None, notes, started)
        return _finish(shop, found, everyone, None, text, started)
    answers = [shop.answers(data, one, "test") for one in everyone]
    on_test = _subjects(everyone, answers, records)
    if only == "test":
        return stopped()
    ledger = Ledger(root / CACHE / LEDGER)
    found = _decide(shop, data, policy, on_test, nominated, ledger, notes, started)
    return _finish(shop, found, everyone, ledger, text, started)


def _candidates(shop: Workshop, parent: Made) -> tuple[list[Made], list[str]]:
    """Make candidates until the budget is spent; return them, and the recipes that are left."""
    from shipworthy.compress.recipes import expand

    found: list[Made] = []
    recipes = expand(shop.project.compress)
    for place, recipe in enumerate(recipes):
        # What is cached counts as what it took, so that a second run makes the same candidates.
        if sum(m.stage.seconds for m in found) > 60 * shop.project.compress.budget_minutes:
            return found, [r.name for r in recipes[place:]]
        stage = shop.compress(parent.folder, parent.candidate.artefact_digest, recipe)
        found.append(
            made(
                stage,
                recipe.name,
                recipe.lever,
                parents=(parent.candidate.id,),
                settings=dict(recipe.settings),
                seed=shop.project.seed,
            )
        )
    return found, []


def _subjects(
    everyone: Sequence[Made], answers: Sequence[Predictions], records: SpeedRecords
) -> list[Subject]:
    return [
        Subject(one.candidate, answered, _numbers(one, everyone[0], records))
        for one, answered in zip(everyone, answers, strict=True)
    ]


def _numbers(
    one: Made, parent: Made, records: SpeedRecords
) -> Mapping[tuple[str, RelativeTo], Estimate]:
    from shipworthy.model.checkpoint import size_bytes

    size = Fact(np.array([size_bytes(one.folder) / 1e6]))
    speeds = speed_estimates(records, one.candidate.name, parent=parent.candidate.name)
    return {("size_mb", "none"): size, **speeds}


def _ruler(
    project: Project, parent: Subject, policy: Policy, *, split: str, run: str = ""
) -> Ruler:
    return Ruler(
        parent,
        groups=project.data.groups,
        unit=project.data.unit,
        intersections=project.data.intersections,
        confidence=policy.confidence,
        split=split,
        run=run,
    )


def _nominate(project: Project, policy: Policy, subjects: Sequence[Subject]) -> tuple[str, ...]:
    ruler = _ruler(project, subjects[0], policy, split="validation")
    candidates = subjects[1:]
    table: list[Measurement] = []
    for subject in candidates:
        table += ruler.point_estimates(subject)
    objective = objective_values(project.objective, to_frame(table, Measurement), candidates)
    evidence = {s.candidate.id: ruler.evidence(s, policy.limits) for s in candidates}
    return nominate(evidence, policy, objective=objective)


def _decide(
    shop: Workshop,
    data: Stage,
    policy: Policy,
    subjects: Sequence[Subject],
    nominated: tuple[str, ...],
    ledger: Ledger | None,
    notes: Sequence[Phrase],
    started: float,
) -> tuple[str, Stage]:
    """Open the test rows (or rehearse) and reach the verdict; return the run's id and the stage."""
    project, rehearsal = shop.project, ledger is None
    split = "validation" if rehearsal else "test"
    parent, candidates = subjects[0], subjects[1:]
    opening = OpeningState(family=len(nominated))
    if ledger is not None:
        rows = part(data, split)
        opening = open_test(
            ledger,
            test_digest=parent.predictions.data_digest,
            rows_sketch=rows_sketch(row_hashes(rows[project.data.text].to_list())),
            candidates={s.candidate.id: s.candidate.artefact_digest for s in candidates},
            policy_digest=policy_digest(policy),
            nominated=nominated,
        )
    decided = {
        "answers": [s.candidate.id for s in subjects],
        "nominated": list(nominated),
        "split": split,
        "opening": [opening.number, opening.worn_out, list(opening.after_sight), opening.family],
        "policy": policy_digest(policy),
        "limits": [[li.owner, li.expires_days] for li in policy.limits],
        "objective": project.objective,
        "name": project.name,
    }
    run_id = digest_json(decided)[:8]
    question = Question(
        run=run_id,
        name=project.name,
        kind="rehearsal" if rehearsal else "run",
        policy=policy,
        nominated=nominated,
        objective=project.objective,
        opening=opening,
        task=project.task,
    )
    made_now = [s for s in shop.stages if not s.cached]

    def make(folder: Path) -> None:
        ruler = _ruler(project, parent, policy, split=split, run=run_id)
        found = reach_verdict(
            question,
            ruler,
            candidates,
            notes=tuple(notes),
            evidence=tuple(_evidence(shop, data)),
            seconds=time.monotonic() - started,
            cached_stages=len(shop.stages) - len(made_now),
        )
        write_record(found, folder)

    from shipworthy.core.locale import language

    verdict = shop.run(
        "verdict",
        make,
        inputs={"stages": digest_json([s.key for s in shop.stages])},
        settings={**decided, "language": language()},
        module="shipworthy.release.pipeline",
        seed=project.seed,
    )
    return run_id, verdict


def _finish(
    shop: Workshop,
    found: tuple[str, Stage],
    everyone: Sequence[Made],
    ledger: Ledger | None,
    text: str,
    started: float,
) -> Finished:
    run_id, verdict = found
    folder = shop.root.parent / RUNS / run_id
    _put_together(folder, verdict, everyone, ledger, text)
    judgement = replace(
        read_record(folder),
        seconds=time.monotonic() - started,
        cached_stages=sum(s.cached for s in shop.stages),
    )
    seconds = time.monotonic() - started
    return Finished(judgement, folder, folder / REPORT, tuple(shop.stages), seconds)


def _put_together(
    folder: Path, verdict: Stage, everyone: Sequence[Made], ledger: Ledger | None, text: str
) -> None:
    """Make the run folder: hard links into the stages, the project file, a copy of the ledger."""
    from shipworthy.core.files import write_atomically

    for one in everyone:
        target = folder / one.candidate.folder
        if not target.exists():
            link_into(one.folder, target)
    if text:
        write_atomically(folder / "project.yaml", text)
    if ledger is not None:
        write_atomically(folder / LEDGER, ledger.path.read_bytes())
    link_into(verdict.folder, folder)


def _notes(project: Project, everyone: Sequence[Made], skipped: Sequence[str]) -> list[Phrase]:
    """What a reader must know about this run that no number says."""
    from shipworthy.data.builtin import PREFIX, describe

    notes = [Phrase("run.note.one_training")]
    if skipped:
        told = {"names": ", ".join(skipped), "minutes": project.compress.budget_minutes}
        notes.append(Phrase("run.note.budget", told))
    if not native_bf16() and any(m.candidate.runtime == "torch-bf16" for m in everyone):
        notes.append(Phrase("run.note.bf16"))
    if project.speed.form == "short":
        told = {"processes": project.speed.processes, "requests": project.speed.requests}
        notes.append(Phrase("run.note.short_form", told))
    if project.data.unit is None:
        notes.append(Phrase("judge.note.independent"))
    source = project.data.source
    if source is not None and source.startswith(PREFIX):
        notes.append(Phrase("run.note.builtin", {"limits": describe(source).limits}))
    return notes


def _evidence(shop: Workshop, data: Stage) -> list[tuple[str, str]]:
    """Rows of the evidence block: where rows and weights come from."""
    import polars as pl

    from shipworthy.core.locale import number
    from shipworthy.data.builtin import PREFIX, describe
    from shipworthy.release.artefacts import ROWS, SPLIT_COLUMN

    project, told = shop.project, []
    counted = pl.read_parquet(data.folder / ROWS, columns=[SPLIT_COLUMN])[SPLIT_COLUMN]
    sizes = dict(counted.value_counts().iter_rows())
    order = ("train", "calibration", "validation", "test")
    listed = ", ".join(f"{name} {number(sizes.get(name, 0))}" for name in order)
    told.append(("run.evidence.rows", listed))
    told.append(("run.evidence.classes", ", ".join(classes(data))))
    for key, name in (
        ("run.evidence.source", project.data.source),
        ("run.evidence.model", project.model),
    ):
        if name is not None:
            told.append((key, str(describe(name)) if name.startswith(PREFIX) else name))
    return told


def _plain(settings: Any) -> dict[str, Any]:
    return dict(settings.model_dump(mode="json"))
