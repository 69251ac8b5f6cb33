"""What a model answered on the rows of a split, kept as a file and read back as predictions."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

import numpy as np

from shipworthy.core.errors import ModelError
from shipworthy.core.locale import text
from shipworthy.model.class_names import default_positive
from shipworthy.model.predictions import Predictions

if TYPE_CHECKING:
    import polars as pl

    from shipworthy.data.settings import DataSettings

ANSWERS = "answers.parquet"
PREDICTION = "prediction"
NUMBERS = ("number",)
"""Stands for the classes of a model that predicts numbers."""


def write_answers(
    model_folder: Path, rows: pl.DataFrame, classes: tuple[str, ...], out: Path
) -> None:
    """Write the log-probability of each class for each row, or the number predicted for it.

    model_folder: of a candidate, whatever its runtime.
    Raises ModelError where the model has other classes than the data.
    """
    import polars as pl

    from shipworthy.core.progress import progress
    from shipworthy.model.runtimes import load_predictor
    from shipworthy.model.table_model import TableModel

    model = load_predictor(model_folder)
    if isinstance(model, TableModel) and model.info.does == "predict" and not classes:
        with progress("measure", total=rows.height, unit="rows") as step:
            predicted = model.predict(rows, step)
        pl.DataFrame({PREDICTION: predicted}).write_parquet(out / ANSWERS)
        return
    if tuple(model.classes) != classes:
        told = ", ".join(model.classes)
        raise ModelError(text("error.answers.classes", told=told, classes=", ".join(classes)))
    with progress("measure", total=rows.height, unit="texts") as step:
        answers = model.log_probabilities(rows, step)
    columns = {f"log_probability_{k}": answers[:, k] for k in range(len(classes))}
    pl.DataFrame(columns).write_parquet(out / ANSWERS)


class RowKeys(TypedDict):
    """What predictions keep of their rows: the fields of `Predictions` with these names."""

    frame: pl.DataFrame
    ids: pl.Series | None
    label: str
    id: str | None
    groups: tuple[str, ...]
    unit: str | None


def row_keys(rows: pl.DataFrame, columns: DataSettings) -> RowKeys:
    """Return the groups, units and ids of rows, and what their columns are called."""
    import polars as pl

    kept = dict.fromkeys([*columns.groups, *([columns.unit] if columns.unit else [])])
    return RowKeys(
        frame=rows.select(list(kept)),
        ids=rows[columns.id].cast(pl.String) if columns.id else None,
        label=columns.label,
        id=columns.id,
        groups=columns.groups,
        unit=columns.unit,
    )


def read_answers(
    folder: Path,
    rows: pl.DataFrame,
    columns: DataSettings,
    classes: tuple[str, ...],
    *,
    name: str,
    artefact_digest: str,
) -> Predictions:
    """Return the answers in a folder as predictions on their rows.

    The digest of the predictions is that of the artefact: two artefacts are the same model only
    where their bytes are.
    """
    import polars as pl

    if not classes:
        found = pl.read_parquet(folder / ANSWERS)[PREDICTION].to_numpy().astype(np.float64)
        nothing = np.zeros(rows.height, dtype=np.int64)
        label = rows[columns.label].cast(pl.Float64).to_numpy().astype(np.float64)
        return Predictions(
            name=name, file=name, classes=NUMBERS, positive=None, labels=nothing,
            predicted=nothing, scores=None, scored=(), digest=artefact_digest,
            values={"label": label, PREDICTION: found}, form="number", **row_keys(rows, columns),
        )  # fmt: skip
    probabilities = np.exp(pl.read_parquet(folder / ANSWERS).to_numpy())
    labels = rows[columns.label].cast(pl.Enum(classes)).to_physical().to_numpy().astype(np.int64)
    return Predictions(
        name=name,
        file=name,
        classes=classes,
        positive=columns.positive or (default_positive(classes) if len(classes) == 2 else None),
        labels=labels,
        predicted=probabilities.argmax(axis=1).astype(np.int64),
        scores=probabilities / probabilities.sum(axis=1, keepdims=True),
        scored=classes,
        digest=artefact_digest,
        **row_keys(rows, columns),
    )
