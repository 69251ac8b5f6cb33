"""Training learns, stops where the calibration rows say so, and writes a folder that predicts."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from transformers import BertForSequenceClassification, PreTrainedTokenizerFast

from shipworthy.core.device import compute_device
from shipworthy.core.errors import DataError, SettingsError
from shipworthy.data.batches import encode
from shipworthy.model.checkpoint import read_info
from shipworthy.model.pretrained import load_module
from shipworthy.train import Fitted, TrainSettings, fit
from shipworthy.train.attention import trained_attention
from shipworthy.train.checkpoints import Box, Checkpoints
from shipworthy.train.evaluation import Evaluation, evaluate
from shipworthy.train.execution import OneProcess
from shipworthy.train.history import MOST_POINTS, History
from shipworthy.train.metrics import Metrics
from shipworthy.train.microbatches import LabelledRows
from shipworthy.train.objectives import Classification
from shipworthy.train.packing import choose
from shipworthy.train.precision import autocast, resolve
from shipworthy.train.regularization import set_dropout
from shipworthy.train.run import Run

BASE: dict[str, Any] = {
    "epochs": 5,
    "learning_rate": 0.01,
    "batch_size": {"global": 16},
    "max_length": 32,
    "precision": "fp32",
}


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHIPWORTHY_PROGRESS", "off")


def out(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    return folder / "out"


def trained(
    folder: Path,
    rows: pl.DataFrame,
    calibration: pl.DataFrame,
    tmp_path: Path,
    *,
    settings: dict[str, Any] | None = None,
    **changes: Any,
) -> Fitted:
    return fit(
        folder,
        rows,
        calibration,
        text="text",
        label="label",
        classes=("bad", "good"),
        settings=TrainSettings.model_validate({**BASE, **changes, **(settings or {})}),
        seed=4,
        out=out(tmp_path),
        work=tmp_path / "work",
        unit="unit",
    )


def labelled(frame: pl.DataFrame, tokenizer: PreTrainedTokenizerFast) -> LabelledRows:
    encoded = encode(tokenizer, frame["text"].to_list(), max_length=32)
    return LabelledRows(encoded, (frame["label"] == "good").to_numpy().astype(np.int64), 0)


def run_of(module: torch.nn.Module, data: LabelledRows, **settings: Any) -> Run:
    chosen = TrainSettings.model_validate({**BASE, **settings})
    set_dropout(module, chosen.regularization.dropout)
    caller, _ = choose(module, data, chosen.packing)
    return Run(
        OneProcess(module, caller, autocast=partial(autocast, "fp32")),
        caller,
        data,
        data,
        objective=Classification(0.05),
        settings=chosen,
        seed=0,
        token_budget=4096,
        metrics=Metrics(None),
    )


def evaluated(module: torch.nn.Module, data: LabelledRows) -> Evaluation:
    caller, _ = choose(module, data, "auto")
    execution = OneProcess(module, caller, autocast=partial(autocast, "fp32"))
    with trained_attention(module):
        return evaluate(
            execution, caller, data, objective=Classification(), step=0, token_budget=4096
        )


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_it_learns_what_can_be_learned(
    precision: str,
    model_folder: Path,
    rows: pl.DataFrame,
    calibration: pl.DataFrame,
    tokenizer: PreTrainedTokenizerFast,
    tmp_path: Path,
) -> None:
    small_steps = {"batch_size": {"global": 8}, "epochs": 4, "precision": precision}
    fitted = trained(model_folder, rows, calibration, tmp_path, settings=small_steps)
    losses = fitted.history["loss"]
    assert losses[0] == pytest.approx(np.log(2), abs=0.3)
    assert losses[-1] < 0.6 * losses[0]
    assert fitted.best is not None and fitted.best.accuracy > 0.9
    assert (fitted.rows, fitted.precision) == (240, precision)
    assert fitted.steps == 120 or fitted.stopped_early
    assert read_info(tmp_path / "out").classes == ("bad", "good")
    module = load_module(tmp_path / "out")
    assert {p.dtype for p in module.parameters()} == {torch.float32}
    found = evaluated(module, labelled(calibration, tokenizer))
    # The weights that were kept are those of the best evaluation, not the last ones.
    assert found.loss == pytest.approx(fitted.best.loss, abs=1e-6 if precision == "fp32" else 0.02)


def test_the_curve_has_every_evaluation(
    model_folder: Path, rows: pl.DataFrame, calibration: pl.DataFrame, tmp_path: Path
) -> None:
    fitted = trained(
        model_folder, rows, calibration, tmp_path, epochs=2, evaluations_per_epoch=3,
        learning_rate=0.001, regularization={"early_stopping": "off"},
    )  # fmt: skip
    curve = fitted.history
    assert curve.columns == [
        "step", "epoch", "loss", "learning_rate", "calibration_loss", "calibration_accuracy",
    ]  # fmt: skip
    evaluated = curve.filter(pl.col("calibration_loss").is_not_null())
    assert evaluated["step"].to_list() == [5, 10, 15, 20, 25, 30]
    assert evaluated["epoch"][-1] == 2.0
    assert curve["learning_rate"].max() <= 0.001
    assert fitted.tokens == 2 * sum(len(t.split()) + 2 for t in rows["text"])
    assert fitted.best is not None and fitted.best.step == fitted.steps == 30


def test_it_stops_when_the_calibration_loss_rises(
    model_folder: Path,
    rows: pl.DataFrame,
    calibration: pl.DataFrame,
    tokenizer: PreTrainedTokenizerFast,
    tmp_path: Path,
) -> None:
    """Calibration rows with their labels swapped get worse with all that is learned."""
    swapped = calibration.with_columns(
        label=pl.when(pl.col("label") == "good").then(pl.lit("bad")).otherwise(pl.lit("good"))
    )
    fitted = trained(
        model_folder, rows, swapped, tmp_path, regularization={"early_stopping": 3},
        evaluations_per_epoch=1, epochs=20,
    )  # fmt: skip
    assert fitted.stopped_early
    taken = fitted.history["calibration_loss"].drop_nulls().to_list()
    best = int(np.argmin(taken))
    assert len(taken) == best + 1 + 3
    assert fitted.steps == 15 * len(taken)
    assert fitted.best is not None
    assert (fitted.best.step, fitted.best.loss) == (15 * (best + 1), taken[best])
    found = evaluated(load_module(tmp_path / "out"), labelled(swapped, tokenizer))
    assert found.loss == pytest.approx(taken[best], abs=1e-6)


def test_a_part_of_the_rows(
    model_folder: Path, rows: pl.DataFrame, calibration: pl.DataFrame, tmp_path: Path
) -> None:
    part = {"rows": 100, "epochs": 1}
    fitted = trained(model_folder, rows, calibration, tmp_path, settings=part)
    assert fitted.rows == 99
    assert fitted.steps == 7


def test_nothing_to_stop_by(model_folder: Path, rows: pl.DataFrame, tmp_path: Path) -> None:
    none = rows.clear()
    with pytest.raises(SettingsError, match="early_stopping: there are no calibration rows"):
        trained(model_folder, rows, none, tmp_path)
    assert not (tmp_path / "out").exists()
    regularization = {"early_stopping": "off"}
    fitted = trained(model_folder, rows, none, tmp_path, epochs=1, regularization=regularization)
    assert fitted.best is None and fitted.steps == 15


def test_rows_that_cannot_be_trained_on(
    model_folder: Path, rows: pl.DataFrame, calibration: pl.DataFrame, tmp_path: Path
) -> None:
    one_class = rows.filter(pl.col("label") == "good")
    with pytest.raises(DataError, match="none of the .* training rows has the label 'bad'"):
        trained(model_folder, one_class, calibration, tmp_path)
    other = calibration.with_columns(label=pl.lit("ugly"))
    with pytest.raises(DataError, match=r"calibration rows.*'ugly' is not one of the classes"):
        trained(model_folder, rows, other, tmp_path)
    assert not (tmp_path / "out").exists()


def test_a_loss_that_is_no_number_ends_the_run(
    module: BertForSequenceClassification,
    rows: pl.DataFrame,
    tokenizer: PreTrainedTokenizerFast,
    tmp_path: Path,
) -> None:
    """The rows are named, and the weights from before the step are kept."""
    data = labelled(rows, tokenizer)
    run = run_of(module, data, batch_size={"global": 16, "per_device": 4})
    good, bad = run.order(0)[0], run.order(0)[1][:1]
    word = int(data.encoded.token_ids[data.encoded.offsets[bad[0]] + 1])
    objective = run.objective

    class Broken:
        def weight(self, of: LabelledRows, numbers: Any) -> float:
            return objective.weight(of, numbers)

        def loss_sum(self, logits: torch.Tensor, micro: Any) -> torch.Tensor:
            loss = objective.loss_sum(logits, micro)
            return loss * torch.nan if bad[0] in micro.rows else loss

    assert bad[0] not in good and word
    run.objective = Broken()
    kept = Checkpoints(tmp_path / "work", "x", interval_seconds=60)
    with pytest.raises(SettingsError, match=r"the loss is nan after 1 steps.*0\.01") as caught:
        run.train(kept)
    named = str(caught.value).split("training rows ")[1].split(";")[0].split("; ")[0]
    assert str(bad[0] + 1) in named and len(named.split(", ")) <= 4
    reader = kept.load()
    assert reader is not None and reader.position["position"]["step"] == 1
    with reader:
        name = "classifier.weight"
        value = module.get_parameter(name)
        found = reader.get(f"model/{name}", tuple(value.shape), Box.whole(value))
    assert torch.equal(found, value.cpu()) and torch.isfinite(found).all()


def test_the_penalty_makes_weights_zero(
    model_folder: Path, rows: pl.DataFrame, calibration: pl.DataFrame, tmp_path: Path
) -> None:
    fitted = trained(
        model_folder, rows, calibration, tmp_path, epochs=1, regularization={"l1": 0.5}
    )
    kernel = load_module(tmp_path / "out").get_submodule("bert.encoder.layer.0.intermediate.dense")
    assert (kernel.weight == 0).float().mean() > 0.1
    assert (kernel.bias != 0).all()
    assert fitted.zero_share is not None and 0.1 < fitted.zero_share < 0.9


@pytest.mark.parametrize(
    "regularization",
    [
        {"r_drop": 1.0},
        {"averaging": 0.9},
        {"layer_decay": 0.8, "l2": 0.001},
        {"attention_dropout": 0.1},
    ],
)
def test_each_kind_of_regularization_still_learns(
    regularization: dict[str, float],
    model_folder: Path,
    rows: pl.DataFrame,
    calibration: pl.DataFrame,
    tmp_path: Path,
) -> None:
    fitted = trained(
        model_folder, rows, calibration, tmp_path, regularization=regularization,
        batch_size={"global": 8}, epochs=3,
    )  # fmt: skip
    assert fitted.best is not None and fitted.best.accuracy > 0.8


def test_every_step_is_written_down(
    model_folder: Path, rows: pl.DataFrame, calibration: pl.DataFrame, tmp_path: Path
) -> None:
    fitted = trained(model_folder, rows, calibration, tmp_path, epochs=2)
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == list(range(1, fitted.steps + 1))
    assert sum(line["tokens"] for line in lines) == fitted.tokens
    assert {"loss", "learning_rate", "gradient_norm", "tokens_per_second", "memory_mb"} <= {
        *lines[0]
    }
    assert fitted.batches == "packed"
    # On a GPU what torch holds there, elsewhere all of the process.
    assert fitted.peak_memory_mb > (100 if compute_device() == "cpu" else 10)


def test_texts_side_by_side_train_alike(
    model_folder: Path, rows: pl.DataFrame, calibration: pl.DataFrame, tmp_path: Path
) -> None:
    packed = trained(model_folder, rows, calibration, tmp_path / "a", epochs=1)
    padded = trained(
        model_folder, rows, calibration, tmp_path / "b", epochs=1, packing="buckets",
        batch_size={"global": 16, "tokens": 64},
    )  # fmt: skip
    assert (packed.batches, padded.batches) == ("packed", "buckets")
    np.testing.assert_allclose(packed.history["loss"], padded.history["loss"], atol=1e-5)


def test_the_callers_random_numbers_are_left_alone(
    model_folder: Path, rows: pl.DataFrame, calibration: pl.DataFrame, tmp_path: Path
) -> None:
    torch.manual_seed(11)
    expected = torch.rand(3)
    torch.manual_seed(11)
    trained(model_folder, rows, calibration, tmp_path, epochs=1)
    assert torch.equal(torch.rand(3), expected)


def test_precision_follows_the_processor() -> None:
    assert resolve("auto", ("x86_64", "avx2", "avx512f")) == "fp32"
    for flag in ("amx_bf16", "avx512_bf16", "bf16"):
        assert resolve("auto", ("machine", flag)) == "bf16"
    assert resolve("fp32", ("amx_bf16",)) == "fp32"


def test_the_curve_stays_short_and_keeps_means() -> None:
    history = History(10_000, 500)
    for step in range(1, 10_001):
        history.add(step, float(step), 2, 0.1)
        if step % 777 == 0:
            history.evaluated(Evaluation(step, 0.5, 0.9, 10))
    curve = history.frame()
    assert curve.height <= MOST_POINTS + 1 + 12
    counts = curve["step"].diff().fill_null(curve["step"][0])
    assert (curve["loss"] * counts).sum() == pytest.approx(10_000 * 10_001 / 2)
    assert curve["calibration_loss"].count() == 12
