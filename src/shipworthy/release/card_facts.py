"""What cards may say: numbers of a run by what they are of, declared texts, and digests.

Every number is asked for by candidate, measure, slice and reference. One that is missing, or that
differs from what the decision rested on, stops the card with its name.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from shipworthy.core.digest import digest_bytes
from shipworthy.core.errors import InputError
from shipworthy.core.locale import text
from shipworthy.core.records import ALL_ROWS, Candidate, Decision, Slice
from shipworthy.core.yaml import load_settings, read_yaml
from shipworthy.release.card_origins import ORIGINS, in_words
from shipworthy.release.display import Shown, measure_name, shown
from shipworthy.release.documentation import Documentation
from shipworthy.release.judgement import Judgement
from shipworthy.release.places import LEDGER, PROJECT
from shipworthy.release.project import Project
from shipworthy.release.record import DECISIONS, MEASUREMENTS, VERDICT
from shipworthy.release.standing import Number, Survey, survey

MAIN = "accuracy"
"""The measure that every card shows for all rows and for each group."""

_FILES = (MEASUREMENTS, DECISIONS, VERDICT, ORIGINS, PROJECT, LEDGER)


@dataclass(frozen=True)
class Source:
    """What a statement rests on: a file of the run (or an artefact) and the sha256 of its bytes."""

    name: str
    sha256: str

    @property
    def short(self) -> str:
        """The first 12 digits; the card lists all of them at its end."""
        return self.sha256[:12]


@dataclass(frozen=True)
class GroupNumbers:
    """The main measure of a candidate and its parent on one slice."""

    slice: Slice
    own: Number
    parent: Number
    change: Number


class Facts:
    """Everything that a card may take from one run folder."""

    def __init__(self, folder: Path, judgement: Judgement) -> None:
        self.folder, self.judgement = folder, judgement
        self.survey: Survey = survey(judgement)
        named = self.survey.named
        if named is None:
            raise InputError(text("error.card.no_candidate", folder=folder))
        self.named: Candidate = named
        self.decisions: tuple[Decision, ...] = judgement.decisions_of(named.id)

    # -- files -----------------------------------------------------------------------------------

    @cached_property
    def files(self) -> Mapping[str, Source]:
        """The files of the run folder that statements rest on, by name."""
        return {
            name: Source(name, digest_bytes((self.folder / name).read_bytes()))
            for name in _FILES
            if (self.folder / name).is_file()
        }

    @cached_property
    def project(self) -> Project | None:
        """The project file of the run; None for files that were judged without one."""
        path = self.folder / PROJECT
        return load_settings(Project, read_yaml(path)) if path.is_file() else None

    @property
    def documentation(self) -> Documentation:
        """What people declared; nothing where there is no project."""
        return Documentation() if self.project is None else self.project.documentation

    @cached_property
    def origins(self) -> Mapping[str, Any] | None:
        """Where rows and weights come from; None for files that were judged.

        Raises InputError where the file is damaged.
        """
        path = self.folder / ORIGINS
        if not path.is_file():
            return None
        try:
            found: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            return in_words(found)
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(text("error.card.origins", path=path)) from error

    @property
    def ledger(self) -> Source | None:
        """The run's copy of its ledger."""
        return self.files.get(LEDGER)

    # -- numbers ---------------------------------------------------------------------------------

    def number(
        self, candidate: Candidate, measure: str, *, slice: str = "{}", relative_to: str = "none"
    ) -> Number:
        """Return a measured number. Raises InputError that names it where it is missing."""
        found = self.survey.number(candidate.id, measure, slice=slice, relative_to=relative_to)
        if found is None:
            raise InputError(
                text(
                    "error.card.missing",
                    path=self.folder / MEASUREMENTS,
                    measure=measure,
                    name=candidate.name,
                    slice=slice,
                    relative_to=relative_to,
                )
            )
        return found

    def check_decisions(self) -> None:
        """Raise InputError where a number that a decision rested on is missing or another."""
        for d in self.decisions:
            if math.isnan(d.value):
                continue
            found = self.number(self.named, d.measure, slice=d.slice, relative_to=d.relative_to)
            if not math.isclose(found.value, d.value, rel_tol=1e-9, abs_tol=1e-12):
                raise InputError(
                    text(
                        "error.card.differs",
                        path=self.folder / MEASUREMENTS,
                        measure=d.measure,
                        name=self.named.name,
                        slice=d.slice,
                        value=f"{found.value:.6g}",
                        decided=f"{d.value:.6g}",
                    )
                )

    @property
    def main(self) -> str:
        """The measure that a card tells of each group: a model that only goes on has no answers."""
        if self.judgement.task.endswith("regression"):
            return "mean_absolute_error"
        return "perplexity" if self.judgement.task == "causal-lm" else MAIN

    @cached_property
    def groups(self) -> tuple[GroupNumbers, ...]:
        """The main measure on all rows and on each group, all rows first.

        A slice that any of parent, candidate or decision has, all must have.
        """
        columns = set(self.judgement.groups)
        slices = {ALL_ROWS.json: None}
        slices |= dict.fromkeys(self.survey.slices_of(self.main))
        slices |= dict.fromkeys(self.survey.slices_of(self.main, relative_to="parent"))
        slices |= {d.slice: None for d in self.decisions if d.measure == self.main}
        found = [Slice.parse(s) for s in slices]
        return tuple(self._group(s) for s in found if set(s.columns) <= columns)

    def _group(self, slice: Slice) -> GroupNumbers:
        parent = self.judgement.parent
        return GroupNumbers(
            slice,
            self.number(self.named, self.main, slice=slice.json),
            self.number(parent, self.main, slice=slice.json),
            self.number(self.named, self.main, slice=slice.json, relative_to="parent"),
        )

    def whole(self) -> tuple[tuple[str, Number, Number | None], ...]:
        """Return what else was measured on all rows: measure, the candidate's, the parent's."""
        frame = self.judgement.measurements
        measures = frame["measure"].unique(maintain_order=True).to_list()
        found = []
        for measure in measures:
            own = self.survey.number(self.named.id, measure)
            if own is not None and measure != self.main:
                found.append((measure, own, self.survey.number(self.judgement.parent.id, measure)))
        return tuple(found)


def figure(measure: str, found: Number, *, relative: bool = False) -> str:
    """Return a number as the report shows it, with its interval and unit."""
    form = form_of(measure, found, relative=relative)
    value = form.with_unit(form.figure(found.value))
    return value if found.low == found.high else f"{value} {form.interval(found.low, found.high)}"


def form_of(measure: str, found: Number, *, relative: bool = False) -> Shown:
    """Return how a number is shown."""
    return shown(measure, relative=relative, value_unit=found.value_unit)


def name_of(measure: str) -> str:
    """Return the name of a measure for people."""
    return measure_name(measure)
