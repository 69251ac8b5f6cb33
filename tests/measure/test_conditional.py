"""Conditional disparity and consistency, against loops and a published table."""

import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from shipworthy.measure.cells import area
from shipworthy.measure.conditional import conditional_disparity
from shipworthy.measure.consistency import MOST_ROWS, inconsistencies, sampled
from shipworthy.measure.shown import assess

sys.path.insert(0, str(Path(__file__).parent))

from audit_tables import drawn_table, tallied

BERKELEY = {
    # Bickel, Hammel & O'Connell 1975, table of the six largest departments as it is printed in
    # Freedman, Pisani & Purves: (men admitted, men refused, women admitted, women refused).
    "A": (512, 313, 89, 19), "B": (353, 207, 17, 8), "C": (120, 205, 202, 391),
    "D": (138, 279, 131, 244), "E": (53, 138, 94, 299), "F": (22, 351, 24, 317),
}  # fmt: skip


def berkeley() -> pl.DataFrame:
    rows = []
    for department, (ma, mr, wa, wr) in BERKELEY.items():
        for g, p, times in (("m", 1, ma), ("m", 0, mr), ("w", 1, wa), ("w", 0, wr)):
            rows += [(g, p, department)] * times
    return pl.DataFrame(rows, schema=["g", "p", "c"], orient="row").with_columns(y=pl.col("p"))


def by_loops(frame, group):
    total, value = frame.height, 0.0
    for _, part in frame.group_by("c"):
        refused, chosen = part.filter(pl.col("p") == 0), part.filter(pl.col("p") == 1)
        share = [(x["g"] == group).mean() for x in (refused, chosen)]
        value += part.height / total * (share[0] - share[1])
    return value


def conditional(frame, **roles):
    answers = tallied(frame, condition="c", **roles)
    where = area(answers.counted.cells, ("g",))
    chosen = where.cells.keys["prediction"] == 1
    return assess(conditional_disparity(where, chosen, where.cells.keys["condition"]))


def test_conditioning_turns_the_admissions_of_berkeley_round():
    frame = berkeley()
    found = conditional(frame)
    for k, group in enumerate(("m", "w")):
        assert found.value[k] == pytest.approx(by_loops(frame, group), abs=1e-12)
    alone = conditional(frame.with_columns(c=pl.lit("all")))
    # Women are refused more often on the whole, and less often within departments.
    assert alone.low[1] > 0.1 and found.value[1] < 0
    assert found.value.sum() == pytest.approx(0, abs=1e-12)


def test_its_error_is_that_of_the_bootstrap():
    frame, rng = berkeley(), np.random.default_rng(0)
    shown = conditional(frame)
    values = [conditional(frame[rng.integers(0, frame.height, frame.height)]).value[1]
              for _ in range(120)]  # fmt: skip
    assert (shown.high[1] - shown.low[1]) / 3.92 == pytest.approx(np.std(values), rel=0.25)


def test_weights_are_rows():
    frame = drawn_table(1, n=200)
    twice = frame.select(pl.all().repeat_by(pl.col("w").cast(pl.UInt32)).explode())
    one, other = conditional(frame, weight="w"), conditional(twice)
    np.testing.assert_allclose(one.value, other.value, atol=1e-12)


def test_a_stratum_without_a_choice_says_nothing():
    frame = pl.DataFrame({
        "g": ["a", "b", "a", "b", "a"], "p": [1, 0, 0, 0, 0], "y": [1, 0, 1, 0, 1],
        "c": ["k", "k", "k", "l", "l"],
    })  # fmt: skip
    assert conditional(frame).value.tolist() == [0.5 - 1.0, 0.5]
    nothing = conditional(frame.with_columns(p=pl.lit(0), y=pl.Series([0, 1, 0, 1, 0])))
    assert np.isnan(nothing.value).all()


def test_consistency_is_that_of_aif360():
    """60 rows, 5 neighbours, standardised features: aif360 0.6.1 says 0.6566666666666668."""
    rng = np.random.default_rng(5)
    x = rng.normal(size=(60, 3))
    answers = (x[:, 0] + rng.normal(size=60) > 0).astype(float)
    found = 1 - inconsistencies(x, answers).mean()
    assert found == pytest.approx(0.6566666666666668, abs=1e-12)


def test_consistency_does_not_depend_on_units_of_features():
    rng = np.random.default_rng(6)
    x, answers = rng.normal(size=(80, 2)), rng.integers(0, 2, 80).astype(float)
    other = x * np.array([1000.0, 0.01]) + 7
    np.testing.assert_allclose(inconsistencies(x, answers), inconsistencies(other, answers))
    assert (inconsistencies(x, np.ones(80)) == 0).all()
    assert inconsistencies(x[:2], np.array([0.0, 1.0])).tolist() == [0.5, 0.5]


def test_a_sample_is_taken_of_many_rows():
    assert sampled(100).tolist() == list(range(100))
    chosen = sampled(MOST_ROWS + 10_000)
    assert len(np.unique(chosen)) == MOST_ROWS and (np.diff(chosen) > 0).all()
