"""From hidden values of a pack to the logits of its documents, by the model's own head.

A head was written for a rectangle and picks each row's first or last token itself. Here the tokens
are picked first and handed to it as rows of one token, so that nothing of it is written again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from torch import Tensor, nn

Token = Literal["first", "last", "every"]


def token_of(module: nn.Module) -> Token | None:
    """Return which token of a document the head reads; None where the head is not known.

    `first`: encoders; `last`: decoders that classify; `every`: language models.
    """
    model: Any = module
    if _is_linear(getattr(model, "lm_head", None)):
        return "every"
    if _is_linear(getattr(model, "score", None)):
        return "last"
    return "first" if getattr(model, "classifier", None) is not None else None


def document_logits(module: nn.Module, hidden: Tensor) -> Tensor:
    """Return the logits, (d, k), of the hidden values of the token that the head reads, (d, h)."""
    model: Any = module
    if _is_linear(getattr(model, "score", None)):
        logits: Tensor = model.score(hidden)
        return logits
    head = model.classifier
    rows = hidden.unsqueeze(1)
    if not _is_linear(head):  # RoBERTa, ELECTRA: the head picks token 0 of each row itself
        return head(rows)  # type: ignore[no-any-return]
    if hasattr(model, "pre_classifier"):  # DistilBERT
        values = model.dropout(model.pre_classifier(hidden).relu())
        return head(values)  # type: ignore[no-any-return]
    pooler = getattr(model.base_model, "pooler", None)
    values = hidden if pooler is None else pooler(rows)
    dropout = getattr(model, "dropout", None)
    return head(values if dropout is None else dropout(values))  # type: ignore[no-any-return]


def _is_linear(part: Any) -> bool:
    from torch import nn

    return isinstance(part, nn.Linear)
