"""Matrices of lower rank: what is kept, what it costs, and that a graph and a training keep it."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tests.compress.test_shapes import CLASSES, ROWS, logits, plain_logits, recipe
from transformers import AutoTokenizer

from shipworthy.compress import make, written
from shipworthy.compress.factors import (
    TOLERANCE,
    largest_rank,
)
from shipworthy.compress.low_rank import (
    DAMPING,
    allocate,
    look,
    reduced_table,
    spectrum,
    token_counts,
)
from shipworthy.compress.material import Material
from shipworthy.compress.recipes import check_recipes, looks_at_rows, trains
from shipworthy.compress.settings import CompressSettings
from shipworthy.core.errors import ModelError
from shipworthy.core.yaml import parse_yaml
from shipworthy.model import artefact_digest, load_classifier, read_info
from shipworthy.model.checkpoint import RuntimeInfo
from shipworthy.model.pretrained import load_module
from shipworthy.train.settings import TrainSettings

# Of each block of the tiny encoder: four matrices of 32 x 32, and two of 64 x 32.
MATRICES = 2 * (4 * 32 * 32 + 2 * 64 * 32)


@pytest.fixture
def material(tmp_path: Path) -> Material:
    return Material(
        ROWS, ROWS[:48], text="text", label="label", groups=("group",), seed=1,
        training=TrainSettings(max_length=16), work=tmp_path / "work",
    )  # fmt: skip


def blocks(folder: Path) -> dict[str, torch.Tensor]:
    """Return the matrices in the blocks of a stored model."""
    stored = load_file(folder / "model.safetensors")
    return {k: v for k, v in stored.items() if v.dim() == 2 and "layer." in k}


def rank(weights: torch.Tensor) -> int:
    values = torch.linalg.svdvals(weights.double())
    return int((values > TOLERANCE * values[0]).sum())


def of_rank(rows: int, columns: int, rank: int, seed: int = 0) -> torch.Tensor:
    """Return a matrix of this rank, kept in fp32."""
    generator = torch.Generator().manual_seed(seed)
    left = torch.randn(rows, rank, generator=generator, dtype=torch.float64)
    return (left @ torch.randn(rank, columns, generator=generator, dtype=torch.float64)).float()


def skewed(width: int, seed: int = 1) -> torch.Tensor:
    """Return second moments of inputs some of whose directions are far larger than others."""
    generator = torch.Generator().manual_seed(seed)
    turned, _ = torch.linalg.qr(torch.randn(width, width, generator=generator, dtype=torch.float64))
    return turned @ torch.diag(10.0 ** -torch.linspace(0, 4, width).double()) @ turned.T


def reduced(weights: torch.Tensor, moment: torch.Tensor, rank: int) -> torch.Tensor:
    copy = weights.clone()
    spectrum(weights, moment).reduce(copy, rank)
    return copy


def error(weights: torch.Tensor, other: torch.Tensor, moment: torch.Tensor) -> float:
    """Return the mean squared difference of the outputs."""
    gone = (weights - other).double()
    return float((gone @ moment * gone).sum())


# What is kept


@pytest.mark.parametrize("shape", [(24, 40), (40, 24)])
def test_a_matrix_of_low_rank_stays_what_it_is(shape: tuple[int, int]) -> None:
    weights = of_rank(*shape, 6)
    found = reduced(weights, skewed(shape[1]), 6)
    torch.testing.assert_close(found, weights, rtol=0, atol=1e-5)
    assert not torch.allclose(reduced(weights, skewed(shape[1]), 5), weights, atol=1e-2)


def test_on_white_inputs_it_is_the_nearest_matrix_of_that_rank() -> None:
    """Eckart and Young: the error is the energy of the singular values that are left out."""
    weights = torch.randn(24, 40, generator=torch.Generator().manual_seed(2))
    white = torch.eye(40, dtype=torch.float64)
    values = torch.linalg.svdvals(weights.double())
    for r in (1, 7, 14):
        found = reduced(weights, white, r)
        least = float((values[r:] ** 2).sum())
        assert error(weights, found, white) == pytest.approx(least, rel=1e-6)
        assert rank(found) == r
    energies = spectrum(weights, white).energies
    np.testing.assert_allclose(energies, (1 + DAMPING) * values.numpy() ** 2, rtol=1e-9)


def test_on_other_inputs_it_is_nearer_than_the_plain_decomposition() -> None:
    weights = torch.randn(24, 40, generator=torch.Generator().manual_seed(2))
    moment = skewed(40)
    left, values, right = torch.linalg.svd(weights.double(), full_matrices=False)
    for r in (3, 8, 14):
        plain = (left[:, :r] * values[:r] @ right[:r]).float()
        ours = error(weights, reduced(weights, moment, r), moment)
        assert ours < 0.7 * error(weights, plain, moment)
        # The best that is possible: without damping the optimum is in closed form.
        best = torch.linalg.svdvals(weights.double() @ torch.linalg.cholesky(moment))[r:]
        assert float((best**2).sum()) <= ours * (1 + 1e-6)
        assert ours <= 1.2 * float((best**2).sum())


def test_zeros_of_other_levers_stay_zeros() -> None:
    weights = torch.randn(24, 40, generator=torch.Generator().manual_seed(2))
    weights[4:12] = 0.0
    weights[:, 30:] = 0.0
    found = spectrum(weights, skewed(40))
    assert found.shape == (16, 30)
    other = weights.clone()
    found.reduce(other, 5)
    assert torch.equal(other == 0, weights == 0)
    assert rank(other) == 5
    nothing = spectrum(torch.zeros(24, 40), skewed(40))
    assert nothing.shape == (0, 0)
    ranks = allocate(
        [nothing.energies, found.energies, np.ones(1)], [(0, 0), (16, 30), (1, 3)], 0.5
    )
    assert ranks[0] is ranks[2] is None
    assert ranks[1] == 5  # of 483 / 2 parameters, less 3, at 46 a rank


def test_rows_say_what_a_layer_reads_and_what_its_outputs_do(
    parent: Path, material: Material
) -> None:
    """Each text by itself, without padding, must give the same as batches."""
    site = "bert.encoder.layer.1.output.dense"
    module: Any = load_module(parent)
    calls: list[tuple[torch.Tensor, torch.Tensor]] = []
    module.get_submodule(site).register_forward_hook(lambda _, x, y: calls.append((x[0], y)))
    encoded = load_classifier(parent, threads=1).encode(material.calibration["text"].to_list())
    few = (material.calibration["group"] == "few").to_numpy()
    assert few.sum() == 12
    moments, squares = [], []
    for row, label in enumerate(material.calibration["label"]):
        ids = torch.from_numpy(encoded.take(np.array([row])).token_ids)[None].long()
        loss = -module(input_ids=ids).logits.log_softmax(-1)[0, CLASSES.index(label)]
        read, gave = calls.pop()
        moments.append(read[0].detach().double().T @ read[0].detach().double())
        (slope,) = torch.autograd.grad(loss, gave)
        squares.append(float(slope.double().square().mean(-1).sum()))
    for balance in ("rows", "groups"):
        other: Any = load_module(parent)
        readers = {site: [other.get_submodule(site)]}
        seen = look(other, parent, read_info(parent), readers, material, balance)
        weights = np.ones(48) if balance == "rows" else np.where(few, 1 / 12, 1 / 36)
        total = float(weights @ encoded.lengths)
        wanted = sum(w * m for w, m in zip(weights, moments, strict=True)) / total
        torch.testing.assert_close(seen.moments[site], wanted, rtol=1e-4, atol=1e-6)
        assert seen.slopes == pytest.approx([float(weights @ squares) / total], rel=1e-4)


# How much is kept


def test_ranks_are_dealt_out_so_that_the_least_is_lost() -> None:
    """Against every other way to deal them out, of three small matrices that cost the same."""
    generator = np.random.default_rng(4)
    shapes = [(8, 20), (20, 8), (8, 20)]
    budget = 0.5 * 3 * 160
    assert largest_rank(8, 20) == 5
    for _ in range(20):
        energies = [np.sort(generator.exponential(1, 8) ** 3)[::-1] for _ in shapes]

        def cost(rank: int | None) -> int:
            return 160 if rank is None else 28 * rank

        def lost(values: np.ndarray, rank: int | None) -> float:
            return 0.0 if rank is None else float(values[rank:].sum())

        ranks = allocate(energies, shapes, 0.5)
        assert budget - 28 < sum(map(cost, ranks)) <= budget
        least = min(
            sum(map(lost, energies, way))
            for way in product(range(1, 6), repeat=3)
            if sum(map(cost, way)) <= budget
        )
        assert sum(map(lost, energies, ranks)) <= least * (1 + 1e-12)


def test_more_is_left_where_more_is_needed() -> None:
    steep, flat = 10.0 ** -np.arange(16), np.ones(16) / 16
    few, many = allocate([steep, flat], [(16, 16)] * 2, 0.6)
    assert few is not None
    assert many is None or few < many
    assert allocate([steep, flat], [(16, 16)] * 2, 0.999) in ([7, None], [None, 7])


@pytest.mark.parametrize("share", [0.3, 0.5, 0.8])
def test_the_budget_is_held(parent: Path, material: Material, tmp_path: Path, share: float) -> None:
    make(recipe({"low_rank": share}), parent, tmp_path / "out", material=material)
    before, after = blocks(parent), blocks(tmp_path / "out")
    left = 0
    for name, weights in after.items():
        m, n = weights.shape
        r = rank(weights)
        if torch.equal(weights, before[name]):
            left += m * n
        else:
            assert 1 <= r <= largest_rank(m, n)
            left += r * (m + n)
    assert 0.9 * share * MATRICES < left <= share * MATRICES
    # Nothing else has moved.
    old = load_file(parent / "model.safetensors")
    for name, weights in load_file(tmp_path / "out" / "model.safetensors").items():
        assert name in after or torch.equal(weights, old[name]), name


def test_a_table_of_words_keeps_those_that_are_read(
    parent: Path, material: Material, tmp_path: Path
) -> None:
    info = read_info(parent)
    counts = token_counts(parent, info, material, 17)
    tokenizer = AutoTokenizer.from_pretrained(parent)
    told = [i for t in ROWS["text"] for i in tokenizer(t, truncation=True)["input_ids"]]
    np.testing.assert_array_equal(counts, np.bincount(told, minlength=17))
    table = load_module(parent).get_input_embeddings().weight.detach()  # type: ignore[operator]
    found = reduced_table(table, counts, 0.6)
    r = int(0.6 * 17 * 32 / 49)
    assert rank(found) == r

    def lost(other: torch.Tensor) -> float:
        return float((table - other).double().square().sum(1) @ torch.from_numpy(counts + 1.0))

    scaled = table.double() * torch.from_numpy(counts + 1.0).sqrt()[:, None]
    least = float((torch.linalg.svdvals(scaled)[r:] ** 2).sum())
    assert lost(found) == pytest.approx(least, rel=1e-5)
    assert lost(reduced_table(table, np.zeros(17), 0.6)) > 1.01 * least
    asked = {"low_rank": {"share": 0.6, "embeddings": True}}
    make(recipe(asked), parent, tmp_path / "out", material=material)
    stored = load_file(tmp_path / "out" / "model.safetensors")
    assert torch.equal(stored["bert.embeddings.word_embeddings.weight"], found)


# The lever


@pytest.mark.parametrize(
    "asked",
    [
        {"low_rank": 0.5},
        {"low_rank": {"share": 0.5, "embeddings": True, "balance": "groups"}},
        {"steps": [{"neurons": 0.5}, {"low_rank": 0.5}]},
    ],
    ids=str,
)
def test_the_folder_opens_in_plain_transformers(
    parent: Path, material: Material, tmp_path: Path, asked: Any
) -> None:
    out = tmp_path / "out"
    make(recipe(asked), parent, out, material=material)
    assert read_info(out) == read_info(parent)
    np.testing.assert_allclose(plain_logits(out), logits(out), atol=1e-5)
    assert np.abs(logits(out) - logits(parent)).max() > 1e-3
    make(recipe(asked), parent, tmp_path / "again", material=material)
    assert artefact_digest(tmp_path / "again") == artefact_digest(out)


def test_a_group_is_heard(parent: Path, material: Material, tmp_path: Path) -> None:
    for balance in ("rows", "groups"):
        asked = {"low_rank": {"share": 0.5, "balance": balance}}
        make(recipe(asked), parent, tmp_path / balance, material=material)
    assert artefact_digest(tmp_path / "rows") != artefact_digest(tmp_path / "groups")


# Recipes and bad input


@pytest.mark.parametrize(
    ("asked", "name", "line"),
    [
        ({"low_rank": 0.5}, "low-rank-50", "{low_rank: 0.5}"),
        ({"low_rank": {"share": 0.5}}, "low-rank-50", "{low_rank: 0.5}"),
        (
            {"low_rank": {"share": 0.25, "embeddings": True, "balance": "groups"}},
            "low-rank-25-embeddings-groups",
            "{low_rank: {share: 0.25, embeddings: true, balance: groups}}",
        ),
        (
            {"steps": [{"low_rank": 0.5}, {"recover": {}}, "onnx"]},
            "low-rank-50+recover+onnx",
            "{steps: [{low_rank: 0.5}, {recover: {}}, onnx]}",
        ),
    ],
    ids=str,
)
def test_recipes_have_names_and_are_written_as_they_are_read(
    asked: Any, name: str, line: str
) -> None:
    found = recipe(asked)
    assert (found.name, written(found), found.lever) == (name, line, "low_rank")
    assert recipe(parse_yaml(line).data) == found
    assert looks_at_rows(found)
    assert trains(found) == ("recover" in name)


@pytest.mark.parametrize("share", [0, 1, 1.5, True])
def test_a_share_that_is_none_is_refused(share: Any) -> None:
    with pytest.raises(ValueError, match="low_rank"):
        recipe({"low_rank": share})


def test_bad_input_is_one_line_and_leaves_nothing(
    parent: Path, material: Material, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dataclasses import replace

    from shipworthy.compress import anatomy

    out = tmp_path / "out"
    half = recipe({"low_rank": 0.5})
    with pytest.raises(ModelError, match=r"3 calibration rows are too few .*shares\.calibration"):
        make(half, parent, out, material=replace(material, calibration=ROWS[:3]))
    with pytest.raises(ModelError, match=r"no group of data\.groups"):
        grouped = recipe({"low_rank": {"share": 0.5, "balance": "groups"}})
        make(grouped, parent, out, material=replace(material, groups=()))
    # Four of 64 and two of 96 parameters a block and rank, of 8192.
    with pytest.raises(ModelError, match=r"share of 0\.05 .*set share to 0\.055 or more"):
        make(recipe({"low_rank": 0.05}), parent, out, material=material)
    with pytest.raises(ModelError, match=r"share of 0\.06 .*set share to 0\.091 or more"):
        low = recipe({"low_rank": {"share": 0.06, "embeddings": True}})
        make(low, parent, out, material=material)
    with pytest.raises(ModelError, match="looks at rows"):
        make(half, parent, out)
    make(recipe("bf16"), parent, tmp_path / "bf16")
    with pytest.raises(ModelError, match="start from the model that was trained"):
        make(half, tmp_path / "bf16", out, material=material)
    monkeypatch.setattr(anatomy, "_FEED_FORWARD", ())
    with pytest.raises(ModelError, match="block 0 of BertForSequenceClassification"):
        make(half, parent, out, material=material)
    assert not out.exists()


def test_a_language_model_is_refused_before_training(tmp_path: Path) -> None:
    asked = CompressSettings.model_validate({"recipes": [{"low_rank": 0.5}]})
    info = RuntimeInfo("torch", (), 64, "text", "continue")
    with pytest.raises(ModelError, match="for classifiers"):
        check_recipes(asked, tmp_path, info)
