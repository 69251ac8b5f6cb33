"""How rows move when parts are kept, and what the gate says of a candidate that keeps them."""

from __future__ import annotations

import numpy as np
import pytest
from forecasts import calibration, most
from hypothesis import given, settings
from hypothesis import strategies as st

from shipworthy.core.records import Limit, Outcome, Slice
from shipworthy.measure.decide import Evidence, decide_candidate
from shipworthy.measure.estimates import PairedChange, Rate
from shipworthy.release.next_layers import (
    HARMED,
    HELPED,
    SAME,
    Slice2,
    change_states,
    divergence,
    forecast,
    given_back,
    moves,
    share_states,
)

ALPHA = 0.0125


def test_states_follow_the_side_of_the_limit() -> None:
    before = np.array([True, True, False, False])
    after = np.array([True, False, True, False])
    assert change_states(before, after, "at_least").tolist() == [SAME, HARMED, HELPED, SAME]
    assert change_states(before, after, "at_most").tolist() == [SAME, HELPED, HARMED, SAME]
    assert share_states(after, "at_least").tolist() == [1, 0, 1, 0]
    assert share_states(after, "at_most").tolist() == [0, 1, 0, 1]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), max_size=60))
def test_moves_count_every_row_once(rows: list[tuple[int, int]]) -> None:
    now, then = (np.array([r[k] for r in rows], dtype=np.int64) for k in (0, 1))
    table = moves(now, then, 3)
    assert table.sum() == len(rows)
    assert all(table[a, b] == rows.count((a, b)) for a in range(3) for b in range(3))


def test_rows_that_all_come_back_are_a_pass_and_none_that_do_are_none() -> None:
    today = Slice2(np.array([60.0, 5.0, 935.0]), 1.0, 1000)
    healed = np.array([[40.0, 0, 0], [0, 3, 0], [0, 0, 600]])
    healed[0] = [0, 0, 40]
    still = np.diag([40.0, 3, 600])
    good, bad = (
        forecast(today, table, -0.02, deff=1.0, alpha=ALPHA, seed=1) for table in (healed, still)
    )
    assert good.p_pass > 0.95 and bad.p_pass < 0.01
    middle, low, high = good.interval
    assert low < middle < high and abs(middle) < 0.01
    assert bad.interval[0] == pytest.approx(-0.055, abs=0.01)


def test_a_share_is_forecast_from_right_and_wrong() -> None:
    today = Slice2(np.array([150.0, 450.0]), 1.0, 600)
    found = forecast(
        today, np.array([[30.0, 45.0], [2.0, 250.0]]), 0.8, deff=1.0, alpha=ALPHA, seed=1
    )
    # 0.6 of 150 wrong rows come right.
    assert found.interval[0] == pytest.approx(0.75 + 0.15 - 0.008, abs=0.015)
    assert found.p_pass > 0.9
    assert forecast(today, np.eye(2), 1.2, deff=1.0, alpha=ALPHA, seed=1).p_pass == 0


def test_a_design_effect_widens_the_forecast() -> None:
    today = Slice2(np.array([40.0, 5.0, 955.0]), 1.0, 1000)
    table = np.array([[10.0, 0, 15], [0, 3, 0], [2, 0, 600]])
    wide, narrow = (
        forecast(today, table, -0.02, deff=deff, alpha=ALPHA, seed=1).values.std()
        for deff in (4.0, 1.0)
    )
    assert wide > 1.3 * narrow


def test_what_comes_back_is_the_change_on_the_same_rows() -> None:
    now, then = np.array([True] * 90 + [False] * 10), np.array([True] * 89 + [False] + [True] * 10)
    back, ends = given_back(now, then)
    assert back == pytest.approx(0.09)
    assert ends.low[0] < 0.09 < ends.high[0]


def test_divergence_is_zero_for_the_same_answers_and_grows() -> None:
    parent = np.array([[0.9, 0.1], [0.2, 0.8]])
    assert divergence(parent, parent) == 0
    near, far = (parent + d * np.array([[-1, 1], [1, -1]]) for d in (0.05, 0.15))
    assert 0 < divergence(parent, near) < divergence(parent, far)


def decided(counts: np.ndarray, bound: float, opening: int = 2) -> Outcome:
    """What the gate says of a slice in these states."""
    n = np.array([counts.sum()], dtype=float)
    if len(counts) == 2:
        limit = Limit("accuracy", "at_least", bound)
        estimate: PairedChange | Rate = Rate(counts[1:].astype(float), n, n, np.ones(1))
    else:
        limit = Limit("accuracy", "at_least", bound, relative_to="parent")
        lost, gained = counts[HARMED : HARMED + 1], counts[HELPED : HELPED + 1]
        same = np.zeros(1, dtype=bool)
        estimate = PairedChange(lost.astype(float), gained.astype(float), n, n, np.ones(1), same)
    item = Evidence(limit, 0, (Slice(),), estimate, bound)
    return decide_candidate("x", [item], opening=opening).decisions[0].decision


@pytest.mark.parametrize("states", [2, 3])
def test_chances_of_kept_parts_come_true_as_often_as_said(states: int) -> None:
    """Planted: how rows move. Validation shows some of them; the test rows then move alike."""
    generator = np.random.default_rng(12 + states)
    stated, happened = [], []
    while len(stated) < 120:
        n, seen = int(generator.choice([400, 900])), int(generator.choice([200, 450]))
        truth = np.stack([generator.dirichlet(row) for row in _EVEN[states]])
        start = generator.dirichlet(_START[states])
        bound = -0.02 if states == 3 else float(start[1] + generator.uniform(0, 0.1))
        if not 0 < abs(bound) < 1:
            continue
        today = generator.multinomial(n, start)
        if decided(today, bound, 1) is Outcome.PASS:
            continue
        table = np.stack([
            generator.multinomial(count, truth[k])
            for k, count in enumerate(generator.multinomial(seen, start))
        ]).astype(float)  # fmt: skip
        found = forecast(
            Slice2(today.astype(float), 1.0, n), table, bound, deff=1.0, alpha=ALPHA, seed=1
        )
        then = sum(generator.multinomial(today[k], truth[k]) for k in range(states))
        stated.append(found.p_pass)
        happened.append(decided(np.asarray(then), bound) is Outcome.PASS)
    found_calibration = calibration(np.array(stated), np.array(happened))
    print(found_calibration)
    largest = most(1 + len(found_calibration.bins))
    assert abs(found_calibration.z) < largest, found_calibration
    assert max(abs(z) for *_, z in found_calibration.bins) < largest, found_calibration


_EVEN = {
    2: ([1.0, 1.0], [0.5, 9.0]),
    3: ([0.7, 0.1, 1.5], [0.1, 1.0, 0.5], [0.5, 0.5, 90.0]),
}
_START = {2: [3.0, 12.0], 3: [3.0, 1.0, 60.0]}
