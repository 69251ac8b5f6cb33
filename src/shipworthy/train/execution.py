"""How the work of a step is carried out: what the training loop asks of a layout.

The loop knows rows, rates and losses; a layout knows processes. Losses are sums divided by the
weight of the whole step, and gradients are added up over processes, so that every layout computes
the same gradient.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeAlias

import torch

from shipworthy.core.device import compute_device
from shipworthy.train.checkpoints import Box
from shipworthy.train.optimizer import rate_factors
from shipworthy.train.packing import on_device

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager

    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor, nn

    from shipworthy.train.microbatches import MicroBatch
    from shipworthy.train.packing import Caller

    Loss: TypeAlias = Callable[[Tensor, MicroBatch], Tensor]
    Score: TypeAlias = Callable[[Tensor, MicroBatch], tuple[float, float]]
    Part: TypeAlias = NDArray[np.int64]
    Build: TypeAlias = Callable[[Part, int | None], MicroBatch]
    Tokens: TypeAlias = Callable[[Part], int]


class Execution(Protocol):
    """A model laid out over the processes of a group, as one of them sees it."""

    module: nn.Module
    """This process's part of the model."""
    share: tuple[int, int]
    """Which part of a step's rows is this process's: its number, and how many there are."""
    primary: bool
    """Whether this is the first process of all: it writes for all."""
    decides: bool
    """Whether this is the process that decides for all; it is one of those that `total` counts."""

    def parameters(self) -> dict[str, nn.Parameter]:
        """What is trained here, by its name in the whole model."""

    def prepare(self, parts: Sequence[Part], build: Build, tokens: Tokens) -> list[MicroBatch]:
        """Build the micro-batches of a step as this layout wants them.

        parts: rows of each; build: lays rows out, filled up to a number of tokens; tokens: of rows.
        """

    def accumulate(self, micros: Sequence[MicroBatch], loss: Loss) -> list[float]:
        """Add the gradient of each micro-batch's loss; return the losses that this process counts.

        loss: scalar of the logits and the micro-batch.
        """

    def reduce_gradients(self) -> None:
        """Add the gradients up over the processes that share the rows."""

    def total(self, values: list[float]) -> list[float]:
        """Return the sums of what the processes counted, one for each share of the rows.

        The same on every process, to the last bit.
        """

    def least(self, value: float) -> float:
        """Return the least of what the processes have; the same on every process."""

    def gradient_norm(self) -> float:
        """Return the 2-norm of the whole gradient."""

    def scores(self, micros: Sequence[MicroBatch], score: Score) -> list[tuple[float, float]]:
        """Return what `score` says of the logits of each micro-batch, those that are here.

        No gradient is kept. Every process calls it, also one without micro-batches: forward passes
        may communicate. Logits are scored at once, since a language model's are large.
        """

    def full_weights(self) -> dict[str, Tensor] | None:
        """Return the weights of the whole model by name; None but on the first process."""

    def box(self, name: str, part: Tensor) -> Box:
        """Return the place in the whole of what this process holds of a parameter."""

    def writes(self, name: str) -> bool:
        """Return whether this is the process that writes its part of a parameter down."""

    def rate_factors(self, decay: float) -> dict[str, float]:
        """Return the factor of the learning rate of each parameter here; decay: a layer's."""

    def count_weights(self, counts: tuple[int, int]) -> tuple[int, int]:
        """Return the sums over all processes of what those counted that write."""


class OneProcess:
    """The whole model in this process.

    autocast: context manager under which the model is called.
    """

    share = (0, 1)
    primary = True
    decides = True

    def __init__(
        self,
        module: nn.Module,
        caller: Caller,
        *,
        autocast: Callable[[], AbstractContextManager[object]],
    ) -> None:
        self.module, self._caller, self._autocast = module, caller, autocast
        self._device = torch.device(compute_device())
        module.to(self._device)
        self._parameters = {n: p for n, p in module.named_parameters() if p.requires_grad}

    def parameters(self) -> dict[str, nn.Parameter]:
        """What is trained, by name."""
        return self._parameters

    def prepare(self, parts: Sequence[Part], build: Build, tokens: Tokens) -> list[MicroBatch]:
        """Build each part as it is."""
        return [build(part, None) for part in parts]

    def accumulate(self, micros: Sequence[MicroBatch], loss: Loss) -> list[float]:
        """Add the gradient of each micro-batch's loss; return the losses."""
        found = []
        for one in micros:
            micro = on_device(one, self._device)
            with self._autocast():
                logits = self._caller.logits(self.module, micro)
            value = loss(logits, micro)
            torch.autograd.backward(value)
            found.append(float(value.detach()))
        return found

    def reduce_gradients(self) -> None:
        """Nothing: there is no other process."""

    def total(self, values: list[float]) -> list[float]:
        """Return the values: there is no other process."""
        return values

    def least(self, value: float) -> float:
        """Return the value: there is no other process."""
        return value

    def gradient_norm(self) -> float:
        """Return the 2-norm of the gradient."""
        gradients = [p.grad for p in self._parameters.values() if p.grad is not None]
        return float(torch.nn.utils.get_total_norm(gradients, foreach=True))

    def scores(self, micros: Sequence[MicroBatch], score: Score) -> list[tuple[float, float]]:
        """Return what `score` says of the logits of each micro-batch."""
        found = []
        with torch.inference_mode():
            for one in micros:
                micro = on_device(one, self._device)
                with self._autocast():
                    logits = self._caller.logits(self.module, micro)
                found.append(score(logits, micro))
        return found

    def full_weights(self) -> dict[str, Tensor]:
        """Return the weights by name."""
        return {name: p.detach() for name, p in self._parameters.items()}

    def box(self, name: str, part: Tensor) -> Box:
        """Return the whole: nobody else holds a part."""
        return Box.whole(part)

    def writes(self, name: str) -> bool:
        """Return True: nobody else does."""
        return True

    def rate_factors(self, decay: float) -> dict[str, float]:
        """Return the factor of the learning rate of each parameter."""
        return rate_factors(self._parameters, decay)

    def count_weights(self, counts: tuple[int, int]) -> tuple[int, int]:
        """Return the counts: there is no other process."""
        return counts
