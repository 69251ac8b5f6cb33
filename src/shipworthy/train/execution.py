"""How the work of a step is carried out: what the training loop asks of a layout.

The loop knows rows, rates and losses; a layout knows processes. Losses are sums divided by the
weight of the whole step, and gradients are added up over processes, so that every layout computes
the same gradient.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeAlias

import torch

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager

    from torch import Tensor, nn

    from shipworthy.train.microbatches import MicroBatch
    from shipworthy.train.packing import Caller

    Loss: TypeAlias = Callable[[Tensor, MicroBatch], Tensor]


class Execution(Protocol):
    """A model laid out over the processes of a group, as one of them sees it."""

    module: nn.Module
    """This process's part of the model."""
    share: tuple[int, int]
    """Which part of a step's rows is this process's: its number, and how many there are."""

    def parameters(self) -> dict[str, nn.Parameter]:
        """What is trained here, by its name in the whole model."""

    def accumulate(self, micros: Sequence[MicroBatch], loss: Loss) -> list[float]:
        """Add the gradient of each micro-batch's loss; return the losses that this process counts.

        loss: scalar of the logits and the micro-batch.
        """

    def reduce_gradients(self) -> None:
        """Add the gradients up over the processes that share the rows."""

    def total(self, values: list[float]) -> list[float]:
        """Return the sums of what each process counted; the same on every process."""

    def gradient_norm(self) -> float:
        """Return the 2-norm of the whole gradient."""

    def logits(self, micros: Sequence[MicroBatch]) -> list[Tensor | None]:
        """Return the logits of each micro-batch without a gradient; None where another has them.

        Every process calls it, also one without micro-batches: forward passes may communicate.
        """

    def full_weights(self) -> dict[str, Tensor] | None:
        """Return the weights of the whole model by name; None but on the first process."""


class OneProcess:
    """The whole model in this process.

    autocast: context manager under which the model is called.
    """

    share = (0, 1)

    def __init__(
        self, module: nn.Module, caller: Caller, *, autocast: Callable[[], AbstractContextManager[object]]
    ) -> None:
        self.module, self._caller, self._autocast = module, caller, autocast
        self._parameters = {n: p for n, p in module.named_parameters() if p.requires_grad}

    def parameters(self) -> dict[str, nn.Parameter]:
        """What is trained, by name."""
        return self._parameters

    def accumulate(self, micros: Sequence[MicroBatch], loss: Loss) -> list[float]:
        """Add the gradient of each micro-batch's loss; return the losses."""
        found = []
        for micro in micros:
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

    def gradient_norm(self) -> float:
        """Return the 2-norm of the gradient."""
        gradients = [p.grad for p in self._parameters.values() if p.grad is not None]
        return float(torch.nn.utils.get_total_norm(gradients, foreach=True))

    def logits(self, micros: Sequence[MicroBatch]) -> list[Tensor | None]:
        """Return the logits of each micro-batch without a gradient."""
        with torch.inference_mode(), self._autocast():
            return [self._caller.logits(self.module, micro) for micro in micros]

    def full_weights(self) -> dict[str, Tensor]:
        """Return the weights by name."""
        return {name: p.detach() for name, p in self._parameters.items()}
