"""Language models that llama.cpp runs: they say what PyTorch says of the same weights."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.model.tiny_language import tiny_language

from shipworthy.core.errors import ModelError
from shipworthy.model.capabilities import LanguageModel, missing
from shipworthy.model.checkpoint import RuntimeInfo
from shipworthy.model.dialogues import encode_pairs
from shipworthy.model.gguf_export import export_gguf
from shipworthy.model.llama_cpp import AT_ONCE, GgufModel, Piece, Reader
from shipworthy.model.llama_cpp_runtime import LlamaCppLanguageModel
from shipworthy.model.lm_eval_answers import HarnessAnswers
from shipworthy.model.pretrained import load_language_pretrained
from shipworthy.model.torch_language_model import TorchLanguageModel

pytest.importorskip("llama_cpp", reason="needs `make runtimes`")

TEXTS = [f"The number {k} stands beside {k * 7 % 13}, and nobody asks why." for k in range(40)]
INFO = RuntimeInfo(
    "torch", (), 128, "prompt", does="respond", response="response", choices="choices",
    template="{prompt}\n",
)  # fmt: skip

NEAR = 0.02
"""Nats: llama.cpp keeps keys and values in 16 bits."""

Pair = tuple[TorchLanguageModel, LlamaCppLanguageModel]


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    root = tmp_path_factory.mktemp("llama")
    folder = tiny_language(root / "start", TEXTS, hidden_size=64, intermediate_size=128)
    module, tokenizer = load_language_pretrained(folder, max_length=128)
    export_gguf(folder, module, folder / "model.gguf", "gpt-2")
    there = LlamaCppLanguageModel(folder / "model.gguf", tokenizer, INFO, threads=1)
    return TorchLanguageModel(module, tokenizer, INFO, threads=1), there


def test_it_has_the_capability(both: Pair) -> None:
    assert missing(both[1], LanguageModel) == ()
    assert both[0].parameters == both[1].parameters


def test_losses_are_those_of_pytorch(both: Pair) -> None:
    texts = pl.DataFrame({"text": ["", *TEXTS, " ".join(TEXTS)]})
    info = replace(INFO, does="continue", text="text")
    here, there = (model.with_info(info).token_losses(texts) for model in both)
    np.testing.assert_array_equal(here.offsets, there.offsets)
    np.testing.assert_allclose(here.values, there.values, atol=NEAR)
    assert np.ptp(here.values) > 50 * NEAR


@settings(max_examples=15, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.text("abc ", max_size=12),
            st.lists(st.text("abcd", min_size=1, max_size=8), min_size=1, max_size=40),
        ),
        min_size=1,
        max_size=4,
    )
)
def test_choices_are_as_likely_as_in_pytorch(
    both: Pair, asked: list[tuple[str, list[str]]]
) -> None:
    prompts, offered = [f"{p}?" for p, _ in asked], [c for _, c in asked]
    here, there = (m.choices_after(prompts, offered, normalize="none").values for m in both)
    np.testing.assert_allclose(here, there, atol=5 * NEAR)


def test_a_choice_does_not_see_the_others(both: Pair) -> None:
    model, offered = both[1], [["stands", "stands beside 7", "x", "and nobody asks why"]]
    together = model.choices_after(["The number 3"], offered, normalize="none").values
    contexts = ["The number 3"] * 4
    alone, _ = model.sums(encode_pairs(model.tokenizer, contexts, offered[0], window=128))
    np.testing.assert_allclose(together, alone, atol=NEAR)


def test_answers_do_not_depend_on_their_neighbours(both: Pair) -> None:
    rows = pl.DataFrame({"prompt": ["Who?", "Where is it, then? Say it.", "Why"]})
    together = both[1].generate(rows, max_new_tokens=8, seed=0)
    alone = [both[1].generate(rows[[k]], max_new_tokens=8, seed=0)[0] for k in range(3)]
    assert together == alone and all(together)
    # Where two tokens are nearly as likely, rounding of the keys decides: the first is surer.
    first = [model.generate(rows, max_new_tokens=1, seed=0) for model in both]
    assert first[0] == first[1]


def test_an_answer_ends_at_a_text_that_ends_it(both: Pair) -> None:
    model = HarnessAnswers(both[1])
    (whole,) = model.answers([("The number", {"max_gen_toks": 12})])
    stop = whole[len(whole) // 2]
    (cut,) = model.answers([("The number", {"max_gen_toks": 12, "until": [stop]})])
    assert cut == whole.split(stop)[0] and len(cut) < len(whole)
    with pytest.raises(ModelError, match="samples"):
        model.answers([("The number", {"max_gen_toks": 9, "temperature": 1.0, "do_sample": True})])


def test_tokens_have_their_times(both: Pair) -> None:
    for model in both:
        timed = model.timed(["Who?", "Where is it?"], 5)
        assert len(timed.stamps) == 6 and (np.diff(timed.stamps) > 0).all()
    layers, heads, width, tokens = 2, 2, 16, 8 + 5 - 1
    bytes_of_16_bits = 2 * 2 * layers * heads * width * tokens
    assert timed.cache_mb * 1e6 == pytest.approx(2 * bytes_of_16_bits, rel=0.6)


def test_more_than_is_read_at_once(both: Pair) -> None:
    reader = Reader(both[1].model, 2 * AT_ONCE, 1, threads=1, shared=True)
    tokens = (list(range(100)) * 12)[: AT_ONCE + 7]
    told = [False] * (len(tokens) - 1) + [True]
    parts = list(reader.read([Piece(0, 0, tokens, told)]))
    assert [len(part) for part in parts] == [0, 1]
    with pytest.raises(ModelError, match="cannot go on"):
        list(reader.read([Piece(0, len(tokens) + 5, [1], [True])]))


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "model.gguf").write_bytes(b"GGUF" + bytes(100))
    with pytest.raises(ModelError, match=r"does not open model\.gguf"):
        GgufModel(tmp_path / "model.gguf")
