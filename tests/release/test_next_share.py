"""Between two measured shares: where a limit is met, and what the gate will say there."""

from __future__ import annotations

import numpy as np
import pytest
from forecasts import calibration, most
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from shipworthy.measure.paired import tango_z
from shipworthy.release.next_share import LEAST_SHARE, Flips, crossing, forecast


def flips(share: float, harmed: float, helped: float, n: float = 800) -> Flips:
    return Flips(share, harmed, helped, n, n, n)


def test_the_crossing_lies_between_a_share_inside_and_one_outside() -> None:
    points = [flips(0.3, 12, 6), flips(0.5, 70, 20)]
    found = crossing([(points, -0.02)], 0.5, seed=1)
    assert found is not None
    # A straight line would cross at 0.345, a power of the share later.
    assert 0.2 < found.share < 0.42
    assert found.low <= found.share <= found.high < 0.5


def test_a_stricter_limit_crosses_earlier_and_the_strictest_slice_decides() -> None:
    points = [flips(0.3, 12, 6), flips(0.5, 70, 20)]
    found = [crossing([(points, bound)], 0.5, seed=1) for bound in (-0.01, -0.02, -0.04)]
    shares = [f.share for f in found if f is not None]
    assert shares == sorted(shares) and len(shares) == 3
    both = crossing([(points, -0.04), (points, -0.01)], 0.5, seed=1)
    assert both is not None and both.share <= shares[0] + 0.011


def test_where_even_little_pruning_harms_nothing_is_proposed() -> None:
    assert crossing([([flips(0.06, 200, 5)], -0.001)], 0.06, seed=1) is None
    assert crossing([([flips(0.01, 1, 1)], -0.01)], 0.01, seed=1) is None


@settings(max_examples=20, deadline=None)
@given(
    st.integers(0, 60), st.integers(0, 60), st.floats(0.1, 0.9), st.floats(-0.05, -0.001),
)  # fmt: skip
def test_a_proposal_is_a_share_and_a_chance_is_one(
    harmed: int, helped: int, share: float, bound: float
) -> None:
    points = [flips(share, harmed, helped)]
    found = crossing([(points, bound)], share, seed=2)
    if found is not None:
        assert LEAST_SHARE <= found.share < share
        assert 0 <= found.low <= found.high <= share + 1e-9
    chance, values = forecast(points, share / 2, bound, alpha=0.0125, seed=3)
    assert 0 <= chance <= 1
    assert np.all(np.abs(values) <= 1)


def test_fewer_harmed_rows_are_a_better_chance() -> None:
    chances = [
        forecast([flips(0.3, 10, 8), flips(0.5, harmed, 10)], 0.4, -0.02, alpha=0.0125, seed=3)[0]
        for harmed in (15, 40, 90)
    ]
    assert chances[0] > chances[1] > chances[2]


def test_chances_between_recipes_come_true_as_often_as_said() -> None:
    """Rows that turn at a share of their own; the recipe is made, and the same rows are counted."""
    generator = np.random.default_rng(8)
    stated, happened = [], []
    while len(stated) < 200:
        n, bound = 900, -0.02
        steep = generator.uniform(1.0, 3.5)
        most_harm = generator.uniform(0.01, 0.06)

        at = generator.random(n)
        against = generator.random(n) < 0.75
        counts = {}
        for share in (0.3, 0.4, 0.5):
            # A tenth of the turned rows turns back and others take their place.
            turned = at < most_harm * (share / 0.5) ** steep
            now = turned & (generator.random(n) > 0.1)
            now |= generator.random(n) < 0.1 * turned.mean()
            counts[share] = float((now & against).sum()), float((now & ~against).sum())
        points = [flips(s, *counts[s], n=n) for s in (0.3, 0.5)]
        stated.append(forecast(points, 0.4, bound, alpha=0.0125, seed=4)[0])
        z = tango_z([counts[0.4][0]], [counts[0.4][1]], [float(n)], bound)[0]
        happened.append(norm.sf(z) <= 0.0125)
    found = calibration(np.array(stated), np.array(happened))
    print(found)
    assert abs(found.z) < most(1 + len(found.bins)), found
    assert max(abs(z) for *_, z in found.bins) < most(1 + len(found.bins)), found
    assert found.brier < 0.15


@pytest.mark.parametrize("known", [1, 2])
def test_at_a_measured_share_the_forecast_is_what_was_counted(known: int) -> None:
    points = [flips(0.3, 12, 6), flips(0.5, 70, 20)][:known]
    _, values = forecast(points, 0.3, -0.02, alpha=0.0125, seed=1)
    assert np.median(values) == pytest.approx(-6 / 800, abs=2 / 800)
