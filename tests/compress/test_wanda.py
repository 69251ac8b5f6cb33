"""Zeros by what a weight can add to its output, and two of each four."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from tests.model.conftest import CLASSES, TEXTS
from tests.model.tiny_language import tiny_language

from shipworthy.compress import CompressSettings, Recipe, expand, keeping, make, written
from shipworthy.compress.blocks import block_matrices, layers_by_block
from shipworthy.compress.material import Material
from shipworthy.compress.prune import zero_smallest
from shipworthy.compress.recipes import looks_at_rows
from shipworthy.compress.wanda import input_norms, scores
from shipworthy.core.errors import ModelError
from shipworthy.core.yaml import parse_yaml
from shipworthy.model import artefact_digest, load_classifier, read_info, size_bytes
from shipworthy.model.checkpoint import RuntimeInfo
from shipworthy.model.pretrained import (
    load_language_pretrained,
    load_module,
    load_tokenizer,
    save_model,
    save_variant,
)
from shipworthy.model.runtimes import load_language_model
from shipworthy.train.settings import TrainSettings

ROWS = pl.DataFrame(
    {"text": [*TEXTS, "not so", "a film"] * 4, "label": [CLASSES[k % 3] for k in range(40)]}
)


@pytest.fixture
def material(tmp_path: Path) -> Material:
    return Material(
        ROWS, ROWS, text="text", label="label", seed=1, training=TrainSettings(max_length=16),
        work=tmp_path / "work",
    )  # fmt: skip


def recipe(**asked: Any) -> Recipe:
    (found,) = expand(CompressSettings.model_validate({"recipes": [{"prune": asked}]}))
    return found


def linears(folder: Path) -> dict[str, torch.nn.Linear]:
    blocks = layers_by_block(load_module(folder))
    return {name: layer for found in blocks.values() for name, layer in found.items()}


def zeros(folder: Path) -> dict[str, torch.Tensor]:
    weights = load_file(folder / "model.safetensors")
    return {key: weights[f"bert.{key}"] == 0 for key, _ in block_matrices(load_module(folder))}


def test_the_scores_are_those_of_a_plain_loop(parent: Path, material: Material) -> None:
    """One text at a time, each token and each weight by itself, caught in another way."""
    module: Any = load_module(parent)
    layers = {n: p for found in layers_by_block(module).values() for n, p in found.items()}
    name = "encoder.layer.1.output.dense"
    norms = input_norms(module, layers, parent, read_info(parent), material)
    assert norms.keys() == layers.keys()
    tokenizer = load_tokenizer(parent)
    tokenizer.enable_truncation(16)
    caught: list[torch.Tensor] = []
    layers[name].register_forward_hook(lambda _, given, __: caught.append(given[0][0]))
    with torch.no_grad():
        for text in ROWS["text"]:
            module(torch.tensor([tokenizer.encode(text).ids]))
    weights = layers[name].weight.tolist()
    found = scores(layers[name].weight, norms[name])
    assert found.shape == (32, 64)
    for j in (0, 1, 40, 63):
        square = 0.0
        for tokens in caught:
            for token in tokens:
                square += float(token[j]) ** 2
        for i in (0, 7, 31):
            assert float(found[i, j]) == pytest.approx(abs(weights[i][j]) * square**0.5, rel=1e-5)


def test_each_output_loses_its_share_of_what_adds_least(
    parent: Path, material: Material, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    make(recipe(share=0.25, method="wanda", keep=[0]), parent, out, material=material)
    module = load_module(parent)
    # Layers of another copy of the model see no token, and would be told apart by magnitude.
    idle = input_norms(module, linears(parent), parent, read_info(parent), material)
    assert all(bool((found == 1).all()) for found in idle.values())
    own = {n: p for found in layers_by_block(module).values() for n, p in found.items()}
    norms = input_norms(module, own, parent, read_info(parent), material)
    for key, gone in zeros(out).items():
        if ".0." in key:
            assert not gone.any(), key
            continue
        name = key.removesuffix(".weight")
        each = scores(own[name].weight, norms[name])
        assert (gone.sum(dim=1) == round(0.25 * gone.shape[1])).all()
        for lost, value in zip(gone, each, strict=True):
            assert value[lost].max() <= value[~lost].min()
    before, after = (load_file(f / "model.safetensors") for f in (parent, out))
    for key, weights in after.items():
        assert torch.equal(weights[weights != 0], before[key][weights != 0]), key
    assert size_bytes(out) == size_bytes(parent)
    make(
        recipe(share=0.25, method="wanda", keep=[0]), parent, tmp_path / "again", material=material
    )
    assert artefact_digest(tmp_path / "again") == artefact_digest(out)


@pytest.mark.parametrize("method", ["magnitude", "wanda"])
def test_two_of_each_four_stay(
    parent: Path, material: Material, tmp_path: Path, method: str
) -> None:
    out = tmp_path / "out"
    asked = recipe(share=0.5, method=method, pattern="2:4")
    make(asked, parent, out, material=material)
    kept = zeros(out)
    assert len(kept) == 12
    for key, gone in kept.items():
        assert (gone.reshape(-1, 4).sum(dim=1) == 2).all(), key
    frame = pl.DataFrame({"text": TEXTS})
    found, before = (load_classifier(f, threads=1).log_probabilities(frame) for f in (out, parent))
    assert 0 < np.abs(found - before).max() < 5


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 6), st.sampled_from([4, 8, 12]), st.integers(0, 2**31), st.booleans())
def test_the_largest_two_of_four_stay(rows: int, columns: int, seed: int, scored: bool) -> None:
    generator = torch.Generator().manual_seed(seed)
    weights = torch.randint(1, 9, (rows, columns), generator=generator).float()
    value = torch.rand((rows, columns), generator=generator) if scored else None
    before = weights.clone()
    zero_smallest(weights, 0.5, scores=value, run=4)
    ranked = (before if value is None else value).reshape(-1, 4).tolist()
    for place, four in enumerate(ranked):
        order = sorted(range(4), key=lambda k: (four[k], k))
        found = weights.reshape(-1, 4)[place]
        assert [k for k in range(4) if found[k] == 0] == sorted(order[:2])
    assert torch.equal(weights[weights != 0], before[weights != 0])


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**31), st.sampled_from([None, 4]))
def test_inputs_of_unlike_size_are_minded(seed: int, run: int | None) -> None:
    """What the outputs of a layer lose is less than by magnitude where inputs are unlike."""
    generator = torch.Generator().manual_seed(seed)
    size = torch.logspace(-1.5, 1.5, 32)[torch.randperm(32, generator=generator)].double()
    inputs = torch.randn((200, 32), generator=generator).double() * size
    dense = torch.randn((16, 32), generator=generator).double()
    lost = {}
    for method in ("magnitude", "wanda"):
        weights = dense.clone()
        value = scores(weights, inputs.norm(dim=0)) if method == "wanda" else None
        zero_smallest(weights, 0.5, scores=value, run=run or 32)
        lost[method] = float(((dense - weights) @ inputs.T).norm())
    assert lost["wanda"] < 0.8 * lost["magnitude"]


def test_a_trained_layer_loses_less(parent: Path, material: Material, tmp_path: Path) -> None:
    """The first layers of a block, whose inputs are the same before and after, on the rows."""
    module: Any = load_module(parent)
    with torch.no_grad():
        # A norm whose scales differ between inputs, as trained ones do.
        module.bert.embeddings.LayerNorm.weight.copy_(torch.logspace(-1, 1, 32))
    save_variant(tmp_path / "unlike", module, read_info(parent), parent=parent)
    caught: list[torch.Tensor] = []
    site = module.bert.encoder.layer[0].attention.self.query
    site.register_forward_pre_hook(lambda _, given: caught.append(given[0].reshape(-1, 32)))
    load = load_tokenizer(parent)
    with torch.no_grad():
        for text in TEXTS:
            module(torch.tensor([load.encode(text).ids]))
    inputs, lost = torch.cat(caught), {}
    for method in ("magnitude", "wanda"):
        out = tmp_path / method
        make(recipe(share=0.5, method=method), tmp_path / "unlike", out, material=material)
        pruned: Any = load_module(out)
        other = pruned.bert.encoder.layer[0].attention.self.query.weight
        lost[method] = float((inputs @ (site.weight - other).detach().T).norm())
    assert lost["wanda"] < 0.8 * lost["magnitude"]


def test_a_language_model_is_pruned_on_what_it_was_trained_on(tmp_path: Path) -> None:
    texts = [f"Row {k} says that {k * 5 % 11} follows {k * 3 % 7}, as before." for k in range(60)]
    tiny_language(tmp_path / "start", texts, hidden_size=64, intermediate_size=128)
    module, tokenizer = load_language_pretrained(tmp_path / "start", max_length=64)
    info = RuntimeInfo("torch", (), 64, "text", "continue")
    # A norm whose scales differ between inputs, as trained ones do.
    with torch.no_grad():
        module.get_submodule("model.layers.0.input_layernorm").weight.copy_(
            torch.logspace(-1.5, 1.5, 64)
        )
    save_model(tmp_path / "parent", module, tokenizer, info)
    rows = pl.DataFrame({"text": texts})
    seen = Material(
        rows[:0], rows[:40], text="text", label="", seed=0, training=TrainSettings(),
        work=tmp_path / "work",
    )  # fmt: skip
    lost = {}
    truth = load_language_model(tmp_path / "parent").token_losses(rows[40:]).values
    for method in ("magnitude", "wanda"):
        out = tmp_path / method
        make(recipe(share=0.5, method=method), tmp_path / "parent", out, material=seen)
        lost[method] = np.abs(load_language_model(out).token_losses(rows[40:]).values - truth)
        weights = load_file(out / "model.safetensors")
        gone = weights["model.layers.0.self_attn.q_proj.weight"] == 0
        assert int(gone.sum()) == gone.numel() // 2
    assert lost["wanda"].mean() < lost["magnitude"].mean()


def test_recipes_of_zeros() -> None:
    for asked, name in (
        ({"share": 0.5, "method": "wanda"}, "prune-50-wanda"),
        ({"share": 0.5, "pattern": "2:4"}, "prune-50-2-4"),
        ({"share": 0.5, "method": "wanda", "pattern": "2:4"}, "prune-50-wanda-2-4"),
        ({"share": 0.3, "method": "wanda", "keep": [1]}, "prune-30-wanda-keep-1"),
        ({"share": 0.3, "method": "magnitude", "pattern": "none"}, "prune-30"),
    ):
        found = recipe(**asked)
        assert (found.name, found.lever) == (name, "prune")
        assert looks_at_rows(found) == ("wanda" in name)
        again = parse_yaml(f"a: {written(found)}").data["a"]
        assert expand(CompressSettings.model_validate({"recipes": [again]})) == (found,)
        steps: Any = {"steps": [again, "int8"]}
        (both,) = expand(CompressSettings.model_validate({"recipes": [steps]}))
        assert looks_at_rows(both) == ("wanda" in name)
        assert parse_yaml(f"a: {written(both)}").data["a"]["steps"][0] == again
    assert written(recipe(share=0.5, pattern="2:4")) == '{prune: {share: 0.5, pattern: "2:4"}}'
    kept = keeping(recipe(share=0.5, method="wanda", pattern="2:4", keep=[2]), [0])
    assert kept.name == "prune-50-wanda-2-4-keep-0-2"
    assert kept.settings["keep"] == [0, 2]
    CompressSettings.model_validate(
        {"recipes": [{"prune": 0.5}, {"prune": {"share": 0.5, "method": "wanda"}}]}
    )
    with pytest.raises(ValueError, match="stands there twice"):
        CompressSettings.model_validate(
            {"recipes": [{"prune": {"share": 0.5, "method": "wanda"}}] * 2}
        )
    with pytest.raises(ValueError, match=r"takes a share of 0\.5, not 0\.3"):
        recipe(share=0.3, pattern="2:4")


def test_what_is_lacking_is_said(parent: Path, material: Material, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(ModelError, match="prune-50-wanda looks at rows, and there are none"):
        make(recipe(share=0.5, method="wanda"), parent, out)
    few = Material(
        ROWS, ROWS[:19], text="text", label="label", seed=1, training=material.training,
        work=material.work,
    )  # fmt: skip
    with pytest.raises(ModelError, match="19 calibration rows are too few.*method to magnitude"):
        make(recipe(share=0.5, method="wanda"), parent, out, material=few)
    neurons = {"neurons": {"share": 0.35, "score": "magnitude"}}
    asked: Any = {"steps": [neurons, {"prune": {"share": 0.5, "pattern": "2:4"}}]}
    (steps,) = expand(CompressSettings.model_validate({"recipes": [asked]}))
    with pytest.raises(ModelError, match=r"the 42 inputs of encoder\.layer\.0\.output\.dense"):
        make(steps, parent, out, material=material)
    assert not (out / "runtime.json").exists()


def test_zeros_of_a_pattern_outlast_training(
    parent: Path, material: Material, tmp_path: Path
) -> None:
    first = {"prune": {"share": 0.5, "method": "wanda", "pattern": "2:4"}}
    asked: Any = {"steps": [first, {"recover": {"learning_rate": 0.003}}]}
    (steps,) = expand(CompressSettings.model_validate({"recipes": [asked]}))
    make(steps, parent, tmp_path / "out", material=material)
    make(recipe(**first["prune"]), parent, tmp_path / "first", material=material)
    before, after = zeros(tmp_path / "first"), zeros(tmp_path / "out")
    assert all(torch.equal(after[key], gone) for key, gone in before.items())
    moved = [load_file(tmp_path / f / "model.safetensors") for f in ("first", "out")]
    assert any(not torch.equal(moved[0][k], moved[1][k]) for k in moved[0])
