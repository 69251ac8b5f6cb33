"""Training under the rounding of int8: that it is the graph's rounding, and what it is good for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from tests.compress.test_shapes import SENTENCES, logits, material, other, plain_logits, recipe
from tests.model.conftest import CLASSES, WORDS
from torch import nn

from shipworthy.compress import make, written
from shipworthy.compress.material import Material
from shipworthy.compress.quantization_aware import kept_layers
from shipworthy.compress.recipes import looks_at_rows, steps_of, trains
from shipworthy.core.errors import ModelError, SettingsError
from shipworthy.core.yaml import parse_yaml
from shipworthy.data.packs import make_pack
from shipworthy.data.tokens import encode_cached
from shipworthy.model import artefact_digest, load_classifier, read_info
from shipworthy.model.pretrained import load_module, load_tokenizer, save_variant
from shipworthy.train import checkpoints
from shipworthy.train.attention import documents, trained_attention
from shipworthy.train.fake_quantization import FakeQuantization, rounded_texts, rounded_weights
from shipworthy.train.packing import Packed, Padded
from shipworthy.train.run import Run
from shipworthy.train.settings import TrainSettings

__all__ = ["material"]

STEP = {"quantization_aware": {"epochs": 1, "learning_rate": 0.001}}


@pytest.fixture(scope="module")
def many() -> list[str]:
    generator = np.random.default_rng(5)
    words = [word for word in WORDS if word.isalpha()]
    return [" ".join(generator.choice(words, generator.integers(1, 13))) for _ in range(400)]


def answers(folder: Path, texts: list[str]) -> np.ndarray:
    return load_classifier(folder, threads=1).log_probabilities(pl.DataFrame({"text": texts}))


def rounded_answers(folder: Path, texts: list[str], keep: Any = ()) -> np.ndarray:
    """What an fp32 folder answers where its layers round, each text by itself."""
    module: Any = load_module(folder)
    fake = FakeQuantization(module, kept_layers(module, keep, folder))
    tokenizer = load_tokenizer(folder)
    tokenizer.no_padding()
    tokenizer.enable_truncation(16)
    with torch.inference_mode():
        rows = [module(torch.tensor([tokenizer.encode(text).ids])).logits for text in texts]
    fake.stop()
    return torch.cat(rows).log_softmax(-1).double().numpy()


@pytest.mark.parametrize("keep", [(), ("embeddings", 1)], ids=str)
def test_the_graph_answers_as_the_training_foresaw(
    parent: Path, material: Material, many: list[str], tmp_path: Path, keep: Any
) -> None:
    aware = {"quantization_aware": {**STEP["quantization_aware"], "keep_float": list(keep)}}
    last: Any = {"int8": {"keep_float": list(keep)}} if keep else "int8"
    make(recipe(aware), parent, tmp_path / "aware", material=material)
    make(recipe(last), tmp_path / "aware", tmp_path / "apart")
    make(recipe({"steps": [aware, last]}), parent, tmp_path / "int8", material=material)
    assert artefact_digest(tmp_path / "int8") == artefact_digest(tmp_path / "apart")
    assert read_info(tmp_path / "aware").runtime == "torch"
    assert read_info(tmp_path / "int8").runtime == "onnx-int8"
    np.testing.assert_allclose(plain_logits(tmp_path / "aware"), logits(tmp_path / "aware"),
                               atol=1e-5)  # fmt: skip
    foreseen = rounded_answers(tmp_path / "aware", many, keep)
    found, whole = answers(tmp_path / "int8", many), answers(tmp_path / "aware", many)
    assert (found.argmax(1) == foreseen.argmax(1)).mean() >= 0.99
    off = np.abs(np.exp(found) - np.exp(foreseen)).max(1)
    unrounded = np.abs(np.exp(found) - np.exp(whole)).max(1)
    assert off.mean() < 0.001
    # Without the rounding the answers lie much further apart: it is the graph's own.
    assert off.mean() < 0.2 * unrounded.mean()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["distilbert", "roberta"])
def test_other_graphs_answer_as_foreseen(
    kind: str, material: Material, many: list[str], tmp_path: Path
) -> None:
    other(kind, tmp_path / "start", tmp_path / "parent")
    make(recipe("int8"), tmp_path / "parent", tmp_path / "int8")
    foreseen = rounded_answers(tmp_path / "parent", many[:100])
    found = answers(tmp_path / "int8", many[:100])
    whole = answers(tmp_path / "parent", many[:100])
    assert np.abs(found - foreseen).mean() < 0.2 * np.abs(found - whole).mean()


def test_weights_and_tables_are_those_of_the_graph(parent: Path, tmp_path: Path) -> None:
    import onnx
    from onnx.numpy_helper import to_array

    from shipworthy.model.checkpoint import GRAPH

    make(recipe("int8"), parent, tmp_path / "int8")
    stored = {t.name: to_array(t) for t in onnx.load(tmp_path / "int8" / GRAPH).graph.initializer}

    def kept(name: str) -> np.ndarray:
        zero = stored[f"{name}_zero_point"].astype(np.float32)
        steps = stored[f"{name}_quantized"].astype(np.float32)
        found: np.ndarray = (steps - zero) * stored[f"{name}_scale"]
        return found

    module: Any = load_module(parent)
    FakeQuantization(module)
    weights = module.get_parameter("classifier.weight")
    expected = kept("classifier.weight_Transposed").T
    np.testing.assert_allclose(rounded_weights(weights).detach(), expected, rtol=1e-6)
    table = module.bert.embeddings.word_embeddings
    expected = kept("bert.embeddings.word_embeddings.weight")
    found = table(torch.arange(len(expected))).detach()
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-9)


def test_activations_are_rounded_as_onnx_runtime_does() -> None:
    import onnxruntime
    from onnx import TensorProto, helper

    node = helper.make_node("DynamicQuantizeLinear", ["x"], ["y", "scale", "zero"])
    back = helper.make_node("DequantizeLinear", ["y", "scale", "zero"], ["z"])
    graph = helper.make_graph(
        [node, back], "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [5, 7])],
        [helper.make_tensor_value_info("z", TensorProto.FLOAT, [5, 7])],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    generator = np.random.default_rng(0)
    for shift in (0.0, 3.0, -3.0):
        x = generator.normal(shift, size=(5, 7)).astype(np.float32)
        (expected,) = session.run(None, {"x": x})
        found = rounded_texts(torch.from_numpy(x)[None])[0]
        np.testing.assert_allclose(found, expected, atol=1e-6)
    nothing = rounded_texts(torch.zeros(2, 3, 4))
    assert torch.equal(nothing, torch.zeros(2, 3, 4))


def test_each_document_of_a_pack_has_its_own_range(parent: Path, tmp_path: Path) -> None:
    encoded = encode_cached(load_tokenizer(parent), SENTENCES, max_length=16, cache=tmp_path)
    pack = make_pack(encoded, np.arange(len(SENTENCES)))
    values = torch.randn(1, pack.tokens, 6, generator=torch.Generator().manual_seed(0))
    values *= torch.from_numpy(1.0 + 100 * (pack.document % 3))[None, :, None]
    with documents(pack.runs):
        found = rounded_texts(values)[0]
    for number in range(len(SENTENCES)):
        mine = torch.from_numpy(pack.document == number)
        alone = rounded_texts(values[:, mine])[0]
        torch.testing.assert_close(found[mine], alone, rtol=0, atol=0)


def test_a_pack_is_answered_as_its_texts_are(parent: Path, tmp_path: Path) -> None:
    from shipworthy.train.microbatches import LabelledRows

    ids = encode_cached(load_tokenizer(parent), SENTENCES, max_length=16, cache=tmp_path)
    data = LabelledRows(ids, np.zeros(len(SENTENCES), np.int64), 0)
    module = load_module(parent)
    FakeQuantization(module)
    packed, padded = Packed(module), Padded()
    rows = np.arange(len(SENTENCES))
    with torch.inference_mode(), trained_attention(module):
        together = packed.logits(module, packed.micro_batch(data, rows, seed=0, visit=0))
        apart = [
            padded.logits(module, padded.micro_batch(data, rows[[k]], seed=0, visit=0))
            for k in rows
        ]
    # A value next to the middle between two steps may fall either way.
    off = (together - torch.cat(apart)).abs()
    assert float(off.max()) < 0.05
    assert float(off.median()) < 1e-4


def test_the_gradient_goes_straight_through_and_the_layers_come_back() -> None:
    layer = nn.Linear(5, 3)
    values = torch.randn(2, 4, 5, generator=torch.Generator().manual_seed(1), requires_grad=True)
    plain = layer(values)
    fake = FakeQuantization(layer)
    rounded = layer(values)
    assert 0 < float((rounded - plain).detach().abs().max()) < 0.1
    rounded.sum().backward()
    assert values.grad is not None and layer.weight.grad is not None
    expected = rounded_weights(layer.weight).sum(0).expand(2, 4, 5)
    torch.testing.assert_close(values.grad, expected)
    taken = rounded_texts(values.detach()).sum((0, 1)).expand(3, 5)
    torch.testing.assert_close(layer.weight.grad, taken)
    fake.stop()
    assert torch.equal(layer(values), plain)
    assert list(dict(layer.named_parameters())) == ["weight", "bias"]


@pytest.mark.slow
def test_it_makes_good_for_weights_that_bear_no_rounding(
    parent: Path, material: Material, tmp_path: Path
) -> None:
    """One huge, unread neuron input widens the range of a matrix until the rest is rounded away."""
    module: Any = load_module(parent)
    with torch.no_grad():
        for layer in module.bert.encoder.layer:
            # The first neuron is silent, so that its outgoing weights only widen the range.
            layer.intermediate.dense.weight[0] = 0.0
            layer.intermediate.dense.bias[0] = -30.0
            layer.output.dense.weight[:, 0] = 60.0
    save_variant(tmp_path / "wide", module, read_info(parent), parent=parent)
    settings = TrainSettings.model_validate(
        {"max_length": 16, "batch_size": {"global": 16}, "precision": "fp32"}
    )
    material = replace(material, training=settings)
    trained = {"epochs": 8, "learning_rate": 0.002}
    losses = {}
    for name in ("recover", "quantization_aware"):
        asked = recipe({"steps": [{name: trained}, "int8"]})
        make(asked, tmp_path / "wide", tmp_path / name, material=material)
        told = logits(tmp_path / name)
        labels = [CLASSES.index(v) for v in material.train["label"][: len(SENTENCES)]]
        losses[name] = -float(told[np.arange(len(labels)), labels].mean())
    assert losses["quantization_aware"] < losses["recover"] - 0.02


def test_zeros_stay(parent: Path, material: Material, tmp_path: Path) -> None:
    make(recipe({"prune": 0.5}), parent, tmp_path / "pruned")
    make(recipe(STEP), tmp_path / "pruned", tmp_path / "out", material=material)
    before, after = load_module(tmp_path / "pruned"), load_module(tmp_path / "out")
    name = "bert.encoder.layer.1.output.dense.weight"
    old, new = before.get_parameter(name), after.get_parameter(name)
    assert torch.equal(old == 0, new == 0)
    assert not torch.equal(old, new)


def test_after_an_interruption_the_bytes_are_the_same(
    parent: Path, material: Material, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoints, "_LEAST_WAIT_PER_WRITE", 0.0)
    settings = TrainSettings.model_validate(
        {"max_length": 16, "batch_size": {"global": 16}, "checkpoints": {"every_seconds": 0}}
    )
    material = replace(material, training=settings)
    make(recipe(STEP), parent, tmp_path / "whole", material=material)
    taken: list[int] = []
    step = Run.take_step

    def watched(self: Run, rows: Any, micros: Any) -> None:
        taken.append(self.position.step)
        if len(taken) == 5:
            raise KeyboardInterrupt
        step(self, rows, micros)

    monkeypatch.setattr(Run, "take_step", watched)
    again = replace(material, work=tmp_path / "other")
    with pytest.raises(KeyboardInterrupt):
        make(recipe(STEP), parent, tmp_path / "again", material=again)
    make(recipe(STEP), parent, tmp_path / "again", material=again)
    assert 0 < taken[5] <= 4
    assert artefact_digest(tmp_path / "again") == artefact_digest(tmp_path / "whole")
    make(recipe({"recover": {"epochs": 1, "learning_rate": 0.001}}), parent, tmp_path / "plain",
         material=material)  # fmt: skip
    assert artefact_digest(tmp_path / "plain") != artefact_digest(tmp_path / "whole")


def test_the_recipe_has_a_name_and_is_written_as_it_is_read() -> None:
    kept = {"epochs": 2, "balance": "groups", "keep_float": [1, "embeddings"]}
    found = recipe({"steps": [{"quantization_aware": kept}, "int8"]})
    assert found.name == "quantization-aware-2-groups-keep-embeddings-1+int8"
    assert recipe(parse_yaml(written(found)).data) == found
    assert [step.lever for step in steps_of(found)] == ["quantize", "quantize"]
    assert looks_at_rows(found) and trains(found)
    assert recipe({"quantization_aware": {}}).name == "quantization-aware"


def test_bad_input_is_one_line(parent: Path, material: Material, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(ModelError, match="no block 7, the model has 2"):
        make(recipe({"quantization_aware": {"keep_float": [7]}}), parent, out, material=material)
    several = TrainSettings.model_validate({"max_length": 16, "parallel": {"data": 2}})
    with pytest.raises(SettingsError, match="one process, and 2 are asked for"):
        make(recipe(STEP), parent, out, material=replace(material, training=several))
    with pytest.raises(ModelError, match="looks at rows"):
        make(recipe(STEP), parent, out)
    make(recipe("bf16"), parent, tmp_path / "bf16")
    with pytest.raises(ModelError, match="start from the model that was trained"):
        make(recipe(STEP), tmp_path / "bf16", out, material=material)
    with pytest.raises(ValueError, match="embeddings stands there twice"):
        recipe({"quantization_aware": {"keep_float": ["embeddings", "embeddings"]}})
    assert not (out / "runtime.json").exists()
