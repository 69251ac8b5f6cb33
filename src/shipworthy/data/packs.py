"""Documents laid end to end without padding.

Inside a pack they stand by falling length, so that documents of equal length are neighbours: a
`run` of them is a rectangle, which attention computes at once. Nothing here knows torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from shipworthy.data.batches import Texts


@dataclass(frozen=True, eq=False)
class Pack:
    """Documents end to end.

    rows: (d,) row numbers, by falling length. lengths: (d,). input_ids: (t,). position_ids: (t,),
    counted from 0 in each document. runs: documents and length of each run of equal lengths, in
    their order; filler is the last. filler: tokens at the end that belong to no document.
    """

    rows: NDArray[np.int64]
    lengths: NDArray[np.int64]
    input_ids: NDArray[np.int64]
    position_ids: NDArray[np.int64]
    runs: tuple[tuple[int, int], ...]
    filler: int = 0

    @property
    def tokens(self) -> int:
        """Tokens of the documents; filler does not count."""
        return len(self.input_ids) - self.filler

    @cached_property
    def first(self) -> NDArray[np.int64]:
        """Place of each document's first token; shape (d,)."""
        return np.cumsum(self.lengths) - self.lengths

    @cached_property
    def last(self) -> NDArray[np.int64]:
        """Place of each document's last token; shape (d,)."""
        return np.cumsum(self.lengths) - 1

    @cached_property
    def document(self) -> NDArray[np.int64]:
        """Number of the document of each token, -1 for filler; shape (t,)."""
        owners = np.repeat(np.arange(len(self.rows)), self.lengths)
        return np.concatenate([owners, np.full(self.filler, -1)])


def cut_packs(
    lengths: NDArray[np.int64],
    rows: ArrayLike,
    *,
    token_budget: int,
    max_rows: int | None = None,
) -> list[NDArray[np.int64]]:
    """Cut rows into packs of at most `token_budget` tokens, about equally full.

    A row that alone exceeds the budget makes a pack of its own. Rows go by falling length to the
    pack with the fewest tokens so far (longest processing time first, Graham 1969); where that
    would exceed the budget there is one pack more than the tokens ask for.
    lengths: of all rows of the set. max_rows: cap on the rows of a pack.
    """
    chosen = np.asarray(rows, dtype=np.int64)
    if not len(chosen):
        return []
    sizes = lengths[chosen]
    falling = np.argsort(-sizes, kind="stable")
    number = max(1, -(-int(sizes.sum()) // token_budget))
    if max_rows is not None:
        number = max(number, -(-len(chosen) // max_rows))
    while True:
        owner = _deal(sizes[falling], number, token_budget, max_rows)
        if owner is not None:
            return [chosen[falling[owner == k]] for k in range(number)]
        number += 1


def make_pack(
    encoded: Texts, rows: ArrayLike, *, pad_to: int | None = None, pad_token_id: int = 0
) -> Pack:
    """Lay rows end to end by falling length.

    pad_to: number of tokens that the pack is filled up to, for those who need equal shapes; at
    least as many as the rows have.
    """
    chosen = np.asarray(rows, dtype=np.int64)
    falling = np.argsort(-encoded.lengths[chosen], kind="stable")
    chosen = chosen[falling]
    taken = encoded.take(chosen)
    lengths = taken.lengths
    total = int(lengths.sum())
    filler = 0 if pad_to is None else pad_to - total
    if filler < 0:
        raise ValueError(f"{total} tokens do not fit into {pad_to}")
    inside = np.arange(total) - np.repeat(taken.offsets[:-1], lengths)
    input_ids = np.full(total + filler, pad_token_id, dtype=np.int64)
    input_ids[:total] = taken.token_ids
    # Filler is cut into documents no longer than the longest, so that every position is known.
    longest = max(1, int(lengths.max(initial=1)))
    position_ids = np.concatenate([inside, np.arange(filler) % longest])
    values, counts = np.unique(lengths, return_counts=True)
    runs = [(int(c), int(v)) for v, c in zip(values[::-1], counts[::-1], strict=True) if v]
    if filler >= longest:
        runs.append((filler // longest, longest))
    if filler % longest:
        runs.append((1, filler % longest))
    return Pack(chosen, lengths, input_ids, position_ids, tuple(runs), filler)


def _deal(
    sizes: NDArray[np.int64], packs: int, budget: int, max_rows: int | None
) -> NDArray[np.int64] | None:
    """Return the pack of each size (they fall), None where one would exceed budget or cap."""
    import heapq

    heap = [(0, 0, k) for k in range(packs)]
    owner = np.zeros(len(sizes), dtype=np.int64)
    for i, size in enumerate(sizes.tolist()):
        held, count, k = heapq.heappop(heap)
        if count and held + size > budget:
            return None
        owner[i] = k
        if max_rows is None or count + 1 < max_rows:
            heapq.heappush(heap, (held + size, count + 1, k))
        elif not heap and i + 1 < len(sizes):
            return None
    return owner
