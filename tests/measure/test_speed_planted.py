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
    settings = SpeedSettings(form="short", requests=72, batches=1, batch_size=4, threads=1)
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
