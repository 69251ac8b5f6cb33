"""The advised action is done in planted worlds, and a stated chance comes true as often as said."""

from __future__ import annotations

import numpy as np
import pytest
from forecasts import KINDS, Calibration, Pair, calibration, most


def kept(pairs: list[Pair]) -> tuple[Calibration, Calibration]:
    return (
        calibration(np.array([p.decided for p in pairs]), np.array([p.was_decided for p in pairs])),
        calibration(np.array([p.passes for p in pairs]), np.array([p.was_passed for p in pairs])),
    )


def check(found: Calibration) -> None:
    largest = most(1 + len(found.bins))
    assert abs(found.z) < largest, found
    assert max(abs(z) for *_, z in found.bins) < largest, found
    # Better than saying the same chance of every case.
    flat = found.happened * (1 - found.happened)
    assert found.brier < flat + 0.05, found


@pytest.mark.parametrize("kind", ["change", "timing"])
def test_chances_come_true_as_often_as_said(kind: str) -> None:
    pairs = list(KINDS[kind](np.random.default_rng(3), 22))
    for found in kept(pairs):
        check(found)
    assert {p.was_decided for p in pairs} == {True, False}


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_chances_of_every_kind_come_true_as_often_as_said(kind: str) -> None:
    for found in kept(list(KINDS[kind](np.random.default_rng(5), 120))):
        print(kind, found)
        check(found)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_where_truths_crowd_around_the_limit_chances_are_off_by_little(kind: str) -> None:
    for found in kept(list(KINDS[kind](np.random.default_rng(6), 60, world="near"))):
        print(kind, found)
        assert abs(found.stated - found.happened) < 0.3, found


def test_a_boastful_forecast_is_noticed() -> None:
    generator = np.random.default_rng(1)
    truth = generator.uniform(0.1, 0.6, 120)
    happened = generator.random(120) < truth
    assert abs(calibration(truth, happened).z) < most(6)
    assert abs(calibration(np.minimum(truth + 0.25, 1), happened).z) > most(6)
