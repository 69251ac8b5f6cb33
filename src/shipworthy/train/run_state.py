"""Where a run stands, as tensors and JSON values: what a checkpoint holds and gives back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import torch

from shipworthy.train.checkpoints import Box
from shipworthy.train.evaluation import Evaluation
from shipworthy.train.noise_scale import NoiseScale
from shipworthy.train.optimizer import local

if TYPE_CHECKING:
    from torch import Tensor

    from shipworthy.train.checkpoints import Reader
    from shipworthy.train.run import Run


@dataclass
class Position:
    """Where a run stands between two steps; JSON values only."""

    step: int = 0
    tokens: int = 0
    seconds: float = 0.0
    evaluations_without_gain: int = 0
    stopped: bool = False


def collect(run: Run) -> tuple[dict[str, tuple[Tensor, Box]], dict[str, Any]]:
    """Return what this process writes of a run: tensors with their places, and the rest."""
    average = {} if run.average is None else run.average.values
    held: dict[str, Tensor] = {f"model/{n}": p for n, p in run.parameters.items()}
    held |= {f"optimizer/{n}": value for n, value in run.optimizer.state().items()}
    held |= {f"best/{n}": value for n, value in (run.best_weights or {}).items()}
    held |= {f"average/{n}": value for n, value in average.items()}
    tensors = {
        name: (local(value), run.execution.box(_parameter(name), local(value)))
        for name, value in held.items()
        if run.execution.writes(_parameter(name))
    }
    values = {
        "position": asdict(run.position),
        "best": None if run.best is None else asdict(run.best),
        "history": run.history.state(),
        "noise": asdict(run.noise),
        "averaged": 0 if run.average is None else run.average.steps,
    }
    return tensors, values


def restore(run: Run, reader: Reader) -> None:
    """Put a run where the checkpoint says, whatever layout wrote it."""
    parts = {name: local(p.detach()) for name, p in run.parameters.items()}

    def read(prefix: str, name: str, like: Tensor) -> Tensor:
        full = f"{prefix}/{name}"
        if like.ndim == 0:
            return reader.get(full, (), Box((), ()))
        return reader.get(full, tuple(like.shape), run.execution.box(name, like))

    put(parts, {name: read("model", name, like) for name, like in parts.items()})
    states = {}
    for full in reader.names("optimizer"):
        kind, _, name = full.partition("/")
        if name in parts:
            like = torch.zeros(()) if kind == "step" else parts[name]
            states[full] = read(f"optimizer/{kind}", name, like)
    run.optimizer.restore(states)
    if reader.names("best"):
        run.best_weights = {name: read("best", name, like) for name, like in parts.items()}
    state = reader.position
    if run.average is not None:
        put(run.average.values, {name: read("average", name, p) for name, p in parts.items()})
        run.average.steps = state["averaged"]
    run.position = Position(**state["position"])
    run.best = None if state["best"] is None else Evaluation(**state["best"])
    run.noise = NoiseScale(**state["noise"])
    run.history.restore(state["history"])


@torch.no_grad()
def put(target: Mapping[str, Tensor], values: Mapping[str, Tensor]) -> None:
    """Copy values into tensors of the same names, local parts into local parts."""
    for name, value in values.items():
        local(target[name].detach()).copy_(local(value))


def _parameter(name: str) -> str:
    """Return the parameter that a tensor of a checkpoint belongs to."""
    kind, _, rest = name.partition("/")
    return rest.partition("/")[2] if kind == "optimizer" else rest
