"""Choices of one prompt read at once: the prompt once, and behind it each choice by itself.

    tokens     prompt ... | choice 1 ... | choice 2 ... | choice 3 ...
    positions  0 .. n - 1 | n ...        | n ...        | n ...

A mask lets a choice see the prompt and itself alone, so that its likelihood is what it would be
behind the prompt by itself, and a long prompt costs no more for five choices than for two.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from shipworthy.model.dialogues import Predicted


@dataclass(frozen=True, eq=False)
class Branched:
    """Some sequences as one, and where their predictions are read.

    input_ids, position_ids: int64, shape (t,). seen: bool, shape (t, t), what each token sees.
    read: places whose hidden value predicts a token, targets: that token; both shape (p,), in the
    order of the sequences and of their tokens. sequences: their numbers.
    """

    input_ids: NDArray[np.int64]
    position_ids: NDArray[np.int64]
    seen: NDArray[np.bool_]
    read: NDArray[np.int64]
    targets: NDArray[np.int64]
    sequences: NDArray[np.int64]


def begin_alike(found: Predicted, sequences: Sequence[int]) -> bool:
    """Say whether the same tokens are given to all sequences."""
    offsets, tokens = found.encoded.offsets, found.encoded.token_ids
    given = int(found.starts[sequences[0]])
    first = tokens[offsets[sequences[0]] :][:given]
    return all(
        int(found.starts[k]) == given and np.array_equal(tokens[offsets[k] :][:given], first)
        for k in sequences
    )


def branch(found: Predicted, sequences: Sequence[int]) -> Branched | None:
    """Return sequences that begin alike as one; None where what is given differs."""
    if not begin_alike(found, sequences):
        return None
    offsets, tokens = found.encoded.offsets, found.encoded.token_ids
    ids = [tokens[offsets[k] : offsets[k + 1]] for k in sequences]
    given = int(found.starts[sequences[0]])
    parts, positions, owners, read, targets = [ids[0][:given]], [np.arange(given)], [], [], []
    owners = [np.full(given, -1)]
    place = given
    for number, one in enumerate(ids):
        said = one[given:]
        # The last token is only predicted.
        parts.append(said[:-1])
        positions.append(given + np.arange(len(said) - 1))
        owners.append(np.full(len(said) - 1, number))
        read += [np.array([given - 1]), place + np.arange(len(said) - 1)]
        targets.append(said)
        place += len(said) - 1
    owner = np.concatenate(owners)
    position = np.concatenate(positions)
    seen = (position[None, :] <= position[:, None]) & (
        (owner[None, :] == owner[:, None]) | (owner[None, :] == -1)
    )
    return Branched(
        np.concatenate(parts).astype(np.int64), position.astype(np.int64), seen,
        np.concatenate(read).astype(np.int64), np.concatenate(targets).astype(np.int64),
        np.array(sequences, dtype=np.int64),
    )  # fmt: skip
