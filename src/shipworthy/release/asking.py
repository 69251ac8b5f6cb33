"""What a project asks its models for: classes, likelihoods or answers, and the time they take."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shipworthy.release import answers, language
from shipworthy.release.language import language_info

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import polars as pl

    from shipworthy.measure.speed_records import SpeedRecords
    from shipworthy.model.predictions import Predictions
    from shipworthy.release.project import Project


def ask(
    project: Project,
    model_folder: Path,
    rows: pl.DataFrame,
    classes: tuple[str, ...],
    out: Path,
    *,
    work: Path,
) -> None:
    """Ask a model about rows and write what it says into a folder.

    work: folder in which a language model's answers are kept until all are there.
    """
    if language_info(project) is None:
        answers.write_answers(model_folder, rows, classes, out)
    else:
        language.write_language_answers(model_folder, rows, project.generate, out, work=work)


def heard(
    project: Project,
    folder: Path,
    rows: pl.DataFrame,
    classes: tuple[str, ...],
    *,
    name: str,
    artefact_digest: str,
) -> Predictions:
    """Return what `ask` wrote as predictions on their rows."""
    if language_info(project) is None:
        return answers.read_answers(
            folder, rows, project.data, classes, name=name, artefact_digest=artefact_digest
        )
    return language.read_language_answers(
        folder, rows, project.data, name=name, artefact_digest=artefact_digest
    )


def timed(
    project: Project,
    folders: Mapping[str, Path],
    texts: Sequence[str],
    *,
    parent: str,
    work: Path | None = None,
) -> SpeedRecords:
    """Time the models of a project beside each other."""
    from shipworthy.measure.language_speed import measure_language_speed
    from shipworthy.measure.speed import measure_speed

    measure = measure_speed if language_info(project) is None else measure_language_speed
    return measure(folders, texts, project.speed, seed=project.seed, parent=parent, work=work)
