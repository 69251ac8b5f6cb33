"""Thresholds tuned on calibration rows: right by brute force, modest, and applied where asked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.compress.test_shapes import ROWS, logits, material, recipe
from tests.model.conftest import CLASSES

from shipworthy.compress import expand, make, written
from shipworthy.compress.material import Material
from shipworthy.compress.recipes import steps_of
from shipworthy.compress.settings import CompressSettings
from shipworthy.compress.threshold import best_offsets
from shipworthy.core.errors import ModelError
from shipworthy.model import artefact_digest, read_info, size_bytes
from shipworthy.model.decision import read_offsets, write_offsets
from shipworthy.model.text_classifier import log_softmax
from shipworthy.train.settings import TrainSettings

__all__ = ["material"]


def drawn(
    rows: int, seed: int, *, lean: float, classes: int = 2
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Log-probabilities of a model that leans to class 0, and the true classes."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, classes, rows)
    values = generator.normal(0, 1, (rows, classes))
    values[np.arange(rows), labels] += 2
    values[:, 0] += lean
    return log_softmax(values), labels, np.ones(rows)


def right(told: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> float:
    return float(weights[told.argmax(axis=1) == labels].sum() / weights.sum())


@pytest.mark.parametrize("classes", [2, 3, 5])
def test_a_lean_is_set_upright(classes: int) -> None:
    told, labels, weights = drawn(4000, 1, lean=1.5, classes=classes)
    offsets = best_offsets(told, labels, weights)
    assert offsets[0] == 0
    assert (offsets[1:] > 0.8).all() and (offsets[1:] < 1.9).all()
    upright = right(told - 1.5 * (np.arange(classes) == 0), labels, weights)
    assert right(told + offsets, labels, weights) > upright - 0.01
    assert right(told + offsets, labels, weights) > right(told, labels, weights) + 0.03


def test_where_nothing_leans_hardly_anything_is_changed() -> None:
    changed, plain = [], []
    for seed in range(40):
        told, labels, weights = drawn(2000, seed, lean=0.0)
        changed.append(abs(best_offsets(told, labels, weights)[1]))
        # The best of all thresholds, which flatters itself.
        tries = np.linspace(-1, 1, 201)
        worth = [right(told + np.array([0, t]), labels, weights) for t in tries]
        plain.append(abs(tries[int(np.argmax(worth))]))
    assert np.mean(changed) < 0.5 * np.mean(plain)
    assert np.mean(np.array(changed) == 0) > 0.3
    assert max(changed) < 0.5


@settings(max_examples=60)
@given(st.integers(0, 10_000), st.floats(-2, 2))
def test_it_is_within_one_standard_error_of_the_best_of_all(seed: int, lean: float) -> None:
    told, labels, weights = drawn(120, seed, lean=lean)
    apart = np.sort(told[:, 0] - told[:, 1])
    tries = [0.0, *((apart[1:] + apart[:-1]) / 2), apart[0] - 1, apart[-1] + 1]
    best = max(right(told + np.array([0, t]), labels, weights) for t in tries)
    offsets = best_offsets(told, labels, weights)
    found = told + offsets
    worst = min(tries, key=lambda t: -right(told + np.array([0, t]), labels, weights))
    differ = (found.argmax(1) != (told + np.array([0, worst])).argmax(1)).sum()
    assert right(found, labels, weights) >= best - np.sqrt(differ) / len(labels) - 1e-12


def test_weights_decide_for_whom() -> None:
    generator = np.random.default_rng(2)
    few = generator.random(3000) < 0.1
    labels = generator.integers(0, 2, 3000)
    # The model leans one way for the many, the other way for the few.
    apart = generator.normal(0, 1, 3000) + np.where(labels == 1, 1.5, -1.5)
    apart += np.where(few, 1.0, -1.0)
    told = log_softmax(np.stack([-apart / 2, apart / 2], axis=1))
    alike = best_offsets(told, labels, np.ones(3000))
    for_few = best_offsets(told, labels, np.where(few, 9.0, 1.0) / 1.8)
    assert alike[1] > 0.5
    assert abs(for_few[1]) < alike[1] - 0.3


@pytest.mark.parametrize("asked", ["bf16", "int8", {"layers": [0]}], ids=str)
def test_a_decision_ships_with_any_runtime(
    parent: Path, material: Material, tmp_path: Path, asked: Any
) -> None:
    make(recipe(asked), parent, tmp_path / "before", material=material)
    tuned = recipe({"threshold": {}})
    make(tuned, tmp_path / "before", tmp_path / "after", material=material)
    told = json.loads((tmp_path / "after" / "decision.json").read_text("utf-8"))["offsets"]
    assert list(told) == list(CLASSES)
    expected = log_softmax(logits(tmp_path / "before") + np.array(list(told.values())))
    np.testing.assert_allclose(logits(tmp_path / "after"), expected, atol=1e-12)
    assert read_info(tmp_path / "after") == read_info(tmp_path / "before")
    assert size_bytes(tmp_path / "after") == size_bytes(tmp_path / "before")
    assert artefact_digest(tmp_path / "after") != artefact_digest(tmp_path / "before")
    # Tuned again there is nothing left to gain.
    make(tuned, tmp_path / "after", tmp_path / "again", material=material)
    again = read_offsets(tmp_path / "again", CLASSES)
    np.testing.assert_allclose(again, read_offsets(tmp_path / "after", CLASSES), atol=1e-9)


def test_it_follows_fewer_bits_and_nothing_follows_it(tmp_path: Path) -> None:
    asked = {"steps": [{"layers": [0]}, "int8", {"threshold": {"balance": "groups"}}]}
    found = recipe(asked)
    assert found.name == "layers-0+int8+threshold-groups"
    assert written(found) == "{steps: [{layers: [0]}, int8, {threshold: {balance: groups}}]}"
    assert [step.lever for step in steps_of(found)] == ["prune", "quantize", "threshold"]
    with pytest.raises(ValueError, match="followed by another"):
        expand(CompressSettings.model_validate({"recipes": [{"steps": ["int8", {"recover": {}}]}]}))


def test_a_damaged_decision_is_refused(parent: Path, material: Material, tmp_path: Path) -> None:
    make(recipe({"threshold": {}}), parent, tmp_path / "out", material=material)
    file = tmp_path / "out" / "decision.json"
    for content in ("{", "[]", '{"offsets": {"bad": 1}}', '{"offsets": {"bad": 1, "good": "x"}}'):
        file.write_text(content)
        with pytest.raises(ModelError, match=r"decision\.json"):
            logits(tmp_path / "out")
    write_offsets(tmp_path / "out", dict.fromkeys(CLASSES, float("nan")))
    with pytest.raises(ModelError, match="one finite offset"):
        logits(tmp_path / "out")


def test_too_few_rows(parent: Path, tmp_path: Path) -> None:
    few = Material(
        ROWS, ROWS[:3], text="text", label="label", seed=1, training=TrainSettings(),
        work=tmp_path / "work",
    )  # fmt: skip
    with pytest.raises(ModelError, match="3 calibration rows are too few"):
        make(recipe({"threshold": {}}), parent, tmp_path / "out", material=few)
    assert not (tmp_path / "out").exists()
