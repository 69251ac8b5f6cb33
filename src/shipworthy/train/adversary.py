"""Training against an adversary that guesses the group from what the model answers.

The adversary sees the logits l (Zhang, Lemoine and Mitchell 2018) as s = softmax((1 + |c|) l), c
learned; for equalised odds it sees the label as well: s and 1, each for each class of the label.
The model moves along

    ∇P − proj_∇A ∇P − α ∇A

(eq. 1), ∇P of its own loss, ∇A of the adversary's. Both losses reach the weights through the logits
alone, and the projection is taken there, on the gradients of a batch's logits: one backward pass
through the model instead of two. The adversary is a layer of the model while it is trained, with a
learning rate `haste` times that of the model, and leaves it at the end.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy, one_hot

from shipworthy.core.digest import digest_bytes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray
    from torch import Tensor

    from shipworthy.train.microbatches import LabelledRows, MicroBatch
    from shipworthy.train.objectives import Classification
    from shipworthy.train.packing import Caller

    IntArray: TypeAlias = NDArray[np.int64]

Independence: TypeAlias = Literal["demographic_parity", "equalized_odds"]

ADVERSARY = "group_adversary"
"""Name of the adversary in the model while it is trained."""

HASTE = 100.0
"""Learning rate of the adversary over that of the model: it has few weights, all of them new."""


class Adversary(nn.Module):
    """A linear guess of the group from logits, and from the label where odds are to be equal.

    classes, groups: how many there are. constraint: what the model is to be independent in.
    """

    def __init__(
        self, classes: int, groups: int, *, constraint: Independence, haste: float = HASTE
    ) -> None:
        super().__init__()
        inputs = classes if constraint == "demographic_parity" else 2 * classes * classes
        self.constraint, self.haste, self.classes = constraint, haste, classes
        # Kept small by `haste`, so that one optimizer with one rate moves it so much faster.
        self.weight = nn.Parameter(torch.zeros(groups, inputs))
        self.bias = nn.Parameter(torch.zeros(groups))
        self.slope = nn.Parameter(torch.zeros(1))

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the logits of the groups, (n, g). logits: (n, k); labels: numbers, (n,)."""
        seen = torch.softmax((1 + (self.haste * self.slope).abs()) * logits, dim=-1)
        if self.constraint == "equalized_odds":
            own = one_hot(labels, self.classes).to(seen)
            told = torch.cat([seen, torch.ones_like(seen)], dim=-1)
            seen = (told[:, :, None] * own[:, None, :]).flatten(1)
        return self.haste * (seen @ self.weight.T + self.bias)


def steered(own: Tensor, adverse: Tensor, alpha: float) -> Tensor:
    """Return the direction that helps the model and not its adversary; gradients of one shape.

    >>> own, adverse = torch.tensor([3.0, 4.0]), torch.tensor([2.0, 0.0])
    >>> steered(own, adverse, alpha=0.5)
    tensor([-1.,  4.])
    """
    length = adverse.square().sum()
    along = torch.where(length > 0, (own * adverse).sum() / length.clamp(min=1e-30), length)
    return own - along * adverse - alpha * adverse


def steered_loss(
    adversary: Adversary,
    logits: Tensor,
    own: Tensor,
    labels: Tensor,
    groups: Tensor,
    *,
    alpha: float,
) -> Tensor:
    """Return a scalar whose gradient moves the model as `steered` says, and the adversary its way.

    own: the model's loss of these rows, summed, a function of logits (n, k). groups: numbers, (n,).
    The value is that of the model's own loss.
    """
    (forward,) = torch.autograd.grad(own, logits, retain_graph=True)
    seen = logits.detach().requires_grad_()
    guess = cross_entropy(adversary(seen, labels), groups, reduction="sum")
    (against,) = torch.autograd.grad(guess, seen, retain_graph=True)
    moved = (logits * steered(forward, against, alpha).detach()).sum()
    # Only the adversary's weights are to be moved by its loss; `seen` is a leaf of its own.
    surrogate = moved + guess
    return surrogate - surrogate.detach() + own.detach()


@dataclass(eq=False)
class Adversarial:
    """The lesson. groups: number of each training row's group, shape (n,); alpha: from 0 on."""

    groups: IntArray
    constraint: Independence = "demographic_parity"
    alpha: float = 1.0

    @property
    def identity(self) -> Mapping[str, Any]:
        """What all that it does follows from."""
        return {
            "adversarial": [self.constraint, self.alpha, HASTE],
            "groups": digest_bytes(self.groups.tobytes()),
        }

    def begin(
        self, module: nn.Module, caller: Caller, train: LabelledRows, plain: Classification
    ) -> Debated:
        """Put the adversary into the model and return the objective of both."""
        count: Any = module.config
        adversary = Adversary(
            int(count.num_labels), int(self.groups.max()) + 1, constraint=self.constraint
        ).to(next(module.parameters()).device)
        module.add_module(ADVERSARY, adversary)
        return Debated(plain, adversary, torch.from_numpy(self.groups), self.alpha)

    def end(self, module: nn.Module) -> None:
        """Take the adversary out of the model."""
        if hasattr(module, ADVERSARY):
            delattr(module, ADVERSARY)


@dataclass(frozen=True, eq=False)
class Debated:
    """Cross entropy of the labels, and against an adversary."""

    plain: Classification
    adversary: Adversary
    groups: Tensor
    alpha: float

    def weight(self, data: LabelledRows, rows: NDArray[np.int64]) -> float:
        """Return the number of rows, or the sum of their weights."""
        return self.plain.weight(data, rows)

    def loss_sum(self, logits: Tensor, micro: MicroBatch) -> Tensor:
        """Return the summed loss of the rows; its gradient is turned against the adversary."""
        values = logits.float()
        own = self.plain.loss_sum(values, micro)
        copies = len(values) // len(micro.rows)  # two with R-Drop
        labels = micro.labels.to(values.device).repeat(copies)
        groups = self.groups[torch.from_numpy(micro.rows)].to(values.device).repeat(copies)
        return steered_loss(self.adversary, values, own, labels, groups, alpha=self.alpha)

    def score(self, logits: Tensor, micro: MicroBatch) -> tuple[float, float]:
        """Return the summed cross entropy of the labels, and how many rows are right."""
        return self.plain.score(logits, micro)
