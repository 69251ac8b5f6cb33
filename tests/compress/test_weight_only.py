"""Language models of 8 and 4 bits: what is stored, how it is computed with, and what it takes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file
from tests.model.tiny_language import tiny_language

from shipworthy.compress.quantize import quantize_weights
from shipworthy.compress.settings import QuantizeSettings
from shipworthy.core.errors import ModelError
from shipworthy.model.checkpoint import RuntimeInfo, artefact_digest, read_info, size_bytes
from shipworthy.model.packed import (
    PACKED,
    SCALE,
    ZERO,
    PackedEmbedding,
    PackedLinear,
    grid,
    pack_rows,
    pack_steps,
    steps_of,
    unpack_steps,
    widened,
)
from shipworthy.model.pretrained import load_language_pretrained, load_module, save_model
from shipworthy.model.runtimes import load_language_model

TEXTS = [f"The number {k} stands beside {k * 7 % 13}, and nobody asks why." for k in range(40)]


@pytest.fixture(scope="module")
def parent(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("packed")
    tiny_language(root / "start", TEXTS, hidden_size=64, intermediate_size=192)
    module, tokenizer = load_language_pretrained(root / "start", max_length=64)
    info = RuntimeInfo("torch", (), 64, "text", does="continue")
    save_model(root / "parent", module, tokenizer, info)
    return root / "parent"


def made(parent: Path, out: Path, weights: str, **more: object) -> Path:
    settings = QuantizeSettings.model_validate({"weights": weights, **more})
    quantize_weights(parent, out, settings)
    return out


@given(
    st.integers(1, 6), st.sampled_from([32, 64, 128]), st.integers(1, 3), st.integers(0, 2**32 - 1)
)
def test_four_bits_are_the_nearest_of_sixteen_steps(
    rows: int, group: int, groups: int, seed: int
) -> None:
    weights = torch.randn(rows, group * groups, generator=torch.manual_seed(seed))
    scale, zero = grid(weights, group)
    steps = steps_of(weights, scale, zero, group)
    parts = pack_steps(steps, scale, zero)
    assert parts[PACKED].shape == (rows, group * groups // 2)
    assert torch.equal(unpack_steps(parts[PACKED]), steps)
    every = zero.float()[..., None] + torch.arange(16) * scale.float()[..., None]
    spread = weights.unflatten(1, (-1, group))
    best = (spread[..., None] - every[:, :, None]).abs().amin(-1)
    found = widened(parts).unflatten(1, (-1, group))
    torch.testing.assert_close((found - spread).abs(), best, rtol=1e-4, atol=1e-6)


@given(st.integers(1, 6), st.integers(1, 70), st.integers(0, 2**32 - 1))
def test_eight_bits_are_off_by_half_a_step(rows: int, columns: int, seed: int) -> None:
    weights = torch.randn(rows, columns, generator=torch.manual_seed(seed))
    parts = pack_rows(weights)
    apart = (widened(parts) - weights).abs()
    # The scale itself has 8 significant bits: the largest step may fall short of its weight.
    bound = parts[SCALE].float()[:, None] * 0.5 + weights.abs() * 2**-8
    assert bool((apart <= bound + 1e-7).all())


@pytest.mark.parametrize("rows", [1, 5, 16, 17, 80])
@pytest.mark.parametrize("bits", [4, 8])
def test_kernels_compute_what_is_stored(bits: int, rows: int) -> None:
    generator = torch.manual_seed(1)
    weights = torch.randn(48, 128, generator=generator)
    parts = pack_rows(weights)
    if bits == 4:
        scale, zero = grid(weights, 32)
        parts = pack_steps(steps_of(weights, scale, zero, 32), scale, zero)
    expected = widened(parts)
    layer = PackedLinear(parts, None)
    values = torch.randn(rows, 128, generator=generator).bfloat16()
    found = layer(values[None])[0].float()
    exact = values.float() @ expected.T
    torch.testing.assert_close(found, exact, rtol=0.02, atol=0.02 * float(exact.abs().max()))


@pytest.mark.parametrize("weights", ["int8", "int4"])
def test_the_runtime_answers_as_the_model_of_the_rounded_weights(
    weights: str, parent: Path, tmp_path: Path
) -> None:
    out = made(parent, tmp_path / weights, weights)
    stored = load_file(out / "model.safetensors")
    plain = load_module(parent)
    state = plain.state_dict()
    for name in [n.removesuffix(PACKED) for n in stored if n.endswith(PACKED)]:
        parts = {p: stored[name + p] for p in (PACKED, SCALE, ZERO) if name + p in stored}
        state[f"{name}.weight"] = widened(parts)
    plain.load_state_dict(state)
    plain.tie_weights()  # type: ignore[operator]
    rounded = load_language_model(parent)
    rounded.module = plain.eval()
    frame = pl.DataFrame({"text": TEXTS[:12]})
    expected = rounded.token_losses(frame).values
    found = load_language_model(out).token_losses(frame).values
    assert np.abs(found - expected).max() < 0.1  # activations of 8 significant bits
    assert found.mean() == pytest.approx(expected.mean(), abs=0.005)


@pytest.mark.parametrize(("weights", "most"), [("bf16", 0.51), ("int8", 0.30), ("int4", 0.24)])
def test_files_shrink(weights: str, most: float, parent: Path, tmp_path: Path) -> None:
    out = made(parent, tmp_path / weights, weights)
    assert size_bytes(out) < most * size_bytes(parent)
    assert read_info(out).runtime == f"torch-{weights}"


def test_the_same_parent_gives_the_same_bytes(parent: Path, tmp_path: Path) -> None:
    digests = {artefact_digest(made(parent, tmp_path / n, "int4")) for n in ("one", "two")}
    assert len(digests) == 1


def test_what_is_kept_stays_in_float(parent: Path, tmp_path: Path) -> None:
    out = made(parent, tmp_path / "kept", "int4", keep_float=["embeddings", 0], group=64)
    module = load_module(out)
    kinds = {name: type(m) for name, m in module.named_modules()}
    assert kinds["model.layers.0.mlp.up_proj"] is torch.nn.Linear
    assert kinds["model.layers.1.mlp.up_proj"] is PackedLinear
    assert kinds["model.embed_tokens"] is torch.nn.Embedding
    plain = load_module(made(parent, tmp_path / "all", "int4"))
    assert isinstance(plain.get_submodule("model.embed_tokens"), PackedEmbedding)
    texts = pl.DataFrame({"text": TEXTS[:3]})
    assert np.isfinite(load_language_model(out).token_losses(texts).values).all()


def test_answers_are_written(parent: Path, tmp_path: Path) -> None:
    for weights in ("int8", "int4"):
        model = load_language_model(made(parent, tmp_path / weights, weights))
        found = model.go_on(["The number 3", "Nobody"], max_new_tokens=6)
        assert len(found) == 2 and all(isinstance(one, str) for one in found)


def test_what_cannot_be_packed_is_refused(parent: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="groups of 128"):
        made(parent, tmp_path / "group", "int4", group=128)
    int8 = made(parent, tmp_path / "int8", "int8")
    with pytest.raises(ModelError, match="fp32"):
        made(int8, tmp_path / "again", "int4")
    with pytest.raises(ModelError, match="block"):
        made(parent, tmp_path / "block", "int8", keep_float=[9])
    assert not (tmp_path / "group" / "runtime.json").exists()
