"""The words of texts as numbers, in blocks: fast for ASCII, and alike for all other letters.

A word is what stands between spaces in a text that `duplicates.normalise` made plain. ASCII is made
plain by a table; pieces with other letters go through `normalise` itself and are put back in their
places. A text that is longer than a block is cut where nothing before the cut bears on what follows
it, and the words before the cut that a window may still need are handed on, so that one endless
line takes no more memory than many short ones.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from hashlib import blake2b
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from shipworthy.data.duplicates import normalise

if TYPE_CHECKING:
    import polars as pl
    from numpy.typing import NDArray

    Bytes: TypeAlias = NDArray[np.uint8]
    Hashes: TypeAlias = NDArray[np.uint64]
    Integers: TypeAlias = NDArray[np.int64]

# Bytes worked on at once: their prefix sums have to fit into the processor's cache.
BLOCK_BYTES = 1 << 19
_SPACE = 0x20
# A white space ends what composes and what decides the form of a final sigma; so does a sign
# between two ASCII letters or digits; so do the full stop and the comma of Chinese.
_CUT = re.compile(
    rb"[\t-\r ]|(?<=[0-9A-Za-z])[!-/:-@\[-`{-~](?=[0-9A-Za-z])|\xe3\x80\x82|\xef\xbc\x8c"
)


@dataclass(frozen=True, eq=False)
class Words:
    """Words of a block of texts.

    plain: uint8, the block's bytes; word i is `plain[starts[i]:ends[i]]`. hashes: uint64, one a
    word. text: int64, shape (t,): which texts these are, counted over all that was read. first:
    int64, shape (t + 1,): text k has the words `first[k]` to `first[k + 1]`. complete: bool, shape
    (t,): no word of the text is outside of this block. signs: whether the texts have neither
    letters nor digits.
    """

    plain: Bytes
    starts: Integers
    ends: Integers
    hashes: Hashes
    text: Integers
    first: Integers
    complete: NDArray[np.bool_]
    signs: bool = False

    def __len__(self) -> int:
        return len(self.starts)

    def phrase(self, word: int, count: int) -> bytes:
        """Return some words from one on, with single spaces between them."""
        bounds = zip(
            self.starts[word : word + count].tolist(),
            self.ends[word : word + count].tolist(),
            strict=True,
        )
        return b" ".join([self.plain[start:end].tobytes() for start, end in bounds])


@dataclass(frozen=True, eq=False)
class _Block:
    """raw: texts with a space behind each but the last; ends: where each text ends.

    cut: whether the last text goes on in the next block.
    """

    raw: Bytes
    ends: Integers
    cut: bool


@dataclass(frozen=True)
class _Carried:
    """What a cut text has had: its last words, how many there were, its bytes while it had none."""

    words: bytes = b""
    count: int = 0
    raw: tuple[bytes, ...] = ()


def read_words(parts: Iterable[pl.Series], *, keep: int = 0, signs: bool = True) -> Iterator[Words]:
    """Yield the words of texts, block by block.

    parts: texts; a null has no words. keep: how many words before a cut stand in the next block
    once more. signs: whether texts without letters and digits are read too, whose words are signs.
    """
    import polars as pl

    text = 0
    for part in parts:
        texts = part if part.dtype == pl.String else part.cast(pl.String)
        # Filling copies the texts several times.
        texts = texts.fill_null("") if texts.null_count() else texts
        before: _Carried | None = None
        for block in _blocks(texts):
            words = _words_of(block, text, before)
            counts = np.diff(words.first)
            if signs:
                yield from _signs(block, words, before)
            text += len(counts) - block.cut
            before = _carry(block, words, before, keep, signs=signs) if block.cut else None
            yield words


def spans(hashes: Hashes, first: Integers, counts: Integers) -> Hashes:
    """Return one number for `counts` words from each of `first` on; equal words give equal ones.

    first, counts: shape (m,); counts at least 1.
    """
    sums, inverses = _sums(hashes)
    with np.errstate(over="ignore"):
        return _mixed((sums[first + counts] - sums[first]) * inverses[first])


def windows(hashes: Hashes, count: int) -> Hashes:
    """Return the number, as of `spans`, of each `count` words that follow each other."""
    if len(hashes) < count:
        return np.zeros(0, np.uint64)
    sums, inverses = _sums(hashes)
    with np.errstate(over="ignore"):
        return _mixed((sums[count:] - sums[:-count]) * inverses[: len(sums) - count])


def _sums(hashes: Hashes) -> tuple[Hashes, Hashes]:
    """Return the prefix sums of hashes times powers, shape (n + 1,), and the inverses of these."""
    factors, inverses = _powers(len(hashes) + 1, 1)
    sums = np.zeros(len(hashes) + 1, np.uint64)
    with np.errstate(over="ignore"):
        np.cumsum(hashes * factors[:-1], out=sums[1:])
    return sums, inverses


def _mixed(sums: Hashes) -> Hashes:
    # A lookup takes the upper bits: all of them have to be mixed.
    mixed: Hashes = (sums ^ (sums >> np.uint64(32))) * np.uint64(0x9E3779B97F4A7C15)
    return mixed


def _blocks(texts: pl.Series) -> Iterator[_Block]:
    """Yield the texts in blocks; one that is longer than a block is cut into several."""
    sizes = texts.str.len_bytes().to_numpy().astype(np.int64)
    limits = np.cumsum(sizes + 1)
    start = 0
    while start < len(sizes):
        if sizes[start] > BLOCK_BYTES:
            yield from _pieces(texts[start : start + 1])
            start += 1
            continue
        done = limits[start - 1] if start else 0
        stop = int(np.searchsorted(limits, done + BLOCK_BYTES + 1, side="right"))
        raw = _bytes(texts[start:stop].str.join(" "))
        yield _Block(raw, limits[start:stop] - done - 1, cut=False)
        start = stop


def _pieces(text: pl.Series) -> Iterator[_Block]:
    raw = _bytes(text)
    start = 0
    while start < len(raw):
        found = _CUT.search(raw.data, start + BLOCK_BYTES)
        stop = found.end() if found else len(raw)
        yield _Block(raw[start:stop], np.array([stop - start]), cut=stop < len(raw))
        start = stop


def _bytes(text: pl.Series) -> Bytes:
    """Return the UTF-8 of a series of one text, without a copy where possible."""
    import pyarrow as pa

    column = text.to_arrow().cast(pa.large_string())
    begin, end = np.frombuffer(column.buffers()[1], np.int64)[column.offset : column.offset + 2]
    if begin == end:
        return np.zeros(0, np.uint8)
    return np.frombuffer(column.buffers()[2], np.uint8)[begin:end]


def _words_of(block: _Block, text: int, before: _Carried | None) -> Words:
    """Return the words of a block, those that were carried into it in front."""
    raw, limits = _without_others(block.raw, block.ends)
    carried = b" " if before is None else b" %b " % before.words
    head = len(carried)
    written = b"".join((carried, raw.tobytes().translate(_tables()[0]), b" "))
    plain = np.frombuffer(written, np.uint8)
    inside = plain != _SPACE
    edges = np.flatnonzero(inside[1:] != inside[:-1]) + 1
    starts, ends = edges[0::2], edges[1::2]
    first = np.concatenate([[0], np.searchsorted(starts, limits + head)])
    complete = np.ones(len(limits), dtype=bool)
    complete[-1:] = not block.cut
    if before is not None:
        complete[0] &= before.count == before.words.count(b" ") + bool(before.words)
    return Words(
        plain, starts, ends, _hashes(plain, starts, ends), text + np.arange(len(limits)),
        first.astype(np.int64), complete,
    )  # fmt: skip


def _carry(
    block: _Block, words: Words, before: _Carried | None, keep: int, *, signs: bool
) -> _Carried:
    """Return what the next block has to know of the text that this one cuts."""
    begin, end = words.first[-2:].tolist()
    last = min(keep, end - begin)
    repeated = before.words.count(b" ") + bool(before.words) if before else 0
    count = (before.count if before else 0) + end - begin - repeated
    raw = (*(before.raw if before else ()), block.raw.tobytes()) if signs and not count else ()
    return _Carried(words.phrase(end - last, last), count, raw)


def _signs(block: _Block, words: Words, before: _Carried | None) -> Iterator[Words]:
    """Yield the words of texts that end here and have neither letters nor digits."""
    import polars as pl

    none = np.diff(words.first) == 0
    begins = np.concatenate([[0], block.ends[:-1] + 1])
    none &= words.complete
    if before is None or not before.raw:
        none &= block.ends > begins
    for k in np.flatnonzero(none).tolist():
        raw = block.raw[begins[k] : block.ends[k]].tobytes()
        if k == 0 and before is not None:
            raw = b"".join((*before.raw, raw))
        plain = normalise(pl.Series([raw.decode()]))[0].encode()
        if plain:
            marks = np.frombuffer(plain, np.uint8)
            spaces = np.flatnonzero(marks == _SPACE)
            starts = np.concatenate([[0], spaces + 1]) + 1
            ends = np.concatenate([spaces, [len(marks)]]) + 1
            framed = np.concatenate([[_SPACE], marks, [_SPACE]]).astype(np.uint8)
            yield Words(
                framed, starts, ends, _hashes(framed, starts, ends), words.text[k : k + 1],
                np.array([0, len(starts)]), np.ones(1, dtype=bool), signs=True,
            )  # fmt: skip


def _without_others(raw: Bytes, limits: Integers) -> tuple[Bytes, Integers]:
    """Return the bytes with pieces that aren't ASCII made plain, and where texts end in them."""
    import polars as pl
    import pyarrow as pa

    if not raw.size or raw.max() < 0x80:
        return raw, limits
    spaces = np.flatnonzero(_tables()[1][raw])
    others = np.flatnonzero(raw >= 0x80)
    # Texts of a block are apart by a white space, so that a piece never crosses their bounds.
    piece = np.searchsorted(spaces, others)
    piece = piece[np.diff(piece, prepend=-1) != 0]
    bounds = np.concatenate([[-1], spaces, [len(raw)]])
    begins, ends = bounds[piece] + 1, bounds[piece + 1]
    gaps = np.concatenate([begins, [len(raw)]]) - np.concatenate([[0], ends])
    other = np.repeat(np.arange(2 * len(piece) + 1) % 2 == 1, _alternating(gaps, ends - begins))
    offsets = np.concatenate([[0], np.cumsum(ends - begins)]).astype(np.int64)
    column = pa.LargeStringArray.from_buffers(
        len(piece), pa.py_buffer(offsets), pa.py_buffer(raw[other])
    )
    # Behind a letter, signs alone are no text of their own, which `normalise` would keep.
    texts = pl.Series(pl.from_arrow(column), dtype=pl.String)
    texts = pl.DataFrame({"text": texts}).select(pl.concat_str(pl.lit("x "), "text")).to_series()
    plain = normalise(texts).str.strip_prefix("x")
    sizes = plain.str.len_bytes().to_numpy().astype(np.int64)
    put = np.repeat(np.arange(2 * len(piece) + 1) % 2 == 1, _alternating(gaps, sizes))
    result = np.empty(len(put), np.uint8)
    result[~put] = raw[~other]
    result[put] = _bytes(plain.str.join(""))
    moved = np.concatenate([[0], np.cumsum(sizes - (ends - begins))])
    return result, limits + moved[np.searchsorted(ends, limits, side="right")]


def _alternating(gaps: Integers, pieces: Integers) -> Integers:
    sizes = np.empty(len(gaps) + len(pieces), np.int64)
    sizes[0::2], sizes[1::2] = gaps, pieces
    return sizes


def _hashes(plain: Bytes, starts: Integers, ends: Integers) -> Hashes:
    """Return a hash of each word, from prefix sums of its bytes times powers."""
    result = np.empty(len(starts), np.uint64)
    done = 0
    with np.errstate(over="ignore"):
        while done < len(starts):
            begin = starts[done]
            stop = int(np.searchsorted(ends, begin + 2 * BLOCK_BYTES, side="right"))
            if stop <= done:
                # A word so long that its powers would fill the memory.
                told = blake2b(plain[begin : ends[done]].data, digest_size=8).digest()
                result[done] = int.from_bytes(told, "little")
                done += 1
                continue
            part = plain[begin - 1 : ends[stop - 1]]
            factors, inverses = _powers(2 * BLOCK_BYTES + 1, 0)
            sums = np.multiply(part, factors[: len(part)], dtype=np.uint64)
            np.cumsum(sums, out=sums)
            lows, highs = starts[done:stop] - begin, ends[done:stop] - begin
            mixed = (sums[highs] - sums[lows]) * inverses[lows]
            mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
            result[done:stop] = mixed ^ (mixed >> np.uint64(31))
            done = stop
    return result


@cache
def _tables() -> tuple[bytes, NDArray[np.bool_]]:
    """Return by byte: its plain form, and whether it is a white space."""
    codes = np.arange(256, dtype=np.uint8)
    kept = [bytes([c]).isalnum() or c >= 0x80 for c in range(256)]
    plain = np.where(kept, codes, _SPACE).astype(np.uint8)
    plain[ord("A") : ord("Z") + 1] += _SPACE
    white = (codes == _SPACE) | ((codes >= 9) & (codes <= 13))
    return plain.tobytes(), white


_known_powers: dict[int, tuple[Hashes, Hashes]] = {}
_BASES = (0xD1342543DE82EF95, 0xA0761D6478BD642F)


def _powers(count: int, base: int) -> tuple[Hashes, Hashes]:
    """Return the first powers of an odd number modulo 2^64, and their inverses."""
    known = _known_powers.get(base)
    if known is None or len(known[0]) < count:
        number = _BASES[base]
        both = []
        for factor in (number, pow(number, -1, 1 << 64)):
            steps = np.full(count, factor, np.uint64)
            steps[0] = 1
            with np.errstate(over="ignore"):
                both.append(np.multiply.accumulate(steps))
        known = _known_powers[base] = both[0], both[1]
    return known[0][:count], known[1][:count]
