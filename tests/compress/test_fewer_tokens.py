"""Which tokens stay, the files that name them, and what is refused before any is written."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from tests.compress.small_vocabularies import (
    KINDS,
    SENTENCES,
    SIZES,
    TABLE,
    Kind,
    fewer,
    logits,
    material,
    of_own_class,
    vocabulary,
)

from shipworthy.compress import make
from shipworthy.compress.fewer_tokens import read_tokenizer
from shipworthy.compress.vocabulary import chosen, shrink_table
from shipworthy.core.errors import ModelError


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_the_most_frequent_stay_with_their_parts(data: st.DataObject) -> None:
    count = data.draw(st.integers(2, 25))
    counted = np.array(
        data.draw(st.lists(st.integers(0, 6), min_size=count, max_size=count)), float
    )
    joins = {
        k: set(data.draw(st.lists(st.integers(0, k - 1), min_size=2, max_size=2)))
        for k in data.draw(st.sets(st.integers(1, count - 1)))
    }
    always = data.draw(st.sets(st.integers(0, count - 1), max_size=3))
    words = data.draw(st.integers(1, count))
    kept = chosen(always, counted, range(count), joins, words=words).tolist()
    floor = chosen(always, counted, (), joins, words=words).tolist()
    assert kept == sorted(set(kept)) and always <= set(kept)
    assert all(joins.get(k, set()) <= set(kept) for k in kept)
    assert len(kept) <= max(words, len(floor))
    seen = chosen(always, counted, range(count), joins, seen=3).tolist()
    assert set(seen) >= {k for k in range(count) if counted[k] >= 3}
    if not joins:
        gone = [counted[k] for k in range(count) if k not in kept]
        chosen_freely = [counted[k] for k in kept if k not in always]
        assert max(gone, default=0) <= min(chosen_freely, default=9)
        assert len(kept) == max(words, len(always))


@pytest.mark.parametrize("kind", KINDS)
def test_files_of_older_libraries_are_written_anew(
    parents: dict[Kind, Path], tmp_path: Path, kind: Kind
) -> None:
    parent = shutil.copytree(parents[kind], tmp_path / "parent")
    number, tokenizer = vocabulary(parent), read_tokenizer(parent)
    own = [t for t in sorted(number, key=lambda t: number[t]) if t != "<name>"]
    if kind == "wordpiece":
        (parent / "vocab.txt").write_text("".join(f"{t}\n" for t in own), "utf-8")
    elif kind == "bpe":
        (parent / "vocab.json").write_text(json.dumps({t: number[t] for t in own}), "utf-8")
        merges = "".join(f"{a} {b}\n" for a, b in tokenizer["model"]["merges"])
        (parent / "merges.txt").write_text("#version: 0.2\n" + merges, "utf-8")
    else:
        (parent / "spiece.model").write_bytes(b"\x00")
    (parent / "added_tokens.json").write_text(json.dumps({"<name>": number["<name>"]}))
    (parent / "generation_config.json").write_text(
        json.dumps({"eos_token_id": [number["[SEP]"]], "top_k": 3})
    )
    told = json.loads((parent / "tokenizer_config.json").read_text())
    told["added_tokens_decoder"] = {
        str(t["id"]): {k: v for k, v in t.items() if k != "id"} for t in tokenizer["added_tokens"]
    }
    (parent / "tokenizer_config.json").write_text(json.dumps(told))
    out = tmp_path / "out"
    make(fewer(words=SIZES[kind]), parent, out, material=material(tmp_path / "w"))
    left = vocabulary(out)
    kept = [t for t in own if t in left]
    assert [left[t] for t in kept] == list(range(len(kept)))
    if kind == "wordpiece":
        assert (out / "vocab.txt").read_text("utf-8").splitlines() == kept
    elif kind == "bpe":
        assert json.loads((out / "vocab.json").read_text("utf-8")) == {t: left[t] for t in kept}
        lines = (out / "merges.txt").read_text("utf-8").splitlines()
        assert lines[0] == "#version: 0.2"
        for line in lines[1:]:
            first, second = line.split(" ")
            assert {first, second, first + second} <= left.keys()
        assert len(lines) - 1 == len(kept) - 256 - 4
    else:
        assert not (out / "spiece.model").exists()
    assert json.loads((out / "added_tokens.json").read_text()) == {"<name>": left["<name>"]}
    generation = json.loads((out / "generation_config.json").read_text())
    assert generation == {"eos_token_id": [left["[SEP]"]], "top_k": 3}
    decoder = json.loads((out / "tokenizer_config.json").read_text())["added_tokens_decoder"]
    assert {int(k): v["content"] for k, v in decoder.items()} == {
        left[t["content"]]: t["content"] for t in tokenizer["added_tokens"]
    }
    assert logits(out, SENTENCES[2], plain=True).shape == (1, 2)


@pytest.mark.parametrize("name", ["DistilBert", "Roberta", "XLMRoberta"])
def test_classes_of_transformers_open_what_is_left(tmp_path: Path, name: str) -> None:
    """They build a tokenizer of their own from the files, and must come to the same numbers."""
    from transformers import AutoTokenizer

    parent, out = of_own_class(name, tmp_path), tmp_path / "out"
    make(fewer(seen=1), parent, out, material=material(tmp_path / "w"))
    opened = AutoTokenizer.from_pretrained(out)
    assert type(opened).__name__ == f"{name}Tokenizer"
    assert opened.get_vocab() == vocabulary(out)
    assert len(opened) < len(AutoTokenizer.from_pretrained(parent))
    for text in SENTENCES[:4]:
        np.testing.assert_array_equal(
            logits(out, text, plain=True), logits(parent, text, plain=True)
        )


def test_a_head_tied_to_the_table_shrinks_with_it() -> None:
    from transformers import BertConfig, BertForMaskedLM

    sizes: dict[str, Any] = dict(hidden_size=16, num_hidden_layers=1, num_attention_heads=2)
    tokens, kept = torch.tensor([[2, 5, 9]]), np.array([0, 2, 5, 8, 9])
    for tied in (True, False):
        config = BertConfig(
            vocab_size=12, intermediate_size=32, tie_word_embeddings=tied, pad_token_id=8, **sizes
        )
        torch.manual_seed(2)
        module = BertForMaskedLM(config).eval()
        torch.nn.init.normal_(module.cls.predictions.bias)
        with torch.inference_mode():
            before = module(tokens).logits[..., torch.from_numpy(kept)]
        shrink_table(module, kept)
        with torch.inference_mode():
            after = module(torch.tensor([[1, 2, 4]])).logits
        torch.testing.assert_close(after, before)
        table, head = module.get_input_embeddings(), module.get_output_embeddings()
        assert (head.weight is table.weight) == tied
        assert (table.num_embeddings, table.padding_idx) == (5, 3)
        assert (config.vocab_size, config.pad_token_id) == (5, 3)


def test_what_cannot_be_trimmed_is_said_and_nothing_written(
    parents: dict[Kind, Path], tmp_path: Path
) -> None:
    from tokenizers import Tokenizer, models

    rows, out = material(tmp_path / "w"), tmp_path / "out"
    copy = shutil.copytree(parents["wordpiece"], tmp_path / "copy")
    count = len(vocabulary(copy))
    with pytest.raises(ModelError, match=f"all {count} tokens would stay"):
        make(fewer(words=count), copy, out, material=rows)
    weights = load_file(copy / "model.safetensors")
    config = json.loads((copy / "config.json").read_text())
    tokenizer = Tokenizer.from_file(str(copy / "tokenizer.json"))
    tokenizer.add_tokens(["<late>"])
    tokenizer.save(str(copy / "tokenizer.json"))
    with pytest.raises(ModelError, match=f"number {count}, but the model's table has {count} "):
        make(fewer(seen=1), copy, out, material=rows)
    Tokenizer(models.WordLevel({"a": 0, "?": 1}, unk_token="?")).save(str(copy / "tokenizer.json"))
    with pytest.raises(ModelError, match="kind WordLevel cannot lose tokens"):
        make(fewer(seen=1), copy, out, material=rows)
    (copy / "tokenizer.json").unlink()
    with pytest.raises(ModelError, match=r"there is no tokenizer\.json"):
        make(fewer(seen=1), copy, out, material=rows)
    assert not out.exists()
    assert config["vocab_size"] == len(weights[TABLE])


def test_a_model_without_a_table_is_refused(
    parents: dict[Kind, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As CANINE is, which looks characters up by hashes."""
    from transformers import BertForSequenceClassification

    place = torch.nn.Linear(2, 2)
    monkeypatch.setattr(BertForSequenceClassification, "get_input_embeddings", lambda _: place)
    with pytest.raises(ModelError, match="BertForSequenceClassification has no table of words"):
        make(fewer(seen=1), parents["bpe"], tmp_path / "out", material=material(tmp_path))
    assert not (tmp_path / "out").exists()


def test_a_tokenizer_that_opens_otherwise_is_refused(
    parents: dict[Kind, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from shipworthy.compress import vocabulary as lever

    def swapped(*arguments: Any) -> dict[str, bytes | None]:
        found = real(*arguments)
        content = found["tokenizer.json"]
        assert content is not None
        told = json.loads(content)
        vocab = told["model"]["vocab"]
        vocab["a"], vocab["b"] = vocab["b"], vocab["a"]
        return found | {"tokenizer.json": json.dumps(told).encode()}

    real = lever.files
    monkeypatch.setattr(lever, "files", swapped)
    with pytest.raises(ModelError, match="another number for 'a'"):
        make(fewer(seen=1), parents["wordpiece"], tmp_path / "out", material=material(tmp_path))
    assert not (tmp_path / "out").exists()
