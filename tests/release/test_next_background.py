"""What a run tells its next steps: what work took, and what a kept block would cost."""

from __future__ import annotations

import pytest
from planted_models import Planted

from shipworthy.compress.recipes import named
from shipworthy.compress.sparing import keeping
from shipworthy.measure.settings import SpeedSettings
from shipworthy.model.checkpoint import size_bytes
from shipworthy.release.made import Made
from shipworthy.release.next_background import price_of_a_block, spent_on, times_longer
from shipworthy.release.next_ground import Price
from shipworthy.release.pipeline import Bench


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


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Planted:
    return Planted(tmp_path_factory.mktemp("planted"), damaged={}, rows=400)


def _bench(planted: Planted, one: Made) -> Bench:
    # Nothing was timed here; what is asked of the bench are its models and rows.
    return Bench(
        planted.shop, planted.shop.project.policy.policy(), planted.data, (planted.parent, one),
        (), planted.data, {"validation": (planted.data, planted.data)}, 0.0,
    )  # fmt: skip


def test_a_kept_block_is_as_large_as_forecast(planted: Planted) -> None:
    recipe = named("int8")
    one, spared = planted.make(recipe), planted.make(keeping(recipe, [0]))
    price = price_of_a_block(_bench(planted, one), one, recipe, 9.0, 3.0)
    grown = (size_bytes(spared.folder) - size_bytes(one.folder)) / 1e6
    # Scales of the block's matrices and their nodes in the graph are all that is not forecast.
    assert price.mb == pytest.approx(grown, abs=0.006)
    assert price.mb > 0.02
    # Half of the blocks takes half of what lies between the parent and the candidate.
    assert price.ms == pytest.approx(3.0)


def test_the_price_follows_the_model_that_the_step_was_given(planted: Planted) -> None:
    pruned = named({"prune": 0.5})
    one = planted.make(pruned)
    assert price_of_a_block(_bench(planted, one), one, pruned, 9.0, 3.0) == Price(0.0, 0.0)
    steps = named({"steps": [{"layers": [1]}, "int8"]})
    narrow = planted.make(steps)
    price = price_of_a_block(_bench(planted, narrow), narrow, steps, 9.0, 2.0)
    # One of two blocks is left: the model before int8 takes half of the parent's time.
    assert price.ms == pytest.approx(9.0 / 2 - 2.0)
    heads = named({"steps": [{"layers": [1]}, {"prune": 0.5}, "bf16"]})
    assert price_of_a_block(_bench(planted, one), one, heads, 9.0, 2.0).mb == 0


def test_each_step_is_told_with_its_seconds(planted: Planted) -> None:
    steps = named({"steps": [{"layers": [1]}, {"prune": 0.5}]})
    one = planted.make(steps)
    found = spent_on(_bench(planted, one), {one.candidate.id: steps})
    took = {s.name: s.seconds for s in planted.shop.stages}
    assert found.steps == {
        "layers-1": took["candidate layers-1"],
        "layers-1+prune-50": took["candidate layers-1+prune-50"],
    }
    assert found.epoch == pytest.approx(planted.parent.stage.seconds / 3)
