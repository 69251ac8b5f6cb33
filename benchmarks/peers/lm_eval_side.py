"""A model of the lm-evaluation-harness, its own or ours, a pass at a time; run by lm_eval.py.

Its argument is a JSON object (model, arguments, batch, tasks: a folder, names, threads). The line
`pass` on stdin is answered by one JSON line on stdout: results, samples, and the seconds that the
model itself took for each kind of request. Any other line ends it.
"""

import json
import logging
import resource
import sys
from time import perf_counter, process_time
from typing import Any

import torch
from lm_eval.api.registry import get_model
from lm_eval.tasks import TaskManager

from lm_eval import simple_evaluate

KINDS = ("loglikelihood", "loglikelihood_rolling", "generate_until")


def timed(model: Any, spent: dict[str, list[float]]) -> None:
    """Note what each kind of request takes, by the clock and in processor seconds."""
    for kind in KINDS:
        answer = getattr(model, kind)

        def ask(requests: Any, answer: Any = answer, kind: str = kind, **given: Any) -> Any:
            begun, used = perf_counter(), process_time()
            found = answer(requests, **given)
            spent[kind] = [perf_counter() - begun, process_time() - used, len(requests)]
            return found

        setattr(model, kind, ask)


def main() -> None:
    """Answer passes until told to end."""
    given = json.loads(sys.argv[1])
    # What the harness prints is no answer.
    answers, sys.stdout = sys.stdout, sys.stderr
    logging.disable(logging.WARNING)
    torch.set_num_threads(given["threads"])
    if given["model"] == "shipworthy":
        from shipworthy.model.lm_eval_adapter import register

        register()
    model = get_model(given["model"])(**given["arguments"], batch_size=given["batch"], device="cpu")
    spent: dict[str, list[float]] = {}
    timed(model, spent)
    manager = TaskManager(include_path=given["tasks"], include_defaults=False)
    print(json.dumps({"torch": torch.__version__}), file=answers, flush=True)
    while sys.stdin.readline().strip() == "pass":
        spent.clear()
        found = simple_evaluate(
            model=model, tasks=given["names"], task_manager=manager, bootstrap_iters=0
        )
        samples = {
            task: {str(one["doc_id"]): one["filtered_resps"] for one in rows}
            for task, rows in found["samples"].items()
        }
        said = {
            "results": found["results"],
            "samples": samples,
            "spent": dict(spent),
            "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        }
        print(json.dumps(said, default=float), file=answers, flush=True)


if __name__ == "__main__":
    main()
