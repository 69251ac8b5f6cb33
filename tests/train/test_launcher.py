"""Groups of processes that are started, killed, joined and refused."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from safetensors.numpy import load_file

from shipworthy.core.errors import InputError, StageError
from shipworthy.train import Fitted, TrainSettings, fit, launcher

SETTINGS: dict[str, Any] = {
    "epochs": 2,
    "learning_rate": 0.003,
    "batch_size": {"global": 16},
    "max_length": 32,
    "precision": "fp32",
    "regularization": {"early_stopping": "off"},
}


pytestmark = pytest.mark.skipif(
    0 < torch.cuda.device_count() < 2, reason="2 GPUs are needed, or none"
)


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHIPWORTHY_PROGRESS", "off")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


@pytest.fixture
def trained(
    model_folder: Path, rows: pl.DataFrame, calibration: pl.DataFrame, tmp_path: Path
) -> Any:
    def call(name: str, **settings: Any) -> tuple[Fitted, dict[str, Any]]:
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        chosen = TrainSettings.model_validate({**SETTINGS, **settings})
        fitted = fit(
            model_folder, rows, calibration, text="text", label="label",
            classes=("bad", "good"), settings=chosen, seed=3, out=folder / "out",
            work=folder / "work", unit="unit", checkpoint_seconds=0.0,
        )  # fmt: skip
        return fitted, load_file(folder / "out" / "model.safetensors")

    return call


def alike(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert one.keys() == other.keys()
    for name, value in one.items():
        if not name.endswith("key.bias"):
            np.testing.assert_allclose(other[name], value, rtol=0, atol=1e-5, err_msg=name)


def test_two_processes_are_started_and_train_alike(trained: Any, tmp_path: Path) -> None:
    one, weights = trained("one")
    two, found = trained("two", parallel={"tensor": 2})
    alike(weights, found)
    assert two.layout == {"data": 1, "shard": 1, "tensor": 2, "pipeline": 1}
    np.testing.assert_allclose(two.history["loss"], one.history["loss"], rtol=0, atol=1e-5)
    assert not (tmp_path / "two" / "work").exists()
    steps = (tmp_path / "two" / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(s)["step"] for s in steps] == list(range(1, two.steps + 1))


def test_bad_input_is_one_line_and_restarts_nothing(
    model_folder: Path, calibration: pl.DataFrame, tmp_path: Path
) -> None:
    """Found by the processes, not by the one that starts them."""
    one_class = calibration.filter(pl.col("label") == "good")
    settings = TrainSettings.model_validate({**SETTINGS, "parallel": {"data": 2}})
    with pytest.raises(InputError, match="none of the .* training rows has the label 'bad'"):
        fit(
            model_folder, one_class, calibration, text="text", label="label",
            classes=("bad", "good"), settings=settings, seed=3, out=tmp_path / "out",
            work=tmp_path / "work",
        )  # fmt: skip
    assert not (tmp_path / "out").exists()
    assert not list((tmp_path / "work").glob("job*"))


def workers() -> list[int]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if b"shipworthy.train.worker" in path.read_bytes():
                found.append(int(path.parent.name))
        except OSError:
            continue
    return found


def kill_one(work: Path, after: int, times: int = 1) -> threading.Thread:
    """Kill a worker once the run has taken so many steps, over and over."""

    def watch() -> None:
        for number in range(times):
            metrics = work / "metrics.jsonl"
            while not metrics.exists() or metrics.read_text().count("\n") < after * (number == 0):
                time.sleep(0.02)
            while True:
                ranked = [
                    pid
                    for pid in workers()
                    if b"LOCAL_RANK=1" in Path(f"/proc/{pid}/environ").read_bytes()
                ]
                if ranked:
                    break
                time.sleep(0.02)
            os.kill(ranked[0], signal.SIGKILL)
            time.sleep(1.0)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    return thread


@pytest.mark.slow
def test_a_killed_worker_comes_back_and_the_end_is_the_same(trained: Any, tmp_path: Path) -> None:
    long = {"epochs": 40, "parallel": {"data": 2}}
    _, weights = trained("whole", **long)
    thread = kill_one(tmp_path / "killed" / "work", after=60)
    fitted, found = trained("killed", **long)
    thread.join(1)
    assert not thread.is_alive() and fitted.steps == 600
    for name, value in weights.items():  # the same layout: bit for bit
        assert np.array_equal(found[name], value), name
    steps = (tmp_path / "killed" / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(s)["step"] for s in steps] == list(range(1, 601))


@pytest.mark.slow
def test_a_worker_that_dies_at_start_is_named(
    trained: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "sitecustomize.py").write_text(
        "import os\nif os.environ.get('LOCAL_RANK') == '1': os._exit(7)\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(broken))
    monkeypatch.setattr(launcher, "RESTARTS", 1)
    with pytest.raises(StageError, match=r"process 1 .* ended with code 7, after 1 restarts"):
        trained("dead", parallel={"data": 2})


@pytest.mark.slow
def test_no_worker_outlives_its_starter(
    model_folder: Path, rows: pl.DataFrame, calibration: pl.DataFrame, tmp_path: Path
) -> None:
    rows.write_parquet(tmp_path / "rows.parquet")
    calibration.write_parquet(tmp_path / "calibration.parquet")
    script = f"""
import polars as pl
from pathlib import Path
from shipworthy.train import TrainSettings, fit
root = Path({str(tmp_path)!r})
fit(Path({str(model_folder)!r}), pl.read_parquet(root / "rows.parquet"),
    pl.read_parquet(root / "calibration.parquet"), text="text", label="label",
    classes=("bad", "good"), seed=3, out=root / "out", work=root / "work", settings=
    TrainSettings.model_validate({{**{SETTINGS!r}, "epochs": 1000, "parallel": {{"data": 2}}}}))
"""
    starter = subprocess.Popen([sys.executable, "-c", script])
    while not (tmp_path / "work" / "metrics.jsonl").exists():
        assert starter.poll() is None
        time.sleep(0.1)
    assert len(workers()) >= 2
    starter.kill()
    starter.wait()
    patience = time.monotonic() + 20
    while workers() and time.monotonic() < patience:
        time.sleep(0.2)
    assert not workers()
