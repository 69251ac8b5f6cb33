"""Models of another shape: fewer neurons, heads and blocks, and a training to make good for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from safetensors.torch import load_file
from tests.model.conftest import CLASSES, TEXTS, tiny_encoder
from transformers import AutoModelForSequenceClassification

from shipworthy.compress import CompressSettings, Recipe, expand, make, written
from shipworthy.compress.heads import least_of_all
from shipworthy.compress.importance import fisher
from shipworthy.compress.material import Material
from shipworthy.compress.recipes import check_recipes, looks_at_rows, steps_of
from shipworthy.compress.recover import adapted, balanced
from shipworthy.core.errors import ModelError
from shipworthy.core.yaml import parse_yaml
from shipworthy.model import artefact_digest, load_classifier, read_info, size_bytes
from shipworthy.model.checkpoint import RuntimeInfo
from shipworthy.model.pretrained import load_module, load_pretrained, save_model
from shipworthy.train.settings import TrainSettings

SENTENCES = [*TEXTS, "not so", "a film", "the very film .", "this good film is bad"]
ROWS = pl.DataFrame(
    {
        "text": SENTENCES * 8,
        "label": [CLASSES[k % 3] for k in range(96)],
        "group": ["few" if k % 4 == 0 else "many" for k in range(96)],
    }
)


@pytest.fixture
def material(tmp_path: Path) -> Material:
    return Material(
        ROWS, ROWS[:48], text="text", label="label", groups=("group",), seed=1,
        training=TrainSettings(max_length=16), work=tmp_path / "work",
    )  # fmt: skip


def recipe(asked: Any) -> Recipe:
    (found,) = expand(CompressSettings.model_validate({"recipes": [asked]}))
    return found


def logits(folder: Path) -> np.ndarray:
    return load_classifier(folder, threads=1).log_probabilities(pl.DataFrame({"text": SENTENCES}))


def plain_logits(folder: Path) -> np.ndarray:
    """What plain transformers answers, each text by itself."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    with torch.inference_mode():
        rows = [
            model(**tokenizer(text, return_tensors="pt")).logits.log_softmax(-1)
            for text in SENTENCES
        ]
    return torch.cat(rows).double().numpy()


@pytest.mark.parametrize(
    "asked",
    [
        {"neurons": 0.5},
        {"neurons": {"share": 0.25, "score": "magnitude"}},
        {"neurons": {"share": 0.25, "balance": "groups"}},
        {"heads": 0.25},
        {"layers": [1]},
        {"steps": [{"layers": [0]}, {"neurons": 0.5}]},
        {"steps": [{"neurons": 0.5}, {"recover": {"epochs": 2}}]},
    ],
    ids=str,
)
def test_a_smaller_model_opens_in_plain_transformers(
    parent: Path, material: Material, tmp_path: Path, asked: Any
) -> None:
    out = tmp_path / "out"
    make(recipe(asked), parent, out, material=material)
    assert read_info(out) == read_info(parent)
    np.testing.assert_allclose(plain_logits(out), logits(out), atol=1e-5)
    assert np.abs(logits(out) - logits(parent)).max() > 1e-3
    if "heads" in asked:
        assert size_bytes(out) == size_bytes(parent)
    else:
        assert size_bytes(out) < 0.97 * size_bytes(parent)
    make(recipe(asked), parent, tmp_path / "again", material=material)
    assert artefact_digest(tmp_path / "again") == artefact_digest(out)
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(".")]


def test_neurons_that_do_nothing_go_first(parent: Path, material: Material, tmp_path: Path) -> None:
    """Half of the neurons of each block are made silent; without them the answers are the same."""
    module: Any = load_module(parent)
    generator = np.random.default_rng(0)
    for layer in module.bert.encoder.layer:
        silent = torch.from_numpy(generator.permutation(64)[:32])
        with torch.no_grad():
            layer.output.dense.weight[:, silent] = 0.0
            layer.intermediate.dense.weight[silent] *= 50  # large, and of no use
    save_model(tmp_path / "idle", module, _tokenizer(parent), read_info(parent))
    make(recipe({"neurons": 0.5}), tmp_path / "idle", tmp_path / "out", material=material)
    np.testing.assert_allclose(logits(tmp_path / "out"), logits(tmp_path / "idle"), atol=1e-5)
    config = load_module(tmp_path / "out").config
    assert config.intermediate_size == 32  # type: ignore[union-attr]
    weights = load_file(tmp_path / "out" / "model.safetensors")
    assert weights["bert.encoder.layer.0.output.dense.weight"].shape == (32, 32)


def test_the_importance_is_the_slope_of_the_loss(parent: Path, material: Material) -> None:
    """The gradient of a mask is what the loss does when the mask is moved a little."""
    from torch.nn.functional import cross_entropy

    module: Any = load_module(parent).double()
    site = "bert.encoder.layer.1.output.dense"
    found = fisher(load_module(parent), parent, read_info(parent), [site], 64, material, "rows")[
        site
    ]
    classifier = load_classifier(parent, threads=1)
    encoded = classifier.encode(material.calibration["text"].to_list())
    labels = [CLASSES.index(v) for v in material.calibration["label"]]
    step, squares = 1e-4, np.zeros(3)
    mask = torch.ones(64, dtype=torch.double)
    layer = module.get_submodule(site)
    layer.register_forward_pre_hook(lambda _, arguments: (arguments[0] * mask, *arguments[1:]))
    for row, label in enumerate(labels):
        ids = torch.from_numpy(encoded.take(np.array([row])).token_ids)[None].long()
        for neuron in range(3):
            losses = []
            for sign in (1, -1):
                mask[neuron] = 1 + sign * step
                with torch.no_grad():
                    losses.append(cross_entropy(module(ids).logits, torch.tensor([label])).item())
            mask[neuron] = 1.0
            squares[neuron] += ((losses[0] - losses[1]) / (2 * step)) ** 2
    np.testing.assert_allclose(found[:3] / found[0], squares / squares[0], rtol=1e-3)
    assert found.sum() == pytest.approx(1.0)


def _tokenizer(folder: Path) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder)


def test_heads_of_zeros_are_left_out_of_a_graph(
    parent: Path, material: Material, tmp_path: Path
) -> None:
    heads = recipe({"heads": 0.5})
    make(heads, parent, tmp_path / "heads", material=material)
    stored = load_file(tmp_path / "heads" / "model.safetensors")
    empty = 0
    for number in (0, 1):
        place = f"bert.encoder.layer.{number}.attention"
        value = stored[f"{place}.self.value.weight"].view(4, 8, 32).abs().amax((1, 2))
        read = stored[f"{place}.output.dense.weight"].view(32, 4, 8).abs().amax((0, 2))
        assert torch.equal(value == 0, read == 0)
        assert int((value > 0).sum()) >= 1
        empty += int((value == 0).sum())
    assert empty == 4
    for last in ("onnx", "int8"):
        make(recipe({"steps": [{"heads": 0.5}, last]}), parent, tmp_path / last, material=material)
        make(recipe(last), parent, tmp_path / f"whole-{last}")
        assert size_bytes(tmp_path / last) < size_bytes(tmp_path / f"whole-{last}")
    np.testing.assert_allclose(logits(tmp_path / "onnx"), logits(tmp_path / "heads"), atol=1e-5)
    # Four heads of 8, each a row or column of four matrices of 32, in fp32.
    saved = size_bytes(tmp_path / "whole-onnx") - size_bytes(tmp_path / "onnx")
    assert saved == pytest.approx(4 * 8 * 4 * 32 * 4, rel=0.1)


def test_training_leaves_the_zeros_of_heads_and_weights(
    parent: Path, material: Material, tmp_path: Path
) -> None:
    for asked in ({"heads": 0.5}, {"prune": 0.5}):
        name = next(iter(asked))
        make(recipe(asked), parent, tmp_path / name, material=material)
        make(recipe({"recover": {}}), tmp_path / name, tmp_path / f"{name}-on", material=material)
        before = load_file(tmp_path / name / "model.safetensors")
        after = load_file(tmp_path / f"{name}-on" / "model.safetensors")
        moved = 0.0
        for key, weights in before.items():
            if weights.dim() == 2 and "encoder" in key:
                assert torch.equal(after[key][weights == 0], weights[weights == 0]), key
                moved += float((after[key] - weights).abs().sum())
        assert moved > 0


def test_recovery_lowers_the_loss(parent: Path, material: Material, tmp_path: Path) -> None:
    make(recipe({"neurons": 0.75}), parent, tmp_path / "cut", material=material)
    long = {"recover": {"epochs": 20, "learning_rate": 0.003}}
    make(recipe(long), tmp_path / "cut", tmp_path / "mended", material=material)

    def loss(folder: Path) -> float:
        told = load_classifier(folder, threads=1).log_probabilities(ROWS[:24])
        return float(
            -np.mean([told[k, CLASSES.index(v)] for k, v in enumerate(ROWS["label"][:24])])
        )

    assert loss(tmp_path / "mended") < loss(tmp_path / "cut")


def test_weights_bring_groups_to_one_size() -> None:
    weights = balanced(ROWS, ("group",)).to_numpy()
    few = (ROWS["group"] == "few").to_numpy()
    assert weights[few].sum() == pytest.approx(weights[~few].sum())
    assert weights.mean() == pytest.approx(1.0)
    both = balanced(ROWS, ("group", "label")).to_numpy()
    assert both.mean() == pytest.approx(1.0)
    with pytest.raises(ModelError, match=r"data\.groups"):
        balanced(ROWS, ())


def test_groups_that_weigh_alike_train_another_model(
    parent: Path, material: Material, tmp_path: Path
) -> None:
    make(recipe({"recover": {}}), parent, tmp_path / "rows", material=material)
    balanced_recipe = recipe({"recover": {"balance": "groups"}})
    make(balanced_recipe, parent, tmp_path / "groups", material=material)
    assert artefact_digest(tmp_path / "rows") != artefact_digest(tmp_path / "groups")


def test_each_block_keeps_its_best_head() -> None:
    scores = {"a": np.array([1.0, 2.0, 3.0]), "b": np.array([9.0, 8.0, 7.0])}
    gone = least_of_all(scores, 0.9)
    assert {site: list(heads) for site, heads in gone.items()} == {"a": [0, 1], "b": [1, 2]}


def test_recovery_trains_as_the_parent_was(material: Material) -> None:
    from shipworthy.compress.lever_settings import RecoverSettings

    training = TrainSettings(epochs=5, learning_rate=3e-4, max_length=16)
    told = adapted(training, RecoverSettings(epochs=2))
    assert (told.epochs, told.learning_rate, told.max_length) == (2, 1e-4, 16)


@pytest.mark.parametrize(
    ("asked", "name", "line"),
    [
        ({"neurons": 0.5}, "neurons-50", "{neurons: 0.5}"),
        (
            {"heads": {"share": 0.25, "balance": "groups"}},
            "heads-25-groups",
            "{heads: {share: 0.25, balance: groups}}",
        ),
        ({"layers": [4, 0]}, "layers-0-4", "{layers: [0, 4]}"),
        ("onnx", "onnx", "onnx"),
        (
            {"steps": [{"neurons": {"share": 0.5}}, {"recover": {"epochs": 3}}, "int8"]},
            "neurons-50+recover-3+int8",
            "{steps: [{neurons: 0.5}, {recover: {epochs: 3}}, int8]}",
        ),
    ],
    ids=str,
)
def test_recipes_have_names_and_are_written_as_they_are_read(
    asked: Any, name: str, line: str
) -> None:
    found = recipe(asked)
    assert (found.name, written(found)) == (name, line)
    assert recipe(parse_yaml(line).data) == found
    assert [step.name for step in steps_of(found)][-1] == name


def test_rows_are_asked_for_where_they_are_looked_at(parent: Path, tmp_path: Path) -> None:
    cut = recipe({"steps": [{"layers": [0]}, {"recover": {}}]})
    assert looks_at_rows(cut)
    assert not looks_at_rows(recipe({"layers": [0]}))
    with pytest.raises(ModelError, match="looks at rows"):
        make(cut, parent, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_bad_input_is_one_line(parent: Path, material: Material, tmp_path: Path) -> None:
    out = tmp_path / "out"
    few = Material(
        ROWS, ROWS[:3], text="text", label="label", seed=1, training=TrainSettings(),
        work=tmp_path / "work",
    )  # fmt: skip
    with pytest.raises(ModelError, match="3 calibration rows are too few"):
        make(recipe({"neurons": 0.5}), parent, out, material=few)
    with pytest.raises(ModelError, match=r"no group of data\.groups"):
        make(recipe({"neurons": {"share": 0.5, "balance": "groups"}}), parent, out, material=few)
    with pytest.raises(ModelError, match="no block 7, the model has 2"):
        make(recipe({"layers": [0, 7]}), parent, out, material=material)
    with pytest.raises(ModelError, match="all 2 blocks would stay"):
        make(recipe({"layers": [0, 1]}), parent, out, material=material)
    make(recipe("bf16"), parent, tmp_path / "bf16")
    with pytest.raises(ModelError, match="start from the model that was trained"):
        make(recipe({"neurons": 0.5}), tmp_path / "bf16", out, material=material)
    assert not out.exists() or not (out / "runtime.json").exists()


def test_what_comes_after_fewer_bits_is_refused() -> None:
    with pytest.raises(ValueError, match="only the last step"):
        recipe({"steps": ["int8", {"neurons": 0.5}]})
    with pytest.raises(ValueError, match="stands there twice"):
        recipe({"layers": [0, 0]})


def test_a_language_model_is_refused_before_training(tmp_path: Path) -> None:
    asked = CompressSettings.model_validate({"recipes": [{"neurons": 0.5}]})
    info = RuntimeInfo("torch", (), 64, "text", "continue")
    with pytest.raises(ModelError, match="for classifiers"):
        check_recipes(asked, tmp_path, info)
    with pytest.raises(ModelError, match="the search is for classifiers"):
        check_recipes(CompressSettings(search=True), tmp_path, info)
    check_recipes(CompressSettings(search=True), tmp_path, None)


def test_an_unknown_architecture_is_named(
    parent: Path, material: Material, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from shipworthy.compress import anatomy

    monkeypatch.setattr(anatomy, "_FEED_FORWARD", ())
    with pytest.raises(ModelError, match="block 0 of BertForSequenceClassification"):
        make(recipe({"neurons": 0.5}), parent, tmp_path / "out", material=material)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["distilbert", "llama", "roberta"])
def test_other_architectures(kind: str, material: Material, tmp_path: Path) -> None:
    parent = tmp_path / "parent"
    other(kind, tmp_path / "start", parent)
    for asked in ({"neurons": 0.5}, {"layers": [1]}, {"steps": [{"heads": 0.5}, {"recover": {}}]}):
        out = tmp_path / recipe(asked).name
        make(recipe(asked), parent, out, material=material)
        assert np.isfinite(logits(out)).all()
        if "steps" not in asked:
            np.testing.assert_allclose(plain_logits(out), logits(out), atol=1e-4)
            assert size_bytes(out) < size_bytes(parent)


def other(kind: str, start: Path, out: Path) -> None:
    from transformers import (
        AutoTokenizer,
        DistilBertConfig,
        DistilBertModel,
        LlamaConfig,
        LlamaModel,
        RobertaConfig,
        RobertaModel,
    )

    tiny_encoder(start)
    count = len(AutoTokenizer.from_pretrained(start))
    torch.manual_seed(0)
    if kind == "distilbert":
        config: Any = DistilBertConfig(
            vocab_size=count, dim=32, n_layers=2, n_heads=4, hidden_dim=64, pad_token_id=0,
            max_position_embeddings=32,
        )  # fmt: skip
        model: Any = DistilBertModel(config)
    elif kind == "roberta":
        config = RobertaConfig(
            vocab_size=count, hidden_size=32, num_hidden_layers=2, num_attention_heads=4,
            intermediate_size=64, max_position_embeddings=40, pad_token_id=0,
        )  # fmt: skip
        model = RobertaModel(config)
    else:
        config = LlamaConfig(
            vocab_size=count, hidden_size=32, num_hidden_layers=2, num_attention_heads=4,
            intermediate_size=64, max_position_embeddings=64, pad_token_id=0,
        )  # fmt: skip
        model = LlamaModel(config)
    (start / "model.safetensors").unlink()
    model.save_pretrained(start)
    module, tokenizer = load_pretrained(start, classes=CLASSES, max_length=16, seed=3)
    save_model(out, module, tokenizer, RuntimeInfo("torch", CLASSES, 16))
