"""Samples of the lm-evaluation-harness, one row a question.

Of a choice, `answer` is the choice of the highest log-likelihood (the tool's `acc`), `answer_norm`
that of the highest log-likelihood a character (`acc_norm`). Both are compared with what the tool
says of each row, so that a log of a version that counts otherwise is refused and not misread.

Any other answer is right or wrong as the tool's own metric says. Where the task filters its answers
in several ways, `answer` follows the first of them and `answer:FILTER` each.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from shipworthy.core.errors import DataError
from shipworthy.core.locale import text
from shipworthy.model.evaluation_logs import (
    BY,
    ID,
    LABEL,
    PREDICTION,
    SCORE_PREFIX,
    TASK,
    checked_mark,
    columns_for_groups,
    unmarked,
)
from shipworthy.model.spoken import RIGHT, SAID, WRONG

if TYPE_CHECKING:
    import polars as pl
    from numpy.typing import NDArray

NORMALISED = "answer_norm"
UNFILTERED = "none"

_METRICS = {PREDICTION: "acc", NORMALISED: "acc_norm"}
_FIRST_MARKS = ("exact_match", "acc")
"""Metrics that say right or wrong, before any other that a task has."""


def read_samples(source: Path) -> pl.DataFrame:
    """Return the answers of one file of samples, or of all below a folder; a task is a group.

    Columns: id (task, number and hash of the question), task, target, answer; and the fields of the
    questions, see `columns_for_groups`. Of choices also answer_norm, and probability_0 .. where all
    questions have the same number of choices. Where some task is none, every answer is right or
    wrong; `said` is a free text.
    Raises DataError naming file and row.
    """
    import polars as pl

    files = sorted(source.rglob("samples_*.jsonl")) if source.is_dir() else [source]
    rows = [row for file in files for row in _rows(file)]
    if not rows:
        raise DataError(text("error.logs.empty"), file=source)
    marked = [row for row in rows if "scores" not in row]
    if marked:
        rows = [_as_marked(row) for row in rows]
    names = [ID, TASK, LABEL, PREDICTION]
    if len(marked) < len(rows):
        names.append(NORMALISED)
    further = {name for row in marked for name in row if name == SAID or name.startswith(BY)}
    names += sorted(further)
    columns: dict[str, Any] = {name: [row.get(name) for row in rows] for name in names}
    if not marked and len({len(row["scores"]) for row in rows}) == 1:
        shares = _softmax(np.array([row["scores"] for row in rows]))
        columns |= {f"{SCORE_PREFIX}{k}": shares[:, k] for k in range(shares.shape[1])}
    return pl.DataFrame(
        columns | columns_for_groups((row["doc"] for row in rows), of="doc", taken=columns)
    )


def _rows(file: Path) -> list[dict[str, Any]]:
    """Return the questions of a file, each once, whatever number of filters answers went by."""
    task = _task(file)
    samples = []
    with file.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            if line.strip():
                with _named(file, number):
                    sample = json.loads(line)
                    samples.append((number, sample, str(sample.get("filter", UNFILTERED))))
    filters = list(dict.fromkeys(name for _, _, name in samples))
    # Unfiltered answers are what the others were made of.
    first = UNFILTERED if UNFILTERED in filters else next(iter(filters), UNFILTERED)
    rows: list[dict[str, Any]] = []
    of_question: dict[Any, dict[str, Any]] = {}
    for number, sample, name in sorted(samples, key=lambda s: s[2] != first):
        with _named(file, number):
            question, choice = sample["doc_id"], _is_choice(sample)
            if name == first or (question not in of_question and not choice):
                read = _choice if choice else _marked
                rows.append(read(file, number, task, sample))
                of_question[question] = row = rows[-1]
            elif not choice:
                row = _marked(file, number, task, sample)
            if len(filters) > 1 and not choice:
                of_question[question][f"{BY}{name}"] = row[PREDICTION]
    return rows


@contextmanager
def _named(file: Path, number: int) -> Iterator[None]:
    """Say which row is not as the tool writes it."""
    try:
        yield
    except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        problem = text("error.logs.sample", reason=f"{type(error).__name__}: {error}")
        raise DataError(problem, file=file, row=number) from None


def _is_choice(sample: dict[str, Any]) -> bool:
    answers = sample["filtered_resps"]
    return len(answers) > 1 and all(isinstance(a, list) and len(a) == 2 for a in answers)


def _common(task: str, sample: dict[str, Any]) -> dict[str, Any]:
    return {
        ID: f"{task}/{sample['doc_id']}/{str(sample.get('doc_hash', ''))[:12]}",
        TASK: task,
        "doc": sample["doc"] if isinstance(sample["doc"], dict) else {},
    }


def _marked(file: Path, number: int, task: str, sample: dict[str, Any]) -> dict[str, Any]:
    """Return an answer that a metric of the tool calls right or wrong."""
    metrics = (*_FIRST_MARKS, *sample.get("metrics", ()))
    metric = next((m for m in metrics if isinstance(sample.get(m), int | float)), None)
    if metric is None:
        raise unmarked(task, file=file, row=number)
    right = checked_mark(sample[metric], metric, task=task, file=file, row=number)
    found = {LABEL: RIGHT, PREDICTION: RIGHT if right else WRONG, **_common(task, sample)}
    said = sample["filtered_resps"][:1]
    return found | {SAID: said[0]} if said and isinstance(said[0], str) else found


def _as_marked(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row of any kind as right or wrong: beside free texts a choice is no class."""
    if "scores" not in row:
        return {NORMALISED: row[PREDICTION], **row}
    marks = {n: RIGHT if row[n] == row[LABEL] else WRONG for n in (PREDICTION, NORMALISED)}
    return {**row, **marks, LABEL: RIGHT}


def _choice(file: Path, number: int, task: str, sample: dict[str, Any]) -> dict[str, Any]:
    scores = np.array([float(a[0]) for a in sample["filtered_resps"]])
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
        LABEL: str(target),
        PREDICTION: str(found[PREDICTION]),
        NORMALISED: str(found[NORMALISED]),
        "scores": scores.tolist(),
        **_common(task, sample),
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
