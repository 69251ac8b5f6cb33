"""Loss and accuracy of a model on rows that it is not trained on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from shipworthy.data import order

if TYPE_CHECKING:
    from shipworthy.train.execution import Execution
    from shipworthy.train.microbatches import LabelledRows
    from shipworthy.train.objectives import Objective
    from shipworthy.train.packing import Caller


@dataclass(frozen=True)
class Evaluation:
    """What the calibration rows said after a step.

    step: optimizer steps done; loss: mean cross entropy without smoothing, nats, of the rows or of
    a language model's predicted tokens; accuracy: share of them that is right; rows: how many.
    """

    step: int
    loss: float
    accuracy: float
    rows: int


def evaluate(
    execution: Execution,
    caller: Caller,
    data: LabelledRows,
    *,
    objective: Objective,
    step: int,
    token_budget: int,
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
    loss, right = 0.0, 0.0
    try:
        for one, hits in execution.scores(micros, objective.score):
            loss, right = loss + one, right + hits
    finally:
        module.train(training)
    loss, right = execution.total([loss, right])
    weight = objective.weight(data, np.arange(len(data)))
    return Evaluation(step, loss / weight, right / weight, len(data))
