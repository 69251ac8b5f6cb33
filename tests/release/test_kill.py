"""A run that is killed at any moment goes on to the measurements of one that was not."""

from __future__ import annotations

import json
import random
import shutil
import time
from pathlib import Path

import pytest
from killing import Killer, Server, answered, files, litter, numbers, opened
from toy_project import PROJECT, make_project

KILLS = 100
CHAIN = 8
"""Kills before a run may come to its end."""

MORE = PROJECT.replace("recipes: [bf16]", "recipes: [bf16, int8, {prune: 0.5}]").replace(
    "  - {measure: size_mb",
    "  - {measure: accuracy, slice: {each: shop}, relative_to: parent, at_least: -0.2, owner: f}\n"
    "  - {measure: size_mb",
)


def the_run(folder: Path) -> Path:
    (found,) = (folder / "runs").iterdir()
    return found


def take_timings(source: Path, target: Path) -> None:
    """Give a project the timings that another one took, which is most of the time of a run."""
    key = json.loads((the_run(source) / "stages.json").read_text())["speed"]
    place = Path(".shipworthy", "stages", key)
    shutil.copytree(source / place, target / place)


def check(folder: Path, whole: Path, server: Server, *, timings: bool) -> None:
    """Compare a run that was killed on its way with one that was not."""
    run, expected = the_run(folder), the_run(whole)
    assert run.name == expected.name
    assert numbers(run, timings=timings).equals(numbers(expected, timings=timings))
    assert answered(run) == answered(expected)
    assert files(run / "candidates") == files(expected / "candidates")
    assert opened(folder) == 1
    assert litter(folder) == []
    deadline = time.monotonic() + 20
    while server.workers() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert server.workers() == []


def test_after_four_kills(toy: Path, tmp_path: Path) -> None:
    folder = make_project(tmp_path / "project")
    take_timings(toy, folder)
    with Server(tmp_path / "result") as server:
        killer = Killer(server, random.Random(4), longest_seconds=2.0)
        while killer.hit.total() < 4:
            killer.kill(folder)
        server.complete(folder, None)
        check(folder, toy, server, timings=True)


@pytest.mark.slow
def test_after_a_hundred_kills(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = make_project(tmp_path / "whole", MORE)
    with Server(tmp_path / "result") as server:
        server.complete(whole, None)
        killer = Killer(server, random.Random(100), longest_seconds=4.0)
        completed = 0
        while killer.hit.total() < KILLS:
            # Every fourth time the timings as well, with longer waits.
            timed = completed % 4 == 3
            killer.longest_seconds = 12.0 if timed else 4.0
            folder = make_project(tmp_path / f"project {completed}", MORE)
            if not timed:
                take_timings(whole, folder)
            wanted = min(KILLS, killer.hit.total() + CHAIN)
            while killer.hit.total() < wanted and killer.kill(folder):
                pass
            server.complete(folder, None)
            check(folder, whole, server, timings=not timed)
            completed += 1
            shutil.rmtree(folder)
    with capsys.disabled():
        print(f"\n{killer.hit.total()} kills before {completed} ends: {dict(killer.hit)}")
