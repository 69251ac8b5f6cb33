"""Limits on means, areas, F1 and precision err as allowed where the truth lies on the limit.

A slice is a run of the simulation, so that thousands of runs are measured at once.
"""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from shipworthy.measure.one_sided import one_sided
from shipworthy.measure.quality import quality
from shipworthy.measure.rates import ratio

sys.path.insert(0, str(Path(__file__).parent))

from drawn_answers import answers, runs

ALPHA = 0.025


def false_passes(change, truth, side):
    found = one_sided(change, truth, side, alpha=ALPHA)
    return np.mean(found.p_pass <= ALPHA), np.mean(found.p_fail <= ALPHA)


def noisy_losses(seed, count, n):
    """Runs of n rows whose candidate is now and then far more unsure than its parent."""
    rng = np.random.default_rng(seed)
    size = count * n
    p = rng.beta(2, 2, size)
    labels = (rng.random(size) < p).astype(int)
    logit = np.log(p / (1 - p))
    moved = logit + rng.normal(0, 0.1, size) + np.where(rng.random(size) < 0.05, -2.0, 0.0)
    frame = pl.DataFrame({"row": np.zeros(size, dtype=np.int8)})
    parent = answers(labels, p, frame=frame, digest="parent")
    candidate = answers(labels, 1 / (1 + np.exp(-moved)), frame=frame, digest="candidate")
    return runs(np.repeat(np.arange(count), n), count), parent, candidate


@pytest.mark.parametrize(
    ("count", "n"), [(1500, 300), pytest.param(6000, 600, marks=pytest.mark.slow)]
)
@pytest.mark.parametrize("measure", ["log_loss", "brier_score", "auc"])
def test_limits_on_means_err_as_allowed(measure, count, n):
    rows, parent, candidate = noisy_losses(5, count, n)
    for made in (quality(measure, rows, candidate, parent), quality(measure, rows, candidate)):
        truth = made.value.mean()  # of all runs together
        for error in false_passes(made, truth, "at_most"):
            assert error <= 0.025 + 3.72 * np.sqrt(0.025 * 0.975 / count)


@pytest.mark.parametrize(
    ("count", "n"), [(2000, 300), pytest.param(20_000, 300, marks=pytest.mark.slow)]
)
@pytest.mark.parametrize("measure", ["f1", "precision"])
def test_limits_on_changes_of_f1_and_precision_err_as_allowed_with_few_flips(measure, count, n):
    rng = np.random.default_rng(6)
    size = count * n
    labels = (rng.random(size) < 0.4).astype(np.int64)
    before = np.where(rng.random(size) < 0.9, labels, 1 - labels)
    # Few rows flip, and all of them for the worse.
    worse = (rng.random(size) < 0.012) & (before == labels)
    after = np.where(worse, 1 - before, before)
    frame = pl.DataFrame({"row": np.zeros(size, dtype=np.int8)})
    scores = np.full(size, 0.5)
    parent = answers(labels, scores, predicted=before, frame=frame, digest="parent")
    candidate = answers(labels, scores, predicted=after, frame=frame, digest="candidate")
    rows = runs(np.repeat(np.arange(count), n), count)
    truth = quality(measure, runs(np.zeros(size), 1), candidate, parent).value[0]
    assert truth < -0.005
    change = quality(measure, rows, candidate, parent)
    allowed = 0.025 + 3.72 * np.sqrt(0.025 * 0.975 / count)
    false_pass, false_fail = false_passes(change, truth, "at_least")
    assert false_pass <= allowed and false_fail <= allowed
    # The plain linearisation passes too often.
    parts = []
    for one in (candidate, parent):
        chosen, wanted = (one.predicted == 1).astype(float), labels.astype(float)
        tops = (
            (2 * chosen * wanted, chosen + wanted) if measure == "f1" else (chosen * wanted, chosen)
        )
        parts.append(ratio(rows, *tops)[1])
    plain = np.sqrt(rows.variance(parts[0] - parts[1], change.units))
    mutant, _ = false_passes(replace(change, standard_error=plain), truth, "at_least")
    assert mutant > 0.04
