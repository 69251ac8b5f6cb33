"""How much of a text stands word for word in other texts: n-grams of words, found exactly.

Texts are normalised as for duplicates (case, punctuation and compatibility forms don't count) and
cut into words. A word of an evaluated text is seen where it lies in a window of n words that occurs
in the corpus too; the overlap of a text is its share of seen words, as evaluations of large models
report it (Chowdhery et al. 2022, sec. 8: 70 % of 8-grams; Touvron et al. 2023, app. A.6). The
corpus streams through in parts; only the windows of the evaluated texts are kept.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from shipworthy.data.duplicates import normalise

if TYPE_CHECKING:
    from collections.abc import Iterable

    import polars as pl
    from numpy.typing import NDArray

    Hashes: TypeAlias = NDArray[np.uint64]
    Integers: TypeAlias = NDArray[np.int64]

_FACTOR = np.uint64(0x9E3779B97F4A7C15)
# Windows of a corpus are first looked up in bits, which fit into the processor's cache.
_BITS = 24
# Words of the corpus that are looked at together.
CHUNK_WORDS = 1 << 20


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
    words, offsets = _words(evaluated)
    lengths = np.diff(offsets)
    windows, starts = _windows(words, offsets, ngram)
    wanted, place = np.unique(windows, return_inverse=True)
    found = np.zeros(len(wanted), dtype=bool)
    bits = _bits(wanted)
    whole = _whole(words, offsets)
    short = np.flatnonzero((lengths > 0) & (lengths < ngram))
    copied = np.zeros(len(lengths), dtype=bool)
    for part in corpus:
        for texts in _chunks(part):
            others, limits = _words(texts)
            theirs, _ = _windows(others, limits, ngram)
            theirs = theirs[bits[theirs >> np.uint64(64 - _BITS)]]
            if theirs.size:
                at = np.minimum(np.searchsorted(wanted, theirs), max(0, len(wanted) - 1))
                found[at[wanted[at] == theirs]] = True
            if short.size:
                copied[short] |= np.isin(whole[short], _whole(others, limits))
    seen = _covered(starts[found[place]], ngram, len(words))
    share = np.zeros(len(lengths))
    held = lengths >= ngram
    sums = np.concatenate([[0], np.cumsum(seen)])
    share[held] = (sums[offsets[1:]] - sums[offsets[:-1]])[held] / lengths[held]
    share[copied] = 1.0
    return share


def _words(texts: pl.Series) -> tuple[Hashes, Integers]:
    """Return a hash of each word, and where each text's begin, shape (n + 1,)."""
    import polars as pl

    plain = normalise(texts).fill_null("")
    split = pl.DataFrame({"words": plain}).select(
        pl.when(pl.col("words") == "")
        .then(pl.lit([], dtype=pl.List(pl.String)))
        .otherwise(pl.col("words").str.split(" "))
        .alias("words")
    )["words"]
    offsets = np.concatenate([[0], np.cumsum(split.list.len().to_numpy().astype(np.int64))])
    words = split.filter(split.list.len() > 0).explode()
    return words.hash(0).to_numpy().astype(np.uint64, copy=False), offsets.astype(np.int64)


def _windows(words: Hashes, offsets: Integers, ngram: int) -> tuple[Hashes, Integers]:
    """Return a hash of each window of n words inside a text, and the word that it begins with."""
    count = max(0, len(words) - ngram + 1)
    text = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    starts = np.flatnonzero(text[:count] == text[ngram - 1 :][:count])
    hashes = np.zeros(count, dtype=np.uint64)
    with np.errstate(over="ignore"):
        for k in range(ngram):
            hashes = (hashes ^ (hashes >> np.uint64(29))) * _FACTOR + words[k : k + count]
        # The lookup takes the upper bits: all of them have to be mixed.
        hashes = (hashes ^ (hashes >> np.uint64(32))) * _FACTOR
    return hashes[starts], starts


def _whole(words: Hashes, offsets: Integers) -> Hashes:
    """Return a hash of each text."""
    found = np.zeros(len(offsets) - 1, dtype=np.uint64)
    held = np.flatnonzero(np.diff(offsets) > 0)
    place = np.arange(len(words)) - np.repeat(offsets[:-1], np.diff(offsets))
    with np.errstate(over="ignore"):
        mixed = (words ^ (words >> np.uint64(31))) * (_FACTOR + place.astype(np.uint64) * 2)
        mixed ^= mixed >> np.uint64(29)
        if held.size:
            found[held] = np.add.reduceat(mixed, offsets[:-1][held])
    return found


def _bits(wanted: Hashes) -> NDArray[np.bool_]:
    bits = np.zeros(1 << _BITS, dtype=bool)
    bits[wanted >> np.uint64(64 - _BITS)] = True
    return bits


def _chunks(texts: pl.Series) -> Iterable[pl.Series]:
    """Return the texts in parts of about a million words; a longer text is a part of its own."""
    sizes = texts.str.len_bytes().fill_null(0).to_numpy().astype(np.int64) // 6 + 1
    part = np.cumsum(sizes) // CHUNK_WORDS
    edges = [0, *(np.flatnonzero(np.diff(part)) + 1).tolist(), len(texts)]
    for start, stop in zip(edges, edges[1:], strict=False):
        if stop > start:
            yield texts[start:stop]


def _covered(starts: Integers, ngram: int, words: int) -> NDArray[np.bool_]:
    """Return which words lie in one of the windows that begin at these words."""
    steps = np.zeros(words + 1, dtype=np.int64)
    np.add.at(steps, starts, 1)
    np.add.at(steps, np.minimum(starts + ngram, words), -1)
    covered: NDArray[np.bool_] = np.cumsum(steps[:-1]) > 0
    return covered
