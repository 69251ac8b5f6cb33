"""Dropout of a model, and weights that are held at zero."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from shipworthy.train.dropout import install

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor, nn

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


def hold_zeros(module: nn.Module) -> None:
    """Take the gradient from weights of matrices that are zero: AdamW then leaves them so."""
    for parameter in module.parameters():
        if parameter.dim() == 2:
            zero = parameter.detach() == 0
            if bool(zero.any()):
                held: Any = parameter
                held.register_hook(_without(zero))


def _without(zero: Tensor) -> Callable[[Tensor], Tensor]:
    return lambda gradient: gradient.masked_fill(zero, 0.0)
