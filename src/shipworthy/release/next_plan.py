"""What to do next after a verdict: for each candidate that does not ship, the cheapest way on.

Where rows or timings are missing, `next_step.py` says which. Where the candidate is outside a
limit, or more rows would not bring it in, it has to change: another candidate of the run may be
inside already, a share between two measured ones may be, a recipe may not have been tried, or the
layers that cost the group may be kept as they were (`sensitivity.py`, by the verb `next`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from shipworthy.core.records import Answer, Decision, Outcome
from shipworthy.measure.catalogue import MEASURES
from shipworthy.measure.decide import CandidateDecision, Evidence, opening_alpha
from shipworthy.measure.estimates import PairedChange
from shipworthy.measure.licences import MEASURE as LICENCES
from shipworthy.release.contamination import MEASURE as CONTAMINATED
from shipworthy.release.data_facts import DUPLICATES, SMALLEST
from shipworthy.release.judgement import NextStep, Phrase
from shipworthy.release.next_futures import SEED
from shipworthy.release.next_ground import Asked, Background
from shipworthy.release.next_mitigation import mitigated
from shipworthy.release.next_prices import ranked
from shipworthy.release.next_recipes import SAME_SHAPE, batched, layers, mended, rounded, untried
from shipworthy.release.next_share import Flips, crossing, forecast
from shipworthy.release.next_step import MOST_STEPS, next_steps, place
from shipworthy.release.next_words import figure, said, told

if TYPE_CHECKING:
    from shipworthy.compress.recipes import Recipe

_OF_ALL = {
    LICENCES: "next.licence_forbids", CONTAMINATED: "next.contaminated",
    DUPLICATES: "next.duplicates", SMALLEST: "next.smallest_group",
}  # fmt: skip
"""What to do about figures of the rows and of the model that training started from."""


def plan(
    decided: Sequence[CandidateDecision],
    evidence: Mapping[str, Sequence[Evidence]],
    names: Mapping[str, str],
    nominated: Sequence[str],
    answer: Answer,
    *,
    run: str,
    confidence: float,
    opening: int,
    background: Background | None = None,
) -> tuple[NextStep, ...]:
    """Return the next steps of all candidates, lowest cost for the chance first.

    A candidate that is held is helped only where none ships.
    """
    ground = background or Background()
    alpha = opening_alpha((1 - confidence) / 2, opening + 1)
    asked = Asked(run, {d.candidate: d for d in decided}, evidence, names, alpha, ground)
    found: list[NextStep] = []
    for one in decided:
        if one.any_fail:
            steps = alternatives(asked, one.candidate) if answer is not Answer.SHIP else ()
        elif one.candidate not in nominated:
            steps = _kept_back(asked, one) if answer is Answer.HOLD else ()
        elif one.all_pass:
            steps = ()
        else:
            steps = next_steps(
                one.candidate, names[one.candidate], one.decisions, evidence[one.candidate],
                confidence=confidence, opening=opening, prices=ground.prices, clock=ground.clock,
            )  # fmt: skip
            if any(s.phrase.key.startswith("next.change") for s in steps):
                steps = (*alternatives(asked, one.candidate), *steps)
        found += ranked(steps, ground.prices)[:MOST_STEPS]
    return ranked(found, ground.prices)


def blocked(decisions: Sequence[Decision]) -> list[Decision]:
    """Return the decisions that keep a candidate back for good, the most harmful first.

    Those that fail; where none does, those that cannot tell and lie outside their limit; where none
    does either, all that cannot tell.
    """
    counting = [d for d in decisions if d.tier != "advisory"]
    fails = [d for d in counting if d.decision is Outcome.FAIL]
    if not fails:
        fails = [
            d
            for d in counting
            if d.decision is Outcome.CANNOT_TELL and d.unknown == "block" and not d.p_pass < 0.5
        ]
    if not fails:
        fails = [d for d in counting if d.decision is Outcome.CANNOT_TELL and d.unknown == "block"]
    return sorted(fails, key=lambda d: d.p_fail if not math.isnan(d.p_fail) else 1.0)


def alternatives(asked: Asked, candidate: str) -> tuple[NextStep, ...]:
    """Return what to change about a candidate that is outside its limits; never nothing."""
    worst = blocked(asked.decided[candidate].decisions)
    if not worst:
        return ()
    whole = [d for d in worst if d.measure in _OF_ALL and d.decision is Outcome.FAIL]
    if whole:
        # No lever changes it: every candidate of the run has it.
        return tuple(
            NextStep(
                candidate, said(_OF_ALL[d.measure], told(asked.names[candidate], d)),
                math.nan, math.nan,
            )
            for d in whole
        )  # fmt: skip
    found = [
        *_other(asked, candidate, worst),
        *_share(asked, candidate, worst),
        *untried(asked, candidate, worst),
        *batched(asked, candidate, worst),
        *rounded(asked, candidate, worst),
        *mended(asked, candidate, worst),
        *mitigated(asked.background.mitigating, candidate, asked.names[candidate], worst),
        *layers(asked, candidate, worst),
    ]
    if not found and worst[0].decision is Outcome.FAIL:
        kind = MEASURES[worst[0].measure].kind
        key = {"speed": "next.faster", "fact": "next.smaller"}.get(kind, "next.milder")
        words = told(asked.names[candidate], worst[0])
        found.append(NextStep(candidate, said(key, words), math.nan, math.nan))
    return tuple(found)


def _other(asked: Asked, candidate: str, worst: Sequence[Decision]) -> list[NextStep]:
    """The candidate of this run that is inside every limit which keeps this one back."""
    for other in sorted(asked.decided.values(), key=lambda d: (d.any_fail, not d.all_pass)):
        inside = {place(d): d for d in other.decisions if d.decision is Outcome.PASS}
        if other.candidate == candidate or not all(place(d) in inside for d in worst):
            continue
        there = inside[place(worst[0])]
        words = told(asked.names[candidate], worst[0])
        words["other"] = asked.names[other.candidate]
        words["value"] = figure(there, there.value, there.low, there.high)
        return [
            NextStep(
                candidate, said("next.other", words), 1.0, 1.0, effect=there.value,
                effect_low=there.low, effect_high=there.high, effect_measure=there.measure,
                **asked.background.against(candidate, other.candidate),
            )
        ]  # fmt: skip
    return []


def _share(asked: Asked, candidate: str, worst: Sequence[Decision]) -> list[NextStep]:
    """A milder share of the same lever, between what was measured."""
    from shipworthy.compress.recipes import as_asked, named, written

    ground = asked.background
    own = ground.recipes.get(candidate)
    if own is None or not _any_share(own):
        return []
    kin = {
        name: float(r.settings["share"])
        for name, r in ground.recipes.items()
        if _any_share(r) and _but_share(r) == _but_share(own) and name in asked.evidence
    }
    most = float(own.settings["share"])
    chosen = [_flips(ground.validation, kin, d) for d in worst]
    counted = [_flips(asked.evidence, kin, d) for d in worst]
    bounds = [d.bound if d.side == "at_least" else -d.bound for d in worst]
    if any(f is None for f in (*chosen, *counted)):
        return []
    at = crossing([(f, b) for f, b in zip(chosen, bounds, strict=True) if f], most, seed=SEED)
    if at is None:
        return []
    chances = [
        forecast(f, at.share, b, alpha=asked.alpha, seed=SEED)
        for f, b in zip(counted, bounds, strict=True)
        if f
    ]
    chance = min(p for p, _ in chances)
    sign = 1.0 if worst[0].side == "at_least" else -1.0
    low, value, high = np.sort(sign * np.quantile(chances[0][1], [0.025, 0.5, 0.975])).tolist()
    milder = replace(own, settings={**own.settings, "share": at.share})
    recipe = written(milder)
    words = told(asked.names[candidate], worst[0])
    words |= {"recipe": recipe, "value": figure(worst[0], value, low, high)}
    return [
        NextStep(
            candidate, said("next.share", words), chance, chance, effect=value, effect_low=low,
            effect_high=high, effect_measure=worst[0].measure, recipe=recipe,
            cost_minutes=ground.minutes_of(candidate, named(as_asked(milder))),
            cost_basis=SAME_SHAPE,
        )
    ]  # fmt: skip


def _any_share(recipe: Recipe) -> bool:
    """Whether single weights become zero, and so many of them as one likes."""
    return (
        recipe.lever == "prune" and "share" in recipe.settings and "pattern" not in recipe.settings
    )


def _but_share(recipe: Recipe) -> dict[str, Any]:
    return {k: v for k, v in recipe.settings.items() if k != "share" and v}


def _flips(
    evidence: Mapping[str, Sequence[Evidence]], kin: Mapping[str, float], decision: Decision
) -> list[Flips] | None:
    """Return the flips of each recipe on the slice of a decision; None where it counts none."""
    found = []
    for name, share in kin.items():
        for item in evidence.get(name, ()):
            places = [k for k, one in enumerate(item.slices) if one.json == decision.slice]
            if item.index != decision.limit or not places:
                continue
            estimate, k = item.estimate, places[0]
            if not isinstance(estimate, PairedChange) or not estimate.n[k] > 0:
                return None
            deff = max(float(estimate.deff[k]), 1.0)
            lost, gained = float(estimate.lost[k]) / deff, float(estimate.gained[k]) / deff
            harmed, helped = (lost, gained) if decision.side == "at_least" else (gained, lost)
            rows, units = float(estimate.n[k]), float(estimate.units[k])
            found.append(Flips(share, harmed, helped, rows / deff, rows, units))
    return found or None


def _kept_back(asked: Asked, decision: CandidateDecision) -> tuple[NextStep, ...]:
    """A candidate that validation did not nominate: the test rows pass it, or cannot tell."""
    if not decision.all_pass:
        return alternatives(asked, decision.candidate)
    words = {"candidate": asked.names[decision.candidate]}
    return (NextStep(decision.candidate, Phrase("next.nominate", words), math.nan, math.nan),)
