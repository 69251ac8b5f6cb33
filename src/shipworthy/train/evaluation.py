"""Loss and accuracy of a model on rows that it is not trained on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from torch.nn.functional import cross_entropy

from shipworthy.data import order

if TYPE_CHECKING:
    from shipworthy.train.execution import Execution
    from shipworthy.train.microbatches import LabelledRows
    from shipworthy.train.packing import Caller


@dataclass(frozen=True)
class Evaluation:
    """What the calibration rows said after a step.

    step: optimizer steps done; loss: mean cross entropy without smoothing, nats; accuracy: in
    [0, 1]; rows: how many.
    """

    step: int
    loss: float
    accuracy: float
    rows: int


def evaluate(
    execution: Execution, caller: Caller, data: LabelledRows, *, step: int, token_budget: int
) -> Evaluation:
    """Return loss and accuracy on the rows, without dropout; the module's mode is put back."""
    module = execution.module
    training = module.training
    module.eval()
    lengths = data.encoded.lengths
    mine = order.share(np.arange(len(data)), lengths, *execution.share)
    parts = caller.cut(data, mine, tokens=token_budget, per_device=None)
    micros = execution.prepare(
        parts,
        lambda rows, pad_to: caller.micro_batch(data, rows, seed=0, visit=0, pad_to=pad_to),
        lambda rows: int(lengths[rows].sum()),
    )
    loss, right = 0.0, 0
    try:
        for micro, logits in zip(micros, execution.logits(micros), strict=True):
            if logits is not None:
                labels = micro.labels.to(logits.device)
                loss += float(cross_entropy(logits.double(), labels, reduction="sum"))
                right += int((logits.argmax(-1) == labels).sum())
    finally:
        module.train(training)
    loss, correct = execution.total([loss, float(right)])
    return Evaluation(step, loss / len(data), correct / len(data), len(data))
