"""Train in a process of its own that kills itself; run by test_resume.py.

Arguments: a JSON object with model, rows, calibration, out and work (paths), settings, and `kill`:
the step before which the process dies, or `write`: the checkpoint during whose writing it dies.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import polars as pl

from shipworthy.train import TrainSettings, checkpoints, fit
from shipworthy.train.run import Run


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def main() -> None:
    given = json.loads(sys.argv[1])
    step, replace = Run.take_step, os.replace
    written = 0

    def dying_step(self: Run, rows: Any, micros: Any) -> None:
        if self.position.step == given.get("kill"):
            die()
        step(self, rows, micros)

    def dying_replace(source: Any, target: Any) -> None:
        nonlocal written
        written += Path(target).name.removeprefix("step-").isdigit()
        if written == given.get("write"):
            die()
        replace(source, target)

    Run.take_step = dying_step  # type: ignore[method-assign]
    os.replace = dying_replace
    checkpoints._LEAST_WAIT_PER_WRITE = 0.0
    fit(
        Path(given["model"]),
        pl.read_parquet(given["rows"]),
        pl.read_parquet(given["calibration"]),
        text="text",
        label="label",
        classes=("bad", "good"),
        settings=TrainSettings.model_validate(given["settings"]),
        seed=7,
        out=Path(given["out"]),
        work=Path(given["work"]),
        checkpoint_seconds=0.0,
    )


if __name__ == "__main__":
    main()
