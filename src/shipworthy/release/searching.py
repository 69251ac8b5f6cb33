"""The search of a project: each recipe made, asked about validation, and held against the policy.

A recipe is first asked about a part of the validation rows; where these already prove that a limit
is missed, it goes no further. What is made and answered here are stages like any other, so that
whoever is measured in full later on is not made again. The times of the search say where to look
and decide nothing: verdicts rest on fresh processes.

A recipe is timed beside its parent on the machine that tries it. What it would take on the machine
of the run, which is what a limit in ms is held against, is that ratio times the parent's time here:
a trial on a slower machine is not blamed for it.
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from shipworthy.compress.lever_settings import plain
from shipworthy.compress.search import Search, search
from shipworthy.compress.search_space import Space
from shipworthy.compress.trials import Found, TrialError, Tries, one_by_one, plain_trial
from shipworthy.core.errors import InputError, StageError
from shipworthy.core.locale import text
from shipworthy.measure.decide import Evidence, assess
from shipworthy.measure.estimates import Estimate, Fact, Unmeasured
from shipworthy.measure.quick_speed import paired_p95_ms
from shipworthy.model.checkpoint import size_bytes
from shipworthy.release.glance import surely_missed
from shipworthy.release.made import Made, classes, part
from shipworthy.release.places import TRIALS
from shipworthy.release.policy import policy_digest
from shipworthy.release.ruler import Ruler, Subject
from shipworthy.release.search_rows import CHOSEN

if TYPE_CHECKING:
    import polars as pl

    from shipworthy.compress.recipes import Recipe
    from shipworthy.core.records import Limit, RelativeTo
    from shipworthy.core.stages import Stage
    from shipworthy.model.text_classifier import TextClassifier
    from shipworthy.release.artefacts import Workshop
    from shipworthy.release.policy import Policy

Make: TypeAlias = "Callable[[Workshop, Stage, Made, Recipe], Made]"
"""Makes a candidate of a parent by a recipe; the stage is that of the rows."""

_OBJECTIVE = {"size": "size_mb", "quality": "harm"}
"""What the objective of a project is among those of the search; all others are about time."""
GLANCE = 0.25
"""Share of the validation rows that a recipe is asked about first."""
LEAST_GLANCE = 200
FEWEST_ROWS = 20
"""Rows below which what a group loses is not made small: it would be chance."""

WHERE = {"workers", "trial_minutes"}
"""Settings that say where trials are made and when one is given up, not what they find."""


def space_of(folder: Path, *, grouped: bool) -> Space:
    """Return what there is to choose for the model of a folder.

    Raises ModelError where its blocks cannot be found.
    """
    from shipworthy.compress.blocks import repeated
    from shipworthy.model.pretrained import load_module

    module: Any = load_module(folder)
    blocks = len(repeated(module, folder)[2])
    tokens = int(module.get_input_embeddings().num_embeddings)
    return Space(blocks=blocks, tokens=tokens, grouped=grouped)


def search_stage(shop: Workshop, data: Stage, parent: Made, make: Make) -> Stage:
    """Search the recipes of a project; the stage holds what was tried and what was chosen.

    Raises StageError where no recipe at all could be made.
    """
    from shipworthy.compress.search import best
    from shipworthy.release.search_layers import nearest_layers

    project, policy = shop.project, shop.project.policy.policy()
    settings = project.compress
    key: dict[str, Any] = dict(
        inputs={"rows": data.digest, "parent": parent.candidate.artefact_digest},
        settings={
            "compress": settings.model_dump(mode="json", exclude=WHERE),
            "policy": policy_digest(policy),
            "objective": project.objective,
            "columns": [project.data.text, project.data.label, project.data.unit],
            "groups": [list(project.data.groups), project.data.intersections],
        },
        module="shipworthy.release.searching",
        seed=project.seed,
    )

    def write(folder: Path) -> None:
        place = shop.work("search", **key)
        given = [_plain(one) for one in settings.recipes] if settings.recipes != "auto" else []
        bench = SearchBench(shop, data, parent, policy, make, place)
        found = run_search(bench, first=given)
        layers = nearest_layers(bench, found)
        objective = _OBJECTIVE.get(project.objective, "latency")
        chosen = best(found.trials, objective=objective, most=settings.keep)
        if not chosen:
            raise StageError(text("error.searching.none", error=found.trials[0].error))
        write_trials(found, folder, layers)
        told = json.dumps([trial.recipe for trial in chosen], ensure_ascii=False)
        (folder / CHOSEN).write_text(told, encoding="utf-8")
        shutil.rmtree(place, ignore_errors=True)

    return shop.run("search", write, **key)


def _plain(recipe: Any) -> Any:
    return recipe if isinstance(recipe, str) else plain(recipe)


def run_search(bench: SearchBench, *, first: Sequence[Any] = ()) -> Search:
    """Search the recipes of a project within its budget.

    first: recipes, as the project writes them, that are tried before all others.
    """
    project, place = bench.shop.project, bench.place
    space = space_of(bench.parent.folder, grouped=bool(project.data.groups))
    try:
        with _tries(bench) as tries:
            return search(
                tries, space, budget_seconds=60 * project.compress.budget_minutes, place=place,
                seed=project.seed, first=first, most=project.compress.most_trials,
            )  # fmt: skip
    finally:
        shutil.rmtree(place / "glance", ignore_errors=True)


@contextmanager
def _tries(bench: SearchBench) -> Iterator[Tries]:
    """Return what makes the trials: this process, or workers on the nodes of a Ray cluster."""
    if bench.shop.project.compress.workers == "local":
        yield one_by_one(bench.measure)
        return
    from shipworthy.release.search_nodes import on_nodes

    with on_nodes(bench) as tries:
        yield tries


@dataclass(eq=False)
class SearchBench:
    """What trials are measured with: the parent, its answers, and the policy.

    given_p95_ms: the parent's time on the machine of the run, ms; measured here where it is None.
    """

    shop: Workshop
    data: Stage
    parent: Made
    policy: Policy
    make: Make
    place: Path
    given_p95_ms: float | None = None
    rulers: dict[str, Ruler] = field(default_factory=dict)

    def measure(self, recipe: Recipe) -> Found:
        """Make a recipe and measure it; raises TrialError where it cannot be made or asked."""
        try:
            one = self.make(self.shop, self.data, self.parent, recipe)
            stopped = self._glanced(one)
            return stopped if stopped is not None else self._measured(one)
        except (InputError, StageError) as error:
            raise TrialError(str(error)) from error

    def _glanced(self, one: Made) -> Found | None:
        """Return what the first rows prove, None where they leave it open."""
        rows = self._first_rows
        if rows.height == part(self.data, "validation").height:
            return None
        subject = self._asked(one, rows, "glance")
        misses = self._misses(subject, "glance")
        lost = [miss for miss in misses if miss.proved]
        if not lost:
            return None
        worst = max(lost, key=lambda miss: miss.excess)
        excess = [miss.excess for miss in misses]
        return Found((math.nan,) * 3, tuple(excess), worst.told, stopped=True)

    def _measured(self, one: Made) -> Found:
        answered = self.shop.answers(self.data, one, "validation")
        told = self.shop.predictions(self.data, one, "validation", answered)
        own, other = paired_p95_ms(
            self._parent_model, _opened(one, self.shop), self._texts, seed=self.shop.project.seed
        )
        ratio = other / own
        numbers = numbers_of(one, ratio * self.parent_p95_ms)
        subject = Subject(one.candidate, told, numbers)
        misses = self._misses(subject, "validation")
        worst = max(misses, key=lambda miss: miss.excess, default=None)
        lost = "" if worst is None or worst.excess <= 0 else worst.told
        values = (size_bytes(one.folder) / 1e6, ratio, self._harm(subject))
        return Found(values, tuple(miss.excess for miss in misses), lost)

    # -- the parent, once ------------------------------------------------------------------------

    @cached_property
    def _texts(self) -> list[str]:
        texts: list[str] = part(self.data, "validation")[self.shop.project.data.text].to_list()
        return texts

    @cached_property
    def _parent_model(self) -> TextClassifier:
        return _opened(self.parent, self.shop)

    @cached_property
    def parent_p95_ms(self) -> float:
        """The parent's 95th percentile on the machine of the run, ms."""
        if self.given_p95_ms is not None:
            return self.given_p95_ms
        return paired_p95_ms(
            self._parent_model, self._parent_model, self._texts, seed=self.shop.project.seed
        )[0]

    @cached_property
    def _first_rows(self) -> pl.DataFrame:
        rows = part(self.data, "validation")
        count = max(LEAST_GLANCE, round(GLANCE * rows.height))
        if count >= rows.height:
            return rows
        generator = np.random.default_rng([self.shop.project.seed, rows.height])
        return rows[np.sort(generator.choice(rows.height, count, replace=False))]

    def ruler(self, split: str) -> Ruler:
        """Return the ruler of the first rows (`glance`) or of all (`validation`)."""
        if split not in self.rulers:
            settings = self.shop.project.data
            if split == "glance":
                subject = self._asked(self.parent, self._first_rows, "parent")
            else:
                answered = self.shop.answers(self.data, self.parent, split)
                told = self.shop.predictions(self.data, self.parent, split, answered)
                numbers = numbers_of(self.parent, self.parent_p95_ms)
                subject = Subject(self.parent.candidate, told, numbers)
            self.rulers[split] = Ruler(
                subject, groups=settings.groups, unit=settings.unit,
                intersections=settings.intersections, confidence=self.policy.confidence,
                split="validation",
            )  # fmt: skip
        return self.rulers[split]

    def _asked(self, one: Made, rows: pl.DataFrame, name: str) -> Subject:
        from shipworthy.release.asking import ask, heard

        project, named = self.shop.project, classes(self.data)
        folder = self.place / "glance" / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        ask(project, one.folder, rows, named, folder, work=folder / "work")
        told = heard(
            project, folder, rows, named, name=one.candidate.name,
            artefact_digest=one.candidate.artefact_digest,
        )  # fmt: skip
        return Subject(one.candidate, told)

    # -- against the policy ----------------------------------------------------------------------

    def _misses(self, subject: Subject, split: str) -> list[Miss]:
        """Return of each limit that counts by how much it is missed; NaN is no objection."""
        ruler, limits = self.ruler(split), self.limits
        by_limit: dict[int, Miss] = {}
        items = ruler.evidence(subject, limits)
        for item, missed in zip(items, surely_missed(items), strict=True):
            found = miss_of(item, proved=bool(missed.any()))
            before = by_limit.get(item.index, found)
            worse = found if found.excess > before.excess else before
            by_limit[item.index] = replace(worse, proved=found.proved or before.proved)
        return [by_limit.get(k, Miss(0.0, False, "")) for k in range(len(limits))]

    @property
    def limits(self) -> list[Limit]:
        """The limits that count."""
        return [limit for limit in self.policy.limits if limit.tier != "advisory"]

    def _harm(self, subject: Subject) -> float:
        """Return what the group loses that loses most, as a share of its rows; of all rows too."""
        ruler, losses = self.ruler("validation"), []
        for columns in ((), *ruler.crossed):
            shown = assess(ruler.estimate(subject, "accuracy", columns, "parent"))
            value, n = (np.asarray(x, np.float64) for x in (shown.value, shown.n))
            losses += (-value[n >= FEWEST_ROWS]).tolist()
        return max((loss for loss in losses if not math.isnan(loss)), default=0.0)


@dataclass(frozen=True)
class Miss:
    """How far the worst slice of a limit lies outside, as a share of the limit; 0 or less inside.

    proved: whether some slice of it surely lies outside (`glance.py`). told: measure and slice, for
    people. place: of the slice among those of the evidence. value: of the measure there.
    """

    excess: float
    proved: bool
    told: str
    place: int = 0
    value: float = math.nan


def miss_of(item: Evidence, *, proved: bool = False) -> Miss:
    """Return how far what a limit looks at lies outside; proved: as `glance.py` finds."""
    if isinstance(item.estimate, Unmeasured) or not math.isfinite(item.bound):
        return Miss(0.0, False, "")
    shown = assess(item.estimate)
    sign = 1.0 if item.limit.side == "at_least" else -1.0
    value = sign * (item.bound - np.asarray(shown.value, np.float64))
    if np.isnan(value).all():
        return Miss(0.0, False, "")
    scale = max(abs(item.bound), 0.005)
    place = int(np.nanargmax(value))
    excess = float(value[place]) / scale
    return Miss(excess, proved, _told(item, place), place, float(np.asarray(shown.value)[place]))


def _told(item: Evidence, place: int) -> str:
    from shipworthy.release.display import measure_name

    named = [f"{column} = {value}" for column, value in item.slices[place].conditions]
    return ", ".join([measure_name(item.limit.measure), *named])


def numbers_of(one: Made, p95_ms: float) -> dict[tuple[str, RelativeTo], Estimate]:
    """Return what is known of the whole artefact; times here are estimates without an interval."""
    return {
        ("size_mb", "none"): Fact(np.array([size_bytes(one.folder) / 1e6])),
        ("latency_p95_ms", "none"): Fact(np.array([p95_ms])),
    }


def _opened(one: Made, shop: Workshop) -> TextClassifier:
    from shipworthy.model.runtimes import load_classifier

    return load_classifier(one.folder, threads=shop.project.speed.threads, batch="one")


def write_trials(found: Search, folder: Path, layers: Any = None) -> None:
    """Write all trials of a search as JSON. layers: what cost the nearest one, if it was looked."""
    trials = [{**plain_trial(trial), "state": trial.state} for trial in found.trials]
    told = {"seconds": found.seconds, "exhausted": found.exhausted, "layers": layers}
    told["trials"] = trials
    (folder / TRIALS).write_text(json.dumps(told, ensure_ascii=False, indent=1), encoding="utf-8")
