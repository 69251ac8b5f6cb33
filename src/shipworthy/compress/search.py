"""One search over recipes and their combinations, within a budget of time.

    choose -> make -> measure on validation -> learn where to look -> choose …

The sampler (tree-structured Parzen estimators, by Optuna) makes three numbers small at once and
keeps away from where limits were missed. Every trial is written down as it ends, so that a search
that was killed goes on; a recipe is measured once, however often it is chosen. The first trials are
fixed and cheap: a search always ends with something to show. Several trials may be under way at
once, wherever `Tries` makes them; none is begun twice.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from shipworthy.compress.recipes import named, trains
from shipworthy.compress.sampler import Sampler
from shipworthy.compress.search_space import Choice, Space, asked, start
from shipworthy.compress.trials import (
    JOURNAL,
    OBJECTIVES,
    Line,
    Trial,
    Tries,
    read_lines,
    write_line,
)
from shipworthy.core.progress import progress

if TYPE_CHECKING:
    from pathlib import Path

MOST_REPEATS = 10
"""Choices in a row that spell known recipes, or none that fits the time, after which one of those
that are left is drawn."""


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
    """The state of a search. seconds: that it lasted, over all sittings."""

    trials: list[Trial] = field(default_factory=list)
    seconds: float = 0.0
    exhausted: bool = False


def search(
    tries: Tries,
    space: Space,
    *,
    budget_seconds: float,
    place: Path,
    seed: int,
    most: int | None = None,
    first: Sequence[Any] = (),
    clock: Callable[[], float] = time.monotonic,
) -> Search:
    """Try recipes until the time is spent, and return all that were tried, as they ended.

    tries: makes and measures recipes, one or several at a time. budget_seconds: on the clock, not
    the sum over trials. place: folder of the journal; a search with the same arguments goes on from
    there. most: trials, at most. first: recipes, as a project file writes them, that are tried
    before all others.
    """
    place.mkdir(parents=True, exist_ok=True)
    written = read_lines(place / JOURNAL)
    before, begun = written[-1].spent if written else 0.0, clock()
    state = Search([line.trial for line in written], before)
    chooser = _Chooser(space, seed=seed + len(written), first=first, written=written)

    def spent() -> float:
        return before + clock() - begun

    def recipes() -> Iterator[Any]:
        while most is None or len(state.trials) + len(chooser.pending) < most:
            # Something is tried in any case, however long it may take.
            none_yet = not state.trials and not chooser.pending
            left = math.inf if none_yet else budget_seconds - spent()
            if left <= 0:
                return
            chosen = chooser.next(left, state.trials)
            if chosen is None:
                state.exhausted = True
                return
            yield chosen.recipe

    with progress("search", total=round(budget_seconds), unit="s") as step:
        step(min(round(before), round(budget_seconds)))
        for trial in tries(recipes()):
            choice = chooser.ended(trial)
            now = spent()
            step(round(now) - round(state.seconds), trial.name)
            state.trials.append(trial)
            state.seconds = now
            write_line(place / JOURNAL, Line(trial, choice, now))
    return state


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


class _Chooser:
    """Says which recipe is next, each once. pending: by name, what was said and has not ended."""

    def __init__(
        self, space: Space, *, seed: int, first: Sequence[Any], written: Sequence[Line]
    ) -> None:
        self.pending: dict[str, Chosen] = {}
        self._space = space
        self._sampler = Sampler(space, objectives=len(OBJECTIVES), seed=seed)
        self._taken = {line.trial.name for line in written}
        for line in written:
            if line.choice is not None:
                self._sampler.begin(line.trial.name, line.choice)
                self._sampler.learn(line.trial.name, line.trial.found)
        given = [Chosen(recipe) for recipe in first]
        given += [Chosen(asked(choice, space), choice) for choice in start(space)]
        new = [one for one in given if self._is_new(one)]
        self._queue = list({one.key: one for one in reversed(new)}.values())[::-1]

    def next(self, left: float, trials: Sequence[Trial]) -> Chosen | None:
        """Return what to try; None where nothing new fits into the seconds that are left."""
        one = self._queued(left, trials) or self._drawn(left, trials) or self._any(left, trials)
        if one is not None:
            self._taken.add(one.key)
            self.pending[one.key] = one
        return one

    def ended(self, trial: Trial) -> Choice | None:
        """Take in what came of a recipe; return the choice that spelt it."""
        choice = self.pending.pop(trial.name).choice
        self._sampler.learn(trial.name, trial.found)
        return choice

    def _queued(self, left: float, trials: Sequence[Trial]) -> Chosen | None:
        while self._queue:
            one = self._queue.pop(0)
            if _expected(one.recipe, trials) <= left:
                return self._begun(one)
        return None

    def _drawn(self, left: float, trials: Sequence[Trial]) -> Chosen | None:
        def name_of(choice: Choice) -> str | None:
            one = Chosen(asked(choice, self._space), choice)
            fits = self._is_new(one) and _expected(one.recipe, trials) <= left
            return one.key if fits else None

        for _ in range(MOST_REPEATS):
            choice = self._sampler.draw(name_of)
            if choice is not None:
                return Chosen(asked(choice, self._space), choice)
        return None

    def _any(self, left: float, trials: Sequence[Trial]) -> Chosen | None:
        generator = np.random.default_rng([len(trials), len(self._taken)])
        dimensions = self._space.dimensions
        every = list(product(*dimensions.values()))
        for place in generator.permutation(len(every)):
            choice = dict(zip(dimensions, every[place], strict=True))
            one = Chosen(asked(choice, self._space), choice)
            if self._is_new(one) and _expected(one.recipe, trials) <= left:
                return self._begun(one)
        return None

    def _begun(self, one: Chosen) -> Chosen:
        if one.choice is not None:
            self._sampler.begin(one.key, one.choice)
        return one

    def _is_new(self, one: Chosen) -> bool:
        return one.recipe is not None and one.key not in self._taken


def _expected(recipe: Any, trials: Sequence[Trial]) -> float:
    """Return how long a recipe may take: the longest of its kind so far, 0 where none is known."""
    alike = [t.seconds for t in trials if _trains(t.recipe) == _trains(recipe)]
    return max(alike, default=0.0)


def _trains(recipe: Any) -> bool:
    return trains(named(recipe))
