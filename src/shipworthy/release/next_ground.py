"""What the next steps of a run stand on: how its candidates were decided, and what work took."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from shipworthy.release.next_mitigation import Mitigating
from shipworthy.release.next_prices import PriceSettings
from shipworthy.release.next_step import UNTIMED, Clock

if TYPE_CHECKING:
    from shipworthy.compress.recipes import Recipe
    from shipworthy.measure.decide import CandidateDecision, Evidence


@dataclass(frozen=True)
class Spent:
    """What work took, in seconds.

    steps: by name of the recipe up to each step that was made. asked, glanced: asking a candidate
    on all rows, and on validation alone, by its id. epoch: one pass of the parent's training.
    """

    steps: Mapping[str, float] = field(default_factory=dict)
    asked: Mapping[str, float] = field(default_factory=dict)
    glanced: Mapping[str, float] = field(default_factory=dict)
    epoch: float = math.nan

    def making(self, recipe: Recipe, like: Recipe) -> float:
        """Return how long making a recipe takes, steps that lie in the cache left out.

        like: a recipe that was made; a step that is not there yet takes as long as its own one of
        the same kind, or as one of any recipe. A training that nobody made takes its passes.
        """
        from shipworthy.compress.recipes import steps_of

        steps = steps_of(recipe)
        return math.fsum(0.0 if s.name in self.steps else self.step(s, like) for s in steps)

    def step(self, step: Recipe, like: Recipe) -> float:
        """Return how long a step takes when it is made anew."""
        from shipworthy.compress.recipes import kind_of, steps_of

        kind = kind_of(step)
        alike = [s.name for s in steps_of(like) if kind_of(s) == kind]
        own = [self.steps[name] for name in alike if name in self.steps]
        if own:
            return own[-1]
        options = step.settings.get(kind)
        if isinstance(options, Mapping) and kind == "recover" and not math.isnan(self.epoch):
            return self.epoch * float(options.get("epochs", 1))
        # Of a threshold: calibration rows are asked, and they are fewer than those of validation.
        every = list(self.glanced.values())
        return max(every, default=0.0) if kind == "threshold" else 0.0


@dataclass(frozen=True)
class Price:
    """What a repair costs against the candidate: megabytes of the file and p95 ms, NaN unknown."""

    mb: float = math.nan
    ms: float = math.nan


@dataclass(frozen=True)
class Background:
    """What a run knows beside the answers on the test rows.

    recipes, validation (what limits look at there), minutes (to make and ask one more of its kind,
    where spent does not tell it step by step): by candidate id. parts: of the model that a recipe
    can keep. mb, p95_ms: of candidates by id, as they were measured. block_price: what it costs a
    candidate, by its id, to leave one block as it was. parent_mb: NaN where not known. classifies:
    whether the models tell classes.
    """

    prices: PriceSettings = field(default_factory=PriceSettings)
    clock: Clock = UNTIMED
    recipes: Mapping[str, Recipe] = field(default_factory=dict)
    validation: Mapping[str, Sequence[Evidence]] = field(default_factory=dict)
    minutes: Mapping[str, float] = field(default_factory=dict)
    spent: Spent | None = None
    mitigating: Mitigating = Mitigating()
    parts: int = 0
    parent_mb: float = math.nan
    classifies: bool = False
    mb: Mapping[str, float] = field(default_factory=dict)
    p95_ms: Mapping[str, float] = field(default_factory=dict)
    block_price: Callable[[str], Price] = lambda candidate: Price()

    def minutes_of(self, candidate: str, recipe: Recipe | None = None) -> float:
        """Return the minutes to make a recipe in place of a candidate, and to ask it.

        recipe: None makes one more of the candidate's own kind.
        """
        own = self.recipes.get(candidate)
        if self.spent is None or own is None or recipe is None:
            return self.minutes.get(candidate, 0.0)
        making = self.spent.making(recipe, own)
        return (making + self.spent.asked.get(candidate, 0.0)) / 60

    def against(self, candidate: str, other: str) -> dict[str, Any]:
        """Return the price of another candidate against one, both measured, as fields of a step."""
        nothing = math.nan
        mb = self.mb.get(other, nothing) - self.mb.get(candidate, nothing)
        ms = self.p95_ms.get(other, nothing) - self.p95_ms.get(candidate, nothing)
        told = not (math.isnan(mb) and math.isnan(ms))
        return {"cost_mb": mb, "cost_ms": ms, "cost_basis": "measured" if told else ""}

    def minutes_of_a_look(self, candidate: str, at: int) -> float:
        """Return the minutes to spare each part once at a step, and to ask validation of it."""
        from shipworthy.compress.recipes import steps_of

        own = self.recipes.get(candidate)
        if self.spent is None or own is None:
            return self.minutes.get(candidate, 0.0) * max(self.parts, 1)
        anew = math.fsum(self.spent.step(step, own) for step in steps_of(own)[at:])
        each = anew + self.spent.glanced.get(candidate, 0.0)
        return each / 60 * max(self.parts, 1)


@dataclass(frozen=True)
class Asked:
    """All candidates as they were decided. evidence and names by id; alpha of the next look."""

    run: str
    decided: Mapping[str, CandidateDecision]
    evidence: Mapping[str, Sequence[Evidence]]
    names: Mapping[str, str]
    alpha: float
    background: Background
