"""GGUF candidates: they shrink, they run, and what cannot become one is refused at the start."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from tests.model.tiny_language import tiny_language

from shipworthy.compress import gguf
from shipworthy.compress.making import make
from shipworthy.compress.recipes import check_recipes, expand, nearer, written
from shipworthy.compress.settings import CompressSettings
from shipworthy.core.errors import ModelError
from shipworthy.model import llama_cpp
from shipworthy.model.checkpoint import RuntimeInfo, artefact_digest, read_info, size_bytes
from shipworthy.model.pretrained import load_language_pretrained, save_model
from shipworthy.model.runtimes import load_language_model

TEXTS = [f"The number {k} stands beside {k * 7 % 13}, and nobody asks why." for k in range(40)]
INFO = RuntimeInfo("torch", (), 64, "text", does="continue")
KINDS = ("F16", "Q8_0", "Q4_K_M")


def settings(*kinds: str) -> CompressSettings:
    return CompressSettings.model_validate({"recipes": [{"gguf": kind} for kind in kinds]})


@pytest.fixture(scope="module")
def parent(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("gguf")
    sizes = {"hidden_size": 256, "intermediate_size": 256, "num_hidden_layers": 1}
    tiny_language(root / "start", TEXTS, **sizes)
    module, tokenizer = load_language_pretrained(root / "start", max_length=64)
    save_model(root / "parent", module, tokenizer, INFO)
    return root / "parent"


def test_fewer_bits_are_smaller_and_farther(parent: Path, tmp_path: Path) -> None:
    pytest.importorskip("llama_cpp", reason="needs `make runtimes`")
    rows = pl.DataFrame({"text": TEXTS})
    wanted = load_language_model(parent).token_losses(rows).values
    sizes, drifts = [], []
    for recipe in expand(settings(*KINDS)):
        out = tmp_path / recipe.name
        make(recipe, parent, out)
        model = load_language_model(out, threads=1)
        assert read_info(out).runtime == "llama.cpp"
        sizes.append(size_bytes(out) / size_bytes(parent))
        drifts.append(float(np.abs(model.token_losses(rows).values - wanted).mean()))
    assert sizes == sorted(sizes, reverse=True) and drifts == sorted(drifts)
    assert sizes[0] < 0.55 and sizes[2] < 0.3
    assert drifts[0] < 0.01 < drifts[2] < 1


def test_the_same_bytes_again(parent: Path, tmp_path: Path) -> None:
    pytest.importorskip("llama_cpp", reason="needs `make runtimes`")
    (recipe,) = expand(settings("Q4_K_M"))
    for name in ("once", "twice"):
        make(recipe, parent, tmp_path / name)
    assert artefact_digest(tmp_path / "once") == artefact_digest(tmp_path / "twice")
    assert not list((tmp_path / "once").glob(".gguf-*"))


def test_a_file_that_says_something_else_is_refused(
    parent: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("llama_cpp", reason="needs `make runtimes`")
    from shipworthy.model import gguf_export

    monkeypatch.setattr(gguf_export, "_interleaved", lambda values, heads: values)
    (recipe,) = expand(settings("Q8_0"))
    with pytest.raises(ModelError, match="does not say what the model says"):
        make(recipe, parent, tmp_path / "out")
    assert not list((tmp_path / "out").iterdir())


def test_words_that_are_cut_otherwise_are_refused(
    parent: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("llama_cpp", reason="needs `make runtimes`")
    monkeypatch.setattr(gguf, "CUTS", ("llama-bpe", "qwen2"))
    (recipe,) = expand(settings("Q8_0"))
    with pytest.raises(ModelError, match="does not cut texts"):
        make(recipe, parent, tmp_path / "out")


def test_a_recipe_that_cannot_be_made_is_told_before_training(
    parent: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ModelError, match="for language models"):
        check_recipes(settings("Q8_0"), parent, None)
    careful = CompressSettings.model_validate({"recipes": [{"int4": {"rounding": "compensated"}}]})
    with pytest.raises(ModelError, match="makes good for itself is for language models"):
        check_recipes(careful, parent, None)
    llama_cpp._library.cache_clear()
    monkeypatch.setitem(__import__("sys").modules, "llama_cpp.llama_cpp", None)
    with pytest.raises(ModelError, match="llama.cpp cannot be used"):
        check_recipes(settings("Q8_0"), parent, INFO)
    llama_cpp._library.cache_clear()


def test_recipes_are_written_as_they_are_read() -> None:
    for recipe in expand(settings("Q4_K_M", "F16", "Q3_K_M")):
        assert written(recipe) == f"{{gguf: {recipe.settings['gguf']}}}"
    names = []
    at: object = expand(settings("Q3_K_M"))[0]
    while at is not None:
        names.append(at.name)  # type: ignore[attr-defined]
        at = nearer(at)  # type: ignore[arg-type]
    assert names == [
        "gguf-q3-k-m", "gguf-q4-0", "gguf-q4-k-m", "gguf-q5-k-m", "gguf-q6-k", "gguf-q8-0",
        "gguf-f16",
    ]  # fmt: skip
    with pytest.raises(ValueError, match="Q9"):
        settings("Q9")
