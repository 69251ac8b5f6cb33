"""Adapters: what is trained, what is added to the weights, and what lies in 4 bits meanwhile."""

from __future__ import annotations

import sys
from pathlib import Path

import polars as pl
import pytest
import torch
from safetensors.torch import load_file
from tests.model.tiny_language import tiny_language

from shipworthy.core.errors import ModelError
from shipworthy.model.checkpoint import RuntimeInfo, artefact_digest
from shipworthy.model.pretrained import load_language_pretrained, load_module
from shipworthy.model.runtimes import load_language_model
from shipworthy.train.fitted import Fitted
from shipworthy.train.loop import fit
from shipworthy.train.lora import add_adapters, merge_adapters
from shipworthy.train.settings import LoraSettings, TrainSettings

TEXTS = [f"Row {k} says that {k * 5 % 11} follows {k * 3 % 7}, as before." for k in range(64)]
ROWS = pl.DataFrame({"text": TEXTS})
INFO = RuntimeInfo("torch", (), 32, "text", does="continue")


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("adapters") / "start"
    return tiny_language(folder, TEXTS, hidden_size=64, intermediate_size=128)


def trained(start: Path, place: Path, base: str) -> Fitted:
    pytest.importorskip("peft")
    settings = TrainSettings.model_validate({
        "lora": {"rank": 4, "base": base}, "learning_rate": 0.02, "epochs": 4, "max_length": 32,
        "batch_size": {"global": 8},
    })  # fmt: skip
    return fit(
        start, ROWS[:48], ROWS[48:], text="text", label="text", classes=(), settings=settings,
        seed=0, out=place / "model", work=place / "work", language=INFO,
    )  # fmt: skip


def module_of(start: Path) -> torch.nn.Module:
    module, _ = load_language_pretrained(start, max_length=32)
    return module


@pytest.mark.parametrize("base", ["float", "nf4"])
def test_what_ships_is_what_was_trained(start: Path, tmp_path: Path, base: str) -> None:
    if base == "nf4":
        pytest.importorskip("bitsandbytes", reason="needs `make runtimes`")
    trained(start, tmp_path, base)
    before = load_language_model(tmp_path / "model").token_losses(ROWS[48:]).values.mean()
    adapter = load_file(tmp_path / "adapter" / "adapter_model.safetensors")
    # The adapter on the base that it was trained on says what the merged model says.
    again = add_adapters(module_of(start), LoraSettings(rank=4, base=base), seed=3)
    for name, values in adapter.items():
        own = name.removeprefix("base_model.model.").replace(".weight", ".default.weight")
        again.get_parameter(own).data.copy_(values)
    ids = torch.arange(20)[None]
    with torch.no_grad():
        beside = again(input_ids=ids).logits
        added = load_module(tmp_path / "model")(input_ids=ids).logits
    torch.testing.assert_close(added, beside, rtol=1e-4, atol=1e-4)
    first = load_language_model(tmp_path / "model")
    first.module = module_of(start)
    assert before < first.token_losses(ROWS[48:]).values.mean() - 0.2


def test_four_bits_move_the_base_and_nothing_else(start: Path) -> None:
    pytest.importorskip("bitsandbytes", reason="needs `make runtimes`")
    settings = LoraSettings(rank=2, base="nf4")
    module = add_adapters(module_of(start), settings, seed=0)
    held = sum(p.numel() * p.element_size() for n, p in module.named_parameters() if "base" in n)
    plain = module_of(start)
    wide = {n: p for n, p in plain.named_parameters() if "proj" in n}
    assert held * 8 == sum(4 * p.numel() for p in wide.values())
    for name, parameter in module.named_parameters():
        if "lora_B" in name:
            parameter.data.normal_(std=1e-3)
    merged = dict(merge_adapters(module).named_parameters())
    assert merged.keys() == dict(plain.named_parameters()).keys()
    for name, values in plain.named_parameters():
        if name in wide:
            # 16 levels by the quantiles of a bell: no weight moves by more than the widest gap.
            moved = (merged[name] - values).detach().abs()
            assert 0 < float(moved.max()) < 0.2 * float(values.detach().abs().max()) + 0.01
        else:
            torch.testing.assert_close(merged[name], values, rtol=0, atol=0)


def test_the_same_bytes_again(start: Path, tmp_path: Path) -> None:
    pytest.importorskip("bitsandbytes", reason="needs `make runtimes`")
    for name in ("once", "twice"):
        trained(start, tmp_path / name, "nf4")
    digests = {artefact_digest(tmp_path / name / "model") for name in ("once", "twice")}
    assert len(digests) == 1


def test_four_bits_need_their_library(start: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("peft")
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    with pytest.raises(ModelError, match="bitsandbytes"):
        add_adapters(module_of(start), LoraSettings(base="nf4"), seed=0)


def test_an_adapter_that_did_not_move_is_refused(start: Path) -> None:
    pytest.importorskip("peft")
    with pytest.raises(ModelError, match="adapter"):
        merge_adapters(add_adapters(module_of(start), LoraSettings(rank=2), seed=0))
