"""The script that most letters of a text are written in: a rough guess at its language.

Ranges are the main blocks of Unicode 15; a letter outside them counts as `Other`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import polars as pl
    from numpy.typing import NDArray

LOOKED_AT = 300
"""Characters of a text that are looked at."""

MOSTLY = 0.9
"""Share of the letters from which a text is of one script."""

_BLOCK = 50_000

_RANGES = {
    "Latin": ((0x41, 0x5A), (0x61, 0x7A), (0xAA, 0xAA), (0xBA, 0xBA), (0xC0, 0xD6), (0xD8, 0xF6),
              (0xF8, 0x2B8), (0x1E00, 0x1EFF), (0xFF21, 0xFF3A), (0xFF41, 0xFF5A)),
    "Greek": ((0x370, 0x3FF), (0x1F00, 0x1FFF)),
    "Cyrillic": ((0x400, 0x52F), (0x1C80, 0x1C8F), (0x2DE0, 0x2DFF), (0xA640, 0xA69F)),
    "Hebrew": ((0x591, 0x5F4),),
    "Arabic": ((0x620, 0x65F), (0x66E, 0x6D3), (0x6D5, 0x6EF), (0x6FA, 0x77F), (0x8A0, 0x8FF),
               (0xFB50, 0xFDFF), (0xFE70, 0xFEFC)),
    "Devanagari": ((0x900, 0x963), (0x970, 0x97F)),
    "Bengali": ((0x980, 0x9E5), (0x9F0, 0x9FF)),
    "Tamil": ((0xB80, 0xBE5),),
    "Thai": ((0xE01, 0xE4E),),
    "Hangul": ((0x1100, 0x11FF), (0x3130, 0x318F), (0xAC00, 0xD7A3)),
    "Kana": ((0x3041, 0x309F), (0x30A1, 0x30FA), (0x30FC, 0x30FF), (0xFF66, 0xFF9D)),
    "Han": ((0x3005, 0x3007), (0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF),
            (0x20000, 0x323AF)),
    "Other": ((0x530, 0x58F), (0x710, 0x74F), (0x780, 0x7B1), (0xA00, 0xB7F), (0xC00, 0xDFF),
              (0xE80, 0xEFF), (0xF40, 0xFBC), (0x1000, 0x10FF), (0x1200, 0x1368),
              (0x13A0, 0x167F), (0x1780, 0x17D3), (0x1820, 0x18AA)),
}  # fmt: skip

SCRIPTS = (*_RANGES, "mixed", "none")
"""Names of what `scripts` gives codes of; `none` is a text without letters."""

_MIXED, _NONE = len(_RANGES), len(_RANGES) + 1


def scripts(texts: pl.Series) -> NDArray[np.int64]:
    """Return the place in `SCRIPTS` of each text's script, shape (n,).

    Kana and Han together are Kana: Japanese is written in both.

    >>> import polars as pl
    >>> texts = pl.Series(["Ça va?", "你好，世界", "да OK, да", "7!", "寿司です"])
    >>> [SCRIPTS[k] for k in scripts(texts)]
    ['Latin', 'Han', 'mixed', 'none', 'Kana']
    """
    table = np.full(0x110000, -1, dtype=np.int8)
    for code, ranges in enumerate(_RANGES.values()):
        for low, high in ranges:
            table[low : high + 1] = code
    found = [_block(texts.slice(start, _BLOCK), table) for start in range(0, len(texts), _BLOCK)]
    return np.concatenate(found) if found else np.empty(0, dtype=np.int64)


def _block(texts: pl.Series, table: NDArray[np.int8]) -> NDArray[np.int64]:
    heads = texts.str.slice(0, LOOKED_AT)
    owners = np.repeat(np.arange(len(heads)), heads.str.len_chars().to_numpy())
    points = np.frombuffer("".join(heads.to_list()).encode("utf-32-le"), dtype=np.uint32)
    codes = table[points]
    letter = codes >= 0
    m = len(_RANGES)
    cells = np.bincount(owners[letter] * m + codes[letter], minlength=len(heads) * m)
    counts = cells.reshape(len(heads), m)
    kana, han = list(_RANGES).index("Kana"), list(_RANGES).index("Han")
    japanese = counts[:, kana] > 0
    counts[:, kana] += np.where(japanese, counts[:, han], 0)
    counts[japanese, han] = 0
    total, most = counts.sum(axis=1), counts.max(axis=1)
    found = np.where(most >= MOSTLY * total, counts.argmax(axis=1), _MIXED)
    return np.asarray(np.where(total > 0, found, _NONE), dtype=np.int64)
