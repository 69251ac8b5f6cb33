"""A run that was killed or interrupted ends with the weights of one that was not, bit for bit."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from shipworthy.train import Fitted, TrainSettings, checkpoints, fit
from shipworthy.train.evaluation import Evaluation
from shipworthy.train.history import History
from shipworthy.train.run import Run

SCRIPT = Path(__file__).with_name("killed_run.py")
SETTINGS = {
    "epochs": 2,
    "learning_rate": 0.003,
    "batch_size": {"global": 24, "per_device": 10},
    "max_length": 32,
    "precision": "fp32",
    "regularization": {"early_stopping": 3, "l1": 0.001},
}
STEPS = 20


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHIPWORTHY_PROGRESS", "off")


@pytest.fixture
def run_fit(
    model_folder: Path, rows: pl.DataFrame, calibration: pl.DataFrame, tmp_path: Path
) -> Callable[..., Fitted]:
    def call(out: str, work: str, **changes: Any) -> Fitted:
        options = {"seed": 7, **changes}
        settings = TrainSettings.model_validate(options.pop("settings", SETTINGS))
        return fit(
            model_folder,
            rows,
            calibration,
            text="text",
            label="label",
            classes=("bad", "good"),
            settings=settings,
            out=tmp_path / out,
            work=tmp_path / work,
            checkpoint_seconds=0.0,
            **options,
        )

    return call


@dataclass
class Watch:
    """Numbers of the steps that were taken, and where the next Ctrl-C comes."""

    taken: list[int] = field(default_factory=list)
    interrupt_before: int | None = None


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Watch:
    monkeypatch.setattr(checkpoints, "_LEAST_WAIT_PER_WRITE", 0.0)
    watch = Watch()
    step = Run.take_step

    def watched(self: Run, rows: Any, micros: Any) -> None:
        if watch.interrupt_before == self.position.step:
            watch.interrupt_before = None
            raise KeyboardInterrupt
        watch.taken.append(self.position.step)
        step(self, rows, micros)

    monkeypatch.setattr(Run, "take_step", watched)
    return watch


def interrupted(run_fit: Callable[..., Fitted], watch: Watch, **names: str) -> None:
    watch.interrupt_before = 5
    with pytest.raises(KeyboardInterrupt):
        run_fit(**names)
    assert watch.taken[-5:] == list(range(5))
    watch.taken.clear()


def weights(folder: Path) -> bytes:
    return (folder / "model.safetensors").read_bytes()


def alike(first: Fitted, second: Fitted) -> bool:
    return first.history.equals(second.history) and (first.steps, first.tokens, first.best) == (
        second.steps,
        second.tokens,
        second.best,
    )


@pytest.mark.slow
@pytest.mark.parametrize("death", [{"kill": 13}, {"write": 9}])
def test_after_a_kill(
    death: dict[str, int],
    run_fit: Callable[..., Fitted],
    watch: Watch,
    model_folder: Path,
    rows: pl.DataFrame,
    calibration: pl.DataFrame,
    tmp_path: Path,
) -> None:
    whole = run_fit("whole", "work-whole")
    assert watch.taken == list(range(STEPS))
    rows.write_parquet(tmp_path / "rows.parquet")
    calibration.write_parquet(tmp_path / "calibration.parquet")
    given = {
        "model": str(model_folder),
        "rows": str(tmp_path / "rows.parquet"),
        "calibration": str(tmp_path / "calibration.parquet"),
        "out": str(tmp_path / "again"),
        "work": str(tmp_path / "work"),
        "settings": SETTINGS,
        **death,
    }
    done = subprocess.run(
        [sys.executable, str(SCRIPT), json.dumps(given)], capture_output=True, check=False
    )
    assert done.returncode == -9, done.stderr.decode()
    assert not (tmp_path / "again").exists()
    left = {file.name for file in (tmp_path / "work").iterdir() if file.is_dir()}
    assert any(name.removeprefix("step-").isdigit() for name in left)
    assert "write" not in death or any(name.endswith(".part") for name in left)
    watch.taken.clear()
    again = run_fit("again", "work")
    first = watch.taken[0]
    # Checkpoints are written behind the steps: the last one may be a step or two behind.
    assert death.get("kill", 8) - 3 <= first <= death.get("kill", 8)
    assert watch.taken == list(range(first, STEPS))
    assert weights(tmp_path / "again") == weights(tmp_path / "whole")
    assert alike(again, whole)
    assert not (tmp_path / "work").exists()


def test_after_control_c(run_fit: Callable[..., Fitted], watch: Watch, tmp_path: Path) -> None:
    whole = run_fit("whole", "work-whole")
    interrupted(run_fit, watch, out="again", work="work")
    again = run_fit("again", "work")
    first = watch.taken[0]
    # Checkpoints are written behind the steps; the one under way when Ctrl-C comes is finished.
    assert 1 <= first <= 5
    assert watch.taken == list(range(first, STEPS))
    assert weights(tmp_path / "again") == weights(tmp_path / "whole")
    assert alike(again, whole)


def test_what_a_checkpoint_holds_does_not_change_with_the_next_steps() -> None:
    history = History(20, 10)
    history.add(1, 0.7, 24, 1e-3)
    state = history.state()
    before = json.dumps(state)
    history.add(2, 0.6, 24, 1e-3)
    history.evaluated(Evaluation(2, 0.5, 0.8, 30))
    assert json.dumps(state) == before
    again = History(20, 10)
    again.restore(json.loads(before))
    assert again.frame().height == 1 and history.frame().height == 2


def test_a_checkpoint_of_another_run_is_not_used(
    run_fit: Callable[..., Fitted], watch: Watch, tmp_path: Path
) -> None:
    interrupted(run_fit, watch, out="first", work="work")
    run_fit("other", "work", seed=8)
    assert watch.taken == list(range(STEPS))
    run_fit("plain", "work-plain", seed=8)
    assert weights(tmp_path / "other") == weights(tmp_path / "plain")


def test_a_damaged_checkpoint_is_not_used(
    run_fit: Callable[..., Fitted], watch: Watch, tmp_path: Path
) -> None:
    interrupted(run_fit, watch, out="again", work="work")
    files = list((tmp_path / "work").glob("step-*/*.safetensors"))
    assert files
    for file in files:
        file.write_bytes(file.read_bytes()[:5000])
    run_fit("again", "work")
    assert watch.taken == list(range(STEPS))


def test_the_seed_decides_every_byte(run_fit: Callable[..., Fitted], tmp_path: Path) -> None:
    short = {**SETTINGS, "epochs": 1}
    first = run_fit("first", "work", settings=short)
    second = run_fit("second", "work", settings=short)
    run_fit("third", "work", settings=short, seed=8)
    for name in sorted(file.name for file in (tmp_path / "first").iterdir()):
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes()
    assert alike(first, second)
    assert weights(tmp_path / "first") != weights(tmp_path / "third")
