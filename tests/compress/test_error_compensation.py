"""Rounding that makes good for itself: nearer to the parent than rounding to nearest."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from safetensors.torch import load_file
from tests.model.tiny_language import tiny_language

from shipworthy.compress.making import make
from shipworthy.compress.material import Material
from shipworthy.compress.recipes import expand, looks_at_rows
from shipworthy.compress.settings import CompressSettings
from shipworthy.core.errors import ModelError
from shipworthy.model.checkpoint import RuntimeInfo, artefact_digest, size_bytes
from shipworthy.model.packed import PACKED, SCALE, ZERO, widened
from shipworthy.model.pretrained import load_language_pretrained, load_module, save_model
from shipworthy.model.runtimes import load_language_model
from shipworthy.train.settings import TrainSettings

TEXTS = [f"Row {k} says that {k * 5 % 11} follows {k * 3 % 7}, as before." for k in range(60)]
ROWS = pl.DataFrame({"text": TEXTS})
LOOKED_AT = Material(
    ROWS[:0], ROWS[:40], text="text", label="", training=TrainSettings(), seed=0, work=Path()
)


def asked(**more: object) -> CompressSettings:
    careful = {"int4": {"rounding": "compensated", **more}}
    return CompressSettings.model_validate({"recipes": ["int4", careful]})


@pytest.fixture(scope="module")
def parent(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model whose matrices are wide enough to be rounded badly."""
    root = tmp_path_factory.mktemp("compensated")
    tiny_language(root / "start", TEXTS, hidden_size=128, intermediate_size=256)
    module, tokenizer = load_language_pretrained(root / "start", max_length=64)
    save_model(root / "parent", module, tokenizer, RuntimeInfo("torch", (), 64, "text", "continue"))
    return root / "parent"


def test_a_whole_model_is_nearer_to_its_parent(parent: Path, tmp_path: Path) -> None:
    plain, careful = expand(asked())
    assert careful.name == "int4-compensated" and looks_at_rows(careful)
    assert not looks_at_rows(plain)
    losses = {"parent": load_language_model(parent).token_losses(ROWS[40:]).values}
    for recipe in (plain, careful):
        out = tmp_path / recipe.name
        make(recipe, parent, out, material=LOOKED_AT)
        losses[recipe.name] = load_language_model(out).token_losses(ROWS[40:]).values
    apart = {n: np.abs(v - losses["parent"]).mean() for n, v in losses.items()}
    assert apart["int4-compensated"] < 0.9 * apart["int4"]
    assert size_bytes(tmp_path / "int4") == size_bytes(tmp_path / "int4-compensated")
    make(careful, parent, tmp_path / "again", material=LOOKED_AT)
    assert artefact_digest(tmp_path / "again") == artefact_digest(tmp_path / "int4-compensated")


def test_nothing_is_left_in_the_working_directory(tmp_path: Path) -> None:
    use = "from shipworthy.compress.error_compensation import _library as it\nwith it(): pass"
    subprocess.run([sys.executable, "-c", use], cwd=tmp_path, check=True)
    assert not list(tmp_path.iterdir())


def test_what_is_stored_is_the_matrix_in_sixteen_steps(parent: Path, tmp_path: Path) -> None:
    _, careful = expand(asked(group=64, keep_float=[1]))
    make(careful, parent, tmp_path / "out", material=LOOKED_AT)
    stored = load_file(tmp_path / "out" / "model.safetensors")
    weights = dict(load_module(parent).named_parameters())
    packed = {name.removesuffix(ZERO) for name in stored if name.endswith(ZERO)}
    assert packed == {n[:-7] for n in weights if ".layers.0." in n and "proj" in n}
    for name in packed:
        found = widened({part: stored[name + part] for part in (PACKED, SCALE, ZERO)})
        wanted = weights[f"{name}.weight"].detach()
        assert stored[name + SCALE].shape == (len(wanted), wanted.shape[1] // 64)
        # Columns are moved to make good for others, by a few steps at most.
        step = stored[name + SCALE].float().repeat_interleave(64, dim=1)
        assert float(((found - wanted).abs() / step).mean()) < 1
    same = torch.equal(
        stored["model.layers.1.mlp.up_proj.weight"].float(),
        weights["model.layers.1.mlp.up_proj.weight"].detach().bfloat16().float(),
    )
    assert same


def test_it_needs_rows(parent: Path, tmp_path: Path) -> None:
    _, careful = expand(asked())
    with pytest.raises(ModelError, match="calibration"):
        make(careful, parent, tmp_path / "none")
    assert not (tmp_path / "none" / "runtime.json").exists()


def test_it_needs_the_library(
    parent: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "neural_compressor.torch.quantization", None)
    _, careful = expand(asked())
    with pytest.raises(ModelError, match="neural_compressor"):
        make(careful, parent, tmp_path / "none", material=LOOKED_AT)
