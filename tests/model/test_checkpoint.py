"""Model folders are whole, safe and the same bytes, or refused in one line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from shipworthy.core.errors import ModelError
from shipworthy.model.checkpoint import (
    RuntimeInfo,
    artefact_digest,
    artefact_files,
    read_info,
    size_bytes,
    write_info,
)


def test_the_info_comes_back(tmp_path: Path) -> None:
    info = RuntimeInfo("onnx-int8", ("schlecht", "gut"), 64, "Satz")
    write_info(tmp_path, info)
    assert read_info(tmp_path) == info


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"runtime": "onnx-int88"}, "runtime is 'onnx-int88'; did you mean 'onnx-int8'?"),
        ({"classes": ["one"]}, "classes is ['one']; it lists at least two names, each once"),
        ({"classes": ["a", "a", "b"]}, "classes is ['a', 'a', 'b']"),
        ({"classes": None}, "classes is None"),
        ({"max_length": 1}, "max_length is 1; it is a number of tokens, at least 2"),
        ({"max_length": True}, "max_length is True"),
        ({"text": 3}, "text is 3; it names the column with the text"),
        ({"max_lenght": 8}, "unknown key 'max_lenght'; did you mean 'max_length'?"),
    ],
)
def test_a_wrong_info_is_named(copy: Path, change: dict[str, Any], said: str) -> None:
    file = copy / "runtime.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    with pytest.raises(ModelError) as caught:
        read_info(copy)
    assert said in str(caught.value)
    assert str(copy) in str(caught.value)


def test_what_ships_is_named(parent: Path, copy: Path) -> None:
    names = ["config.json", "model.safetensors", "runtime.json", "tokenizer.json"]
    assert sorted(artefact_files(parent)) == sorted([*names, "tokenizer_config.json"])
    (copy / "notes.md").write_text("not shipped")
    (copy / "optimizer.bin").write_bytes(b"not shipped")
    assert artefact_digest(copy) == artefact_digest(parent)
    (copy / "decision.json").write_text('{"threshold": 0.4}')
    assert "decision.json" in artefact_files(copy)
    assert artefact_digest(copy) != artefact_digest(parent)


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json"])
def test_a_changed_byte_is_another_artefact(parent: Path, copy: Path, name: str) -> None:
    content = bytearray((copy / name).read_bytes())
    content[-1] ^= 1
    (copy / name).write_bytes(content)
    assert artefact_digest(copy) != artefact_digest(parent)


def test_size_is_that_of_the_weights(parent: Path) -> None:
    assert size_bytes(parent) == (parent / "model.safetensors").stat().st_size


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "runtime.json"])
def test_missing_files_are_named(copy: Path, name: str) -> None:
    (copy / name).unlink()
    with pytest.raises(ModelError, match=f"there is no {name}"):
        artefact_files(copy)


def test_missing_weights_are_named(copy: Path) -> None:
    (copy / "model.safetensors").unlink()
    with pytest.raises(ModelError, match=r"there is no model\.safetensors"):
        artefact_files(copy)
    with pytest.raises(ModelError, match="there is no such folder"):
        size_bytes(copy / "elsewhere")


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "model.ckpt"])
def test_a_pickle_is_refused_with_the_way_out(copy: Path, name: str) -> None:
    (copy / "model.safetensors").rename(copy / name)
    with pytest.raises(ModelError) as caught:
        artefact_files(copy)
    assert f"the weights are a pickle ({name})" in str(caught.value)
    assert "get model.safetensors from the model's makers" in str(caught.value)


def test_shards_count_together(copy: Path) -> None:
    from safetensors.torch import load_file, save_file

    whole = load_file(copy / "model.safetensors")
    names = sorted(whole)
    parts = {"model-1-of-2.safetensors": names[::2], "model-2-of-2.safetensors": names[1::2]}
    for file, members in parts.items():
        save_file({n: whole[n] for n in members}, copy / file, metadata={"format": "pt"})
    index = {"weight_map": {n: file for file, members in parts.items() for n in members}}
    (copy / "model.safetensors.index.json").write_text(json.dumps(index))
    (copy / "model.safetensors").unlink()
    files = artefact_files(copy)
    assert {*parts, "model.safetensors.index.json"} <= set(files)
    assert size_bytes(copy) >= sum((copy / file).stat().st_size for file in parts)
    (copy / "model-2-of-2.safetensors").unlink()
    with pytest.raises(ModelError, match="model-2-of-2"):
        size_bytes(copy)
