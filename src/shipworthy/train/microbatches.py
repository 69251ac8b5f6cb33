"""What a model is called with at once: some rows of a step, packed or padded, and their labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from shipworthy.core.digest import digest_bytes, digest_json

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from shipworthy.data.batches import Texts
    from shipworthy.data.packs import Pack


@dataclass(frozen=True, eq=False)
class LabelledRows:
    """Encoded texts with the number of the class of each.

    labels: int64, shape (n,). starts: for language models the place, at least 1, from which on the
    tokens of each text are predicted, shape (n,); None for classifiers. weights: how much each row
    counts, above 0, shape (n,); None where all count alike.
    """

    encoded: Texts
    labels: NDArray[np.int64]
    pad_token_id: int
    starts: NDArray[np.int64] | None = None
    weights: NDArray[np.float64] | None = None

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def digest(self) -> str:
        """Digest of texts and labels."""
        known = getattr(self.encoded, "digest", None)
        if known is None:
            taken = self.encoded.take(np.arange(len(self)))
            known = digest_bytes(taken.token_ids.tobytes() + taken.offsets.tobytes())
        told = [(self.labels if self.starts is None else self.starts).tobytes()]
        told += [] if self.weights is None else [self.weights.tobytes()]
        return digest_json([known, *map(digest_bytes, told)])

    @property
    def tokens(self) -> int:
        """Tokens of all rows, padding not counted."""
        return int(self.encoded.lengths.sum())


@dataclass(frozen=True, eq=False)
class MicroBatch:
    """Rows that a model is called with at once.

    rows: (d,) row numbers in the order of the logits; with R-Drop's second pass the d rows stand
    there once, and the logits are those of the first pass, then those of the second. arguments:
    what the model is called with; `input_ids` and `position_ids`, each (1, t), packed, or
    `input_ids` and `attention_mask`, each (b, l), padded. labels: (d,). token_keys: int64, shape of
    `input_ids`, and document_keys, one a logit row: keys of the dropout masks. pack: None if
    padded. places: for each logit row the place of its text in the pack or rectangle; for language
    models of the token that it is read from. targets: the token that each logit row is to predict,
    None for classifiers.
    """

    rows: NDArray[np.int64]
    arguments: dict[str, Tensor]
    labels: Tensor
    token_keys: Tensor
    document_keys: Tensor
    pack: Pack | None
    places: NDArray[np.int64]
    targets: Tensor | None = None
