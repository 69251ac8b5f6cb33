"""Matrices of low rank as two layers, and back.

A folder of plain transformers holds every matrix whole, of whatever rank it is. Where a matrix has
a rank r so low that r(m + n) < mn, two layers of r values between them say the same with fewer
weights: a graph holds those (`graphs.py`), and a training moves those, so that the rank stays
(`recover.py`). Rows and columns of zeros are another lever's affair, and left out of account.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import nn

from shipworthy.compress.blocks import repeated
from shipworthy.core.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

TOLERANCE = 1e-6
"""Share of the largest singular value below which others are rounding. A product kept in fp32 has
up to 1e-7 of it (entries are off by 2^-24 of themselves), a trained matrix far more than 1e-6."""


class Factored(nn.Sequential):
    """Two layers whose product is one linear layer, or one table of embeddings."""

    @property
    def rank(self) -> int:
        """Values between the two."""
        second: Any = self[1]
        return int(second.in_features)


class Factors(NamedTuple):
    """left, (m, r), and right, (r, n), fp32; their product is a matrix of (m, n)."""

    left: Tensor
    right: Tensor


def largest_rank(rows: int, columns: int) -> int:
    """Return the largest rank at which two matrices are smaller than the one; 0 if there is none.

    >>> largest_rank(384, 384), largest_rank(1, 8), largest_rank(0, 8)
    (191, 0, 0)
    """
    if not rows * columns:
        return 0
    return -(-rows * columns // (rows + columns)) - 1


def live(weights: Tensor) -> tuple[Tensor, Tensor]:
    """Return the numbers of the rows and of the columns that are not zeros."""
    some = weights.detach() != 0
    return some.any(dim=1).nonzero()[:, 0], some.any(dim=0).nonzero()[:, 0]


def factors_of(weights: Tensor) -> Factors | None:
    """Return two smaller matrices whose product this one is; None where its rank is too high.

    Both bear half of each singular value, so that a training moves them alike.
    """
    rows, columns = live(weights)
    core = weights.detach().double()[rows][:, columns]
    if largest_rank(*core.shape) < 1 or surely_whole(core):
        return None
    # The Gram matrix of the shorter side has singular values down to 1e-8 of the largest.
    tall = core.shape[0] > core.shape[1]
    squares, vectors = torch.linalg.eigh(core.T @ core if tall else core @ core.T)
    kept = squares > TOLERANCE**2 * squares[-1]
    rank = int(kept.sum())
    if rank > largest_rank(*core.shape):
        return None
    vectors, roots = vectors[:, kept].flip(1), squares[kept].flip(0) ** 0.25
    left, right = (core @ vectors, vectors.T) if tall else (vectors, vectors.T @ core)
    left, right = (left / roots, right * roots[:, None]) if tall else (
        left * roots, right / roots[:, None]
    )  # fmt: skip
    whole = Factors(
        weights.new_zeros(weights.shape[0], rank), weights.new_zeros(rank, weights.shape[1])
    )
    whole.left[rows], whole.right[:, columns] = left.float(), right.float()
    return whole


def surely_whole(core: Tensor) -> bool:
    """Say whether a small part of a matrix, fp64, shows already that its rank is too high.

    A part has no larger singular values than the whole. So where the Gram matrix of one with as
    many rows as the least rank that is too high is positive definite by a margin, that is proof;
    Cholesky's decomposition of it costs a hundredth of the matrix's singular values.
    """
    short = core if core.shape[0] <= core.shape[1] else core.T
    count = largest_rank(*core.shape) + 1
    # Parts spread over the whole: first rows of a table are often words that nobody uses.
    rows = torch.linspace(0, short.shape[0] - 1, count).round().long()
    wide = min(short.shape[1], 2 * count)
    columns = torch.linspace(0, short.shape[1] - 1, wide).round().long()
    part = short[rows][:, columns]
    gram = part @ part.T
    gram.diagonal().sub_((TOLERANCE * core.norm()) ** 2)
    return int(torch.linalg.cholesky_ex(gram).info) == 0


def is_low_rank(module: nn.Module) -> bool:
    """Say whether there is a matrix to split."""
    return any(factors_of(layer.weight) is not None for _, _, layer in _whole_layers(module))


def split(module: nn.Module) -> None:
    """Put two layers in the place of each matrix of low rank, in place."""
    for holder, name, layer in list(_whole_layers(module)):
        found = factors_of(layer.weight)
        if found is not None:
            _replace(holder, name, _factored(layer, found))


def merge(module: nn.Module) -> None:
    """Put one layer in the place of each two that `split` made, in place."""
    for path, pair in list(module.named_modules()):
        if isinstance(pair, Factored):
            holder, _, name = path.rpartition(".")
            _replace(module.get_submodule(holder), name, _merged(pair))


def second_halves(module: nn.Module) -> list[Tensor]:
    """Return what turns the values of a split table of embeddings into its rows."""
    pairs = [part for part in module.modules() if isinstance(part, Factored)]
    seconds: list[Any] = [pair[1] for pair in pairs if isinstance(pair[0], nn.Embedding)]
    return [second.weight for second in seconds]


def _whole_layers(module: nn.Module) -> Iterator[tuple[nn.Module, str, Any]]:
    """Yield what holds it, name there, and layer: linear ones in blocks, and the words' table."""
    model: Any = module
    try:
        _, _, blocks = repeated(module, "")
    except ModelError:
        return
    wanted = {id(part) for part in blocks.modules() if type(part) is nn.Linear}
    table = model.get_input_embeddings()
    if type(table) is nn.Embedding:
        wanted.add(id(table))
    for holder in list(module.modules()):
        if not isinstance(holder, Factored):
            for name, part in list(holder.named_children()):
                if id(part) in wanted:
                    yield holder, name, part


def _replace(holder: nn.Module, name: str, layer: nn.Module) -> None:
    setattr(holder, name, layer.train(holder.training))


def _linear(weights: Tensor, bias: nn.Parameter | None = None) -> nn.Linear:
    # On `meta` nothing is drawn from the global generator for an initialisation.
    rows, columns = weights.shape
    layer = nn.Linear(columns, rows, bias=bias is not None, device="meta")
    layer.weight = nn.Parameter(weights)
    if bias is not None:
        layer.bias = bias
    return layer


def _table(weights: Tensor, like: nn.Embedding) -> nn.Embedding:
    rows, columns = weights.shape
    return nn.Embedding(rows, columns, padding_idx=like.padding_idx, _weight=weights)


def _factored(layer: Any, found: Factors) -> Factored:
    if isinstance(layer, nn.Embedding):
        return Factored(_table(found.left, layer), _linear(found.right.T.contiguous()))
    return Factored(_linear(found.right), _linear(found.left, layer.bias))


def _merged(pair: Factored) -> nn.Module:
    first: Any = pair[0]
    second: Any = pair[1]
    # In fp64, so that what is added to the rank by rounding is the rounding of the sum alone.
    one, two = first.weight.detach().double(), second.weight.detach().double()
    if isinstance(first, nn.Embedding):
        return _table((one @ two.T).float(), first)
    return _linear((two @ one).float(), second.bias)
