"""Language models as GGUF files: what is written is what a second reader finds in them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from tests.model.tiny_language import tiny_language
from transformers import AutoModelForCausalLM, Qwen2Config, Qwen2ForCausalLM

from shipworthy.core.errors import ModelError
from shipworthy.model.gguf_export import check_exportable, export_gguf
from shipworthy.model.gguf_folder import bits_of, widen_gguf
from shipworthy.model.pretrained import load_language_pretrained

TEXTS = [f"The number {k} stands beside {k * 7 % 13}, and nobody asks why." for k in range(40)]


def changed(folder: Path, name: str, **values: object) -> Path:
    told = json.loads((folder / name).read_text(encoding="utf-8"))
    (folder / name).write_text(json.dumps(told | values), encoding="utf-8")
    return folder


def test_another_reader_finds_the_same_weights_and_words(tmp_path: Path) -> None:
    folder = tiny_language(tmp_path / "start", TEXTS)
    module, tokenizer = load_language_pretrained(folder, max_length=64)
    export_gguf(folder, module, tmp_path / "whole.gguf", "gpt-2")
    again = widen_gguf(tmp_path / "whole.gguf", tmp_path / "again")
    assert bits_of(again) == ""
    there, words = load_language_pretrained(again, max_length=64)
    found = there.state_dict()
    for name, values in module.state_dict().items():
        torch.testing.assert_close(found[name], values, rtol=0, atol=0)
    for one in TEXTS[:3]:
        assert words(one)["input_ids"] == tokenizer(one)["input_ids"]
    assert words.chat_template == tokenizer.chat_template


def test_attention_with_biases_keeps_its_order(tmp_path: Path) -> None:
    folder = tiny_language(tmp_path / "start", TEXTS)
    torch.manual_seed(1)
    config = Qwen2Config(
        vocab_size=400, hidden_size=32, num_hidden_layers=1, num_attention_heads=4,
        num_key_value_heads=2, intermediate_size=64, max_position_embeddings=64,
    )  # fmt: skip
    own = Qwen2ForCausalLM(config)
    for name, values in own.named_parameters():
        if name.endswith("bias"):
            values.data.normal_()
    own.save_pretrained(folder)
    export_gguf(folder, own, tmp_path / "whole.gguf", "qwen2")
    there = AutoModelForCausalLM.from_pretrained(tmp_path, gguf_file="whole.gguf")
    ids = torch.arange(20)[None]
    with torch.no_grad():
        torch.testing.assert_close(there(ids).logits, own(ids).logits, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("file", "values", "message"),
    [
        ("config.json", {"model_type": "gpt2"}, "architecture gpt2"),
        ("config.json", {"rope_parameters": {"rope_type": "llama3", "factor": 8}}, "scaled"),
        ("tokenizer.json", {"normalizer": {"type": "Lowercase"}}, "does not cut texts"),
    ],
)
def test_what_cannot_be_written_is_refused(
    file: str, values: dict[str, object], message: str, tmp_path: Path
) -> None:
    folder = changed(tiny_language(tmp_path / "start", TEXTS), file, **values)
    with pytest.raises(ModelError, match=message):
        check_exportable(folder)
