"""The key `train:` as the project file writes it, and what is refused with its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from shipworthy.core.errors import SettingsError
from shipworthy.core.yaml import load_settings, read_yaml
from shipworthy.train.settings import TrainSettings

DESIGN = """\
epochs: 1
schedule: {name: cosine, warmup_ratio: 0.06}
regularization:
  {weight_decay: 0.01, l1: 0.0, dropout: 0.1, label_smoothing: 0.05, early_stopping: 2}
batch_size: {global: 64, per_device: auto}
parallel: auto
"""


def read(tmp_path: Path, content: str) -> TrainSettings:
    file = tmp_path / "train.yaml"
    file.write_text(content)
    return load_settings(TrainSettings, read_yaml(file))


def test_defaults_are_those_of_the_design(tmp_path: Path) -> None:
    assert read(tmp_path, DESIGN) == TrainSettings()
    assert read(tmp_path, "parallel: {data: 1, shard: 1}\n").parallel != "auto"


def test_written_back_as_read(tmp_path: Path) -> None:
    settings = read(tmp_path, "batch_size: {global: 32, per_device: 8}\nrows: 100\n")
    written = settings.model_dump(mode="json")
    assert written["batch_size"] | {"global": 32, "per_device": 8} == written["batch_size"]
    assert TrainSettings.model_validate(written) == settings


@pytest.mark.parametrize(
    ("content", "line", "said"),
    [
        ("epochs: 0\n", 1, "epochs"),
        ("epochs: 1\nlearning_rat: 0.1\n", 2, "did you mean 'learning_rate'"),
        ("schedule: {name: cosin}\n", 1, "did you mean 'cosine'"),
        ("schedule: {warmup_ratio: 1}\n", 1, "less than 1"),
        ("batch_size:\n  global: 0\n", 2, "greater than or equal to 1"),
        ("batch_size:\n  globel: 8\n", 2, "did you mean 'global'"),
        ("batch_size: {global: 4, per_device: 8}\n", 1, "per_device 8 is more than the 4 rows"),
        ("parallel: {data: 0}\n", 1, "greater than or equal to 1"),
        ("race: {recipes: {}}\n", 1, "at least 1"),
        ("race: {recipes: {a: {}}, seeds: 4}\n", 1, "greater than or equal to 5"),
        ("regularization: {early_stopping: 0}\n", 1, "greater than or equal to 1"),
        ("regularization: {dropout: 1.0}\n", 1, "less than 1"),
        ("precision: fp16\n", 1, "fp16"),
        ("max_grad_norm: .inf\n", 1, "finite"),
        ("rows: 1\n", 1, "greater than or equal to 2"),
    ],
)
def test_refused_with_line_and_reason(tmp_path: Path, content: str, line: int, said: str) -> None:
    with pytest.raises(SettingsError, match=rf"train\.yaml:{line}, .*{said}"):
        read(tmp_path, content)
