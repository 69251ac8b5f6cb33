"""What a run tells its next steps: how much longer a full timing takes."""

from __future__ import annotations

import pytest

from shipworthy.measure.settings import SpeedSettings
from shipworthy.release.next_background import times_longer


def test_a_full_timing_takes_as_often_the_work_of_a_short_one_as_it_has_more_to_do() -> None:
    short = SpeedSettings(form="short")
    assert times_longer(short, language=False) == pytest.approx((20 + 400) / (20 + 200))
    assert times_longer(short, language=True) == pytest.approx((2 + 24) * 32 / ((2 + 8) * 16))


@pytest.mark.parametrize("language", [True, False])
def test_what_is_full_already_or_was_given_takes_no_longer(language: bool) -> None:
    for settings in (SpeedSettings(), SpeedSettings(answers=5, requests=900)):
        assert times_longer(settings, language=language) == 1.0
    given = SpeedSettings(form="short", answers=6, new_tokens=8, requests=500)
    assert times_longer(given, language=language) == 1.0
