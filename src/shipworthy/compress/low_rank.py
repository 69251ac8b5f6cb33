"""Lower rank: each matrix of the blocks becomes a product of two that are smaller.

What is kept is what the matrix does to the inputs that it really has. With M = S Sᵀ the second
moments of its inputs on calibration rows, ‖(W − W')S‖ is least, among all W' of rank r, for
W' = U Uᵀ W with U the first r left singular vectors of W S (SVD-LLM, Wang et al. 2025, sec. 3.1,
"truncation-aware data whitening"; ASVD, Yuan et al. 2023, scales by a diagonal in the place of S);
the squared error is the sum of the squared singular values that are left out. Ranks are dealt out
over all matrices so that the sum of their errors is least for the parameters that may be left.

The folder holds the products, opens in plain transformers and is as large as before; `factors.py`
takes them apart when a graph is written or a training goes on. By itself the lever therefore saves
nothing: end with `onnx` or `int8`. Unstructured pruning afterwards would undo the rank.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from shipworthy.compress.anatomy import blocks_of
from shipworthy.compress.factors import largest_rank, live
from shipworthy.compress.importance import TOKENS, groups_of, looked_at
from shipworthy.compress.parents import require_fp32
from shipworthy.core.errors import ModelError
from shipworthy.core.locale import text
from shipworthy.core.progress import progress
from shipworthy.data.batches import buckets, pad
from shipworthy.data.tokens import encode_cached
from shipworthy.model.pretrained import load_module, load_tokenizer, save_variant

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import Tensor, nn

    from shipworthy.compress.anatomy import Block
    from shipworthy.compress.lever_settings import Balance, LowRankSettings
    from shipworthy.compress.material import Material
    from shipworthy.model.checkpoint import RuntimeInfo

    FloatArray = NDArray[np.float64]

DAMPING = 0.01
"""Share of the mean of the diagonal of M that is added to it: no direction counts for nothing
because few calibration rows happen to have it, and S is well conditioned."""


def low_rank(
    parent: Path | str, out: Path | str, settings: LowRankSettings, material: Material
) -> None:
    """Write a candidate whose matrices are products of two smaller ones, multiplied out.

    parent: a classifier of the runtime `torch`.
    Raises ModelError where it is of another runtime or its parts are not known by name, the
    calibration rows are too few, or the share leaves some matrix no rank at all.
    """
    info = require_fp32(parent, "shaped")
    module: Any = load_module(parent)
    names = {id(part): name for name, part in module.named_modules()}
    readers = {
        names[id(layers[0])]: layers
        for block in blocks_of(module, parent)
        for layers in _by_input(block)
    }
    moments = second_moments(module, parent, info, list(readers), material, settings.balance)
    layers = [(layer, site) for site, several in readers.items() for layer in several]
    spectra = []
    with progress("low_rank", total=len(layers), unit="steps") as report:
        for layer, site in layers:
            spectra.append(spectrum(layer.weight, moments[site]))
            report(1)
    ranks = allocate([s.energies for s in spectra], [s.shape for s in spectra], settings.share)
    table = None
    if settings.embeddings:
        counts = token_counts(parent, info, material, module.get_input_embeddings().num_embeddings)
        table = reduced_table(module.get_input_embeddings().weight, counts, settings.share)
    with torch.no_grad():
        for (layer, _), found, rank in zip(layers, spectra, ranks, strict=True):
            if rank is not None:
                found.reduce(layer.weight, rank)
        if table is not None:
            module.get_input_embeddings().weight.copy_(table)
    save_variant(out, module, info, parent=parent)


def _by_input(block: Block) -> list[list[nn.Linear]]:
    """Return the matrices of a block, those that read the same values together."""
    query, key, value, output = (block.linear(name) for name in block.attention)
    makes = [block.linear(name) for name in block.makes]
    return [[query, key, value], [output], makes, [block.linear(block.reads)]]


@torch.no_grad()
def second_moments(
    module: Any,
    parent: Path | str,
    info: RuntimeInfo,
    sites: Sequence[str],
    material: Material,
    balance: Balance,
) -> dict[str, Tensor]:
    """Return the mean of x xᵀ over the tokens that each layer reads; fp64, (n, n).

    sites: names of the layers. balance: whether all rows count alike, or those of each group
    together.
    Raises ModelError where the calibration rows are too few, or no group is large enough.
    """
    chosen, encoded = looked_at(parent, info, material, fix=text("error.low_rank.rows.fix"))
    members = groups_of(material, balance).members[:, chosen].astype(np.float64)
    weights = torch.from_numpy((members / members.sum(axis=1, keepdims=True).clip(1)).sum(axis=0))
    inputs: dict[str, Tensor] = {}
    hooks = [_catch(module.get_submodule(site), site, inputs) for site in sites]
    moments: dict[str, Tensor] = {}
    total = 0.0
    try:
        with progress("activations", total=len(chosen), unit="rows") as report:
            for rows in buckets(encoded.lengths, token_budget=TOKENS, seed=None):
                batch = pad(encoded, rows, pad_token_id=int(module.config.pad_token_id or 0))
                mask = torch.from_numpy(batch.attention_mask)
                module(input_ids=torch.from_numpy(batch.input_ids), attention_mask=mask)
                each = (weights[rows][:, None] * mask)[mask == 1]
                total += float(each.sum())
                roots = each.sqrt().float()[:, None]
                for site in sites:
                    read = inputs.pop(site)[mask == 1] * roots
                    found = (read.T @ read).double()
                    moments[site] = moments[site].add_(found) if site in moments else found
                report(len(rows))
    finally:
        for hook in hooks:
            hook.remove()
    return {site: found / total for site, found in moments.items()}


def _catch(layer: nn.Module, site: str, inputs: dict[str, Tensor]) -> Any:
    def keep(_: nn.Module, arguments: tuple[Tensor, ...]) -> None:
        inputs[site] = arguments[0]

    return layer.register_forward_pre_hook(keep)


@dataclass(frozen=True, eq=False)
class Spectrum:
    """What each direction of a matrix's output is worth, rows and columns of zeros left out.

    left: (m, k), fp64, orthonormal columns, most needed first, as many as can be of use. energies:
    (min(m, n),), squared singular values, falling. rows: of the whole matrix that are not zeros.
    """

    left: Tensor
    energies: FloatArray
    rows: Tensor
    shape: tuple[int, int]

    def reduce(self, weights: Tensor, rank: int) -> None:
        """Give the matrix this rank, in place; its zeros stay zeros."""
        some = weights[self.rows].double()
        kept = self.left[:, :rank]
        weights[self.rows] = (kept @ (kept.T @ some)).float()


@torch.no_grad()
def spectrum(weights: Tensor, moment: Tensor) -> Spectrum:
    """Return the spectrum of a matrix, (m, n), on inputs with these second moments, (n, n)."""
    rows, columns = live(weights)
    core = weights.detach().double()[rows][:, columns]
    shape = (int(core.shape[0]), int(core.shape[1]))
    if 0 in shape:
        return Spectrum(core, np.zeros(0), rows, shape)
    seen = moment[columns][:, columns].clone()
    mean = float(seen.diagonal().mean())
    seen.diagonal().add_(DAMPING * mean if mean > 0 else 1.0)
    white = core @ torch.linalg.cholesky(seen)
    # By the Gram matrix of the shorter side, several times as fast as a singular value
    # decomposition; fp64 leaves values down to 1e-8 of the largest right.
    tall = shape[0] > shape[1]
    squares, vectors = torch.linalg.eigh(white.T @ white if tall else white @ white.T)
    useful = vectors.flip(1)[:, : largest_rank(*shape)]
    if tall:  # orthonormal columns that span the same spaces, one after the other
        useful, _ = torch.linalg.qr(white @ useful)
    return Spectrum(useful.clone(), squares.flip(0).clamp(min=0).numpy(), rows, shape)


def allocate(
    energies: Sequence[FloatArray], shapes: Sequence[tuple[int, int]], share: float
) -> list[int | None]:
    """Return the rank of each matrix, None where it is left whole.

    energies: squared singular values of each, falling. shapes: (m, n). share: of the parameters of
    all of them, in (0, 1), that is left; rank r takes r(m + n), which is never as much as mn. Ranks
    are bought where a parameter saves most, and a whole matrix in the place of the last ones where
    that saves more: least is lost but for the one that the budget cuts short. What then is left
    goes into single ranks.
    Raises ModelError where not every matrix can have rank 1.

    >>> allocate([np.array([8.0, 4, 2, 1]), np.array([1.0, 1, 1, 1])], [(4, 20), (4, 20)], 0.6)
    [3, 1]
    """
    # Of a matrix that is hardly more than a vector no rank is smaller.
    ranks = [1 if largest_rank(*shape) else None for shape in shapes]
    least = sum(m * n if r is None else m + n for r, (m, n) in zip(ranks, shapes, strict=True))
    whole_size = sum(m * n for m, n in shapes)
    budget = share * whole_size - least
    if budget < 0:
        raise _too_few(least / whole_size, share)
    for whole in (True, False):
        offers = [
            (-worth, place, price, rank)
            for place, (values, shape) in enumerate(zip(energies, shapes, strict=True))
            for worth, price, rank in _offers(values, shape, ranks[place], whole=whole)
        ]
        closed: set[int] = set()
        for _, place, price, rank in sorted(offers, key=lambda offer: offer[:2]):
            if place in closed or price > budget:
                closed.add(place)
                continue
            budget -= price
            ranks[place] = rank
    return ranks


def _offers(
    energies: FloatArray, shape: tuple[int, int], rank: int | None, *, whole: bool
) -> Iterator[tuple[float, int, int | None]]:
    """Yield what can be bought for a matrix of a rank, in order: worth per parameter, price, rank.

    Worth falls from one to the next. whole: whether the last is the whole matrix, in the place of
    ranks beyond which it is the better buy.
    """
    rows, columns = shape
    most = largest_rank(rows, columns)
    beyond = energies[::-1].cumsum()[::-1]
    if rank is None:
        return
    for now in range(rank, most + 1):
        price = rows * columns - now * (rows + columns)
        last = now == most
        if whole and (last or beyond[now] / price >= energies[now] / (rows + columns)):
            yield float(beyond[now]) / price, price, None
            return
        if not last:
            yield float(energies[now]) / (rows + columns), rows + columns, now + 1


def _too_few(least: float, share: float) -> ModelError:
    said = f"{np.ceil(least * 1000) / 1000:g}"
    return ModelError(
        text("error.low_rank.budget", share=f"{share:g}"),
        fix=text("error.low_rank.budget.fix", least=said),
    )


def token_counts(
    parent: Path | str, info: RuntimeInfo, material: Material, words: int
) -> NDArray[np.int64]:
    """Return how often each token stands in the training rows, shape (words,)."""
    encoded = encode_cached(
        load_tokenizer(parent), material.train[material.text].to_list(),
        max_length=info.max_length, cache=material.work / "tokens",
    )  # fmt: skip
    counts = np.zeros(words, np.int64)
    for part in encoded.parts:
        counts += np.bincount(part.token_ids, minlength=words)
    return counts


@torch.no_grad()
def reduced_table(table: Tensor, counts: NDArray[np.int64], share: float) -> Tensor:
    """Return a table of embeddings, (words, n), of the rank that the share leaves it.

    counts: of each word in the training rows; each counts one more, so that words that are not
    there are not thrown away. With D their diagonal, ‖D^½(E - E')‖ is least for E' = E V Vᵀ with V
    the first eigenvectors of Eᵀ D E.
    Raises ModelError where the share leaves it no rank.
    """
    rows, columns = table.shape
    rank = int(share * rows * columns / (rows + columns))
    if rank < 1:
        raise _too_few((rows + columns) / (rows * columns), share)
    wide = table.detach().double()
    weights = torch.from_numpy(counts + 1.0)[:, None]
    _, vectors = torch.linalg.eigh(wide.T @ (wide * weights))
    kept = vectors[:, -rank:]
    found: Tensor = ((wide @ kept) @ kept.T).float()
    return found
