"""A model in fp32 that computes as its int8 graph will.

The rules are those of the lever `int8` (`compress/quantize.py`) and of ONNX Runtime's
DynamicQuantizeLinear: weights of linear layers in 7 bits, symmetric, one scale for each output;
embedding tables in 8 bits with one scale and zero point; what goes into a linear layer in 8 bits
with a scale and zero point for each text, since the graph is given one text at a time. The gradient
goes straight through the rounding (Bengio et al. 2013, "Estimating or propagating gradients through
stochastic neurons").
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn.functional import embedding, linear

from shipworthy.train.attention import current_runs

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from torch import Tensor

WEIGHT_STEPS = 64
"""Steps to either side of zero: 7 bits, as the lever stores them."""
STEPS = 255


class FakeQuantization:
    """Rounding in a model's layers, from now until `stop`; parameters keep names and precision.

    keep: layers that stay as they are.
    """

    def __init__(self, module: nn.Module, keep: Collection[nn.Module] = ()) -> None:
        kept = {id(part) for part in keep}
        self._changed: list[Any] = []
        for part in module.modules():
            if id(part) in kept:
                continue
            if isinstance(part, nn.Linear):
                self._change(part, _linear(part))
            elif isinstance(part, nn.Embedding):
                self._change(part, _embedding(part))

    def _change(self, part: Any, forward: Callable[[Tensor], Tensor]) -> None:
        part.forward = forward
        self._changed.append(part)

    def stop(self) -> None:
        """Let the layers compute as they are again."""
        for part in self._changed:
            del part.forward
        self._changed.clear()


def _linear(layer: nn.Linear) -> Callable[[Tensor], Tensor]:
    def forward(values: Tensor) -> Tensor:
        return linear(rounded_texts(values), rounded_weights(layer.weight), layer.bias)

    return forward


def _embedding(table: nn.Embedding) -> Callable[[Tensor], Tensor]:
    def forward(ids: Tensor) -> Tensor:
        weight = table.weight.detach()
        scale, zero = _affine(weight.min().double(), weight.max().double())
        # Only the rows that are looked up are rounded; the range is that of the whole table.
        found = embedding(ids, table.weight, table.padding_idx)
        return _round(found, scale.to(found), zero.to(found), 0, STEPS)

    return forward


def rounded_weights(weight: Tensor) -> Tensor:
    """Return the weights of a linear layer as 7 bits hold them, one scale for each row."""
    largest = weight.detach().abs().amax(dim=1, keepdim=True)
    scale = torch.where(largest > 0, largest / WEIGHT_STEPS, torch.ones_like(largest))
    return _round(weight, scale, torch.zeros_like(scale), -WEIGHT_STEPS, WEIGHT_STEPS)


def rounded_texts(values: Tensor) -> Tensor:
    """Return values, (..., width), as 8 bits hold them, with a range for each text.

    Texts are the documents of the pack at hand, else the entries of the first axis; the padding of
    a rectangle counts as part of its text.
    """
    low, high = (bound.to(values) for bound in _bounds(values.detach()))
    scale, zero = _affine(low, high)
    return _round(values, scale, zero, 0, STEPS)


def _bounds(values: Tensor) -> tuple[Tensor, Tensor]:
    """Return the least and the largest of each text, 0 among them, to set beside the values."""
    runs = current_runs()
    lead = values.shape[:-1]
    if runs is not None and sum(n * length for n, length in runs) == lead.numel():
        owner = _owners(runs).to(values.device)
        count = sum(n for n, _ in runs)
        found = []
        for how, each in (("amin", values.amin(-1)), ("amax", values.amax(-1))):
            whole = values.new_zeros(count).scatter_reduce(0, owner, each.flatten(), how)
            found.append(whole[owner].view(*lead, 1))
        return found[0], found[1]
    flat = values.flatten(1)
    shape = (-1, *(1 for _ in values.shape[1:]))
    return flat.amin(1).clamp(max=0).view(shape), flat.amax(1).clamp(min=0).view(shape)


@lru_cache(maxsize=8)
def _owners(runs: tuple[tuple[int, int], ...]) -> Tensor:
    """Return the number of the document of each token of a pack."""
    lengths = torch.tensor([length for n, length in runs for _ in range(n)])
    return torch.arange(len(lengths)).repeat_interleave(lengths)


def _affine(low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
    """Return scale and zero point of 8 bits between two bounds, which are widened to 0."""
    low, high = low.clamp(max=0), high.clamp(min=0)
    scale = (high - low) / STEPS
    scale = torch.where(scale > 0, scale, torch.ones_like(scale))
    return scale, torch.round(-low / scale).clamp(0, STEPS)


class _Round(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, values: Tensor, scale: Tensor, zero: Tensor, least: int, most: int
    ) -> Tensor:
        steps = torch.round(values / scale).add_(zero).clamp_(least, most)
        return steps.sub_(zero).mul_(scale)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None, None]:
        # Nothing lies outside the bounds, so that nothing is cut off.
        return gradients[0], None, None, None, None


def _round(values: Tensor, scale: Tensor, zero: Tensor, least: int, most: int) -> Tensor:
    found: Tensor = _Round.apply(values, scale, zero, least, most)  # type: ignore[no-untyped-call]
    return found
