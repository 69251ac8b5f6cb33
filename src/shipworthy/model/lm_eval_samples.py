"""Samples of the lm-evaluation-harness: the log-likelihood of each choice becomes an answer.

`answer` is the choice of the highest log-likelihood (the tool's `acc`), `answer_norm` that of the
highest log-likelihood a character (`acc_norm`). Both are compared with what the tool says of each
row, so that a log of a version that counts otherwise is refused and not misread.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from shipworthy.core.errors import DataError
from shipworthy.core.locale import text
from shipworthy.model.evaluation_logs import (
    ID,
    LABEL,
    PREDICTION,
    SCORE_PREFIX,
    TASK,
    columns_for_groups,
)

if TYPE_CHECKING:
    import polars as pl
    from numpy.typing import NDArray

NORMALISED = "answer_norm"
UNFILTERED = "none"

_METRICS = {PREDICTION: "acc", NORMALISED: "acc_norm"}


def read_samples(source: Path) -> pl.DataFrame:
    """Return the answers of one file of samples, or of all below a folder; a task is a group.

    Columns: id (task, number and hash of the question), task, target, answer, answer_norm,
    probability_0 .. where all questions have the same number of choices, and short plain fields of
    the questions. Raises DataError naming file and row.
    """
    import polars as pl

    files = sorted(source.rglob("samples_*.jsonl")) if source.is_dir() else [source]
    rows = [row for file in files for row in _rows(file)]
    if not rows:
        raise DataError(text("error.logs.empty"), file=source)
    columns: dict[str, Any] = {
        name: [row[name] for row in rows] for name in (ID, TASK, LABEL, PREDICTION, NORMALISED)
    }
    choices = {len(row["scores"]) for row in rows}
    if len(choices) == 1:
        shares = _softmax(np.array([row["scores"] for row in rows]))
        columns |= {f"{SCORE_PREFIX}{k}": shares[:, k] for k in range(shares.shape[1])}
    columns |= {
        name: values
        for name, values in columns_for_groups(row["doc"] for row in rows).items()
        if name not in columns
    }
    return pl.DataFrame(columns)


def _rows(file: Path) -> Iterator[dict[str, Any]]:
    task = _task(file)
    with file.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                sample = json.loads(line)
                if sample.get("filter", UNFILTERED) != UNFILTERED:
                    # The same answers once more, after a filter of the tool.
                    continue
                yield _row(file, number, task, sample)
            except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
                problem = text("error.logs.sample", reason=f"{type(error).__name__}: {error}")
                raise DataError(problem, file=file, row=number) from None


def _row(file: Path, number: int, task: str, sample: dict[str, Any]) -> dict[str, Any]:
    answers = sample["filtered_resps"]
    if len(answers) < 2 or not all(isinstance(a, list) and len(a) == 2 for a in answers):
        raise DataError(
            text("error.logs.no_choice", task=task),
            file=file,
            row=number,
            fix=text("error.logs.no_choice.fix"),
        )
    scores = np.array([float(a[0]) for a in answers])
    asked = list(sample["arguments"].values())
    continuations = [a["arg_1"] if isinstance(a, dict) else a[1] for a in asked]
    lengths = np.array([max(len(c.lstrip()), 1) for c in continuations], dtype=np.float64)
    target = _target(sample, continuations)
    found = {PREDICTION: int(scores.argmax()), NORMALISED: int((scores / lengths).argmax())}
    for name, metric in _METRICS.items():
        said = sample.get(metric)
        if said is not None and bool(said) != (found[name] == target):
            raise DataError(
                text("error.logs.disagrees", metric=metric, value=said),
                file=file,
                row=number,
                fix=text("error.logs.disagrees.fix"),
            )
    return {
        ID: f"{task}/{sample['doc_id']}/{str(sample.get('doc_hash', ''))[:12]}",
        TASK: task,
        LABEL: str(target),
        PREDICTION: str(found[PREDICTION]),
        NORMALISED: str(found[NORMALISED]),
        "scores": scores.tolist(),
        "doc": sample["doc"],
    }


def _target(sample: dict[str, Any], continuations: list[str]) -> int:
    """Return the place of the right choice; the tool writes it as a number or as the choice."""
    target = sample["target"]
    try:
        return int(target)
    except ValueError:
        return [c.strip() for c in continuations].index(str(target).strip())


def _task(file: Path) -> str:
    """Return the task that a file of samples is named after.

    >>> _task(Path("samples_boolq_2026-01-31T09-00-00.000000.jsonl"))
    'boolq'
    """
    name = file.stem.removeprefix("samples_")
    head, _, tail = name.rpartition("_")
    return head if head and tail[:4].isdigit() else name


def _softmax(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    shares: NDArray[np.float64] = powers / powers.sum(axis=1, keepdims=True)
    return shares
