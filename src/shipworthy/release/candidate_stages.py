"""The stages that make candidates: one for each step of a recipe, so that steps are shared."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from shipworthy.release.artefacts import PARENT, TOKENS
from shipworthy.release.made import MODEL, Made, made, part

if TYPE_CHECKING:
    from pathlib import Path

    from shipworthy.compress.material import Material
    from shipworthy.compress.recipes import Recipe
    from shipworthy.core.stages import Stage
    from shipworthy.release.artefacts import Workshop
    from shipworthy.release.failures import Failures


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
    from shipworthy.compress.search import named
    from shipworthy.release.search_rows import CHOSEN
    from shipworthy.release.searching import search_stage

    stage = search_stage(shop, data, parent, make=partial(make_candidate, shop, data, parent))
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
    from shipworthy.compress.recipes import steps_of
    from shipworthy.model.checkpoint import artefact_digest

    steps = steps_of(recipe)
    for step in steps[:-1]:
        stage = _step(shop, parent, digest, step, data)
        parent = stage.folder / MODEL
        digest = artefact_digest(parent)
    return _step(shop, parent, digest, replace(steps[-1], name=recipe.name), data)


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
        make_folder(recipe, parent, folder / MODEL, material=material)
        # What it would have gone on from after a kill.
        shutil.rmtree(work, ignore_errors=True)

    return shop.run(name, make, **key)


def _material(shop: Workshop, data: Stage, work: Path) -> Material:
    from shipworthy.compress.material import Material

    settings = shop.project.data
    return Material(
        train=part(data, "train"), calibration=part(data, "calibration"), text=settings.text,
        label=settings.label, training=shop.recipe(data), seed=shop.project.seed, work=work,
        groups=settings.groups, unit=settings.unit, cache=shop.root / TOKENS,
    )  # fmt: skip
