"""A language model over bytes, small and whole: interpolated counts of what follows three bytes."""

from __future__ import annotations

import codecs
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from typing import Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from shipworthy.model.capabilities import Ragged, TokenLosses

ORDER, WEIGHT, END = 3, 0.5, 0


class ByteNgram:
    """The token is a byte, 0 ends a text. seconds: what each byte of an answer takes besides."""

    def __init__(self, texts: Iterable[str], *, seconds: float = 0.0) -> None:
        self.seconds = seconds
        self.max_length = 2000
        self.counts: dict[bytes, Counter[int]] = defaultdict(Counter)
        for one in texts:
            told = one.encode() + bytes([END])
            for place, byte in enumerate(told):
                for size in range(min(ORDER, place) + 1):
                    self.counts[told[place - size : place]][byte] += 1

    def chances(self, before: bytes) -> NDArray[np.float64]:
        """Chance of each byte after some others, shape (256,), sums to 1."""
        found = np.full(256, 1 / 256)
        for size in range(min(ORDER, len(before)) + 1):
            seen = self.counts.get(before[len(before) - size :])
            if seen:
                counts = np.zeros(256)
                counts[list(seen)] = list(seen.values())
                found = (counts + WEIGHT * found) / (counts.sum() + WEIGHT)
        return found

    def losses(self, given: str, said: str) -> NDArray[np.float64]:
        whole, start = (given + said).encode(), len(given.encode())
        return np.array(
            [-np.log(self.chances(whole[:k])[whole[k]]) for k in range(start, len(whole))]
        )

    def token_offsets(self, told: str) -> list[int]:
        return [place for place, one in enumerate(told) for _ in one.encode()]

    def pieces(self, prompt: str, *, max_new_tokens: int, seed: int) -> Iterator[str]:
        told, decoder = prompt.encode(), codecs.getincrementaldecoder("utf-8")("ignore")
        for _ in range(max_new_tokens):
            byte = int(self.chances(told).argmax())
            if byte == END:
                break
            time.sleep(self.seconds)
            told += bytes([byte])
            if piece := decoder.decode(bytes([byte])):
                yield piece

    def generate(self, rows: pl.DataFrame, *, max_new_tokens: int, seed: int) -> list[str]:
        return [
            "".join(self.pieces(p, max_new_tokens=max_new_tokens, seed=seed))
            for p in rows["prompt"]
        ]

    def token_losses(self, rows: pl.DataFrame) -> TokenLosses:
        parts = [self.losses(p, r) for p, r in rows.select("prompt", "response").iter_rows()]
        return TokenLosses(np.concatenate([np.zeros(0), *parts]), ends(map(len, parts)))

    def choice_log_likelihoods(
        self, rows: pl.DataFrame, *, normalize: Literal["none", "tokens", "bytes"]
    ) -> Ragged:
        values = []
        for prompt, choices in rows.select("prompt", "choices").iter_rows():
            for choice in choices:
                losses = self.losses(prompt, choice)
                values.append(-(losses.sum() if normalize == "none" else losses.mean()))
        return Ragged(np.array(values), ends(map(len, rows["choices"])))


def ends(sizes: Iterable[int]) -> NDArray[np.int64]:
    return np.concatenate([[0], np.cumsum(list(sizes))]).astype(np.int64)
