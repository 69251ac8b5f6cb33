"""The figure of a limit on what the other texts of a batch change, from a sample of validation."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from shipworthy.core.locale import number
from shipworthy.measure.batching import BATCH, MEASURE, ROWS, BatchDependence, batch_dependence
from shipworthy.measure.estimates import Estimate, Fact, Unmeasured
from shipworthy.release.judgement import Phrase
from shipworthy.release.made import Made, classes, part

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shipworthy.core.stages import Stage
    from shipworthy.release.artefacts import Workshop
    from shipworthy.release.policy import Policy

FILE = "batching.json"


def asks(policy: Policy) -> bool:
    """Say whether a policy limits it."""
    return any(MEASURE in (limit.measure, limit.bound) for limit in policy.limits)


def stage(shop: Workshop, data: Stage, made: Made) -> Stage:
    """Answer a sample of the validation rows alone and in batches; of a language model, none."""
    project = shop.project

    def make(folder: Path) -> None:
        texts = part(data, "validation")[project.data.text].to_list() if classes(data) else []
        found = measured(made.folder, texts, seed=project.seed)
        (folder / FILE).write_text(json.dumps(asdict(found)), encoding="utf-8")

    return shop.run(
        stage_name(made.candidate.name),
        make,
        inputs={"rows": data.digest, "model": made.candidate.artefact_digest},
        settings={"text": project.data.text},
        module="shipworthy.release.batching",
        seed=project.seed,
    )


def stage_name(candidate: str) -> str:
    """Return what the stage of a candidate is called."""
    return f"batches {candidate}"


def measured(folder: Path, texts: Sequence[str], *, seed: int) -> BatchDependence:
    """Return it for a candidate's folder on a sample of texts, drawn and put in order by the seed.

    Raises ModelError where the folder is incomplete or unsafe.
    """
    from shipworthy.core.progress import progress
    from shipworthy.model.runtimes import load_predictor

    if len(texts) < 2:
        return BatchDependence(0.0, 0, 0)
    drawn = np.random.default_rng([seed, len(texts)]).permutation(len(texts))[:ROWS]
    with progress("measure", total=len(drawn), unit="texts") as step:
        return batch_dependence(load_predictor(folder), [texts[k] for k in drawn], step=step)


def estimate_of(found: BatchDependence) -> Estimate:
    """Return the figure: exact for the rows that were looked at, and only for them."""
    if not found.rows:
        return Unmeasured("no_data")
    return Fact(np.array([found.largest]))


def read_dependence(folder: Path) -> BatchDependence:
    """Return what `stage` wrote into its folder."""
    return BatchDependence(**json.loads((folder / FILE).read_text(encoding="utf-8")))


def batching_notes(found: Sequence[BatchDependence]) -> list[Phrase]:
    """Return what was looked at, for people; nothing where no row was."""
    rows = max((one.rows for one in found), default=0)
    if not rows:
        return []
    return [Phrase("run.note.batching", {"rows": number(rows), "batch": BATCH})]
