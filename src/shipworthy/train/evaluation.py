"""Loss and accuracy of a model on rows that it is not trained on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch.nn.functional import cross_entropy

from shipworthy.data.batches import buckets
from shipworthy.model.text_classifier import TOKEN_BUDGET
from shipworthy.train.parts import LabelledRows

if TYPE_CHECKING:
    from torch import nn


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


def evaluate(module: nn.Module, data: LabelledRows, *, step: int, autocast: Any) -> Evaluation:
    """Return loss and accuracy on the rows, without dropout; the module's mode is put back."""
    training = module.training
    module.eval()
    loss, right = 0.0, 0
    lengths = data.encoded.lengths
    try:
        with torch.inference_mode():
            budget = max(TOKEN_BUDGET, int(lengths.max(initial=1)))
            for rows in buckets(lengths, token_budget=budget, seed=None):
                arguments, labels = data.tensors(rows)
                with autocast():
                    logits = module(**arguments).logits
                loss += float(cross_entropy(logits.double(), labels, reduction="sum"))
                right += int((logits.argmax(-1) == labels).sum())
    finally:
        module.train(training)
    return Evaluation(step, loss / len(data), right / len(data), len(data))
