"""How many ways the work is divided: from the settings to a mesh of processes, and what can't be.

A mesh has four axes: `pipeline` (groups of layers), `data` (copies that share the rows), `shard`
(processes that hold a copy in parts and share its rows) and `tensor` (processes that each layer is
cut over). The same code runs over gloo on processors and over NCCL on GPUs.
"""

from __future__ import annotations

import math
import os
import sys
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from shipworthy.core.device import compute_device
from shipworthy.core.errors import SettingsError
from shipworthy.core.locale import text
from shipworthy.train.settings import ParallelSettings

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from torch.distributed.device_mesh import DeviceMesh

HANDED = "SHIPWORTHY_HANDED"
"""Set in the environment of processes that were started with a job in their hands."""

JOIN_SECONDS = 120.0
"""Time in which the processes of one machine find one another."""

AXES = ("pipeline", "data", "shard", "tensor")
# What model configurations call these numbers.
_LAYERS = ("num_hidden_layers", "n_layers", "n_layer")
_HEADS = ("num_attention_heads", "n_heads", "n_head")
_GROUPED = ("num_key_value_heads",)
_INNER = ("intermediate_size", "hidden_dim", "n_inner")


@dataclass(frozen=True, eq=False)
class Group:
    """The processes of a run as one of them sees it; mesh: None where it is alone."""

    rank: int
    processes: int
    layout: ParallelSettings
    mesh: DeviceMesh | None = None

    def place(self, axis: str) -> int:
        """Return this process's number along an axis."""
        return 0 if self.mesh is None else int(self.mesh.get_local_rank(axis))


def resolve(parallel: ParallelSettings | Literal["auto"]) -> ParallelSettings:
    """Return the layout that the settings mean here: `auto` is one copy a GPU, or one process."""
    if parallel != "auto":
        return parallel
    if inside():
        return ParallelSettings(data=int(os.environ["WORLD_SIZE"]))
    import torch

    return ParallelSettings(data=max(1, torch.cuda.device_count()))


def inside() -> bool:
    """Return whether this process was started as one of a group, by torchrun."""
    return "RANK" in os.environ and "WORLD_SIZE" in os.environ


def handed() -> bool:
    """Return whether what to train on was handed to this process, as to every other of its group.

    Where the user's own torchrun started us, the first process alone knows it, and tells others.
    """
    return HANDED in os.environ


def join() -> None:
    """Join the group that torchrun started this process in, where that is not done."""
    import torch
    from torch import distributed

    if distributed.is_initialized():
        return
    cuda = compute_device() == "cuda"
    if cuda:
        check_devices(int(os.environ.get("LOCAL_WORLD_SIZE", "1")))
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    distributed.init_process_group("nccl" if cuda else "gloo")


def check_devices(processes: int) -> None:
    """Raise SettingsError where this machine has GPUs, but not one for each of its processes."""
    import torch

    if compute_device() == "cuda" and processes > (here := torch.cuda.device_count()):
        raise SettingsError(
            text("error.mesh.devices", wanted=processes, here=here),
            key="train.parallel",
            fix=text("error.mesh.devices.fix", here=here),
        )


def leave() -> None:
    """Leave the group, where this process is in one."""
    from torch import distributed

    if distributed.is_initialized():
        distributed.destroy_process_group()


@contextmanager
def group(layout: ParallelSettings) -> Iterator[Group]:
    """Join the group of this layout inside the block.

    Raises SettingsError where the group has another number of processes.
    """
    started = int(os.environ["WORLD_SIZE"]) if inside() else 1
    if started != layout.processes:
        raise SettingsError(
            text("error.mesh.processes", started=started, wanted=layout.processes),
            key="train.parallel",
            fix=text("error.mesh.processes.fix", wanted=layout.processes),
        )
    if started == 1:
        yield Group(0, 1, layout)
        return
    from torch import distributed
    from torch.distributed.device_mesh import init_device_mesh

    ours = not distributed.is_initialized()
    shape = tuple(getattr(layout, axis) for axis in AXES)
    try:
        with _in_time():
            join()
            mesh = init_device_mesh(compute_device(), shape, mesh_dim_names=AXES)
        yield Group(distributed.get_rank(), started, layout, mesh)
    finally:
        if ours:
            leave()


@contextmanager
def _in_time() -> Iterator[None]:
    """End this process where the block takes longer than `JOIN_SECONDS`, so that it is restarted.

    Processes on one machine that are started anew while others end may each wait for the other to
    connect, which torch would let them do for half an hour. Elsewhere a group may well take longer.
    """
    if not handed():
        yield
        return

    def give_up() -> None:
        print(text("error.mesh.join", seconds=f"{JOIN_SECONDS:g}"), file=sys.stderr, flush=True)
        os._exit(1)

    timer = threading.Timer(JOIN_SECONDS, give_up)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def check_layout(layout: ParallelSettings, config: Mapping[str, Any], global_rows: int) -> None:
    """Raise SettingsError, with the nearest layout that works, where a model can't be laid out so.

    config: of the model, as transformers writes it. global_rows: rows of a step.
    """
    reason = _why_not(layout, config, global_rows)
    if reason is None:
        return
    near = _nearest(layout, config, global_rows)
    shown = ", ".join(f"{axis}: {getattr(near, axis)}" for axis in reversed(AXES))
    raise SettingsError(
        reason, key="train.parallel", fix=text("error.mesh.nearest", layout=f"{{{shown}}}")
    )


def number_of(config: Mapping[str, Any], names: tuple[str, ...]) -> int | None:
    """Return the first of these entries of a configuration that is a number."""
    for name in names:
        value = config.get(name)
        if isinstance(value, int) and not isinstance(value, bool):
            return value
    return None


def layers_of(config: Mapping[str, Any]) -> int | None:
    """Return the number of layers that a configuration names."""
    return number_of(config, _LAYERS)


def _why_not(layout: ParallelSettings, config: Mapping[str, Any], global_rows: int) -> str | None:
    shares = layout.data * layout.shard
    if global_rows % shares:
        return text("error.mesh.rows", rows=global_rows, shares=shares)
    layers = layers_of(config)
    if layout.pipeline > 1 and (layers is None or layout.pipeline > layers):
        return text("error.mesh.stages", stages=layout.pipeline, layers=layers or 0)
    if layout.pipeline > 1 and (layout.tensor > 1 or layout.shard > 1):
        return text("error.mesh.hybrid")
    for names, key in ((_HEADS, "heads"), (_GROUPED, "grouped"), (_INNER, "inner")):
        number = number_of(config, names)
        if number is not None and number % layout.tensor:
            return text(f"error.mesh.{key}", number=number, tensor=layout.tensor)
    return None


def _nearest(
    layout: ParallelSettings, config: Mapping[str, Any], global_rows: int
) -> ParallelSettings:
    """Return the layout that works with the least moved between axes and the fewest left idle."""
    wanted = tuple(getattr(layout, axis) for axis in AXES)
    most = layout.processes

    def cost(sizes: tuple[int, ...]) -> tuple[int, tuple[int, ...]]:
        moved = sum(abs(a - b) for a, b in zip(sizes, wanted, strict=True))
        return moved + most - math.prod(sizes), sizes

    within = (
        (p, d, s, t)
        for p in range(1, most + 1)
        for d in range(1, most // p + 1)
        for s in range(1, most // (p * d) + 1)
        for t in range(1, most // (p * d * s) + 1)
    )
    for sizes in sorted(within, key=cost):
        if _why_not(_layout(layout, sizes), config, global_rows) is None:
            return _layout(layout, sizes)
    return ParallelSettings()  # one process always works


def _layout(like: ParallelSettings, sizes: tuple[int, ...]) -> ParallelSettings:
    return like.model_copy(update=dict(zip(AXES, sizes, strict=True)))
