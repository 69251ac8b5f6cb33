"""Texts of an evaluation that stand in the training text, word for word."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shipworthy.data import word_stream
from shipworthy.data.contamination import overlap
from shipworthy.data.duplicates import normalise

CORPUS = pl.Series(
    [
        "In the beginning God created the heaven and the earth. And the earth was without form.",
        "too short",
        None,
        "",
    ]
)


def shares(texts: list[str | None], corpus: pl.Series = CORPUS, ngram: int = 8) -> list[float]:
    found: list[float] = overlap(pl.Series(texts, dtype=pl.String), [corpus], ngram=ngram).tolist()
    return found


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


def slow(texts: Sequence[str | None], corpus: Sequence[str | None], ngram: int) -> list[float]:
    """The definition, one window at a time."""

    def words_of(texts: Sequence[str | None]) -> list[list[str]]:
        plain = normalise(pl.Series(texts, dtype=pl.String)).fill_null("").to_list()
        return [text.split(" ") if text else [] for text in plain]

    theirs = words_of(corpus)
    windows = {
        tuple(words[k : k + ngram]) for words in theirs for k in range(len(words) - ngram + 1)
    }
    found = []
    for words in words_of(texts):
        if len(words) < ngram:
            found.append(float(bool(words) and words in theirs))
            continue
        seen = [False] * len(words)
        for k in range(len(words) - ngram + 1):
            if tuple(words[k : k + ngram]) in windows:
                seen[k : k + ngram] = [True] * ngram
        found.append(sum(seen) / len(words))
    return found


# What composes, decomposes, depends on its neighbours in lower case, or is no letter.
LETTERS = [
    *"abA1", "É", "e\u0301", "\u0301", "\u0338", "Σ", "σ", "ς", "İ", "ẞ", "ﬁ", "①", "™", "中", "文",
    "ｱ\uff9e", "ϓ\u0301", "\u00ad", "ʰ", "\U0001d7d8",
]  # fmt: skip
MARKS = [
    *" \n\t\r.,'=<-:!^",
    "\x00",
    "\x1f",
    "’",
    "—",
    "…",
    "。",
    "，",
    "\u00a0",
    "\u3000",
    "\u2028",
]
line = st.lists(st.sampled_from(["a", "b", "c"]), max_size=12).map(" ".join)
wild = st.lists(st.sampled_from([*LETTERS, *MARKS, *" " * 20]), max_size=30).map("".join)
signs = st.lists(st.sampled_from(MARKS), max_size=6).map("".join)
tricky = st.lists(st.sampled_from(["aΣ", ".", "=", "\u0338", " ", "a"]), max_size=12).map("".join)
texts = st.lists(st.none() | line | wild | signs, max_size=5)


@settings(max_examples=400, deadline=None)
@given(texts, texts, texts, st.integers(1, 4), st.sampled_from([1, 5, 30, 1 << 19]))
def test_it_is_the_definition(
    evaluated: list[str | None],
    corpus: list[str | None],
    more: list[str | None],
    ngram: int,
    block: int,
) -> None:
    copied = [*corpus[:1], *evaluated[:1], " ".join(text or "" for text in evaluated)]
    parts = [pl.Series(part, dtype=pl.String) for part in (corpus, copied, more)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(word_stream, "BLOCK_BYTES", block)
        found = overlap(pl.Series(evaluated, dtype=pl.String), parts, ngram=ngram)
    expected = slow(evaluated, [*corpus, *copied, *more], ngram)
    assert found.tolist() == pytest.approx(expected)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.none() | wild | signs | tricky, max_size=4), st.sampled_from([1, 4, 1 << 19]))
def test_words_are_those_of_normalised_texts(texts: list[str | None], block: int) -> None:
    found: dict[int, list[str]] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(word_stream, "BLOCK_BYTES", block)
        for words in word_stream.read_words([pl.Series(texts, dtype=pl.String)]):
            for k, text in enumerate(words.text.tolist()):
                for word in range(*words.first[k : k + 2].tolist()):
                    found.setdefault(text, []).append(words.phrase(word, 1).decode())
    plain = normalise(pl.Series(texts, dtype=pl.String)).to_list()
    assert found == {k: text.split(" ") for k, text in enumerate(plain) if text}


def test_equal_hashes_are_not_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(3)
    rows = [" ".join(generator.choice(list("abc"), 6)) for _ in range(40)]
    monkeypatch.setattr(word_stream, "_hashes", lambda plain, starts, ends: starts.astype("u8") * 0)
    found = overlap(pl.Series(rows[:20]), [pl.Series(rows[10:])], ngram=3).tolist()
    assert found == slow(rows[:20], rows[10:], 3)


def test_parts_of_a_corpus_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(3)
    vocabulary = [f"w{k}" for k in range(50)]
    corpus = pl.Series([" ".join(generator.choice(vocabulary, 40)) for _ in range(200)])
    texts = pl.Series([*corpus[:20].str.slice(5, 90).to_list(), *(["w1 w2 w3 w4"] * 3)])
    whole = overlap(texts, [corpus], ngram=6)
    assert 0.5 < whole[:20].min() <= 1
    monkeypatch.setattr(word_stream, "BLOCK_BYTES", 100)
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


MEASURED = """
import resource, sys
import polars as pl
from shipworthy.data.contamination import overlap
from shipworthy.data.corpus import read_texts
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
texts = pl.Series(["W40 is here, and w41 is here; and w42 is here", "nothing that is in this line"])
found = overlap(texts, read_texts(sys.argv[1], "text"), ngram=5)
grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
assert found.tolist() == [1.0, 0.0], found
print(grown / 1024)
"""


def test_a_line_of_100_megabytes_stays_under_a_gigabyte(tmp_path: Path) -> None:
    file = tmp_path / "one-line.jsonl"
    part = "".join(f"w{k} is here and " for k in range(100_000))
    with file.open("w", encoding="utf-8") as lines:
        lines.write('{"text": "')
        for _ in range(100_000_000 // len(part) + 1):
            lines.write(part)
        lines.write('"}\n')
    assert file.stat().st_size > 100_000_000
    command = [sys.executable, "-c", MEASURED, str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < 900
