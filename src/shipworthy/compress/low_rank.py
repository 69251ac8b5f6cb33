"""Lower rank: each matrix of the blocks becomes a product of two that are smaller.

What is kept is what the matrix does to the inputs that it really has. With M = S Sᵀ the second
moments of its inputs on calibration rows, ‖(W - W')S‖ is least, among all W' of rank r, for
W' = U Uᵀ W with U the first r left singular vectors of W S (SVD-LLM, Wang et al. 2025, sec. 3.1,
"truncation-aware data whitening"; ASVD, Yuan et al. 2023, scales by a diagonal in the place of S);
the squared error is the sum of the squared singular values that are left out.

Ranks are dealt out over all matrices so that the sum of their errors is small for the parameters
that may be left. An error counts by the squared slope of the loss along the matrix's outputs (the
empirical Fisher information, as in `importance.py`), since a late block may have large outputs that
the answer hardly hangs on: of the built-in encoder, trained on the built-in texts, half of the
parameters are then left at a sixth of the divergence that equal shares for all matrices cost, while
errors that are not weighed cost more than equal shares.

The folder holds the products, opens in plain transformers and is as large as before; `factors.py`
takes them apart when a graph is written or a training goes on. By itself the lever therefore saves
nothing: end with `onnx` or `int8`. Unstructured pruning afterwards would undo the rank.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from shipworthy.compress.anatomy import blocks_of
from shipworthy.compress.blocks import require_blocks
from shipworthy.compress.importance import TOKENS, groups_of, looked_at
from shipworthy.compress.parents import require_fp32
from shipworthy.core.errors import ModelError
from shipworthy.core.locale import text
from shipworthy.core.progress import progress
from shipworthy.data.batches import buckets, pad
from shipworthy.data.tokens import encode_cached
from shipworthy.model.pretrained import load_module, load_tokenizer, save_variant

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
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
    Raises ModelError where it is of another runtime, its parts are not known by name or it lacks a
    block that is to be kept, the calibration rows are too few, or the share leaves some matrix no
    rank at all.
    """
    import torch

    info = require_fp32(parent, "shaped")
    module: Any = load_module(parent)
    names = {id(part): name for name, part in module.named_modules()}
    blocks = blocks_of(module, parent)
    require_blocks(settings.keep, range(len(blocks)), parent)
    whole = {
        id(layer)
        for number in settings.keep
        for layers in _by_input(blocks[number])
        for layer in layers
    }
    readers = {names[id(layers[0])]: layers for block in blocks for layers in _by_input(block)}
    seen = look(module, parent, info, readers, material, settings.balance)
    layers = [(layer, site) for site, several in readers.items() for layer in several]
    spectra = []
    with progress("low_rank", total=len(layers), unit="steps") as report:
        for layer, site in layers:
            spectra.append(spectrum(layer.weight, seen.moments[site]))
            report(1)
    energies = [found.energies * slope for found, slope in zip(spectra, seen.slopes, strict=True)]
    ranks = allocate(energies, [found.shape for found in spectra], settings.share)
    table = None
    if settings.embeddings:
        counts = token_counts(parent, info, material, module.get_input_embeddings().num_embeddings)
        table = reduced_table(module.get_input_embeddings().weight, counts, settings.share)
    with torch.no_grad():
        for (layer, _), found, rank in zip(layers, spectra, ranks, strict=True):
            if rank is not None and id(layer) not in whole:
                found.reduce(layer.weight, rank)
        if table is not None:
            module.get_input_embeddings().weight.copy_(table)
    save_variant(out, module, info, parent=parent)


def _by_input(block: Block) -> list[list[nn.Linear]]:
    """Return the matrices of a block, those that read the same values together."""
    query, key, value, output = (block.linear(name) for name in block.attention)
    makes = [block.linear(name) for name in block.makes]
    return [[query, key, value], [output], makes, [block.linear(block.reads)]]


@dataclass(frozen=True, eq=False)
class Seen:
    """What calibration rows say of the matrices.

    moments: mean of x xᵀ over the tokens that the matrices of a site read; fp64, (n, n), by the
    name of its first. slopes: of each matrix, in the order of the sites, the mean square of the
    slope of a row's loss along an output of a token.
    """

    moments: dict[str, Tensor]
    slopes: list[float]


def look(
    module: Any,
    parent: Path | str,
    info: RuntimeInfo,
    readers: Mapping[str, Sequence[nn.Module]],
    material: Material,
    balance: Balance,
) -> Seen:
    """Return what the calibration rows say of matrices; those of one site read the same values.

    balance: whether all rows count alike, or those of each group together.
    Raises ModelError where the calibration rows are too few, or no group is large enough.
    """
    import torch
    from torch.nn.functional import cross_entropy

    chosen, encoded = looked_at(parent, info, material, fix=text("error.low_rank.rows.fix"))
    members = groups_of(material, balance).members[:, chosen].astype(np.float64)
    weights = torch.from_numpy((members / members.sum(axis=1, keepdims=True).clip(1)).sum(axis=0))
    number = {name: k for k, name in enumerate(info.classes)}
    given = material.calibration[material.label].gather(chosen)
    labels = torch.tensor([number[str(value)] for value in given])
    layers = [layer for several in readers.values() for layer in several]
    calls: dict[nn.Module, tuple[Tensor, Tensor]] = {}
    hooks = [layer.register_forward_hook(partial(_catch, calls)) for layer in layers]
    moments: dict[str, Tensor] = {}
    slopes, total = np.zeros(len(layers)), 0.0
    try:
        with progress("activations", total=len(chosen), unit="rows") as report:
            for rows in buckets(encoded.lengths, token_budget=TOKENS, seed=None):
                batch = pad(encoded, rows, pad_token_id=int(module.config.pad_token_id or 0))
                mask = torch.from_numpy(batch.attention_mask)
                logits = module(
                    input_ids=torch.from_numpy(batch.input_ids), attention_mask=mask
                ).logits
                loss = cross_entropy(logits, labels[rows], reduction="sum")
                found = torch.autograd.grad(loss, [calls[layer][1] for layer in layers])
                each = (weights[rows][:, None] * mask)[mask == 1]
                total += float(each.sum())
                for place, slope in enumerate(found):
                    slopes[place] += float(slope[mask == 1].double().square().mean(dim=1) @ each)
                roots = each.sqrt().float()[:, None]
                for site, several in readers.items():
                    read = calls[several[0]][0].detach()[mask == 1] * roots
                    product = (read.T @ read).double()
                    moments[site] = moments[site].add_(product) if site in moments else product
                report(len(rows))
    finally:
        for hook in hooks:
            hook.remove()
    means = {site: product / total for site, product in moments.items()}
    return Seen(means, [float(slope) for slope in slopes / total])


def _catch(
    calls: dict[nn.Module, tuple[Tensor, Tensor]],
    layer: nn.Module,
    arguments: tuple[Tensor, ...],
    output: Tensor,
) -> None:
    calls[layer] = arguments[0], output


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


def spectrum(weights: Tensor, moment: Tensor) -> Spectrum:
    """Return the spectrum of a matrix, (m, n), on inputs with these second moments, (n, n)."""
    import torch

    from shipworthy.compress.factors import largest_rank, live

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

    energies: what each singular value is worth, falling. shapes: (m, n). share: of the parameters
    of all of them, in (0, 1), that is left; rank r takes r(m + n). Ranks are bought one by one,
    where a parameter is worth most; in the place of one that would be no smaller than the matrix
    comes the matrix.
    Raises ModelError where not every matrix can have rank 1.

    >>> allocate([np.array([8.0, 4, 2, 1]), np.array([1.0, 1, 1, 1])], [(4, 20), (4, 20)], 0.6)
    [3, 1]
    """
    from shipworthy.compress.factors import largest_rank

    # Of a matrix that is hardly more than a vector no rank is smaller.
    ranks = [1 if largest_rank(*shape) else None for shape in shapes]
    least = sum(m * n if r is None else m + n for r, (m, n) in zip(ranks, shapes, strict=True))
    whole_size = sum(m * n for m, n in shapes)
    budget = share * whole_size - least
    if budget < 0:
        raise _too_few(least / whole_size, share)
    offers = [
        (-values[rank] / (m + n), place, rank + 1)
        for place, (values, (m, n)) in enumerate(zip(energies, shapes, strict=True))
        for rank in range(1, largest_rank(m, n) + 1)
    ]
    closed: set[int] = set()
    for _, place, rank in sorted(offers):
        m, n = shapes[place]
        last = rank > largest_rank(m, n)
        price = m * n - (rank - 1) * (m + n) if last else m + n
        if place in closed or price > budget:
            closed.add(place)
            continue
        budget -= price
        ranks[place] = None if last else rank
    return ranks


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
        max_length=info.max_length, cache=material.tokens,
    )  # fmt: skip
    counts = np.zeros(words, np.int64)
    for part in encoded.parts:
        counts += np.bincount(part.token_ids, minlength=words)
    return counts


def reduced_table(table: Tensor, counts: NDArray[np.int64], share: float) -> Tensor:
    """Return a table of embeddings, (words, n), of the rank that the share leaves it.

    counts: of each word in the training rows; each counts one more, so that words that are not
    there are not thrown away. With D their diagonal, ‖D^½(E - E')‖ is least for E' = E V Vᵀ with V
    the first eigenvectors of Eᵀ D E.
    Raises ModelError where the share leaves it no rank.
    """
    import torch

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
