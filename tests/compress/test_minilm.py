"""The built-in encoder through every recipe: sizes, precision, and who answers what."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from shipworthy.compress import CompressSettings, expand, keeping, make
from shipworthy.data import minilm
from shipworthy.model import (
    RuntimeInfo,
    export_onnx,
    load_classifier,
    load_pretrained,
    save_model,
    size_bytes,
)

TEXTS = ["a fine film", "dull from start to end, and then it goes on for another hour", "meh"] * 8


@pytest.mark.slow
def test_the_builtin_model_keeps_its_answers(tmp_path: Path) -> None:
    classes = ("negative", "positive")
    module, tokenizer = load_pretrained(minilm(), classes=classes, max_length=128, seed=0)
    parent = tmp_path / "parent"
    save_model(parent, module, tokenizer, RuntimeInfo("torch", classes, 128))
    export_onnx(parent, tmp_path / "onnx")
    folders = {"onnx": tmp_path / "onnx"}
    recipes = expand(CompressSettings())
    kept = keeping(recipes[1], [0, 5])
    for recipe in (*recipes, kept):
        make(recipe, parent, tmp_path / recipe.name)
        folders[recipe.name] = tmp_path / recipe.name
    frame = pl.DataFrame({"text": TEXTS})
    truth = load_classifier(parent, threads=2).log_probabilities(frame)
    largest = {
        "onnx": 1e-4,
        "bf16": 0.01,
        "int8": 0.05,
        kept.name: 0.05,
        "prune-30": 0.5,
        "prune-50": 0.5,
    }
    for name, folder in folders.items():
        difference = np.abs(load_classifier(folder, threads=2).log_probabilities(frame) - truth)
        assert difference.max() < largest[name], name
    whole = size_bytes(parent)
    assert size_bytes(folders["bf16"]) == pytest.approx(whole / 2, rel=0.001)
    assert size_bytes(folders["int8"]) <= 0.27 * whole
    assert size_bytes(folders["prune-50"]) == whole
    # Two blocks of six: 12 matrices of 384 x 384 or 384 x 1536, 3 bytes a weight more.
    grown = size_bytes(folders[kept.name]) - size_bytes(folders["int8"])
    assert grown == pytest.approx(3 * 2 * 12 * 384**2, rel=0.02)
