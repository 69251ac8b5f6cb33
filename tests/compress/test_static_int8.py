"""int8 with ranges fixed on calibration rows, and fp16: near the parent, the same in any batch."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.compress.test_shapes import ROWS, SENTENCES, logits, other, plain_logits, recipe
from transformers import AutoModelForSequenceClassification

from shipworthy.compress import CompressSettings, make, written
from shipworthy.compress.material import Material
from shipworthy.compress.recipes import check_recipes, looks_at_rows, nearer
from shipworthy.compress.sparing import keeping
from shipworthy.compress.static_ranges import calibration_rows
from shipworthy.core.digest import digest_file
from shipworthy.core.errors import ModelError
from shipworthy.core.yaml import parse_yaml
from shipworthy.data import pad
from shipworthy.model import artefact_digest, load_classifier, read_info, size_bytes
from shipworthy.model.checkpoint import RuntimeInfo
from shipworthy.model.text_classifier import log_softmax
from shipworthy.train.settings import TrainSettings

STATIC: dict[str, Any] = {"int8": {"ranges": "static"}}


def material_of(rows: pl.DataFrame, work: Path, groups: tuple[str, ...] = ("group",)) -> Material:
    return Material(
        rows, rows, text="text", label="label", groups=groups, seed=1,
        training=TrainSettings(max_length=16), work=work,
    )  # fmt: skip


@pytest.fixture(scope="module")
def static(parent: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("static")
    make(recipe(STATIC), parent, place / "out", material=material_of(ROWS, place / "work"))
    return place / "out"


@pytest.fixture(scope="module")
def dynamic(parent: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("dynamic") / "out"
    make(recipe("int8"), parent, out)
    return out


def largest_change(folder: Path) -> float:
    """How far the graph's log-probabilities move in one padded batch of all texts."""
    model = load_classifier(folder, threads=1)
    encoded = model.encode(SENTENCES)
    together = log_softmax(model.logits(pad(encoded, range(len(SENTENCES)), pad_token_id=0)))
    alone = [
        log_softmax(model.logits(pad(encoded, [k], pad_token_id=0))) for k in range(len(SENTENCES))
    ]
    return float(np.abs(together - np.concatenate(alone)).max())


def test_a_static_graph_answers_nearly_as_its_parent(parent: Path, static: Path) -> None:
    assert read_info(static) == replace(read_info(parent), runtime="onnx-int8-static")
    difference = np.abs(logits(static) - logits(parent))
    assert 0 < difference.mean() < 0.3 and difference.max() < 1.5


def test_its_answers_do_not_depend_on_the_batch(static: Path, dynamic: Path) -> None:
    # A sum in another order can still move a value over the edge of a step.
    assert largest_change(static) < 0.05 * largest_change(dynamic)
    together = load_classifier(static, threads=1)
    alone = load_classifier(static, threads=1, batch="one")
    assert (together.batch, alone.batch) == ("bucket", "one")
    frame = pl.DataFrame({"text": SENTENCES})
    np.testing.assert_allclose(
        together.log_probabilities(frame), alone.log_probabilities(frame), atol=1e-3
    )


def ran(folder: Path, place: Path) -> Counter[str]:
    """Kinds of nodes that ONNX Runtime runs, after all that it puts together."""
    import onnx
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(place / "optimized.onnx")
    options.log_severity_level = 4
    onnxruntime.InferenceSession(folder / "model.onnx", options, providers=["CPUExecutionProvider"])
    return Counter(node.op_type for node in onnx.load(place / "optimized.onnx").graph.node)


def test_matrices_multiply_in_bytes(static: Path, parent: Path, tmp_path: Path) -> None:
    import onnx

    kinds = ran(static, tmp_path)
    assert kinds["MatMulIntegerToFloat"] + kinds["QGemm"] == 2 * 6 + 2
    # What is left multiplies activations: scores and values of two blocks.
    assert kinds["MatMul"] + kinds["FusedMatMul"] == 2 * 2
    # Only rows of the three embedding tables are widened.
    assert kinds["DequantizeLinear"] == 3
    graph = onnx.load(static / "model.onnx").graph
    large = [t for t in graph.initializer if np.prod(t.dims) >= 512]
    assert {t.data_type for t in large} <= {onnx.TensorProto.INT8, onnx.TensorProto.UINT8}
    assert size_bytes(static) < 0.7 * size_bytes(parent)


def test_parts_can_stay_in_float(parent: Path, static: Path, tmp_path: Path) -> None:
    kept = keeping(recipe(STATIC), ["embeddings", 1])
    assert kept.name == "int8-static-keep-embeddings-1"
    make(kept, parent, tmp_path / "out", material=material_of(ROWS, tmp_path))
    kinds = ran(tmp_path / "out", tmp_path)
    assert kinds["MatMulIntegerToFloat"] + kinds["QGemm"] == 6 + 2
    assert kinds["DequantizeLinear"] == 0
    assert size_bytes(static) < size_bytes(tmp_path / "out") < size_bytes(parent)
    errors = [np.abs(logits(f) - logits(parent)).mean() for f in (tmp_path / "out", static)]
    assert errors[0] < errors[1]


@pytest.mark.slow
def test_one_scale_for_a_matrix_is_another_graph(
    parent: Path, static: Path, dynamic: Path, tmp_path: Path
) -> None:
    import onnx

    def scales(folder: Path) -> int:
        """Scales of more than one number."""
        initializers = onnx.load(folder / "model.onnx").graph.initializer
        return sum(t.name.endswith("_scale") and np.prod(t.dims) > 1 for t in initializers)

    whole = {"int8": {"ranges": "static", "channels": "tensor"}}
    make(recipe(whole), parent, tmp_path / "static", material=material_of(ROWS, tmp_path))
    make(recipe({"int8": {"channels": "tensor"}}), parent, tmp_path / "dynamic")
    assert scales(static) == scales(dynamic) == 2 * 6 + 2
    assert scales(tmp_path / "static") == scales(tmp_path / "dynamic") == 0
    assert read_info(tmp_path / "dynamic").runtime == "onnx-int8"


def test_groups_are_drawn_alike(tmp_path: Path) -> None:
    counts = Counter(ROWS["group"].to_list())
    assert counts == {"few": 24, "many": 72}
    drawn = ROWS[calibration_rows(material_of(ROWS, tmp_path), "groups")]
    assert Counter(drawn["group"].to_list()) == {"few": 24, "many": 24}
    drawn = ROWS[calibration_rows(material_of(ROWS, tmp_path), "groups", most=40)]
    assert Counter(drawn["group"].to_list()) == {"few": 20, "many": 20}
    assert len(calibration_rows(material_of(ROWS, tmp_path), "rows", most=40)) == 40
    with pytest.raises(ModelError, match=r"no group of data\.groups"):
        calibration_rows(material_of(ROWS, tmp_path, ()), "groups")


def test_a_group_of_hardly_any_rows_has_no_say(tmp_path: Path) -> None:
    rows = ROWS.with_columns(
        pl.when(pl.int_range(96) < 3).then(pl.lit("rare")).otherwise("group").alias("group")
    )
    drawn = rows[calibration_rows(material_of(rows, tmp_path), "groups")]
    assert Counter(drawn["group"].to_list()) == {"few": 23, "many": 23}


@pytest.mark.slow
def test_balanced_ranges_are_another_graph(parent: Path, static: Path, tmp_path: Path) -> None:
    # Texts of the large group are longer, so that a draw of fewer of them has other ranges.
    rows = ROWS.with_columns(
        pl.when(pl.col("group") == "many").then(pl.col("text") + " very bad").otherwise("text")
        .alias("text")
    )  # fmt: skip
    for name, asked in {"rows": {}, "groups": {"balance": "groups"}}.items():
        long = {"int8": {"ranges": "static", **asked}}
        make(recipe(long), parent, tmp_path / name, material=material_of(rows, tmp_path))
    assert artefact_digest(tmp_path / "rows") != artefact_digest(static)
    np.testing.assert_allclose(logits(tmp_path / "groups"), logits(parent), atol=1.5)


def test_three_rows_are_too_few(parent: Path, tmp_path: Path) -> None:
    few = material_of(ROWS[:3], tmp_path)
    with pytest.raises(ModelError, match="3 calibration rows are too few for fixed ranges"):
        make(recipe(STATIC), parent, tmp_path / "out", material=few)
    with pytest.raises(ModelError, match="int8-static looks at rows"):
        make(recipe(STATIC), parent, tmp_path / "out")
    assert not (tmp_path / "out" / "runtime.json").exists()


MAKE = """
import sys
from pathlib import Path
from tests.compress.test_shapes import ROWS, recipe
from tests.compress.test_static_int8 import STATIC, material_of
from shipworthy.compress import make
out = Path(sys.argv[2])
make(recipe(STATIC), Path(sys.argv[1]), out, material=material_of(ROWS, out.parent))
"""


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["distilbert", "roberta"])
def test_other_architectures(kind: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    other(kind, tmp_path / "start", tmp_path / "parent")
    make(recipe(STATIC), tmp_path / "parent", out, material=material_of(ROWS, tmp_path))
    kinds = ran(out, tmp_path)
    assert kinds["MatMulIntegerToFloat"] + kinds["QGemm"] == 2 * 6 + 2
    assert 0 < np.abs(logits(out) - logits(tmp_path / "parent")).mean() < 0.3
    assert largest_change(out) < 1e-3


@pytest.mark.slow
def test_another_process_writes_the_same_bytes(parent: Path, static: Path, tmp_path: Path) -> None:
    """Order of sets and names that are made up must not get into the graph."""
    import os

    environment = {**os.environ, "PYTHONHASHSEED": "7"}
    root = Path(__file__).parents[2]
    told = [sys.executable, "-c", MAKE, str(parent), str(tmp_path / "out")]
    subprocess.run(told, check=True, env=environment, cwd=root, timeout=300)
    again = digest_file(tmp_path / "out" / "model.onnx")
    assert again == digest_file(static / "model.onnx")


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"ranges": "static"}, "int8-static"),
        ({"channels": "tensor"}, "int8-tensor"),
        (
            {"ranges": "static", "channels": "tensor", "balance": "groups", "keep_float": [0]},
            "int8-static-tensor-groups-keep-0",
        ),
    ],
)
def test_the_long_form_is_written_as_it_is_read(options: dict[str, Any], name: str) -> None:
    found = recipe({"int8": options})
    assert found.name == name
    assert found.settings == {"weights": "int8", **options}
    assert recipe(parse_yaml(written(found)).data) == found
    assert looks_at_rows(found) == ("ranges" in options)


def test_defaults_make_no_other_candidate() -> None:
    assert recipe({"int8": {"ranges": "dynamic", "channels": "channel"}}) == recipe("int8")
    assert recipe("int8").settings == {"weights": "int8"}
    with pytest.raises(ValueError, match="'int8' stands there twice"):
        CompressSettings.model_validate({"recipes": ["int8", {"int8": {"balance": "rows"}}]})
    with pytest.raises(ValueError, match="balance: groups is for ranges: static"):
        recipe({"int8": {"balance": "groups"}})


def test_a_scale_for_each_channel_is_nearer() -> None:
    other = nearer(recipe({"int8": {"ranges": "static", "channels": "tensor"}}))
    assert other == recipe(STATIC)
    assert nearer(recipe(STATIC)) is None


@pytest.mark.parametrize("asked", [STATIC, {"int8": {"channels": "tensor"}}, "fp16"], ids=str)
def test_a_language_model_is_refused_before_training(tmp_path: Path, asked: Any) -> None:
    settings = CompressSettings.model_validate({"recipes": [asked]})
    with pytest.raises(ModelError, match="for classifiers"):
        check_recipes(settings, tmp_path, RuntimeInfo("torch", (), 64, "text", "continue"))
    check_recipes(settings, tmp_path, None)


def test_fp16_halves_the_file_and_opens_in_plain_transformers(parent: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    make(recipe("fp16"), parent, out)
    assert read_info(out).runtime == "torch-fp16"
    before, after = (load_file(f / "model.safetensors") for f in (parent, out))
    assert {w.dtype for w in after.values()} == {torch.float16}
    for name, weights in before.items():
        assert torch.equal(after[name], weights.half()), name
    assert size_bytes(out) < 0.6 * size_bytes(parent)
    plain = AutoModelForSequenceClassification.from_pretrained(out)
    assert plain.dtype == torch.float16
    # Computed in fp32, whatever the processor, so nearer to the parent than bf16 is.
    make(recipe("bf16"), parent, tmp_path / "bf16")
    errors = [np.abs(logits(f) - logits(parent)).max() for f in (out, tmp_path / "bf16")]
    assert 0 < errors[0] < 0.5 * errors[1]
    np.testing.assert_allclose(logits(out), plain_logits(out), atol=0.05)
    make(recipe("fp16"), parent, tmp_path / "again")
    assert artefact_digest(tmp_path / "again") == artefact_digest(out)


def test_weights_beyond_fp16_are_named(copy: Path, tmp_path: Path) -> None:
    weights = load_file(copy / "model.safetensors")
    weights["classifier.weight"][0, 0] = 1e5
    save_file(weights, copy / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"classifier\.weight are beyond what fp16 can hold"):
        make(recipe("fp16"), copy, tmp_path / "out")
    make(recipe("bf16"), copy, tmp_path / "bf16")
    assert not (tmp_path / "out").exists()
