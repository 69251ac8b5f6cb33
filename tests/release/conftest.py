"""Lets the tests of this folder share their hand-made judgements, and starts each in English."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from shipworthy.core.locale import set_language

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(autouse=True)
def english() -> Iterator[None]:
    set_language("en")
    yield
    set_language(None)
