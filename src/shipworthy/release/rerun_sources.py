"""Where a number of a finished run can be made again: from its files, or from its models and rows.

Nothing is taken from the stage cache. What is gone or is not what it was makes a number that cannot
be made again; the reason names it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np

from shipworthy.core.errors import InputError, ShipworthyError
from shipworthy.core.locale import text
from shipworthy.core.records import Candidate, RelativeTo
from shipworthy.measure.estimates import Estimate, Fact
from shipworthy.measure.licences import MEASURE as LICENCES
from shipworthy.measure.licences import forbidding
from shipworthy.release.judgement import Judgement
from shipworthy.release.licences import licensed
from shipworthy.release.places import PROJECT
from shipworthy.release.project import base_folder
from shipworthy.release.ruler import Subject

if TYPE_CHECKING:
    import polars as pl

    from shipworthy.data.rows import Rows
    from shipworthy.model.predictions import Predictions
    from shipworthy.release.load import Run
    from shipworthy.release.project import Project

Numbers = Mapping[tuple[str, RelativeTo], Estimate]


class Impossible(ShipworthyError):
    """A number cannot be made again; the message says why."""


class Source(ABC):
    """What a run was made from."""

    def __init__(self, judgement: Judgement) -> None:
        self.judgement = judgement
        self.everyone = (judgement.parent, *judgement.candidates)

    @abstractmethod
    def subject(self, candidate: Candidate) -> Subject:
        """Return a subject with its answers asked for again, checked against the record.

        Raises Impossible with the reason.
        """

    def timed(self, candidate: Candidate) -> Numbers:
        """Return the speed of a candidate, measured again. Raises Impossible."""
        raise Impossible(text("rerun.why.no_timing"))


class Files(Source):
    """The files of predictions that `judge` was given."""

    def __init__(self, judgement: Judgement, root: Path) -> None:
        super().__init__(judgement)
        self.asked = dict(judgement.sources)
        self.files = [root / file for file in self.asked.get("files", ())]
        self._subjects: dict[str, Subject] = {}

    def subject(self, candidate: Candidate) -> Subject:
        """Read the file of a candidate, beside its parent's."""
        if candidate.id in self._subjects:
            return self._subjects[candidate.id]
        if len(self.files) != len(self.everyone):
            raise Impossible(text("rerun.why.frames"))
        from shipworthy.release.judge import read_subjects

        places = [0] if candidate == self.everyone[0] else [0, self.everyone.index(candidate)]
        for place in places:
            if not self.files[place].is_file():
                raise Impossible(text("rerun.why.gone", path=self.files[place]))
        names = ("label", "prediction", "score", "id", "positive", "groups", "unit")
        columns = {name: self.asked.get(name) for name in names}
        try:
            found = read_subjects(
                [self.files[p] for p in places], [self.everyone[p].name for p in places], columns
            )
        except InputError as error:
            raise Impossible(str(error)) from error
        for place, one in zip(places, found, strict=True):
            recorded = self.everyone[place]
            if one.candidate.artefact_digest != recorded.artefact_digest:
                raise _changed(self.files[place], recorded, one.candidate.artefact_digest)
            # The name and the place of the file are those of the record.
            self._subjects[recorded.id] = Subject(recorded, one.predictions)
        return self._subjects[candidate.id]


class Models(Source):
    """The models in a run's folder, and the rows that its project names."""

    def __init__(self, run: Run, root: Path) -> None:
        super().__init__(run.judgement)
        self.run, self.root = run, root
        self._subjects: dict[str, Subject] = {}
        self._timed: dict[str, Numbers] = {}

    @cached_property
    def project(self) -> Project:
        """The project as it was when the run was made."""
        from shipworthy.release.project import load_project

        path = self.run.folder / PROJECT
        if not path.is_file():
            raise Impossible(text("rerun.why.gone", path=path))
        try:
            return load_project(path, root=self.root)
        except InputError as error:
            told = text("rerun.why.project", problem=error, root=self.root)
            raise Impossible(told) from error

    @cached_property
    def rows(self) -> Rows:
        """All rows, read and split again."""
        from shipworthy.data.rows import load_rows
        from shipworthy.release.language import answer_kind
        from shipworthy.release.tabular import check_sensitive

        try:
            check_sensitive(self.project.data, today=datetime.now(UTC).date())
            kind = answer_kind(self.project)
            return load_rows(self.project.data, seed=self.project.seed, answers=kind)
        except (ShipworthyError, OSError) as error:
            raise Impossible(str(error)) from error

    @cached_property
    def _contaminated(self) -> Numbers:
        from shipworthy.release.contamination import MEASURE, overlaps, share_of

        recorded = self.judgement.measurements["measure"].to_list()
        if MEASURE not in recorded:
            return {}
        settings = self.project.data
        split = "validation" if self.judgement.kind == "rehearsal" else "test"
        train, texts = (self._part(name)[settings.text] for name in ("train", split))
        return {(MEASURE, "none"): share_of(overlaps(settings, train, texts), settings)}

    @cached_property
    def _data_facts(self) -> Numbers:
        from shipworthy.release.data_facts import MEASURES, data_facts

        recorded = set(self.judgement.measurements["measure"].to_list())
        wanted = tuple(m for m in MEASURES if m in recorded)
        split = "validation" if self.judgement.kind == "rehearsal" else "test"
        return data_facts(self._part(split), self.project.data, wanted) if wanted else {}

    def _batched(self, folder: Path) -> Numbers:
        from shipworthy.measure.batching import MEASURE
        from shipworthy.release.batching import estimate_of, measured

        if MEASURE not in self.judgement.measurements["measure"].to_list():
            return {}
        texts = self._part("validation")[self.project.data.text].to_list()
        found = measured(folder, texts, seed=self.project.seed)
        return {(MEASURE, "none"): estimate_of(found)}

    def _part(self, split: str) -> pl.DataFrame:
        return self.rows.part(split)

    def _folder(self, candidate: Candidate) -> Path:
        from shipworthy.model.checkpoint import artefact_digest

        folder = self.run.folder / candidate.folder
        if not candidate.folder or not folder.is_dir():
            raise Impossible(text("rerun.why.gone", path=folder))
        try:
            digest = artefact_digest(folder)
        except (InputError, OSError) as error:
            raise Impossible(str(error)) from error
        if digest != candidate.artefact_digest:
            raise _changed(folder, candidate, digest)
        return folder

    def subject(self, candidate: Candidate) -> Subject:
        """Ask a model about the rows again."""
        from shipworthy.model.checkpoint import size_bytes

        if candidate.id not in self._subjects:
            folder = self._folder(candidate)
            size = Fact(np.array([size_bytes(folder) / 1e6]))
            parts = licensed(self.project, base_folder(self.project))
            numbers: Numbers = {
                ("size_mb", "none"): size,
                (LICENCES, "none"): forbidding(parts),
                **self._contaminated,
                **self._data_facts,
                **self._batched(folder),
            }
            answered = self._answers(candidate, folder)
            self._subjects[candidate.id] = Subject(candidate, answered, numbers)
        return self._subjects[candidate.id]

    def _answers(self, candidate: Candidate, folder: Path) -> Predictions:
        from shipworthy.release.asking import ask, heard

        classes = self.rows.classes
        split = "validation" if self.judgement.kind == "rehearsal" else "test"
        rows = self._part(split)
        with TemporaryDirectory(prefix="shipworthy-") as place:
            try:
                ask(
                    self.project, folder, rows, classes, Path(place), work=Path(place) / "work"
                )  # fmt: skip
            except InputError as error:
                raise Impossible(str(error)) from error
            return heard(
                self.project, Path(place), rows, classes, name=candidate.name,
                artefact_digest=candidate.artefact_digest,
            )  # fmt: skip

    def timed(self, candidate: Candidate) -> Numbers:
        """Time a candidate again, its parent beside it."""
        from shipworthy.measure.speed_means import speed_estimates
        from shipworthy.release.asking import timed

        if candidate.id not in self._timed:
            parent = self.everyone[0]
            both = (parent, candidate)
            folders = {c.name: self._folder(c) for c in self.everyone if c in both}
            texts = self._part("validation")[self.project.data.text].to_list()
            records = timed(self.project, folders, texts, parent=parent.name)
            self._timed[candidate.id] = speed_estimates(records, candidate.name, parent=parent.name)
        return self._timed[candidate.id]


def source_of(run: Run, root: Path | None) -> Source:
    """Return what a run was made from.

    root: folder that recorded paths start from; else the current folder for files of predictions,
    and the folder two above the run's for a project.
    """
    judgement = run.judgement
    if judgement.kind == "judge":
        return Files(judgement, Path() if root is None else root)
    place = run.folder.resolve().parents[1] if root is None else root.resolve()
    return Models(run, place)


def _changed(path: Path, recorded: Candidate, digest: str) -> Impossible:
    told: dict[str, Any] = {"before": recorded.artefact_digest[:12], "after": digest[:12]}
    return Impossible(text("rerun.why.changed", path=path, **told))
