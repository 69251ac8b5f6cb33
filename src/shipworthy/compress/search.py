"""One search over recipes and their combinations, within a budget of time.

    choose -> make -> measure on validation -> learn where to look -> choose …

The sampler (tree-structured Parzen estimators, by Optuna) makes three numbers small at once and
keeps away from where limits were missed. Every trial is written down as it ends, so that a search
that was killed goes on; a recipe is measured once, however often it is chosen. The first trials are
fixed and cheap: a search always ends with something to show.
"""

from __future__ import annotations

import json
import math
import os
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from itertools import product
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from shipworthy.compress.recipes import Recipe, named, trains
from shipworthy.compress.search_space import Choice, Space, asked, start
from shipworthy.core.progress import progress

if TYPE_CHECKING:
    from pathlib import Path

    import optuna

State: TypeAlias = Literal["kept", "missed", "stopped", "failed"]

OBJECTIVES = ("size_mb", "latency", "harm")
"""What is made small: the file, p95 latency as a share of the parent's, and what the group loses
that loses most, as a share of its rows."""

JOURNAL = "trials.jsonl"
MOST_REPEATS = 10
"""Choices in a row that spell known recipes, or none that fits the time, after which one of those
that are left is drawn."""


@dataclass(frozen=True)
class Found:
    """What a trial said.

    values: by `OBJECTIVES`; NaN where the trial was stopped before it was timed. excess: by how
    much each limit is missed on validation, as a share of the limit; 0 or less where it is kept.
    worst: what is missed most, as words for people, empty where nothing is. stopped: whether the
    first rows already said that a limit is missed.
    """

    values: tuple[float, ...]
    excess: tuple[float, ...]
    worst: str = ""
    stopped: bool = False


@dataclass(frozen=True)
class Trial:
    """One recipe that was tried. recipe: as a project file writes it; error: why it failed."""

    name: str
    recipe: Any
    found: Found | None
    seconds: float
    error: str = ""

    @property
    def state(self) -> State:
        """What became of it."""
        if self.found is None:
            return "failed"
        if self.found.stopped:
            return "stopped"
        return "missed" if self.missed > 0 else "kept"

    @property
    def missed(self) -> float:
        """The largest excess over a limit; infinite where there is none known."""
        if self.found is None:
            return math.inf
        return max(self.found.excess, default=0.0)


@dataclass(frozen=True)
class Chosen:
    """A recipe to try. choice: the dimensions that spell it; None for one that is given."""

    recipe: Any
    choice: Choice | None = None

    @property
    def key(self) -> str:
        """Return what tells recipes apart."""
        return named(self.recipe).name


@dataclass
class Search:
    """The state of a search. seconds: spent, over all sittings."""

    trials: list[Trial] = field(default_factory=list)
    seconds: float = 0.0
    exhausted: bool = False


def search(
    measure: Callable[[Recipe], Found],
    space: Space,
    *,
    budget_seconds: float,
    place: Path,
    seed: int,
    most: int | None = None,
    first: Sequence[Any] = (),
    clock: Callable[[], float] = time.monotonic,
) -> Search:
    """Try recipes until the time is spent, and return all that were tried, in their order.

    measure: makes and measures a recipe; what it raises as a ShipworthyError of the recipe's own is
    to be turned into `TrialError`. place: folder of the journal; a search with the same arguments
    goes on from there. most: trials, at most. first:
    recipes, as a project file writes them, that are tried before all others.
    """
    place.mkdir(parents=True, exist_ok=True)
    with _quiet():
        written = _written(place / JOURNAL)
        study = _study(seed=seed + len(written))
        state = Search([trial for trial, _ in written])
        for trial, choice in written:
            _learn(study, space, choice, trial)
        state.seconds = sum(trial.seconds for trial in state.trials)
        known = {trial.name: trial for trial in state.trials}
        given = [Chosen(recipe) for recipe in first]
        given += [Chosen(asked(choice, space), choice) for choice in start(space)]
        new = [one for one in given if one.recipe is not None and one.key not in known]
        queue = list({one.key: one for one in reversed(new)}.values())[::-1]
        with progress("search", total=round(budget_seconds), unit="s") as step:
            step(min(round(state.seconds), round(budget_seconds)))
            while most is None or len(state.trials) < most:
                if state.trials and state.seconds >= budget_seconds:
                    break
                left = budget_seconds - state.seconds if state.trials else math.inf
                chosen = _next(study, space, known, queue, left, state.trials)
                if chosen is None:
                    state.exhausted = True
                    break
                trial = _tried(measure, chosen.recipe, clock)
                state.trials.append(trial)
                state.seconds += trial.seconds
                known[chosen.key] = trial
                _write(place / JOURNAL, chosen.choice, trial)
                _learn(study, space, chosen.choice, trial)
                step(round(trial.seconds), trial.name)
    return state


class TrialError(Exception):
    """A recipe cannot be made of this model; the search goes on."""


def best(trials: Sequence[Trial], *, objective: str, most: int) -> tuple[Trial, ...]:
    """Return the trials that are worth measuring in full, best first; one at least, if any ended.

    Those that keep all limits on validation, by the objective and, of the others, those that no
    other one beats in everything. Where none keeps all, the one that misses least.
    objective: a name of `OBJECTIVES`.
    """
    place = OBJECTIVES.index(objective)
    kept = sorted(
        (t for t in trials if t.state == "kept" and t.found is not None),
        key=lambda t: t.found.values[place] if t.found is not None else math.inf,
    )
    if not kept:
        ended = [t for t in trials if t.found is not None]
        return tuple(sorted(ended, key=lambda t: t.missed)[:1])
    front = [t for t in kept[1:] if not any(_beats(other, t) for other in kept)]
    return tuple([kept[0], *front][:most])


def _beats(one: Trial, other: Trial) -> bool:
    assert one.found is not None and other.found is not None
    pairs = list(zip(one.found.values, other.found.values, strict=True))
    return all(a <= b for a, b in pairs) and any(a < b for a, b in pairs)


def _study(*, seed: int) -> optuna.Study:
    import optuna

    sampler = optuna.samplers.TPESampler(
        seed=seed, multivariate=True, constraints_func=_constraints, n_startup_trials=12
    )
    return optuna.create_study(directions=["minimize"] * len(OBJECTIVES), sampler=sampler)


def _constraints(trial: Any) -> Sequence[float]:
    excess: Sequence[float] = trial.user_attrs["excess"]
    return excess


def _write(journal: Path, choice: Choice | None, trial: Trial) -> None:
    told = asdict(trial)
    if trial.found is not None:
        told["found"]["values"] = [None if math.isnan(v) else v for v in trial.found.values]
    line = json.dumps({"choice": choice, "trial": told}, ensure_ascii=False)
    with journal.open("a", encoding="utf-8") as file:
        file.write(line + "\n")
        file.flush()
        os.fsync(file.fileno())


def _written(journal: Path) -> list[tuple[Trial, Choice | None]]:
    """Return the trials of an earlier sitting; a line that a kill cut short is none."""
    if not journal.is_file():
        return []
    found = []
    whole = b"".join(x for x in journal.read_bytes().splitlines(keepends=True) if x[-1:] == b"\n")
    for line in whole.decode("utf-8").splitlines():
        told = json.loads(line)
        found.append((_trial(told["trial"]), told["choice"]))
    journal.write_bytes(whole)
    return found


def _trial(told: dict[str, Any]) -> Trial:
    found = told.pop("found")
    if found is not None:
        values = [math.nan if v is None else v for v in found["values"]]
        found = Found(tuple(values), tuple(found["excess"]), found["worst"], found["stopped"])
    return Trial(found=found, **told)


def _next(
    study: optuna.Study,
    space: Space,
    known: dict[str, Trial],
    queue: list[Chosen],
    left: float,
    trials: Sequence[Trial],
) -> Chosen | None:
    """Return what to try; None where nothing new fits into the time that is left."""
    from optuna.trial import TrialState

    while queue:
        one = queue.pop(0)
        if _expected(one.recipe, trials) <= left:
            return one
    for _ in range(MOST_REPEATS):
        trial = study.ask()
        choice = {
            name: trial.suggest_categorical(name, values)
            for name, values in space.dimensions.items()
        }
        # What becomes of it is written down as a trial of its own.
        study.tell(trial, state=TrialState.FAIL)
        one = Chosen(asked(choice, space), choice)
        if _is_new(one, known) and _expected(one.recipe, trials) <= left:
            return one
    generator = np.random.default_rng([len(trials), len(known)])
    every = list(product(*space.dimensions.values()))
    for place in generator.permutation(len(every)):
        choice = dict(zip(space.dimensions, every[place], strict=True))
        one = Chosen(asked(choice, space), choice)
        if _is_new(one, known) and _expected(one.recipe, trials) <= left:
            return one
    return None


def _is_new(one: Chosen, known: dict[str, Trial]) -> bool:
    return one.recipe is not None and one.key not in known


def _expected(recipe: Any, trials: Sequence[Trial]) -> float:
    """Return how long a recipe may take: the longest of its kind so far, 0 where none is known."""
    alike = [t.seconds for t in trials if _trains(t.recipe) == _trains(recipe)]
    return max(alike, default=0.0)


def _trains(recipe: Any) -> bool:
    return trains(named(recipe))


def _tried(measure: Callable[[Recipe], Found], recipe: Any, clock: Callable[[], float]) -> Trial:
    one, begun = named(recipe), clock()
    found, error = None, ""
    try:
        found = measure(one)
    except TrialError as failure:
        error = str(failure)
    return Trial(one.name, recipe, found, clock() - begun, error)


def _learn(study: optuna.Study, space: Space, choice: Choice | None, ended: Trial) -> None:
    """Let the sampler know of a trial: of one that was timed, what it chose and what came of it."""
    from optuna.distributions import BaseDistribution, CategoricalDistribution
    from optuna.trial import create_trial

    found = ended.found
    if found is None or found.stopped or choice is None:
        return
    dimensions: dict[str, BaseDistribution] = {
        name: CategoricalDistribution(values) for name, values in space.dimensions.items()
    }
    excess = list(found.excess) or [0.0]
    study.add_trial(
        create_trial(
            values=list(found.values),
            params=dict(choice),
            distributions=dimensions,
            user_attrs={"excess": excess},
        )
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Optuna's remarks, about each trial and about what is experimental, to itself."""
    import optuna

    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        optuna.logging.set_verbosity(level)
