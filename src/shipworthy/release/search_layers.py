"""Where a search keeps nothing: the measure, the group and the layers that cost the nearest trial.

The nearest one is looked into as `shipworthy next` does, on validation rows alone, for what is left
of the budget, and for a quarter of it where less is left. What the look would keep in float is
tried as one more recipe, so that a search may end inside the limits after all.
"""

from __future__ import annotations

import math
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from shipworthy.compress.recipes import as_asked, named
from shipworthy.compress.trials import tried as try_recipe
from shipworthy.core.errors import InputError, StageError
from shipworthy.core.records import Limit, Slice
from shipworthy.measure.catalogue import MEASURES
from shipworthy.measure.decide import decide_candidate, opening_alpha
from shipworthy.release.look_shown import look_document
from shipworthy.release.next_run import most_mb
from shipworthy.release.nulls import to_null
from shipworthy.release.ruler import Subject
from shipworthy.release.searching import FEWEST_ROWS, miss_of, numbers_of
from shipworthy.release.sensitivity import Look, countable, look_into
from shipworthy.release.variants import Bench

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shipworthy.compress.recipes import Recipe
    from shipworthy.compress.search import Search
    from shipworthy.compress.trials import Trial
    from shipworthy.core.records import Decision
    from shipworthy.release.made import Made
    from shipworthy.release.searching import SearchBench

SHARE = 0.25
"""Part of the budget that a look may take beyond it."""


def nearest_layers(bench: SearchBench, found: Search) -> dict[str, Any] | None:
    """Look into the trial that misses least, where none is kept; None where one is, or none ended.

    What the look proposes is tried and added to the trials. Returned are JSON values: `missed`,
    the limit, its group and value there; `reason`, why no layers are named ("" where they are); and
    `look`, as `look_document` gives it, of the measure whose rows could be followed.
    """
    ended = [trial for trial in found.trials if trial.found is not None]
    if not ended or any(trial.state == "kept" for trial in ended):
        return None
    begun, nearest = time.monotonic(), min(ended, key=lambda trial: trial.missed)
    recipe = named(nearest.recipe)
    try:
        one = bench.make(bench.shop, bench.data, bench.parent, recipe)
        missed, look, reason = _looked(bench, nearest, recipe, one, found.seconds)
        tried = None if look is None or look.proposal is None else look.proposal.recipe
    except (InputError, StageError) as error:
        # The trials stand as they are.
        missed, look, reason, tried = None, None, str(error), None
    if tried is not None and tried.name not in {trial.name for trial in found.trials}:
        found.trials.append(try_recipe(bench.measure, as_asked(tried), time.monotonic))
    seconds = time.monotonic() - begun
    found.seconds += seconds
    return {
        "candidate_name": nearest.name,
        "missed": missed,
        "reason": reason,
        "look": None if look is None else look_document(look),
        "tried": None if tried is None else tried.name,
        # A look that went on after a kill took the time of both sittings.
        "seconds": max(seconds, 0.0 if look is None else sum(p.seconds for p in look.tried)),
    }


def _looked(
    bench: SearchBench, nearest: Trial, recipe: Recipe, one: Made, spent: float
) -> tuple[dict[str, Any] | None, Look | None, str]:
    """Return what the nearest trial misses, the look into it, and why there is none."""
    shop, ruler, limits = bench.shop, bench.ruler("validation"), bench.limits
    answered = shop.answers(bench.data, one, "validation")
    told = shop.predictions(bench.data, one, "validation", answered)
    ratio = math.nan if nearest.found is None else nearest.found.values[1]
    subject = Subject(one.candidate, told, numbers_of(one, ratio * bench.parent_p95_ms))
    evidence = ruler.evidence(subject, limits)
    misses = sorted(((miss_of(item), item) for item in evidence), key=lambda pair: -pair[0].excess)
    outside = [(miss, item) for miss, item in misses if miss.excess > 0]
    if not outside:
        # The first rows missed a limit that all rows keep.
        return None, None, "inside"
    worst, item = outside[0]
    missed = {
        "measure": item.limit.measure,
        "slice": dict(item.slices[worst.place].conditions),
        "relative_to": item.limit.relative_to,
        "side": item.limit.side,
        "value": to_null(worst.value),
        "bound": to_null(item.bound),
        "value_unit": item.value_unit,
    }
    if MEASURES[item.limit.measure].kind in ("speed", "fact"):
        return missed, None, "whole_file"
    asked = [i for i in evidence if MEASURES[i.limit.measure].kind not in ("speed", "fact")]
    decided = decide_candidate(one.candidate.id, asked, confidence=bench.policy.confidence)
    places = [(i.index, i.slices[m.place].json) for m, i in outside]
    by_place = {(d.limit, d.slice): d for d in decided.decisions}
    decisions = [d for place in places if (d := by_place.get(place)) is not None and countable(d)]
    followed = bool(decisions) and (decisions[0].limit, decisions[0].slice) == places[0]
    if not followed:
        limits = _harmless(item.slices[worst.place])
        decisions = _most_harmed(bench, subject, limits)
        if not decisions:
            return missed, None, "uncounted"
    budget = 60 * shop.project.compress.budget_minutes
    look = look_into(
        Bench(
            shop, bench.data, bench.parent, one, recipe, limits, bench.policy.confidence,
            opening_alpha((1 - bench.policy.confidence) / 2, 1),
            most_mb=most_mb(tuple(bench.limits), ruler_mb(bench)),
            budget_seconds=max(budget - spent, SHARE * budget), decided="validation",
        ),
        decisions,
    )  # fmt: skip
    if not followed:
        # What the look forecasts is another limit than the one that is missed: the best is tried.
        best = look.tried[0] if look.tried and look.tried[0].nearer > 0 else None
        look = replace(look, proposal=best and replace(best, chance=math.nan, futures=()))
    return missed, look, "" if look.tried else "no_parts"


def ruler_mb(bench: SearchBench) -> float:
    """Return the size of the parent, MB."""
    from shipworthy.model.checkpoint import size_bytes

    return size_bytes(bench.parent.folder) / 1e6


def _harmless(where: Slice) -> list[Limit]:
    """Return limits that follow the rows of a group, or those of all and of each group."""
    conditions: dict[str, Any] = dict(where.conditions)
    known = conditions and "each" not in conditions
    slices: list[Any] = [conditions] if known else ["all", "each group"]
    return [Limit("accuracy", "at_least", 0.0, one, "parent") for one in slices]


def _most_harmed(bench: SearchBench, subject: Subject, limits: Sequence[Limit]) -> list[Decision]:
    """Return the decision about the slice that loses most answers."""
    ruler = bench.ruler("validation")
    evidence = ruler.evidence(subject, limits)
    decided = decide_candidate(subject.candidate.id, evidence, confidence=bench.policy.confidence)
    able = [d for d in decided.decisions if d.n >= FEWEST_ROWS and not np.isnan(d.value)]
    return sorted(able, key=lambda d: d.value)[:1]
