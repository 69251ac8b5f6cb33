"""All runtimes answer alike, whatever stands beside a text and however many threads there are."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl
import pytest

from shipworthy.core.errors import DataError, InputError, ModelError
from shipworthy.model import (
    Classifier,
    Encodes,
    OnnxClassifier,
    TorchClassifier,
    artefact_files,
    export_onnx,
    load_classifier,
    require,
    size_bytes,
)


@pytest.fixture(scope="session")
def onnx(parent: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("onnx") / "fp32"
    export_onnx(parent, folder)
    return folder


def frame(texts: list[str]) -> pl.DataFrame:
    return pl.DataFrame({"text": texts})


def test_the_folder_chooses_the_runtime(parent: Path, onnx: Path) -> None:
    for folder, kind in ((parent, TorchClassifier), (onnx, OnnxClassifier)):
        model = load_classifier(folder, threads=1)
        assert type(model) is kind
        assert require(model, Classifier, purpose="quality") is model
        assert require(model, Encodes, purpose="speed") is model


def test_probabilities_are_whole(parent: Path, texts: list[str], classes: tuple[str, ...]) -> None:
    model = load_classifier(parent, threads=2)
    answers = model.log_probabilities(frame(texts))
    assert model.classes == classes
    assert answers.shape == (len(texts), 3)
    assert answers.dtype == np.float64
    np.testing.assert_allclose(np.exp(answers).sum(axis=1), 1.0, atol=1e-12)
    assert np.ptp(answers, axis=0).max() > 0.05
    assert model.log_probabilities(frame([])).shape == (0, 3)


def test_batches_change_no_answer(parent: Path, onnx: Path, texts: list[str]) -> None:
    for folder in (parent, onnx):
        together = load_classifier(folder, threads=2).log_probabilities(frame(texts * 9))
        alone = load_classifier(folder, threads=1, batch="one").log_probabilities(frame(texts))
        np.testing.assert_allclose(together, np.tile(alone, (9, 1)), atol=1e-5)


def test_onnx_gives_the_logits_of_torch(parent: Path, onnx: Path, texts: list[str]) -> None:
    ours = load_classifier(parent, threads=1)
    theirs = load_classifier(onnx, threads=1)
    encoded = ours.encode(texts)
    from shipworthy.data import pad

    for rows in ([0], [1], list(range(len(texts))), [2, 1]):
        batch = pad(encoded, rows, pad_token_id=0)
        difference = np.abs(ours.logits(batch) - theirs.logits(batch)).max()
        assert difference < 1e-4


def test_the_graph_is_the_same_bytes_without_traces(
    parent: Path, copy: Path, onnx: Path, tmp_path: Path
) -> None:
    (copy / "decision.json").write_text('{"threshold": 0.4}')
    export_onnx(copy, tmp_path / "again")
    content = (onnx / "model.onnx").read_bytes()
    assert (tmp_path / "again" / "model.onnx").read_bytes() == content
    assert (tmp_path / "again" / "decision.json").read_text() == '{"threshold": 0.4}'
    for trace in (b"site-packages", b"stack_trace", str(parent).encode()):
        assert trace not in content
    assert size_bytes(onnx) == len(content)
    assert {"model.onnx", "config.json", "tokenizer.json"} <= set(artefact_files(onnx))


def test_threads_change_no_answer(parent: Path, onnx: Path, texts: list[str]) -> None:
    for folder in (parent, onnx):
        one, two = (load_classifier(folder, threads=n, batch="one") for n in (1, 2))
        assert (one.threads, two.threads) == (1, 2)
        np.testing.assert_allclose(
            one.log_probabilities(frame(texts)), two.log_probabilities(frame(texts)), atol=1e-6
        )


def test_torch_threads_are_given_back(parent: Path, texts: list[str]) -> None:
    import torch

    before = torch.get_num_threads()
    load_classifier(parent, threads=before + 1).log_probabilities(frame(texts))
    assert torch.get_num_threads() == before


@pytest.mark.parametrize("runtime", ["torch", "onnx"])
@pytest.mark.parametrize("batch", ["bucket", "one"])
def test_each_text_is_counted_once(
    parent: Path, onnx: Path, texts: list[str], runtime: str, batch: Literal["bucket", "one"]
) -> None:
    seen: list[float] = []

    def step(done: float = 1) -> None:
        seen.append(done)

    model = load_classifier(parent if runtime == "torch" else onnx, threads=2, batch=batch)
    model.log_probabilities(frame(texts * 3), step)
    assert sum(seen) == len(texts) * 3
    assert (len(seen) == 1) == (batch == "bucket")


def test_bad_rows_are_named(parent: Path) -> None:
    model = load_classifier(parent, threads=1)
    with pytest.raises(DataError, match="the column 'text', which is not there; did you mean 'te"):
        model.log_probabilities(pl.DataFrame({"texts": ["a"]}))
    with pytest.raises(DataError, match="row 2: the text is None"):
        model.log_probabilities(pl.DataFrame({"text": ["a", None]}))
    with pytest.raises(InputError, match="threads is 0"):
        load_classifier(parent, threads=0)


def test_damaged_graphs_are_refused(onnx: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(onnx, tmp_path / "damaged"))
    (folder / "model.onnx").write_bytes(b"not a graph")
    with pytest.raises(ModelError, match=r"model\.onnx can't be loaded"):
        load_classifier(folder, threads=1)
    (folder / "model.onnx").unlink()
    with pytest.raises(ModelError, match=r"there is no model\.onnx"):
        load_classifier(folder, threads=1)


def test_only_torch_is_exported(onnx: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="only torch is exported"):
        export_onnx(onnx, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_graph_runs_without_torch(onnx: Path) -> None:
    code = (
        "import sys; from shipworthy.model import load_classifier; import polars as pl; "
        f"m = load_classifier({str(onnx)!r}, threads=1); "
        "m.log_probabilities(pl.DataFrame({'text': ['good', 'bad film']})); "
        "print(sorted({'torch', 'transformers', 'onnx'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_model_that_cannot_be_traced_is_told_in_one_line(parent: Path, tmp_path: Path) -> None:
    from transformers import AutoModelForSequenceClassification, FNetConfig

    small = FNetConfig(vocab_size=50, hidden_size=16, num_hidden_layers=1, intermediate_size=32)
    untraced = AutoModelForSequenceClassification.from_config(small).eval()
    with pytest.raises(ModelError, match="kind fnet as a graph: .+; choose recipes") as raised:
        export_onnx(parent, tmp_path / "out", prepare=lambda module: untraced)
    assert "\n" not in str(raised.value)
    assert not [file for file in tmp_path.rglob("*") if file.is_file()]
