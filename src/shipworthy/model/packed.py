"""Matrices of few bits: how they are stored, and how a language model multiplies with them.

    int8    one scale a row of the matrix: w = q s, q in [-127, 127]
    int4    one scale and zero a group of columns: w = q s + z, q in [0, 15], two to a byte

torch's own kernels read the few bits as they are: what an answer costs is reading weights, and with
one row int8 and int4 took a third of the time of fp32. Many rows (a prompt) of int8 are multiplied
by the matrix widened to bf16 for the moment, which is then faster. Activations are bf16.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn.functional import linear

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

FEW_ROWS = 16
"""Rows up to which the kernel of int8 is faster than widening, on processors."""

ROWS_OF_FOUR = 16
"""What the kernel of int4 wants the rows of a matrix to be a multiple of."""

PACKED, SCALE, ZERO = ".weight_packed", ".weight_scale", ".weight_zero"


def pack_rows(weights: Tensor) -> dict[str, Tensor]:
    """Return a matrix in 8 bits with one scale a row, rounded to nearest."""
    scale = (weights.abs().amax(dim=1) / 127).clamp(min=1e-12).to(torch.bfloat16)
    steps = weights / scale.float()[:, None]
    return {PACKED: steps.round().clamp(-127, 127).to(torch.int8), SCALE: scale}


def grid(weights: Tensor, group: int) -> tuple[Tensor, Tensor]:
    """Return scale and zero of each group of columns, (n, k / group) in bf16, by its range."""
    parts = weights.reshape(len(weights), -1, group)
    low, high = parts.amin(dim=2), parts.amax(dim=2)
    scale = ((high - low) / 15).clamp(min=1e-8).to(torch.bfloat16)
    return scale, low.to(torch.bfloat16)


def steps_of(weights: Tensor, scale: Tensor, zero: Tensor, group: int) -> Tensor:
    """Return the nearest of the 16 steps of each weight, uint8, shape of the weights."""
    parts = weights.reshape(len(weights), -1, group)
    steps = (parts - zero.float()[..., None]) / scale.float()[..., None]
    return steps.round().clamp(0, 15).to(torch.uint8).flatten(1)


def pack_steps(steps: Tensor, scale: Tensor, zero: Tensor) -> dict[str, Tensor]:
    """Return steps two to a byte, the first in its low half, with their scales and zeros."""
    return {PACKED: steps[:, ::2] | (steps[:, 1::2] << 4), SCALE: scale, ZERO: zero}


def unpack_steps(packed: Tensor) -> Tensor:
    """Return steps that `pack_steps` packed."""
    return torch.stack([packed & 15, packed >> 4], dim=2).flatten(1)


def widened(parts: Mapping[str, Tensor]) -> Tensor:
    """Return the fp32 matrix that packed parts stand for."""
    packed, scale = parts[PACKED], parts[SCALE].float()
    if ZERO not in parts:
        return packed.float() * scale[:, None]
    steps = unpack_steps(packed).float()
    group = steps.shape[1] // scale.shape[1]
    parted = steps.reshape(len(steps), -1, group)
    return (parted * scale[..., None] + parts[ZERO].float()[..., None]).flatten(1)


class PackedLinear(nn.Module):
    """A linear layer whose matrix takes 8 or 4 bits a weight."""

    def __init__(self, parts: Mapping[str, Tensor], bias: Tensor | None) -> None:
        super().__init__()
        self.parts = dict(parts)
        self.bias = None if bias is None else nn.Parameter(bias, requires_grad=False)
        self.out_features = len(parts[PACKED])
        self._four = ZERO in parts
        if self._four:
            scale, zero = parts[SCALE], parts[ZERO]
            self._group = 2 * parts[PACKED].shape[1] // scale.shape[1]
            # The kernel counts its steps from 8: w = (q - 8) s + z.
            middle = (zero.float() + 8 * scale.float()).to(torch.bfloat16)
            self._scales = torch.stack([scale, middle], dim=2).transpose(0, 1).contiguous()
            steps = unpack_steps(parts[PACKED]).to(torch.int32)
            self._kernel = torch.ops.aten._convert_weight_to_int4pack_for_cpu(steps, 2)
            del self.parts[PACKED]  # the kernel's own order of the same bits is enough

    def forward(self, values: Tensor) -> Tensor:
        """Return values (..., k) times the matrix, (..., n)."""
        rows = values.flatten(0, -2).to(torch.bfloat16)
        found = self._product(rows)
        if self.bias is not None:
            found = found + self.bias
        return found.reshape(*values.shape[:-1], self.out_features)

    def _product(self, rows: Tensor) -> Tensor:
        if self._four:
            found: Tensor = torch.ops.aten._weight_int4pack_mm_for_cpu(
                rows, self._kernel, self._group, self._scales
            )
            return found
        steps, scale = self.parts[PACKED], self.parts[SCALE]
        if len(rows) > FEW_ROWS:
            return linear(rows, steps.to(torch.bfloat16)) * scale
        return torch._weight_int8pack_mm(rows, steps, scale)


class PackedEmbedding(nn.Module):
    """A table of words in 8 bits, one scale a word."""

    def __init__(self, parts: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.parts = dict(parts)

    def forward(self, ids: Tensor) -> Tensor:
        """Return the vector of each word."""
        return self.parts[PACKED][ids].to(torch.bfloat16) * self.parts[SCALE][ids][..., None]


def load_packed(folder: Path, config: Any) -> nn.Module:
    """Return a language model whose matrices stay packed, in eval mode.

    config: of transformers. Raises KeyError where a weight is absent.
    """
    from safetensors.torch import load_file
    from transformers import AutoModelForCausalLM

    # Copied: in the file tensors lie on any byte, and the kernels read aligned words.
    tensors = {n: t.clone() for n, t in load_file(folder / "model.safetensors").items()}
    with _no_matrices():
        kind: Any = AutoModelForCausalLM  # it carries no types
        model: Any = kind.from_config(config, dtype=torch.bfloat16)
    named = list(model.named_modules())
    for name, module in named:
        if name + PACKED not in tensors:
            continue
        parts = {p: tensors.pop(name + p) for p in (PACKED, SCALE, ZERO) if name + p in tensors}
        if isinstance(module, nn.Embedding):
            _put(model, name, PackedEmbedding(parts))
        else:
            _put(model, name, PackedLinear(parts, tensors.pop(f"{name}.bias", None)))
    if getattr(config, "tie_word_embeddings", False):
        table = model.get_input_embeddings()
        if isinstance(table, PackedEmbedding):
            model.lm_head = PackedLinear(table.parts, None)
        else:
            model.lm_head.weight = nn.Parameter(tensors[_name_of(model, table) + ".weight"])
    for name, value in tensors.items():
        owner, _, own = name.rpartition(".")
        setattr(model.get_submodule(owner), own, nn.Parameter(value, requires_grad=False))
    lacking = [name for name, p in model.named_parameters() if p.is_meta]
    if lacking:
        raise KeyError(lacking[0])
    result: nn.Module = model.eval()
    return result


def _put(model: nn.Module, name: str, module: nn.Module) -> None:
    owner, _, own = name.rpartition(".")
    setattr(model.get_submodule(owner), own, module)


def _name_of(model: nn.Module, wanted: nn.Module) -> str:
    names: dict[nn.Module, str] = {module: name for name, module in model.named_modules()}
    return names[wanted]


@contextmanager
def _no_matrices() -> Iterator[None]:
    """Make matrices without memory inside the block: they are replaced before they are used."""
    kinds: tuple[Any, ...] = (nn.Linear, nn.Embedding)
    before = [kind.__init__ for kind in kinds]

    def without_memory(make: Any) -> Any:
        def init(self: Any, *arguments: Any, **options: Any) -> None:
            make(self, *arguments, **{**options, "device": "meta"})

        return init

    for kind, make in zip(kinds, before, strict=True):
        kind.__init__ = without_memory(make)
    try:
        yield
    finally:
        for kind, make in zip(kinds, before, strict=True):
            kind.__init__ = make
