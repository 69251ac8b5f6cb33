"""Fine-tuning a language model with LoRA, against Trainer with peft in the same run.

Run it with `python benchmarks/language.py [--json]`. The peer runs in an environment of its own
(`make peers`, or --peer). Both train SmolLM2-135M-Instruct on the same tokens in the same steps:
questions of BBQ with their answers, loss on the answer alone, with the same adapters, rate and
precision, in processes of their own that are taken in turn; the first step of each warms up and is
not timed. Losses are compared step by step: the first is the same model's, the later ones differ by
the adapters' random start and by rounding.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

from method.rounds import in_turn, options, tell
from method.sides import PEERS, peer_python

GOAL = 1.5
LEARNING_RATE = 5e-4


def rows_of(folder: Path, number: int) -> Any:
    """Return tokenised rows of BBQ: all of a prompt is given, the answer is learned."""
    from shipworthy.data.builtin import bbq_questions
    from shipworthy.model.checkpoint import RuntimeInfo
    from shipworthy.model.pretrained import load_chat_tokenizer
    from shipworthy.train.language import language_rows

    frame = bbq_questions().sample(number, seed=0, shuffle=True)
    info = RuntimeInfo("torch", (), 512, "prompt", does="respond", response="response")
    return language_rows(frame, load_chat_tokenizer(folder), info, split="train")


def ours(given: dict[str, Any]) -> dict[str, Any]:
    """Train in this process and return seconds and loss of each step."""
    import numpy as np
    import torch

    from shipworthy.model.pretrained import load_language_pretrained
    from shipworthy.train.attention import trained_attention
    from shipworthy.train.execution import OneProcess
    from shipworthy.train.lora import add_adapters
    from shipworthy.train.metrics import Metrics
    from shipworthy.train.objectives import NextToken
    from shipworthy.train.packing import choose
    from shipworthy.train.precision import autocast
    from shipworthy.train.run import Run
    from shipworthy.train.settings import LoraSettings, TrainSettings

    torch.set_num_threads(given["threads"])
    module, _ = load_language_pretrained(given["model"], max_length=512)
    rows = rows_of(Path(given["model"]), given["number"])
    size = given["rows_a_step"]
    settings = TrainSettings.model_validate(
        {
            "epochs": 1,
            "learning_rate": given["learning_rate"],
            "schedule": {"name": "constant", "warmup_ratio": 0},
            "batch_size": {"global": size},
            "regularization": {
                "label_smoothing": 0.0, "weight_decay": 0.0, "early_stopping": "off",
            },
        }
    )  # fmt: skip
    module = add_adapters(module, LoraSettings(), seed=0)
    caller, _ = choose(module, rows, "packed")
    execution = OneProcess(module, caller, autocast=partial(autocast, given["precision"]))
    run = Run(
        execution, caller, rows, rows, objective=NextToken(), settings=settings, seed=0,
        token_budget=2048, metrics=Metrics(None),
    )  # fmt: skip
    module.train()
    seconds = []
    with trained_attention(module):
        for start in range(0, given["number"], size):
            step = np.arange(start, min(start + size, given["number"]))
            begun = perf_counter()
            run.take_step(step, run.micro_batches(step, 0))
            seconds.append(perf_counter() - begun)
    return {"seconds": seconds[1:], "losses": run.history.frame()["loss"].to_list()}


def measure(given: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Take both sides in turn, and return tokens per second of each, the ratio and the losses."""
    from shipworthy.model.runtimes import model_folder

    model = model_folder("builtin:smollm2")
    size, number = given.rows_a_step, given.rows_a_step * (given.steps + 1)
    rows = rows_of(model, number)
    taken = rows.encoded.take(range(number))
    listed = []
    for k, start in enumerate(rows.starts.tolist()):
        ids = taken.token_ids[taken.offsets[k] : taken.offsets[k + 1]].tolist()
        listed.append({"input_ids": ids, "labels": [-100] * start + ids[start:]})
    file = folder / "rows.json"
    file.write_text(json.dumps(listed))
    tokens = sum(len(one["input_ids"]) for one in listed[size:])
    found: dict[str, Any] = {
        "rows": number,
        "precisions": given.precisions,
        "steps": given.steps,
        "tokens": tokens,
    }
    for precision in given.precisions:
        common = {
            "model": str(model), "rows": str(file), "rows_a_step": size, "number": number,
            "threads": given.threads, "precision": precision, "pad": rows.pad_token_id,
            "learning_rate": LEARNING_RATE, "out": str(folder / "trainer"),
        }  # fmt: skip
        sides = {"shipworthy": [sys.executable, __file__, "--serve"]}
        if given.peer.exists():
            sides["Trainer with peft"] = [str(given.peer), str(PEERS / "peft_trainer.py")]
        told: dict[str, list[dict[str, Any]]] = {name: [] for name in sides}
        for name in in_turn(list(sides), given.rounds):
            done = subprocess.run(
                [*sides[name], json.dumps(common)], stdout=subprocess.PIPE, check=True,
                stderr=subprocess.DEVNULL,
            )  # fmt: skip
            told[name].append(json.loads(done.stdout.splitlines()[-1]))
        rates = {n: [tokens / sum(t["seconds"]) for t in taken] for n, taken in told.items()}
        one = {
            name: {
                "tokens_per_s": statistics.median(rate), "least": min(rate), "most": max(rate),
                "losses": told[name][0]["losses"],
            }
            for name, rate in rates.items()
        }  # fmt: skip
        found[precision] = {"sides": one}
        if len(one) == 2:
            mine, theirs = one.values()
            pairs = list(zip(mine["losses"], theirs["losses"], strict=True))
            found[precision] |= {
                "ratio": mine["tokens_per_s"] / theirs["tokens_per_s"],
                "first_loss_apart": abs(pairs[0][0] - pairs[0][1]),
                "largest_loss_apart": max(abs(a - b) for a, b in pairs),
            }
    return found


def show(found: dict[str, Any]) -> None:
    """Print the result as lines for people."""
    print(f"{found['steps']} timed steps, {found['tokens']:,} tokens, prompts and answers of BBQ")
    for precision in found["precisions"]:
        for name, side in found[precision]["sides"].items():
            print(
                f"{precision}, {name}: {side['tokens_per_s']:,.0f} tokens/s "
                f"[{side['least']:,.0f}-{side['most']:,.0f}], loss {side['losses'][0]:.4f} to "
                f"{side['losses'][-1]:.4f}"
            )
        if "ratio" in found[precision]:
            one = found[precision]
            print(
                f"  ratio {one['ratio']:.2f} (goal {GOAL}); losses apart: first "
                f"{one['first_loss_apart']:.4f}, largest {one['largest_loss_apart']:.4f}"
            )
        else:
            print("  no peer: make peers")


def main() -> None:
    """Measure and print."""
    if sys.argv[1:2] == ["--serve"]:
        print(json.dumps(ours(json.loads(sys.argv[2]))))
        return
    parser = options(__doc__, rounds=3)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--rows-a-step", type=int, default=16)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--precisions", nargs="+", default=["fp32", "bf16"])
    parser.add_argument("--peer", type=Path, default=peer_python("hf"), help="python with peft")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = measure(given, Path(folder))
    tell("language", found, show, as_json=given.json)


if __name__ == "__main__":
    main()
