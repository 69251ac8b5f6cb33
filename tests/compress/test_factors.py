"""Matrices of low rank as two layers: in a graph, in int8, and in a training that goes on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from tests.compress.test_low_rank import MATRICES, blocks, of_rank, rank
from tests.compress.test_shapes import CLASSES, ROWS, logits, other, plain_logits, recipe

from shipworthy.compress import make
from shipworthy.compress.factors import (
    Factored,
    factors_of,
    is_low_rank,
    largest_rank,
    merge,
    split,
    surely_whole,
)
from shipworthy.compress.graphs import compact
from shipworthy.compress.material import Material
from shipworthy.model import artefact_digest, load_classifier, size_bytes
from shipworthy.model.pretrained import load_module
from shipworthy.train.form import Form
from shipworthy.train.loop import fit
from shipworthy.train.settings import ParallelSettings, TrainSettings


@pytest.fixture
def material(tmp_path: Path) -> Material:
    return Material(
        ROWS, ROWS[:48], text="text", label="label", groups=("group",), seed=1,
        training=TrainSettings(max_length=16), work=tmp_path / "work",
    )  # fmt: skip


def weights_in(folder: Path) -> int:
    """Return how many weights the matrices of a graph hold."""
    held = onnx.load(folder / "model.onnx").graph.initializer
    return sum(int(np.prod(one.dims)) for one in held if len(one.dims) == 2)


def test_a_low_rank_is_seen_and_another_is_not() -> None:
    for shape in ((48, 48), (40, 90), (90, 40)):
        most = largest_rank(*shape)
        assert most * sum(shape) < shape[0] * shape[1] <= (most + 1) * sum(shape)
        for r in (1, most // 2, most):
            weights = of_rank(*shape, r)
            assert not surely_whole(weights.double())
            found = factors_of(weights)
            assert found is not None
            assert found.left.shape[1] == r
            scale = float(weights.abs().max())
            torch.testing.assert_close(found.left @ found.right, weights, rtol=0, atol=3e-6 * scale)
            np.testing.assert_allclose(found.left.norm(dim=0), found.right.norm(dim=1), rtol=1e-4)
        whole = of_rank(*shape, most + 1)
        assert factors_of(whole) is None
        assert surely_whole(whole.double())
    # Many rows of zeros are no low rank, and leave a low one as it is.
    weights = torch.zeros(48, 48)
    weights[::4] = of_rank(12, 48, 12)
    assert factors_of(weights) is None
    weights[::4] = of_rank(12, 48, 3)
    found = factors_of(weights)
    assert found is not None
    assert found.left.shape == (48, 3)
    assert torch.equal((found.left @ found.right) == 0, weights == 0)
    assert factors_of(torch.zeros(8, 8)) is None


def test_split_and_merged_again_a_model_is_the_same(
    parent: Path, material: Material, tmp_path: Path
) -> None:
    asked = {"low_rank": {"share": 0.5, "embeddings": True}}
    make(recipe(asked), parent, tmp_path / "out", material=material)
    module: Any = load_module(tmp_path / "out")
    before = {name: p.detach().clone() for name, p in module.named_parameters()}
    ids = torch.tensor([[2, 5, 7, 3]])
    with torch.no_grad():
        told = module(input_ids=ids).logits
        assert is_low_rank(module)
        state = torch.get_rng_state()
        split(module)
        assert torch.equal(torch.get_rng_state(), state)
        pairs = [part for part in module.modules() if isinstance(part, Factored)]
        assert len(pairs) > 8
        assert all(largest_rank(*_shape(pair)) >= pair.rank for pair in pairs)
        torch.testing.assert_close(module(input_ids=ids).logits, told, atol=1e-4, rtol=0)
        assert not is_low_rank(module)
        merge(module)
    after = dict(module.named_parameters())
    assert list(after) == list(before)
    for name, weights in before.items():
        torch.testing.assert_close(after[name].data, weights, atol=1e-5, rtol=0)


def _shape(pair: Factored) -> tuple[int, int]:
    first: Any = pair[0]
    second: Any = pair[1]
    if isinstance(first, torch.nn.Embedding):
        return first.num_embeddings, second.out_features
    return second.out_features, first.in_features


def test_a_model_of_full_rank_is_left_whole(parent: Path) -> None:
    module = load_module(parent)
    assert not is_low_rank(module)
    names = [name for name, _ in compact(module).named_parameters()]
    assert names == [name for name, _ in load_module(parent).named_parameters()]


@pytest.mark.parametrize("last", ["onnx", "int8"])
def test_a_graph_is_smaller_and_says_the_same(
    parent: Path, material: Material, tmp_path: Path, last: str
) -> None:
    lever = {"low_rank": {"share": 0.4, "embeddings": True}}
    make(recipe(lever), parent, tmp_path / "folder", material=material)
    make(recipe({"steps": [lever, last]}), parent, tmp_path / last, material=material)
    make(recipe(last), parent, tmp_path / "whole")
    tolerance = 1e-4 if last == "onnx" else 0.5
    np.testing.assert_allclose(logits(tmp_path / last), logits(tmp_path / "folder"), atol=tolerance)
    if last == "onnx":
        fewer = weights_in(tmp_path / "whole") - weights_in(tmp_path / last)
        assert 0.6 * (MATRICES + 17 * 32) <= fewer <= 0.65 * (MATRICES + 17 * 32)
        saved = size_bytes(tmp_path / "whole") - size_bytes(tmp_path / last)
        assert saved > 4 * fewer - 2**14  # the nodes of further layers take some room
        make(recipe({"steps": [lever, last]}), parent, tmp_path / "again", material=material)
        assert artefact_digest(tmp_path / "again") == artefact_digest(tmp_path / last)


@pytest.mark.slow
def test_int8_leaves_the_halves_of_what_it_is_to_leave(
    parent: Path, material: Material, tmp_path: Path
) -> None:
    lever = {"low_rank": {"share": 0.4, "embeddings": True}}
    make(recipe(lever), parent, tmp_path / "folder", material=material)
    kinds = {}
    for name, keep in (("none", None), ("block", [1]), ("all", ["embeddings", 0, 1])):
        last = "int8" if keep is None else {"int8": {"keep_float": keep}}
        make(recipe(last), tmp_path / "folder", tmp_path / name)
        nodes = onnx.load(tmp_path / name / "model.onnx").graph.node
        kinds[name] = [node.op_type for node in nodes].count("MatMulInteger")
    module: Any = compact(load_module(tmp_path / "folder"))
    linear = [
        sum(isinstance(part, torch.nn.Linear) for part in block.modules())
        for block in module.bert.encoder.layer
    ]
    assert sum(linear) > 18  # most matrices are split
    assert kinds["none"] - kinds["block"] == linear[1]
    assert kinds["none"] - kinds["all"] == sum(linear) + 1  # the second half of the table


@pytest.mark.slow
def test_zeros_of_heads_are_still_taken_out(
    parent: Path, material: Material, tmp_path: Path
) -> None:
    steps = [{"heads": 0.5}, {"low_rank": 0.6}]
    make(recipe({"steps": steps}), parent, tmp_path / "folder", material=material)
    make(recipe({"steps": [*steps, {"recover": {}}]}), parent, tmp_path / "on", material=material)
    for name in ("folder", "on"):
        make(recipe("onnx"), tmp_path / name, tmp_path / f"{name}-onnx")
        np.testing.assert_allclose(
            logits(tmp_path / f"{name}-onnx"), logits(tmp_path / name), atol=1e-4
        )
        module: Any = compact(load_module(tmp_path / name))
        widths = [
            block.attention.output.dense[0].in_features
            if isinstance(block.attention.output.dense, Factored)
            else block.attention.output.dense.in_features
            for block in module.bert.encoder.layer
        ]
        assert sum(widths) == 32  # of two blocks of 32, half


# Recovery


@pytest.mark.parametrize("packing", ["packed", "buckets"])
def test_recovery_keeps_the_rank(
    parent: Path, material: Material, tmp_path: Path, packing: Any
) -> None:
    from dataclasses import replace

    material = replace(
        material,
        training=TrainSettings(max_length=16, packing=packing, parallel=ParallelSettings(data=2)),
    )
    lever = recipe({"low_rank": {"share": 0.4, "embeddings": True}})
    make(lever, parent, tmp_path / "cut", material=material)
    long = recipe({"recover": {"epochs": 10, "learning_rate": 0.003}})
    make(long, tmp_path / "cut", tmp_path / "mended", material=material)
    before, after = blocks(tmp_path / "cut"), blocks(tmp_path / "mended")
    assert before.keys() == after.keys()
    lower = 0
    for name, weights in before.items():
        assert not torch.equal(after[name], weights), name
        if rank(weights) <= largest_rank(*weights.shape):
            assert rank(after[name]) <= rank(weights), name
            lower += 1
    assert lower > 8

    def loss(folder: Path) -> float:
        told = load_classifier(folder, threads=1).log_probabilities(ROWS[:24])
        return float(
            -np.mean([told[k, CLASSES.index(v)] for k, v in enumerate(ROWS["label"][:24])])
        )

    assert loss(tmp_path / "mended") < loss(tmp_path / "cut")
    np.testing.assert_allclose(
        plain_logits(tmp_path / "mended"), logits(tmp_path / "mended"), atol=1e-4
    )
    if packing == "packed":
        make(recipe("onnx"), tmp_path / "mended", tmp_path / "onnx")
        make(recipe("onnx"), tmp_path / "cut", tmp_path / "cut-onnx")
        assert weights_in(tmp_path / "onnx") <= weights_in(tmp_path / "cut-onnx")
        np.testing.assert_allclose(
            logits(tmp_path / "onnx"), logits(tmp_path / "mended"), atol=1e-4
        )
        make(long, tmp_path / "cut", tmp_path / "again", material=material)
        assert artefact_digest(tmp_path / "again") == artefact_digest(tmp_path / "mended")


@pytest.mark.parametrize(
    "asked", [{"quantization_aware": {}}, {"distill": {"layers": [0, 1], "epochs": 1}}], ids=str
)
def test_every_training_keeps_the_rank(
    parent: Path, material: Material, tmp_path: Path, asked: Any
) -> None:
    make(recipe({"low_rank": 0.5}), parent, tmp_path / "cut", material=material)
    make(recipe(asked), tmp_path / "cut", tmp_path / "on", material=material)
    before, after = blocks(tmp_path / "cut"), blocks(tmp_path / "on")
    low = [n for n, w in before.items() if rank(w) <= largest_rank(*w.shape)]
    assert len(low) > 8
    for name in low:
        assert not torch.equal(after[name], before[name]), name
        assert rank(after[name]) <= rank(before[name]), name


def test_a_form_is_trained_in_one_process(parent: Path, tmp_path: Path) -> None:
    settings = TrainSettings(max_length=16, parallel=ParallelSettings(data=2))
    with pytest.raises(ValueError, match="'factors' is trained in one process"):
        fit(
            parent, ROWS, ROWS, text="text", label="label", classes=CLASSES, settings=settings,
            seed=1, out=tmp_path / "out", work=tmp_path / "work",
            form=Form("factors", split, merge),
        )  # fmt: skip
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["distilbert", "llama", "roberta"])
def test_other_architectures(kind: str, material: Material, tmp_path: Path) -> None:
    parent = tmp_path / "parent"
    other(kind, tmp_path / "start", parent)
    lever = {"low_rank": {"share": 0.4, "embeddings": True}}
    make(recipe({"steps": [lever, {"recover": {}}]}), parent, tmp_path / "on", material=material)
    np.testing.assert_allclose(plain_logits(tmp_path / "on"), logits(tmp_path / "on"), atol=1e-4)
    if kind == "llama":  # the exporter does not know its cache
        module: Any = load_module(tmp_path / "on")
        ids = torch.tensor([[2, 5, 7, 3]])
        with torch.no_grad():
            told = module(input_ids=ids).logits
            count = sum(p.numel() for p in module.parameters())
            torch.testing.assert_close(
                compact(module)(input_ids=ids).logits, told, atol=1e-4, rtol=0
            )
        assert sum(p.numel() for p in module.parameters()) < 0.6 * count
        return
    make(recipe("onnx"), tmp_path / "on", tmp_path / "onnx")
    make(recipe("onnx"), parent, tmp_path / "whole")
    np.testing.assert_allclose(logits(tmp_path / "onnx"), logits(tmp_path / "on"), atol=1e-4)
    assert size_bytes(tmp_path / "onnx") < 0.9 * size_bytes(tmp_path / "whole")
