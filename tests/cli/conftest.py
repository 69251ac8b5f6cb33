"""Starts each test of the command line in English, in a folder of its own."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from shipworthy.core.locale import set_language

for folder in (Path(__file__).parent, Path(__file__).parent.parent / "release"):
    sys.path.insert(0, str(folder))


@pytest.fixture(autouse=True)
def english(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("SHIPWORTHY_LANG", raising=False)
    set_language("en")
    yield
    set_language(None)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder of the test: what a verb writes by default lands here."""
    monkeypatch.chdir(tmp_path)
    return tmp_path
