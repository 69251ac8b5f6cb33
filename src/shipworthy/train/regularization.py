"""Decay, shrinkage, dropout, smoothing: against learning the training rows by heart."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch.nn.functional import cross_entropy, softshrink

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch import Tensor, nn

# What model configurations call the dropout of hidden values, and of attention weights.
_HIDDEN = (
    "hidden_dropout_prob", "dropout", "hidden_dropout", "resid_pdrop", "embd_pdrop", "mlp_dropout",
)  # fmt: skip
_ATTENTION = ("attention_probs_dropout_prob", "attention_dropout", "attn_pdrop")


def decay_groups(module: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Return the optimizer's two parameter groups: with decay, and without.

    Vectors (biases, the scales of norms) are without: drawing them to 0 takes a layer's centre and
    scale away and makes nothing simpler. Matrices, embeddings among them, are with.
    """
    trained = [p for p in module.parameters() if p.requires_grad]
    return [
        {"params": [p for p in trained if p.ndim >= 2], "weight_decay": weight_decay},
        {"params": [p for p in trained if p.ndim < 2], "weight_decay": 0.0},
    ]


def smoothed_loss(logits: Tensor, labels: Tensor, *, smoothing: float, rows: int) -> Tensor:
    """Cross entropy against softened targets, summed and divided by `rows`; a scalar, nats.

    The target of a row is 1 - s + s/k for its class and s/k for the k - 1 others, s = `smoothing`
    (Szegedy et al. 2016, sec. 7). logits: (b, k), any float type, computed in fp32; labels: (b,).
    rows: of the whole step, so that the losses of its parts add up to the mean over the step.
    """
    total = cross_entropy(logits.float(), labels, label_smoothing=smoothing, reduction="sum")
    return total / rows


def set_dropout(module: nn.Module, probability: float) -> None:
    """Set every dropout of hidden values to `probability`, and that of attention weights to 0.

    The module's configuration follows, so that the saved one says how it was trained.
    """
    for part in module.modules():
        if isinstance(part, torch.nn.Dropout):
            part.p = probability
    config = getattr(module, "config", None)
    for names, value in ((_HIDDEN, probability), (_ATTENTION, 0.0)):
        for name in names:
            if isinstance(getattr(config, name, None), float):
                setattr(config, name, value)


@torch.no_grad()
def shrink(parameters: Iterable[Tensor], amount: float) -> None:
    """Move every weight towards 0 by `amount`, stopping there: the proximal step of an L1 penalty.

    Taken after the optimizer's step, as decoupled weight decay is, so that Adam's scaling does not
    bend the penalty (Parikh and Boyd 2014, sec. 6.5.2).
    """
    if amount > 0:
        for weights in parameters:
            weights.copy_(softshrink(weights, amount))
