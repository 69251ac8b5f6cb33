"""Rounding that makes good for itself: nearer to the parent than rounding to nearest."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.model.tiny_language import tiny_language

from shipworthy.compress.error_compensation import compensated_steps
from shipworthy.compress.recipes import expand, looks_at_rows, make
from shipworthy.compress.settings import CompressSettings
from shipworthy.core.errors import ModelError
from shipworthy.model.checkpoint import RuntimeInfo, artefact_digest, size_bytes
from shipworthy.model.packed import grid, pack_steps, steps_of, widened
from shipworthy.model.pretrained import load_language_pretrained, save_model
from shipworthy.model.runtimes import load_language_model

TEXTS = [f"Row {k} says that {k * 5 % 11} follows {k * 3 % 7}, as before." for k in range(60)]
ROWS = pl.DataFrame({"text": TEXTS})


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([32, 64]))
def test_what_a_matrix_gives_is_nearer_than_with_rounding_to_nearest(seed: int, group: int) -> None:
    generator = torch.manual_seed(seed)
    weights = torch.randn(24, 128, generator=generator)
    # Inputs that go together, as those of a network do: there is something to make good with.
    mixed = torch.randn(128, 128, generator=generator)
    inputs = torch.randn(600, 16, generator=generator) @ mixed[:16] + 0.1 * torch.randn(
        600, 128, generator=generator
    )
    exact = inputs @ weights.T
    scale, zero = grid(weights, group)
    nearest = widened(pack_steps(steps_of(weights, scale, zero, group), scale, zero))
    found = compensated_steps(weights, inputs.T @ inputs, group)
    ours = widened(pack_steps(*found))
    assert found[0].max() <= 15 and ours.shape == weights.shape
    missed = [((inputs @ w.T - exact) ** 2).mean().item() for w in (ours, nearest)]
    assert missed[0] < 0.7 * missed[1]


def test_columns_that_no_input_uses_do_no_harm() -> None:
    weights = torch.randn(16, 64, generator=torch.manual_seed(0))
    inputs = torch.randn(100, 64, generator=torch.manual_seed(1))
    inputs[:, 7] = 0.0
    steps, scale, zero = compensated_steps(weights, inputs.T @ inputs, 32)
    assert bool(torch.isfinite(widened(pack_steps(steps, scale, zero))).all())


@pytest.fixture(scope="module")
def parent(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model whose matrices are wide enough to be rounded badly."""
    root = tmp_path_factory.mktemp("compensated")
    tiny_language(root / "start", TEXTS, hidden_size=128, intermediate_size=256)
    module, tokenizer = load_language_pretrained(root / "start", max_length=64)
    save_model(root / "parent", module, tokenizer, RuntimeInfo("torch", (), 64, "text", "continue"))
    return root / "parent"


def test_a_whole_model_is_nearer_to_its_parent(parent: Path, tmp_path: Path) -> None:
    asked = CompressSettings.model_validate(
        {"recipes": ["int4", {"int4": {"rounding": "compensated"}}]}
    )
    plain, careful = expand(asked)
    assert careful.name == "int4-compensated" and looks_at_rows(careful)
    assert not looks_at_rows(plain)
    losses = {"parent": load_language_model(parent).token_losses(ROWS[40:]).values}
    for recipe in (plain, careful):
        out = tmp_path / recipe.name
        make(recipe, parent, out, calibration=ROWS[:40])
        losses[recipe.name] = load_language_model(out).token_losses(ROWS[40:]).values
    apart = {n: np.abs(v - losses["parent"]).mean() for n, v in losses.items()}
    assert apart["int4-compensated"] < 0.9 * apart["int4"]
    assert size_bytes(tmp_path / "int4") == size_bytes(tmp_path / "int4-compensated")
    make(careful, parent, tmp_path / "again", calibration=ROWS[:40])
    assert artefact_digest(tmp_path / "again") == artefact_digest(tmp_path / "int4-compensated")


def test_it_needs_rows(parent: Path, tmp_path: Path) -> None:
    (recipe,) = expand(
        CompressSettings.model_validate({"recipes": [{"int4": {"rounding": "compensated"}}]})
    )
    with pytest.raises(ModelError, match="calibration"):
        make(recipe, parent, tmp_path / "none")
    assert not (tmp_path / "none" / "runtime.json").exists()
