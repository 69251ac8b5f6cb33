"""Kits for nodes whose benches do what a test asks for, by the name of the recipe.

What they did lies as files in a folder that all nodes share.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from shipworthy.compress.recipes import Recipe
from shipworthy.compress.trials import Found, TrialError

PATIENCE_SECONDS = 600.0


@dataclass(frozen=True)
class Kit:
    """deeds: by name of a recipe; all others are measured at once."""

    place: Path
    deeds: Mapping[str, str]

    def open(self) -> Doing:
        return Doing(self)


class Doing:
    """A bench. Each trial leaves `<recipe>-<number>`, which says on which node it was begun."""

    def __init__(self, kit: Kit) -> None:
        self.kit = kit

    def measure(self, recipe: Recipe) -> Found:
        import ray

        place, name = self.kit.place, recipe.name
        number = len(list(place.glob(f"{name}-*")))
        context = ray.get_runtime_context()
        (place / f"{name}-{number}").write_text(f"{context.get_node_id()} {os.getpid()}")
        deed = self.kit.deeds.get(name, "")
        if deed == "die" or deed == "die once" and number == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        if deed == "hang":
            wait_for(place / "never")
        if deed == "wait once" and number == 0:
            wait_for(place / "go")
        if deed.startswith("with "):
            wait_for(place / f"{deed.removeprefix('with ')}-0")
        if deed == "refuse":
            raise TrialError("it cannot be made")
        if deed == "break":
            raise OSError(28, "No space left on device")
        return Found((float(len(name)), 0.5, 0.0), (-1.0,))

    def news(self) -> str:
        return f"news of {os.getpid()}"


def wait_for(file: Path) -> None:
    """Wait until a file is there."""
    begun = time.monotonic()
    while not file.exists():
        if time.monotonic() - begun > PATIENCE_SECONDS:
            raise TimeoutError(str(file))
        time.sleep(0.05)


def begun_on(place: Path, name: str) -> list[str]:
    """Return the nodes on which a recipe was begun, in order."""
    files = sorted(place.glob(f"{name}-*"))
    return [file.read_text().split()[0] for file in files]
