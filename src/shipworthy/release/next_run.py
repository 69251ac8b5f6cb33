"""The verb `next`: the next steps of a finished run, and a look into the layers of what is held."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shipworthy.core.errors import InputError, nearest
from shipworthy.core.files import room_on_disk
from shipworthy.core.locale import text
from shipworthy.core.lock import hold
from shipworthy.core.records import Candidate, Limit
from shipworthy.measure.decide import opening_alpha
from shipworthy.release.approvals import approved, open_place
from shipworthy.release.judgement import Judgement, NextStep
from shipworthy.release.look_shown import named
from shipworthy.release.made import part
from shipworthy.release.next_background import recipe_of
from shipworthy.release.next_plan import blocked
from shipworthy.release.next_prices import PriceSettings, ranked
from shipworthy.release.next_upkeep import upkeep
from shipworthy.release.next_words import figure, said, told
from shipworthy.release.places import CACHE, PROJECT
from shipworthy.release.sensitivity import Look, countable, look_into
from shipworthy.release.variants import Bench

if TYPE_CHECKING:
    from shipworthy.core.stages import Stage
    from shipworthy.release.artefacts import Workshop
    from shipworthy.release.made import Made


@dataclass(frozen=True)
class Found:
    """Next steps, lowest cost for the chance first, and what the looks saw."""

    judgement: Judgement
    steps: tuple[NextStep, ...]
    looks: tuple[Look, ...] = ()


def find_next(
    folder: Path | str,
    *,
    minutes: float,
    candidate: str | None = None,
    tell: Callable[[Stage], None] = lambda stage: None,
    warn: Callable[[str], None] = lambda message: None,
) -> Found:
    """Return the next steps of a run, with a look into the layers where that may help.

    folder: of a finished run, still in `runs/` of its project. minutes: of work that is not cached;
    what was begun is finished. candidate: name of the one to look into; without it all those for
    which the run advised it. tell: called with each finished stage; warn: with a line for people.
    Raises InputError where there is no run, its rows have changed or its models are gone, and
    BusyError where a run is in the folder.
    """
    from shipworthy.release.artefacts import Workshop
    from shipworthy.release.project import load_project

    place = open_place(folder)
    judgement = approved(place)
    people = upkeep(judgement, run=str(folder))
    wanted = _wanted(judgement, candidate)
    if not wanted:
        return Found(judgement, (*people, *judgement.next_steps))
    if not (place.folder / PROJECT).is_file():
        raise InputError(text("error.next.project", run=place.folder))
    root = place.folder.resolve().parent.parent
    project = load_project(place.folder / PROJECT, root=root)
    cache, looks, budget = root / CACHE, [], 60 * minutes
    with room_on_disk(root), hold(cache, tell=warn) as held:
        shop = Workshop(project, cache, tell, held.note)
        data = _rows(shop, place.folder, judgement)
        for one in wanted:
            bench = _bench(place.folder, judgement, shop, data, one, budget)
            decisions = blocked(judgement.decisions_of(one.id))
            looks.append(look_into(bench, decisions))
            budget = max(budget - bench.spent, 0.0)
        held.complete()
    # Validation is asked already; what a run of the recipe asks anew are the test rows.
    rows = [part(data, split).height for split in ("validation", "test")]
    steps = _with_looks(judgement, looks, project.prices, rows[1] / max(rows[0], 1))
    return Found(judgement, (*people, *steps), tuple(looks))


def _wanted(judgement: Judgement, name: str | None) -> list[Candidate]:
    """Return the candidates whose layers are to be looked into."""
    from shipworthy.compress.sparing import sparable

    names = [c.name for c in judgement.candidates]
    if name is not None and judgement.kind == "judge":
        raise InputError(text("error.next.no_models"))
    if name is not None and name not in names:
        raise InputError(text("error.next.unknown", name=name, fix=nearest(name, names)))
    advised = {s.candidate for s in judgement.next_steps if _advises_look(s)}
    found = []
    for one in judgement.candidates:
        worst = blocked(judgement.decisions_of(one.id))
        recipe = recipe_of(one)
        spares = recipe is not None and bool(sparable(recipe))
        able = bool(worst) and spares and all(map(countable, worst))
        if (one.name == name) if name is not None else one.id in advised:
            if able:
                found.append(one)
            elif name is not None:
                raise InputError(text("error.next.nothing", name=name))
    return found


def _advises_look(step: NextStep) -> bool:
    return step.phrase.key.startswith("next.layers")


def _rows(shop: Workshop, folder: Path, judgement: Judgement) -> Stage:
    """Return the rows of a project; they must be those that the run was about."""
    data = shop.rows()
    known = {d for d in judgement.measurements["data_digest"].unique().to_list() if d}
    if judgement.kind == "run" and known != {shop.test_rows(data)[0]}:
        raise InputError(text("error.next.data", run=folder))
    return data


def _bench(
    folder: Path, judgement: Judgement, shop: Workshop, data: Stage, candidate: Candidate,
    budget_seconds: float,
) -> Bench:  # fmt: skip
    from shipworthy.model.checkpoint import size_bytes

    parent, recipe = _made(folder, judgement.parent, data), recipe_of(candidate)
    assert recipe is not None, candidate.name
    mb = size_bytes(parent.folder) / 1e6
    return Bench(
        shop, data, parent, _made(folder, candidate, data), recipe, judgement.limits,
        judgement.confidence, opening_alpha((1 - judgement.confidence) / 2, judgement.opening + 1),
        most_mb=most_mb(judgement.limits, mb), budget_seconds=budget_seconds,
        decided="test" if judgement.kind == "run" else "validation",
    )  # fmt: skip


def _made(folder: Path, candidate: Candidate, data: Stage) -> Made:
    """Return an artefact as it lies in the run."""
    from shipworthy.release.made import Made

    place = folder / candidate.folder
    if not candidate.folder or not place.is_dir():
        raise InputError(text("error.next.candidate", run=folder, folder=place))
    return Made(candidate, place, data)


def most_mb(limits: tuple[Limit, ...], parent_mb: float) -> float:
    """Return the largest file that the policy lets pass."""
    most = math.inf
    for limit in limits:
        if limit.measure != "size_mb" or limit.side != "at_most" or limit.tier == "advisory":
            continue
        if isinstance(limit.bound, float | int):
            most = min(most, limit.bound * (parent_mb if limit.relative_to == "parent" else 1.0))
    return most


def _with_looks(
    judgement: Judgement, looks: list[Look], prices: PriceSettings, times: float
) -> tuple[NextStep, ...]:
    """Replace the advice to look by what was found; a look that is not finished stays advised.

    times: as many test rows as there are validation rows.
    """
    done = {look.candidate.id for look in looks if not look.left}
    kept = [s for s in judgement.next_steps if not (_advises_look(s) and s.candidate in done)]
    found = [_step(look, times) for look in looks if not look.left]
    return ranked((*kept, *found), prices)


def _step(look: Look, times: float) -> NextStep:
    from shipworthy.compress.recipes import written

    worst, proposal = look.decisions[0], look.proposal
    words: dict[str, Any] = told(look.candidate.name, worst)
    if proposal is None:
        return NextStep(look.candidate.id, said("next.keep_none", words), math.nan, math.nan)
    value, low, high = proposal.futures[0].interval
    if worst.side == "at_most":
        # Forecasts run in the direction of "at least".
        whole = 0.0 if worst.relative_to == "parent" else 1.0
        value, low, high = whole - value, whole - high, whole - low
    words |= {
        "recipe": written(proposal.recipe),
        "parts": named(proposal.parts),
        "value": figure(worst, value, low, high),
    }
    return NextStep(
        look.candidate.id, said("next.keep", words), proposal.chance, proposal.chance,
        effect=value, effect_low=low, effect_high=high, effect_measure=worst.measure,
        cost_minutes=times * proposal.asking / 60, cost_mb=proposal.mb, cost_ms=proposal.ms,
        cost_basis="one_process",
        recipe=written(proposal.recipe),
    )  # fmt: skip
