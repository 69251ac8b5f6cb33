"""A run that is killed at any moment goes on to the measurements of one that was not."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from killing import Killer, Server, answered, files, litter, numbers, opened
from toy_project import PROJECT, make_project

KILLS = 100
CHAIN = 8
"""Kills before a run may come to its end."""

SHOPS = "{measure: accuracy, slice: {each: shop}, relative_to: parent, at_least: -0.2, owner: fair}"
MORE = PROJECT.replace("recipes: [bf16]", "recipes: [bf16, int8, {prune: 0.5}]").replace(
    "    - {measure: size_mb", f"    - {SHOPS}\n    - {{measure: size_mb"
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("server") / "stderr") as started:
        yield started


def the_run(folder: Path) -> Path:
    (found,) = (folder / "runs").iterdir()
    return found


def take_timings(source: Path, target: Path) -> None:
    """Give a project the timings that another one took, which is most of the time of a run."""
    key = json.loads((the_run(source) / "stages.json").read_text())["speed"]
    place = Path(".shipworthy", "stages", key)
    shutil.copytree(source / place, target / place)


def seconds_of(server: Server, folder: Path) -> float:
    started = time.monotonic()
    server.complete(folder)
    return time.monotonic() - started


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


def test_after_four_kills(server: Server, toy: Path, tmp_path: Path) -> None:
    folder = make_project(tmp_path / "project")
    take_timings(toy, folder)
    killer = Killer(server, random.Random(4), run_seconds=2.0)
    # Training, the candidate, the nomination and the verdict.
    for stages in (2, 3, 7, 11):
        killer.after(folder, stages)
    server.complete(folder)
    check(folder, toy, server, timings=True)
    assert killer.hit.total() >= 2


@pytest.mark.slow
def test_after_a_hundred_kills(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole, again = (make_project(tmp_path / name, MORE) for name in ("whole", "again"))
    all_seconds = seconds_of(server, whole)
    take_timings(whole, again)
    killer = Killer(server, random.Random(100), run_seconds=seconds_of(server, again))
    completed = 0
    while killer.hit.total() < KILLS:
        folder = make_project(tmp_path / f"project {completed}", MORE)
        # Every fourth time the timings as well, which are most of a run.
        timed = completed % 4 == 3
        few = Killer(server, killer.moments, all_seconds, killer.hit) if timed else killer
        if not timed:
            take_timings(whole, folder)
        wanted = min(KILLS, killer.hit.total() + CHAIN)
        while killer.hit.total() < wanted and few.somewhere(folder):
            pass
        server.complete(folder)
        check(folder, whole, server, timings=not timed)
        completed += 1
        shutil.rmtree(folder)
    with capsys.disabled():
        print(f"\n{killer.hit.total()} kills before {completed} ends: {dict(killer.hit)}")


FEW_BYTES = 60_000
"""Rows fit into a file of this size, weights do not."""


def check_full(folder: Path, server: Server) -> None:
    """Look at what a full disk left: one line, the rows, and nothing half-written."""
    code, said = server.ended(), server.said()
    assert code == 2
    assert [line for line in said if "the disk is full" in line] == said[-1:]
    assert "Traceback" not in "".join(said)
    assert [path for path in litter(folder) if "work" not in Path(path).parts] == []
    assert len(list((folder / ".shipworthy" / "stages").iterdir())) == 1


def test_files_that_may_not_grow(server: Server, tmp_path: Path) -> None:
    folder = make_project(tmp_path / "project")
    server.start(folder, file_bytes=FEW_BYTES)
    check_full(folder, server)
    server.complete(folder, "train")
    assert "cached" in server.said()[0]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount")
def test_a_full_disk(server: Server, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(disk)]
    if subprocess.run(mount, check=False, capture_output=True).returncode != 0:
        pytest.skip("this machine mounts no tmpfs")
    try:
        folder = make_project(disk / "project")
        server.complete(folder, "data")
        free = shutil.disk_usage(disk).free
        (disk / "ballast").write_bytes(bytes(free - 3 * FEW_BYTES))
        server.start(folder)
        check_full(folder, server)
        (disk / "ballast").unlink()
        server.complete(folder, "validation")
        assert "cached" in server.said()[0]
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


@pytest.mark.slow
def test_a_process_that_is_timed_and_ended_for_want_of_memory(
    server: Server, tmp_path: Path
) -> None:
    folder = make_project(tmp_path / "project")
    server.complete(folder, "validation")
    server.start(folder)
    kept = folder / ".shipworthy" / "work"
    while not any(kept.glob("speed-*")) or not any(
        len(file.read_text().splitlines()) > 1 for file in kept.glob("speed-*")
    ):
        time.sleep(0.05)
    while not (workers := server.workers()):
        time.sleep(0.01)
    os.kill(workers[0], signal.SIGKILL)
    assert server.ended() == 2
    assert "out of memory" in server.said()[-1]
    assert litter(folder) == [str(Path(".shipworthy", "work", f.name)) for f in kept.iterdir()]
    server.complete(folder)
    assert litter(folder) == []
    assert opened(folder) == 1
