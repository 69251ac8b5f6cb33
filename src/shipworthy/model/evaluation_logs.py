"""Logs of evaluation tools as tables of answers, so that the ruler reads them like any file.

    lm-evaluation-harness   samples_*.jsonl (with --log_samples), or a folder of them
    Inspect                 a log, .eval or .json
    MLflow                  folder of a run or of its artifacts, or `mlflow:RUN_ID`

Each becomes one row a question with the columns of `COLUMNS`, and what the log says of the question
besides, for groups. Only tasks with a choice of answers are read: a free text is not right or wrong
until somebody says so.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from shipworthy.core.errors import DataError
from shipworthy.core.locale import text
from shipworthy.core.locale.libraries import translated

if TYPE_CHECKING:
    import polars as pl

Tool: TypeAlias = Literal["lm-eval", "inspect", "mlflow"]

LABEL, PREDICTION, ID = "target", "answer", "id"
TASK = "task"
SCORE_PREFIX = "probability_"
COLUMNS = (ID, TASK, LABEL, PREDICTION)
MLFLOW = "mlflow:"

LONGEST_GROUP = 64
"""Characters of a value that can name a group; a longer one is a text and stays in the log."""

_HEAD = 1 << 16


def recognise(source: Path | str) -> Tool | None:
    """Say which tool wrote a file or folder; None for a plain table and for what is not there."""
    if str(source).startswith(MLFLOW):
        return "mlflow"
    path = Path(source)
    if path.is_dir():
        if next(path.rglob("samples_*.jsonl"), None) is not None:
            return "lm-eval"
        return "mlflow" if (path / "artifacts").is_dir() or path.name == "artifacts" else None
    if path.suffix == ".eval":
        return "inspect"
    if path.suffix == ".jsonl" and path.is_file():
        with path.open("rb") as file:
            head = file.read(_HEAD)
        return "lm-eval" if b'"doc_id"' in head and b'"filtered_resps"' in head else None
    if path.suffix == ".json" and path.is_file():
        with path.open("rb") as file:
            head = file.read(_HEAD)
        if b'"eval"' in head and b'"status"' in head:
            return "inspect"
        return "mlflow" if b'"columns"' in head else None
    return None


def read_answers_table(source: Path | str) -> pl.DataFrame:
    """Return a table of answers: of a log, or the rows of a plain file as they are.

    Raises DataError naming file and row where a log cannot be used: no choice task, a sample
    without an answer, an unfinished run.
    """
    tool = recognise(source)
    if tool == "lm-eval":
        from shipworthy.model.lm_eval_samples import read_samples

        return read_samples(Path(source))
    if tool == "inspect":
        from shipworthy.model.inspect_logs import read_inspect_log

        return read_inspect_log(Path(source))
    if tool == "mlflow":
        from shipworthy.model.mlflow_tables import read_mlflow_table

        return read_mlflow_table(str(source))
    from shipworthy.data.sources import read_table

    return read_table(source)


def score_columns(table: pl.DataFrame) -> dict[str, str]:
    """Return class -> column of its probability, for a table that has one for each class."""
    return {
        name.removeprefix(SCORE_PREFIX): name
        for name in table.columns
        if name.startswith(SCORE_PREFIX)
    }


def columns_for_groups(records: Iterable[Mapping[str, Any]]) -> dict[str, list[str | None]]:
    """Return what questions have in common as columns of text: short plain values by name.

    A name that stands for a text, a list or a record in any question is left out, as are the names
    that the table itself uses.
    """
    rows = list(records)
    names = dict.fromkeys(name for row in rows for name in row)
    found = {}
    for name in names:
        values = [row.get(name) for row in rows]
        if name not in COLUMNS and not name.startswith(SCORE_PREFIX) and _plain(values):
            found[name] = [None if v is None else str(v) for v in values]
    return found


def _plain(values: list[Any]) -> bool:
    known = [v for v in values if v is not None]
    return bool(known) and all(
        isinstance(v, str | int | bool) and len(str(v)) <= LONGEST_GROUP for v in known
    )


def parsed(content: bytes | str, file: str) -> Any:
    """Return a JSON document, or raise DataError naming the file."""
    try:
        return json.loads(content)
    except ValueError as error:
        problem = text("error.logs.broken", reason=translated(str(error).splitlines()[0]))
        raise DataError(problem, file=file) from None
