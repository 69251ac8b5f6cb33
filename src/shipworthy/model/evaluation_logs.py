"""Logs of evaluation tools as tables of answers, so that the ruler reads them like any file.

    lm-evaluation-harness   samples_*.jsonl (with --log_samples), or a folder of them
    Inspect                 a log, .eval or .json
    MLflow                  folder of a run or of its artifacts, or `mlflow:RUN_ID`

Each becomes one row a question with the columns of `COLUMNS`, and what the log says of the question
besides, for groups and units. A choice among answers is read as the choice. A free text is right or
wrong where the tool marked it so in every row, and refused where it did not.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from shipworthy.core.errors import DataError
from shipworthy.core.locale import text
from shipworthy.core.locale.libraries import translated
from shipworthy.model.spoken import SAID, VALUE

if TYPE_CHECKING:
    import polars as pl

Tool: TypeAlias = Literal["lm-eval", "inspect", "mlflow"]

LABEL, PREDICTION, ID = "target", "answer", "id"
TASK = "task"
SCORE_PREFIX = "probability_"
COLUMNS = (ID, TASK, LABEL, PREDICTION)
BY = "answer:"
"""Before the name of a second filter or scorer that marks the same answers otherwise."""

SAME = "#"
"""After the name of a field of long texts: equal for questions that share the text."""

MLFLOW = "mlflow:"

LONGEST_GROUP = 64
"""Characters of a value that can name a group; of a longer one only a digest leaves the log."""

_DIGEST = 12
_MARKS = {"C": True, "I": False, "N": False}

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

    Raises DataError naming file and row where a log cannot be used: an answer that is neither
    right nor wrong, a sample without an answer, an unfinished run.
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


def columns_for_groups(
    records: Iterable[Mapping[str, Any]], *, of: str, taken: Collection[str]
) -> dict[str, list[str | None]]:
    """Return what questions have in common as columns of text, by name.

    A field that is short and plain in every question is a column; one inside a record is named with
    dots, `source.title`. Of long texts that come more than once there is a digest, `passage#`: the
    unit of questions on one passage. Lists and numbers with decimals are left out. A name that the
    table itself uses (taken) stands behind `of` and a dot.
    """
    rows = [dict(_leaves(record)) for record in records]
    found: dict[str, list[str | None]] = {}
    for name in dict.fromkeys(name for row in rows for name in row):
        values = [row.get(name) for row in rows]
        free = name not in {*COLUMNS, SAID, *taken}
        free = free and not name.startswith((SCORE_PREFIX, VALUE, BY))
        column = name if free else f"{of}.{name}"
        if _plain(values):
            found.setdefault(column, [None if v is None else str(v) for v in values])
        elif _shared_texts(values):
            found[column + SAME] = [None if v is None else _digest(v) for v in values]
    return found


def _leaves(record: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the fields of a record and of the records in it."""
    for name, value in record.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{before}{name}.")
        else:
            yield f"{before}{name}", value


def _plain(values: list[Any]) -> bool:
    known = [v for v in values if v is not None]
    return bool(known) and all(
        isinstance(v, str | int | bool) and len(str(v)) <= LONGEST_GROUP for v in known
    )


def _shared_texts(values: list[Any]) -> bool:
    known = [v for v in values if v is not None]
    return all(isinstance(v, str) for v in known) and len(set(known)) < len(known)


def _digest(content: str) -> str:
    return hashlib.sha256(content.encode("utf-8", "surrogatepass")).hexdigest()[:_DIGEST]


def mark(value: Any) -> bool | None:
    """Say whether a score means right or wrong; None where it means neither.

    >>> mark(1.0), mark("C"), mark("N"), mark(0.5)
    (True, True, False, None)
    """
    if isinstance(value, str):
        return _MARKS.get(value)
    return bool(value) if isinstance(value, int | float) and value in (0, 1) else None


def checked_mark(value: Any, metric: str, *, task: str, file: Path, row: int) -> bool:
    """Return `mark`; raise DataError naming the row where an answer is partly right or unmarked."""
    found = mark(value)
    if found is not None:
        return found
    if isinstance(value, str | int | float):
        problem = text("error.logs.partial", metric=metric, value=value)
        raise DataError(problem, file=file, row=row, fix=text("error.logs.partial.fix"))
    raise unmarked(task, file=file, row=row)


def unmarked(task: str, *, file: Path, row: int) -> DataError:
    """Return the error for an answer that nothing calls right or wrong."""
    return DataError(
        text("error.logs.unmarked", task=task),
        file=file,
        row=row,
        fix=text("error.logs.unmarked.fix"),
    )


def parsed(content: bytes | str, file: str) -> Any:
    """Return a JSON document, or raise DataError naming the file."""
    try:
        return json.loads(content)
    except ValueError as error:
        problem = text("error.logs.broken", reason=translated(str(error).splitlines()[0]))
        raise DataError(problem, file=file) from None
