"""Texts that say the same in nearly the same letters, found without comparing all pairs.

Two texts are near-duplicates where the Jaccard similarity of their sets of five-byte shingles,
after normalising, reaches a threshold. Candidates come from MinHash signatures in bands (Broder
1997; Indyk and Motwani 1998); each is then compared exactly, so nothing is joined by chance. A pair
at similarity s becomes a candidate with probability 1 - (1 - s^4)^8: 0.985 at 0.8, 0.9998 at 0.9.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    import polars as pl
    from numpy.typing import NDArray

    Integers: TypeAlias = NDArray[np.int64]
    Signatures: TypeAlias = NDArray[np.uint32]

SHINGLE_BYTES = 5
BANDS, BAND_ROWS = 8, 4
# Below this length a text has so few shingles that one word decides: only equal ones are joined.
SHORT_BYTES = 20
# Texts of a bucket that each one is compared with; most buckets are far smaller.
NEIGHBOURS = 16
# Bytes worked on at once: large enough for vector speed, small enough for the processor's cache.
CHUNK_BYTES = 1 << 19
# Shingles of candidate pairs sorted at once.
CHUNK_SHINGLES = 1 << 18
# A signature of 32 values estimates a similarity of 0.8 with a standard error of 0.07.
_ESTIMATE_SLACK = 0.2


@dataclass(frozen=True, eq=False)
class Duplicates:
    """Which rows carry the same text or nearly so.

    text: int64, shape (n,): number of the row's text; equal normalised texts share it.
    pairs: int64, shape (p, 2): near-duplicate texts, by these numbers; enough of them to connect
    all that belong together, not each of them.
    short: bool, shape (texts,): texts of fewer than 20 bytes.
    """

    text: Integers
    pairs: Integers
    short: NDArray[np.bool_]


def find_duplicates(texts: pl.Series, *, similarity: float = 0.8) -> Duplicates:
    """Find equal and nearly equal texts.

    similarity: lowest Jaccard similarity in (0, 1] that joins two texts; 1 joins equal ones only.
    A null is a text of its own in every row. The result doesn't depend on any seed.
    """
    import polars as pl

    normal = normalise(texts)
    _, first, text = np.unique(normal.hash(0).to_numpy(), return_index=True, return_inverse=True)
    text = text.astype(np.int64)
    missing = np.flatnonzero(texts.is_null().to_numpy())
    unique = normal.gather(first).fill_null("")
    if missing.size:
        text[missing] = len(first) + np.arange(missing.size)
        unique = pl.concat([unique, pl.Series(normal.name, [""] * missing.size)])
    lengths = unique.str.len_bytes().to_numpy().astype(np.int64)
    long = np.flatnonzero(lengths >= SHORT_BYTES)
    pairs = np.zeros((0, 2), dtype=np.int64)
    if similarity < 1 and long.size > 1:
        content = np.frombuffer("".join(unique.gather(long).to_list()).encode(), dtype=np.uint8)
        offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths[long])])
        pairs = long[_near_pairs(content, offsets, similarity)]
    return Duplicates(text, pairs, lengths < SHORT_BYTES)


def normalise(texts: pl.Series) -> pl.Series:
    """Return texts in lower case and compatibility form, letters, digits and single spaces only.

    A text without letters and digits (":-)") stays as it is.

    >>> import polars as pl
    >>> normalise(pl.Series(["So  GOOD!!", ":-)"])).to_list()
    ['so good', ':-)']
    """
    import polars as pl

    name = texts.name
    plain = texts.str.normalize("NFKC").str.to_lowercase()
    words = plain.str.replace_all(r"[^\p{L}\p{M}\p{N}]+", " ").str.strip_chars()
    both = pl.DataFrame({"words": words, "plain": plain.str.strip_chars()})
    kept = pl.when(pl.col("words") == "").then("plain").otherwise("words")
    return both.select(kept.alias(name)).to_series()


def _signatures(content: NDArray[np.uint8], offsets: Integers) -> Signatures:
    """Return the smallest of each text's shingle hashes for 32 hash functions; shape (n, 32)."""
    generator = np.random.default_rng(20_240_229)
    factors = generator.integers(1 << 31, size=BANDS * BAND_ROWS, dtype=np.uint32) * 2 + 1
    shifts = generator.integers(1 << 32, size=BANDS * BAND_ROWS, dtype=np.uint32)
    signatures = np.empty((len(offsets) - 1, factors.size), dtype=np.uint32)
    start = 0
    while start < len(signatures):
        most = int(np.searchsorted(offsets, offsets[start] + CHUNK_BYTES, side="right")) - 1
        stop = max(start + 1, most)
        texts = np.arange(start, stop)
        shingles, sizes = _shingles(content, offsets, texts)
        hashes = (_mix(shingles) >> np.uint64(32)).astype(np.uint32)
        begins = np.cumsum(sizes) - sizes
        for k, (factor, shift) in enumerate(zip(factors, shifts, strict=True)):
            signatures[start:stop, k] = np.minimum.reduceat(hashes * factor + shift, begins)
        start = stop
    return signatures


def _shingles(
    content: NDArray[np.uint8], offsets: Integers, texts: Integers
) -> tuple[NDArray[np.uint64], Integers]:
    """Return the shingles (40 bits) of some texts one after the other, and how many each has."""
    sizes = offsets[texts + 1] - offsets[texts] - (SHINGLE_BYTES - 1)
    inside = np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    begins = np.repeat(offsets[texts], sizes) + inside
    shingles = content[begins].astype(np.uint64)
    for k in range(1, SHINGLE_BYTES):
        shingles |= content[begins + k].astype(np.uint64) << np.uint64(8 * k)
    return shingles, sizes


def _mix(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Spread the bits of 64-bit numbers (the finaliser of SplitMix64)."""
    mixed = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))


def _near_pairs(content: NDArray[np.uint8], offsets: Integers, similarity: float) -> Integers:
    """Return pairs that connect all near-duplicates; shape (p, 2).

    In the bucket of a band each text meets its next neighbours and the first one: linear, and
    enough in practice to join all of them, since joins are transitive and like texts stand together
    in a bucket. Texts that are joined already aren't compared again, so a million texts from one
    template stay affordable.
    """
    signatures = _signatures(content, offsets)
    keys = _band_keys(signatures)
    found = [np.zeros((0, 2), dtype=np.int64)]
    component = np.arange(len(signatures))
    for band in range(BANDS):
        for pairs in _bucket_pairs(np.roll(keys, -band, axis=0)):
            pairs = pairs[component[pairs[:, 0]] != component[pairs[:, 1]]]
            pairs = pairs[_estimates(signatures, pairs) >= similarity - _ESTIMATE_SLACK]
            pairs = pairs[_similarities(content, offsets, pairs) >= similarity]
            if len(pairs):
                found.append(pairs)
                component = connected(len(signatures), np.concatenate(found))
    return np.concatenate(found)


def connected(n: int, pairs: Integers) -> Integers:
    """Return the number of the connected component of each of n nodes; pairs has shape (p, 2)."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    links = coo_array((np.ones(len(pairs), np.bool_), (pairs[:, 0], pairs[:, 1])), shape=(n, n))
    component: Integers = connected_components(links, directed=False)[1].astype(np.int64)
    return component


def _band_keys(signatures: Signatures) -> NDArray[np.uint64]:
    """Return one number for what each text has in a band; shape (bands, n)."""
    keys = np.zeros((BANDS, len(signatures)), dtype=np.uint64)
    for band in range(BANDS):
        for values in signatures[:, band * BAND_ROWS : (band + 1) * BAND_ROWS].T:
            keys[band] = _mix(keys[band] ^ values.astype(np.uint64))
    return keys


def _bucket_pairs(keys: NDArray[np.uint64]) -> Iterator[Integers]:
    """Yield pairs of texts with equal keys in the first band: neighbours, then each with the first.

    Within a bucket texts stand in the order of the other bands' keys, so like ones stand together.
    """
    first_band = keys[0]
    order = np.argsort(first_band, kind="stable")
    new = np.diff(first_band[order], prepend=~first_band[order[:1]]) != 0
    bucket = np.cumsum(new) - 1
    crowded = np.flatnonzero(np.bincount(bucket)[bucket] > 2)
    if crowded.size:
        members = order[crowded]
        # Buckets are consecutive, so sorting by their number first leaves them in their places.
        inside = np.lexsort([*(keys[k][members] for k in (3, 2, 1)), bucket[crowded]])
        order[crowded] = members[inside]
    for distance in range(1, NEIGHBOURS + 1):
        later = np.flatnonzero(bucket[distance:] == bucket[:-distance]) + distance
        yield np.stack([order[later - distance], order[later]], axis=1)
    later = np.flatnonzero(~new)
    yield np.stack([order[np.flatnonzero(new)[bucket[later]]], order[later]], axis=1)


def _estimates(signatures: Signatures, pairs: Integers) -> NDArray[np.float64]:
    """Return the similarity of each pair as its signatures tell it; shape (p,)."""
    result = np.zeros(len(pairs))
    for start in range(0, len(pairs), 1 << 18):
        part = slice(start, start + (1 << 18))
        equal = signatures[pairs[part, 0]] == signatures[pairs[part, 1]]
        result[part] = equal.mean(axis=1)
    return result


def _similarities(
    content: NDArray[np.uint8], offsets: Integers, pairs: Integers
) -> NDArray[np.float64]:
    """Return the exact Jaccard similarity of the shingle sets of each pair; shape (c,)."""
    result = np.zeros(len(pairs))
    work = np.cumsum(np.diff(offsets)[pairs].sum(axis=1))
    start = 0
    while start < len(pairs):
        done = work[start - 1] if start else 0
        stop = max(start + 1, int(np.searchsorted(work, done + CHUNK_SHINGLES, side="right")))
        n = stop - start
        # Keys of 64 bits: 23 of the pair, 40 of the shingle, 1 of the side.
        keys = []
        for side in (0, 1):
            shingles, sizes = _shingles(content, offsets, pairs[start:stop, side])
            pair = np.repeat(np.arange(n, dtype=np.uint64) << np.uint64(41), sizes)
            keys.append(pair | shingles << np.uint64(1) | np.uint64(side))
        key = np.sort(np.concatenate(keys))
        key = key[np.diff(key, prepend=~key[:1]) != 0]
        element = key >> np.uint64(1)
        pair = (element >> np.uint64(40)).astype(np.int64)
        shared = np.bincount(pair[1:][element[1:] == element[:-1]], minlength=n)
        result[start:stop] = shared / (np.bincount(pair, minlength=n) - shared)
        start = stop
    return result
