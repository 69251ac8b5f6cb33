"""Layouts of a training on this machine, against one process; and what the input pipeline costs.

Run it with `python benchmarks/layouts.py [--json]`. Every layout trains the built-in encoder on the
same steps, in processes of its own that share the processors (`--threads` in all), taken in turn,
`--rounds` times; the first steps of each are not counted. A process's share of what is trained is
counted after a step: bytes of parameters, gradients and optimizer state that it holds.

The input pipeline is looked at in one process: how long training waits for its next step, and the
processor time of laying out a step, next to transformers' padding collator under torch's loader.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path
from time import perf_counter, thread_time
from typing import Any

from method.rounds import in_turn, options, tell

MAX_LENGTH = 128
UNCOUNTED = 2
LAYOUTS: dict[str, dict[str, Any]] = {
    "one process": {},
    "data 2": {"data": 2},
    "shard 2": {"shard": 2},
    "tensor 2": {"tensor": 2},
    "pipeline 2": {"pipeline": 2},
}


def serve(given: dict[str, Any]) -> None:
    """Train under one layout; the first process writes what it took and held."""
    import torch

    from shipworthy.data.builtin import minilm
    from shipworthy.model.pretrained import load_pretrained
    from shipworthy.train import mesh
    from shipworthy.train.attention import trained_attention
    from shipworthy.train.loop import laid_out
    from shipworthy.train.metrics import Metrics
    from shipworthy.train.objectives import Classification
    from shipworthy.train.optimizer import local
    from shipworthy.train.packing import choose
    from shipworthy.train.precision import resolve
    from shipworthy.train.run import Run
    from shipworthy.train.settings import ParallelSettings, TrainSettings

    layout = ParallelSettings(**given["layout"])
    torch.set_num_threads(max(1, given["threads"] // layout.processes))
    module, tokenizer = load_pretrained(
        minilm(), classes=("negative", "positive"), max_length=MAX_LENGTH, seed=0
    )
    rows = labelled(tokenizer, given["rows"])
    settings = TrainSettings.model_validate(
        {
            "epochs": 100,
            "batch_size": {"global": given["rows_a_step"], "tokens": given["tokens"]},
            "regularization": {"attention_dropout": 0.0, "early_stopping": "off"},
        }
    )
    precision = resolve(given["precision"])
    with mesh.group(layout) as group:
        caller, _ = choose(module, rows, "auto")
        execution = laid_out(module, caller, group, train=rows, precision=precision)
        run = Run(
            execution, caller, rows, rows, objective=Classification(), settings=settings, seed=0,
            token_budget=given["tokens"], metrics=Metrics(None),
        )  # fmt: skip
        execution.module.train()
        taken, tokens = [], []
        with trained_attention(execution.module, dropout=0.0):
            order = run.order(0)[: UNCOUNTED + given["steps"]]
            for step in order:
                micros = run.micro_batches(step, 0)
                begun = perf_counter()
                run.take_step(step, micros)
                taken.append(perf_counter() - begun)
                tokens.append(int(rows.encoded.lengths[step].sum()))
            run.add_gradient(order[0], run.micro_batches(order[0], 0))
        held = 0
        for parameter in run.parameters.values():
            held += sum(
                local(t).numel() * t.element_size()
                for t in (parameter.detach(), parameter.grad)
                if t is not None
            )
        held += sum(t.numel() * t.element_size() for t in run.optimizer.state().values())
        if group.rank == 0:
            found = {
                "tokens_per_s": sum(tokens[UNCOUNTED:]) / sum(taken[UNCOUNTED:]),
                "held_mb": held / 1e6,
                "precision": precision,
            }
            Path(given["out"]).write_text(json.dumps(found))


def labelled(tokenizer: Any, number: int) -> Any:
    """Return the first built-in texts, tokenised, with their labels."""
    import numpy as np

    from shipworthy.data.batches import encode
    from shipworthy.data.builtin import sentiment
    from shipworthy.train.microbatches import LabelledRows

    frame = sentiment().sample(fraction=1.0, seed=0, shuffle=True).head(number)
    encoded = encode(tokenizer, frame["text"].to_list(), max_length=MAX_LENGTH)
    return LabelledRows(encoded, (frame["label"] == "positive").to_numpy().astype(np.int64), 0)


def window(name: str, given: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Train under a layout in a group of its own."""
    out = folder / "found.json"
    out.unlink(missing_ok=True)
    told = json.dumps({**vars(given), "layout": LAYOUTS[name], "out": str(out)})
    command = [sys.executable, __file__, "--serve", told]
    processes = 1
    for size in LAYOUTS[name].values():
        processes *= size
    if processes > 1:
        command = [
            sys.executable, "-m", "torch.distributed.run", "--standalone",
            f"--nproc-per-node={processes}", __file__, "--serve", told,
        ]  # fmt: skip
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": str(max(1, given.threads // processes)),
        "SHIPWORTHY_PROGRESS": "off",
        "TOKENIZERS_PARALLELISM": "false",
    }
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        raise SystemExit(f"{name} failed: {done.stderr.strip().splitlines()[-1:]}")
    return dict(json.loads(out.read_text()))


def input_pipeline(given: argparse.Namespace) -> dict[str, float]:
    """Return how long training waits for its steps, and what laying one out takes."""
    import torch
    from transformers import DataCollatorWithPadding

    from shipworthy.data.builtin import minilm
    from shipworthy.model.pretrained import load_pretrained
    from shipworthy.train.attention import trained_attention
    from shipworthy.train.execution import OneProcess
    from shipworthy.train.metrics import Metrics
    from shipworthy.train.objectives import Classification
    from shipworthy.train.packing import choose
    from shipworthy.train.precision import autocast, resolve
    from shipworthy.train.prefetch import prefetch
    from shipworthy.train.run import STEPS_AHEAD, Run
    from shipworthy.train.settings import TrainSettings

    torch.set_num_threads(given.threads)
    module, tokenizer = load_pretrained(
        minilm(), classes=("negative", "positive"), max_length=MAX_LENGTH, seed=0
    )
    rows = labelled(tokenizer, given.rows)
    settings = TrainSettings.model_validate(
        {
            "batch_size": {"global": given.rows_a_step, "tokens": given.tokens},
            "regularization": {"attention_dropout": 0.0, "early_stopping": "off"},
        }
    )
    caller, _ = choose(module, rows, "auto")
    context = partial(autocast, resolve(given.precision))
    run = Run(
        OneProcess(module, caller, autocast=context), caller, rows, rows,
        objective=Classification(), settings=settings, seed=0, token_budget=given.tokens,
        metrics=Metrics(None),
    )  # fmt: skip
    module.train()
    with trained_attention(module, dropout=0.0), prefetch(run.upcoming(), ahead=STEPS_AHEAD) as s:
        waits, steps, begun = [], [], perf_counter()
        for step, micros in s:
            got = perf_counter()
            run.take_step(step, micros)
            waits.append(got - begun)
            begun = perf_counter()
            steps.append(begun - got)
    order = run.order(1)
    before = thread_time()
    for step in order:
        run.micro_batches(step, 1)
    ours = (thread_time() - before) / len(order)
    texts = [
        {"input_ids": rows.encoded.take([k]).token_ids.tolist(), "label": int(rows.labels[k])}
        for k in range(len(rows))
    ]
    loader: Any = torch.utils.data.DataLoader(
        texts,  # type: ignore[arg-type]
        batch_size=given.rows_a_step,
        shuffle=True,
        collate_fn=DataCollatorWithPadding(tokenizer),
    )
    before = thread_time()
    batches = sum(1 for _ in loader)
    theirs = (thread_time() - before) / batches
    counted = steps[UNCOUNTED:]
    return {
        "step_ms": 1000 * statistics.fmean(counted),
        "wait_share": sum(waits[UNCOUNTED:]) / sum(counted),
        "ours_ms": 1000 * ours,
        "loader_ms": 1000 * theirs,
        "ours_share": ours / statistics.fmean(counted),
    }


def measure(given: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Take the layouts in turn and return each beside one process."""
    taken: dict[str, list[dict[str, Any]]] = {name: [] for name in LAYOUTS}
    for name in in_turn(list(LAYOUTS), given.rounds):
        taken[name].append(window(name, given, folder))
    one = statistics.median(w["tokens_per_s"] for w in taken["one process"])
    found = {}
    for name, windows in taken.items():
        rates = [w["tokens_per_s"] for w in windows]
        found[name] = {
            "tokens_per_s": statistics.median(rates),
            "least": min(rates),
            "most": max(rates),
            "of_one_process": statistics.median(rates) / one,
            "held_mb": windows[0]["held_mb"],
            "held_of_one_process": windows[0]["held_mb"] / taken["one process"][0]["held_mb"],
            "precision": windows[0]["precision"],
        }
    return {"layouts": found, "input": input_pipeline(given)}


def show(result: dict[str, Any]) -> None:
    """Print the result as lines for people."""
    print(
        f"{result['steps']} steps of {result['rows_a_step']} built-in texts, {result['rounds']} "
        f"times in turn, after {UNCOUNTED} that are not counted; {result['threads']} threads in all"
    )
    for name, side in result["layouts"].items():
        print(
            f"{name}: {side['tokens_per_s']:,.0f} tokens/s [{side['least']:,.0f}-"
            f"{side['most']:,.0f}], {side['of_one_process']:.2f} of one process; "
            f"{side['held_mb']:,.0f} MB of parameters, gradients and optimizer state a process, "
            f"{side['held_of_one_process']:.3f} of one process; {side['precision']}"
        )
    found = result["input"]
    print(
        f"input pipeline: training waits {100 * found['wait_share']:.2f} % of a step of "
        f"{found['step_ms']:,.0f} ms; laying one out takes {found['ours_ms']:.2f} ms of a "
        f"processor ({100 * found['ours_share']:.2f} %), torch's loader with transformers' "
        f"collator {found['loader_ms']:.2f} ms, {found['ours_ms'] / found['loader_ms']:.2f} of it"
    )


def main() -> None:
    """Measure and print."""
    if sys.argv[1:2] == ["--serve"]:
        serve(json.loads(sys.argv[2]))
        return
    parser = options(__doc__, rounds=3)
    parser.add_argument("--rows", type=int, default=1024)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--rows-a-step", type=int, default=64)
    parser.add_argument("--tokens", type=int, default=2048, help="tokens computed at once")
    parser.add_argument("--precision", choices=("auto", "fp32", "bf16"), default="auto")
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        measured = measure(given, Path(folder))
    kept = {name: value for name, value in vars(given).items() if name != "json"}
    tell("layouts", {**kept, **measured}, show, as_json=given.json)


if __name__ == "__main__":
    main()
