"""What training makes small: losses as sums, so that no cut of a step changes their gradient.

A step's gradient is that of its mean loss. Every part of it gives its sum, divided by the weight of
the whole step (its rows, or for language models its target tokens). Averaging in each part instead
would weigh the rows of a small part more.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch
from torch.nn.functional import cross_entropy, kl_div, log_softmax

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from shipworthy.train.microbatches import LabelledRows, MicroBatch


class Objective(Protocol):
    """A loss that is a sum over what a step is weighed by."""

    def weight(self, data: LabelledRows, rows: NDArray[np.int64]) -> float:
        """Return what the losses of these rows are divided by."""

    def loss_sum(self, logits: Tensor, micro: MicroBatch) -> Tensor:
        """Return the summed loss, a scalar in fp32, nats."""

    def score(self, logits: Tensor, micro: MicroBatch) -> tuple[float, float]:
        """Return the summed cross entropy, nats, and how many predictions are right."""


@dataclass(frozen=True)
class Classification:
    """Cross entropy against softened targets, a row of logits a row.

    smoothing: s; the target of a row is 1 - s + s/k for its class and s/k for the k - 1 others
    (Szegedy et al. 2016, sec. 7). r_drop: weight of the disagreement between two passes over a row
    under different dropout (Liang et al. 2021, eq. 3); above 0 the logits are those of the first
    pass, then those of the second. weights: how much each training row counts, in place of 1.
    """

    smoothing: float = 0.0
    r_drop: float = 0.0
    weights: NDArray[np.float64] | None = None

    def weight(self, data: LabelledRows, rows: NDArray[np.int64]) -> float:
        """Return the number of rows, or the sum of their weights."""
        return float(len(rows) if data.weights is None else data.weights[rows].sum())

    def loss_sum(self, logits: Tensor, micro: MicroBatch) -> Tensor:
        """Return the summed loss of the rows; with R-Drop the mean of both passes counts."""
        values = logits.float()
        copies = 2 if self.r_drop > 0 else 1
        labels = micro.labels.repeat(copies)
        counts = None
        if self.weights is None:
            total = cross_entropy(values, labels, label_smoothing=self.smoothing, reduction="sum")
        else:
            counts = torch.from_numpy(self.weights[micro.rows]).to(values)
            each = cross_entropy(values, labels, label_smoothing=self.smoothing, reduction="none")
            total = (each * counts.repeat(copies)).sum()
        if self.r_drop == 0.0:
            return total
        first, second = log_softmax(values, -1).chunk(2)
        apart = _divergence(first, second, counts)
        back = _divergence(second, first, counts)
        # The paper adds both cross entropies and half of each divergence; halved, that is the mean.
        return total / 2 + self.r_drop * (apart + back) / 4

    def score(self, logits: Tensor, micro: MicroBatch) -> tuple[float, float]:
        """Return the summed cross entropy without smoothing, and how many rows are right."""
        return _scored(logits, micro.labels)


@dataclass(frozen=True)
class NextToken:
    """Cross entropy of each predicted token: all but the first, or those of the response."""

    smoothing: float = 0.0

    def weight(self, data: LabelledRows, rows: NDArray[np.int64]) -> float:
        """Return the number of predicted tokens."""
        starts = 1 if data.starts is None else data.starts[rows]
        return float(np.maximum(data.encoded.lengths[rows] - starts, 0).sum())

    def loss_sum(self, logits: Tensor, micro: MicroBatch) -> Tensor:
        """Return the summed loss of the tokens. logits: (predicted tokens, vocabulary)."""
        assert micro.targets is not None
        return cross_entropy(
            logits.float(), micro.targets, label_smoothing=self.smoothing, reduction="sum"
        )

    def score(self, logits: Tensor, micro: MicroBatch) -> tuple[float, float]:
        """Return the summed cross entropy without smoothing, and how many tokens are right."""
        assert micro.targets is not None
        return _scored(logits, micro.targets)


def _divergence(found: Tensor, wanted: Tensor, counts: Tensor | None) -> Tensor:
    """Return the summed divergence of the rows of two tables of log-probabilities, nats."""
    if counts is None:
        return kl_div(found, wanted, reduction="sum", log_target=True)
    rows = kl_div(found, wanted, reduction="none", log_target=True).sum(-1)
    return (rows * counts).sum()


def _scored(logits: Tensor, wanted: Tensor) -> tuple[float, float]:
    wanted = wanted.to(logits.device)
    loss, right = 0.0, 0
    # In parts: a language model's rows are as long as its vocabulary, and these are doubles.
    parts = zip(torch.split(logits, 512), torch.split(wanted, 512), strict=True)
    for part, target in parts:
        loss += float(cross_entropy(part.double(), target, reduction="sum"))
        right += int((part.argmax(-1) == target).sum())
    return loss, float(right)
