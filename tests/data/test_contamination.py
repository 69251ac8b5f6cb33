"""Texts of an evaluation that stand in the training text, word for word."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shipworthy.data import contamination
from shipworthy.data.contamination import overlap

CORPUS = pl.Series(
    [
        "In the beginning God created the heaven and the earth. And the earth was without form.",
        "too short",
        None,
        "",
    ]
)


def shares(texts: list[str | None], corpus: pl.Series = CORPUS, ngram: int = 8) -> list[float]:
    return overlap(pl.Series(texts, dtype=pl.String), [corpus], ngram=ngram).tolist()


def test_copies_parts_and_others() -> None:
    found = shares(
        [
            "IN the Beginning, God created the heaven -- and the earth!",
            "He read that in the beginning God created the heaven and then left",
            "In the beginning God made the heaven and the earth and all that is on it",
            "Too short!",
            "short too",
            "?!",
            "",
            None,
        ]
    )
    assert found == [1.0, 8 / 13, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0]


def test_windows_do_not_cross_texts() -> None:
    corpus = pl.Series(["one two three four", "five six seven eight"])
    assert shares(["one two three four five six seven eight"], corpus) == [0.0]
    assert shares(["one two three four five six seven eight"], corpus, ngram=4) == [1.0]


def slow(texts: list[str], corpus: list[str], ngram: int) -> list[float]:
    """The definition, one window at a time."""
    windows = {
        tuple(words[k : k + ngram])
        for words in map(str.split, corpus)
        for k in range(len(words) - ngram + 1)
    }
    found = []
    for words in map(str.split, texts):
        if len(words) < ngram:
            found.append(float(bool(words) and words in [c.split() for c in corpus]))
            continue
        seen = [False] * len(words)
        for k in range(len(words) - ngram + 1):
            if tuple(words[k : k + ngram]) in windows:
                seen[k : k + ngram] = [True] * ngram
        found.append(sum(seen) / len(words))
    return found


line = st.lists(st.sampled_from(["a", "b", "c"]), max_size=12).map(" ".join)


@given(st.lists(line, min_size=1, max_size=5), st.lists(line, max_size=5), st.integers(1, 4))
def test_it_is_the_definition(texts: list[str], corpus: list[str], ngram: int) -> None:
    found = overlap(
        pl.Series(texts, dtype=pl.String), [pl.Series(corpus, dtype=pl.String)], ngram=ngram
    )
    assert found.tolist() == pytest.approx(slow(texts, corpus, ngram))


def test_parts_of_a_corpus_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(3)
    vocabulary = [f"w{k}" for k in range(50)]
    corpus = pl.Series([" ".join(generator.choice(vocabulary, 40)) for _ in range(200)])
    texts = pl.Series([*corpus[:20].str.slice(5, 90).to_list(), *(["w1 w2 w3 w4"] * 3)])
    whole = overlap(texts, [corpus], ngram=6)
    assert 0.5 < whole[:20].min() <= 1
    monkeypatch.setattr(contamination, "CHUNK_WORDS", 100)
    assert np.array_equal(overlap(texts, [corpus[:70], corpus[70:]], ngram=6), whole)


def test_one_endless_line() -> None:
    words = [f"w{k % 9973}" for k in range(300_000)]
    corpus = pl.Series([" ".join(words)])
    assert shares([" ".join(words[100_000:100_040]), "w1 w3 w5 w7 w9 w11 w13 w15"], corpus) == [
        1.0, 0.0,
    ]  # fmt: skip


def test_an_ngram_has_words() -> None:
    with pytest.raises(ValueError, match="at least one word"):
        shares(["a"], ngram=0)
