"""A whole project on a tiny model: the same stages as on a real one, in seconds."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import polars as pl
import torch
from tests.model.conftest import tiny_encoder

from shipworthy.release.pipeline import Finished, run_project
from shipworthy.release.project import load_project

PROJECT = """\
name: toy
task: text-classification
model: encoder
data:
  source: rows.csv
  unit: author
  groups: [shop]
  near_duplicates: off
  shares: {test: 0.4, validation: 0.2, calibration: 0.1}
train:
  epochs: 4
  learning_rate: 3e-3
  max_length: 16
  regularization: {dropout: 0.0}
  precision: fp32
compress: {recipes: [bf16]}
speed: {form: short, requests: 72, batches: 1, threads: 1}
policy:
  # Too few rows a shop for a limit on shops, and one machine's time is nobody's promise.
  selftest: {skip: [biased, slow]}
  limits:
    - {measure: accuracy, at_least: 0.6, tier: critical, owner: ml-lead}
    - {measure: accuracy, relative_to: parent, at_least: -0.05, owner: ml-lead}
    - {measure: size_mb, at_most: 1, owner: platform}
"""


def write_rows(path: Path, rows: int = 600) -> None:
    """Texts of which one word says the class, nine times in ten."""
    generator = np.random.default_rng(7)
    labels = generator.integers(0, 2, rows)
    said = np.where(generator.random(rows) < 0.9, labels, 1 - labels)
    fill = ["a", "film", "is", "so", "the", "this", "very"]
    texts = [
        " ".join([*generator.choice(fill, 4), ("bad", "good")[s], *generator.choice(fill, 2)])
        for s in said
    ]
    pl.DataFrame(
        {
            "text": texts,
            "label": np.where(labels == 1, "yes", "no"),
            "author": generator.integers(0, 300, rows),
            "shop": generator.choice(["north", "south"], rows),
        }
    ).write_csv(path)


def make_project(place: Path, text: str = PROJECT) -> Path:
    """Write model, rows and project file into a folder."""
    tiny_encoder(place / "encoder")
    write_rows(place / "rows.csv")
    (place / "shipworthy.yaml").write_text(text)
    return place


def run(folder: Path, text: str = PROJECT, **more: object) -> Finished:
    """Run a project in this process, on one thread: others get the same bytes from it."""
    (folder / "shipworthy.yaml").write_text(text)
    project = load_project(folder / "shipworthy.yaml")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return run_project(project, root=folder, text=text, **more)  # type: ignore[arg-type]
    finally:
        torch.set_num_threads(threads)


def copied(finished: Path, target: Path) -> Path:
    """Copy a project with its cache and runs; the stages are whole there as well."""
    return Path(shutil.copytree(finished, target))


def ledger_lines(folder: Path) -> list[str]:
    path = folder / ".shipworthy" / "ledger.jsonl"
    return path.read_text().splitlines() if path.exists() else []
