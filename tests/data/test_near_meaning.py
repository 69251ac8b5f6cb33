"""The text of a corpus that is nearest in meaning to each evaluated text."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from shipworthy.data import near_meaning as module
from shipworthy.data.near_meaning import near_meaning


def letters(texts: Sequence[str]) -> NDArray[np.float32]:
    """How often each letter stands in a text: a meaning that is easy to check."""
    counts = [[text.count(letter) for letter in "abcd"] for text in texts]
    return np.array(counts, dtype=np.float32).reshape(len(texts), 4)


def _given(vectors: NDArray[np.float32], texts: Sequence[str]) -> NDArray[np.float32]:
    return vectors


words = st.text("abcd ", max_size=8)
texts = st.lists(st.none() | words, max_size=12)


@given(texts, st.lists(texts, max_size=3), st.integers(1, 4), st.integers(1, 3))
def test_it_is_the_largest_cosine_of_all(
    evaluated: list[str | None], parts: list[list[str | None]], pieces: int, rows: int
) -> None:
    corpus = [pl.Series(part, dtype=pl.String) for part in parts]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "BLOCK_PIECES", pieces)
        patch.setattr(module, "BLOCK_ROWS", rows)
        found = near_meaning(pl.Series(evaluated, dtype=pl.String), corpus, embed=letters)
    theirs = [text or "" for part in parts for text in part]
    held = [k for k, text in enumerate(theirs) if text.strip()]
    for k, text in enumerate(evaluated):
        if not held or not (text or "").strip():
            assert np.isnan(found.cosine[k]) and found.row[k] == -1
            continue
        one, all_ = letters([text or ""])[0], letters([theirs[j] for j in held])
        cosines = all_ @ one / np.linalg.norm(all_, axis=1) / np.linalg.norm(one)
        assert found.cosine[k] == pytest.approx(cosines.max(), abs=1e-6)
        assert cosines[held.index(found.row[k])] == pytest.approx(cosines.max(), abs=1e-6)


def test_rows_are_told_from_the_threshold_on() -> None:
    corpus = [pl.Series(["aab", None]), pl.Series(["dd", "aab"])]
    evaluated = pl.Series(["baa", "ac", "d"])
    found = near_meaning(evaluated, corpus, embed=letters, threshold=0.7)
    assert found.row.tolist() == [0, -1, 2]
    assert found.cosine.tolist() == pytest.approx([1.0, 2 / 10**0.5, 1.0])
    assert near_meaning(evaluated, corpus, embed=letters).row.tolist() == [0, 0, 2]


def test_no_part_of_a_long_text_is_left_out() -> None:
    corpus = pl.Series(["a" * 2500 + " " + "b " * 200 + "ccc", "d"])
    found = near_meaning(pl.Series(["a", "cccccc", "dd"]), [corpus], embed=letters)
    assert found.row.tolist() == [0, 0, 1]
    assert found.cosine[0] == 1.0


def test_what_is_no_vector_or_no_threshold() -> None:
    one = pl.Series(["a"])
    for threshold in (0.0, 1.1):
        with pytest.raises(ValueError, match="threshold"):
            near_meaning(one, [one], embed=letters, threshold=threshold)
    for shape, value in (((2, 4), 0), ((1,), 0), ((1, 1), np.nan)):
        wrong = np.full(shape, value, dtype=np.float32)
        with pytest.raises(ValueError, match="no finite vector"):
            near_meaning(one, [one], embed=partial(_given, wrong))
