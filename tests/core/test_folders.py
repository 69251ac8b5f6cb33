"""A folder is made once, by whoever asks first, and a failure leaves nothing of it."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from shipworthy.core.folders import make_once

PROOF = "config.json"


def test_of_several_at_once_one_makes_it_and_the_others_wait(tmp_path: Path) -> None:
    target, made = tmp_path / "deep" / "model", []

    def write(folder: Path) -> None:
        made.append(folder)
        folder.mkdir()
        time.sleep(0.2)  # all others come meanwhile
        (folder / PROOF).write_text("{}")

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: make_once(target, write, proof=PROOF), range(4)))
    assert found == [target] * 4 and len(made) == 1 and made[0].parent.parent == target.parent
    assert [f.name for f in target.iterdir()] == [PROOF]
    assert make_once(target, write, proof=PROOF) == target and len(made) == 1


def test_a_failure_leaves_nothing_and_the_next_call_makes_it(tmp_path: Path) -> None:
    target = tmp_path / "model"

    def write(folder: Path, content: str = "whole") -> None:
        folder.mkdir()
        (folder / PROOF).write_text(content)

    def fail(folder: Path) -> None:
        write(folder, "half")
        raise OSError("no room")

    with pytest.raises(OSError, match="no room"):
        make_once(target, fail, proof=PROOF)
    assert [f.name for f in tmp_path.iterdir()] == ["model.lock"]
    assert (make_once(target, write, proof=PROOF) / PROOF).read_text() == "whole"


def test_what_is_there_is_neither_made_again_nor_locked(tmp_path: Path) -> None:
    target = tmp_path / "model"
    target.mkdir()
    (target / PROOF).write_text("mine")

    def fail(folder: Path) -> None:
        raise AssertionError("it is there")

    assert make_once(target, fail, proof=PROOF) == target
    assert [f.name for f in tmp_path.iterdir()] == ["model"]
