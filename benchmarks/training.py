"""Fine-tuning speed against the Trainer of transformers with its defaults, in one run.

Run it with `python benchmarks/training.py [--json]`. Both sides train the built-in encoder on the
built-in texts, each in a process of its own, warmed up alike; windows are then taken in turn (A B
C, C B A, A B C), each after steps that are not counted. The peer runs twice: with its default rows
a step, and with ours. It pads each batch to its longest text, drops attention weights and takes
texts as they come; ours drops no attention weights and puts texts of like length into a step.
Tokens are those of the texts, padding not counted.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from itertools import count
from pathlib import Path
from time import perf_counter
from typing import Any

from shipworthy.core.device import device_flags

HERE = Path(__file__).resolve().parent
PEER_SCRIPT = HERE / "peers" / "hf_trainer.py"
PEER_PYTHON = HERE.parent / ".peers" / "hf" / "bin" / "python"
HOW_TO_MAKE_THE_PEER = "`make peers` makes it, from benchmarks/peers/hf.txt"
PEER_DEFAULT_ROWS = 8
CLASSES = ("negative", "positive")
MAX_LENGTH = 128


class Side:
    """A process that trains a window whenever it is asked to."""

    def __init__(self, command: list[str], given: dict[str, Any]) -> None:
        self.name = str(given["name"])
        self.process = subprocess.Popen(
            [*command, json.dumps(given)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "TOKENIZERS_PARALLELISM": "false", "SHIPWORTHY_PROGRESS": "off"},
        )
        self.about = self._read()

    def window(self, seconds: float) -> dict[str, float]:
        """Train for about this long and return steps, rows, tokens and seconds."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{seconds}\n")
        self.process.stdin.flush()
        return self._read()

    def close(self) -> dict[str, Any]:
        """End the process and return what it says about itself."""
        last = self.window(0.0)
        self.process.communicate()
        return last

    def _read(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            said = self.process.communicate()[1].strip().splitlines()
            raise SystemExit(f"{self.name} failed: {said[-1] if said else 'it said nothing'}")
        return dict(json.loads(line))


def serve(given: dict[str, Any]) -> None:
    """Our side: train steps for as long as asked, answer on stdout."""
    import numpy as np
    import polars as pl
    import torch

    from shipworthy.data.batches import encode
    from shipworthy.model.pretrained import load_pretrained
    from shipworthy.train.attention import fp32_attention
    from shipworthy.train.loop import Run
    from shipworthy.train.parts import LabelledRows
    from shipworthy.train.settings import TrainSettings

    torch.set_num_threads(given["threads"])
    frame = pl.read_parquet(given["rows"])
    module, tokenizer = load_pretrained(
        given["model"], classes=CLASSES, max_length=MAX_LENGTH, seed=0
    )
    encoded = encode(tokenizer, frame["text"].to_list(), max_length=MAX_LENGTH)
    rows = LabelledRows(encoded, frame["label"].to_numpy().astype(np.int64), 0)
    settings = TrainSettings.model_validate(
        {"epochs": 1000, "batch_size": {"global": given["rows_a_step"]}}
    )
    torch.manual_seed(0)
    run = Run(module, rows, rows, settings=settings, seed=0)
    steps = (step for epoch in count() for step in run.order(epoch))
    module.train()

    def train(seconds: float) -> dict[str, float]:
        begun, steps_before, tokens_before, trained = perf_counter(), *_position(run), 0
        while perf_counter() - begun < seconds:
            step = next(steps)
            run.take_step(step)
            trained += len(step)
        taken = perf_counter() - begun
        steps_after, tokens_after = _position(run)
        return {
            "steps": steps_after - steps_before,
            "rows": trained,
            "tokens": tokens_after - tokens_before,
            "seconds": taken,
        }

    with fp32_attention(module):
        train(given["warm_up_s"])
        about = {"torch": torch.__version__, "precision": run.precision}
        print(json.dumps({**about, "rows_a_step": given["rows_a_step"]}), flush=True)
        for line in sys.stdin:
            if float(line) == 0.0:
                peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
                print(json.dumps({"peak_memory_mb": peak}), flush=True)
                return
            train(given["again_s"])
            print(json.dumps(train(float(line))), flush=True)


def _position(run: Any) -> tuple[int, int]:
    return run.position.step, run.position.tokens


def measure(given: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Take the windows in turn and return tokens per second of each side, and the ratios."""
    import polars as pl

    from shipworthy.data.builtin import minilm, sentiment

    rows = folder / "rows.parquet"
    frame = sentiment().sample(given.rows, seed=0, shuffle=True)
    labels = (frame["label"] == "positive").cast(pl.Int64).alias("label")
    frame.select("text", labels).write_parquet(rows)
    frame.select("text", labels).write_json(folder / "rows.json")
    common = {
        "model": str(minilm()),
        "threads": given.threads,
        "warm_up_s": given.warm_up,
        "again_s": min(1.5, given.warm_up),
        "max_length": MAX_LENGTH,
    }
    ours = {**common, "name": "shipworthy", "rows": str(rows), "rows_a_step": given.rows_a_step}
    sides = [Side([sys.executable, str(HERE / "training.py"), "--serve"], ours)]
    if given.peer.exists():
        for size in (PEER_DEFAULT_ROWS, given.rows_a_step):
            theirs = {
                **common,
                "name": f"Trainer, {size} rows a step",
                "rows": str(folder / "rows.json"),
                "rows_a_step": size,
                "out": str(folder / "trainer"),
            }
            sides.append(Side([str(given.peer), str(PEER_SCRIPT)], theirs))
    windows: dict[str, list[dict[str, float]]] = {side.name: [] for side in sides}
    for number in range(given.rounds):
        for side in sides if number % 2 == 0 else reversed(sides):
            windows[side.name].append(side.window(given.window))
    found = {}
    for side in sides:
        rates = [w["tokens"] / w["seconds"] for w in windows[side.name]]
        found[side.name] = {
            **side.about,
            **side.close(),
            "tokens_per_s": statistics.median(rates),
            "least": min(rates),
            "most": max(rates),
            "tokens_a_step": statistics.mean(w["tokens"] / w["steps"] for w in windows[side.name]),
            "windows": windows[side.name],
        }
    mine = found["shipworthy"]["tokens_per_s"]
    ratios = {n: mine / f["tokens_per_s"] for n, f in found.items() if n != "shipworthy"}
    return {"sides": found, "ratios": ratios}


def show(result: dict[str, Any]) -> None:
    """Print the result as lines for people."""
    print("machine:", " ".join(result["device_flags"]))
    print(
        f"{result['rounds']} windows of {result['window_s']:g} s a side, in turn, after "
        f"{result['warm_up_s']:g} s of warm-up; {result['threads']} threads"
    )
    for name, side in result["sides"].items():
        print(
            f"{name}: {side['tokens_per_s']:,.0f} tokens/s [{side['least']:,.0f}-"
            f"{side['most']:,.0f}], {side['rows_a_step']} rows and {side['tokens_a_step']:,.0f} "
            f"tokens a step, {side['precision']}, peak {side['peak_memory_mb']:,.0f} MB"
        )
    for name, ratio in result["ratios"].items():
        print(f"ratio to {name}: {ratio:.2f}")
    if not result["ratios"]:
        print(f"Trainer: not run (no environment; {HOW_TO_MAKE_THE_PEER})")


def main() -> int:
    """Measure and print."""
    if sys.argv[1:2] == ["--serve"]:
        serve(json.loads(sys.argv[2]))
        return 0
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=6000)
    parser.add_argument("--rows-a-step", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--window", type=float, default=8.0, help="seconds")
    parser.add_argument("--warm-up", type=float, default=5.0, help="seconds")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--peer", type=Path, default=PEER_PYTHON, help="python with transformers")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        measured = measure(given, Path(folder))
    result: dict[str, Any] = {
        "benchmark": "training",
        "device_flags": list(device_flags()),
        "python": sys.version.split()[0],
        "rounds": given.rounds,
        "window_s": given.window,
        "warm_up_s": given.warm_up,
        "threads": given.threads,
        **measured,
    }
    if given.json:
        print(json.dumps(result, indent=2))
    else:
        show(result)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
