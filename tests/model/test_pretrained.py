"""A fine-tune starts from any encoder's folder, and ends in one that plain transformers opens."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from shipworthy.core.errors import ModelError
from shipworthy.model import RuntimeInfo, load_classifier, load_pretrained, save_model
from shipworthy.model.checkpoint import artefact_files
from shipworthy.model.pretrained import load_module


def load(folder: Path, classes: tuple[str, ...] = ("no", "yes"), seed: int = 0) -> torch.nn.Module:
    return load_pretrained(folder, classes=classes, max_length=16, seed=seed)[0]


def head(module: torch.nn.Module) -> torch.Tensor:
    weights: torch.Tensor = module.get_parameter("classifier.weight").detach()
    return weights


def test_the_head_is_drawn_with_the_seed(encoder: Path) -> None:
    state = torch.random.get_rng_state()
    first, again, other = (head(load(encoder, seed=seed)) for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_a_head_is_kept_for_the_same_classes_only(parent: Path, classes: tuple[str, ...]) -> None:
    own = head(load_module(parent))
    assert torch.equal(head(load(parent, classes)), own)
    renamed = head(load(parent, ("x", "y", "z"), seed=7))
    assert not torch.equal(renamed, own)
    assert torch.equal(head(load(parent, ("x", "y", "z"), seed=7)), renamed)
    assert 0.001 < renamed.std() < 0.1
    assert head(load(parent, ("no", "yes"))).shape == (2, 32)


def test_plain_transformers_opens_the_folder(
    parent: Path, texts: list[str], classes: tuple[str, ...]
) -> None:
    model = AutoModelForSequenceClassification.from_pretrained(parent).eval()
    tokenizer = AutoTokenizer.from_pretrained(parent)
    ours = load_classifier(parent, batch="one", threads=1)
    encoded = ours.encode(texts)
    answers = ours.score(encoded)
    assert model.config.id2label == dict(enumerate(classes))
    for row, text in enumerate(texts):
        inputs = tokenizer(text, truncation=True, return_tensors="pt")
        assert inputs["input_ids"][0].tolist() == encoded.take([row]).token_ids.tolist()
        with torch.inference_mode():
            logits = model(**inputs).logits[0].double()
        torch.testing.assert_close(
            torch.from_numpy(answers[row]), logits.log_softmax(0), rtol=0, atol=1e-5
        )


def test_the_same_model_is_the_same_bytes(
    encoder: Path, tmp_path: Path, classes: tuple[str, ...], texts: list[str]
) -> None:
    for name in ("first", "second"):
        module, tokenizer = load_pretrained(encoder, classes=classes, max_length=8, seed=1)
        if name == "second":
            tokenizer(texts, truncation=True, padding=True, max_length=4)
        save_model(tmp_path / name, module, tokenizer, RuntimeInfo("torch", classes, 8))
    first, second = (artefact_files(tmp_path / name) for name in ("first", "second"))
    assert list(first) == list(second)
    for name, file in first.items():
        assert file.read_bytes() == second[name].read_bytes(), name
        assert str(encoder) not in file.read_text(errors="replace")


def test_a_half_written_folder_has_no_info(copy: Path, classes: tuple[str, ...]) -> None:
    module, tokenizer = load_pretrained(copy, classes=classes, max_length=8, seed=1)
    del tokenizer.__dict__["_tokenizer"]
    with pytest.raises(AttributeError):
        save_model(copy, module, tokenizer, RuntimeInfo("torch", classes, 8))
    assert not (copy / "runtime.json").exists()


def test_weights_and_runtime_must_fit(encoder: Path, tmp_path: Path) -> None:
    module, tokenizer = load_pretrained(encoder, classes=("no", "yes"), max_length=8, seed=1)
    with pytest.raises(ModelError, match="torch-bf16 takes torch.bfloat16 weights, not torch.fl"):
        save_model(tmp_path, module, tokenizer, RuntimeInfo("torch-bf16", ("no", "yes"), 8))
    with pytest.raises(ModelError, match="2 outputs for 3 classes"):
        save_model(tmp_path, module, tokenizer, RuntimeInfo("torch", ("a", "b", "c"), 8))
    with pytest.raises(ModelError, match="can't be saved for onnx"):
        save_model(tmp_path, module, tokenizer, RuntimeInfo("onnx", ("no", "yes"), 8))


def pickled(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def with_own_code(folder: Path) -> None:
    edit(folder, auto_map={"AutoModelForSequenceClassification": "modeling.Model"})


def with_adapter(folder: Path) -> None:
    (folder / "adapter_config.json").write_text("{}")


def of_unknown_kind(folder: Path) -> None:
    edit(folder, model_type="abacus")


def deeper(folder: Path) -> None:
    edit(folder, num_hidden_layers=3)


def cut(folder: Path) -> None:
    content = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(content[: len(content) // 2])


def without_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()
    (folder / "tokenizer_config.json").unlink()


def without_config(folder: Path) -> None:
    (folder / "config.json").unlink()


def with_broken_config(folder: Path) -> None:
    (folder / "config.json").write_text("{")


def edit(folder: Path, **values: object) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | values))


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (pickled, "the weights are a pickle"),
        (with_own_code, "its own code, which is never run"),
        (with_adapter, "merge the adapter"),
        (of_unknown_kind, "transformers can't use it"),
        (deeper, r"the weights lack bert\.encoder\.layer\.2"),
        (cut, "the weights are damaged"),
        (without_tokenizer, "there is no vocabulary"),
        (without_config, r"there is no config\.json"),
        (with_broken_config, r"config\.json is no JSON"),
    ],
)
def test_bad_folders_are_refused(
    encoder: Path, tmp_path: Path, damage: Callable[[Path], None], said: str
) -> None:
    folder = Path(shutil.copytree(encoder, tmp_path / "encoder"))
    damage(folder)
    with pytest.raises(ModelError, match=said) as caught:
        load(folder)
    assert str(folder) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_more_tokens_than_positions_are_refused(encoder: Path) -> None:
    with pytest.raises(ModelError, match="32 tokens at most, fewer than the max_length of 33"):
        load_pretrained(encoder, classes=("no", "yes"), max_length=33, seed=0)


def test_a_candidate_without_a_head_is_refused(copy: Path) -> None:
    from safetensors.torch import load_file, save_file

    weights = load_file(copy / "model.safetensors")
    del weights["classifier.bias"]
    save_file(weights, copy / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"the weights lack classifier\.bias"):
        load_module(copy)
