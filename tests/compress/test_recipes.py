"""Each recipe turns the parent's folder into a folder that answers, and says what it changed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from transformers import AutoModelForSequenceClassification

from shipworthy.compress import CompressSettings, Recipe, expand, keeping, make
from shipworthy.compress.blocks import block_matrices
from shipworthy.compress.prune import zero_smallest
from shipworthy.core.errors import ModelError
from shipworthy.data import pad
from shipworthy.model import (
    TextClassifier,
    TorchClassifier,
    artefact_digest,
    artefact_files,
    load_classifier,
    read_info,
    size_bytes,
)
from shipworthy.model.pretrained import load_module
from shipworthy.model.torch_runtime import torch_threads

RECIPES = {recipe.name: recipe for recipe in expand(CompressSettings())}
Made = Callable[[str], Path]


@pytest.fixture(scope="session")
def made(parent: Path, tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Makes each candidate once, when a test first asks for it."""
    root = tmp_path_factory.mktemp("made")

    def folder(name: str) -> Path:
        if not (root / name).exists():
            make(RECIPES[name], parent, root / name)
        return root / name

    return folder


def answers(folder: Path, texts: list[str], threads: int = 1) -> np.ndarray:
    frame = pl.DataFrame({"text": texts})
    return load_classifier(folder, threads=threads).log_probabilities(frame)


@pytest.mark.parametrize(
    ("name", "runtime", "largest"),
    [
        ("bf16", "torch-bf16", 0.05),
        ("int8", "onnx-int8", 1.5),
        ("prune-30", "torch", 2.0),
        ("prune-50", "torch", 4.0),
    ],
)
def test_a_candidate_answers_nearly_as_its_parent(
    parent: Path, made: Made, texts: list[str], name: str, runtime: str, largest: float
) -> None:
    folder = made(name)
    assert read_info(folder).runtime == runtime
    assert read_info(folder).classes == read_info(parent).classes
    difference = np.abs(answers(folder, texts) - answers(parent, texts)).max()
    assert 0 < difference < largest
    assert artefact_digest(folder) != artefact_digest(parent)
    assert not [p.name for p in folder.iterdir() if p.name not in artefact_files(folder)]


@pytest.mark.parametrize("name", ["bf16", "prune-30", "prune-50"])
def test_plain_transformers_opens_the_folder(made: Made, texts: list[str], name: str) -> None:
    model = AutoModelForSequenceClassification.from_pretrained(made(name)).eval()
    ours = load_classifier(made(name), threads=1)
    assert isinstance(ours, TorchClassifier)
    # The stored weights decide; what they are computed in depends on the processor.
    model.to(next(ours.module.parameters()).dtype)
    batch = pad(ours.encode(texts), range(len(texts)), pad_token_id=0)
    with torch_threads(1), torch.inference_mode():
        logits = model(
            input_ids=torch.from_numpy(batch.input_ids),
            attention_mask=torch.from_numpy(batch.attention_mask),
        ).logits
    np.testing.assert_array_equal(ours.logits(batch), logits.double().numpy())


def test_bf16_rounds_each_weight_and_halves_the_file(parent: Path, made: Made) -> None:
    before = load_file(parent / "model.safetensors")
    after = load_file(made("bf16") / "model.safetensors")
    assert after.keys() == before.keys()
    for name, weights in before.items():
        assert torch.equal(after[name], weights.to(torch.bfloat16)), name

    def bytes_of(weights: dict[str, torch.Tensor]) -> int:
        return sum(w.numel() * w.element_size() for w in weights.values())

    assert bytes_of(after) * 2 == bytes_of(before)
    assert size_bytes(made("bf16")) < 0.6 * size_bytes(parent)


def test_bf16_is_computed_in_where_the_processor_can(made: Made) -> None:
    from shipworthy.core.device import device_flags, native_bf16

    model = load_classifier(made("bf16"), threads=1)
    assert isinstance(model, TorchClassifier)
    stored = load_file(made("bf16") / "model.safetensors")
    native = {"avx512_bf16", "amx_bf16", "bf16"} & set(device_flags())
    assert native_bf16() == bool(native)
    for name, weights in model.module.named_parameters():
        assert weights.dtype == (torch.bfloat16 if native else torch.float32)
        assert torch.equal(weights.to(torch.bfloat16), stored[name])


@pytest.mark.parametrize(("name", "share"), [("prune-30", 0.3), ("prune-50", 0.5)])
def test_each_layer_loses_exactly_its_share(
    parent: Path, made: Made, name: str, share: float
) -> None:
    before = load_file(parent / "model.safetensors")
    after = load_file(made(name) / "model.safetensors")
    pruned = {f"bert.{key}" for key, _ in block_matrices(load_module(parent))}
    assert len(pruned) == 2 * 6
    for key, weights in before.items():
        if key not in pruned:
            assert torch.equal(after[key], weights), key
            continue
        zero = after[key] == 0
        assert int(zero.sum()) == round(share * weights.numel())
        assert torch.equal(after[key][~zero], weights[~zero])
        assert weights[zero].abs().max() <= weights[~zero].abs().min()


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(-3, 3), min_size=1, max_size=40), st.floats(0.01, 0.99))
def test_equal_magnitudes_go_in_order(values: list[int], share: float) -> None:
    weights = torch.tensor(values, dtype=torch.float32)
    zero_smallest(weights, share)
    order = sorted(range(len(values)), key=lambda i: (abs(values[i]), i))
    for i in order[: round(share * len(values))]:
        values[i] = 0
    assert weights.tolist() == values


def test_int8_holds_its_matrices_and_embeddings_in_bytes(parent: Path, made: Made) -> None:
    import onnx

    graph = onnx.load(made("int8") / "model.onnx").graph
    kinds = Counter(node.op_type for node in graph.node)
    assert kinds["MatMulInteger"] == 2 * 6 + 2
    large = [t for t in graph.initializer if np.prod(t.dims) >= 512]
    assert {t.data_type for t in large} == {onnx.TensorProto.INT8, onnx.TensorProto.UINT8}
    assert sum(np.prod(t.dims) for t in large) > 0.9 * sum(
        p.numel() for p in load_module(parent).parameters() if p.dim() == 2
    )


def int8_matrices(folder: Path) -> tuple[int, int]:
    """Matrices and embedding tables that are held in bytes."""
    import onnx

    graph = onnx.load(folder / "model.onnx").graph
    held = [t for t in graph.initializer if t.data_type == onnx.TensorProto.UINT8 and t.dims]
    tables = [t for t in held if len(t.dims) == 2]
    return sum(node.op_type == "MatMulInteger" for node in graph.node), len(tables)


@pytest.mark.parametrize(
    ("parts", "matrices", "tables"),
    [
        (["embeddings", 1], 6 + 2, 0),
        pytest.param([0], 6 + 2, 3, marks=pytest.mark.slow),
        pytest.param(["embeddings"], 12 + 2, 0, marks=pytest.mark.slow),
    ],
)
def test_int8_leaves_what_is_named_in_float(
    parent: Path, made: Made, texts: list[str], tmp_path: Path,
    parts: list[Any], matrices: int, tables: int,
) -> None:  # fmt: skip
    assert int8_matrices(made("int8")) == (14, 3)
    make(keeping(RECIPES["int8"], parts), parent, tmp_path / "out")
    assert int8_matrices(tmp_path / "out") == (matrices, tables)
    assert size_bytes(made("int8")) < size_bytes(tmp_path / "out") < size_bytes(parent)
    assert not np.array_equal(answers(tmp_path / "out", texts), answers(made("int8"), texts))


@pytest.mark.slow
def test_all_parts_in_float_answer_nearer_to_the_parent(
    parent: Path, made: Made, texts: list[str], tmp_path: Path
) -> None:
    make(keeping(RECIPES["int8"], ["embeddings", 0, 1]), parent, tmp_path / "out")
    truth = answers(parent, texts)
    errors = [np.abs(answers(f, texts) - truth).mean() for f in (tmp_path / "out", made("int8"))]
    # The head is in bytes still.
    assert errors[0] < 0.6 * errors[1]


def test_a_kept_block_loses_no_weight(parent: Path, tmp_path: Path) -> None:
    make(keeping(RECIPES["prune-50"], [1]), parent, tmp_path / "out")
    before, after = (load_file(f / "model.safetensors") for f in (parent, tmp_path / "out"))
    for key, _ in block_matrices(load_module(parent)):
        zeros = int((after[f"bert.{key}"] == 0).sum())
        assert zeros == (0 if ".1." in key else round(before[f"bert.{key}"].numel() / 2)), key


@pytest.mark.parametrize("name", ["int8", "prune-30"])
def test_a_block_that_is_not_there_is_named(parent: Path, tmp_path: Path, name: str) -> None:
    with pytest.raises(ModelError, match="no block 2, the model has 2; blocks count from 0 to 1"):
        make(keeping(RECIPES[name], [0, 2]), parent, tmp_path / "out")
    assert not (tmp_path / "out" / "runtime.json").exists()


def test_int8_answers_each_text_alone(made: Made, texts: list[str]) -> None:
    model = load_classifier(made("int8"), threads=2, batch="bucket")
    assert model.batch == "one"
    encoded = model.encode(texts)
    together = model.score(encoded)
    for threads in (1, 2):
        alone = load_classifier(made("int8"), threads=threads)
        for row in range(len(texts)):
            one = alone.score(encoded.take([row]))[0]
            assert np.array_equal(one, together[row])
    backwards = model.score(encoded.take(range(len(texts))[::-1]))
    assert np.array_equal(backwards[::-1], together)
    assert not np.array_equal(in_one_batch(model, texts), together)


def in_one_batch(model: TextClassifier, texts: list[str]) -> np.ndarray:
    """What the graph says when neighbours share a scale: the reason for answering alone."""
    from shipworthy.model.text_classifier import log_softmax

    batch = pad(model.encode(texts), range(len(texts)), pad_token_id=0)
    return log_softmax(model.logits(batch))


@pytest.mark.parametrize("name", ["bf16", "prune-30", pytest.param("int8", marks=pytest.mark.slow)])
def test_the_same_recipe_is_the_same_bytes(
    parent: Path, made: Made, tmp_path: Path, name: str
) -> None:
    make(RECIPES[name], parent, tmp_path / "again")
    assert artefact_digest(tmp_path / "again") == artefact_digest(made(name))


def test_a_decision_is_inherited(copy: Path, tmp_path: Path) -> None:
    (copy / "decision.json").write_text('{"threshold": 0.4}')
    make(RECIPES["bf16"], copy, tmp_path / "out")
    assert (tmp_path / "out" / "decision.json").read_text() == '{"threshold": 0.4}'


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_only_the_trained_model_is_compressed(made: Made, tmp_path: Path, recipe: Recipe) -> None:
    with pytest.raises(ModelError, match="made from fp32 weights, but this is a candidate of torc"):
        make(recipe, made("bf16"), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_pickle_is_refused_before_anything_is_written(copy: Path, tmp_path: Path) -> None:
    (copy / "model.safetensors").rename(copy / "pytorch_model.bin")
    for recipe in RECIPES.values():
        with pytest.raises(ModelError, match="the weights are a pickle"):
            make(recipe, copy, tmp_path / "out")
        assert not (tmp_path / "out" / "runtime.json").exists()
