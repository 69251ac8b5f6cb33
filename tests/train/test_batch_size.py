"""How much is computed at once is found in memory, and changes no step of the training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from shipworthy.core.errors import SettingsError
from shipworthy.plan.memory import Memory
from shipworthy.train import TrainSettings, fit
from shipworthy.train.batch_size import find_tokens, is_out_of_memory

LENGTHS = np.random.default_rng(0).integers(5, 60, 200)
STEPS = [np.arange(k, k + 50) for k in range(0, 200, 50)]


@pytest.fixture(autouse=True)
def place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHIPWORTHY_PROGRESS", "off")


def memory(per_token: float) -> Memory:
    return Memory(1e6, 0.0, 0.0, 0.0, per_token, 0.0)


def found(holds: int, *, predicted: int) -> tuple[Any, list[int]]:
    """Look on a machine that holds so many tokens, with a prediction that may be wrong."""
    tried: list[int] = []

    def execute(rows: Any, tokens: int) -> None:
        tried.append(tokens)
        if tokens > holds:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried")

    return find_tokens(
        execute, lengths=LENGTHS, steps=STEPS, memory=memory(1e6), available=1e6 + predicted * 1e6
    ), tried


def test_the_prediction_is_confirmed_by_a_step() -> None:
    result, tried = found(10_000, predicted=700)
    assert result.tokens == 700 and tried[0] == 700
    assert result.reason.key == "batch_size.fits"
    assert result.curve["tokens"].to_list() == [256, 512, 700]
    assert (result.curve["low"] <= result.curve["tokens_per_second"]).all()


def test_a_step_that_does_not_fit_is_halved_and_said() -> None:
    result, tried = found(300, predicted=1000)
    assert tried[:3] == [1000, 500, 250] and result.tokens == 250
    assert result.reason.key == "batch_size.smaller"


def test_never_more_than_a_step_holds() -> None:
    result, _ = found(10**9, predicted=10**6)
    assert result.tokens == max(int(LENGTHS[rows].sum()) for rows in STEPS)
    assert result.reason.key == "batch_size.step"


def test_where_nothing_fits_the_row_is_named() -> None:
    longest = int(LENGTHS.argmax())
    with pytest.raises(
        SettingsError, match=rf"training row {longest + 1} has 59 tokens.*tokens: 256"
    ):
        found(10, predicted=1000)


def test_other_errors_are_not_taken_for_it() -> None:
    assert is_out_of_memory(MemoryError()) and is_out_of_memory(torch.OutOfMemoryError("x"))
    assert not is_out_of_memory(RuntimeError("shapes do not match"))
    with pytest.raises(RuntimeError, match="shapes"):
        find_tokens(
            lambda rows, tokens: (_ for _ in ()).throw(RuntimeError("shapes do not match")),
            lengths=LENGTHS, steps=STEPS, memory=memory(1e6), available=1e9,
        )  # fmt: skip


def test_the_batch_stays_whatever_is_found(
    model_folder: Path, rows: pl.DataFrame, calibration: pl.DataFrame, tmp_path: Path
) -> None:
    """Rows of a step, rates and losses are those of the settings, the uneven last step's too."""
    curves = {}
    for name, tokens in (("auto", "auto"), ("few", 40), ("many", 10**6)):
        folder = tmp_path / name
        folder.mkdir()
        fitted = fit(
            model_folder, rows[:230], calibration, text="text", label="label",
            classes=("bad", "good"),
            settings=TrainSettings.model_validate(
                {
                    "batch_size": {"global": 32, "tokens": tokens, "noise_scale": 5},
                    "max_length": 32, "precision": "fp32", "epochs": 2,
                }
            ),
            seed=3, out=folder / "out", work=folder / "work",
        )  # fmt: skip
        curves[name] = fitted.history
        assert fitted.steps == 16
        assert fitted.noise is not None and fitted.noise["steps"] == 5
        assert (fitted.throughput is not None) == (name == "auto")
    for name in ("few", "many"):
        assert curves[name]["learning_rate"].equals(curves["auto"]["learning_rate"])
        for column in ("loss", "calibration_loss"):
            np.testing.assert_allclose(
                curves[name][column].fill_null(0), curves["auto"][column].fill_null(0), atol=1e-5
            )
