"""Attention in fp32 and without dropout, for training on processors.

Two facts about torch's fused attention on processors stand behind this file. Any dropout inside
attention rules it out (the full matrix of weights is then laid down, at 1.6 times the step), and in
bf16 it is 2 to 5 times slower than in fp32. So training drops no attention weights and, under bf16,
computes attention alone in fp32, which is also the more exact way.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor, nn

NAME = "shipworthy_fp32"


@contextmanager
def fp32_attention(module: nn.Module) -> Iterator[None]:
    """Compute the attention of a transformers model in fp32, without dropout, inside the block.

    A model that does not take attention functions by name is left as it is.
    """
    _register()
    config: Any = module.config
    before = config._attn_implementation
    if before not in ("sdpa", "eager"):
        yield
        return
    config._attn_implementation = NAME
    try:
        yield
    finally:
        config._attn_implementation = before


def _register() -> None:
    from transformers.masking_utils import AttentionMaskInterface, sdpa_mask
    from transformers.modeling_utils import AttentionInterface

    AttentionInterface.register(NAME, _attend)
    # Without a mask function of the same name transformers hands no padding mask on.
    AttentionMaskInterface.register(NAME, sdpa_mask)


def _attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    **options: Any,
) -> tuple[Tensor, None]:
    import torch
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    with torch.autocast(query.device.type, enabled=False):
        output, _ = sdpa_attention_forward(
            module, query.float(), key.float(), value.float(), attention_mask, **options
        )
    return output.to(query.dtype), None
