"""The same order and settings in transformers' own Trainer give the same losses."""

from __future__ import annotations

import json
import subprocess
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from tiny_models import labelled, tiny

from shipworthy.train.execution import OneProcess
from shipworthy.train.metrics import Metrics
from shipworthy.train.objectives import Classification
from shipworthy.train.packing import choose
from shipworthy.train.precision import autocast
from shipworthy.train.regularization import set_dropout
from shipworthy.train.run import Run
from shipworthy.train.settings import TrainSettings

PEER = Path(__file__).parents[2] / ".peers" / "hf" / "bin" / "python"
SCRIPT = Path(__file__).with_name("trainer_peer.py")
ROWS, GLOBAL, EPOCHS, RATE = 128, 16, 4, 1e-3


@pytest.mark.skipif(not PEER.exists(), reason="no environment of transformers' Trainer; make peers")
@pytest.mark.parametrize("family", ["bert", "llama"])
def test_loss_curve_is_that_of_the_trainer(family: str, tmp_path: Path) -> None:
    lengths = np.random.default_rng(5).integers(2, 30, ROWS).tolist()
    data = labelled(lengths)
    settings = TrainSettings.model_validate(
        {
            "epochs": EPOCHS, "learning_rate": RATE, "precision": "fp32",
            "batch_size": {"global": GLOBAL},
            "schedule": {"name": "constant", "warmup_ratio": 0},
            "regularization": {
                "dropout": 0.0, "label_smoothing": 0.0, "early_stopping": "off",
                "weight_decay": 0.01,
            },
        }
    )  # fmt: skip
    module = tiny(family)
    set_dropout(module, 0.0)
    caller, _ = choose(module, data, "auto")
    run = Run(
        OneProcess(module, caller, autocast=partial(autocast, "fp32")), caller, data, data,
        objective=Classification(), settings=settings, seed=3, token_budget=4096,
        metrics=Metrics(None),
    )  # fmt: skip
    losses: list[float] = []
    gradient = run.add_gradient
    run.add_gradient = lambda rows, micros: losses.append(gradient(rows, micros)) or losses[-1]  # type: ignore[func-returns-value, method-assign]
    from shipworthy.train.checkpoints import Checkpoints

    run.train(Checkpoints(tmp_path / "work", "x", interval_seconds=1e9))

    order = [int(r) for epoch in range(EPOCHS) for step in run.order(epoch) for r in step]
    tiny(family, attention_dropout=0.0).save_pretrained(tmp_path / "model")
    given = {
        "model": str(tmp_path / "model"), "out": str(tmp_path / "trainer"), "rate": RATE,
        "rows_a_step": GLOBAL,
        "rows": [
            {"input_ids": data.encoded.take([r]).token_ids.tolist(), "label": int(data.labels[r])}
            for r in order
        ],
    }  # fmt: skip
    done = subprocess.run(
        [str(PEER), str(SCRIPT)],
        input=json.dumps(given),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    theirs = json.loads(done.stdout.splitlines()[-1])
    assert len(theirs) == len(losses) == ROWS // GLOBAL * EPOCHS
    np.testing.assert_allclose(losses, theirs, rtol=0, atol=1e-4)
