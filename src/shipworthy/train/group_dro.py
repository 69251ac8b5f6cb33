"""Training for the group that is worst off: group distributionally robust optimisation, online.

The loss of a step is the sum of the groups' mean losses, each times its weight q. After the step

    q_g ← q_g exp(η (loss_g + C / √n_g)),  then all by their sum

(Sagawa et al. 2020, algorithm 1 and eq. 5). A group that a step has no row of keeps its weight; η
sets how fast the weights follow, C leans them to small groups, whose training loss says less of
new rows. The weights are part of the model while it is trained, so that a run which is killed goes
on with them; they leave it at the end.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from shipworthy.core.digest import digest_bytes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray
    from torch import Tensor, nn

    from shipworthy.train.microbatches import LabelledRows, MicroBatch
    from shipworthy.train.objectives import Classification
    from shipworthy.train.packing import Caller

    IntArray: TypeAlias = NDArray[np.int64]
    FloatArray: TypeAlias = NDArray[np.float64]

WEIGHTS = "group_log_weights"
"""Name of the weights in the model while it is trained."""


def moved_log_weights(
    log_weights: FloatArray,
    losses: FloatArray,
    sizes: FloatArray,
    *,
    step: float,
    adjustment: float,
) -> FloatArray:
    """Return the logarithms of the groups' weights after a step; their weights sum to 1.

    log_weights: before it, shape (g,). losses: mean loss of each group, nats, NaN of a group that
    had no row. sizes: training rows of each group, above 0. step: η, above 0. adjustment: C, at
    least 0.

    >>> even = np.log(np.array([0.5, 0.5]))
    >>> sizes = np.array([100.0, 100.0])
    >>> after = moved_log_weights(even, np.array([1.0, 0.0]), sizes, step=np.log(3), adjustment=0.0)
    >>> np.exp(after).round(6).tolist()
    [0.75, 0.25]
    """
    there = ~np.isnan(losses)
    moved = log_weights + np.where(
        there, step * (np.nan_to_num(losses) + adjustment / np.sqrt(sizes)), 0.0
    )
    found: FloatArray = moved - np.logaddexp.reduce(moved)
    return found


@dataclass(eq=False)
class GroupDRO:
    """The lesson. groups: number of each training row's group, (n,); step, adjustment: η and C."""

    groups: IntArray
    step: float = 0.01
    adjustment: float = 0.0

    @property
    def identity(self) -> Mapping[str, Any]:
        """What all that it does follows from."""
        return {
            "group_dro": [self.step, self.adjustment],
            "groups": digest_bytes(self.groups.tobytes()),
        }

    def begin(
        self, module: nn.Module, caller: Caller, train: LabelledRows, plain: Classification
    ) -> RobustClassification:
        """Put even weights into the model and return the objective that reads and moves them."""
        import torch

        count = int(self.groups.max()) + 1
        # No gradient ever reaches them, so that the optimizer lets them be; checkpoints keep them.
        weights = torch.nn.Parameter(torch.full((count,), -float(np.log(count))))
        module.register_parameter(WEIGHTS, weights)
        return RobustClassification(plain, self.groups, self.step, self.adjustment, module)

    def end(self, module: nn.Module) -> None:
        """Take the weights out of the model."""
        if hasattr(module, WEIGHTS):
            delattr(module, WEIGHTS)


@dataclass(eq=False)
class RobustClassification:
    """Cross entropy in which each group counts by its weight. module: holds the weights."""

    plain: Classification
    groups: IntArray
    step: float
    adjustment: float
    module: nn.Module
    sizes: FloatArray = field(init=False)
    _shares: FloatArray = field(init=False)
    _left: int = field(init=False, default=0)
    _sums: FloatArray = field(init=False)
    _counts: FloatArray = field(init=False)

    def __post_init__(self) -> None:
        """Count the groups."""
        self.sizes = np.bincount(self.groups).astype(np.float64)

    def weight(self, data: LabelledRows, rows: NDArray[np.int64]) -> float:
        """Set how much each row of a step counts: its group's weight over the group's rows."""
        counts = np.bincount(self.groups[rows], minlength=len(self.sizes)).astype(np.float64)
        weights = np.where(counts > 0, np.exp(self._log_weights()), 0.0)
        with np.errstate(invalid="ignore", divide="ignore"):
            self._shares = np.where(counts > 0, weights / weights.sum() / counts, 0.0)
        self._left, self._counts = len(rows), counts
        self._sums = np.zeros(len(counts))
        return 1.0

    def loss_sum(self, logits: Tensor, micro: MicroBatch) -> Tensor:
        """Return the part of the step's loss that these rows have."""
        import torch
        from torch.nn.functional import cross_entropy

        values = logits.float()
        each = cross_entropy(
            values, micro.labels, label_smoothing=self.plain.smoothing, reduction="none"
        )
        groups = self.groups[micro.rows]
        self._seen(groups, each.detach().double().cpu().numpy())
        return (each * torch.from_numpy(self._shares[groups]).to(values)).sum()

    def score(self, logits: Tensor, micro: MicroBatch) -> tuple[float, float]:
        """Return the summed cross entropy without smoothing, and how many rows are right."""
        return self.plain.score(logits, micro)

    def _seen(self, groups: IntArray, losses: FloatArray) -> None:
        """Add losses up, and move the weights once those of all rows of the step are there."""
        import torch

        np.add.at(self._sums, groups, losses)
        self._left -= len(groups)
        if self._left:
            return
        with np.errstate(invalid="ignore", divide="ignore"):
            means = self._sums / self._counts
        moved = moved_log_weights(
            self._log_weights(), means, self.sizes, step=self.step, adjustment=self.adjustment
        )
        held = self.module.get_parameter(WEIGHTS)
        with torch.no_grad():
            held.copy_(torch.from_numpy(moved))

    def _log_weights(self) -> FloatArray:
        found: FloatArray = self.module.get_parameter(WEIGHTS).detach().cpu().double().numpy()
        return found
