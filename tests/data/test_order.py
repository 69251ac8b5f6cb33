"""Every row once an epoch, whatever the shares and wherever a run goes on."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from shipworthy.data.order import share, step_rows, steps_per_epoch

LENGTHS = st.lists(st.integers(1, 60), min_size=1, max_size=120)


@given(LENGTHS, st.integers(1, 20), st.integers(0, 3), st.integers(1, 5))
def test_every_row_once_whatever_the_shares(
    lengths: list[int], rows: int, seed: int, of: int
) -> None:
    sizes = np.array(lengths)
    steps = step_rows(sizes, global_rows=rows, seed=seed, epoch=0)
    assert len(steps) == steps_per_epoch(len(sizes), rows)
    dealt = [share(step, sizes, index, of) for step in steps for index in range(of)]
    assert sorted(np.concatenate(dealt).tolist()) == list(range(len(sizes)))
    for number, step in enumerate(steps):
        parts = dealt[number * of : (number + 1) * of]
        assert max(map(len, parts)) - min(map(len, parts)) <= 1
        assert sum(map(len, parts)) == len(step)


@given(LENGTHS, st.integers(1, 20), st.integers(0, 200), st.integers(1, 4), st.integers(1, 4))
def test_a_run_that_goes_on_repeats_no_row_and_misses_none(
    lengths: list[int], rows: int, cut: int, before: int, after: int
) -> None:
    """Also where another number of processes goes on."""
    sizes = np.array(lengths)
    steps = step_rows(sizes, global_rows=rows, seed=7, epoch=1)
    done = min(cut, len(steps))
    first = [share(s, sizes, i, before) for s in steps[:done] for i in range(before)]
    again = step_rows(sizes, global_rows=rows, seed=7, epoch=1)[done:]
    rest = [share(s, sizes, i, after) for s in again for i in range(after)]
    assert sorted(np.concatenate([*first, *rest]).tolist()) == list(range(len(sizes)))


def test_another_order_each_epoch_and_the_same_for_a_seed() -> None:
    sizes = np.random.default_rng(0).integers(3, 60, 300)
    orders = [
        np.concatenate(step_rows(sizes, global_rows=32, seed=4, epoch=e)).tolist()
        for e in (0, 1, 0)
    ]
    assert orders[0] == orders[2] != orders[1]


def test_shares_hold_about_equally_many_tokens() -> None:
    sizes = np.random.default_rng(0).integers(3, 60, 640)
    for step in step_rows(sizes, global_rows=64, seed=0, epoch=0):
        tokens = [int(sizes[share(step, sizes, i, 2)].sum()) for i in range(2)]
        assert max(tokens) - min(tokens) <= sizes[step].max()
