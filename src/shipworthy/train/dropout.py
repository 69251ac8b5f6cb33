"""Dropout whose masks are a function of what is dropped, not of the order in which it is computed.

Every mask value is a hash of the seed, the pass over the rows, the row, the token's position in it,
the place in the model and the channel. So a text has the same masks alone, padded, packed between
others, in any micro-batch and on any process. The hash is the finaliser of splitmix64 (Steele, Lea
and Flood 2014) over a counter, as counter-based generators do; each 64-bit hash serves four values
with 16 bits, so that a probability is kept to 1/65536. That is several times faster on a processor
than torch's own Bernoulli draws.
"""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from shipworthy.core.digest import digest_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray
    from torch import Tensor

_GOLDEN, _FIRST, _SECOND = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB
_WORDS = 4  # 16-bit words of a hash
# Attention weights have no channel; their sites must not meet those of hidden values.
_ATTENTION = "attention weights of "


def _signed(number: int) -> int:
    """Return a 64-bit pattern as the signed number that torch knows it by."""
    number &= (1 << 64) - 1
    return number - (1 << 64) if number >> 63 else number


def _mix(x: Tensor) -> Tensor:
    """Hash each int64 of `x` in place (splitmix64's finaliser)."""
    # torch shifts the sign in: the bits that it fills are taken away.
    x ^= (x >> 30).bitwise_and_((1 << 34) - 1)
    x *= _signed(_FIRST)
    x ^= (x >> 27).bitwise_and_((1 << 37) - 1)
    x *= _signed(_SECOND)
    x ^= (x >> 31).bitwise_and_((1 << 33) - 1)
    return x


def _mix_numpy(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    x = (x ^ (x >> np.uint64(30))) * np.uint64(_FIRST)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(_SECOND)
    return x ^ (x >> np.uint64(31))


def _fold(*parts: int | NDArray[Any]) -> NDArray[np.uint64]:
    """Hash several numbers, broadcast against one another, into one."""
    found = np.zeros((), dtype=np.uint64)
    for part in parts:
        number = np.asarray(part, dtype=np.int64).astype(np.uint64)
        with np.errstate(over="ignore"):
            found = _mix_numpy(found * np.uint64(_GOLDEN) + number + np.uint64(_GOLDEN))
    return found


def document_keys(
    *, seed: int, visit: int, rows: NDArray[np.int64], copy: int = 0
) -> NDArray[np.int64]:
    """Return the key of each row, shape (d,).

    visit: which pass over the rows it is. rows: row numbers. copy: 1 for R-Drop's second pass.
    """
    return _fold(seed, visit, copy, rows).astype(np.int64)


def token_keys(
    documents: NDArray[np.int64], document: NDArray[np.int64], position: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Return the key of each token, of the shape of `document`.

    documents: keys of the rows, (d,). document: for each token the place of its row in `documents`;
    position: its place in the row.
    """
    return _fold(documents[document], position).astype(np.int64)


def salt_of(site: str) -> int:
    """Return the number that tells the masks of one place in the model from those of others.

    site: full name of the module in the whole model, so that no layout changes it.
    """
    return _signed(int(digest_bytes(site.encode())[:16], 16))


def keep(keys: Tensor, salt: int, width: int, probability: float) -> Tensor:
    """Return which of `width` values of each key are kept; bool, shape (*keys.shape, width).

    keys: int64. probability: of being dropped, in [0, 1).
    """
    blocks = -(-width // _WORDS)
    channels = torch.arange(blocks, dtype=torch.int64, device=keys.device)
    counters = keys.unsqueeze(-1) + (channels * _signed(_GOLDEN) + salt)
    words = _mix(counters).view(torch.int16)[..., :width]
    return words >= round(probability * 65536) - 32768


class _Drop(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, kept: Tensor, scale: float) -> Tensor:
        # One factor in the type of the values: two products with it are faster than bool masks.
        factor = kept.to(values.dtype).mul_(scale)
        ctx.save_for_backward(factor)
        return values * factor

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (factor,) = ctx.saved_tensors
        return gradients[0] * factor, None, None


@dataclass(frozen=True, eq=False)
class Keys:
    """Keys of what the model computes at the moment.

    tokens: of the shape of `input_ids`, a token each. documents: (d,), a row each, for what is
    computed once a row (pooled values).
    """

    tokens: Tensor
    documents: Tensor


_current: ContextVar[Keys | None] = ContextVar("shipworthy_dropout_keys", default=None)


@contextmanager
def keyed(tokens: Tensor, documents: Tensor) -> Iterator[None]:
    """Let the masks inside the block belong to these tokens and rows."""
    before = _current.set(Keys(tokens, documents))
    try:
        yield
    finally:
        _current.reset(before)


def current() -> Keys:
    """Return the keys of the innermost `keyed` block."""
    keys = _current.get()
    if keys is None:
        raise RuntimeError("values are dropped, but nobody said of which rows")
    return keys


class KeyedDropout(nn.Module):
    """Dropout of hidden values, for use inside `keyed`.

    p: probability of being dropped, in [0, 1). site: full name of the place in the whole model.
    Values whose leading axes are those of the tokens take the masks of the tokens, values with one
    line a row those of the rows; where a row has several lines, each has masks of its own.
    """

    def __init__(self, p: float, site: str) -> None:
        super().__init__()
        self.p, self.site, self._salt = p, site, salt_of(site)

    def forward(self, values: Tensor) -> Tensor:
        """Return the values, some of them 0 and the others larger by 1 / (1 - p)."""
        if not self.training or self.p == 0.0:
            return values
        keys = current()
        lead = values.shape[:-1]
        if lead == keys.tokens.shape:
            of = keys.tokens
        elif lead.numel() == keys.tokens.numel():
            of = keys.tokens.reshape(lead)
        elif lead.numel() == keys.documents.numel():
            of = keys.documents.reshape(lead)
        elif lead and lead[0] == keys.documents.numel():
            places = torch.arange(lead[1:].numel(), device=keys.documents.device)
            of = _mix(keys.documents[:, None] + places * _signed(_GOLDEN)).reshape(lead)
        else:
            raise RuntimeError(f"{self.site} drops values of shape {tuple(values.shape)}")
        kept = keep(of, self._salt, values.shape[-1], self.p)
        dropped: Tensor = _Drop.apply(values, kept, 1.0 / (1.0 - self.p))  # type: ignore[no-untyped-call]
        return dropped

    def extra_repr(self) -> str:
        """Show probability and place."""
        return f"p={self.p}, site={self.site!r}"


def install(module: nn.Module, probability: float) -> int:
    """Put keyed dropout of this probability in the place of every `nn.Dropout`; return how many.

    Dropout of attention weights is not a module's affair here: it is applied by the attention
    function, with `attention_keep`. A model without modules of the kind has nothing to replace.
    """
    found = [
        (parent, name, child, f"{prefix}.{name}" if prefix else name)
        for prefix, parent in module.named_modules()
        for name, child in parent.named_children()
        if isinstance(child, (nn.Dropout, KeyedDropout))
    ]
    for parent, name, child, site in found:
        kept = child.site if isinstance(child, KeyedDropout) else site
        fresh = KeyedDropout(probability, kept)
        setattr(parent, name, fresh.train(child.training))
    return len(found)


def attention_keep(
    queries: Tensor, length: int, *, first_head: int, heads: int, site: str, probability: float
) -> Tensor:
    """Return which attention weights are kept; bool, shape (d, heads, q, length).

    queries: int64 keys of the query tokens, (d, q). length: number of key positions. first_head:
    number in the whole model of the first of the `heads` heads. site: name of the attention module.
    """
    salt = salt_of(_ATTENTION + site)
    numbers = torch.arange(first_head, first_head + heads, dtype=torch.int64, device=queries.device)
    # A head's own stream: hashed, so that neighbouring heads do not share counters.
    of_head = _mix(numbers * _signed(_GOLDEN) + salt)
    keys = _mix(queries.unsqueeze(1) ^ of_head[:, None])
    return keep(keys, salt, length, probability)
