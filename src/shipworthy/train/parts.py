"""Which rows make up a step, and how a step is computed in parts that fit into memory.

A step always holds `global_rows` rows (the last of an epoch what is left), of like length, so that
little is padding. It is cut into parts by tokens, or by rows where the settings say so; since the
loss of a part is divided by the rows of the whole step, the cut does not change the gradient.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from shipworthy.data.batches import Encoded, buckets, pad

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray
    from torch import Tensor

# Padded tokens of a part. Larger parts need more memory and gain little speed.
TOKEN_BUDGET = 4096


@dataclass(frozen=True, eq=False)
class LabelledRows:
    """Encoded texts with the number of the class of each.

    labels: int64, shape (n,).
    """

    encoded: Encoded
    labels: NDArray[np.int64]
    pad_token_id: int

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def tokens(self) -> int:
        """Tokens of all rows, padding not counted."""
        return int(self.encoded.offsets[-1])

    def tensors(self, rows: NDArray[np.int64]) -> tuple[dict[str, Tensor], Tensor]:
        """Return the model's arguments, each (b, longest), and the labels, (b,), of these rows."""
        import torch

        batch = pad(self.encoded, rows, pad_token_id=self.pad_token_id)
        arguments = {
            "input_ids": torch.from_numpy(batch.input_ids),
            "attention_mask": torch.from_numpy(batch.attention_mask),
        }
        return arguments, torch.from_numpy(self.labels[rows])


def steps_per_epoch(rows: int, global_rows: int) -> int:
    """Steps that a pass over the rows takes.

    >>> steps_per_epoch(6810, 64)
    107
    """
    return -(-rows // global_rows)


def epoch_steps(
    lengths: NDArray[np.int64], *, global_rows: int, seed: int, epoch: int
) -> list[NDArray[np.int64]]:
    """Return the row numbers of each step of an epoch, every row once, in a shuffled order."""
    longest = max(1, int(lengths.max(initial=1)))
    return buckets(
        lengths, token_budget=longest * global_rows, seed=seed, epoch=epoch, max_rows=global_rows
    )


def cut(
    rows: NDArray[np.int64], lengths: NDArray[np.int64], *, per_device: int | None
) -> list[NDArray[np.int64]]:
    """Cut the rows of a step into parts, longest rows first.

    lengths: of all rows of the set. per_device: most rows of a part; None cuts by `TOKEN_BUDGET`.
    """
    chosen = lengths[rows]
    longest = max(1, int(chosen.max(initial=1)))
    budget = max(TOKEN_BUDGET, longest) if per_device is None else longest * len(rows)
    places = buckets(chosen, token_budget=budget, seed=None, max_rows=per_device)
    return [rows[place] for place in places]


def accumulate(
    module: torch.nn.Module,
    data: LabelledRows,
    rows: NDArray[np.int64],
    *,
    per_device: int | None,
    smoothing: float,
    autocast: Any,
) -> float:
    """Add the gradient of the mean loss over `rows` to the module's; return that loss, nats."""
    import torch

    from shipworthy.train.regularization import smoothed_loss

    total = 0.0
    for part in cut(rows, data.encoded.lengths, per_device=per_device):
        arguments, labels = data.tensors(part)
        with autocast():
            logits = module(**arguments).logits
        loss = smoothed_loss(logits, labels, smoothing=smoothing, rows=len(rows))
        torch.autograd.backward(loss)
        total += float(loss.detach())
    return total
