"""Copies of a model, copies in parts, and layers in parts: steps over the processes of a mesh."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import distributed, nn

from shipworthy.train.checkpoints import Box
from shipworthy.train.optimizer import local, rate_factors
from shipworthy.train.packing import on_device
from shipworthy.train.tensor_parallel import cut_layers, sums_over_heads

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager

    from torch import Tensor

    from shipworthy.train.execution import Build, Loss, Part, Score, Tokens
    from shipworthy.train.mesh import Group
    from shipworthy.train.microbatches import MicroBatch
    from shipworthy.train.packing import Caller

# Gradients are summed in buckets of about this many bytes: fewer calls, bounded copies.
_BUCKET_BYTES = 25_000_000


class _Called(nn.Module):
    """A model that is called with micro-batches: sharded weights are gathered where this is."""

    def __init__(
        self,
        model: nn.Module,
        caller: Caller,
        autocast: Callable[[], AbstractContextManager[object]],
    ) -> None:
        super().__init__()
        self.model, self._caller, self._autocast = model, caller, autocast

    def forward(self, micro: MicroBatch) -> Tensor:
        with self._autocast():
            return self._caller.logits(self.model, micro)


class MeshExecution:
    """A model over the axes data, shard and tensor of a mesh.

    module: whole, the same on every process; it is cut in place. spare: a small micro-batch that
    is computed, and counts nothing, where others have one more.
    """

    def __init__(
        self,
        module: nn.Module,
        caller: Caller,
        group: Group,
        *,
        autocast: Callable[[], AbstractContextManager[object]],
        spare: MicroBatch,
    ) -> None:
        if group.mesh is None:
            raise ValueError("a mesh has several processes")
        self.module, self._group, self._mesh = module, group, group.mesh
        layout = group.layout
        self.share = (
            group.place("data") * layout.shard + group.place("shard"),
            layout.data * layout.shard,
        )
        self.primary = group.rank == 0
        self._device = torch.device(self._mesh.device_type)
        module.to(self._device)
        self._factors = [n for n, p in module.named_parameters() if p.requires_grad]
        if layout.tensor > 1:
            cut_layers(module, self._mesh["tensor"])
        self._called = _Called(module, caller, autocast)
        if layout.shard > 1:
            self._shard()
        self._spare = on_device(spare, self._device)
        self._parameters = {n: p for n, p in module.named_parameters() if p.requires_grad}
        self._counts = group.place("tensor") == 0
        self.decides = self._counts and self.share[0] == 0
        self._copies = group.processes

    def parameters(self) -> dict[str, nn.Parameter]:
        """What is trained here, by name; parts where several processes hold one."""
        return self._parameters

    def prepare(self, parts: Sequence[Part], build: Build, tokens: Tokens) -> list[MicroBatch]:
        """Build each part as it is."""
        return [build(part, None) for part in parts]

    def accumulate(self, micros: Sequence[MicroBatch], loss: Loss) -> list[float]:
        """Add the gradient of each micro-batch's loss; return the losses."""
        found = []
        for number in range(self._rounds(len(micros))):
            real = number < len(micros)
            micro = on_device(micros[number], self._device) if real else self._spare
            value = loss(self._called(micro), micro)
            torch.autograd.backward(value if real else value * 0.0)
            if real:
                found.append(float(value.detach()))
        return found

    def reduce_gradients(self) -> None:
        """Add up over the copies; over the parts of a copy that was done in the backward pass."""
        layout = self._group.layout
        if layout.tensor > 1:
            partial = [n for n in self._parameters if sums_over_heads(n)]
            self._add_up(partial, "tensor")
        if layout.data > 1:
            self._add_up(list(self._parameters), "data")

    def total(self, values: list[float]) -> list[float]:
        """Return the sums of what the processes counted, one for each share."""
        mine = values if self._counts else [0.0] * len(values)
        summed = torch.tensor(mine, dtype=torch.float64, device=self._device)
        distributed.all_reduce(summed)
        return [float(v) for v in summed.tolist()]

    def least(self, value: float) -> float:
        """Return the least of what the processes have."""
        found = torch.tensor(value, dtype=torch.float64, device=self._device)
        distributed.all_reduce(found, op=distributed.ReduceOp.MIN)
        return float(found)

    def gradient_norm(self) -> float:
        """Return the 2-norm of the whole gradient."""
        square = torch.zeros((), dtype=torch.float64, device=self._device)
        held = [p for p in self._parameters.values() if p.grad is not None]
        if held:
            norms = torch._foreach_norm([local(p.grad) for p in held if p.grad is not None])
            # What several processes hold alike counts once.
            shares = [self._holders(p) / self._copies for p in held]
            weights = torch.tensor(shares, dtype=torch.float64, device=self._device)
            square += (torch.stack(norms).double().square() * weights).sum()
        distributed.all_reduce(square)
        return float(square.sqrt())

    def scores(self, micros: Sequence[MicroBatch], score: Score) -> list[tuple[float, float]]:
        """Return what `score` says of the logits of each micro-batch."""
        found = []
        with torch.no_grad():
            for number in range(self._rounds(len(micros))):
                real = number < len(micros)
                micro = on_device(micros[number], self._device) if real else self._spare
                logits = self._called(micro)
                if real:
                    found.append(score(logits, micro))
        whole: Any = self._called
        if self._group.layout.shard > 1:
            whole.reshard()  # else what was gathered here is used again after the parts changed
        return found

    def full_weights(self) -> dict[str, Tensor] | None:
        """Return the weights of the whole model by name; None but on the first process."""
        found: dict[str, Tensor] = {}
        for name, parameter in self._parameters.items():
            value: Any = parameter.detach()
            whole = value.full_tensor() if hasattr(value, "full_tensor") else value
            if self.primary:
                found[name] = whole.cpu()
        return found if self.primary else None

    def box(self, name: str, part: Tensor) -> Box:
        """Return the place in the whole of what this process holds of a parameter."""
        parameter: Any = self._parameters[name]
        if part.ndim == 0 or not hasattr(parameter, "placements"):
            return Box.whole(part)
        from torch.distributed.tensor._utils import compute_local_shape_and_global_offset

        shape = tuple(parameter.shape)
        size, start = compute_local_shape_and_global_offset(
            shape, parameter.device_mesh, parameter.placements
        )
        assert tuple(size) == tuple(part.shape), (name, size, part.shape)
        return Box(shape, tuple(start) if part.numel() else (0,) * len(shape))

    def writes(self, name: str) -> bool:
        """Return whether no process before this one holds the same part."""
        cut = self._cut_axes(self._parameters[name])
        return all(self._group.place(a) == 0 for a in ("data", "shard", "tensor") if a not in cut)

    def rate_factors(self, decay: float) -> dict[str, float]:
        """Return the factor of the learning rate of each parameter."""
        return rate_factors(self._factors, decay)

    def count_weights(self, counts: tuple[int, int]) -> tuple[int, int]:
        """Return the sums over all processes."""
        summed = torch.tensor(counts, dtype=torch.int64, device=self._device)
        distributed.all_reduce(summed)
        first, second = summed.tolist()
        return int(first), int(second)

    def _shard(self) -> None:
        """Hold embeddings, layers and head in parts; gradients of the parts are sums, not means."""
        from torch.distributed.fsdp import FSDPModule, fully_shard

        mesh = self._mesh["shard"]
        for part in self.module.modules():
            if isinstance(part, nn.ModuleList):
                for layer in part:
                    fully_shard(layer, mesh=mesh)
        fully_shard(self._called, mesh=mesh)
        for part in self._called.modules():
            if isinstance(part, FSDPModule):
                part.set_gradient_divide_factor(1.0)
                part.set_force_sum_reduction_for_comms(True)  # gloo knows no scaled sum

    def _rounds(self, mine: int) -> int:
        """Return the most micro-batches of those who share weights: they compute equally often."""
        if self._group.layout.shard == 1:
            return mine
        most = torch.tensor(mine, device=self._device)
        distributed.all_reduce(
            most, op=distributed.ReduceOp.MAX, group=self._mesh["shard"].get_group()
        )
        return int(most)

    def _add_up(self, names: list[str], axis: str) -> None:
        group = self._mesh[axis].get_group()
        bucket: list[Tensor] = []
        held = 0
        for name in names:
            parameter = self._parameters[name]
            if parameter.grad is None:  # a process without rows: its part of the sum is 0
                parameter.grad = torch.zeros_like(parameter)
            gradient = local(parameter.grad)
            bucket.append(gradient)
            held += gradient.numel() * gradient.element_size()
            if held >= _BUCKET_BYTES:
                _sum(bucket, group)
                bucket, held = [], 0
        if bucket:
            _sum(bucket, group)

    def _cut_axes(self, parameter: Any) -> list[str]:
        """Return the axes along which processes hold different parts of a parameter."""
        if not hasattr(parameter, "placements"):
            return []
        names = parameter.device_mesh.mesh_dim_names
        return [
            axis
            for axis, placement in zip(names, parameter.placements, strict=True)
            if not placement.is_replicate()
        ]

    def _holders(self, parameter: Any) -> int:
        """Return in how many parts a parameter is held."""
        parts = 1
        for axis in self._cut_axes(parameter):
            parts *= getattr(self._group.layout, axis)
        return parts


def _sum(bucket: list[Tensor], group: Any) -> None:
    """Add tensors up over a group, in one call."""
    flat = torch.cat([one.reshape(-1) for one in bucket])
    distributed.all_reduce(flat, group=group)
    for one, summed in zip(bucket, torch.split(flat, [x.numel() for x in bucket]), strict=True):
        one.copy_(summed.view_as(one))
