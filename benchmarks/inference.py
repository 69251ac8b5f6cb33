"""bf16 weights against torch fp32 on real lengths, from token ids; int8 beside them, with sizes.

Run it with `python benchmarks/inference.py [--json]`. All models are the built-in encoder with an
untrained head: speed does not depend on the values of its weights. They answer the same texts in
one process, in rounds of alternating order, each warmed before it is timed. A ratio is taken inside
each round; its median and range over the rounds are printed. int8 is timed at batch 1 only, the one
way in which its answers are used, and once over as many texts as a test split has.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from method.rounds import in_turn, options, tell
from shipworthy.compress import CompressSettings, expand, make
from shipworthy.core.device import native_bf16
from shipworthy.core.progress import progress
from shipworthy.data import Encoded, minilm, sentiment
from shipworthy.model import (
    RuntimeInfo,
    TextClassifier,
    load_classifier,
    load_pretrained,
    save_model,
    size_bytes,
)

CLASSES = ("negative", "positive")
MAX_LENGTH = 128
LARGEST_SHARE = 0.27
"""Goal: size of the smallest candidate as a share of the parent's."""


def folders(root: Path) -> dict[str, Path]:
    """Make the parent and its bf16 and int8 candidates."""
    module, tokenizer = load_pretrained(minilm(), classes=CLASSES, max_length=MAX_LENGTH, seed=0)
    made = {"fp32": root / "fp32"}
    save_model(made["fp32"], module, tokenizer, RuntimeInfo("torch", CLASSES, MAX_LENGTH))
    for recipe in expand(CompressSettings(recipes=("bf16", "int8"))):
        made[recipe.name] = root / recipe.name
        make(recipe, made["fp32"], made[recipe.name])
    return made


def milliseconds(
    model: TextClassifier, requests: list[Encoded], warm_seconds: float
) -> list[float]:
    """Time of each request, after answering some of them for a while."""
    until = perf_counter() + warm_seconds
    while perf_counter() < until:
        for request in requests:
            model.score(request)
            if perf_counter() >= until:
                break
    times = []
    for request in requests:
        start = perf_counter()
        model.score(request)
        times.append((perf_counter() - start) * 1e3)
    return times


def compare(
    models: dict[str, TextClassifier], requests: list[Encoded], rounds: int, warm_seconds: float
) -> dict[str, Any]:
    """Times of all models on the same requests, and their ratio to fp32 round by round."""
    times: dict[str, list[list[float]]] = {name: [] for name in models}
    for name in in_turn(list(models), rounds):
        times[name].append(milliseconds(models[name], requests, warm_seconds))
    base = [statistics.median(t) for t in times["fp32"]]
    found: dict[str, Any] = {}
    for name, by_round in times.items():
        medians = [statistics.median(t) for t in by_round]
        ratios = [b / m for b, m in zip(base, medians, strict=True)]
        found[name] = {
            "p50_ms": statistics.median(medians),
            "p95_ms": float(np.percentile(np.concatenate(by_round), 95)),
            "ratio": statistics.median(ratios),
            "ratio_least": min(ratios),
            "ratio_most": max(ratios),
        }
    return found


def run(given: argparse.Namespace) -> dict[str, Any]:
    """Make the models, time them, and weigh them."""
    import onnxruntime
    import torch
    import transformers

    texts = sentiment()["text"].sample(given.quality_texts, seed=1, shuffle=True).to_list()
    with tempfile.TemporaryDirectory() as folder:
        made = folders(Path(folder))
        models = {n: load_classifier(f, threads=given.threads) for n, f in made.items()}
        encoded = models["fp32"].encode(texts)
        ones = [encoded.take([row]) for row in range(given.requests)]
        batches = [encoded.take(range(b * 32, b * 32 + 32)) for b in range(given.batches)]
        torch_models = {n: models[n] for n in ("fp32", "bf16")}
        sizes = {name: size_bytes(path) for name, path in made.items()}
        result: dict[str, Any] = {
            "computes_bf16": native_bf16(),
            "torch": torch.__version__,
            "transformers": transformers.__version__,
            "onnxruntime": onnxruntime.__version__,
            "threads": given.threads,
            "rounds": given.rounds,
            "requests": given.requests,
            "batches": given.batches,
            "mean_tokens": float(encoded.lengths.mean()),
            "batch_1": compare(models, ones, given.rounds, given.warm_seconds),
            "batch_32": compare(torch_models, batches, given.rounds, given.warm_seconds),
            "size_bytes": sizes,
            "size_share": {name: size / sizes["fp32"] for name, size in sizes.items()},
            "goals": {"smallest_share": LARGEST_SHARE},
        }
        start = perf_counter()
        with progress("int8, text by text", total=len(encoded), unit="texts") as step:
            models["int8"].score(encoded, step)
        result["int8_quality"] = {"texts": len(encoded), "seconds": perf_counter() - start}
    return result


def show(result: dict[str, Any]) -> None:
    """Print the result as lines for people."""
    if not result["computes_bf16"]:
        print("this processor does not multiply bf16: bf16 weights are computed with in fp32")
    print(
        f"{result['threads']} threads, {result['rounds']} rounds, {result['mean_tokens']:.1f} "
        f"tokens a text; batch 1: {result['requests']} texts, batch 32: {result['batches']} batches"
    )
    for size in ("batch_1", "batch_32"):
        for name, t in result[size].items():
            print(
                f"{size:8} {name:5} p50 {t['p50_ms']:8.2f} ms  p95 {t['p95_ms']:8.2f} ms  "
                f"{t['ratio']:.2f} x fp32 [{t['ratio_least']:.2f}-{t['ratio_most']:.2f}]"
            )
    for name, size in result["size_bytes"].items():
        print(f"size     {name:5} {size / 1e6:6.1f} MB  {result['size_share'][name]:.3f} of fp32")
    print(f"goal: smallest at most {LARGEST_SHARE} of fp32")
    quality = result["int8_quality"]
    print(f"int8 text by text: {quality['texts']:,} texts in {quality['seconds']:.1f} s")


def main() -> None:
    """Run and print."""
    parser = options(__doc__, rounds=5)
    parser.add_argument("--requests", type=int, default=120, help="texts at batch 1")
    parser.add_argument("--batches", type=int, default=12, help="batches of 32 texts")
    parser.add_argument("--warm-seconds", type=float, default=1.5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--quality-texts", type=int, default=7800)
    given = parser.parse_args()
    result = run(given)
    if result["size_share"]["int8"] > LARGEST_SHARE:
        raise SystemExit(f"int8 is {result['size_share']['int8']:.3f} of the parent's size")
    tell("inference", result, show, as_json=given.json)


if __name__ == "__main__":
    main()
