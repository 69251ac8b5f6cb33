"""The first rows of a search: a recipe that keeps its limits is hardly ever stopped on them."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom

from shipworthy.core.records import Limit, Slice
from shipworthy.measure.decide import Evidence
from shipworthy.measure.estimates import PairedChange, Rate, Unmeasured
from shipworthy.release import glance
from shipworthy.release.glance import LEVEL, surely_missed

GROUPS, ROWS, MARGIN = 20, 250, 0.02
RUNS = [400, pytest.param(20_000, marks=pytest.mark.slow)]


def change(lost: np.ndarray, gained: np.ndarray, n: int) -> PairedChange:
    sizes = np.full(len(lost), float(n))
    same = np.zeros(len(lost), bool)
    return PairedChange(lost.astype(float), gained.astype(float), sizes, sizes, sizes * 0 + 1, same)


def item(estimate: PairedChange | Rate | Unmeasured, bound: float, index: int) -> Evidence:
    slices = tuple(Slice.of({"group": f"g{k}"}) for k in range(GROUPS))
    relative = "parent" if isinstance(estimate, PairedChange) else "none"
    limit = Limit("accuracy", "at_least", bound, relative_to=relative)
    return Evidence(limit, index, slices, estimate, bound)


def drawn(rng: np.random.Generator, worst: float = MARGIN) -> list[Evidence]:
    """Every slice exactly at its limit, where it is hardest not to be taken for a miss.

    worst: what the first group really loses.
    """
    lost = np.full(GROUPS, 0.03 + MARGIN)
    lost[0] = 0.03 + worst
    told = np.array([rng.multinomial(ROWS, [b, 0.03, 0.97 - b]) for b in lost])
    right = rng.binomial(ROWS, 0.8, GROUPS).astype(float)
    sizes = np.full(GROUPS, float(ROWS))
    return [
        item(change(told[:, 0], told[:, 1], ROWS), -MARGIN, 0),
        item(Rate(right, sizes, sizes, sizes * 0 + 1), 0.8, 1),
        item(Unmeasured("not_measured"), 5.0, 2),
    ]


def stopped(runs: int, worst: float = MARGIN) -> int:
    rng = np.random.default_rng([3, runs])
    return sum(any(m.any() for m in surely_missed(drawn(rng, worst))) for _ in range(runs))


@pytest.mark.parametrize("runs", RUNS)
def test_what_keeps_every_limit_is_stopped_once_in_a_hundred_at_most(runs: int) -> None:
    assert stopped(runs) <= binom.ppf(1 - 1e-4, runs, LEVEL)


def test_without_the_correction_it_would_be_stopped_far_more_often(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(glance, "holm", lambda p: p)
    assert stopped(400) > 2 * binom.ppf(1 - 1e-4, 400, LEVEL)


def test_what_loses_a_group_is_stopped_on_that_group() -> None:
    rng = np.random.default_rng(1)
    first, second, third = surely_missed(drawn(rng, worst=0.3))
    assert first.tolist() == [True] + [False] * (GROUPS - 1)
    assert not second.any() and not third.any()


def test_too_few_rows_prove_nothing() -> None:
    few = change(np.array([9]), np.array([0]), 10)
    assert not surely_missed([item(few, 0.0, 0)])[0].any()
