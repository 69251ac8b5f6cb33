"""A recipe wins only where its gain clears the scatter of seeds and rows; a race goes on."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from scipy.stats import binom

from shipworthy.core.errors import SettingsError
from shipworthy.train.race import (
    DEFAULT,
    Trial,
    compare,
    race,
    recipes_of,
    run_in_process,
    trials,
)
from shipworthy.train.settings import TrainSettings


def settings_of(recipes: dict[str, Any], **more: Any) -> TrainSettings:
    return TrainSettings.model_validate({"race": {"recipes": recipes}, **more})


def drawn(
    generator: np.random.Generator, gain: float, *, seeds: int = 5, rows: int = 400
) -> dict[str, np.ndarray[Any, Any]]:
    """Right answers of two recipes: rows differ in difficulty, seeds in luck."""
    hard = generator.uniform(0.6, 0.95, rows)
    found = {}
    for name, shift in ((DEFAULT, 0.0), ("other", gain)):
        luck = generator.normal(0, 0.01, seeds)
        chance = np.clip(hard + shift + luck[:, None], 0, 1)
        found[name] = (generator.random((seeds, rows)) < chance).astype(np.int64)
    return found


def test_the_interval_is_its_formula() -> None:
    right = drawn(np.random.default_rng(1), 0.05)
    (found,) = compare(right, tokens=1).standings
    change = (right["other"] - right[DEFAULT]).astype(float)
    means = change.mean(1)
    between = means.var(ddof=1) / 5
    inside = np.mean([row.var(ddof=1) / 400 for row in change])
    df = (between + inside) ** 2 / (between**2 / 4 + inside**2 / 399)
    from scipy.stats import t

    half = t.ppf(0.975, df) * np.sqrt(between + inside)
    assert found.change == pytest.approx(means.mean())
    assert (found.low, found.high) == pytest.approx((means.mean() - half, means.mean() + half))
    assert found.df == pytest.approx(df)


def wins(gain: float, runs: int, seed: int) -> tuple[int, int]:
    generator = np.random.default_rng(seed)
    won = covered = 0
    for _ in range(runs):
        result = compare(drawn(generator, gain), tokens=1)
        won += result.winner != DEFAULT
        covered += result.standings[0].low <= gain <= result.standings[0].high
    return won, covered


def test_equal_recipes_win_as_seldom_as_allowed() -> None:
    won, covered = wins(0.0, 1500, 7)
    assert won <= binom.ppf(1 - 1e-4, 1500, 0.025)
    assert covered >= binom.ppf(1e-4, 1500, 0.95)


def test_a_better_recipe_wins() -> None:
    won, _ = wins(0.08, 100, 8)
    assert won >= 95


def test_more_recipes_must_be_surer() -> None:
    generator = np.random.default_rng(3)
    wrong = 0
    for _ in range(600):
        right = drawn(generator, 0.0, rows=200)
        base = right[DEFAULT].mean()
        for name in ("b", "c", "d"):
            right[name] = (generator.random((5, 200)) < base).astype(np.int64)
        wrong += compare(right, tokens=1).winner != DEFAULT
    assert wrong <= binom.ppf(1 - 1e-4, 600, 0.03)


def test_units_widen_the_interval() -> None:
    right = drawn(np.random.default_rng(1), 0.05, rows=100)
    right = {name: np.repeat(table, 4, axis=1) for name, table in right.items()}
    alone = compare(right, tokens=1).standings[0]
    together = compare(right, tokens=1, units=np.repeat(np.arange(100), 4)).standings[0]
    assert together.high - together.low > 1.3 * (alone.high - alone.low)


def test_the_same_answers_are_no_gain() -> None:
    table = drawn(np.random.default_rng(1), 0.0)[DEFAULT]
    result = compare({DEFAULT: table, "same": table}, tokens=1)
    assert result.winner == DEFAULT
    assert (result.standings[0].low, result.standings[0].high) == (0.0, 0.0)


def test_a_race_goes_on_where_it_was_killed(tmp_path: Path) -> None:
    recipes = recipes_of(settings_of({"slow": {"learning_rate": 1e-4}}))
    asked = trials(recipes, seed=3, seeds=5, tokens=10)
    assert len(asked) == 10 and {trial.seed for trial in asked} == set(range(3, 8))
    done: list[Trial] = []

    def run(trial: Trial) -> list[int]:
        if len(done) == 4:
            raise KeyboardInterrupt
        done.append(trial)
        return [1, 0, 1, 1]

    with pytest.raises(KeyboardInterrupt):
        race(asked, run, work=tmp_path, side_by_side=1)
    assert len(done) == 4
    again: list[Trial] = []
    race(asked, lambda t: again.append(t) or [1, 0, 1, 1], work=tmp_path, side_by_side=1)  # type: ignore[func-returns-value]
    assert len(again) == 6 and not [t for t in again if t in done]


@pytest.mark.parametrize(
    ("recipes", "said"),
    [
        ({"a": {"learning_rat": 1}}, r"train\.race\.recipes\.a.*did you mean 'learning_rate'"),
        ({"a": {"schedule": {"name": "cosin"}}}, r"train\.race\.recipes\.a\.schedule\.name"),
        ({"a": {"epochs": 0}}, r"train\.race\.recipes\.a\.epochs"),
        ({"a": {"epochs": 1}}, "changes nothing"),
        ({"default": {"epochs": 2}}, "the project's own recipe"),
    ],
)
def test_recipes_that_cannot_be(recipes: dict[str, Any], said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        recipes_of(settings_of(recipes))


def given_to(folder: Path, tmp_path: Path, frames: dict[str, pl.DataFrame]) -> dict[str, Any]:
    for name, frame in frames.items():
        frame.write_parquet(tmp_path / f"{name}.parquet")
    return {
        "model_folder": str(folder), "text": "text", "label": "label",
        "classes": ["bad", "good"], "unit": None, "cache": str(tmp_path / "tokens"),
        **{name: str(tmp_path / f"{name}.parquet") for name in frames},
    }  # fmt: skip


@pytest.mark.slow
def test_a_real_race(
    model_folder: Path, rows: pl.DataFrame, calibration: pl.DataFrame, tmp_path: Path
) -> None:
    """A rate that learns beats one that stands still, on as many tokens."""
    settings = settings_of(
        {"quick": {"learning_rate": 0.01}},
        learning_rate=1e-6, max_length=32, batch_size={"global": 8}, epochs=4, precision="fp32",
        regularization={"dropout": 0.0},
    )  # fmt: skip
    given = given_to(
        model_folder,
        tmp_path,
        {"rows": rows, "calibration": calibration, "validation": calibration},
    )
    asked = trials(recipes_of(settings), seed=1, seeds=5, tokens=12_000)
    result = race(asked, lambda t: run_in_process(t, given), work=tmp_path / "race")
    assert result.winner == "quick" and result.standings[0].low > 0.1


@pytest.mark.slow
@pytest.mark.skipif(find_spec("ray") is None, reason="ray is not installed")
def test_through_ray(
    model_folder: Path,
    rows: pl.DataFrame,
    calibration: pl.DataFrame,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import ray

    # A cluster of its own, on this machine.
    monkeypatch.setenv("RAY_ADDRESS", "local")
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    settings = TrainSettings.model_validate({"max_length": 32, "batch_size": {"global": 8}})
    given = given_to(
        model_folder,
        tmp_path,
        {"rows": rows, "calibration": calibration, "validation": calibration},
    )
    trial = Trial(DEFAULT, 1, settings.model_dump(mode="json"), 2000)
    try:
        assert len(run_in_process(trial, given)) == calibration.height
        assert ray.is_initialized()
    finally:
        ray.shutdown()
