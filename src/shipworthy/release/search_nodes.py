"""The search of a project on many machines: what a node needs, and what it sends back.

A node measures as the machine of the run would: the same bench over the same stages. What it makes
lies in the stage cache that all share. Keys of stages hold the kind of machine, so what a node of
the same kind makes is taken over as it is; of what a node of another kind tried, the run makes the
chosen recipes again, because verdicts stand on artefacts that were made where they are measured.
Rows and parent are the run's own everywhere: nothing is trained twice.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from secrets import token_hex
from typing import TYPE_CHECKING, Any

from shipworthy.compress.ray_trials import many_machines
from shipworthy.core.device import device_class
from shipworthy.core.stages import Stage
from shipworthy.release.artefacts import Workshop
from shipworthy.release.made import Made
from shipworthy.release.searching import Make, SearchBench

if TYPE_CHECKING:
    from collections.abc import Iterator

    from shipworthy.compress.recipes import Recipe
    from shipworthy.compress.trials import Found, Tries
    from shipworthy.release.policy import Policy
    from shipworthy.release.project import Project

LEAST_TRIAL_MINUTES = 30.0
"""Time that a trial has on a node where the project names none and its budget is shorter."""


@dataclass(frozen=True)
class News:
    """What a node did for a trial: stages asked for, as name and key, and those that it has."""

    asked: tuple[tuple[str, str], ...]
    stages: tuple[Stage, ...]


@dataclass(frozen=True)
class NodeKit:
    """What travels to a node. Paths are absolute and the same on all nodes.

    parent_p95_ms, device, threads: of the machine of the run; threads are those of PyTorch.
    """

    project: Project
    root: Path
    data: Stage
    parent: Made
    policy: Policy
    make: Make
    place: Path
    parent_p95_ms: float
    device: str
    threads: int

    def open(self) -> NodeBench:
        """Set up the bench, on the node."""
        import torch

        if device_class() == self.device:
            # Sums of another number of threads have other last bits, and keys don't tell them.
            torch.set_num_threads(self.threads)
        return NodeBench(self)


class NodeBench:
    """Measures recipes on a node, and keeps what the run should know of."""

    def __init__(self, kit: NodeKit) -> None:
        self._asked: list[tuple[str, str]] = []
        self._shop = Workshop(kit.project, kit.root, ask=self._note)
        # Of its own: several nodes look at their first rows at the same time.
        place = kit.place / "glance" / token_hex(4)
        self._bench = SearchBench(
            self._shop, kit.data, kit.parent, kit.policy, kit.make, place, kit.parent_p95_ms
        )

    def _note(self, name: str, key: str) -> None:
        self._asked.append((name, key))

    def measure(self, recipe: Recipe) -> Found:
        """Make a recipe and measure it; raises TrialError where it cannot be made."""
        return self._bench.measure(recipe)

    def news(self) -> News:
        """Return which stages were asked for and made or found, since the last time."""
        told = News(tuple(self._asked), tuple(self._shop.stages))
        self._asked.clear()
        self._shop.stages.clear()
        return told


@contextmanager
def on_nodes(bench: SearchBench) -> Iterator[Tries]:
    """Return what makes trials on the nodes of a Ray cluster, for the block.

    bench: of this process; it says what the parent takes on the machine of the run.
    """
    shop, settings = bench.shop, bench.shop.project.compress
    minutes = settings.trial_minutes or max(settings.budget_minutes, LEAST_TRIAL_MINUTES)
    root = shop.root.resolve()

    def hear(news: Any) -> None:
        for name, key in news.asked:
            shop.ask(name, key)
        for stage in news.stages:
            shop.stages.append(stage)
            shop.tell(stage)

    with many_machines(
        _kit(bench, root), root=root, module="shipworthy.release.searching",
        most_seconds=60 * minutes, hear=hear,
    ) as tries:  # fmt: skip
        yield tries


def _kit(bench: SearchBench, root: Path) -> NodeKit:
    import torch

    shop, data, parent = bench.shop, bench.data, bench.parent
    # The winner of a race, which a node of another kind would run again.
    project = shop.project.model_copy(update={"train": shop.recipe(data)})
    return NodeKit(
        project, root, _absolute(data), replace(
            parent, folder=parent.folder.resolve(), stage=_absolute(parent.stage)
        ),
        bench.policy, bench.make, bench.place.resolve(), bench.parent_p95_ms, device_class(),
        torch.get_num_threads(),
    )  # fmt: skip


def _absolute(stage: Stage) -> Stage:
    return replace(stage, folder=stage.folder.resolve())
