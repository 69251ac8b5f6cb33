"""Candidates in the lm-evaluation-harness against its own Hugging Face model, in one run.

Run it with `python benchmarks/lm_eval.py [--limit 20] [--json]`. Both sides are models of one
harness, in one environment, each in a process of its own, and answer the same local tasks with the
built-in language model in fp32; nothing is fetched from a hub. Values are compared before times:

    bbq        choices of several tokens after a question (published set, from a wheel)
    sentiment  choices of one token each after a review, where the harness reads a context once
    rolling    documents longer than the window
    answers    greedy answers up to a line break, and up to the last token that is allowed

A choice that the two sides take differently, or an answer that differs in a character, ends the run
with an error unless both choices are as likely as rounding can tell. The first pass is not counted;
then sides take turns (A B C, C B A). The peer runs with its default batch of 1 and with a larger
one. Times are those of the model alone, without what the harness does around it.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from pathlib import Path
from typing import Any

from method.rounds import in_turn, options, tell
from method.sides import BENCHMARKS, PEERS, Side, how_to_make, peer_python

WINDOW = 512
KINDS = {
    "loglikelihood": "choices",
    "loglikelihood_rolling": "documents",
    "generate_until": "answers",
}
TIE = 1e-3
"""Nats between two choices below which rounding decides which of them is the likelier."""

CHOICE_TASK = """\
task: {name}
dataset_path: json
dataset_kwargs:
  data_files:
    test: {file}
test_split: test
output_type: multiple_choice
doc_to_text: "{{{{prompt}}}}"
doc_to_choice: choices
doc_to_target: answer
metric_list:
  - metric: acc
  - metric: acc_norm
"""
ROLLING_TASK = """\
task: rolling
dataset_path: json
dataset_kwargs:
  data_files:
    test: {file}
test_split: test
output_type: loglikelihood_rolling
doc_to_text: ""
doc_to_target: "{{{{text}}}}"
metric_list:
  - metric: word_perplexity
  - metric: byte_perplexity
  - metric: bits_per_byte
"""
ANSWER_TASK = """\
task: {name}
dataset_path: json
dataset_kwargs:
  data_files:
    test: {file}
test_split: test
output_type: generate_until
doc_to_text: "{{{{prompt}}}}"
doc_to_target: "{{{{choices[answer]}}}}"
generation_kwargs:
  until: {until}
  max_gen_toks: {room}
  do_sample: false
metric_list:
  - metric: exact_match
"""


def write_tasks(folder: Path, limit: int) -> list[str]:
    """Write tasks with their questions, `limit` of each kind of choice; return their names."""
    import polars as pl

    from shipworthy.data.bias_sets import as_choices, bbq
    from shipworthy.data.builtin import sentiment

    questions = bbq().head(limit)
    prompts = as_choices(questions)["prompt"]
    asked = questions.select("choices", "answer", prompts.alias("prompt"))
    reviews = sentiment().sample(fraction=1.0, seed=0, shuffle=True)
    rated = reviews.head(limit).select(
        pl.format("Review: {}\nThe review is", "text").alias("prompt"),
        pl.lit(["negative", "positive"]).alias("choices"),
        (pl.col("label") == "positive").cast(pl.Int64).alias("answer"),
    )
    # About 1,300 tokens each: three windows, the last of which reaches back.
    texts = reviews["text"].to_list()
    number = max(2, limit // 40)
    size = 55
    documents = [" ".join(texts[k * size : (k + 1) * size]) for k in range(number)]
    begun = pl.DataFrame(
        {"prompt": [one[:300] for one in texts[-max(4, limit // 16) :]]}
    ).with_columns(pl.lit(["none"]).alias("choices"), pl.lit(0).alias("answer"))
    kinds = {
        "bbq": (asked, CHOICE_TASK),
        "sentiment": (rated, CHOICE_TASK),
        "rolling": (pl.DataFrame({"text": documents}), ROLLING_TASK),
        "answers": (asked.head(max(4, limit // 8)), ANSWER_TASK),
        "long_answers": (begun, ANSWER_TASK),
    }
    for name, (frame, form) in kinds.items():
        file = folder / f"{name}.jsonl"
        frame.write_ndjson(file)
        until, room = ('["\\n"]', 48) if name == "answers" else ('["no such text"]', 48)
        (folder / f"{name}.yaml").write_text(
            form.format(name=name, file=file, until=until, room=room)
        )
    return list(kinds)


def candidate(folder: Path) -> Path:
    """Make a candidate's folder of the built-in language model."""
    from shipworthy.model import RuntimeInfo
    from shipworthy.model.checkpoint import write_info
    from shipworthy.model.runtimes import model_folder

    folder.mkdir()
    for file in model_folder("builtin:smollm2").iterdir():
        (folder / file.name).symlink_to(file)
    write_info(folder, RuntimeInfo("torch", (), WINDOW, does="continue"))
    return folder


def compare(theirs: dict[str, Any], ours: dict[str, Any]) -> dict[str, Any]:
    """Return how far two passes are apart; raise SystemExit where they say something else."""
    found: dict[str, Any] = {}
    for task, rows in theirs["samples"].items():
        mine = ours["samples"][task]
        assert rows.keys() == mine.keys()
        if task in ("answers", "long_answers"):
            other = [k for k in rows if rows[k] != mine[k]]
            if other:
                k = other[0]
                raise SystemExit(f"{task} {k}: {rows[k]} became {mine[k]} ({len(other)} in all)")
            characters = sum(len(rows[k][0]) for k in rows)
            found[task] = {"answers": len(rows), "equal": len(rows), "characters": characters}
            continue
        if task == "rolling":
            pairs = [(float(rows[k][0]), float(mine[k][0])) for k in rows]
            greedy = ties = 0
        else:
            pairs, greedy, ties = [], 0, 0
            for k in rows:
                one = [float(a[0]) for a in rows[k]]
                two = [float(a[0]) for a in mine[k]]
                pairs += list(zip(one, two, strict=True))
                greedy += sum(a[1] != b[1] for a, b in zip(rows[k], mine[k], strict=True))
                if one.index(max(one)) != two.index(max(two)):
                    best = sorted(one)[-2:]
                    if best[1] - best[0] > TIE:
                        raise SystemExit(f"{task} {k}: {one} became {two}")
                    ties += 1
        apart = [abs(a - b) for a, b in pairs]
        keys = [k for k in theirs["results"][task] if k.split(",")[0] in METRICS[task]]
        found[task] = {
            "compared": len(pairs),
            "most_nats": max(apart),
            "median_nats": statistics.median(apart),
            "most_relative": max(abs(a - b) / abs(a) for a, b in pairs),
            "greedy_differs": greedy,
            "ties": ties,
            "theirs": {k: theirs["results"][task][k] for k in keys},
            "ours": {k: ours["results"][task][k] for k in keys},
        }
    return found


METRICS = {
    "bbq": ("acc", "acc_norm"),
    "sentiment": ("acc", "acc_norm"),
    "rolling": ("word_perplexity", "byte_perplexity", "bits_per_byte"),
}


def measure(given: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Compare values, then take passes in turn; return differences, seconds and ratios."""
    tasks = folder / "tasks"
    tasks.mkdir()
    names = write_tasks(tasks, given.limit)
    ours = candidate(folder / "parent")
    common = {"tasks": str(tasks), "names": names, "threads": given.threads}
    mine = {"folder": str(ours), "threads": given.threads}
    peer = {"pretrained": str(ours.resolve()), "dtype": "float32", "max_length": WINDOW}
    settings: list[dict[str, Any]] = [
        {"name": "shipworthy", "model": "shipworthy", "arguments": mine, "batch": 1},
        {"name": "hf, batch 1", "model": "hf", "arguments": peer, "batch": 1},
        {
            "name": f"hf, batch {given.batch}",
            "model": "hf",
            "arguments": peer,
            "batch": given.batch,
        },
    ]
    command = [str(given.peer), str(PEERS / "lm_eval_side.py")]
    environment = {
        "PYTHONPATH": str(BENCHMARKS.parent / "src"),
        "HF_HUB_OFFLINE": "1",
        "HF_DATASETS_CACHE": str(folder / "datasets"),
    }
    sides = [
        Side(command, {**common, **one}, folder / f"{k}.log", **environment)
        for k, one in enumerate(settings)
    ]
    first = {side.name: side.ask("pass") for side in sides}
    apart = {
        name: compare(first[name], first["shipworthy"]) for name in first if name != "shipworthy"
    }
    passes: dict[str, list[dict[str, Any]]] = {side.name: [] for side in sides}
    for side in in_turn(sides, given.rounds):
        passes[side.name].append(side.ask("pass")["spent"])
    for side in sides:
        side.close()
    seconds = {
        name: {
            kind: {
                "seconds": [one[kind][0] for one in taken],
                "processor_seconds": [one[kind][1] for one in taken],
                "requests": taken[0][kind][2],
            }
            for kind in KINDS
        }
        for name, taken in passes.items()
        if taken
    }
    ratios = {
        name: {
            kind: statistics.median(
                theirs[kind][0] / own[kind][0]
                for theirs, own in zip(passes[name], passes["shipworthy"], strict=True)
            )
            for kind in KINDS
        }
        for name in seconds
        if name != "shipworthy"
    }
    memory = {name: one["peak_memory_mb"] for name, one in first.items()}
    return {"apart": apart, "seconds": seconds, "ratios": ratios, "memory_mb": memory}


def show(result: dict[str, Any]) -> None:
    """Print the result as lines for people."""
    for name, tasks in result["apart"].items():
        print(f"shipworthy beside {name}:")
        for task, one in tasks.items():
            if "equal" in one:
                print(
                    f"  {task}: {one['equal']} of {one['answers']} answers equal, "
                    f"{one['characters']:,} characters"
                )
                continue
            print(
                f"  {task}: {one['compared']} log-likelihoods, at most {one['most_nats']:.1e} nats "
                f"apart (relative {one['most_relative']:.1e}), median {one['median_nats']:.1e}; "
                f"greedy differs {one['greedy_differs']} times, {one['ties']} ties"
            )
            for key, value in one["theirs"].items():
                print(f"    {key}: {value!r} theirs, {one['ours'][key]!r} ours")
    for name, kinds in result["seconds"].items():
        said = ", ".join(
            f"{one['requests']} {KINDS[kind]} {statistics.median(one['seconds']):.1f} s "
            f"[{min(one['seconds']):.1f}-{max(one['seconds']):.1f}]"
            for kind, one in kinds.items()
        )
        print(f"{name}: {said}; peak {result['memory_mb'][name]:,.0f} MB")
    for name, ratio in result["ratios"].items():
        said = ", ".join(f"{KINDS[kind]} {value:.2f}" for kind, value in ratio.items())
        print(f"time of {name} / shipworthy: {said}")


def main() -> None:
    """Measure and print."""
    parser = options(__doc__, rounds=3)
    parser.add_argument("--limit", type=int, default=240, help="questions of each task of choices")
    parser.add_argument("--batch", type=int, default=16, help="larger batch of the peer")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument(
        "--peer", type=Path, default=peer_python("lm_eval"), help="python with lm_eval"
    )
    given = parser.parse_args()
    if not given.peer.exists():
        print(f"not run: no environment with the harness; {how_to_make('lm_eval')}")
        return
    with tempfile.TemporaryDirectory() as folder:
        measured = measure(given, Path(folder))
    kept = {name: vars(given)[name] for name in ("limit", "rounds", "threads")}
    tell("lm_eval", {**kept, **measured}, show, as_json=given.json)


if __name__ == "__main__":
    main()
