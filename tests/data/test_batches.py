"""Batches hold every row once, keep their budget and come in the same order again."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from tokenizers.processors import TemplateProcessing

from shipworthy.core.errors import DataError, InputError
from shipworthy.data.batches import Encoded, buckets, encode, pad

PAD, UNKNOWN, START, END = 0, 1, 2, 3
WORDS = [f"w{i}" for i in range(50)]


@pytest.fixture
def tokenizer() -> Tokenizer:
    vocabulary = {"[PAD]": PAD, "[UNK]": UNKNOWN, "[CLS]": START, "[SEP]": END}
    vocabulary |= {word: i + 4 for i, word in enumerate(WORDS)}
    tokenizer = Tokenizer(WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = WhitespaceSplit()
    tokenizer.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", START), ("[SEP]", END)]
    )
    tokenizer.enable_padding(length=128)
    tokenizer.enable_truncation(7)
    return tokenizer


lengths = st.lists(st.integers(min_value=0, max_value=64), max_size=200)
seeds = st.none() | st.integers(min_value=0, max_value=2**32)


@given(lengths, seeds, st.integers(64, 500), st.none() | st.integers(1, 20), st.integers(0, 3))
def test_every_row_once_within_the_budget(
    lengths: list[int], seed: int | None, budget: int, max_rows: int | None, epoch: int
) -> None:
    batches = buckets(lengths, token_budget=budget, seed=seed, max_rows=max_rows, epoch=epoch)
    rows = np.concatenate(batches) if batches else np.zeros(0, np.int64)
    assert np.array_equal(np.sort(rows), np.arange(len(lengths)))
    sizes = np.asarray(lengths)
    for batch in batches:
        assert len(batch) * sizes[batch].max() <= budget
        assert max_rows is None or len(batch) <= max_rows


@given(lengths, seeds)
def test_same_seed_same_order(lengths: list[int], seed: int | None) -> None:
    first = buckets(lengths, token_budget=200, seed=seed, epoch=2)
    again = buckets(lengths, token_budget=200, seed=seed, epoch=2)
    assert [b.tolist() for b in first] == [b.tolist() for b in again]


def test_epochs_and_seeds_differ_and_evaluation_does_not() -> None:
    lengths = np.random.default_rng(5).integers(3, 60, size=500)

    def order(seed: int | None, epoch: int) -> list[int]:
        batches = buckets(lengths, token_budget=512, seed=seed, epoch=epoch)
        return np.concatenate(batches).tolist()

    assert order(1, 0) != order(1, 1)
    assert order(1, 0) != order(2, 0)
    assert order(None, 0) == order(None, 1)
    assert lengths[order(None, 0)].tolist() == sorted(lengths, reverse=True)


def test_shuffled_batches_stay_well_filled() -> None:
    lengths = np.random.default_rng(6).integers(3, 60, size=5000)
    batches = buckets(lengths, token_budget=2048, seed=1)
    padded = sum(len(b) * lengths[b].max() for b in batches)
    assert lengths.sum() / padded > 0.9


def test_a_row_longer_than_the_budget_is_named() -> None:
    with pytest.raises(InputError, match="row 3 has 40 tokens, more than the 32"):
        buckets([5, 6, 40], token_budget=32, seed=None)
    with pytest.raises(InputError, match="max_rows"):
        buckets([5, 6], token_budget=32, seed=None, max_rows=0)


def test_encode_cuts_and_keeps_special_tokens(tokenizer: Tokenizer) -> None:
    encoded = encode(tokenizer, ["w0 w1", "", "w0 w1 w2 w3 nothing w5"], max_length=6)
    assert encoded.token_ids.dtype == np.int32
    assert encoded.offsets.dtype == np.int64
    assert encoded.lengths.tolist() == [4, 2, 6]
    assert encoded.token_ids.tolist() == [2, 4, 5, 3, 2, 3, 2, 4, 5, 6, 7, 3]
    assert encode(tokenizer, ["w0 w1 w2"], max_length=100).lengths.tolist() == [5]


def test_chunks_do_not_show(tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [" ".join(WORDS[: i % 9]) for i in range(50)]
    whole = encode(tokenizer, texts, max_length=8)
    monkeypatch.setattr("shipworthy.data.batches.CHUNK_ROWS", 7)
    parts = encode(tokenizer, texts, max_length=8)
    assert np.array_equal(whole.token_ids, parts.token_ids)
    assert np.array_equal(whole.offsets, parts.offsets)


def test_encode_nothing(tokenizer: Tokenizer) -> None:
    encoded = encode(tokenizer, [], max_length=8)
    assert len(encoded) == 0
    assert encoded.lengths.size == 0


def test_a_missing_text_is_named(tokenizer: Tokenizer) -> None:
    with pytest.raises(DataError, match="row 2: the text is None") as error:
        encode(tokenizer, ["w0", None], max_length=8)  # type: ignore[list-item]
    assert error.value.row == 2


def test_a_transformers_tokenizer_gives_the_same_ids(tokenizer: Tokenizer) -> None:
    from transformers import PreTrainedTokenizerFast

    texts = ["w0 w1", "w2 w3 w4 w5 w6 w7 w8 w9"]
    wrapped = PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="[PAD]")
    expected = wrapped(texts, truncation=True, max_length=6)["input_ids"]
    encoded = encode(wrapped, texts, max_length=6)
    assert [_row(encoded, i) for i in range(2)] == expected


@given(st.lists(st.lists(st.integers(4, 90), max_size=12), min_size=1, max_size=12), st.data())
def test_pad_and_take_give_the_rows_back(rows: list[list[int]], data: st.DataObject) -> None:
    encoded = Encoded(
        np.array([i for row in rows for i in row], dtype=np.int32),
        np.cumsum([0, *map(len, rows)]).astype(np.int64),
    )
    chosen = data.draw(st.lists(st.integers(0, len(rows) - 1), min_size=1, max_size=12))
    batch = pad(encoded, chosen, pad_token_id=PAD)
    taken = encoded.take(chosen)
    assert batch.input_ids.shape == (len(chosen), max(1, *(len(rows[i]) for i in chosen), 1))
    assert (batch.input_ids[batch.attention_mask == 0] == PAD).all()
    for position, i in enumerate(chosen):
        assert batch.input_ids[position][batch.attention_mask[position] == 1].tolist() == rows[i]
        assert _row(taken, position) == rows[i]


def _row(encoded: Encoded, i: int) -> list[int]:
    return encoded.token_ids[encoded.offsets[i] : encoded.offsets[i + 1]].tolist()
