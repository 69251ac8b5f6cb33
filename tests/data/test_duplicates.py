"""Near-duplicates are found, and nothing else is joined."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shipworthy.data.duplicates import connected, find_duplicates, normalise

WORDS = [f"{a}{b}" for a in ("mar", "lon", "tek", "sil", "bru") for b in ("ina", "oth", "e", "urs")]


def sentence(generator: np.random.Generator, words: int = 18) -> list[str]:
    return generator.choice(WORDS, words).tolist() + [str(generator.integers(10**6))]


def jaccard(a: str, b: str) -> float:
    def shingles(text: str) -> set[bytes]:
        content = text.encode()
        return {content[i : i + 5] for i in range(len(content) - 4)}

    return len(shingles(a) & shingles(b)) / len(shingles(a) | shingles(b))


def components(texts: list[str], similarity: float) -> list[int]:
    found = find_duplicates(pl.Series(texts, dtype=pl.String), similarity=similarity)
    return connected(len(found.short), found.pairs)[found.text].tolist()


def test_equal_but_for_case_and_marks() -> None:
    texts = ["Good  movie!", "good movie", "bad movie", ":-)", ":-(", " :-) "]
    found = find_duplicates(pl.Series(texts))
    text = found.text
    assert text[0] == text[1]
    assert text[3] == text[5]
    assert len(set(text.tolist())) == 4
    assert found.pairs.shape == (0, 2)


def test_missing_texts_are_each_their_own() -> None:
    found = find_duplicates(pl.Series(["a", None, None, "a"]))
    assert found.text[0] == found.text[3]
    assert len(set(found.text.tolist())) == 3
    assert len(found.short) > max(found.text)


def test_planted_near_duplicates_are_found_and_strangers_are_not() -> None:
    generator = np.random.default_rng(1)
    texts: list[str] = []
    for _ in range(400):
        words = sentence(generator)
        texts.append(" ".join(words))
        words[int(generator.integers(18))] = "changed"
        texts.append(" ".join(words))
    component = components(texts, 0.8)
    alike = [jaccard(texts[2 * i], texts[2 * i + 1]) for i in range(400)]
    expected = [s >= 0.8 for s in alike]
    joined = [component[2 * i] == component[2 * i + 1] for i in range(400)]
    assert sum(expected) > 100
    assert all(not j for j, e in zip(joined, expected, strict=True) if not e)
    found = sum(j for j, e in zip(joined, expected, strict=True) if e)
    assert found >= 0.97 * sum(expected)
    # Nothing but the planted pairs is joined.
    assert len(set(component)) == 800 - sum(joined)


def test_what_is_joined_is_similar_indeed() -> None:
    generator = np.random.default_rng(2)
    base = sentence(generator, 12)
    texts = []
    for _ in range(300):
        words = list(base)
        for place in generator.integers(0, 12, size=3):
            words[place] = WORDS[generator.integers(20)]
        texts.append(" ".join(words))
    series = pl.Series(texts)
    found = find_duplicates(series, similarity=0.7)
    first = np.unique(found.text, return_index=True)[1]
    assert len(found.pairs) > 20
    for a, b in found.pairs.tolist():
        assert jaccard(texts[first[a]], texts[first[b]]) >= 0.7


def test_one_template_is_one_set() -> None:
    texts = [f"your order number {i} was sent today and will reach you soon" for i in range(3000)]
    assert len(set(components(texts, 0.8))) <= 3


def test_short_texts_and_similarity_one_join_equal_ones_only() -> None:
    assert len(set(components(["thanks a lot 1", "thanks a lot 2", "thanks a lot 1"], 0.5))) == 2
    long = [
        "the same long sentence with one other ending a",
        "the same long sentence with one other",
    ]
    assert len(set(components(long, 0.7))) == 1
    assert len(set(components(long, 1.0))) == 2


@given(st.lists(st.text(max_size=40), max_size=30), st.randoms(use_true_random=False))
@settings(max_examples=50)
def test_the_order_of_rows_does_not_matter(texts: list[str], random: object) -> None:
    order = list(range(len(texts)))
    random.shuffle(order)  # type: ignore[attr-defined]
    plain = components(texts, 0.8)
    shuffled = components([texts[i] for i in order], 0.8)

    def together(component: list[int], names: list[int]) -> set[frozenset[int]]:
        sets: dict[int, set[int]] = {}
        for name, c in zip(names, component, strict=True):
            sets.setdefault(c, set()).add(name)
        return {frozenset(s) for s in sets.values()}

    assert together(plain, list(range(len(texts)))) == together(shuffled, order)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("ＡＢＣ １２", "abc 12"), ("Ünï-códé", "ünï códé"), ("好电影！", "好电影"), ("", "")],
)
def test_normalise(text: str, expected: str) -> None:
    assert normalise(pl.Series([text])).item() == expected
