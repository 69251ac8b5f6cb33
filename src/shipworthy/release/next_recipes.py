"""What to change about a candidate that is outside a limit: the recipe to make in its place.

Each proposal says what it costs against the candidate: minutes of what has to be made anew, and
megabytes and milliseconds, measured where the other candidate exists, else forecast.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from shipworthy.core.records import ALL_ROWS, Decision, Outcome, Slice
from shipworthy.measure.batching import MEASURE as BATCH_DEPENDENCE
from shipworthy.measure.catalogue import MEASURES
from shipworthy.release.judgement import NextStep, Phrase
from shipworthy.release.next_words import figure, price_words, said, told

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shipworthy.release.next_ground import Asked

BF16_SIZE, INT8_SIZE = 0.5, 0.27
"""Size of a recipe's file against the parent's, before anybody made it."""
SAME_SHAPE = "same_shape"
"""Basis of a price: only values change, so that the file and its speed stay as they are."""


def untried(asked: Asked, candidate: str, worst: Sequence[Decision]) -> list[NextStep]:
    """A recipe at hand that nobody asked for yet, where size or speed keeps a candidate back."""
    from shipworthy.compress.recipes import Recipe

    ground, first = asked.background, worst[0]
    if any(d.measure == BATCH_DEPENDENCE for d in worst):
        return []
    kinds = {MEASURES[d.measure].kind for d in worst}
    if not ground.recipes or not kinds <= {"speed", "fact"}:
        return []
    tried = {r.settings.get("weights") for r in ground.recipes.values()}
    found = []
    for weights, part in (("int8", INT8_SIZE), ("bf16", BF16_SIZE)):
        if weights in tried:
            continue
        words: dict[str, str | Phrase] = {**told(asked.names[candidate], first), "recipe": weights}
        minutes = ground.minutes_of(candidate, Recipe(weights, "quantize", {"weights": weights}))
        grown = part * ground.parent_mb - ground.mb.get(candidate, math.nan)
        step = NextStep(
            candidate, said("next.untried", words), math.nan, math.nan, cost_minutes=minutes,
            recipe=weights, cost_mb=grown, cost_ms=math.nan,
            cost_basis="" if math.isnan(grown) else "forecast",
        )  # fmt: skip
        size = part if first.relative_to == "parent" else part * ground.parent_mb
        if kinds == {"fact"} and first.measure == "size_mb" and not math.isnan(size):
            if size > first.bound:
                continue
            words["value"] = figure(first, size, size, size)
            step = replace(
                step, phrase=said("next.untried_size", words), probability=0.9,
                pass_probability=0.9, effect=size, effect_low=size, effect_high=size,
                effect_measure="size_mb",
            )  # fmt: skip
        found.append(step)
    return found[:1]


def batched(asked: Asked, candidate: str, worst: Sequence[Decision]) -> list[NextStep]:
    """Ranges that are fixed beforehand, or one by one, where the texts of a batch move answers."""
    from shipworthy.compress.recipes import fixed_ranges, written

    found = [d for d in worst if d.measure == BATCH_DEPENDENCE and d.decision is Outcome.FAIL]
    if not found:
        return []
    ground, words = asked.background, told(asked.names[candidate], found[0])
    recipe = ground.recipes.get(candidate)
    other = None if recipe is None else fixed_ranges(recipe)
    if other is None or other.name in {r.name for r in ground.recipes.values()}:
        return [NextStep(candidate, said("next.one_by_one", words), math.nan, math.nan)]
    words["recipe"] = written(other)
    return [
        NextStep(
            candidate, said("next.fixed_ranges", words), math.nan, math.nan,
            recipe=written(other), cost_minutes=ground.minutes_of(candidate, other),
            cost_mb=math.nan, cost_ms=math.nan,
        )
    ]  # fmt: skip


def rounded(asked: Asked, candidate: str, worst: Sequence[Decision]) -> list[NextStep]:
    """The same kind of rounding with more bits, or one that makes good for itself."""
    from shipworthy.compress.recipes import nearer, written

    ground = asked.background
    recipe = ground.recipes.get(candidate)
    other = None if recipe is None else nearer(recipe, classifies=ground.classifies)
    names = {r.name for r in ground.recipes.values()}
    if (
        other is None
        or other.name in names
        or any(MEASURES[d.measure].kind in ("speed", "fact") for d in worst)
    ):
        return []
    words = told(asked.names[candidate], worst[0]) | {"recipe": written(other)}
    step = NextStep(
        candidate, said("next.nearer", words), math.nan, math.nan, recipe=written(other),
        cost_minutes=ground.minutes_of(candidate, other),
    )  # fmt: skip
    # Weights in groups take the same bits however they were rounded.
    same = other.settings.get("rounding") == "compensated"
    return [_priced(step, same_shape=same)]


def mended(asked: Asked, candidate: str, worst: Sequence[Decision]) -> list[NextStep]:
    """The same recipe with one repair more: groups alike, a recovery, thresholds tuned again."""
    from shipworthy.compress.recipes import written
    from shipworthy.compress.repairs import keeps_shape, repaired

    ground = asked.background
    recipe = ground.recipes.get(candidate)
    if recipe is None or any(MEASURES[d.measure].kind != "quality" for d in worst):
        return []
    groups = Slice.parse(worst[0].slice) != ALL_ROWS
    other = repaired(recipe, groups=groups)
    if other is None or other.name in {r.name for r in ground.recipes.values()}:
        return []
    words = told(asked.names[candidate], worst[0]) | {"recipe": written(other)}
    step = NextStep(
        candidate, said("next.repair", words), math.nan, math.nan, recipe=written(other),
        cost_minutes=ground.minutes_of(candidate, other),
    )  # fmt: skip
    same = keeps_shape(recipe, other)
    return [_priced(step, same_shape=same)]


def layers(asked: Asked, candidate: str, worst: Sequence[Decision]) -> list[NextStep]:
    """The look into the layers, where the recipe can keep some and a quality keeps it back."""
    from shipworthy.compress.sparing import sparable

    ground = asked.background
    recipe = ground.recipes.get(candidate)
    places = () if recipe is None else sparable(recipe)
    if not places or not asked.run or any(MEASURES[d.measure].kind != "quality" for d in worst):
        return []
    minutes = ground.minutes_of_a_look(candidate, places[-1])
    words = told(asked.names[candidate], worst[0])
    words |= {"run": asked.run, "minutes": f"{max(minutes, 1):.0f}"}
    key, price = "next.layers", ground.block_price(candidate)
    shown = price_words(price.mb, price.ms)
    if shown is not None:
        # What keeping parts would cost; the look itself makes nothing larger or slower.
        key, words["price"] = "next.layers_priced", shown
    return [NextStep(candidate, said(key, words), math.nan, math.nan, cost_minutes=minutes)]


def _priced(step: NextStep, *, same_shape: bool) -> NextStep:
    """Return a step whose recipe costs nothing beside its minutes, or nobody knows what."""
    if same_shape:
        return replace(step, cost_basis=SAME_SHAPE)
    return replace(step, cost_mb=math.nan, cost_ms=math.nan)
