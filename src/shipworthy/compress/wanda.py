"""Wanda: a weight matters as much as it can add to the output on calibration rows.

Sun et al. 2023, "A simple and effective pruning approach for large language models", eq. 1: the
score of the weight from input j to output i is |W_ij| · ||x_j||_2, the norm taken over all tokens
of the rows; scores are compared within an output, since each output is a sum of its own. Nothing is
trained and one pass over the rows suffices.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import numpy as np

from shipworthy.compress.importance import FEWEST_ROWS, TOKENS, rows_to_look_at
from shipworthy.core.errors import ModelError
from shipworthy.core.locale import text
from shipworthy.core.progress import progress
from shipworthy.data.batches import buckets
from shipworthy.data.tokens import encode_cached
from shipworthy.model.pretrained import load_chat_tokenizer, load_tokenizer
from shipworthy.train.language import predicted_rows

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import Tensor, nn

    from shipworthy.compress.material import Material
    from shipworthy.data.batches import Texts
    from shipworthy.model.checkpoint import RuntimeInfo


def scores(weights: Tensor, norms: Tensor) -> Tensor:
    """Return what each weight can add. weights: (outputs, inputs); norms: of inputs, (inputs,)."""
    return weights.detach().abs().double() * norms


def input_norms(
    module: nn.Module,
    layers: Mapping[str, nn.Linear],
    parent: Path | str,
    info: RuntimeInfo,
    material: Material,
) -> dict[str, Tensor]:
    """Return the norm of each input of each layer over the tokens of the calibration rows.

    A layer that no token reaches has norms of 1: its weights are then told apart by magnitude.
    Raises ModelError where there are fewer than `FEWEST_ROWS` rows.
    """
    import torch

    texts = _texts(parent, info, material)
    squares: dict[str, Tensor] = {}
    model: Any = module
    # The head of a language model would take most of the time and has no layer in blocks.
    reader = module if info.does == "classify" else model.base_model
    with ExitStack() as hooks, torch.no_grad():
        for name, layer in layers.items():
            hooks.callback(_count(layer, name, squares).remove)
        with progress("importance", total=len(texts), unit="rows") as report:
            for rows in _batches(texts.lengths):
                ids = texts.take(rows).token_ids.reshape(len(rows), -1)
                tokens = torch.from_numpy(ids.astype(np.int64))
                reader(input_ids=tokens, attention_mask=torch.ones_like(tokens))
                report(len(rows))
    return {
        name: squares[name].sqrt()
        if name in squares
        else torch.ones(layer.in_features, dtype=torch.double)
        for name, layer in layers.items()
    }


def _texts(parent: Path | str, info: RuntimeInfo, material: Material) -> Texts:
    """Return the token ids of the calibration rows as the model reads them."""
    frame = material.calibration
    if frame.height < FEWEST_ROWS:
        raise ModelError(
            text("error.importance.rows", rows=frame.height, least=FEWEST_ROWS),
            fix=text("error.prune.rows.fix"),
        )
    chosen = frame[rows_to_look_at(material)]
    if info.does != "classify":
        return predicted_rows(chosen, load_chat_tokenizer(parent), info).encoded
    return encode_cached(
        load_tokenizer(parent),
        chosen[material.text].to_list(),
        max_length=info.max_length,
        cache=material.tokens,
    )


def _batches(lengths: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    """Yield rows of one length at a time, so that no padding is among the tokens."""
    for length in np.unique(lengths[lengths > 0]):
        rows = np.flatnonzero(lengths == length)
        budget = max(TOKENS, int(length))
        for part in buckets(lengths[rows], token_budget=budget, seed=None):
            yield rows[part]


def _count(layer: nn.Linear, name: str, squares: dict[str, Tensor]) -> Any:
    """Add up the squares of what a layer is called with."""

    def add(_: nn.Module, arguments: tuple[Tensor, ...]) -> None:
        found = arguments[0].reshape(-1, layer.in_features).double().square().sum(dim=0)
        squares[name] = squares[name] + found if name in squares else found

    return layer.register_forward_pre_hook(add)
