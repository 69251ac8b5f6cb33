"""Fine-tuning speed against the Trainer of transformers, in one run.

Run it with `python benchmarks/training.py [--texts mix] [--json]`. All sides train the built-in
encoder on the same texts, each in a process of its own. A window is one pass over all of them, so
every side does the same work whatever order it takes them in; the first pass is not counted, and
before each window a side that has been idle computes gradients for a while that it throws away.
Windows are taken in turn (A B C, C B A, A B C). Texts: `builtin`, about 25 tokens each, or `mix`,
16 to 256 tokens each, cut from the built-in ones laid end to end.

The peer runs with its defaults (8 rows a step, fp32), with our rows a step, and at its strongest
(texts grouped by length, bf16). It drops attention weights; ours runs without and with that. Tokens
are those of the texts, padding not counted. Beside speed stand the accuracy on texts that were not
trained on after all passes, the peak of memory, the share of the measured peak of matrix products,
and processor seconds: on a machine with other work they waver less than the clock.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import sys
import tempfile
from itertools import count
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

from method.rounds import in_turn, options, tell
from method.sides import PEERS, Side, how_to_make, peer_python

PEER_DEFAULT_ROWS = 8
CLASSES = ("negative", "positive")
MAX_LENGTH = 128
HELD_OUT = 500


def serve(given: dict[str, Any]) -> None:
    """Our side: train a pass when asked, answer on stdout."""
    from functools import partial

    import numpy as np
    import polars as pl
    import torch

    from shipworthy.data.batches import encode
    from shipworthy.model.pretrained import load_pretrained
    from shipworthy.plan.calibrate import peaks
    from shipworthy.plan.workload import flops_per_token, workload_of
    from shipworthy.train.attention import trained_attention
    from shipworthy.train.evaluation import evaluate
    from shipworthy.train.execution import OneProcess
    from shipworthy.train.metrics import Metrics
    from shipworthy.train.microbatches import LabelledRows
    from shipworthy.train.objectives import Classification
    from shipworthy.train.packing import choose
    from shipworthy.train.precision import autocast, resolve
    from shipworthy.train.regularization import set_dropout
    from shipworthy.train.run import Run
    from shipworthy.train.settings import TrainSettings

    torch.set_num_threads(given["threads"])
    frame = pl.read_parquet(given["rows"])
    module, tokenizer = load_pretrained(
        given["model"], classes=CLASSES, max_length=given["max_length"], seed=0
    )

    def labelled(part: pl.DataFrame) -> LabelledRows:
        encoded = encode(tokenizer, part["text"].to_list(), max_length=given["max_length"])
        return LabelledRows(encoded, part["label"].to_numpy().astype(np.int64), 0)

    rows, held = labelled(frame[: given["train"]]), labelled(frame[given["train"] :])
    drop = given["attention_dropout"]
    settings = TrainSettings.model_validate(
        {
            "epochs": 1000,
            "learning_rate": 5e-5,  # that of Trainer
            "schedule": {"name": "constant", "warmup_ratio": 0},
            "batch_size": {"global": given["rows_a_step"], "tokens": given["tokens"]},
            "regularization": {"attention_dropout": drop, "label_smoothing": 0.0},
        }
    )
    set_dropout(module, settings.regularization.dropout, attention=drop)
    precision = resolve(given["precision"])
    caller, _ = choose(module, rows, "auto")
    execution = OneProcess(module, caller, autocast=partial(autocast, precision))
    objective = Classification()
    run = Run(
        execution, caller, rows, held, objective=objective, settings=settings, seed=0,
        token_budget=given["tokens"], metrics=Metrics(None),
    )  # fmt: skip
    module.train()

    def train(number: int) -> dict[str, float]:
        order = run.order(number)
        begun = perf_counter()
        while perf_counter() - begun < given["again_s"]:
            run.add_gradient(order[0], run.micro_batches(order[0], number))
        run.optimizer.zero_grad()
        begun, used = perf_counter(), process_time()
        for step in order:
            run.take_step(step, run.micro_batches(step, number))
        return {
            "steps": len(order),
            "tokens": rows.tokens,
            "seconds": perf_counter() - begun,
            "processor_seconds": process_time() - used,
        }

    with trained_attention(module, dropout=drop):
        train(0)
        work = workload_of(module.config.to_dict())  # type: ignore[union-attr, operator]
        about = {
            "torch": torch.__version__,
            "precision": precision,
            "rows_a_step": given["rows_a_step"],
            "flops_per_token": flops_per_token(work, rows.tokens / len(rows)),
        }
        print(json.dumps(about), flush=True)
        for number in count(1):
            if sys.stdin.readline().strip() != "pass":
                break
            print(json.dumps(train(number)), flush=True)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        accuracy = evaluate(
            execution, caller, held, objective=objective, step=0, token_budget=2048
        ).accuracy
    last = {"peak_memory_mb": peak, "accuracy": accuracy, "peak_flops": peaks()[precision]}
    print(json.dumps(last), flush=True)


def texts(given: argparse.Namespace) -> Any:
    """Return a frame of text and label, rows to train on first."""
    import numpy as np
    import polars as pl

    from shipworthy.data.builtin import sentiment

    frame = sentiment().sample(fraction=1.0, seed=0, shuffle=True)
    labels = (frame["label"] == "positive").cast(pl.Int64).alias("label")
    frame = frame.select("text", labels)
    number = given.rows + HELD_OUT
    if given.texts == "builtin":
        return frame.head(number)
    # Words of texts of one label, end to end, cut at lengths that are drawn evenly.
    generator = np.random.default_rng(0)
    rows = []
    words = {
        label: " ".join(frame.filter(pl.col("label") == label)["text"]).split() for label in (0, 1)
    }
    at = {0: 0, 1: 0}
    for _ in range(number):
        label = int(generator.integers(0, 2))
        length = int(generator.integers(12, 200))  # words; about 16 to 256 tokens
        start = at[label] if at[label] + length < len(words[label]) else 0
        rows.append({"text": " ".join(words[label][start : start + length]), "label": label})
        at[label] = start + length
    return pl.DataFrame(rows)


def measure(given: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Take the windows in turn and return tokens per second of each side, and the ratios."""
    from shipworthy.data.builtin import minilm

    frame = texts(given)
    rows = folder / "rows.parquet"
    frame.write_parquet(rows)
    frame.write_json(folder / "rows.json")
    common = {
        "model": str(minilm()),
        "threads": given.threads,
        "again_s": given.again,
        "train": given.rows,
        "max_length": 256 if given.texts == "mix" else MAX_LENGTH,
    }
    ours = {**common, "rows": str(rows), "rows_a_step": given.rows_a_step, "tokens": given.tokens}
    kinds = {
        "shipworthy": {"precision": "auto", "attention_dropout": 0.0},
        "shipworthy, fp32": {"precision": "fp32", "attention_dropout": 0.0},
        "shipworthy, attention dropout": {"precision": "auto", "attention_dropout": 0.1},
    }
    command, sides = [sys.executable, __file__, "--serve"], []
    for name, kind in kinds.items():
        log = folder / f"{len(sides)}.log"
        sides.append(Side(command, {**ours, "name": name, **kind}, log))
    if given.peer.exists():
        for size, strong in (
            (PEER_DEFAULT_ROWS, False),
            (given.rows_a_step, False),
            (given.rows_a_step, True),
        ):
            name = f"Trainer, {size} rows a step" + (", by length, bf16" if strong else "")
            theirs = {
                **common,
                "name": name,
                "rows": str(folder / "rows.json"),
                "rows_a_step": size,
                "strong": strong,
                "out": str(folder / "trainer"),
            }
            command = [str(given.peer), str(PEERS / "hf_trainer.py")]
            sides.append(Side(command, theirs, folder / f"{len(sides)}.log"))
    windows: dict[str, list[dict[str, float]]] = {side.name: [] for side in sides}
    for side in in_turn(sides, given.rounds):
        windows[side.name].append(side.ask("pass"))
    found = {}
    for side in sides:
        taken = windows[side.name]
        rates = [w["tokens"] / w["seconds"] for w in taken]
        found[side.name] = {
            **side.about,
            **side.ask("end"),
            "tokens_per_s": statistics.median(rates),
            "least": min(rates),
            "most": max(rates),
            "tokens_per_processor_s": statistics.median(
                w["tokens"] / w["processor_seconds"] for w in taken
            ),
            "tokens_a_step": taken[0]["tokens"] / taken[0]["steps"],
            "windows": taken,
        }
        side.close()
    ratios = {
        f"{name} / {other}": {
            "tokens_per_s": mine["tokens_per_s"] / side["tokens_per_s"],
            "tokens_per_processor_s": mine["tokens_per_processor_s"]
            / side["tokens_per_processor_s"],
            "memory": mine["peak_memory_mb"] / side["peak_memory_mb"],
        }
        for name, mine in found.items()
        if name.startswith("shipworthy")
        for other, side in found.items()
        if not other.startswith("shipworthy")
    }
    return {"sides": found, "ratios": ratios}


def show(result: dict[str, Any]) -> None:
    """Print the result as lines for people."""
    print(
        f"{result['rounds']} passes over {result['rows']:,} {result['texts']} texts a side, "
        f"in turn, after one that is not counted; {result['threads']} threads"
    )
    for name, side in result["sides"].items():
        print(
            f"{name}: {side['tokens_per_s']:,.0f} tokens/s [{side['least']:,.0f}-"
            f"{side['most']:,.0f}], {side['tokens_per_processor_s']:,.0f} per processor second, "
            f"{side['rows_a_step']} rows and {side['tokens_a_step']:,.0f} "
            f"tokens a step, {side['precision']}, peak {side['peak_memory_mb']:,.0f} MB, "
            f"accuracy {side['accuracy']:.3f} on {HELD_OUT} texts held out"
        )
        if "peak_flops" in side:
            share = side["tokens_per_s"] * side["flops_per_token"] / side["peak_flops"]
            print(f"  {100 * share:.0f} % of the measured peak of {side['precision']} products")
    for name, ratio in result["ratios"].items():
        print(
            f"{name}: {ratio['tokens_per_s']:.2f} by the clock, "
            f"{ratio['tokens_per_processor_s']:.2f} by processor seconds, "
            f"{ratio['memory']:.2f} of the memory"
        )
    if not result["ratios"]:
        print(f"Trainer: not run (no environment; {how_to_make('hf')})")


def main() -> None:
    """Measure and print."""
    if sys.argv[1:2] == ["--serve"]:
        serve(json.loads(sys.argv[2]))
        return
    parser = options(__doc__, rounds=3)
    parser.add_argument("--texts", choices=("builtin", "mix"), default="builtin")
    parser.add_argument("--rows", type=int, default=1024)
    parser.add_argument("--tokens", type=int, default=2048, help="tokens computed at once")
    parser.add_argument("--rows-a-step", type=int, default=64)
    parser.add_argument("--again", type=float, default=1.5, help="seconds of gradients thrown away")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument(
        "--peer", type=Path, default=peer_python("hf"), help="python with transformers"
    )
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        measured = measure(given, Path(folder))
    kept = {name: vars(given)[name] for name in ("rounds", "texts", "rows", "threads")}
    tell("training", {**kept, **measured}, show, as_json=given.json)


if __name__ == "__main__":
    main()
