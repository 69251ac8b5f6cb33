"""Somebody's adapter: added to its own base exactly, refused by another."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.model.tiny_language import tiny_language

from shipworthy.core.errors import ModelError
from shipworthy.model.adapters import merged
from shipworthy.model.pretrained import load_language_pretrained

peft = pytest.importorskip("peft")
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_language(tmp_path_factory.mktemp("base"), ["some text", "other text"])


@pytest.fixture
def adapter(base: Path, tmp_path: Path) -> Path:
    """Made by peft itself, and moved."""
    module, _ = load_language_pretrained(base, max_length=64)
    config = peft.LoraConfig(r=4, lora_alpha=8, target_modules="all-linear", task_type="CAUSAL_LM")
    wrapped = peft.get_peft_model(module, config)
    generator = torch.manual_seed(3)
    for name, parameter in wrapped.named_parameters():
        if "lora_B" in name:
            parameter.data = torch.randn(parameter.shape, generator=generator) * 0.05
    wrapped.save_pretrained(tmp_path / "adapter")
    return tmp_path / "adapter"


def test_it_is_added_as_peft_adds_it(base: Path, adapter: Path, tmp_path: Path) -> None:
    folder = merged(base, adapter, tmp_path / "cache")
    ours, _ = load_language_pretrained(folder, max_length=64)
    module, _ = load_language_pretrained(base, max_length=64)
    theirs = peft.PeftModel.from_pretrained(module, adapter).merge_and_unload()
    ids = torch.tensor([[5, 9, 100, 12, 77]])
    with torch.no_grad():
        expected, found = theirs(input_ids=ids).logits, ours(input_ids=ids).logits
        before = load_language_pretrained(base, max_length=64)[0](input_ids=ids).logits
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(found, before, atol=1e-3)
    assert merged(base, adapter, tmp_path / "cache") == folder


@pytest.mark.parametrize("change", [{"hidden_size": 64}, {"num_hidden_layers": 1}])
def test_another_base_is_refused(change: dict[str, int], adapter: Path, tmp_path: Path) -> None:
    other = tiny_language(tmp_path / "other", ["some text"], **change)
    with pytest.raises(ModelError, match="of another model"):
        merged(other, adapter, tmp_path / "cache")
    assert not list((tmp_path / "cache").rglob("config.json"))


def test_what_is_no_plain_adapter_is_refused(base: Path, adapter: Path, tmp_path: Path) -> None:
    file = adapter / "adapter_config.json"
    settings = json.loads(file.read_text())
    file.write_text(json.dumps({**settings, "use_dora": True}))
    with pytest.raises(ModelError, match="plain LoRA"):
        merged(base, adapter, tmp_path)
    file.unlink()
    with pytest.raises(ModelError, match="adapter_config"):
        merged(base, adapter, tmp_path)


def test_half_an_adapter_is_refused(base: Path, adapter: Path, tmp_path: Path) -> None:
    file = adapter / "adapter_model.safetensors"
    kept = {n: t for n, t in load_file(file).items() if "lora_B" not in n}
    save_file(kept, file)
    with pytest.raises(ModelError, match="of another model"):
        merged(base, adapter, tmp_path)
