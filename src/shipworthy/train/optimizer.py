"""The optimizer: which parameters move at which rate, and what pulls them towards 0.

AdamW with a fused step. Every rule here is elementwise, so a process that holds a part of a
parameter computes exactly its part of the whole step: optimizer and penalties see local tensors.
"""

from __future__ import annotations

import re
from collections import defaultdict
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn.functional import softshrink

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from torch import Tensor

    from shipworthy.train.settings import RegularizationSettings, TrainSettings

_LAYER = re.compile(r"(?:^|\.)(?:layer|layers|h|blocks?)\.(\d+)\.")
_EMBEDDINGS = ("embeddings.", "embed_tokens.", "wte.", "wpe.")
STATES = ("exp_avg", "exp_avg_sq", "step")


def local(tensor: Tensor) -> Tensor:
    """Return this process's part of a tensor that several hold together, else the tensor."""
    part = getattr(tensor, "_local_tensor", None)
    return tensor if part is None else part


def decays(name: str, shape: tuple[int, ...], settings: RegularizationSettings) -> bool:
    """Return whether decay and shrinkage touch a parameter.

    Vectors (biases, the scales of norms) are left out: drawing them to 0 takes a layer's centre and
    scale away and makes nothing simpler.
    """
    return len(shape) >= 2 and not any(part in name for part in settings.no_decay)


def rate_factors(names: Iterable[str], decay: float) -> dict[str, float]:
    """Return the factor of the learning rate of each parameter (Howard and Ruder 2018, sec. 3.2).

    decay: from one layer to the one below it. The head has 1, the highest layer `decay`, and the
    embeddings the smallest factor.
    """
    known = list(names)
    layers = {name: int(found[1]) for name in known if (found := _LAYER.search(name))}
    depth = max(layers.values(), default=-1) + 1

    def factor(name: str) -> float:
        if name in layers:
            return decay ** (depth - layers[name])
        if any(part in name for part in _EMBEDDINGS):
            return decay ** (depth + 1)
        return 1.0

    return {name: factor(name) for name in known}


class AdamW:
    """Fused AdamW over the local parts of named parameters, with the penalties of the settings.

    parameters: by their name in the whole model. factors: of the learning rate, by name; a process
    that holds a part of the model hands over those of the whole.
    """

    def __init__(
        self,
        parameters: Mapping[str, nn.Parameter],
        settings: TrainSettings,
        *,
        factors: Mapping[str, float] | None = None,
    ) -> None:
        regularization = settings.regularization
        if factors is None:
            factors = rate_factors(parameters, regularization.layer_decay)
        self.parameters, self._regularization = dict(parameters), regularization
        self._local: dict[str, Tensor] = {}
        groups: dict[tuple[bool, float], list[Tensor]] = defaultdict(list)
        for name, parameter in parameters.items():
            part = local(parameter.detach()) if hasattr(parameter, "_local_tensor") else parameter
            self._local[name] = part
            key = (decays(name, tuple(parameter.shape), regularization), factors[name])
            groups[key].append(part)
        self.groups = [
            {
                "params": parts,
                "weight_decay": regularization.weight_decay if decayed else 0.0,
                "decayed": decayed,
                "rate_factor": factor,
            }
            for (decayed, factor), parts in groups.items()
        ]
        fused = all(part.is_floating_point() for part in self._local.values())
        self.optimizer = torch.optim.AdamW(self.groups, lr=settings.learning_rate, fused=fused)

    def step(self, rate: float) -> None:
        """Move every parameter along its gradient, then pull the penalised ones towards 0."""
        self._hand_gradients_over()
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["rate_factor"]
            if self._regularization.l2 and group["decayed"]:
                moved = [p for p in group["params"] if p.grad is not None]
                with torch.no_grad():
                    torch._foreach_add_(
                        [p.grad for p in moved], moved, alpha=self._regularization.l2
                    )
        self.optimizer.step()
        if self._regularization.l1:
            for group in self.optimizer.param_groups:
                if group["decayed"]:
                    shrink(group["params"], group["lr"] * self._regularization.l1)

    def zero_grad(self) -> None:
        """Forget the gradients."""
        self.optimizer.zero_grad()
        for parameter in self.parameters.values():
            parameter.grad = None

    def forget(self) -> None:
        """Forget all steps."""
        self.optimizer.state.clear()

    def zeros(self, counted: Callable[[str], bool]) -> tuple[int, int]:
        """Return how many local weights that the L1 penalty touches are 0, and of how many.

        counted: whether this process is the one that counts a parameter, by name.
        """
        decayed = {id(p) for g in self.optimizer.param_groups if g["decayed"] for p in g["params"]}
        touched = [p for name, p in self._local.items() if id(p) in decayed and counted(name)]
        return sum(int((p.detach() == 0).sum()) for p in touched), sum(p.numel() for p in touched)

    def state(self) -> dict[str, Tensor]:
        """Return the optimizer's local tensors as `KIND/NAME`; none before the first step."""
        found: dict[str, Tensor] = {}
        for name, part in self._local.items():
            for kind in STATES:
                value = self.optimizer.state.get(part, {}).get(kind)
                if value is not None:
                    found[f"{kind}/{name}"] = value
        return found

    def restore(self, values: Mapping[str, Tensor]) -> None:
        """Take tensors as `state` names them, local parts."""
        for name, part in self._local.items():
            state: dict[str, Any] = {
                kind: values[f"{kind}/{name}"].to(part.device)
                for kind in STATES
                if f"{kind}/{name}" in values
            }
            if state:
                self.optimizer.state[part] = state

    def _hand_gradients_over(self) -> None:
        """Give the local parts their part of the gradient."""
        for name, parameter in self.parameters.items():
            part = self._local[name]
            if part is not parameter:
                part.grad = None if parameter.grad is None else local(parameter.grad)


@torch.no_grad()
def shrink(weights: Iterable[Tensor], amount: float) -> None:
    """Move every weight towards 0 by `amount`, stopping there: the proximal step of an L1 penalty.

    Taken after the optimizer's step, as decoupled weight decay is, so that Adam's scaling does not
    bend the penalty (Parikh and Boyd 2014, sec. 6.5.2).
    """
    if amount > 0:
        for one in weights:
            one.copy_(softshrink(one, amount))
