"""Students and int8 against their teacher in torch fp32: quality per domain, size, time at batch 1.

Run it with `python benchmarks/compression.py [--json] [--train-rows N]`. The teacher is the
built-in encoder, fine-tuned on the built-in texts; each recipe is made of it with the room's own
levers. All are asked about the same test rows. Times are of one text after the other, as they come,
from text and from token ids, in one process, in rounds of alternating order, each warmed before it
is timed; a ratio is taken inside each round against the teacher in PyTorch.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import polars as pl

from method.rounds import in_turn, options, tell
from shipworthy.compress import CompressSettings, expand, make
from shipworthy.compress.material import Material
from shipworthy.data import minilm
from shipworthy.data.rows import load_rows
from shipworthy.data.settings import DataSettings
from shipworthy.model import TextClassifier, load_classifier, size_bytes
from shipworthy.train import TrainSettings, fit

RATE = 5e-4


def student(words: int, **options: Any) -> dict[str, Any]:
    """Return the recipe of a student with a smaller vocabulary, in int8."""
    distill = {"learning_rate": RATE, **options}
    return {"steps": [{"vocabulary": {"words": words}}, {"distill": distill}, "int8"]}


RECIPES: tuple[Any, ...] = (
    "onnx",
    "int8",
    student(8000, layers=4, epochs=6),
    student(12000, layers=3, epochs=8),
    student(8000, layers=2, epochs=6),
)
GOALS = {
    "int8_size_share": 0.26,
    "student_accuracy_share": 0.97,
    "student_worst_domain_share": 0.95,
    "student_times_as_fast": 8.0,
    "student_size_share": 0.12,
}


def quality(model: TextClassifier, test: pl.DataFrame) -> dict[str, float]:
    """Share of right answers, of all rows and of each domain."""
    told = model.log_probabilities(test).argmax(axis=1)
    right = np.array(model.classes)[told] == test["label"].to_numpy()
    frame = test.select("domain").with_columns(right=pl.Series(right))
    by_domain = dict(
        frame.group_by("domain").agg(pl.col("right").mean()).sort("domain").iter_rows()
    )
    return {"all": float(right.mean()), **{str(k): float(v) for k, v in by_domain.items()}}


def timed(model: TextClassifier, texts: list[str], warm_seconds: float) -> tuple[float, float]:
    """Median milliseconds of a text, from text on and from ids on."""
    encoded = [model.encode([text]) for text in texts]
    until = perf_counter() + warm_seconds
    while perf_counter() < until:
        model.score(model.encode(texts[:1]))
    whole, ids = [], []
    for text, ready in zip(texts, encoded, strict=True):
        start = perf_counter()
        model.score(model.encode([text]))
        middle = perf_counter()
        model.score(ready)
        whole.append((middle - start) * 1e3)
        ids.append((perf_counter() - middle) * 1e3)
    return statistics.median(whole), statistics.median(ids)


def made(given: argparse.Namespace, root: Path) -> tuple[dict[str, Path], pl.DataFrame]:
    """Train the teacher, make every recipe of it, and return folders and the test rows."""
    columns = DataSettings.model_validate(
        {
            "source": "builtin:sentiment", "text": "text", "label": "label", "id": "id",
            "unit": "source_id", "groups": ["domain"],
            "shares": {"test": 0.3, "validation": 0.05, "calibration": 0.1},
        }
    )  # fmt: skip
    rows = load_rows(columns, seed=0)
    part = {
        name: rows.frame.filter(rows.splits.split == name)
        for name in ("train", "calibration", "test")
    }
    training = TrainSettings(epochs=2, rows=given.train_rows)
    folders = {"teacher": root / "teacher" / "model"}
    fit(
        minilm(), part["train"], part["calibration"], text="text", label="label",
        classes=rows.classes, settings=training, seed=0, out=folders["teacher"],
        work=root / "work", unit="source_id",
    )  # fmt: skip
    train = part["train"]
    if given.train_rows is not None:
        train = train.sample(min(given.train_rows, train.height), seed=0)
    for recipe in expand(CompressSettings(recipes=RECIPES)):
        material = Material(
            train, part["calibration"], text="text", label="label", groups=("domain",),
            training=training, seed=0, work=root / recipe.name, cache=root / "cache",
            unit="source_id",
        )  # fmt: skip
        folders[recipe.name] = root / "made" / recipe.name
        make(recipe, folders["teacher"], folders[recipe.name], material=material)
    return folders, part["test"]


def run(given: argparse.Namespace) -> dict[str, Any]:
    """Make, ask and time everyone."""
    with tempfile.TemporaryDirectory() as place:
        folders, test = made(given, Path(place))
        models = {
            name: load_classifier(folder, threads=given.threads) for name, folder in folders.items()
        }
        right = {name: quality(model, test) for name, model in models.items()}
        texts = test["text"].sample(given.requests, seed=1, shuffle=True).to_list()
        times: dict[str, list[tuple[float, float]]] = {name: [] for name in models}
        for name in in_turn(list(models), given.rounds):
            times[name].append(timed(models[name], texts, given.warm_seconds))
        sizes = {name: size_bytes(folder) for name, folder in folders.items()}
    return {
        "threads": given.threads,
        "rounds": given.rounds,
        "requests": given.requests,
        "test_rows": test.height,
        "goals": GOALS,
        "models": {
            name: _told(right[name], right["teacher"], times[name], times["teacher"])
            | {"size_mb": sizes[name] / 1e6, "size_share": sizes[name] / sizes["teacher"]}
            for name in folders
        },
    }


def _told(
    right: dict[str, float],
    teacher: dict[str, float],
    times: list[tuple[float, float]],
    base: list[tuple[float, float]],
) -> dict[str, Any]:
    found: dict[str, Any] = {
        "accuracy": right["all"],
        "accuracy_share": right["all"] / teacher["all"],
        "worst_domain_share": min(right[k] / teacher[k] for k in right if k != "all"),
        "accuracy_by_domain": {k: v for k, v in right.items() if k != "all"},
    }
    for place, name in enumerate(("text", "ids")):
        ratios = [b[place] / t[place] for b, t in zip(base, times, strict=True)]
        found[f"p50_ms_from_{name}"] = statistics.median(t[place] for t in times)
        found[f"times_as_fast_from_{name}"] = {
            "median": statistics.median(ratios), "least": min(ratios), "most": max(ratios)
        }  # fmt: skip
    return found


def show(result: dict[str, Any]) -> None:
    """Print the result as lines for people."""
    print(
        f"{result['test_rows']:,} test rows; {result['threads']} threads, "
        f"{result['rounds']} rounds of {result['requests']} texts"
    )
    for name, m in result["models"].items():
        fast = m["times_as_fast_from_ids"]
        print(
            f"{name:60} accuracy {m['accuracy']:.3f} ({m['accuracy_share']:.3f} of the teacher's, "
            f"worst domain {m['worst_domain_share']:.3f})  {m['size_mb']:5.1f} MB "
            f"({m['size_share']:.3f})  {m['p50_ms_from_ids']:.2f} ms, {fast['median']:.1f} x "
            f"[{fast['least']:.1f}-{fast['most']:.1f}] from ids, "
            f"{m['times_as_fast_from_text']['median']:.1f} x from text"
        )
    print("goals:", ", ".join(f"{k} {v:g}" for k, v in result["goals"].items()))


def main() -> None:
    """Run and print."""
    parser = options(__doc__, rounds=5)
    parser.add_argument("--requests", type=int, default=200, help="texts at batch 1")
    parser.add_argument("--warm-seconds", type=float, default=1.0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--train-rows", type=int, default=None, help="fewer, to be quicker")
    tell("compression", run(parser.parse_args()), show, as_json=parser.parse_args().json)


if __name__ == "__main__":
    main()
