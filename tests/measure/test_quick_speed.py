"""A glance at speed is told by the texts, not by what interrupts some of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from shipworthy.measure import quick_speed
from shipworthy.measure.quick_speed import paired_p95_ms


class Clock:
    def __init__(self) -> None:
        self.now = 0

    def __call__(self) -> int:
        return self.now


class Model:
    """Takes so many nanoseconds a character, and a second more on every so many-th call."""

    def __init__(self, clock: Clock, pace: int, interrupted: int = 0) -> None:
        self.clock, self.pace, self.interrupted, self.calls = clock, pace, interrupted, 0

    def encode(self, texts: Sequence[str]) -> Sequence[str]:
        return texts

    def score(self, texts: Sequence[str]) -> None:
        self.calls += 1
        self.clock.now += self.pace * len(texts[0])
        if self.interrupted and self.calls % self.interrupted == 0:
            self.clock.now += 10**9


TEXTS = ["x" * k for k in range(1, 101)]


@pytest.mark.parametrize("interrupted", [0, 7, 13])
def test_interruptions_do_not_tell(interrupted: int, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(quick_speed, "perf_counter_ns", clock)
    parent: Any = Model(clock, 100_000, interrupted)
    candidate: Any = Model(clock, 25_000)
    own, other = paired_p95_ms(parent, candidate, TEXTS, seed=3)
    assert other / own == pytest.approx(0.25)
    assert 8 < own <= 10  # of texts of 1 to 100 characters


def test_both_answer_the_same_texts_equally_often(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(quick_speed, "perf_counter_ns", clock)
    parent: Any = Model(clock, 1)
    candidate: Any = Model(clock, 1)
    assert len(set(paired_p95_ms(parent, candidate, TEXTS[:5], seed=0))) == 1
    assert parent.calls == candidate.calls
