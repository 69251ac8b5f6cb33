"""Calibration error: what chance adds is taken off, both ends hold, the jackknife is one."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from scipy import integrate, stats
from scipy.special import expit, logit

from shipworthy.measure.calibration import (
    BINS,
    BUCKETS,
    calibration_error,
    calibration_error_change,
    debiased_error,
    folded_normal_mean,
)
from shipworthy.measure.one_sided import one_sided
from shipworthy.measure.slices import partition

sys.path.insert(0, str(Path(__file__).parent))

from drawn_answers import answers, drawn, rows_of, runs

ALPHA = 0.025


def test_folded_normal_mean_agrees_with_its_integral():
    for centre, deviation in ((0.0, 1.0), (0.3, 0.2), (0.05, 0.5)):
        integral = integrate.quad(
            lambda x, c=centre, d=deviation: abs(x) * stats.norm.pdf(x, c, d), -9, 9, points=[0]
        )[0]
        found = folded_normal_mean(np.array(centre), np.array(deviation))
        assert found == pytest.approx(integral, abs=1e-7)


def test_equal_sums_give_the_same_error_in_any_shape():
    rng = np.random.default_rng(0)
    n = rng.integers(0, 60, (BINS, 4)).astype(float)
    confidence, hits = n * 0.8, np.floor(n * rng.random((BINS, 4)))
    together, left = debiased_error(n, confidence, hits)
    for k in range(4):
        one, own = debiased_error(n[:, k], confidence[:, k], hits[:, k])
        assert one == pytest.approx(together[k]) and own == pytest.approx(left[k])
    nothing = np.zeros(BINS)
    assert debiased_error(nothing, nothing, nothing)[0] == 0


def test_a_gap_that_many_rows_show_is_kept_whole():
    n = np.full(BINS, 1e6)
    value, left = debiased_error(n, 0.8 * n, 0.7 * n)
    assert value == pytest.approx(0.1, abs=1e-4) and left < 1e-5


def simulated(seed, count, n, truth):
    """Runs of n rows; truth(confidence) is the share of right answers at that confidence."""
    rng = np.random.default_rng(seed)
    size = count * n
    confidence = expit(np.abs(rng.normal(1.2, 1.2, size)))
    right = truth(confidence)
    labels = (rng.random(size) < right).astype(int)
    frame = pl.DataFrame({"row": np.zeros(size, dtype=np.int8)})
    model = answers(labels, confidence, predicted=np.ones(size, int), frame=frame, digest="m")
    rows = runs(np.repeat(np.arange(count), n), count)
    ranks = np.argsort(np.argsort(confidence.reshape(count, n), axis=1), axis=1)
    place = np.minimum(ranks * BINS // n, BINS - 1) + BINS * np.arange(count)[:, None]
    gaps = np.bincount(place.ravel(), right - confidence, count * BINS).reshape(count, BINS)
    return rows, model, np.abs(gaps).sum(axis=1) / n


def misses(made, truth):
    """Share of runs whose upper and lower ends miss the truth of their own bins."""
    below = stats.t.isf(ALPHA, made.df) * made.standard_error
    return np.mean(made.value + below < truth), np.mean(made.value - below > truth)


def plain_error(rows, model):
    """The mean absolute gap as it is commonly computed, of each run."""
    found = []
    confidence = model.probabilities.max(axis=1)
    for part in rows.parts:
        order = part[np.argsort(confidence[part])]
        parts = np.array_split(order, BINS)
        hits = [(model.labels[p] == 1).mean() - confidence[p].mean() for p in parts]
        found.append(np.average(np.abs(hits), weights=[len(p) for p in parts]))
    return np.array(found)


def test_a_calibrated_model_has_an_error_near_0():
    rows, model, truth = simulated(0, 500, 600, lambda c: c)
    made = calibration_error(rows, model)
    assert truth.max() < 1e-12
    raw = plain_error(rows, model).mean()
    assert raw > 0.045
    assert made.value.mean() < 0.25 * raw and (made.value >= 0).all()
    high, low = misses(made, truth)
    assert high == 0 and low <= 0.05
    # No certainty where the value is 0.
    assert made.standard_error.min() > 0
    found = one_sided(made, 0.001, "at_most", alpha=ALPHA)
    assert np.mean(found.p_pass <= ALPHA) == 0 and set(found.reasons) == {""}


SHAPES = {
    "too sure": lambda c: expit(logit(c) * 0.8),
    "far too sure": lambda c: expit(logit(c) * 0.5),
    "shifted": lambda c: c - 0.05,
    "wavy": lambda c: c - 0.05 * np.sign(np.sin(c * 40)),
    "one bin": lambda c: np.where(c > 0.98, c - 0.15, c),
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(
    ("count", "n"),
    [(400, 600), pytest.param(1500, 600, marks=pytest.mark.slow),
     pytest.param(1000, 4000, marks=pytest.mark.slow)],
)  # fmt: skip
def test_both_ends_hold_the_error_of_a_model_that_is_off(shape, count, n):
    rows, model, truth = simulated(1, count, n, SHAPES[shape])
    made = calibration_error(rows, model)
    allowed = 0.025 + 3.72 * np.sqrt(0.025 * 0.975 / count)
    high, low = misses(made, truth)
    assert high <= allowed and low <= allowed


def test_the_jackknife_leaves_out_one_unit_at_a_time():
    parent, candidate = drawn(2, n=400, units=40)
    rows = partition(parent.frame, unit="unit")
    made = calibration_error_change(rows, candidate, parent, False)
    names = parent.frame["unit"].to_numpy()

    def error(one, kept):
        confidence = one.probabilities.max(axis=1)
        hits = (one.probabilities.argmax(axis=1) == one.labels).astype(float)
        place = np.minimum((stats.rankdata(confidence) - 0.5) / 400 * BINS, BINS - 1).astype(int)
        place = place[kept]
        return debiased_error(*(
            np.bincount(place, w, BINS) for w in (np.ones(kept.sum()), confidence[kept], hits[kept])
        ))  # fmt: skip

    whole = [error(one, np.ones(400, bool)) for one in (candidate, parent)]
    assert made.value[0] == pytest.approx(float(whole[0][0] - whole[1][0]))
    apart = np.array([
        error(candidate, names != u)[0] - error(parent, names != u)[0] for u in sorted(set(names))
    ])  # fmt: skip
    parts = (apart - apart.mean()) * np.sqrt(39 / 40)
    squares = (parts**2).sum()
    typical, skewness = (np.abs(parts) ** 3).sum() / squares, abs((parts**3).sum()) / squares
    expected = np.sqrt(squares + 4 * typical**2) + 0.74 * skewness
    expected = np.hypot(expected, float(whole[0][1] - whole[1][1]))
    assert made.standard_error[0] == pytest.approx(expected)
    assert made.df.tolist() == [39.0] and made.units.tolist() == [40.0]


def test_many_units_go_into_buckets():
    parent, _ = drawn(3, n=3000, units=1500)
    by_unit = calibration_error(partition(parent.frame, ["group"], unit="unit"), parent)
    assert by_unit.df.max() <= BUCKETS - 1
    assert by_unit.df[0] > 150
    by_row = calibration_error(partition(parent.frame, ["group"]), parent)
    np.testing.assert_allclose(by_row.value, by_unit.value, atol=1e-12)
    assert by_row.df.max() == BUCKETS - 1
    few = rows_of(parent, np.arange(50))
    assert calibration_error(partition(few.frame), few).df.tolist() == [49.0]


def test_the_order_of_rows_matters_only_to_buckets_without_units():
    parent, _ = drawn(4, n=2000, units=700)
    order = np.random.default_rng(0).permutation(2000)
    moved = rows_of(parent, order)
    one, two = (
        calibration_error(partition(p.frame, ["group"], unit="unit"), p) for p in (parent, moved)
    )
    np.testing.assert_allclose(one.standard_error, two.standard_error, rtol=1e-9)
    one, two = (calibration_error(partition(p.frame), p) for p in (parent, moved))
    np.testing.assert_allclose(one.value, two.value, atol=1e-12)
    np.testing.assert_allclose(one.standard_error, two.standard_error, rtol=0.4)


def test_odd_slices():
    one, _ = drawn(5, n=100)
    rows = runs(np.repeat([0, 1, 2], [1, 3, 96]), 4)
    made = calibration_error(rows, one)
    assert made.n.tolist() == [1.0, 3.0, 96.0, 0.0]
    assert np.isfinite(made.value[:3]).all() and np.isnan(made.value[3])
    reasons = one_sided(made, 0.1, "at_most", alpha=ALPHA).reasons
    assert reasons == ("too_few_rows", "too_few_rows", "", "no_data")
    single = runs(np.zeros(100), 1, units=np.zeros(100))
    assert np.isnan(calibration_error(single, one).standard_error).all()
    tied = answers(one.labels, np.full(100, 0.7), digest="tied")
    assert np.isfinite(calibration_error(partition(tied.frame), tied).standard_error).all()
    sure = replace(one, scores=np.eye(2)[one.labels])
    made = calibration_error(partition(one.frame), sure)
    assert made.value.tolist() == [0.0] and made.standard_error[0] > 0
