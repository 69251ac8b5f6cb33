"""Train tiny models under several layouts, one after the other; run by processes of one group.

Arguments: a JSON object with cases (list of Case fields) and folder, where the first process writes
`NAME.npz` for each: losses, rates, rows of each step, norms and the final weights.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tiny_models import labelled, tiny

from shipworthy.train import mesh
from shipworthy.train.checkpoints import Checkpoints
from shipworthy.train.loop import laid_out
from shipworthy.train.metrics import Metrics
from shipworthy.train.objectives import Classification
from shipworthy.train.packing import choose
from shipworthy.train.regularization import set_dropout
from shipworthy.train.run import Run
from shipworthy.train.settings import ParallelSettings, TrainSettings

# The last rows of an epoch are fewer than a step, and fewer than the shares of four processes.
ROWS, GLOBAL, EPOCHS = 147, 16, 5
STEPS = -(-ROWS // GLOBAL) * EPOCHS


@dataclass(frozen=True)
class Case:
    """One training: which model, under which layout, in which parts."""

    name: str
    family: str = "bert"
    dropout: float = 0.1
    layout: dict[str, Any] = field(default_factory=dict)
    batch: dict[str, Any] = field(default_factory=dict)
    regularization: dict[str, Any] = field(default_factory=dict)
    packing: str = "auto"
    precision: str = "fp32"
    epochs: int = EPOCHS
    stop_after: int | None = None  # steps, after which the run is cut off, its checkpoint kept
    checkpoint: str = ""  # name of a folder of checkpoints that runs share


class CutOffError(Exception):
    """Ends a run in its middle."""


def lengths() -> list[int]:
    return np.random.default_rng(5).integers(2, 30, ROWS).tolist()


def settings_of(case: Case) -> TrainSettings:
    return TrainSettings.model_validate(
        {
            "epochs": case.epochs,
            "learning_rate": 1e-3,
            "batch_size": {"global": GLOBAL, "tokens": 100, **case.batch},
            "packing": case.packing,
            "precision": case.precision,
            "parallel": case.layout,
            "regularization": {
                "dropout": case.dropout,
                "early_stopping": "off",
                **case.regularization,
            },
        }
    )


def train(case: Case, folder: Path, group: mesh.Group) -> None:
    """Train a case and write what came of it."""
    settings = settings_of(case)
    data = labelled(lengths())
    module = tiny(case.family)
    set_dropout(
        module,
        settings.regularization.dropout,
        attention=settings.regularization.attention_dropout,
    )
    caller, _ = choose(module, data, settings.packing)
    execution = laid_out(
        module, caller, group, train=data, precision=settings.precision, copies=settings.copies
    )
    run = Run(
        execution, caller, data, labelled([5, 9, 12, 7, 3], seed=2),
        objective=Classification(0.05, settings.regularization.r_drop),
        settings=settings, seed=3, token_budget=int(settings.batch_size.tokens),
        metrics=Metrics(None),
    )  # fmt: skip
    losses: list[float] = []
    norms: list[float] = []
    orders: list[Any] = []
    gradient, norm, step = run.add_gradient, execution.gradient_norm, run.take_step

    def add_gradient(rows: Any, micros: Any) -> float:
        losses.append(gradient(rows, micros))
        return losses[-1]

    def gradient_norm() -> float:
        norms.append(norm())
        return norms[-1]

    def take_step(rows: Any, micros: Any) -> None:
        if run.position.step == case.stop_after:
            raise CutOffError
        orders.append(rows)
        step(rows, micros)

    run.add_gradient = add_gradient  # type: ignore[method-assign]
    run.take_step = take_step  # type: ignore[method-assign]
    execution.gradient_norm = gradient_norm  # type: ignore[method-assign]
    kept = Checkpoints(
        folder / (case.checkpoint or f"work-{case.name}"), "same",
        interval_seconds=0.0 if case.checkpoint else 1e9,
        rank=group.rank, processes=group.processes,
    )  # fmt: skip
    kept._took = 0.0
    try:
        run.train(kept)
    except CutOffError:
        return
    held = sum(
        sum(t.numel() * t.element_size() for t in kinds)
        for kinds in (
            [getattr(p, "_local_tensor", p) for p in run.parameters.values()],
            [t for t in run.optimizer.state().values() if t.ndim],
        )
    )
    weights = execution.full_weights()
    if weights is not None:
        assert run.best is not None
        np.savez(
            folder / f"{case.name}.npz",
            losses=np.array(losses), norms=np.array(norms), rates=run.rates[: len(losses)],
            orders=np.concatenate(orders), held=held,
            calibration=np.array([run.best.loss, run.best.accuracy]),
            **{f"weight/{n}": w.cpu().numpy() for n, w in weights.items()},
        )  # fmt: skip


def main() -> None:
    given = json.loads(sys.argv[1])
    torch.set_num_threads(1)
    os.environ["SHIPWORTHY_PROGRESS"] = "off"
    if mesh.inside():
        mesh.join()
    for fields in given["cases"]:
        case = Case(**fields)
        with mesh.group(ParallelSettings(**case.layout)) as group:
            train(case, Path(given["folder"]), group)
    if mesh.inside():
        mesh.leave()


def run_cases(cases: list[Case], folder: Path, processes: int) -> None:
    """Run cases in a group of processes of its own."""
    import subprocess

    import pytest

    if processes > 1 and 0 < (gpus := torch.cuda.device_count()) < processes:
        pytest.skip(f"{processes} GPUs are needed, {gpus} are here")
    given = json.dumps({"cases": [asdict(c) for c in cases], "folder": str(folder)})
    command = [sys.executable, __file__, given]
    if processes > 1:
        command = [
            sys.executable, "-m", "torch.distributed.run", "--standalone",
            f"--nproc-per-node={processes}", __file__, given,
        ]  # fmt: skip
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr[-6000:]


if __name__ == "__main__":
    main()
