"""Groups of layers that run one after the other, each in a process of its own.

Stages hand hidden values of one shape on, so the packs of a step are filled up to equal size; the
filler belongs to no document and counts in no loss. torch's own schedules (GPipe: Huang et al.
2019; 1F1B: Narayanan et al. 2021) order the work. What travels through them is the number of a
micro-batch; every process of a pipeline has laid the micro-batches out itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import distributed, nn

from shipworthy.core.errors import SettingsError
from shipworthy.core.locale import text
from shipworthy.train.attention import name_sites
from shipworthy.train.mesh_execution import MeshExecution
from shipworthy.train.optimizer import rate_factors
from shipworthy.train.packing import Packed, on_device
from shipworthy.train.partition import cut_stage, hidden_width, stage_output

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager

    from torch import Tensor
    from torch.distributed.pipelining import Schedule1F1B, ScheduleGPipe

    from shipworthy.train.execution import Build, Loss, Part, Score, Tokens
    from shipworthy.train.mesh import Group
    from shipworthy.train.microbatches import MicroBatch
    from shipworthy.train.packing import Caller

# Packs are filled up to a multiple of this, so that few shapes are seen.
_FILL = 64


class _Stage(nn.Module):
    """What a process computes of one micro-batch: hidden values, or on the last stage the loss."""

    def __init__(self, of: PipelineExecution) -> None:
        super().__init__()
        self._of = [of]  # a list, so that this is no module of it

    def forward(self, values: Tensor, number: Tensor) -> Tensor:
        of = self._of[0]
        micro = of.micros[int(number)]
        if of.stage > 0:
            of.given.hidden = values
        with of.autocast(), of.caller.inside(micro):
            hidden = of.caller.hidden(of.module, micro)
            if of.stage < of.stages - 1:
                return stage_output(hidden)
            logits = of.caller.head(of.module, hidden, micro)
        if of.loss is None:
            assert of.score is not None
            of.found.append(of.score(logits.detach(), micro))
            return logits.new_zeros(1)
        return of.loss(logits, micro).reshape(1)


class PipelineExecution(MeshExecution):
    """A model over the axes pipeline and data of a mesh."""

    def __init__(
        self,
        module: nn.Module,
        caller: Caller,
        group: Group,
        *,
        autocast: Callable[[], AbstractContextManager[object]],
    ) -> None:
        if group.mesh is None:
            raise ValueError("a mesh has several processes")
        if not isinstance(caller, Packed):
            raise SettingsError(text("error.pipeline.buckets"), key="train.packing")
        self.module, self.caller, self.autocast = module, caller, autocast
        self._group, self._mesh = group, group.mesh
        self.stages, self.stage = group.layout.pipeline, group.place("pipeline")
        self.share = (group.place("data"), group.layout.data)
        self.primary = group.rank == 0
        self._device = torch.device(self._mesh.device_type)
        self._factors = [n for n, p in module.named_parameters() if p.requires_grad]
        self._owners = self._names_of_all(module)
        name_sites(module)
        self._parameters, self.given = cut_stage(module, self.stage, self.stages)
        module.to(self._device)
        self._width = hidden_width(module)
        self._counts = self.stage == self.stages - 1
        self.decides = self._counts and self.share[0] == 0
        self._copies = group.layout.data
        self.micros: Sequence[MicroBatch] = ()
        self.loss: Loss | None = None
        self.score: Score | None = None
        self.found: list[tuple[float, float]] = []
        self._schedules: dict[tuple[int, int, bool], Any] = {}

    def prepare(self, parts: Sequence[Part], build: Build, tokens: Tokens) -> list[MicroBatch]:
        """Give each stage work, and fill every pack up to the largest."""
        work = list(parts)
        while len(work) < self.stages:
            largest = max(range(len(work)), key=lambda k: len(work[k]), default=None)
            if largest is None or len(work[largest]) < 2:
                work.append(np.zeros(0, np.int64))  # filler alone
            else:
                part = work.pop(largest)
                work += [part[::2], part[1::2]]
        most = max(1, *(tokens(part) for part in work))
        size = -(-most // _FILL) * _FILL
        return [build(part, size) for part in work]

    def accumulate(self, micros: Sequence[MicroBatch], loss: Loss) -> list[float]:
        """Add the gradient of each micro-batch's loss; the last stage returns the losses."""
        losses: list[Tensor] = []
        self._run(micros, loss, losses)
        return [float(value.detach()) for value in losses]

    def scores(self, micros: Sequence[MicroBatch], score: Score) -> list[tuple[float, float]]:
        """Return what `score` says of the logits of each micro-batch, on the last stage."""
        self.score, self.found = score, []
        with torch.no_grad():
            self._run(micros, None, None)
        return self.found

    def full_weights(self) -> dict[str, Tensor] | None:
        """Return the weights of the whole model by name; None but on the first process."""
        if self._group.place("data"):
            return None
        group = self._mesh["pipeline"].get_group()
        first = distributed.get_global_rank(group, 0)
        found: dict[str, Tensor] = {}
        for stage, names in enumerate(self._owners):
            for name, shape in names.items():
                if stage == self.stage:
                    value = self._parameters[name].detach()
                    if stage == 0:
                        found[name] = value.cpu()
                    else:
                        distributed.send(value.contiguous(), dst=first, group=group)
                elif self.stage == 0:
                    buffer = torch.empty(shape, device=self._device)
                    sender = distributed.get_global_rank(group, stage)
                    distributed.recv(buffer, src=sender, group=group)
                    found[name] = buffer.cpu()
        return found if self.primary else None

    def rate_factors(self, decay: float) -> dict[str, float]:
        """Return the factor of the learning rate of each parameter here."""
        whole = rate_factors(self._factors, decay)
        return {name: whole[name] for name in self._parameters}

    def _run(
        self, micros: Sequence[MicroBatch], loss: Loss | None, losses: list[Tensor] | None
    ) -> None:
        self.micros = [on_device(micro, self._device) for micro in micros]
        self.loss = loss
        number = len(micros)
        size = int(micros[0].arguments["input_ids"].numel())
        schedule = self._schedule(number, size, trains=loss is not None)
        numbers = torch.arange(number, device=self._device)
        first = (numbers,) if self.stage == 0 else ()
        if loss is None:
            schedule.eval(*first, number=numbers)
        elif self.stage == self.stages - 1:
            schedule.step(*first, number=numbers, target=numbers, losses=losses)
        else:
            schedule.step(*first, number=numbers)

    def _schedule(self, number: int, size: int, *, trains: bool) -> ScheduleGPipe | Schedule1F1B:
        from torch.distributed.pipelining import PipelineStage, Schedule1F1B, ScheduleGPipe

        key = (number, size, trains)
        if key not in self._schedules:
            hidden = torch.empty(1, size, self._width, device=self._device)
            last = self.stage == self.stages - 1
            given = torch.zeros(1, dtype=torch.int64, device=self._device)
            stage = PipelineStage(
                _Stage(self), self.stage, self.stages, self._device,
                input_args=(given,) if self.stage == 0 else (hidden.requires_grad_(trains),),
                output_args=(torch.empty(1, device=self._device) if last else hidden),
                input_grads=(None,) if self.stage == 0 else (hidden,),
                output_grads=(torch.empty(1, device=self._device) if last else hidden,),
                group=self._mesh["pipeline"].get_group(),
            )  # fmt: skip
            kind = ScheduleGPipe if self._group.layout.schedule == "gpipe" else Schedule1F1B
            self._schedules[key] = kind(
                stage, n_microbatches=number, scale_grads=False,
                loss_fn=(lambda output, target: output.sum()) if trains else None,
            )  # fmt: skip
        return self._schedules[key]  # type: ignore[no-any-return]

    def _names_of_all(self, module: nn.Module) -> list[dict[str, tuple[int, ...]]]:
        """Return names and shapes of the parameters of each stage."""
        import copy

        found = []
        for stage in range(self.stages):
            with torch.device("meta"):
                skeleton = copy.deepcopy(module).to("meta")
            kept, _ = cut_stage(skeleton, stage, self.stages)
            found.append({name: tuple(p.shape) for name, p in kept.items()})
        return found
