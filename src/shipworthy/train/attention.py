"""The attention that models train with: inside documents, in fp32, with keyed dropout.

It is handed to transformers through its attention interface, so that encoders and decoders work
unchanged. Two facts about torch's fused attention on processors stand behind it: in bf16 it is 2 to
5 times slower than in fp32, and any dropout inside attention rules it out. So attention is computed
there in fp32, and attention weights are only dropped where the settings ask for it.
"""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from shipworthy.train import dropout as keyed_dropout
from shipworthy.train.run_attention import Drop, Runs, attend_runs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor, nn

NAME = "shipworthy"
SITE = "shipworthy_site"
"""Attribute of an attention module: its full name in the whole model."""
FIRST_HEAD = "shipworthy_first_head"
"""Attribute of an attention module: number in the whole model of its first head, where others have
the ones before it."""


class CannotAttendError(Exception):
    """A model wants something of attention that cannot be computed document by document."""


@dataclass(frozen=True)
class _State:
    """What the attention function needs to know beside its arguments."""

    runs: tuple[tuple[int, int], ...] | None = None
    dropout: float = 0.0


_NOTHING = _State()
_state: ContextVar[_State] = ContextVar("shipworthy_attention", default=_NOTHING)


@contextmanager
def trained_attention(module: nn.Module, *, dropout: float = 0.0) -> Iterator[None]:
    """Let a transformers model attend with the function of this file inside the block.

    dropout: probability that an attention weight is dropped while the model is in training mode.
    A model that takes no attention functions by name is left as it is.
    """
    _register()
    config: Any = module.config
    before = getattr(config, "_attn_implementation", None)
    name_sites(module)
    if before in ("sdpa", "eager"):
        config._attn_implementation = NAME
    token = _state.set(_State(_state.get().runs, dropout))
    try:
        yield
    finally:
        _state.reset(token)
        if before in ("sdpa", "eager"):
            config._attn_implementation = before


def name_sites(module: nn.Module) -> None:
    """Note on each part of a whole model where in it that is, before it is cut or renamed."""
    for name, part in module.named_modules():
        if not hasattr(part, SITE):
            setattr(part, SITE, name)


@contextmanager
def documents(runs: tuple[tuple[int, int], ...]) -> Iterator[None]:
    """Let tokens attend inside their own document only; runs: as in `Pack.runs`."""
    token = _state.set(_State(runs, _state.get().dropout))
    try:
        yield
    finally:
        _state.reset(token)


def current_runs() -> tuple[tuple[int, int], ...] | None:
    """Return documents and length of each run of the pack at hand; None where there is no pack."""
    return _state.get().runs


def _register() -> None:
    from transformers.masking_utils import AttentionMaskInterface
    from transformers.modeling_utils import AttentionInterface

    AttentionInterface.register(NAME, _attend)
    # Without a mask function of the same name transformers hands no padding mask on.
    AttentionMaskInterface.register(NAME, _mask)


def _mask(*arguments: Any, **options: Any) -> Tensor | None:
    from transformers.masking_utils import sdpa_mask

    # Documents of a pack need no mask, and laying one down would cost its square.
    return None if _state.get().runs is not None else sdpa_mask(*arguments, **options)


def _attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    is_causal: bool | None = None,
    **options: Any,
) -> tuple[Tensor, None]:
    state = _state.get()
    causal = bool(getattr(module, "is_causal", True) if is_causal is None else is_causal)
    scale = query.shape[-1] ** -0.5 if scaling is None else float(scaling)
    drop = _drop(module, state.dropout)
    with torch.autocast(query.device.type, enabled=False):
        if state.runs is not None:
            for name in ("position_bias", "softcap", "s_aux"):
                if options.get(name) is not None:
                    raise CannotAttendError(name)
            of = Runs(state.runs, causal, scale, options.get("sliding_window"), drop)
            return attend_runs(query, key, value, of), None
        if drop is not None:
            return _padded(query, key, value, attention_mask, causal, scale, drop), None
        from transformers.integrations.sdpa_attention import sdpa_attention_forward

        output, _ = sdpa_attention_forward(
            module, query.float(), key.float(), value.float(), attention_mask,
            scaling=scaling, is_causal=is_causal, **options,
        )  # fmt: skip
    return output.to(query.dtype), None


def _drop(module: nn.Module, probability: float) -> Drop | None:
    if not module.training or probability == 0.0:
        return None
    keys = keyed_dropout.current().tokens
    site = str(getattr(module, SITE, ""))
    return Drop(probability, keys.reshape(-1), site, int(getattr(module, FIRST_HEAD, 0)))


def _padded(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None,
    causal: bool,
    scale: float,
    drop: Drop,
) -> Tensor:
    """Attention with dropped weights over rows of one length; (b, l, heads, width)."""
    rows, heads, length, _ = query.shape
    groups = heads // key.shape[1]
    q, k, v = query.float(), key.float(), value.float()
    if groups > 1:
        k, v = k.repeat_interleave(groups, dim=1), v.repeat_interleave(groups, dim=1)
    scores = torch.matmul(q, k.transpose(-1, -2)) * scale
    if mask is None:
        if causal:
            later = torch.ones(length, length, dtype=torch.bool, device=q.device).triu_(1)
            scores = scores.masked_fill(later, -torch.inf)
    elif mask.dtype == torch.bool:
        scores = scores.masked_fill(~mask, torch.finfo(scores.dtype).min)
    else:
        scores = scores + mask
    weights = torch.softmax(scores, -1)
    kept = keyed_dropout.attention_keep(
        drop.keys.view(rows, length),
        length,
        first_head=drop.first_head,
        heads=heads,
        site=drop.site,
        probability=drop.probability,
    )
    weights = weights * kept.to(weights.dtype).mul_(1.0 / (1.0 - drop.probability))
    return torch.matmul(weights, v).transpose(1, 2).contiguous().to(query.dtype)
