"""What a run knows beside its test rows, for the next steps of its verdict."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from shipworthy.measure.estimates import Fact
from shipworthy.measure.language_speed import DROPPED
from shipworthy.measure.speed_sample import LEAST_DROPPED
from shipworthy.release.next_plan import Background
from shipworthy.release.next_step import Clock

if TYPE_CHECKING:
    from shipworthy.compress.recipes import Recipe
    from shipworthy.core.records import Candidate
    from shipworthy.measure.settings import SpeedSettings
    from shipworthy.release.made import Made
    from shipworthy.release.pipeline import Bench
    from shipworthy.release.ruler import Ruler, Subject


def background(bench: Bench, ruler: Ruler, candidates: Sequence[Subject]) -> Background:
    """Return it for a run. ruler, candidates: of the validation rows."""
    size = ruler.parent.numbers.get(("size_mb", "none"))
    made, table = bench.everyone[1:], bench.shop.project.table is not None
    spent = {m.candidate.id: _seconds(bench, m, k + 1) for k, m in enumerate(made)}
    return Background(
        prices=bench.shop.project.prices,
        clock=_clock(bench),
        # Levers of texts are no way on for a table.
        recipes={m.candidate.id: recipe_of(m.candidate) for m in made if not table},
        validation={s.candidate.id: ruler.evidence(s, bench.policy.limits) for s in candidates},
        minutes={name: seconds / 60 for name, seconds in spent.items()},
        parts=0 if table else _parts(bench.everyone[0]),
        parent_mb=float(size.value[0]) if isinstance(size, Fact) else math.nan,
    )


def recipe_of(candidate: Candidate) -> Recipe:
    """Return the recipe that made a candidate."""
    from shipworthy.compress.recipes import Recipe

    return Recipe(candidate.name, candidate.lever, dict(candidate.settings))


def _seconds(bench: Bench, made: Made, place: int) -> float:
    """What making a candidate and asking it took."""
    return made.stage.seconds + sum(stages[place].seconds for stages in bench.answers.values())


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
