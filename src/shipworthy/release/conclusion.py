"""The end of a run: answers and timings become a nomination, and a verdict with its record."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from shipworthy.core.device import native_bf16
from shipworthy.core.files import write_atomically
from shipworthy.core.openings import OpeningState
from shipworthy.core.records import Measurement, RelativeTo, to_frame
from shipworthy.measure.batching import MEASURE as BATCH_DEPENDENCE
from shipworthy.measure.catalogue import MEASURES
from shipworthy.measure.estimates import Estimate, Fact
from shipworthy.measure.licences import MEASURE as LICENCES
from shipworthy.measure.licences import Licensed, forbidding
from shipworthy.measure.preferences import agreement, preferred_share, read_judgements
from shipworthy.measure.speed_means import speed_estimates
from shipworthy.measure.speed_records import SpeedRecords
from shipworthy.model.gguf_folder import bits_of
from shipworthy.model.runtimes import model_folder
from shipworthy.release import data_facts, tabular
from shipworthy.release.answers_table import AnswersTable, answers_table
from shipworthy.release.artefacts import SPEED
from shipworthy.release.batching import batching_notes, estimate_of, read_dependence
from shipworthy.release.candidate_stages import left_notes
from shipworthy.release.card_origins import ORIGINS, count_data, model_origin
from shipworthy.release.contamination import FILE as CONTAMINATION
from shipworthy.release.contamination import MEASURE as CONTAMINATED
from shipworthy.release.contamination import contamination_note, read_share
from shipworthy.release.examples import choose_examples
from shipworthy.release.forgotten import forgotten_lists, further_columns
from shipworthy.release.forgotten_records import Forgotten
from shipworthy.release.judgement import Example, Phrase
from shipworthy.release.licences import licence_note, licensed
from shipworthy.release.made import ROWS, SPLIT_COLUMN, Made, classes, part
from shipworthy.release.mitigation_stages import mitigation_notes
from shipworthy.release.next_background import background
from shipworthy.release.nomination import nominate
from shipworthy.release.places import TRIALS
from shipworthy.release.probing import flip_notes, probe_numbers
from shipworthy.release.project import base_folder
from shipworthy.release.record import write_record
from shipworthy.release.ruler import Ruler, Subject
from shipworthy.release.search_rows import search_document, search_notes
from shipworthy.release.training_section import training_record
from shipworthy.release.verdicts import Question, objective_values, reach_verdict

if TYPE_CHECKING:
    import polars as pl

    from shipworthy.release.pipeline import Bench


def _training(bench: Bench) -> dict[str, Any]:
    """Return how the parent was trained, and what the race said where there was one."""
    races = [stage.folder for stage in bench.shop.stages if stage.name == "race"]
    return training_record(bench.everyone[0].stage.folder, races[0] if races else None)


def _search(bench: Bench) -> Path | None:
    """Return the folder of the search that the candidates come from, if there was one."""
    found = [stage.folder for stage in bench.shop.stages if stage.name == "search"]
    return found[0] if found else None


def choose(bench: Bench) -> tuple[str, ...]:
    """Return the ids of the candidates that are nominated on the validation rows, best first."""
    subjects = _subjects(bench, "validation")
    ruler, candidates = _ruler(bench, subjects[0], "validation"), subjects[1:]
    table: list[Measurement] = []
    for subject in candidates:
        table += ruler.point_estimates(subject)
    ids = [s.candidate.id for s in candidates]
    objective = objective_values(bench.shop.project.objective, to_frame(table, Measurement), ids)
    evidence = {s.candidate.id: ruler.evidence(s, bench.policy.limits) for s in candidates}
    return nominate(evidence, bench.policy, objective=objective)


def conclude(
    bench: Bench,
    folder: Path,
    *,
    run: str,
    split: str,
    nominated: tuple[str, ...],
    opening: OpeningState,
) -> None:
    """Decide on the answers of a split and write the record of the run into the folder."""
    project, stages = bench.shop.project, bench.shop.stages
    subjects = _subjects(bench, split)
    question = Question(
        run=run,
        name=project.name,
        kind="run" if split == "test" else "rehearsal",
        policy=bench.policy,
        nominated=nominated,
        objective=project.objective,
        opening=opening,
        task=project.task,
    )
    tried = subjects if split == "validation" else _subjects(bench, "validation")
    found = reach_verdict(
        question,
        _ruler(bench, subjects[0], split, run=run),
        subjects[1:],
        background=background(bench, _ruler(bench, tried[0], "validation"), tried[1:]),
        notes=tuple(_notes(bench, split)),
        evidence=tuple(_evidence(bench)),
        answers=lambda: _answers(bench, subjects, split),
        examples=_examples(bench, subjects, split),
        forgotten=_forgotten(bench, subjects, split),
        training=_training(bench),
        search={} if (searched := _search(bench)) is None else search_document(searched),
        seconds=time.monotonic() - bench.started,
        cached_stages=sum(s.cached for s in stages),
    )
    found = replace(found, measurements=_dated(bench, split, found.measurements))
    if bench.contamination is not None:
        shutil.copyfile(bench.contamination.folder / CONTAMINATION, folder / CONTAMINATION)
    if searched is not None:
        shutil.copyfile(searched / TRIALS, folder / TRIALS)
    write_atomically(folder / ORIGINS, json.dumps(_origins(bench), ensure_ascii=False, indent=1))
    write_record(found, folder)


def _dated(bench: Bench, split: str, measurements: pl.DataFrame) -> pl.DataFrame:
    """Say of each number when what it rests on was made.

    A verdict that is reached anew from answers and times in the cache makes them no younger.
    """
    import polars as pl

    made = [datetime.fromisoformat(stage.created) for stage in bench.answers[split]]
    # A change rests on the parent's answers as well.
    answered = {m.candidate.id: min(made[0], t) for m, t in zip(bench.everyone, made, strict=True)}
    timed = datetime.fromisoformat(bench.speed.created)
    created = [
        timed if MEASURES[measure].kind == "speed" else answered[candidate]
        for candidate, measure in measurements.select("candidate", "measure").iter_rows()
    ]
    kind = measurements.schema["created"]
    return measurements.with_columns(pl.Series("created", created, dtype=kind))


def _answers(bench: Bench, subjects: Sequence[Subject], split: str) -> AnswersTable:
    """Who answered what: rows go by their id, and by their text where they have none."""
    import polars as pl

    settings = bench.shop.project.data
    rows = part(bench.data, split)
    names = rows[settings.id or settings.text].cast(pl.String).to_list()
    return answers_table(
        {s.candidate.id: s.predictions for s in subjects},
        names,
        named_by="id" if settings.id else "text",
    )


def _origins(bench: Bench) -> dict[str, Any]:
    """Where rows and weights come from and what is in them, for cards."""
    import polars as pl

    project = bench.shop.project
    rows = pl.read_parquet(bench.data.folder / ROWS)
    return {
        "data": count_data(rows, SPLIT_COLUMN, project.data, classes=classes(bench.data)),
        "model": model_origin(project.base, base_folder(project)),
    }


def _examples(bench: Bench, subjects: Sequence[Subject], split: str) -> tuple[Example, ...]:
    """Rows whose answer changed, in the form that the project allows."""
    form = bench.shop.project.report.examples
    texts = part(bench.data, split)[bench.shop.project.data.text]
    return choose_examples(subjects[0].predictions, subjects[1:], texts, form=form)


def _forgotten(bench: Bench, subjects: Sequence[Subject], split: str) -> tuple[Forgotten, ...]:
    """What each candidate turned wrong, and the slices of the rows that lost the most."""
    data, rows = bench.shop.project.data, part(bench.data, split)
    named = (data.text, data.label, data.id, data.unit, *data.groups, data.system, data.choices)
    return forgotten_lists(
        subjects[0].predictions,
        subjects[1:],
        rows[data.text],
        form=bench.shop.project.report.examples,
        further=further_columns(rows, named),
        confidence=bench.policy.confidence,
    )


def _subjects(bench: Bench, split: str) -> list[Subject]:
    records = SpeedRecords.load(bench.speed.folder / SPEED)
    whole: dict[tuple[str, RelativeTo], Estimate] = {
        (LICENCES, "none"): forbidding(_licensed(bench))
    }
    if bench.contamination is not None:
        settings = bench.shop.project.data
        share = read_share(bench.contamination.folder, split, settings)
        whole[CONTAMINATED, "none"] = share
    facts = data_facts.asked(bench.policy)
    if facts:
        settings = bench.shop.project.data
        whole |= data_facts.data_facts(part(bench.data, split), settings, facts)
    return [
        Subject(
            one.candidate,
            bench.shop.predictions(bench.data, one, split, answered),
            _numbers(one, bench.everyone[0], records)
            | _probed(bench, one)
            | _batched(bench, one)
            | whole,
        )
        for one, answered in zip(bench.everyone, bench.answers[split], strict=True)
    ]


def _numbers(
    one: Made, parent: Made, records: SpeedRecords
) -> dict[tuple[str, RelativeTo], Estimate]:
    from shipworthy.model.checkpoint import size_bytes

    size = Fact(np.array([size_bytes(one.folder) / 1e6]))
    speeds = speed_estimates(records, one.candidate.name, parent=parent.candidate.name)
    return {("size_mb", "none"): size, **speeds}


def _batched(bench: Bench, one: Made) -> dict[tuple[str, RelativeTo], Estimate]:
    """Return what the other texts of a batch change."""
    if not bench.batches:
        return {}
    stage = bench.batches[bench.everyone.index(one)]
    return {(BATCH_DEPENDENCE, "none"): estimate_of(read_dependence(stage.folder))}


def _probed(bench: Bench, one: Made) -> dict[tuple[str, RelativeTo], Estimate]:
    """Return what prompts of their own say of a model, against its parent and the start."""
    if not bench.probes:
        return {}
    settings, parent = bench.shop.project.probes, bench.everyone[0]
    folders = dict(zip((m.candidate.id for m in bench.everyone), bench.probes[1:], strict=True))
    others: dict[RelativeTo, Path] = {"baseline": bench.probes[0].folder}
    if one is not parent:
        others["parent"] = folders[parent.candidate.id].folder
    same = one.candidate.artefact_digest == parent.candidate.artefact_digest
    found = probe_numbers(settings, folders[one.candidate.id].folder, others, identical=same)
    if settings.preferences is not None and one is not parent:
        judged = read_judgements(settings.preferences)
        names = (one.candidate.name, parent.candidate.name)
        found["preferred_share", "none"] = preferred_share(judged, *names)
    return found


def _probe_notes(bench: Bench) -> list[Phrase]:
    if not bench.probes:
        return []
    settings = bench.shop.project.probes
    names = [m.candidate.name for m in bench.everyone[1:]]
    after = {n: s.folder for n, s in zip(names, bench.probes[2:], strict=True)}
    notes = flip_notes(bench.probes[0].folder, after)
    if settings.preferences is not None:
        judged = read_judgements(settings.preferences)
        told = {"items": judged["item"].n_unique(), "alpha": f"{agreement(judged):.2f}"}
        notes.append(Phrase("run.note.agreement", told))
    return notes


def _ruler(bench: Bench, parent: Subject, split: str, *, run: str = "") -> Ruler:
    settings = bench.shop.project.data
    return Ruler(
        parent,
        groups=settings.groups,
        unit=settings.unit,
        intersections=settings.intersections,
        confidence=bench.policy.confidence,
        split=split,
        run=run,
    )


def _licensed(bench: Bench) -> tuple[Licensed, ...]:
    project = bench.shop.project
    return licensed(project, base_folder(project))


def _notes(bench: Bench, split: str) -> list[Phrase]:
    """What a reader must know about this run that no number says."""
    from shipworthy.data.builtin import PREFIX, text_key

    project, notes = bench.shop.project, [Phrase("run.note.one_training")]
    if bench.skipped:
        told = {
            "names": ", ".join(bench.skipped),
            "minutes": f"{project.compress.budget_minutes:g}",
        }
        notes.append(Phrase("run.note.budget", told))
    searched = _search(bench)
    if searched is not None:
        notes += search_notes(search_document(searched))
    few = bits_of(model_folder(project.base)) if project.base else None
    if few:
        notes.append(Phrase("run.note.widened", {"weights": few}))
    if project.train.lora is not None and project.train.lora.base == "nf4":
        notes.append(Phrase("run.note.nf4"))
    if not native_bf16() and any(m.candidate.runtime == "torch-bf16" for m in bench.everyone):
        notes.append(Phrase("run.note.bf16"))
    if any(m.candidate.runtime == "torch-fp16" for m in bench.everyone):
        notes.append(Phrase("run.note.fp16"))
    if project.speed.form == "short":
        timed = project.speed.requests if classes(bench.data) else project.speed.answers
        counts = {"processes": project.speed.processes, "requests": timed}
        notes.append(Phrase("run.note.short_form", counts))
    if any(limit.measure == LICENCES for limit in bench.policy.limits):
        notes.append(licence_note(_licensed(bench)))
    notes += left_notes(bench.everyone[1:])
    notes += mitigation_notes(bench.everyone)
    notes += _probe_notes(bench)
    notes += batching_notes([read_dependence(stage.folder) for stage in bench.batches])
    if bench.contamination is not None:
        notes.append(contamination_note(bench.contamination.folder, split, project.data))
    if project.table is not None:
        notes += tabular.notes(bench.data, project.data, _training(bench))
    if project.data.unit is None:
        notes.append(Phrase("judge.note.independent"))
    source = project.data.source
    if source is not None and source.startswith(PREFIX):
        notes.append(Phrase("run.note.builtin", {"limits": Phrase(text_key(source, "limits"))}))
    return notes


def _evidence(bench: Bench) -> list[tuple[str, str]]:
    """Rows of the evidence block: where rows and weights come from."""
    import polars as pl

    from shipworthy.core.locale import number

    project = bench.shop.project
    counted = pl.read_parquet(bench.data.folder / ROWS, columns=[SPLIT_COLUMN])[SPLIT_COLUMN]
    sizes = dict(counted.value_counts().iter_rows())
    order = ("train", "calibration", "validation", "test")
    listed = ", ".join(f"{name} {number(sizes.get(name, 0))}" for name in order)
    told = [("run.evidence.rows", listed)]
    if project.train.rows is not None and project.train.rows < sizes.get("train", 0):
        told.append(("run.evidence.trained", number(project.train.rows)))
    if classes(bench.data):
        told.append(("run.evidence.classes", ", ".join(classes(bench.data))))
    model = project.base or ", ".join(m.candidate.name for m in bench.everyone)
    origins = {"run.evidence.source": project.data.source, "run.evidence.model": model}
    for key, name in origins.items():
        if name is not None:
            told.append((key, name))
    return told
