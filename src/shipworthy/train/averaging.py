"""A moving average of the weights, which wavers less than the last ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from shipworthy.train.optimizer import local

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor


class Average:
    """The exponential moving average of named parameters (Polyak and Juditsky 1992; Kingma 2015).

    parameters: local parts are averaged where several processes hold one. decay: in (0, 1), what is
    left of the average after a step; it begins with the weights of the first.
    """

    def __init__(self, parameters: Mapping[str, Tensor], *, decay: float) -> None:
        self.decay = decay
        self.values = {name: local(p.detach()).clone() for name, p in parameters.items()}
        self.steps = 0

    @torch.no_grad()
    def update(self, parameters: Mapping[str, Tensor]) -> None:
        """Take the weights after a step."""
        present = [local(parameters[name].detach()) for name in self.values]
        weight = 1.0 - self.decay if self.steps else 1.0
        torch._foreach_lerp_(list(self.values.values()), present, weight)
        self.steps += 1
