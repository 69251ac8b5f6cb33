"""A narrower model: all blocks share fewer hidden dimensions, those that the loss needs most.

The hidden dimensions run through all blocks, so that the same ones stay everywhere: those whose
masks, in front of every layer that reads them, have the largest Fisher information in total
(`importance.py`). What reads the hidden values loses columns, what adds to them loses rows, norms
and tables lose the rest. Where a head's width is the hidden width over the number of heads, as in
BERT, the least important heads of each block go as well, so that those that stay keep their width.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from shipworthy.compress.anatomy import blocks_of, heads_of, set_heads, set_hidden
from shipworthy.compress.importance import fisher
from shipworthy.compress.neurons import shrink
from shipworthy.compress.parents import require_fp32
from shipworthy.core.errors import ModelError
from shipworthy.core.locale import text
from shipworthy.model.pretrained import load_module, save_variant

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import nn

    from shipworthy.compress.anatomy import Block
    from shipworthy.compress.lever_settings import Balance
    from shipworthy.compress.material import Material

    Places = NDArray[np.int64]


def narrow(
    parent: Path | str, out: Path | str, hidden: int, balance: Balance, material: Material
) -> Places:
    """Write a model of fewer hidden dimensions; return the numbers of those that stay, rising.

    parent: a classifier of the runtime `torch`.
    Raises ModelError where it is of another runtime, its parts are not known by name, it is not
    wider, or heads do not fit into the width.
    """
    info = require_fp32(parent, "shaped")
    module: Any = load_module(parent)
    config = module.config
    blocks = blocks_of(module, parent)
    whole, heads = int(config.hidden_size), heads_of(config)
    if hidden >= whole:
        raise ModelError(
            text("error.narrower.width", hidden=hidden, whole=whole), folder=parent,
            fix=text("error.narrower.width.fix", whole=whole),
        )  # fmt: skip
    # Llama and its like can say how wide a head is; of the others the hidden width decides.
    bound, width = not hasattr(config, "head_dim"), whole // heads
    if not bound and config.head_dim is None:
        config.head_dim = width
    if bound and hidden % width:
        raise ModelError(
            text("error.narrower.heads", hidden=hidden, width=width), folder=parent,
            fix=text("error.narrower.heads.fix", below=max(1, hidden // width) * width),
        )  # fmt: skip
    names = {id(part): name for name, part in module.named_modules()}
    readers = [
        names[id(block.linear(name))]
        for block in blocks
        for name in (block.attention[0], block.makes[0])
    ]
    needs = fisher(module, parent, info, readers, whole, material, balance)
    kept = _most(np.sum(list(needs.values()), axis=0), hidden)
    if bound:
        outputs = {names[id(block.linear(block.attention[3]))]: block for block in blocks}
        scores = fisher(module, parent, info, list(outputs), heads, material, balance)
        for site, block in outputs.items():
            _keep_heads(block, _most(scores[site], hidden // width), width)
        set_heads(config, hidden // width)
    _cut_head(module, blocks, kept)
    _cut_tables(module, kept, whole)
    for block in blocks:
        _cut_block(block, kept)
    set_hidden(config, hidden)
    save_variant(out, module, info, parent=parent)
    return kept


def _most(scores: NDArray[np.float64], count: int) -> Places:
    """Return the places of the largest, rising; among equal ones the first stays."""
    return np.sort(np.argsort(-scores, kind="stable")[:count])


def _keep_heads(block: Block, kept: Places, width: int) -> None:
    places = (kept[:, None] * width + np.arange(width)).reshape(-1)
    for name in block.attention[:3]:
        shrink(block.linear(name), rows=places)
    shrink(block.linear(block.attention[3]), columns=places)


def _cut_block(block: Block, kept: Places) -> None:
    for name in (*block.attention[:3], *block.makes):
        shrink(block.linear(name), columns=kept)
    for name in (block.attention[3], block.reads):
        shrink(block.linear(name), rows=kept)


def _cut_tables(module: nn.Module, kept: Places, whole: int) -> None:
    """Leave only some columns of the embeddings and places of the norms, in place."""
    import torch
    from torch import nn

    chosen = torch.from_numpy(kept)
    with torch.no_grad():
        for part in module.modules():
            weight: Any = getattr(part, "weight", None)
            if isinstance(part, nn.Embedding) and part.embedding_dim == whole:
                part.weight = nn.Parameter(weight[:, chosen].clone())
                part.embedding_dim = len(kept)
            elif isinstance(weight, nn.Parameter) and weight.shape == (whole,):
                norm: Any = part
                norm.weight = nn.Parameter(weight[chosen].clone())
                if getattr(norm, "bias", None) is not None:
                    norm.bias = nn.Parameter(norm.bias[chosen].clone())
                if hasattr(norm, "normalized_shape"):
                    norm.normalized_shape = (len(kept),)


def _cut_head(module: nn.Module, blocks: tuple[Block, ...], kept: Places) -> None:
    """Cut the linear layers outside the blocks: what comes before them, and the head.

    A head may have a layer from hidden to hidden before the last. Its outputs are dimensions of
    its own: those that the last layer reads with the largest weights stay.
    """
    import torch
    from torch import nn

    inside = {id(part) for block in blocks for part in block.module.modules()}
    outer = [
        part
        for part in module.modules()
        if isinstance(part, nn.Linear) and id(part) not in inside
    ]  # fmt: skip
    whole = blocks[0].linear(blocks[0].makes[0]).in_features
    *before, last = outer
    read = kept
    for layer in before:
        if layer.in_features == whole == layer.out_features:
            with torch.no_grad():
                sizes = last.weight.double().norm(dim=0) * layer.weight.double().norm(dim=1)
            read = _most(sizes.numpy(), len(kept))
            shrink(layer, rows=read, columns=kept)
        elif layer.out_features == whole:  # from narrower embeddings to the hidden width
            shrink(layer, rows=kept)
    shrink(last, columns=read)
