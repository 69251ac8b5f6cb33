"""Recipes that spare parts of a model: which steps can, and that what is spared stays whole."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch
from safetensors.torch import load_file
from tests.model.conftest import CLASSES, TEXTS
from transformers import AutoModelForSequenceClassification

from shipworthy.compress import make, written
from shipworthy.compress.blocks import block_matrices
from shipworthy.compress.material import Material
from shipworthy.compress.recipes import as_asked, fixed_ranges, kind_of, named, steps_of
from shipworthy.compress.repairs import keeps_shape, repaired
from shipworthy.compress.sparing import keeping, parts_to_spare, sparable
from shipworthy.core.errors import ModelError
from shipworthy.core.yaml import parse_yaml
from shipworthy.model import artefact_digest, read_info
from shipworthy.model.pretrained import load_module, save_variant
from shipworthy.train.settings import TrainSettings


@pytest.fixture
def material(tmp_path: Path) -> Material:
    texts = [*TEXTS, "not so", "a film", "the very film .", "this good film is bad"] * 6
    rows = pl.DataFrame(
        {"text": texts, "label": [CLASSES[k % len(CLASSES)] for k in range(len(texts))]}
    )
    return Material(
        rows, rows, text="text", label="label", seed=1, training=TrainSettings(max_length=16),
        work=tmp_path / "work",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("asked", "parts", "at", "told"),
    [
        (
            {"steps": [{"neurons": 0.5}, {"recover": {"epochs": 2}}, "int8"]},
            ["embeddings", 0], None,
            "{steps: [{neurons: 0.5}, {recover: {epochs: 2}},"
            " {int8: {keep_float: [embeddings, 0]}}]}",
        ),
        (
            {"steps": [{"heads": 0.25}, {"recover": {}}, {"int8": {"ranges": "static"}}]},
            [1], 0,
            "{steps: [{heads: {share: 0.25, keep: [1]}}, {recover: {}},"
            " {int8: {ranges: static}}]}",
        ),
        (
            {"steps": [{"prune": {"share": 0.3, "keep": [2]}}, {"threshold": {}}]},
            [0], None,
            "{steps: [{prune: {share: 0.3, keep: [0, 2]}}, {threshold: {}}]}",
        ),
        ({"layers": [0, 3]}, [1], None, "{layers: [0, 1, 3]}"),
        (
            {"low_rank": {"share": 0.5, "embeddings": True}}, ["embeddings", 1], None,
            "{low_rank: {share: 0.5, keep: [1]}}",
        ),
        ({"low_rank": {"share": 0.5, "embeddings": True}}, ["embeddings"], None, "{low_rank: 0.5}"),
    ],
    ids=str,
)  # fmt: skip
def test_one_step_spares_parts_and_the_others_stay(
    asked: Any, parts: list[Any], at: int | None, told: str
) -> None:
    found = keeping(named(asked), parts, at=at)
    assert written(found) == told
    # It can be listed in a project as it is written.
    assert named(parse_yaml(told).data) == found


@pytest.mark.parametrize(
    "asked",
    ["bf16", "onnx", {"neurons": 0.5}, {"vocabulary": {"words": 40}}, {"distill": {"layers": 2}}],
    ids=str,
)
def test_what_can_spare_nothing_says_so(asked: Any) -> None:
    assert sparable(named(asked)) == ()
    with pytest.raises(ValueError, match="no parts to keep"):
        keeping(named(asked), [0])
    both = named({"steps": [{"neurons": 0.5}, {"prune": 0.3}]})
    with pytest.raises(ValueError, match="no parts to keep"):
        keeping(both, [0], at=0)


@pytest.mark.parametrize(
    ("asked", "parts"),
    [
        ("int8", ("embeddings", 0, 1)),
        ({"int8": {"keep_float": ["embeddings", 1]}}, (0,)),
        ({"prune": {"share": 0.5, "keep": [0]}}, (1,)),
        ({"heads": {"share": 0.5, "keep": [1]}}, (0,)),
        ({"low_rank": {"share": 0.5, "embeddings": True}}, ("embeddings", 0, 1)),
        # Where all blocks would stay, nothing of the step is left.
        ({"layers": [0]}, ()),
    ],
    ids=str,
)
def test_parts_are_those_of_the_model_that_the_step_is_given(
    parent: Path, asked: Any, parts: tuple[Any, ...]
) -> None:
    assert parts_to_spare(parent, named(asked)) == parts


@pytest.mark.parametrize(
    ("asked", "key"), [({"heads": 0.5}, "heads"), ({"low_rank": 0.4}, "low_rank")], ids=str
)
def test_a_spared_block_is_whole_and_the_others_lose_what_they_would_have(
    parent: Path, material: Material, tmp_path: Path, asked: Any, key: str
) -> None:
    whole, spared = named(asked), keeping(named(asked), [0])
    assert spared.name == f"{whole.name}-keep-0"
    assert kind_of(spared) == key
    make(whole, parent, tmp_path / "whole", material=material)
    make(spared, parent, tmp_path / "spared", material=material)
    before, all_cut, some_cut = (
        load_file(folder / "model.safetensors")
        for folder in (parent, tmp_path / "whole", tmp_path / "spared")
    )
    names = [f"bert.{name}" for name, _ in block_matrices(load_module(parent))]
    assert any(not torch.equal(before[n], all_cut[n]) for n in names if ".0." in n)
    for name in names:
        assert torch.equal(some_cut[name], (before if ".0." in name else all_cut)[name]), name
    # Its shape is that of the parent, so plain transformers opens it.
    AutoModelForSequenceClassification.from_pretrained(tmp_path / "spared")
    with pytest.raises(ModelError, match="no block 7, the model has 2"):
        make(keeping(whole, [7]), parent, tmp_path / "none", material=material)
    assert not (tmp_path / "none").exists()


def test_a_dropped_block_can_stay(parent: Path, tmp_path: Path) -> None:
    module: Any = load_module(parent)
    layers = module.base_model.encoder.layer
    layers.extend([deepcopy(layers[0]), deepcopy(layers[1])])
    module.config.num_hidden_layers = 4
    save_variant(tmp_path / "deep", module, read_info(parent), parent=parent)
    cut = named({"layers": [0, 3]})
    assert parts_to_spare(tmp_path / "deep", cut) == (1, 2)
    make(keeping(cut, [2]), tmp_path / "deep", tmp_path / "out")
    model = AutoModelForSequenceClassification.from_pretrained(tmp_path / "out")
    assert model.config.num_hidden_layers == 3


@pytest.mark.parametrize(
    ("before", "after", "same"),
    [
        ({"neurons": 0.5}, {"steps": [{"neurons": 0.5}, {"recover": {}}]}, True),
        ({"steps": [{"layers": [0]}, "int8"]},
         {"steps": [{"layers": [0]}, "int8", {"threshold": {"balance": "groups"}}]}, True),
        ({"int8": {"ranges": "static"}}, {"int8": {"ranges": "static", "balance": "groups"}}, True),
        ({"vocabulary": {"words": 40}}, {"vocabulary": {"words": 40, "balance": "groups"}}, True),
        ({"vocabulary": {"seen": 2}}, {"vocabulary": {"seen": 2, "balance": "groups"}}, False),
        ("int8", {"int8": {"ranges": "static"}}, False),
        ("int8", {"int8": {"keep_float": [0]}}, False),
        ({"layers": [0]}, {"layers": [0, 1]}, False),
    ],
    ids=str,
)  # fmt: skip
def test_repairs_that_keep_the_shape_are_told_from_those_that_do_not(
    before: Any, after: Any, same: bool
) -> None:
    assert keeps_shape(named(before), named(after)) is same


def test_fixed_ranges_are_calibrated_on_groups_alike() -> None:
    static = named({"int8": {"ranges": "static"}})
    found = repaired(static, groups=True)
    assert found is not None and written(found) == "{int8: {ranges: static, balance: groups}}"
    assert repaired(static, groups=False) is None
    assert repaired(found, groups=True) is None


def test_ranges_are_fixed_in_the_last_step_too() -> None:
    steps = named({"steps": [{"neurons": 0.5}, "int8", {"threshold": {}}]})
    found = fixed_ranges(steps)
    assert found is not None
    assert [as_asked(s) for s in steps_of(found)] == [
        {"neurons": 0.5}, {"int8": {"ranges": "static"}}, {"threshold": {}},
    ]  # fmt: skip
    assert fixed_ranges(found) is None


def test_what_is_made_step_by_step_is_what_is_made_at_once(
    parent: Path, material: Material, tmp_path: Path
) -> None:
    asked = named({"steps": [{"heads": {"share": 0.5, "keep": [1]}}, {"prune": 0.3}]})
    make(asked, parent, tmp_path / "once", material=material)
    folder = parent
    for number, step in enumerate(steps_of(asked)):
        make(step, folder, tmp_path / str(number), material=material)
        folder = tmp_path / str(number)
    assert artefact_digest(folder) == artefact_digest(tmp_path / "once")
