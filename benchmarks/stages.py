"""A run in which nothing changed, with a large model folder among its inputs.

Run it with `python benchmarks/stages.py [--json] [--sparse-gb 14]`. A small project is run once:
that reads the model folder, in which a sparse file lies, and makes every stage. Then the same
command runs again in fresh processes, as do `why` and `clean --dry-run`. Every later run must find
all stages in the cache, or the script ends with an error.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from time import perf_counter
from typing import Any

from method.rounds import options, spread, tell

GOALS = {"rerun_s": 2.0}
HEAVY = ("torch", "transformers", "tokenizers", "onnx", "onnxruntime", "onnxscript", "sklearn")
WORDS = ("a", "bad", "film", "good", "is", "so", "the", "this", "very")

PROJECT = """\
name: unchanged
model: encoder
data: {source: rows.csv, groups: [shop], near_duplicates: off}
train: {epochs: 2, learning_rate: 3e-3, max_length: 16, precision: fp32}
compress: {recipes: [bf16, {prune: 0.5}]}
speed: {form: short, requests: 72, batches: 1, threads: 1}
policy:
  - {measure: accuracy, at_least: 0.6, owner: ml-lead}
  - {measure: accuracy, slice: {each: shop}, relative_to: parent, at_least: -0.2, owner: fairness}
  - {measure: size_mb, at_most: 1, owner: platform}
"""


def write_model(folder: Path, sparse_bytes: int) -> None:
    """Write a BERT with 2 layers and random weights, and a large file of nothing beside it."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *WORDS]
    vocabulary = {word: i for i, word in enumerate(names)}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]",
        sep_token="[SEP]", model_max_length=32,
    ).save_pretrained(folder)  # fmt: skip
    torch.manual_seed(0)
    BertModel(
        BertConfig(
            vocab_size=len(names), hidden_size=32, num_hidden_layers=2, num_attention_heads=4,
            intermediate_size=64, max_position_embeddings=32, pad_token_id=0,
        )
    ).save_pretrained(folder)  # fmt: skip
    with open(folder / "original.dat", "wb") as file:
        file.truncate(sparse_bytes)


def write_rows(path: Path, rows: int = 600) -> None:
    """Write texts of which one word says the class."""
    lines = ["text,label,shop"]
    for k in range(rows):
        fill = " ".join(WORDS[(k * step) % len(WORDS)] for step in (2, 3, 5, 7))
        said = ("bad", "good")[(k // 3) % 2]
        lines.append(f"{fill} {said},{said},{('north', 'south')[k % 2]}")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def timed(folder: Path, *arguments: str) -> tuple[float, dict[str, Any], set[str]]:
    """Run one verb in a fresh process; return seconds, its document and the modules it loaded."""
    code = (
        "import sys\nfrom shipworthy.cli.main import run\ncode = run(sys.argv[1:])\n"
        "print('\\n'.join(sys.modules), file=sys.stderr)\nsys.exit(code)"
    )
    command = [sys.executable, "-c", code, *arguments, "--json"]
    started = perf_counter()
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    seconds = perf_counter() - started
    if done.returncode not in (0, 3, 4):
        raise SystemExit(f"{' '.join(arguments)} failed: {done.stderr.strip()[-500:]}")
    return seconds, json.loads(done.stdout), set(done.stderr.splitlines())


def measure(folder: Path, sparse_bytes: int, rounds: int) -> dict[str, Any]:
    """Run a project once, and then again and again."""
    write_model(folder / "encoder", sparse_bytes)
    write_rows(folder / "rows.csv")
    (folder / "shipworthy.yaml").write_text(PROJECT, encoding="utf-8")
    # The memo of digests trusts no file of the last two seconds.
    for path in folder.rglob("*"):
        os.utime(path, (1e9, 1e9))
    first, _, _ = timed(folder, "run")
    verbs = {"rerun": ("run",), "why": ("why", "verdict"), "clean": ("clean", "--dry-run")}
    seconds: dict[str, list[float]] = {name: [] for name in verbs}
    loaded: set[str] = set()
    stages = 0
    for _ in range(rounds):
        for name, arguments in verbs.items():
            took, document, modules = timed(folder, *arguments)
            seconds[name].append(took)
            loaded |= modules
            if name == "rerun":
                stages = len(list((folder / ".shipworthy" / "stages").iterdir()))
                if document["cached_stages"] != stages:
                    raise SystemExit(f"{document['cached_stages']} of {stages} stages were cached")
    return {
        "sparse_gb": sparse_bytes / 1e9,
        "stages": stages,
        "rounds": rounds,
        "first_s": first,
        **{name: spread(values, unit="s") for name, values in seconds.items()},
        "heavy": sorted(loaded & set(HEAVY)),
    }


def show(found: dict[str, Any]) -> None:
    """Print the result as lines for people."""
    print(f"{found['stages']} stages, model folder of {found['sparse_gb']:g} GB (sparse); "
          f"the first run took {found['first_s']:.1f} s")  # fmt: skip
    for name, words in (("rerun", "nothing changed"), ("why", "why verdict"), ("clean", "dry run")):
        took = found[name]
        print(f"  {name:<6} {took['median_s']:.2f} s ({took['least_s']:.2f} to "
              f"{took['most_s']:.2f}), {words}")  # fmt: skip
    print(f"  libraries of models that were loaded: {', '.join(found['heavy']) or 'none'}")


def main() -> None:
    """Measure and print."""
    parser = options(__doc__, rounds=5)
    parser.add_argument("--sparse-gb", type=float, default=14.0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        found = measure(Path(place), round(given.sparse_gb * 1e9), given.rounds)
    tell("stages", {"goals": GOALS, **found}, show, as_json=given.json)


if __name__ == "__main__":
    main()
