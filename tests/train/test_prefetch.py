"""Items come in order, errors where they are used, and no thread stays behind."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from shipworthy.train.prefetch import prefetch


def threads() -> list[str]:
    return [t.name for t in threading.enumerate() if t.name == "prefetch"]


def test_all_items_in_order() -> None:
    with prefetch(range(100), ahead=3) as items:
        assert list(items) == list(range(100))
    assert not threads()


def test_an_error_comes_after_the_items_before_it() -> None:
    def failing() -> Iterator[int]:
        yield 1
        yield 2
        raise ValueError("broken")

    seen = []
    with prefetch(failing(), ahead=2) as items, pytest.raises(ValueError, match="broken"):
        for item in items:
            seen.append(item)
    assert seen == [1, 2]


def test_stopped_in_the_middle() -> None:
    made = []

    def endless() -> Iterator[int]:
        number = 0
        while True:
            made.append(number)
            yield number
            number += 1

    with prefetch(endless(), ahead=2) as items:
        for item in items:
            if item == 5:
                break
    assert not threads()
    assert len(made) <= 5 + 2 + 3
