"""The stages that make candidates: one for each step of a recipe, so that steps are shared."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from shipworthy.release.artefacts import PARENT, TOKENS
from shipworthy.release.judgement import Phrase
from shipworthy.release.made import MODEL, Made, made, part

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from shipworthy.compress.material import Material
    from shipworthy.compress.recipes import Recipe
    from shipworthy.core.stages import Stage
    from shipworthy.release.artefacts import Workshop
    from shipworthy.release.failures import Failures

LEFT = "left.json"
"""Beside a candidate's model: the weights that its steps left as they were."""


def make_parent(shop: Workshop, data: Stage) -> Made:
    """Train the parent."""
    if shop.project.table is not None:
        from shipworthy.release.tabular import fitted, introduce

        introduce(data, shop.project.data, shop.warn)
        return fitted(shop, data, shop.project.table)
    stage = shop.train(data)
    settings = shop.recipe(data).reported()
    return made(stage, PARENT, "train", settings=settings, seed=shop.project.seed)


def make_candidates(
    shop: Workshop, data: Stage, parent: Made, failures: Failures
) -> tuple[tuple[Made, ...], tuple[str, ...]]:
    """Make candidates until the budget is spent; return them, and the recipes that are left.

    With a search, those that it ends with, which cost no more of the budget.
    """
    from shipworthy.compress.recipes import expand

    if shop.project.table is not None:
        from shipworthy.release.tabular import challengers

        return challengers(shop, data, parent, failures), ()
    found: list[Made] = []
    settings = shop.project.compress
    recipes = searched(shop, data, parent) if settings.search else expand(settings)
    for place, recipe in enumerate(recipes):
        # What is cached counts as what it took, so that a second run makes the same candidates.
        spent = {s.key: s.seconds for s in shop.stages if s.name.startswith("candidate ")}
        if not settings.search and sum(spent.values()) > 60 * settings.budget_minutes:
            return tuple(found), tuple(r.name for r in recipes[place:])
        one = failures.attempt(
            f"candidate {recipe.name}", partial(make_candidate, shop, data, parent, recipe)
        )
        if one is not None:
            found.append(one)
    return tuple(found), ()


def searched(shop: Workshop, data: Stage, parent: Made) -> tuple[Recipe, ...]:
    """Return the recipes that the search of a project ends with."""
    from shipworthy.compress.recipes import named
    from shipworthy.release.search_rows import CHOSEN
    from shipworthy.release.searching import search_stage

    stage = search_stage(shop, data, parent, make=make_candidate)
    told = json.loads((stage.folder / CHOSEN).read_text(encoding="utf-8"))
    return tuple(named(recipe) for recipe in told)


def make_candidate(shop: Workshop, data: Stage, parent: Made, recipe: Recipe) -> Made:
    """Make the candidate of a recipe."""
    stage = compress(shop, parent.folder, parent.candidate.artefact_digest, recipe, data=data)
    return made(
        stage,
        recipe.name,
        recipe.lever,
        parents=(parent.candidate.id,),
        settings=dict(recipe.settings),
        seed=shop.project.seed,
    )


def compress(
    shop: Workshop, parent: Path, digest: str, recipe: Recipe, *, data: Stage | None = None
) -> Stage:
    """Make one candidate from the parent, each step of its recipe a stage of its own.

    digest: of the parent's artefact. data: for recipes that look at rows.
    """
    return compress_steps(shop, parent, digest, recipe, data=data)[-1]


def compress_steps(
    shop: Workshop, parent: Path, digest: str, recipe: Recipe, *, data: Stage | None = None,
    done: Sequence[Stage] = (),
) -> tuple[Stage, ...]:  # fmt: skip
    """Make one candidate as `compress` does, and return the stage of each of its steps.

    done: the stages of the first steps, where they are at hand.
    """
    from shipworthy.compress.recipes import steps_of
    from shipworthy.model.checkpoint import artefact_digest

    *first, last = steps_of(recipe)
    stages = list(done)
    if done:
        parent = done[-1].folder / MODEL
        digest = artefact_digest(parent)
    for step in (*first, replace(last, name=recipe.name))[len(done) :]:
        stages.append(_step(shop, parent, digest, step, data))
        parent = stages[-1].folder / MODEL
        digest = artefact_digest(parent)
    return tuple(stages)


def _step(shop: Workshop, parent: Path, digest: str, recipe: Recipe, data: Stage | None) -> Stage:
    from shipworthy.compress.recipes import looks_at_rows, trains

    seen = data if looks_at_rows(recipe) else None
    name, settings = f"candidate {recipe.name}", shop.project.data
    key: dict[str, Any] = dict(
        inputs={"parent": digest, **({} if seen is None else {"rows": seen.digest})},
        settings={"name": recipe.name, "lever": recipe.lever, **dict(recipe.settings)},
        module="shipworthy.compress.making",
        seed=shop.project.seed,
    )
    if seen is not None:
        key["settings"] |= {"columns": [settings.text, settings.label, settings.unit]}
        key["settings"] |= {"groups": list(settings.groups)}
        if trains(recipe):
            key["settings"] |= {"training": shop.recipe(seen).recipe()}

    def make(folder: Path) -> None:
        from shipworthy.compress.making import make as make_folder

        work = shop.work(name, **key)
        material = None if seen is None else _material(shop, seen, work)
        left = make_folder(recipe, parent, folder / MODEL, material=material)
        # What earlier steps left, which made what this one starts from.
        told = {**left_of(parent.parent), **left}
        (folder / LEFT).write_text(json.dumps(told, ensure_ascii=False), encoding="utf-8")
        # What it would have gone on from after a kill.
        shutil.rmtree(work, ignore_errors=True)

    return shop.run(name, make, **key)


def left_of(stage: Path) -> dict[str, list[str]]:
    """Return the weights that the steps of a candidate left as they were, by the step's name."""
    file = stage / LEFT
    if not file.is_file():
        return {}
    told: dict[str, list[str]] = json.loads(file.read_text(encoding="utf-8"))
    return told


def left_notes(everyone: Sequence[Made]) -> list[Phrase]:
    """Return a note for each candidate some of whose weights were left as they were."""
    found = []
    for one in everyone:
        for step, names in left_of(one.stage.folder).items():
            # One name for the same part of all blocks.
            alike = dict.fromkeys(re.sub(r"\.\d+\.", ".*.", name) for name in names)
            words = {"name": one.candidate.name, "step": step, "count": len(names)}
            found.append(Phrase("run.note.left", {**words, "names": ", ".join(alike)}))
    return found


def _material(shop: Workshop, data: Stage, work: Path) -> Material:
    from shipworthy.compress.material import Material

    settings = shop.project.data
    return Material(
        train=part(data, "train"), calibration=part(data, "calibration"), text=settings.text,
        label=settings.label, training=shop.recipe(data), seed=shop.project.seed, work=work,
        groups=settings.groups, unit=settings.unit, cache=shop.root / TOKENS,
    )  # fmt: skip
