"""How much of a text stands word for word in other texts: n-grams of words, found exactly.

Texts are normalised as for duplicates (case, punctuation and compatibility forms don't count) and
cut into words. A word of an evaluated text is seen where it lies in a window of n words that occurs
in the corpus too; the overlap of a text is its share of seen words, as evaluations of large models
report it (Chowdhery et al. 2022, sec. 8: 70 % of 8-grams; Touvron et al. 2023, app. A.6). The
corpus streams through in blocks; only the windows of the evaluated texts are kept. Windows are
looked up by hashes, and what is looked up successfully is then compared word by word.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from shipworthy.data.word_stream import Words, read_words, spans, windows

if TYPE_CHECKING:
    from collections.abc import Iterable

    import polars as pl
    from numpy.typing import NDArray

    from shipworthy.data.word_stream import Hashes, Integers

# Bits of the first lookup for each phrase that is looked for; more of them leave the caches.
_SPARE_BITS = 5
_LEAST_BITS, _MOST_BITS = 12, 24


def overlap(
    evaluated: pl.Series, corpus: Iterable[pl.Series], *, ngram: int = 8
) -> NDArray[np.float64]:
    """Return the share of the words of each evaluated text that the corpus holds too, shape (n,).

    evaluated, corpus: texts; a null has no words. ngram: words of a window, at least 1. A text of
    fewer words is 1 where it is a whole text of the corpus and 0 elsewhere; one without words is 0.
    Raises ValueError for an ngram below 1.
    """
    if ngram < 1:
        raise ValueError(f"an n-gram has at least one word, not {ngram}")
    texts = _all_words(evaluated)
    wanted = _wanted(texts, ngram)
    found = np.zeros(len(wanted.words), dtype=bool)
    for words in read_words(corpus, keep=ngram - 1, signs=texts.signs):
        _look_up(words, texts, wanted, found, ngram)
    held, long = wanted.words[found], wanted.counts[found] == ngram
    seen = _covered(held[long], ngram, len(texts))
    sums = np.concatenate([[0], np.cumsum(seen)])
    share: NDArray[np.float64] = (sums[texts.first[1:]] - sums[texts.first[:-1]]) / np.maximum(
        np.diff(texts.first), 1
    )
    share[np.searchsorted(texts.first, held[~long], side="right") - 1] = 1.0
    return share


@dataclass(frozen=True, eq=False)
class _Wanted:
    """The windows of the evaluated texts, and whole texts that are shorter than one.

    words, counts: int64, shape (m,): each phrase's first word and how many it has. order: int64,
    shape (m,): the phrases by their hash. keys: uint64, shape (u,): the hashes, each once, rising;
    key i is that of `order[bounds[i]:bounds[i + 1]]`. filter: bool, indexed by a hash's upper bits.
    """

    words: Integers
    counts: Integers
    order: Integers
    keys: Hashes
    bounds: Integers
    filter: NDArray[np.bool_]

    def keys_of(self, hashes: Hashes) -> tuple[Integers, Integers]:
        """Return which of some hashes are looked for, and the places of their keys."""
        # The logarithm of its size is a whole number.
        bits = np.uint64(64 - (len(self.filter).bit_length() - 1))
        maybe = np.flatnonzero(self.filter[hashes >> bits])
        at = np.minimum(np.searchsorted(self.keys, hashes[maybe]), max(0, len(self.keys) - 1))
        same = self.keys[at] == hashes[maybe] if maybe.size else np.zeros(0, dtype=bool)
        return maybe[same], at[same]


def _all_words(texts: pl.Series) -> Words:
    """Return the words of all texts as one block; each row is a text of it."""
    blocks = list(read_words([texts]))
    rows = np.concatenate(
        [np.zeros(0, np.int64), *(np.repeat(b.text, np.diff(b.first)) for b in blocks)]
    )
    order = np.argsort(rows, kind="stable")
    shifts = np.cumsum([0, *(len(b.plain) for b in blocks)]).tolist()

    def joined(name: str, kind: type, by: Iterable[int] | None = None) -> NDArray[Any]:
        parts = [getattr(b, name) for b in blocks]
        if by is not None:
            parts = [part + shift for part, shift in zip(parts, by, strict=False)]
        return np.concatenate([np.zeros(0, kind), *parts])

    return Words(
        joined("plain", np.uint8),
        joined("starts", np.int64, shifts)[order],
        joined("ends", np.int64, shifts)[order],
        joined("hashes", np.uint64)[order],
        np.arange(len(texts)),
        np.searchsorted(rows[order], np.arange(len(texts) + 1)),
        np.ones(len(texts), dtype=bool),
        signs=any(b.signs for b in blocks),
    )


def _wanted(texts: Words, ngram: int) -> _Wanted:
    lengths = np.diff(texts.first)
    whole = (lengths > 0) & (lengths < ngram)
    phrases = np.where(whole, 1, np.maximum(lengths - ngram + 1, 0))
    inside = np.arange(phrases.sum()) - np.repeat(np.cumsum(phrases) - phrases, phrases)
    words = np.repeat(texts.first[:-1], phrases) + inside
    counts = np.repeat(np.where(whole, lengths, ngram), phrases)
    hashes = spans(texts.hashes, words, counts)
    order = np.argsort(hashes, kind="stable")
    keys, bounds = np.unique(hashes[order], return_index=True)
    size = int(len(keys)).bit_length() + _SPARE_BITS
    bits = min(_MOST_BITS, max(_LEAST_BITS, size))
    maybe = np.zeros(1 << bits, dtype=bool)
    maybe[keys >> np.uint64(64 - bits)] = True
    return _Wanted(words, counts, order, keys, np.append(bounds, len(order)), maybe)


def _look_up(
    words: Words, texts: Words, wanted: _Wanted, found: NDArray[np.bool_], ngram: int
) -> None:
    """Set in `found` the phrases that stand among some words of the corpus."""
    first, lengths = words.first, np.diff(words.first)
    begins, at = wanted.keys_of(windows(words.hashes, ngram))
    # A window ends in the text that it begins in.
    held = begins + ngram <= first[np.searchsorted(first, begins, side="right")]
    short = np.flatnonzero((lengths > 0) & (lengths < ngram) & words.complete)
    chosen, also = wanted.keys_of(spans(words.hashes, first[short], lengths[short]))
    begins = np.concatenate([begins[held], first[short[chosen]]])
    counts = np.concatenate([np.full(held.sum(), ngram), lengths[short[chosen]]])
    at = np.concatenate([at[held], also])
    for begin, count, key in zip(begins.tolist(), counts.tolist(), at.tolist(), strict=True):
        alike = wanted.order[wanted.bounds[key] : wanted.bounds[key + 1]]
        alike = alike[~found[alike]]
        if not alike.size:
            continue
        phrase = words.phrase(begin, count)
        for k in alike.tolist():
            found[k] = texts.phrase(wanted.words[k], wanted.counts[k]) == phrase


def _covered(starts: Integers, ngram: int, words: int) -> NDArray[np.bool_]:
    """Return which words lie in one of the windows that begin at these words."""
    steps = np.zeros(words + 1, dtype=np.int64)
    np.add.at(steps, starts, 1)
    np.add.at(steps, np.minimum(starts + ngram, words), -1)
    covered: NDArray[np.bool_] = np.cumsum(steps[:-1]) > 0
    return covered
