"""Trials on the nodes of a Ray cluster, one at a time on each, so that times are not disturbed.

Each node has one worker, an actor that is bound to it and asks for all its processors and GPUs:
Ray gives that to nobody else meanwhile, and a node that others use is begun with when it is free.
A trial whose worker or node dies is begun again, on another node where there is one; one that lasts
too long is given up. Retrying is done here and not by Ray, which would retry a trial that takes too
much memory for ever, and never one that hangs.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from shipworthy.compress.ray_nodes import (
    Ground,
    Node,
    alive,
    check,
    common_ground,
    connected,
    only_on,
    reason,
)
from shipworthy.compress.recipes import Recipe, named
from shipworthy.compress.trials import Found, Trial, Tries, tried
from shipworthy.core.errors import InputError
from shipworthy.core.locale import language, set_language, text

MOST_TRIES = 3
"""Times that a trial is begun whose workers die."""
MOST_LOSSES = 3
"""Recipes in a row whose workers die on a node, or workers that don't start, after which it is left
alone."""
START_SECONDS = 600.0
"""Time in which at least one node has to be free."""
LOOK_SECONDS = 2.0
NODES_SECONDS = 10.0
"""Time between two looks at which nodes there are."""


class Bench(Protocol):
    """Measures recipes on a node."""

    def measure(self, recipe: Recipe) -> Found:
        """Make a recipe and measure it; raises TrialError where it cannot be made."""

    def news(self) -> Any:
        """Return what the search's process should know of, since the last time it was asked."""


class Kit(Protocol):
    """What a node needs to set up a bench; it goes there by pickle."""

    def open(self) -> Bench:
        """Set up the bench, on the node."""


@contextmanager
def many_machines(
    kit: Kit,
    *,
    root: Path,
    module: str,
    most_seconds: float,
    hear: Callable[[Any], None] = lambda news: None,
) -> Iterator[Tries]:
    """Return what makes trials on all nodes of a cluster, for the block.

    root: folder of the stage cache, absolute. module: entry module of what the kit works, whose
    code has to be the same on all nodes. most_seconds: that a trial may last. hear: called with the
    news of each trial that ended.
    Raises MissingExtraError, and InputError where there is no cluster, a node does not share
    folder, locks and code, or none is free in time.
    """
    with connected() as ray, common_ground(root, module) as ground:
        nodes = alive(ray)
        if not nodes:
            raise InputError(text("error.ray_trials.no_nodes"))
        check(ray, nodes, ground)
        crew = _Crew(ray, kit, ground, most_seconds, hear)
        try:
            for node in nodes:
                crew.start(node)
            crew.await_one()
            yield crew.tries
        finally:
            crew.end()


class Worker:
    """On a node: measures what it is told to, one recipe at a time."""

    def __init__(self, kit: Kit, spoken: str) -> None:
        # A line of progress would go to a log that nobody reads.
        os.environ["SHIPWORTHY_PROGRESS"] = "off"
        set_language(spoken)
        self._bench = kit.open()

    def ready(self) -> None:
        """Return when it is."""

    def tried(self, recipe: Any) -> tuple[Trial, Any]:
        """Make the trial of a recipe; return it, and the news."""
        trial = tried(self._bench.measure, recipe, time.monotonic)
        return trial, self._bench.news()


@dataclass
class _Task:
    """A recipe that is to be tried. lost: ids of nodes on which its worker died, in order."""

    recipe: Any
    lost: list[str] = field(default_factory=list)


@dataclass(eq=False)
class _Place:
    """A worker on its node. ref: what is waited for: that it is ready, or its trial."""

    node: Node
    actor: Any
    ref: Any
    task: _Task | None = None
    since: float = 0.0


class _Crew:
    """The workers of all nodes, and the trials that wait to be begun again."""

    def __init__(
        self, ray: Any, kit: Kit, ground: Ground, most_seconds: float, hear: Callable[[Any], None]
    ) -> None:
        self._ray, self._ground, self._hear = ray, ground, hear
        self._most_seconds = most_seconds
        self._kit = ray.put(kit)
        self._places: dict[str, _Place] = {}
        self._again: list[_Task] = []
        self._losses: dict[str, set[str]] = {}
        self._left_out: set[str] = set()
        self._looked = time.monotonic()
        self._why = ""

    def start(self, node: Node) -> None:
        """Start the worker of a node; it waits there until all processors are free."""
        options = {"num_cpus": node.cpus, "max_restarts": 0, "max_task_retries": 0}
        if node.gpus:
            options["num_gpus"] = node.gpus
        made = self._ray.remote(scheduling_strategy=only_on(node), **options)(Worker)
        actor = made.remote(self._kit, language())
        self._places[node.id] = _Place(node, actor, actor.ready.remote())

    def await_one(self) -> None:
        """Wait until a node is free; raises InputError where none is in time."""
        begun = time.monotonic()
        while not self._free():
            self._collect()
            self._refresh()
            if not self._places or time.monotonic() - begun > START_SECONDS:
                minutes = f"{START_SECONDS / 60:g}"
                told = text("error.ray_trials.busy", minutes=minutes)
                if self._why:
                    told = text("error.ray_trials.lost_all", reason=self._why)
                raise InputError(told)

    def end(self) -> None:
        """End all workers, and what they are doing."""
        for place in list(self._places.values()):
            self._drop(place)

    def tries(self, recipes: Iterator[Any]) -> Iterator[Trial]:
        """Try recipes on all nodes, as `Tries` says."""
        more = True
        while True:
            for place in self._free():
                task = self._waiting(place, at_all=not more)
                if task is None and more:
                    recipe = next(recipes, None)
                    more = recipe is not None
                    task = _Task(recipe) if more else self._waiting(place, at_all=True)
                if task is not None:
                    self._begin(place, task)
            if not any(place.task for place in self._places.values()):
                if not more and not self._again:
                    return
                # Where all nodes are gone or taken, what is left to do waits for one.
                self.await_one()
                continue
            yield from self._collect()
            yield from self._overdue()
            self._refresh()

    def _free(self) -> list[_Place]:
        return [place for place in self._places.values() if place.ref is None]

    def _waiting(self, place: _Place, *, at_all: bool) -> _Task | None:
        """Return a trial that is to be begun again, rather on another node than those it lost."""
        others = self._places.keys()
        for task in self._again:
            if at_all or place.node.id not in task.lost or others <= set(task.lost):
                self._again.remove(task)
                return task
        return None

    def _begin(self, place: _Place, task: _Task) -> None:
        place.task, place.since = task, time.monotonic()
        place.ref = place.actor.tried.remote(task.recipe)

    def _collect(self) -> Iterator[Trial]:
        """Wait a moment, and return the trials that ended meanwhile."""
        refs = {place.ref: place for place in self._places.values() if place.ref is not None}
        if not refs:
            time.sleep(LOOK_SECONDS)
            return iter(())
        done, _ = self._ray.wait(list(refs), num_returns=1, timeout=LOOK_SECONDS)
        return iter([trial for ref in done if (trial := self._ended(refs[ref])) is not None])

    def _ended(self, place: _Place) -> Trial | None:
        errors = self._ray.exceptions
        try:
            value = self._ray.get(place.ref)
        except errors.RayTaskError as error:
            # Our bug or a full disk: what trials here would end with as well.
            if isinstance(error.cause, Exception):
                raise error.cause from error
            raise
        except errors.RayError as error:
            return self._lost(place, reason(error))
        task, place.ref, place.task = place.task, None, None
        if task is None:
            return None
        self._losses.pop(place.node.id, None)
        trial, news = value
        self._hear(news)
        done: Trial = trial
        return done

    def _lost(self, place: _Place, why: str) -> Trial | None:
        """Begin a trial again whose worker died; where that was too often, it failed."""
        self._why = why
        task, node = place.task, place.node
        self._drop(place)
        # One recipe that dies wherever it is tried speaks against itself and not the node.
        losses = self._losses.setdefault(node.id, set())
        losses.add(f"start {len(losses)}" if task is None else named(task.recipe).name)
        if len(losses) >= MOST_LOSSES:
            self._left_out.add(node.id)
        elif any(node.id == one.id for one in alive(self._ray)):
            self.start(node)
        if task is None:
            return None
        task.lost.append(node.id)
        if len(task.lost) < MOST_TRIES:
            self._again.append(task)
            return None
        told = text("search.lost", count=len(task.lost), node=node.name, reason=why)
        return _failed(place, task, told)

    def _overdue(self) -> Iterator[Trial]:
        """Give up the trials that last too long, and their workers with them."""
        for place in list(self._places.values()):
            lasted = time.monotonic() - place.since
            if place.task is not None and lasted > self._most_seconds:
                self._drop(place)
                self.start(place.node)
                minutes = f"{self._most_seconds / 60:.3g}"
                told = text("search.overdue", minutes=minutes, node=place.node.name)
                yield _failed(place, place.task, told)

    def _refresh(self) -> None:
        """Start workers on nodes that have come."""
        now = time.monotonic()
        if now - self._looked < NODES_SECONDS:
            return
        self._looked = now
        for node in alive(self._ray):
            if node.id in self._places or node.id in self._left_out:
                continue
            try:
                check(self._ray, [node], self._ground)
            except InputError as error:
                # The others go on; those of the start were told.
                self._why = str(error)
                self._left_out.add(node.id)
            else:
                self.start(node)

    def _drop(self, place: _Place) -> None:
        del self._places[place.node.id]
        self._ray.kill(place.actor, no_restart=True)


def _failed(place: _Place, task: _Task, error: str) -> Trial:
    seconds = time.monotonic() - place.since
    return Trial(named(task.recipe).name, task.recipe, None, seconds, error)
