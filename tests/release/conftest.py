"""Lets the tests of this folder share their hand-made judgements, and starts each in English."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from shipworthy.core.locale import set_language

if TYPE_CHECKING:
    from shipworthy.release.pipeline import Finished

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(autouse=True)
def english() -> Iterator[None]:
    set_language("en")
    yield
    set_language(None)


@pytest.fixture(scope="session")
def worked(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Finished, Path]:
    """The folder of a small project, what its first run left, and a copy as it was then."""
    from toy_project import copied, make_project, run

    folder = make_project(tmp_path_factory.mktemp("toy") / "project")
    finished = run(folder)
    return folder, finished, copied(folder, tmp_path_factory.mktemp("toys") / "untouched")


@pytest.fixture(scope="session")
def folder(worked: tuple[Path, Finished, Path]) -> Path:
    """The folder that the project ran in; its tests run there again."""
    return worked[0]


@pytest.fixture(scope="session")
def finished(worked: tuple[Path, Finished, Path]) -> Finished:
    """What the first run of the project left."""
    return worked[1]


@pytest.fixture
def toy(worked: tuple[Path, Finished, Path], tmp_path: Path) -> Path:
    """A copy of the project after its first run, to do with as one likes."""
    from toy_project import copied

    return copied(worked[2], tmp_path / "toy")
