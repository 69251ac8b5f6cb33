"""One training of a race, in a process of its own."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

from shipworthy.core.launch import answer


def measured(trial: dict[str, Any], given: dict[str, Any]) -> list[int]:
    """Train a recipe with a seed and return for each validation row whether it was right.

    given: model_folder; rows, calibration and validation (Parquet files); text, label, classes,
    unit; cache, a folder of tokenised texts that trainings share.
    """
    import polars as pl

    from shipworthy.model.torch_runtime import TorchClassifier
    from shipworthy.train.loop import fit
    from shipworthy.train.selection import class_numbers
    from shipworthy.train.settings import ParallelSettings, TrainSettings

    # Trainings stand side by side, each in one process, also where torchrun started the project.
    for name in ("RANK", "WORLD_SIZE"):
        os.environ.pop(name, None)
    settings = TrainSettings.model_validate({**trial["settings"], "parallel": ParallelSettings()})
    classes = tuple(given["classes"])
    validation = pl.read_parquet(given["validation"])
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        fit(
            Path(given["model_folder"]),
            pl.read_parquet(given["rows"]),
            pl.read_parquet(given["calibration"]),
            text=given["text"],
            label=given["label"],
            classes=classes,
            settings=settings,
            seed=trial["seed"],
            out=root / "model",
            work=root / "work",
            unit=given["unit"],
            cache=Path(given["cache"]),
            tokens=trial["tokens"],
        )
        answers = TorchClassifier(root / "model").log_probabilities(validation).argmax(1)
    labels = class_numbers(validation, label=given["label"], classes=classes, split="validation")
    return [int(hit) for hit in answers == labels]


if __name__ == "__main__":
    answer({"measured": measured})
