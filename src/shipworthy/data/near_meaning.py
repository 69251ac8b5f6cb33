"""The text of a corpus that is nearest in meaning to each evaluated text, by a model's vectors.

Windows of words miss what was paraphrased or translated. Here a model that was taught to put texts
of like meaning side by side gives each text a vector, and the cosine of two says how alike they
are. It is a hint, not a proof: two texts about one matter are alike too.

How far `builtin:minilm` carries, with 95 % intervals (`benchmarks/contamination.py`, on texts of
`builtin:sentiment`): of 60 paraphrases written by hand, of which windows of 8 words find none, a
cosine of 0.7 finds 55 % [43, 67], 0.75 finds 38 % [27, 51], 0.8 finds 23 % [14, 35] and 0.85 finds
3 % [1, 11]. Of 1,000 rows against some 16,000 texts of other domains 2.6 [1.9, 3.4], 1.2 [0.8,
1.8], 0.9 [0.6, 1.5] and 0.6 [0.3, 1.0] are flagged; against as many texts of which a part is of
their own domain, but by other authors, 128 [117, 138], 58 [51, 65], 29 [24, 35] and 14 [11, 19],
most of them short ones that many people write ("great product"). Of 12 translations into German,
French and Chinese none is found at 0.6: the model knows English.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

if TYPE_CHECKING:
    import polars as pl
    from numpy.typing import NDArray

    Vectors: TypeAlias = NDArray[np.float32]
    Embed: TypeAlias = Callable[[Sequence[str]], Vectors]

# A longer text of the corpus is cut: models read the first 256 tokens or so.
PIECE_CHARACTERS = 1000
# Pieces of the corpus that are embedded and compared together, and evaluated texts beside them.
BLOCK_PIECES = 2048
BLOCK_ROWS = 4096


@dataclass(frozen=True, eq=False)
class Nearest:
    """The nearest text of a corpus to each of n texts.

    cosine: float32, shape (n,), in [-1, 1]; NaN where the text or the corpus is empty. row: int64,
    shape (n,): the first text of the corpus with that cosine, counted from 0 over all parts; -1
    where the cosine is below the threshold or there is none.
    """

    cosine: NDArray[np.float32]
    row: NDArray[np.int64]


def near_meaning(
    evaluated: pl.Series,
    corpus: Iterable[pl.Series],
    *,
    embed: Embed,
    threshold: float | None = None,
) -> Nearest:
    """Return how near the corpus comes to each evaluated text, and where.

    evaluated, corpus: texts; a null or blank one has no meaning. A text of the corpus of more than
    `PIECE_CHARACTERS` is compared piece by piece; an evaluated one is compared as far as `embed`
    reads it. embed: texts -> float32, shape (texts, d); lengths of vectors don't count. threshold:
    cosine, in (0, 1], from which the row of the corpus is told; None tells it always.
    Raises ValueError for another threshold, or where `embed` gives no finite vector for each text.
    """
    if threshold is not None and not 0 < threshold <= 1:
        raise ValueError(f"a threshold of a cosine lies in (0, 1], not at {threshold}")
    texts = _strings(evaluated)
    held = np.flatnonzero([bool(text.strip()) for text in texts])
    cosine = np.full(len(texts), -np.inf, dtype=np.float32)
    row = np.full(len(texts), -1, dtype=np.int64)
    vectors = _unit(embed, [texts[k] for k in held])
    for pieces, rows in _blocks(corpus):
        theirs = _unit(embed, pieces)
        for start in range(0, len(held), BLOCK_ROWS):
            part = held[start : start + BLOCK_ROWS]
            cosines = vectors[start : start + BLOCK_ROWS] @ theirs.T
            best = cosines.argmax(axis=1)
            found = cosines[np.arange(len(part)), best]
            nearer = found > cosine[part]
            cosine[part[nearer]] = found[nearer]
            row[part[nearer]] = rows[best[nearer]]
    # Products of rounded vectors go a little beyond 1.
    cosine = np.where(np.isneginf(cosine), np.nan, np.clip(cosine, -1, 1)).astype(np.float32)
    if threshold is not None:
        row = np.where(cosine >= np.float32(threshold), row, -1)
    return Nearest(cosine, row)


def _strings(texts: pl.Series) -> list[str]:
    import polars as pl

    return [text or "" for text in texts.cast(pl.String).to_list()]


def _blocks(corpus: Iterable[pl.Series]) -> Iterator[tuple[list[str], NDArray[np.int64]]]:
    """Yield pieces of texts, each once in a block, and the text that each is from."""
    block: dict[str, int] = {}
    row = 0
    for part in corpus:
        for start in range(0, len(part), BLOCK_PIECES):
            for text in _strings(part[start : start + BLOCK_PIECES]):
                for piece in _pieces(text):
                    block.setdefault(piece, row)
                    if len(block) == BLOCK_PIECES:
                        yield list(block), np.array(list(block.values()), dtype=np.int64)
                        block = {}
                row += 1
    if block:
        yield list(block), np.array(list(block.values()), dtype=np.int64)


def _pieces(text: str) -> Iterator[str]:
    """Yield a text in pieces of at most `PIECE_CHARACTERS`, cut at a space where there is one."""
    start = 0
    while start < len(text):
        stop = min(len(text), start + PIECE_CHARACTERS)
        if stop < len(text):
            stop = max(text.rfind(" ", start, stop), text.rfind("\n", start, stop)) + 1 or stop
        piece = text[start:stop].strip()
        if piece:
            yield piece
        start = stop


def _unit(embed: Embed, texts: Sequence[str]) -> Vectors:
    """Return the vectors of texts at length 1; one without length stays so."""
    if not texts:
        return np.zeros((0, 0), dtype=np.float32)
    vectors = np.asarray(embed(texts), dtype=np.float32)
    if vectors.ndim != 2 or len(vectors) != len(texts) or not np.isfinite(vectors).all():
        raise ValueError(f"no finite vector for each of {len(texts)} texts: {vectors.shape}")
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit: Vectors = np.divide(vectors, lengths, out=vectors.copy(), where=lengths > 0)
    return unit
