"""The loss of tokens that a language model is given, in nats, a rectangle at a time.

Of the last layer only the rows that predict something are computed, some at a time: each is as long
as the vocabulary.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch
    from numpy.typing import NDArray

    from shipworthy.model.branches import Branched
    from shipworthy.model.dialogues import Predicted

    FloatArray: TypeAlias = NDArray[np.float64]
    BoolArray: TypeAlias = NDArray[np.bool_]

PREDICTED_BUDGET = 1024
"""Rows of the last layer at once."""


def tree_losses(module: Any, batch: Sequence[Branched]) -> FloatArray:
    """Return the loss of each predicted token of some trees, in their order."""
    import torch

    longest = max(len(tree.input_ids) for tree in batch)
    input_ids = np.zeros((len(batch), longest), dtype=np.int64)
    positions = np.zeros((len(batch), longest), dtype=np.int64)
    # Filler sees itself alone: a row of a mask that sees nothing has no average.
    seen = np.broadcast_to(np.eye(longest, dtype=bool), (len(batch), longest, longest)).copy()
    read = []
    for row, tree in enumerate(batch):
        size = len(tree.input_ids)
        input_ids[row, :size], positions[row, :size] = tree.input_ids, tree.position_ids
        seen[row, :size, :size] = tree.seen
        read.append(row * longest + tree.read)
    with torch.inference_mode():
        kind = next(module.parameters()).dtype
        mask = torch.zeros(seen.shape, dtype=kind)
        mask.masked_fill_(torch.from_numpy(~seen), torch.finfo(kind).min)
        values = _hidden(
            module, torch.from_numpy(input_ids), mask[:, None], torch.from_numpy(positions)
        )
        picked = values.flatten(0, 1)[torch.from_numpy(np.concatenate(read))]
        targets = torch.from_numpy(np.concatenate([tree.targets for tree in batch]))
        losses, _ = _losses(module, picked, targets)
    return losses


def sequence_losses(
    module: Any, found: Predicted, rows: NDArray[np.int64]
) -> tuple[FloatArray, BoolArray]:
    """Score some sequences; the last token of each is predicted and never read."""
    import torch

    taken = found.encoded.take(rows)
    lengths = taken.lengths - 1
    columns = np.arange(max(1, int(lengths.max(initial=1))))
    read = columns < lengths[:, None]
    input_ids = np.zeros(read.shape, dtype=np.int64)
    last = np.zeros(len(taken.token_ids), dtype=bool)
    last[taken.offsets[1:] - 1] = True
    input_ids[read] = taken.token_ids[~last]
    starts = found.starts[rows]
    predicts = read & (columns >= starts[:, None] - 1)
    targets = np.concatenate(
        [
            taken.token_ids[b + s : e]
            for b, e, s in zip(taken.offsets, taken.offsets[1:], starts, strict=False)
        ]
    )
    mask = None if read.all() else torch.from_numpy(read.astype(np.int64))
    with torch.inference_mode():
        values = _hidden(module, torch.from_numpy(input_ids), mask)
        picked = values[torch.from_numpy(predicts)]
        wanted = torch.from_numpy(targets.astype(np.int64))
        return _losses(module, picked, wanted)


def _losses(
    module: Any, picked: torch.Tensor, wanted: torch.Tensor
) -> tuple[FloatArray, BoolArray]:
    """Return the loss of each wanted token, and whether it was the likeliest one."""
    import torch

    losses, top = [], []
    size = PREDICTED_BUDGET
    parts = zip(torch.split(picked, size), torch.split(wanted, size), strict=True)
    for part, target in parts:
        logits = _logits(module, part).float()
        of = logits.gather(1, target[:, None]).squeeze(1)
        losses.append((logits.logsumexp(-1) - of).double())
        top.append(logits.argmax(-1) == target)
    return (
        torch.cat(losses).numpy() if losses else np.zeros(0),
        torch.cat(top).numpy() if top else np.zeros(0, dtype=bool),
    )


def _hidden(
    module: Any,
    input_ids: torch.Tensor,
    mask: torch.Tensor | None,
    positions: torch.Tensor | None = None,
) -> torch.Tensor:
    """Return hidden values, or logits where what lies between is not one matrix."""
    if _plain_head(module):
        found: torch.Tensor = module.base_model(
            input_ids=input_ids, attention_mask=mask, position_ids=positions, use_cache=False
        ).last_hidden_state
        return found
    logits: torch.Tensor = module(
        input_ids=input_ids, attention_mask=mask, position_ids=positions, use_cache=False
    ).logits
    return logits


def _logits(module: Any, values: torch.Tensor) -> torch.Tensor:
    found: torch.Tensor = module.lm_head(values) if _plain_head(module) else values
    return found


def _plain_head(module: Any) -> bool:
    config = module.config
    scaled = ("final_logit_softcapping", "logit_scale", "logits_scaling")
    return hasattr(module, "lm_head") and not any(getattr(config, n, None) for n in scaled)
