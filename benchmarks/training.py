"""Fine-tuning speed against the Trainer of transformers with its defaults, in one run.

Run it with `python benchmarks/training.py [--json]`. Both sides train the built-in encoder on the
same built-in texts, each in a process of its own. A window is one pass over all of them, so every
side does the same work whatever order it takes them in; the first pass is not counted, and before
each window a side that has been idle computes gradients for a while that it throws away. Windows
are taken in turn (A B C, C B A, A B C). The peer runs twice: with its default rows a step, and with
ours. It pads each batch to its longest text, drops attention weights and takes texts as they come;
ours drops no attention weights and puts texts of like length into a step. Tokens are those of the
texts, padding not counted. Processor seconds are shown too: on a machine with other work they
waver less than the clock.
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
from time import perf_counter, process_time
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
    """A process that trains one pass whenever it is asked to."""

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

    def window(self) -> dict[str, float]:
        """Train one pass and return steps, tokens, seconds and processor seconds."""
        return self._ask("pass")

    def close(self) -> dict[str, Any]:
        """End the process and return what it says about itself."""
        last = self._ask("end")
        self.process.communicate()
        return last

    def _ask(self, what: str) -> dict[str, Any]:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{what}\n")
        self.process.stdin.flush()
        return self._read()

    def _read(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            said = self.process.communicate()[1].strip().splitlines()
            raise SystemExit(f"{self.name} failed: {said[-1] if said else 'it said nothing'}")
        return dict(json.loads(line))


def serve(given: dict[str, Any]) -> None:
    """Our side: train a pass when asked, answer on stdout."""
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
    module.train()

    def train(number: int) -> dict[str, float]:
        order = run.order(number)
        begun = perf_counter()
        while perf_counter() - begun < given["again_s"]:
            run.add_gradient(order[0])
        run.optimizer.zero_grad()
        begun, used = perf_counter(), process_time()
        for step in order:
            run.take_step(step)
        return {
            "steps": len(order),
            "tokens": rows.tokens,
            "seconds": perf_counter() - begun,
            "processor_seconds": process_time() - used,
        }

    with fp32_attention(module):
        train(0)
        about = {"torch": torch.__version__, "precision": run.precision}
        print(json.dumps({**about, "rows_a_step": given["rows_a_step"]}), flush=True)
        for number in count(1):
            if sys.stdin.readline().strip() != "pass":
                break
            print(json.dumps(train(number)), flush=True)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"peak_memory_mb": peak}), flush=True)


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
        "again_s": given.again,
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
            windows[side.name].append(side.window())
    found = {}
    for side in sides:
        taken = windows[side.name]
        rates = [w["tokens"] / w["seconds"] for w in taken]
        found[side.name] = {
            **side.about,
            **side.close(),
            "tokens_per_s": statistics.median(rates),
            "least": min(rates),
            "most": max(rates),
            "tokens_per_processor_s": statistics.median(
                w["tokens"] / w["processor_seconds"] for w in taken
            ),
            "tokens_a_step": taken[0]["tokens"] / taken[0]["steps"],
            "windows": taken,
        }
    mine = found["shipworthy"]
    ratios = {
        name: {
            "tokens_per_s": mine["tokens_per_s"] / side["tokens_per_s"],
            "tokens_per_processor_s": mine["tokens_per_processor_s"]
            / side["tokens_per_processor_s"],
        }
        for name, side in found.items()
        if name != "shipworthy"
    }
    return {"sides": found, "ratios": ratios}


def show(result: dict[str, Any]) -> None:
    """Print the result as lines for people."""
    print("machine:", " ".join(result["device_flags"]))
    print(
        f"{result['rounds']} passes over {result['rows']:,} texts a side, in turn, after one that "
        f"is not counted; {result['threads']} threads"
    )
    for name, side in result["sides"].items():
        print(
            f"{name}: {side['tokens_per_s']:,.0f} tokens/s [{side['least']:,.0f}-"
            f"{side['most']:,.0f}], {side['tokens_per_processor_s']:,.0f} per processor second, "
            f"{side['rows_a_step']} rows and {side['tokens_a_step']:,.0f} "
            f"tokens a step, {side['precision']}, peak {side['peak_memory_mb']:,.0f} MB"
        )
    for name, ratio in result["ratios"].items():
        print(
            f"ratio to {name}: {ratio['tokens_per_s']:.2f} by the clock, "
            f"{ratio['tokens_per_processor_s']:.2f} by processor seconds"
        )
    if not result["ratios"]:
        print(f"Trainer: not run (no environment; {HOW_TO_MAKE_THE_PEER})")


def main() -> int:
    """Measure and print."""
    if sys.argv[1:2] == ["--serve"]:
        serve(json.loads(sys.argv[2]))
        return 0
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1024)
    parser.add_argument("--rows-a-step", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--again", type=float, default=1.5, help="seconds of gradients thrown away")
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
        "rows": given.rows,
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
