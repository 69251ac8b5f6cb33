"""Planted models, and whether timing them in fresh processes tells what was planted.

The processes import this file for its loaders, hence it imports nothing that a test alone needs.
"""

import os
import signal
import time
from pathlib import Path

import numpy as np

from shipworthy.core.records import ALL_ROWS, Limit, Outcome
from shipworthy.data.batches import Encoded

HERE = Path(__file__).parent
REQUEST_SECONDS = 0.0008
# So few seconds of batches that the first one is the last: only its rows may count.
SMALL = {
    "form": "short", "requests": 72, "batches": 3, "batch_size": 4, "batch_seconds": 1e-9,
    "threads": 1,
}  # fmt: skip


class Sleeper:
    """Takes a fixed time a row, and one thousandth of it a letter."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def encode(self, texts):
        lengths = [len(text) for text in texts]
        return Encoded(np.zeros(sum(lengths), np.int32), np.cumsum([0, *lengths], dtype=np.int64))

    def score(self, encoded):
        time.sleep(self.seconds * (len(encoded) + len(encoded.token_ids) / 1000))
        return np.log(np.full((len(encoded), 2), 0.5))


def sleeper(folder, *, threads):
    """A loader: the folder says how much slower than usual its model is."""
    return Sleeper(REQUEST_SECONDS * float((folder / "slowness").read_text()))


def doomed(folder, *, threads):
    """A loader of a model whose process is killed while it loads, if the folder says so."""
    if (folder / "doom").exists():
        os.kill(os.getpid(), signal.SIGKILL)
    return sleeper(folder, threads=threads)


def speechless(folder, *, threads):
    """A loader of something that is no model."""
    return object()


def planted(folder: Path, **slowness: float) -> dict[str, Path]:
    """Folders of models that are slower than usual by these factors."""
    folders = {}
    for name, factor in slowness.items():
        folders[name] = folder / name
        folders[name].mkdir()
        (folders[name] / "slowness").write_text(str(factor))
    return folders


def decided(estimate, bound: float, side: str = "at_most", relative_to: str = "none"):
    from shipworthy.measure.decide import Evidence, decide_candidate

    limit = Limit("latency_p50_ms", side, bound, relative_to=relative_to)
    evidence = Evidence(limit, 0, (ALL_ROWS,), estimate, bound, "ms")
    return decide_candidate("slow", [evidence]).decisions[0]


def test_a_model_that_is_half_as_slow_again_is_found(tmp_path, monkeypatch, capfd):
    from shipworthy.measure.settings import SpeedSettings
    from shipworthy.measure.speed import measure_speed, speed_estimates
    from shipworthy.measure.speed_records import SpeedRecords

    monkeypatch.setenv("PYTHONPATH", str(HERE))
    folders = planted(tmp_path, parent=1.0, slow=1.5)
    settings = SpeedSettings(**SMALL)
    texts = ["a word", "a few more words than that", "x" * 100]
    records = measure_speed(
        folders, texts, settings, seed=3, parent="parent", loader="test_speed_planted:sleeper"
    )

    slow = speed_estimates(records, "slow", parent="parent")
    # A sleep lasts at least as long as it was asked to: nothing of this comes out by chance.
    usual = REQUEST_SECONDS * 1000
    absolute = slow["latency_p50_ms", "none"]
    assert absolute.value[0] >= 1.5 * usual
    assert decided(absolute, 1.2 * usual).decision is Outcome.FAIL
    assert decided(absolute, 1e4).decision is Outcome.PASS
    change = decided(slow["latency_p50_ms", "parent"], 1.1, relative_to="parent")
    assert (change.decision, change.reason) == (Outcome.CANNOT_TELL, "too_few_processes")
    assert slow["latency_p95_ids_ms", "none"].value <= slow["latency_p95_ms", "none"].value
    assert slow["throughput_rows_per_s", "none"].value < 1000 / (1.5 * usual)
    assert "timing: 920 requests" in capfd.readouterr().err

    frame = records.frame
    assert frame["round"].n_unique() == 5 and records.candidates == ("parent", "slow")
    assert frame.height == 5 * 2 * 8
    assert set(frame["requests"]) == {72} and frame["dropped"].min() >= 20
    assert 5 < frame.filter(measure="peak_memory_mb")["value"].min() < 1000
    # Each round has its own order: with five fair coins one order alone is unlucky for this seed.
    first = frame.filter((frame["position"] == 0) & (frame["measure"] == "load_seconds"))
    assert set(first["candidate"]) == {"parent", "slow"}

    records.save(tmp_path / "speed.parquet")
    assert SpeedRecords.load(tmp_path / "speed.parquet").frame.equals(frame)


def onnx_folder(folder: Path) -> Path:
    """A candidate of the runtime `onnx`: the mean of two numbers a word is the answer."""
    import json

    from onnx import TensorProto, helper, numpy_helper, save
    from tokenizers import Tokenizer, models, pre_tokenizers

    from shipworthy.model.checkpoint import RuntimeInfo, write_info

    words = {"[PAD]": 0, "[UNK]": 1, "good": 2, "bad": 3}
    table = np.array([[0, 0], [0, 0], [-1, 1], [1, -1]], dtype=np.float32)
    ids, mask = (
        helper.make_tensor_value_info(name, TensorProto.INT64, ["b", "t"])
        for name in ("input_ids", "attention_mask")
    )
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["b", 2])
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["each"]),
        helper.make_node("Cast", ["attention_mask"], ["seen"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["seen", "last"], ["weight"]),
        helper.make_node("Mul", ["each", "weight"], ["weighted"]),
        helper.make_node("ReduceSum", ["weighted", "middle"], ["logits"], keepdims=0),
    ]
    constants = [
        numpy_helper.from_array(table, "table"),
        numpy_helper.from_array(np.array([2], np.int64), "last"),
        numpy_helper.from_array(np.array([1], np.int64), "middle"),
    ]
    graph = helper.make_graph(nodes, "tiny", [ids, mask], [logits], constants)
    folder.mkdir()
    opset = [helper.make_opsetid("", 17)]
    save(helper.make_model(graph, opset_imports=opset, ir_version=8), folder / "model.onnx")
    (folder / "config.json").write_text(json.dumps({"model_type": "bert", "pad_token_id": 0}))
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.save(str(folder / "tokenizer.json"))
    write_info(folder, RuntimeInfo("onnx", ("negative", "positive"), 16))
    return folder


def test_a_real_model_is_timed_from_text_and_from_ids(tmp_path):
    from shipworthy.measure.estimates import Unmeasured
    from shipworthy.measure.settings import SpeedSettings
    from shipworthy.measure.shown import assess
    from shipworthy.measure.speed import SPEED_MEASURES, measure_speed, speed_estimates
    from shipworthy.model.checkpoint import artefact_digest
    from shipworthy.model.runtimes import load_classifier

    folder = onnx_folder(tmp_path / "parent")
    model = load_classifier(folder, threads=1)
    answers = model.score(model.encode(["good", "bad good bad"])).argmax(axis=1)
    assert answers.tolist() == [1, 0]

    settings = SpeedSettings(form="short", requests=72, batches=3, threads=1)
    records = measure_speed(
        {"parent": folder}, ["good", "bad " * 40], settings, seed=0, parent="parent"
    )
    assert set(records.frame["artefact_digest"]) == {artefact_digest(folder)}
    value = {}
    for (name, _), estimate in speed_estimates(records, "parent", parent="parent").items():
        if isinstance(estimate, Unmeasured):
            continue
        shown = assess(estimate)
        assert 0 < shown.low[0] <= shown.value[0] <= shown.high[0] < np.inf
        value[name] = shown.value[0]
    by_token = {
        "time_to_first_token_ms", "inter_token_latency_ms", "tokens_per_s", "kv_cache_mb",
        "cost_per_million_tokens",
    }  # fmt: skip
    assert set(value) == set(SPEED_MEASURES) - by_token
    assert value["latency_p50_ms"] <= value["latency_p95_ms"]
    assert value["latency_p50_ids_ms"] < value["latency_p50_ms"]
    assert value["throughput_rows_per_s"] < value["throughput_ids_rows_per_s"]
