"""Candidates as models of the lm-evaluation-harness, under the name `shipworthy`.

    python -m shipworthy.model.lm_eval_adapter run --model shipworthy
        --model_args folder=runs/mine/candidates/parent --tasks arc_easy
        --log_samples --output_path logs

is `lm_eval run` that knows this name; in Python, `run_tasks` does the same. `judge` reads the files
of samples that both write. The harness is no dependency: it is imported when it is asked for. It
has no entry points for models, so that somebody must call `register` before it looks for the name.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

from shipworthy.core.errors import (
    InputError,
    ModelError,
    SettingsError,
    ShipworthyError,
    did_you_mean,
)
from shipworthy.core.locale import text
from shipworthy.model.checkpoint import artefact_digest, read_info
from shipworthy.model.lm_eval_answers import open_answers

NAME = "shipworthy"


@dataclass(frozen=True)
class TaskRun:
    """What the harness found.

    samples: task -> file of its samples. results: task -> metric -> value, as the harness names
    them (`acc,none`).
    """

    samples: Mapping[str, Path]
    results: Mapping[str, Mapping[str, float]]


def run_tasks(
    folder: Path | str,
    tasks: Sequence[str],
    *,
    out: Path | str,
    limit: int | None = None,
    include: Path | str | None = None,
    shots: int | None = None,
    chat: bool = False,
    max_length: int | None = None,
    threads: int | None = None,
) -> TaskRun:
    """Answer tasks of the harness with a candidate and write its files of samples.

    limit: questions of each task; None is all. include: folder of one's own tasks. shots: examples
    in each prompt; None is what the task says. chat: put prompts into the candidate's template.
    max_length: see `HarnessAnswers`. `judge` takes the folder `out` as a whole.
    Raises ModelError where the harness is not installed or the folder is no language model,
    SettingsError for an unknown task, InputError for an `out` that holds samples already.
    """
    made = harness_model()(folder=folder, max_length=max_length, threads=threads)
    manager = import_module("lm_eval.tasks").TaskManager(
        include_path=None if include is None else str(include)
    )
    for task in tasks:
        if not manager.match_tasks([task]):
            fix = did_you_mean(task, manager.all_tasks)
            raise SettingsError(text("error.lm_eval.task", task=task), fix=fix)
    if next(Path(out).rglob("samples_*.jsonl"), None) is not None:
        raise InputError(text("error.lm_eval.out", out=out))
    tracker = import_module("lm_eval.loggers").EvaluationTracker(output_path=str(out))
    found = import_module("lm_eval").simple_evaluate(
        model=made,
        # It names the folder of the files.
        model_args={"model": Path(folder).name},
        tasks=list(tasks),
        num_fewshot=shots,
        limit=limit,
        log_samples=True,
        apply_chat_template=chat,
        task_manager=manager,
        evaluation_tracker=tracker,
    )
    samples = found.pop("samples")
    tracker.save_results_aggregated(results=found, samples=samples)
    files = {}
    for task, rows in samples.items():
        tracker.save_results_samples(task_name=task, samples=rows)
        written = sorted(Path(out).rglob(f"samples_{task}_{tracker.date_id}.jsonl"))
        # It logs a failure and goes on.
        if not written:
            raise InputError(text("error.lm_eval.not_written", task=task, out=out))
        files[task] = written[0]
    results = {
        task: {k: float(v) for k, v in values.items() if isinstance(v, int | float)}
        for task, values in found["results"].items()
    }
    return TaskRun(files, results)


def register() -> None:
    """Make the name `shipworthy` known to the harness of this process."""
    model = harness_model()
    import_module("lm_eval.api.registry").register_model(NAME)(model)


@cache
def harness_model() -> Any:
    """Return the class that the harness makes models of: an `lm_eval.api.model.LM`.

    Raises ModelError where the harness is not installed.
    """
    try:
        base: Any = import_module("lm_eval.api.model").LM
    except ImportError:
        raise ModelError(
            text("error.lm_eval.absent"), fix=text("error.lm_eval.absent.fix")
        ) from None

    class ShipworthyLM(base):  # type: ignore[misc]
        """A candidate's folder, as the harness asks it."""

        def __init__(
            self,
            folder: Path | str | None = None,
            *,
            pretrained: Path | str | None = None,
            max_length: int | None = None,
            threads: int | None = None,
            **_: Any,
        ) -> None:
            """Open the candidate.

            folder, or pretrained: under the latter the harness names its own folder of samples.
            max_length, threads: see `open_answers`. What else the harness passes is of no use here:
            a batch size, as batches hold the tokens that are computed well, and a device, `cuda:0`
            unless said otherwise, as candidates answer on processors.
            """
            super().__init__()
            place = folder if folder is not None else pretrained
            if place is None:
                raise ModelError(text("error.lm_eval.folder"), fix=text("error.lm_eval.folder.fix"))
            self.folder = Path(place)
            self.asked = open_answers(self.folder, max_length=max_length, threads=threads)

        def loglikelihood(self, requests: Sequence[Any], **_: Any) -> list[tuple[float, bool]]:
            """Log-likelihood of each continuation, and whether it is the greedy one."""
            return self.asked.likelihoods([request.args for request in requests])

        def loglikelihood_rolling(self, requests: Sequence[Any], **_: Any) -> list[float]:
            """Log-likelihood of whole texts."""
            return self.asked.rolling([request.args[0] for request in requests])

        def generate_until(self, requests: Sequence[Any], **_: Any) -> list[str]:
            """Answers, cut at the first text that ends one."""
            return self.asked.answers([request.args for request in requests])

        def apply_chat_template(
            self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True
        ) -> str:
            """Put a conversation into the candidate's template."""
            return self.asked.chat(chat_history, answer_next=add_generation_prompt)

        def chat_template(self, chat_template: bool | str = False) -> str:
            """Return the template that the harness notes beside its results."""
            return self.asked.written_template if chat_template else ""

        @property
        def tokenizer_name(self) -> str:
            """What tells the harness' stored requests of two candidates apart."""
            return artefact_digest(self.folder)

        def get_model_info(self) -> dict[str, Any]:
            """What the harness notes of a model: which files it was."""
            return {
                "model_num_parameters": self.asked.model.parameters,
                "model_dtype": read_info(self.folder).runtime,
                "model_sha": artefact_digest(self.folder),
            }

    return ShipworthyLM


def main() -> None:
    """Run the command line of the harness, with candidates among its models."""
    try:
        register()
        import_module("lm_eval.__main__").cli_evaluate()
    except ShipworthyError as error:
        print(f"shipworthy: {error}", file=sys.stderr)
        raise SystemExit(error.exit_code) from None


if __name__ == "__main__":
    main()
