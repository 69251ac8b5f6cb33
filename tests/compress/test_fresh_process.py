"""Every lever's folder opens where shipworthy is not, and gives what was measured here."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from tests.compress.small_vocabularies import CLASSES, KINDS, SENTENCES, SIZES, classifier, material

from shipworthy.compress import CompressSettings, expand, make
from shipworthy.model import load_classifier, read_info
from shipworthy.model.decision import read_offsets

KIND = KINDS[0]
HALF, DEEP = {"share": 0.5}, {"epochs": 1}
RECIPES: dict[str, Any] = {
    "bf16": "bf16",
    "fp16": "fp16",
    "graph": {"steps": [{"heads": HALF}, {"low_rank": {"share": 0.7}}, "onnx"]},
    "int8": "int8",
    "static": {"int8": {"ranges": "static"}},
    "weights": {"int8": {"activations": "float"}},
    "int4": "int4",
    "zeros": {"prune": 0.3},
    "neurons": {"neurons": HALF},
    "heads": {"heads": HALF},
    "rank": {"low_rank": {"share": 0.7}},
    "layers": {"layers": [1]},
    "vocabulary": {"vocabulary": {"words": SIZES[KIND]}},
    "student": {"distill": {"layers": 1, **DEEP}},
    "recovered": {"steps": [{"neurons": HALF}, {"recover": DEEP}]},
    "aware": {"quantization_aware": DEEP},
    "threshold": {"threshold": {}},
}
TEXTS = list(dict.fromkeys(SENTENCES))[:8]
TOLERANCE = {"torch-bf16": 0.05, "torch": 1e-4, "torch-fp16": 1e-4}
"""Of the logarithm of a probability. bf16 adds up in the order that its kernel likes, and keeps 8
bits; a graph gets the same inputs in the same runtime."""


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("fresh")
    parent = classifier(KIND, place / "parent")
    for name, asked in RECIPES.items():
        (recipe,) = expand(CompressSettings.model_validate({"recipes": [asked]}))
        rows = material(place / "work" / name, SENTENCES * 6)
        if name == "threshold":
            # Of one class alone, so that the other is worth an offset.
            one = rows.calibration.with_columns(label=pl.lit(CLASSES[0]))
            rows = replace(rows, calibration=one)
        make(recipe, parent, place / "made" / name / "model", material=rows)
    return place / "made"


@pytest.fixture(scope="module")
def read(folders: Path) -> dict[str, np.ndarray]:
    """What one process says of all of them; it cannot import shipworthy."""
    asked = folders.parent / "texts.json"
    asked.write_text(json.dumps(TEXTS))
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    script = Path(__file__).with_name("fresh_reader.py")
    done = subprocess.run(
        [sys.executable, str(script), str(folders), str(asked)], capture_output=True, text=True,
        env={**environment, "OMP_NUM_THREADS": "1"}, cwd=folders, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    return {name: np.array(told) for name, told in json.loads(done.stdout).items()}


@pytest.mark.parametrize("name", list(RECIPES))
def test_a_folder_opens_in_a_fresh_process_and_answers_the_same(
    folders: Path, read: dict[str, np.ndarray], name: str
) -> None:
    folder = folders / name / "model"
    here = load_classifier(folder, threads=1, batch="one")
    told = here.log_probabilities(pl.DataFrame({"text": TEXTS}))
    assert np.ptp(told, axis=0).max() > 1e-3  # texts are told apart, or this would prove little
    largest = TOLERANCE.get(read_info(folder).runtime, 1e-5)
    assert np.abs(read[name] - told).max() < largest
    tuned = bool(np.any(read_offsets(folder, here.classes)))
    assert tuned == (name == "threshold")
