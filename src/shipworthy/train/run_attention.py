"""Attention inside each document of a pack, as one node of the autograd graph.

A run is a number of documents of equal length that are neighbours in the pack: a rectangle, which
the fused kernel takes without padding and without a mask. The kernel computes in fp32, which on
processors is faster than bf16 as well as more exact; one node for all runs saves the splitting and
joining that autograd would record for each.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from shipworthy.train.dropout import attention_keep

if TYPE_CHECKING:
    from torch import Tensor

_forward = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
_backward = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward


class Drop(NamedTuple):
    """Dropout of attention weights: keys of the tokens, (t,), and where in the model it happens."""

    probability: float
    keys: Tensor
    site: str
    first_head: int


class Runs(NamedTuple):
    """What is computed. runs: documents and length of each run. window: keys that a query sees."""

    runs: tuple[tuple[int, int], ...]
    causal: bool
    scale: float
    window: int | None
    drop: Drop | None


def attend_runs(query: Tensor, key: Tensor, value: Tensor, of: Runs) -> Tensor:
    """Return the attention of each token to the tokens of its own document.

    query: (1, heads, t, width); key, value: the same with heads, or a number of heads that divides
    it. Returns (1, t, heads, width) in the type of the query; computed in fp32 on processors, and
    in the type of the values elsewhere.
    """
    dtype = query.dtype
    q, k, v = (x.squeeze(0).transpose(0, 1) for x in (query, key, value))  # (t, heads, width)
    if query.device.type == "cpu":
        result: Tensor = _Attention.apply(q.float(), k.float(), v.float(), of)  # type: ignore[no-untyped-call]
        return result.to(dtype).unsqueeze(0)
    # Positions are turned into queries and keys in fp32, also where products are bf16.
    return _attend_each(q.to(v.dtype), k.to(v.dtype), v, of).to(dtype).unsqueeze(0)


class _Attention(torch.autograd.Function):
    """All runs of a pack on a processor; q, k, v: (t, heads, width), fp32."""

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, of: Runs) -> Tensor:
        out = q.new_empty(q.shape)
        groups = q.shape[1] // k.shape[1]
        saved: list[Tensor] = []
        start = 0
        for documents, length in of.runs:
            stop = start + documents * length
            rq, rk, rv = (
                _run(x, start, stop, length, g) for x, g in ((q, 1), (k, groups), (v, groups))
            )
            if of.drop is None:
                found, norm = _forward(
                    rq, rk, rv, 0.0, of.causal and length > 1, scale=of.scale,
                    attn_mask=_band(of, length, q),
                )  # fmt: skip
                saved += [found, norm]
            else:
                weights = torch.softmax(_scores(rq, rk, of, length), -1)
                factor = _factor(of.drop, start, stop, length, weights)
                found = torch.matmul(weights * factor, rv)
                saved += [weights, factor]
            out[start:stop].view(documents, length, *q.shape[1:]).copy_(found.transpose(1, 2))
            start = stop
        ctx.of, ctx.groups = of, groups
        ctx.save_for_backward(q, k, v, *saved)
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (grad,) = gradients
        of: Runs = ctx.of
        groups: int = ctx.groups
        q, k, v, *saved = ctx.saved_tensors
        gq, gk, gv = torch.empty_like(q), torch.empty_like(k), torch.empty_like(v)
        start = 0
        for number, (documents, length) in enumerate(of.runs):
            stop = start + documents * length
            rq, rk, rv = (
                _run(x, start, stop, length, g) for x, g in ((q, 1), (k, groups), (v, groups))
            )
            rg = _run(grad, start, stop, length, 1)
            first, second = saved[2 * number], saved[2 * number + 1]
            if of.drop is None:
                dq, dk, dv = _backward(
                    rg, rq, rk, rv, first, second, 0.0, of.causal and length > 1, scale=of.scale,
                    attn_mask=_band(of, length, q),
                )  # fmt: skip
            else:
                dv = torch.matmul((first * second).transpose(-1, -2), rg)
                dw = torch.matmul(rg, rv.transpose(-1, -2)).mul_(second)
                ds = torch._softmax_backward_data(dw, first, -1, first.dtype).mul_(of.scale)
                dq, dk = torch.matmul(ds, rk), torch.matmul(ds.transpose(-1, -2), rq)
            for whole, part, shared in ((gq, dq, 1), (gk, dk, groups), (gv, dv, groups)):
                _put(whole, part, start, stop, shared)
            start = stop
        return gq, gk, gv, None


def _run(x: Tensor, start: int, stop: int, length: int, groups: int) -> Tensor:
    """Return a run as (documents, heads, length, width), heads repeated where they are shared."""
    part = x[start:stop].view(-1, length, *x.shape[1:]).transpose(1, 2)
    return part if groups == 1 else part.repeat_interleave(groups, dim=1)


def _put(whole: Tensor, part: Tensor, start: int, stop: int, groups: int) -> None:
    """Write (documents, heads, length, width) into its place, shared heads added up."""
    documents, heads, length, width = part.shape
    if groups > 1:
        part = part.view(documents, heads // groups, groups, length, width).sum(2)
    whole[start:stop].view(documents, length, *whole.shape[1:]).copy_(part.transpose(1, 2))


def _band(of: Runs, length: int, like: Tensor) -> Tensor | None:
    """Return the mask of a window that is shorter than the documents, None where all is seen."""
    if of.window is None or of.window >= length:
        return None
    places = torch.arange(length, device=like.device)
    far = (places[:, None] - places[None, :]).abs() >= of.window
    return torch.zeros(1, 1, length, length, dtype=like.dtype).masked_fill_(far, -torch.inf)


def _scores(q: Tensor, k: Tensor, of: Runs, length: int) -> Tensor:
    scores = torch.matmul(q, k.transpose(-1, -2)).mul_(of.scale)
    if of.causal:
        later = torch.ones(length, length, dtype=torch.bool, device=q.device).triu_(1)
        scores = scores.masked_fill_(later, -torch.inf)
    band = _band(of, length, q)
    return scores if band is None else scores.add_(band)


def _factor(drop: Drop, start: int, stop: int, length: int, weights: Tensor) -> Tensor:
    """Return 0 where a weight is dropped and 1 / (1 - p) elsewhere."""
    kept = attention_keep(
        drop.keys[start:stop].view(-1, length),
        length,
        first_head=drop.first_head,
        heads=weights.shape[1],
        site=drop.site,
        probability=drop.probability,
    )
    return kept.to(weights.dtype).mul_(1.0 / (1.0 - drop.probability))


def _attend_each(q: Tensor, k: Tensor, v: Tensor, of: Runs) -> Tensor:
    """The same through torch's own attention, run by run: for devices with kernels of theirs."""
    from torch.nn.functional import scaled_dot_product_attention

    groups = q.shape[1] // k.shape[1]
    found, start = [], 0
    for documents, length in of.runs:
        stop = start + documents * length
        rq, rk, rv = (
            _run(x, start, stop, length, g) for x, g in ((q, 1), (k, groups), (v, groups))
        )
        if of.drop is None:
            band = _band(of, length, q)
            if band is not None and of.causal:
                later = torch.ones(length, length, dtype=torch.bool, device=q.device).triu_(1)
                band = band.to(q.device).masked_fill(later, -torch.inf)
            part = scaled_dot_product_attention(
                rq, rk, rv, attn_mask=band, is_causal=of.causal and band is None, scale=of.scale
            )
        else:
            weights = torch.softmax(_scores(rq.float(), rk.float(), of, length), -1)
            part = torch.matmul(
                weights * _factor(of.drop, start, stop, length, weights), rv.float()
            )
        found.append(part.transpose(1, 2).reshape(stop - start, *q.shape[1:]).to(q.dtype))
        start = stop
    return torch.cat(found)
