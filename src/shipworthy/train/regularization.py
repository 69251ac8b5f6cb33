"""Dropout of a model: which of it is put in, and what its configuration says of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shipworthy.train.dropout import install

if TYPE_CHECKING:
    from torch import nn

# What model configurations call the dropout of hidden values, and of attention weights.
_HIDDEN = (
    "hidden_dropout_prob", "dropout", "hidden_dropout", "resid_pdrop", "embd_pdrop", "mlp_dropout",
    "classifier_dropout", "seq_classif_dropout",
)  # fmt: skip
_ATTENTION = ("attention_probs_dropout_prob", "attention_dropout", "attn_pdrop")


def set_dropout(module: nn.Module, probability: float, *, attention: float = 0.0) -> None:
    """Put keyed dropout of hidden values into a model.

    The module's configuration follows, so that the saved one says how it was trained.
    attention: probability that an attention weight is dropped; the attention function does that.
    """
    install(module, probability)
    config = getattr(module, "config", None)
    for names, value in ((_HIDDEN, probability), (_ATTENTION, attention)):
        for name in names:
            if isinstance(getattr(config, name, None), float):
                setattr(config, name, value)
