"""Likelihoods and answers of a language model, against transformers and against themselves."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.model.tiny_language import CHAT, tiny_language

from shipworthy.core.errors import DataError, ModelError, SettingsError
from shipworthy.model.branches import branch
from shipworthy.model.capabilities import LanguageModel, missing
from shipworthy.model.checkpoint import RuntimeInfo
from shipworthy.model.dialogues import Template, encode_documents, encode_pairs, encode_responses
from shipworthy.model.pretrained import load_language_pretrained
from shipworthy.model.torch_language_model import TorchLanguageModel

TEXTS = ["The cat sat on the mat, and the dog did not.", "Hello", "猫坐在垫子上。", "a b c " * 30]
CONTINUE = RuntimeInfo("torch", (), 128, "text", does="continue")
RESPOND = RuntimeInfo(
    "torch", (), 128, "prompt", does="respond", response="response", choices="choices",
    template="{prompt}\n",
)  # fmt: skip


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> TorchLanguageModel:
    folder = tiny_language(tmp_path_factory.mktemp("language"), TEXTS)
    module, tokenizer = load_language_pretrained(folder, max_length=128)
    return TorchLanguageModel(module, tokenizer, CONTINUE, threads=1)


def answering(model: TorchLanguageModel, **changes: object) -> TorchLanguageModel:
    info = replace(RESPOND, **changes)  # type: ignore[arg-type]
    return TorchLanguageModel(model.module, model.tokenizer, info, threads=1)


def whole_losses(model: TorchLanguageModel, ids: list[int]) -> np.ndarray:
    """Loss of each token but the first, by transformers."""
    tokens = torch.tensor([ids])
    with torch.no_grad():
        logits = model.module(input_ids=tokens).logits[0, :-1].double()
    found = torch.nn.functional.cross_entropy(logits, tokens[0, 1:], reduction="none")
    return np.asarray(found.numpy())


def test_it_has_the_capability(model: TorchLanguageModel) -> None:
    assert missing(model, LanguageModel) == ()


def test_losses_are_those_of_transformers(model: TorchLanguageModel) -> None:
    found = model.token_losses(pl.DataFrame({"text": TEXTS}))
    for row, text in enumerate(TEXTS):
        ids = model.tokenizer(text, add_special_tokens=False)["input_ids"]
        expected = whole_losses(model, [0, *ids])
        own = found.values[found.offsets[row] : found.offsets[row + 1]]
        np.testing.assert_allclose(own, expected, atol=1e-4)


@pytest.mark.parametrize("window", [8, 16, 33])
def test_each_token_of_a_long_text_is_predicted_once(
    model: TorchLanguageModel, window: int
) -> None:
    found = encode_documents(model.tokenizer, TEXTS, window=window)
    assert found.encoded.lengths.max() <= window + 1
    for row, text in enumerate(TEXTS):
        ids = model.tokenizer(text, add_special_tokens=False)["input_ids"]
        own = np.flatnonzero(found.owners == row)
        said = [
            found.encoded.token_ids[found.encoded.offsets[k] + found.starts[k] :][
                : found.counts[k]
            ].tolist()
            for k in own
        ]
        assert [t for part in said for t in part] == ids
    # The last window reaches back, so that nothing is predicted from less than it could be.
    last = np.flatnonzero(found.owners == 3)[-1]
    assert found.encoded.lengths[last] == window + 1


def test_only_the_response_is_predicted(model: TorchLanguageModel) -> None:
    rows = pl.DataFrame(
        {"prompt": ["Who?", "Where is it, then?"], "response": ["Me", "Over there"]}
    )
    found = answering(model).token_losses(rows)
    for row, (prompt, response) in enumerate(rows.iter_rows()):
        before = model.tokenizer(f"{prompt}\n", add_special_tokens=False)["input_ids"]
        after = model.tokenizer(response, add_special_tokens=False)["input_ids"]
        expected = whole_losses(model, [*before, *after])[len(before) - 1 :]
        own = found.values[found.offsets[row] : found.offsets[row + 1]]
        np.testing.assert_allclose(own, expected, atol=1e-4)


@settings(max_examples=15, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.text("abc ", max_size=12),
            st.lists(st.text("abcd", min_size=1, max_size=8), min_size=2, max_size=5),
        ),
        min_size=1,
        max_size=4,
    )
)
def test_choices_read_at_once_are_as_likely_as_alone(
    model: TorchLanguageModel, asked: list[tuple[str, list[str]]]
) -> None:
    prompts, offered = [f"{p}?" for p, _ in asked], [c for _, c in asked]
    together = model.choices_after(prompts, offered, normalize="none").values
    pairs = [(p, c) for p, choices in zip(prompts, offered, strict=True) for c in choices]
    found = encode_pairs(model.tokenizer, *zip(*pairs, strict=True), window=128)
    alone, _ = model.sums(found)
    np.testing.assert_allclose(together, alone, atol=2e-4)


def test_choices_that_begin_otherwise_are_read_apart(model: TorchLanguageModel) -> None:
    found = encode_pairs(model.tokenizer, ["The cat", "The dog"], [" sat", " sat"], window=128)
    assert branch(found, [0, 1]) is None


def test_likelihoods_are_shared_out(model: TorchLanguageModel) -> None:
    rows = pl.DataFrame({"prompt": ["Who?"], "choices": [["me", "nobody at all"]]})
    own = answering(model)
    plain = own.choice_log_likelihoods(rows, normalize="none").values
    by_bytes = own.choice_log_likelihoods(rows, normalize="bytes").values
    np.testing.assert_allclose(by_bytes, plain / np.array([2, 13]))
    assert (plain < 0).all()


def test_answers_are_greedy_and_do_not_depend_on_their_neighbours(
    model: TorchLanguageModel,
) -> None:
    rows = pl.DataFrame({"prompt": ["Who?", "Where is it, then? Say it.", "Why"]})
    own = answering(model)
    together = own.generate(rows, max_new_tokens=6, seed=0)
    assert together == [own.generate(rows[[k]], max_new_tokens=6, seed=1)[0] for k in range(3)]
    ids = model.tokenizer("Who?\n", add_special_tokens=False)["input_ids"]
    for _ in range(6):
        with torch.no_grad():
            ids.append(int(model.module(input_ids=torch.tensor([ids])).logits[0, -1].argmax()))
    said = model.tokenizer.decode(ids[-6:], skip_special_tokens=True)
    assert said.startswith(together[0]) and together[0]


def test_a_long_prompt_is_refused_or_cut(model: TorchLanguageModel) -> None:
    rows = pl.DataFrame({"prompt": ["ok", "word " * 300], "response": ["a", "b"]})
    with pytest.raises(DataError, match="row 2"):
        answering(model).generate(rows, max_new_tokens=4, seed=0)
    with pytest.raises(DataError, match="row 2"):
        answering(model).token_losses(rows)
    cut = answering(model, long_prompts="cut")
    assert len(cut.generate(rows, max_new_tokens=4, seed=0)) == 2
    found = encode_responses(
        model.tokenizer, ["word " * 300], ["b"], window=32, end=True, long_prompts="cut"
    )
    assert found.cut == 1 and found.encoded.lengths.tolist() == [32]


def test_templates(model: TorchLanguageModel) -> None:
    tokenizer = model.tokenizer
    assert Template(tokenizer)("Hi") == "<|user|>Hi<|end|><|assistant|>"
    assert Template(tokenizer)("Hi", "Be kind").startswith("<|system|>Be kind<|end|>")
    assert Template(tokenizer, "Q: {prompt} A:")("Hi") == "Q: Hi A:"
    with pytest.raises(SettingsError, match="place for the prompt"):
        Template(tokenizer, "Answer:")


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{% for m in messages %}{{ m['content'] }}|{% endfor %}{{ 'A' if add_generation_prompt }}",
         "who speaks"),
        ("always the same", "who speaks"),
        ("{{ raise_exception('no roles') }}", "cannot be used"),
    ],
)  # fmt: skip
def test_a_template_without_roles_is_refused(
    model: TorchLanguageModel, template: str, message: str
) -> None:
    model.tokenizer.chat_template = template
    try:
        with pytest.raises(ModelError, match=message):
            Template(model.tokenizer, "chat")
    finally:
        model.tokenizer.chat_template = CHAT


def test_a_folder_without_template_says_so(tmp_path: Path) -> None:
    tiny_language(tmp_path, TEXTS, chat=False)
    _, tokenizer = load_language_pretrained(tmp_path, max_length=64)
    assert Template(tokenizer)("Hi") == "Hi\n"
    with pytest.raises(ModelError, match="no chat template"):
        Template(tokenizer, "chat")


def test_a_very_long_text_is_encoded_in_parts(
    model: TorchLanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    from shipworthy.model import dialogues

    text = "the cat sat on a mat " * 400
    whole = encode_documents(model.tokenizer, [text], window=64)
    monkeypatch.setattr(dialogues, "LONGEST_PART", 300)
    parts = encode_documents(model.tokenizer, [text, "x" * 1000], window=64)
    first = parts.owners == 0
    assert parts.encoded.token_ids[: len(whole.encoded.token_ids)].tolist() == (
        whole.encoded.token_ids.tolist()
    )
    assert int(first.sum()) == len(whole.counts)
