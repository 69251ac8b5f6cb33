"""What a lever does not know is left as it is, still answers, and is named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from tests.model.conftest import CLASSES, TEXTS
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    ConvBertConfig,
    LlamaConfig,
    XmodConfig,
)

from shipworthy.compress import CompressSettings, expand, make
from shipworthy.core.errors import ModelError
from shipworthy.model import RuntimeInfo, load_classifier, save_model

SIZE: dict[str, Any] = dict(
    vocab_size=17, hidden_size=32, num_hidden_layers=2, num_attention_heads=4,
    intermediate_size=64, pad_token_id=0, num_labels=3,
)  # fmt: skip
CONFIGS = {
    "conv": lambda: ConvBertConfig(
        **SIZE, max_position_embeddings=32, conv_kernel_size=3, num_groups=2, head_ratio=2,
        embedding_size=32,
    ),
    "xmod": lambda: XmodConfig(
        **SIZE, max_position_embeddings=40, languages=["en"], default_language="en"
    ),
    "llama": lambda: LlamaConfig(**SIZE, max_position_embeddings=32, num_key_value_heads=2),
}  # fmt: skip
CONVOLUTIONS = ("key_conv_attn_layer.depthwise.weight", "key_conv_attn_layer.pointwise.weight")
GROUPED = ("intermediate.dense.weight", "output.dense.weight")
"""Several matrices in one, which the runtime has no int8 for."""


@pytest.fixture(scope="module")
def folders(encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root, found = tmp_path_factory.mktemp("kinds"), {}
    for kind, config in CONFIGS.items():
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(1)
            module = AutoModelForSequenceClassification.from_config(config()).eval()
            with torch.no_grad():
                for weights in module.parameters():
                    if weights.dim() >= 2:
                        weights.mul_(6)
        info = RuntimeInfo("torch", CLASSES, 16)
        save_model(root / kind, module, AutoTokenizer.from_pretrained(encoder), info)
        found[kind] = root / kind
    return found


def made(recipe: Any, parent: Path, out: Path) -> dict[str, tuple[str, ...]]:
    (one,) = expand(CompressSettings.model_validate({"recipes": [recipe]}))
    return make(one, parent, out)


def answers(folder: Path) -> np.ndarray:
    return load_classifier(folder, threads=1).log_probabilities(pl.DataFrame({"text": TEXTS}))


def test_what_int8_does_not_know_stays_in_float_and_is_named(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    left = made("int8", folders["conv"], tmp_path / "out")["int8"]
    assert len(left) == 2 * len(CONVOLUTIONS + GROUPED)
    assert all(name.endswith(CONVOLUTIONS + GROUPED) for name in left)
    difference = np.abs(answers(tmp_path / "out") - answers(folders["conv"])).max()
    assert 0 < difference < 1.5


def test_what_is_to_stay_in_float_is_not_named(folders: dict[str, Path], tmp_path: Path) -> None:
    left = made({"int8": {"keep_float": [0]}}, folders["conv"], tmp_path / "out")
    ((step, names),) = left.items()
    assert step == "int8-keep-0"
    assert names and all(".layer.1." in name for name in names)
    kept = made({"int8": {"keep_float": [0, 1, "embeddings"]}}, folders["conv"], tmp_path / "all")
    assert kept == {}


@pytest.mark.parametrize("recipe", ["int8", "onnx", "bf16", {"prune": 0.5}])
def test_of_a_known_kind_nothing_is_left(parent: Path, tmp_path: Path, recipe: Any) -> None:
    assert made(recipe, parent, tmp_path / "out") == {}


def test_pruning_names_what_is_no_linear_layer(folders: dict[str, Path], tmp_path: Path) -> None:
    left = made({"prune": 0.5}, folders["conv"], tmp_path / "out")["prune-50"]
    assert all(name.endswith(CONVOLUTIONS + GROUPED) for name in left) and len(left) == 8


def test_a_lever_of_known_parts_names_the_others(folders: dict[str, Path], tmp_path: Path) -> None:
    recipe = {"steps": [{"neurons": {"share": 0.5, "score": "magnitude"}}, "onnx"]}
    (one,) = expand(CompressSettings.model_validate({"recipes": [recipe]}))
    from tests.compress.small_vocabularies import material

    left = make(one, folders["xmod"], tmp_path / "out", material=material(tmp_path / "work"))
    ((step, names),) = left.items()
    assert step == "neurons-50-magnitude"
    assert names and all("adapter_modules.en.dense" in name for name in names)


def test_parts_with_known_names_and_other_sizes_are_not_cut(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    from tests.compress.small_vocabularies import material

    recipe = {"heads": {"share": 0.5, "score": "magnitude"}}
    (one,) = expand(CompressSettings.model_validate({"recipes": [recipe]}))
    with pytest.raises(ModelError, match="not known by name"):
        make(one, folders["conv"], tmp_path / "out", material=material(tmp_path / "work"))


@pytest.mark.parametrize("recipe", ["onnx", "int8"])
def test_a_decoder_that_classifies_becomes_a_graph(
    folders: dict[str, Path], tmp_path: Path, recipe: str
) -> None:
    assert made(recipe, folders["llama"], tmp_path / "out") == {}
    difference = np.abs(answers(tmp_path / "out") - answers(folders["llama"])).max()
    assert difference < (1e-4 if recipe == "onnx" else 1.5)
