"""What each step came to: a line of JSON, the same for people, and none twice after a restart."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from shipworthy.core.device import compute_device
from shipworthy.core.locale import set_language
from shipworthy.train.metrics import Metrics, live


@pytest.fixture(autouse=True)
def english() -> None:
    set_language("en")


def written(path: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def steps(metrics: Metrics, first: int, last: int) -> None:
    for step in range(first, last + 1):
        metrics.step(
            step=step, epoch=step / 10, rows=8, tokens=200, loss=1 / step, learning_rate=3e-4,
            gradient_norm=0.5,
        )  # fmt: skip


def test_a_line_a_step_and_the_same_for_people(tmp_path: Path) -> None:
    metrics = Metrics(tmp_path / "m.jsonl", flops_per_token=1e6, peak_flops=1e12)
    metrics.resume(0, 0.0)
    steps(metrics, 1, 3)
    lines = written(tmp_path / "m.jsonl")
    assert [line["step"] for line in lines] == [1, 2, 3]
    least = 50 if compute_device() == "cpu" else -1  # nothing lies on a GPU here
    assert all(line["memory_mb"] > least and line["tokens_per_second"] > 0 for line in lines)
    assert lines[-1]["utilization"] == pytest.approx(
        lines[-1]["tokens_per_second"] * 1e-6, abs=2e-4
    )
    assert metrics.latest == live(lines[-1])
    shown = live({**lines[-1], "tokens_per_second": 2900.4, "memory_mb": 812.3})
    assert shown.startswith("loss 0.3333, learning rate 3.00e-04, 2,900 tokens/s, 812 MB, ")
    assert shown.endswith(" % of the measured peak")
    assert "peak" not in live({**lines[-1], "utilization": None})


def test_a_run_that_goes_on_cuts_what_it_does_again(tmp_path: Path) -> None:
    steps(Metrics(tmp_path / "m.jsonl"), 1, 5)
    with (tmp_path / "m.jsonl").open("a") as file:
        file.write('{"step": 6, "lo')
    again = Metrics(tmp_path / "m.jsonl")
    again.resume(3, 12.0)
    steps(again, 4, 5)
    lines = written(tmp_path / "m.jsonl")
    assert [line["step"] for line in lines] == [1, 2, 3, 4, 5]
    assert lines[3]["seconds"] >= 12.0
