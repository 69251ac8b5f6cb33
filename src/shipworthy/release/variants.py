"""Variants of a candidate that spare some parts: made, asked about validation, and timed.

Each is made step by step as any candidate is, so that the steps before the one that spares parts
are read from the cache, and a look that ran out of time goes on where it was.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from shipworthy.compress.recipes import steps_of
from shipworthy.release.made import made, part
from shipworthy.release.ruler import Ruler, Subject

if TYPE_CHECKING:
    from pathlib import Path

    from shipworthy.compress.recipes import Recipe
    from shipworthy.compress.settings import FloatPart
    from shipworthy.core.records import Limit
    from shipworthy.core.stages import Stage
    from shipworthy.model.predictions import Predictions
    from shipworthy.release.artefacts import Workshop
    from shipworthy.release.made import Made

TIMING = "timing.json"


@dataclass(frozen=True)
class Variant:
    """A candidate that spares parts. seconds: what was made for it alone, and asking validation."""

    recipe: Recipe
    made: Made
    answered: Stage
    seconds: float


@dataclass(eq=False)
class Bench:
    """What a look works with: the parent and the candidate as they were made, and their rows.

    recipe: of the candidate. alpha: level of the next look. most_mb: that the policy allows.
    budget_seconds: of work that is not cached. decided: split that the verdict was about. at: place
    of the step that spares parts.
    """

    shop: Workshop
    data: Stage
    parent: Made
    candidate: Made
    recipe: Recipe
    limits: Sequence[Limit]
    confidence: float
    alpha: float
    most_mb: float = math.inf
    budget_seconds: float = math.inf
    decided: str = "test"
    spent: float = 0.0
    at: int = -1

    @cached_property
    def steps(self) -> tuple[Recipe, ...]:
        """The steps that lead from the parent to the candidate."""
        return steps_of(self.recipe)

    @cached_property
    def first(self) -> tuple[Stage, ...]:
        """The stages of all steps but the last."""
        return self._compress(step_recipe(self.steps[:-1])) if len(self.steps) > 1 else ()

    @property
    def is_spent(self) -> bool:
        """Whether the time is up; what is cached takes none, so that every look gets further."""
        return self.spent > 0 and self.budget_seconds <= self.spent

    def after(self, place: int) -> Made:
        """Return what a step of the recipe made; the parent for -1."""
        if place < 0:
            return self.parent
        if place == len(self.steps) - 1:
            return self.candidate
        return self._made(self.steps[place], self.first[place])

    def variant(self, parts: Sequence[FloatPart]) -> Variant:
        """Make a candidate that spares parts, and ask it about validation."""
        from shipworthy.compress.sparing import keeping

        place = self.at % len(self.steps)
        recipe = keeping(self.recipe, parts, at=place)
        stages = self._compress(recipe, done=self.first[:place])
        one = self._made(recipe, stages[-1])
        answered = self._spend(self.shop.answers(self.data, one, "validation"))
        seconds = sum(s.seconds for s in stages[place:]) + answered.seconds
        return Variant(recipe, one, answered, seconds)

    def _compress(self, recipe: Recipe, *, done: Sequence[Stage] = ()) -> tuple[Stage, ...]:

        from shipworthy.release.candidate_stages import compress_steps

        digest = self.parent.candidate.artefact_digest
        stages = compress_steps(
            self.shop, self.parent.folder, digest, recipe, data=self.data, done=done
        )
        for stage in stages[len(done) :]:
            self._spend(stage)
        return stages

    def _spend(self, stage: Stage) -> Stage:
        self.spent += 0.0 if stage.cached else stage.seconds
        return stage

    def _made(self, recipe: Recipe, stage: Stage) -> Made:
        return made(
            stage, recipe.name, recipe.lever, parents=(self.parent.candidate.id,),
            settings=dict(recipe.settings), seed=self.candidate.candidate.seed,
        )  # fmt: skip

    def answers(self, one: Made, split: str) -> Predictions:
        """Return what an artefact answered on a split, asked where it is not cached."""
        answered = self._spend(self.shop.answers(self.data, one, split))
        return self.shop.predictions(self.data, one, split, answered)

    def slower_ms(self, variant: Variant) -> float:
        """Return by how much a variant's p95 lies above the candidate's, timed in one process, ms.

        NaN for language models, whose requests are not texts to classify.
        """
        if self.shop.language is not None:
            return math.nan
        project, own = self.shop.project, self.candidate

        def make(folder: Path) -> None:
            from shipworthy.measure.quick_speed import paired_p95_ms
            from shipworthy.model.runtimes import load_classifier

            threads = project.speed.threads
            models = [load_classifier(m.folder, threads=threads, batch="one")
                      for m in (own, variant.made)]  # fmt: skip
            texts = part(self.data, "validation")[project.data.text].to_list()
            told = paired_p95_ms(models[0], models[1], texts, seed=project.seed)
            (folder / TIMING).write_text(json.dumps(told), encoding="utf-8")

        digests = {"candidate": own.candidate, "variant": variant.made.candidate}
        stage = self._spend(
            self.shop.run(
                f"timing {variant.recipe.name}",
                make,
                inputs={
                    "rows": self.data.digest,
                    **{name: one.artefact_digest for name, one in digests.items()},
                },
                settings={"threads": project.speed.threads, "text": project.data.text},
                module="shipworthy.measure.quick_speed",
                seed=project.seed,
            )
        )
        before, after = json.loads((stage.folder / TIMING).read_text(encoding="utf-8"))
        return float(after - before)

    def ruler(self, parent: Predictions, split: str) -> Ruler:
        """Return the ruler of a split."""
        settings = self.shop.project.data
        return Ruler(
            Subject(self.parent.candidate, parent), groups=settings.groups, unit=settings.unit,
            intersections=settings.intersections, confidence=self.confidence, split=split,
        )  # fmt: skip


def step_recipe(steps: Sequence[Recipe]) -> Recipe:
    """Return the recipe of some first steps."""
    from shipworthy.compress.recipes import as_asked, named

    asked: list[Any] = [as_asked(step) for step in steps]
    return named(asked[0] if len(asked) == 1 else {"steps": asked})
