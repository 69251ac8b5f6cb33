"""What a run knows beside its test rows, for the next steps of its verdict."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from shipworthy.measure.decide import assess
from shipworthy.measure.estimates import Unmeasured
from shipworthy.measure.language_speed import DROPPED
from shipworthy.measure.speed_sample import LEAST_DROPPED
from shipworthy.release.made import MODEL
from shipworthy.release.next_ground import Background, Price, Spent
from shipworthy.release.next_mitigation import mitigating
from shipworthy.release.next_step import Clock

if TYPE_CHECKING:
    from pathlib import Path

    from shipworthy.compress.recipes import Recipe
    from shipworthy.core.records import Candidate
    from shipworthy.measure.settings import SpeedSettings
    from shipworthy.release.made import Made
    from shipworthy.release.pipeline import Bench
    from shipworthy.release.ruler import Ruler, Subject


def background(bench: Bench, ruler: Ruler, candidates: Sequence[Subject]) -> Background:
    """Return it for a run. ruler, candidates: of the validation rows."""
    made = {m.candidate.id: m for m in bench.everyone[1:]}
    # Levers of texts are no way on for a table.
    table = bench.shop.project.table is not None
    found = {name: recipe_of(m.candidate) for name, m in made.items() if not table}
    recipes = {name: recipe for name, recipe in found.items() if recipe is not None}
    spent = spent_on(bench, recipes)
    subjects = {s.candidate.id: s for s in candidates}
    p95_ms = {name: _number(s, "latency_p95_ms") for name, s in subjects.items()}
    parent_ms = _number(ruler.parent, "latency_p95_ms")

    def block_price(name: str) -> Price:
        if name not in recipes or name not in p95_ms:
            return Price()
        return price_of_a_block(bench, made[name], recipes[name], parent_ms, p95_ms[name])

    return Background(
        prices=bench.shop.project.prices,
        clock=_clock(bench),
        recipes=recipes,
        validation={s.candidate.id: ruler.evidence(s, bench.policy.limits) for s in candidates},
        spent=spent,
        mitigating=mitigating(
            bench.shop.project,
            bench.everyone,
            sum(stages[0].seconds for stages in bench.answers.values()),
        ),
        parts=0 if table else _parts(bench.everyone[0]),
        parent_mb=_number(ruler.parent, "size_mb"),
        classifies=bench.shop.language is None and not table,
        mb={name: _number(s, "size_mb") for name, s in subjects.items()},
        p95_ms=p95_ms,
        block_price=block_price,
    )


def price_of_a_block(
    bench: Bench, one: Made, recipe: Recipe, parent_ms: float, own_ms: float
) -> Price:
    """Forecast what it costs to leave one block as it was, at the last step that can.

    Megabytes come from the parameters of the block's matrices and the bits that they then take. In
    milliseconds a block takes its part, by parameters, of what lies between the candidate and the
    model that the step was given; that one is as much slower than the candidate as the parent is,
    less what steps before have taken out. What nobody can foretell is NaN.
    """
    from shipworthy.compress.blocks import matrices_by_block
    from shipworthy.compress.recipes import kind_of, steps_of
    from shipworthy.compress.sparing import sparable
    from shipworthy.model.checkpoint import read_info
    from shipworthy.model.pretrained import load_module

    steps, place = steps_of(recipe), sparable(recipe)[-1]
    kind = kind_of(steps[place])
    if kind == "prune":
        return Price(0.0, 0.0)
    parent = bench.everyone[0].folder
    given = _folder(bench, f"candidate {steps[place - 1].name}") if place else parent
    if given is None or kind not in ("int8", "int4", "layers"):
        return Price()
    weights, whole = (
        [sum(w.numel() for w in found) for found in matrices_by_block(load_module(f)).values()]
        for f in (given, parent)
    )
    if not weights or not sum(whole):
        return Price()
    each = sum(weights) / len(weights)
    if kind == "layers":
        # A block that stays costs what one of those that stayed does.
        kept = len(steps[place].settings["layers"])
        few = any(kind_of(s) == "int8" for s in steps[place:])
        alone = {"layers"} | ({"int8"} if few else set()) >= {kind_of(s) for s in steps[place:]}
        mb = each * (1 if few else 4) / 1e6 if alone else math.nan
        return Price(mb, own_ms / kept if alone else math.nan)
    classifies = read_info(parent).does == "classify"
    # Bytes a weight: a classifier's block stays in fp32, a language model's in bf16.
    grown = (4.0 if classifies else 2.0) - (1.0 if kind == "int8" else 0.5)
    between = parent_ms * sum(weights) / sum(whole) - own_ms
    return Price(each * grown / 1e6, between / len(weights))


def spent_on(bench: Bench, recipes: Mapping[str, Recipe]) -> Spent:
    """What making candidates took, step by step, and what asking them did."""
    from shipworthy.compress.recipes import steps_of

    took = {stage.name: stage.seconds for stage in bench.shop.stages}
    names = {step.name for recipe in recipes.values() for step in steps_of(recipe)}
    parent = bench.everyone[0].stage.seconds
    epochs = bench.shop.recipe(bench.data).epochs
    asked: dict[str, dict[str, float]] = {
        split: {m.candidate.id: stages[k].seconds for k, m in enumerate(bench.everyone) if k}
        for split, stages in bench.answers.items()
    }
    return Spent(
        steps={n: took[f"candidate {n}"] for n in names if f"candidate {n}" in took},
        asked={m: sum(one[m] for one in asked.values()) for m in asked["validation"]},
        glanced=asked["validation"],
        epoch=parent / epochs if epochs else math.nan,
    )


def _number(subject: Subject, measure: str) -> float:
    """Return what was measured of an artefact as a whole; NaN where it was not."""
    found = subject.numbers.get((measure, "none"))
    if found is None or isinstance(found, Unmeasured):
        return math.nan
    return float(np.asarray(assess(found).value)[0])


def _folder(bench: Bench, name: str) -> Path | None:
    """Return the model that a stage of the run made."""
    found = [stage.folder / MODEL for stage in bench.shop.stages if stage.name == name]
    return found[0] if found and found[0].is_dir() else None


def recipe_of(candidate: Candidate) -> Recipe | None:
    """Return the recipe of `compress` that made a candidate; None where another lever did."""
    from shipworthy.compress.recipes import Recipe

    if candidate.lever in ("train", "mitigate"):
        return None
    return Recipe(candidate.name, candidate.lever, dict(candidate.settings))


def _clock(bench: Bench) -> Clock:
    """What one process of each candidate takes in the full form."""
    settings = bench.shop.project.speed
    longer = times_longer(settings, language=bench.shop.language is not None)
    return Clock(bench.speed.seconds / settings.processes * longer, settings.processes)


def times_longer(settings: SpeedSettings, *, language: bool) -> float:
    """Return how many times the work of a process is in the full form; 1 or more.

    language: whether answers of a language model are timed, token by token, in place of requests.
    """
    full = settings.in_full()
    if not language:
        return (LEAST_DROPPED + full.requests) / (LEAST_DROPPED + settings.requests)
    tokens = [(DROPPED + s.answers) * s.new_tokens for s in (full, settings)]
    return tokens[0] / tokens[1]


def _parts(parent: Made) -> int:
    """Parts that a look would try: the blocks, and the embeddings."""
    from shipworthy.model.checkpoint import read_config

    blocks = read_config(parent.folder).get("num_hidden_layers")
    return int(blocks) + 1 if isinstance(blocks, int) else 0
