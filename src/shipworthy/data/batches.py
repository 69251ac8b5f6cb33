"""Texts as token ids, grouped so that little of a batch is padding.

All rows of a set lie in one flat array (`Encoded`); a batch is a list of row numbers (`buckets`)
turned into a padded rectangle only when it is needed (`pad`). Nothing here knows torch: a runtime
wraps the arrays of a `Batch` without copying them.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from shipworthy.core import locale
from shipworthy.core.errors import DataError, InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

# Rows handed to the tokenizer at once: its own record of a text is about 100 times the text.
CHUNK_ROWS = 8192

# Half width of the noise on log length that mixes neighbouring lengths in a shuffled order. 0.05
# costs about 4 points of padding on short texts (1 point without it); batches vary.
LENGTH_NOISE = 0.05


@dataclass(frozen=True, eq=False)
class Encoded:
    """Token ids of n texts without padding.

    token_ids: int32, shape (total,); offsets: int64, shape (n + 1,): text i is
    `token_ids[offsets[i]:offsets[i + 1]]`.
    """

    token_ids: NDArray[np.int32]
    offsets: NDArray[np.int64]

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Tokens per text, special tokens included; shape (n,)."""
        return np.diff(self.offsets)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def take(self, rows: ArrayLike) -> Encoded:
        """Return the texts with these row numbers, in this order."""
        chosen = np.asarray(rows, dtype=np.int64)
        lengths = self.lengths[chosen]
        offsets = _offsets(lengths)
        inside = np.arange(offsets[-1]) - np.repeat(offsets[:-1], lengths)
        positions = np.repeat(self.offsets[:-1][chosen], lengths) + inside
        return Encoded(self.token_ids[positions], offsets)


@dataclass(frozen=True, eq=False)
class Batch:
    """Rows of a set as one rectangle, padded on the right to the longest of them.

    rows: int64, shape (b,); input_ids and attention_mask: int64, shape (b, longest).
    """

    rows: NDArray[np.int64]
    input_ids: NDArray[np.int64]
    attention_mask: NDArray[np.int64]


class Texts(Protocol):
    """Token ids of n texts, wherever they lie."""

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Tokens per text, special tokens included; shape (n,)."""

    def __len__(self) -> int: ...

    def take(self, rows: ArrayLike) -> Encoded:
        """Return the texts with these row numbers, in this order."""


def encode(tokenizer: Any, texts: Sequence[str], *, max_length: int, first_row: int = 0) -> Encoded:
    """Turn texts into token ids, cut to `max_length` tokens with the special ones kept.

    tokenizer: a fast tokenizer of transformers, or a `tokenizers.Tokenizer`. Its truncation and
    padding are set to those of this call and stay so, as transformers itself does.
    max_length: at least as many tokens as the tokenizer adds by itself, plus one. first_row: number
    of the first text among those that the user knows, for the message.
    Raises DataError where a text is missing.
    """
    backend = getattr(tokenizer, "backend_tokenizer", tokenizer)
    _prepare(backend, max_length)
    ids: list[NDArray[np.int32]] = []
    lengths = np.zeros(len(texts), dtype=np.int64)
    for start in range(0, len(texts), CHUNK_ROWS):
        chunk = list(texts[start : start + CHUNK_ROWS])
        try:
            encodings = backend.encode_batch_fast(chunk)
        except TypeError:
            raise _missing_text(chunk, first_row + start) from None
        rows = [encoding.ids for encoding in encodings]
        chunk_lengths = np.fromiter(map(len, rows), dtype=np.int64, count=len(rows))
        lengths[start : start + len(rows)] = chunk_lengths
        ids.append(np.fromiter(chain.from_iterable(rows), np.int32, int(chunk_lengths.sum())))
    token_ids = np.concatenate(ids) if ids else np.zeros(0, np.int32)
    return Encoded(token_ids, _offsets(lengths))


def buckets(
    lengths: ArrayLike,
    *,
    token_budget: int,
    seed: int | None,
    epoch: int = 0,
    max_rows: int | None = None,
) -> list[NDArray[np.int64]]:
    """Group rows of like length so that a padded batch holds at most `token_budget` tokens.

    lengths: tokens per row, shape (n,). Every row stands in exactly one batch.
    seed: None sorts by falling length (the largest batch comes first, so lack of memory shows at
    once); a number mixes neighbouring lengths and the order of the batches, differently in every
    epoch and always alike for the same seed and epoch.
    max_rows: cap on the rows of a batch.
    Raises InputError where one row alone exceeds the budget, or max_rows is below 1.
    """
    sizes = np.maximum(np.asarray(lengths, dtype=np.int64), 1)
    if sizes.size == 0:
        return []
    longest = int(sizes.max())
    if longest > token_budget:
        raise InputError(
            locale.text(
                "error.batches.row_too_long",
                row=int(sizes.argmax()) + 1,
                longest=longest,
                token_budget=token_budget,
            )
        )
    if max_rows is not None and max_rows < 1:
        raise InputError(locale.text("error.batches.no_room", max_rows=max_rows))
    if seed is None:
        return _cut(np.argsort(-sizes, kind="stable"), sizes, token_budget, max_rows)
    generator = np.random.default_rng([seed, epoch])
    noise = generator.uniform(-LENGTH_NOISE, LENGTH_NOISE, size=sizes.size)
    order = np.argsort(-(np.log(sizes) + noise), kind="stable")
    batches = _cut(order, sizes, token_budget, max_rows)
    return [batches[i] for i in generator.permutation(len(batches))]


def pad(encoded: Texts, rows: ArrayLike, *, pad_token_id: int) -> Batch:
    """Lay rows of a set side by side as a rectangle, padded on the right."""
    chosen = np.asarray(rows, dtype=np.int64)
    taken = encoded.take(chosen)
    lengths = taken.lengths
    columns = np.arange(max(1, int(lengths.max(initial=0))))
    mask = columns < lengths[:, None]
    input_ids = np.full(mask.shape, pad_token_id, dtype=np.int64)
    input_ids[mask] = taken.token_ids
    return Batch(chosen, input_ids, mask.astype(np.int64))


def _cut(
    order: NDArray[np.int64], sizes: NDArray[np.int64], token_budget: int, max_rows: int | None
) -> list[NDArray[np.int64]]:
    """Cut an order of rows into the fewest consecutive batches that keep the budget."""
    batches = []
    start = 0
    while start < len(order):
        most = token_budget // int(sizes[order[start]])
        rows = order[start : start + (most if max_rows is None else min(most, max_rows))]
        padded = np.maximum.accumulate(sizes[rows]) * np.arange(1, len(rows) + 1)
        # padded grows strictly, so the rows inside the budget are a prefix.
        rows = rows[: int(np.searchsorted(padded, token_budget, side="right"))]
        batches.append(rows)
        start += len(rows)
    return batches


def _prepare(backend: Any, max_length: int) -> None:
    """Set truncation and no padding, but only where that changes something.

    Threads that share a tokenizer and its length then never write to it while another reads.
    """
    present = backend.truncation
    wanted = {"max_length": max_length, "stride": 0, "strategy": "longest_first"}
    if present is None or any(present[key] != value for key, value in wanted.items()):
        backend.enable_truncation(**wanted)
    if backend.padding is not None:
        backend.no_padding()


def _missing_text(chunk: list[Any], start: int) -> DataError:
    row = next((i for i, text in enumerate(chunk) if not isinstance(text, str)), 0)
    return DataError(
        locale.text("error.batches.not_text", value=chunk[row]),
        row=start + row + 1,
        fix=locale.text("error.batches.not_text.fix"),
    )


def _offsets(lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(lengths, dtype=np.int64)])
