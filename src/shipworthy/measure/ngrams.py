"""Words and pairs of neighbouring words that occur in enough texts, and the rows that hold them.

Letters are folded to lower case. Scripts that are written without spaces (Han, Kana) are cut into
single characters, so that their pairs stand for words. Codes into the vocabulary and row numbers
are all that is kept; a text is never held twice.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

if TYPE_CHECKING:
    import polars as pl
    from numpy.typing import NDArray

    IntArray: TypeAlias = NDArray[np.int64]

MOST_GRAMS = 3_000
"""Words and pairs that are kept: those of the most rows."""

LONGEST = 2_000
"""Characters of a text that are read."""

MOST_CHARACTERS = 25_000_000
"""Characters of all texts together; where there are more, rows are drawn at random."""

_SINGLE = r"\p{Han}\p{Hiragana}\p{Katakana}"
_WORD = rf"[{_SINGLE}]|[[\p{{L}}\p{{M}}\p{{N}}]--[{_SINGLE}]]+(?:['’]\p{{L}}+)*"


@dataclass(frozen=True, eq=False)
class Grams:
    """Which of the rows that were read hold which word or pair.

    rows: the rows read, ascending. names: of each word or pair. ends: shape (len(names) + 1,);
    holders[ends[k] : ends[k + 1]] are the rows that hold name k, ascending.
    """

    rows: IntArray
    names: tuple[str, ...]
    ends: IntArray
    holders: IntArray

    def of(self, place: int) -> IntArray:
        """Return the rows that hold a word or pair."""
        return self.holders[self.ends[place] : self.ends[place + 1]]

    @property
    def counts(self) -> IntArray:
        """Rows that hold each, shape (len(names),)."""
        return np.diff(self.ends)

    def sums(self, flags: NDArray[np.bool_]) -> IntArray:
        """Rows that hold each and are flagged; flags: of all rows, in their order."""
        total = np.concatenate(([0], np.cumsum(flags[self.holders])))
        return np.asarray(np.diff(total[self.ends]), dtype=np.int64)


def words(texts: pl.Series) -> pl.Series:
    """Return the words of each text in order, as a list.

    >>> import polars as pl
    >>> words(pl.Series(["It's 好看 today!"])).to_list()
    [["it's", '好', '看', 'today']]
    """
    return texts.str.slice(0, LONGEST).str.to_lowercase().str.extract_all(_WORD)


def grams(texts: pl.Series, *, least: int, seed: int, most: int = MOST_GRAMS) -> Grams:
    """Find words and pairs that at least `least` rows hold, and at least `least` do not.

    At most `most`, those of the most rows. seed: draws the rows that are read where all together
    are too long. Neither looks at what was answered, so that a test of it stays valid.
    """
    import polars as pl

    rows = _drawn(texts, seed)
    found = words(texts.gather(rows))
    lengths = found.list.len().to_numpy().astype(np.int64)
    tokens = found.explode(empty_as_null=False).cast(pl.Categorical)
    codes = tokens.to_physical().to_numpy().astype(np.int64)
    owners = np.repeat(np.arange(len(rows)), lengths)
    neighbours = np.flatnonzero(owners[1:] == owners[:-1])
    pairs = (codes[neighbours] << 32) | codes[neighbours + 1]
    names: list[str] = []
    parts: list[IntArray] = []
    for keys, of, wide in ((codes, owners, 1), (pairs, owners[neighbours], 2)):
        places, holders, first = _enough(keys, of, len(rows), least)
        at = first if wide == 1 else neighbours[first]
        own = tokens.gather(at).cast(pl.String).to_list()
        if wide == 2:
            after = tokens.gather(at + 1).cast(pl.String).to_list()
            own = [_pair(a, b) for a, b in zip(own, after, strict=True)]
        names += own
        parts += np.split(holders, np.cumsum(places)[:-1]) if len(places) else []
    order = sorted(range(len(names)), key=lambda k: (-len(parts[k]), names[k]))[:most]
    kept = [parts[k] for k in order]
    ends = np.concatenate(([0], np.cumsum([len(p) for p in kept]))).astype(np.int64)
    joined = np.concatenate(kept) if kept else np.empty(0, dtype=np.int64)
    return Grams(rows, tuple(names[k] for k in order), ends, rows[joined])


def _drawn(texts: pl.Series, seed: int) -> IntArray:
    lengths = np.minimum(texts.str.len_chars().to_numpy(), LONGEST)
    rows, total = np.arange(len(texts), dtype=np.int64), int(lengths.sum())
    if total <= MOST_CHARACTERS:
        return rows
    kept = max(int(len(rows) * MOST_CHARACTERS / total), 1)
    return np.sort(np.random.default_rng(seed).permutation(rows)[:kept])


def _enough(
    keys: IntArray, owners: IntArray, n: int, least: int
) -> tuple[IntArray, IntArray, IntArray]:
    """Return of each key that enough rows hold: how many rows, which ones, and a place of it."""
    _, first, codes, totals = np.unique(
        keys, return_index=True, return_inverse=True, return_counts=True
    )
    frequent = (totals >= least)[codes]
    # A text that repeats a word holds it once. numpy's own `unique` would hash, which is slower.
    cells = np.sort(codes[frequent] * n + owners[frequent])
    cells = cells[np.diff(cells, prepend=-1) > 0]
    held, holders = cells // max(n, 1), cells % max(n, 1)
    counts = np.bincount(held, minlength=len(totals))
    enough = (counts >= least) & (counts <= n - least)
    return counts[enough], holders[enough[held]], first[enough]


def _pair(first: str, second: str) -> str:
    """Join two neighbours as they are written.

    >>> _pair("very", "good"), _pair("好", "看")
    ('very good', '好看')
    """
    spaced = any(c < "\u3040" or "\uac00" <= c <= "\ud7a3" for c in (first[-1], second[0]))
    return f"{first} {second}" if spaced else first + second
