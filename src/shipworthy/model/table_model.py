"""Models of tables: rows of columns to classes or numbers; a runtime adds the weights.

    table-onnx       a linear model, as an ONNX graph
    table-torch      a small network, as safetensors
    table-lightgbm   trees, as LightGBM's text (extra `tabular`)

Rows come as a frame, or as JSON objects, which is how a served model gets them.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from shipworthy.core.device import threads as available_threads
from shipworthy.core.errors import DataError, InputError, MissingExtraError, ModelError
from shipworthy.core.locale import text
from shipworthy.core.locale.libraries import translated
from shipworthy.model.checkpoint import TREES, WEIGHTS, artefact_files, read_info
from shipworthy.model.decision import read_offsets
from shipworthy.model.onnx_runtime import open_graph
from shipworthy.model.table_columns import Columns, read_table
from shipworthy.model.text_classifier import log_softmax

if TYPE_CHECKING:
    import polars as pl
    import torch
    from numpy.typing import NDArray

    from shipworthy.core.progress import Step

    FloatArray: TypeAlias = NDArray[np.float64]

CHUNK = 8192
"""Rows that are answered at a time."""


@dataclass(frozen=True, eq=False)
class EncodedRows:
    """Rows as numbers. values: shape (n, columns)."""

    values: NDArray[Any]

    def __len__(self) -> int:
        return len(self.values)


class TableModel(ABC):
    """A candidate's folder, loaded; it classifies, or predicts where `info.does` says so.

    folder, info, classes: where it came from, its `runtime.json`, its classes (none where it
    predicts). threads: processors that answering uses, at least 1. offsets: what `decision.json`
    adds to the logits of each class.
    """

    def __init__(self, folder: Path | str, *, threads: int | None = None) -> None:
        """Check the folder; a runtime then loads the weights.

        threads: None takes all that this process may use.
        Raises ModelError where the folder is incomplete or unsafe.
        """
        if threads is not None and threads < 1:
            raise InputError(text("error.text_classifier.threads", threads=threads))
        self.folder = Path(folder)
        self.info = read_info(folder)
        artefact_files(folder)
        self.classes = self.info.classes
        self.offsets = read_offsets(folder, self.classes) if self.classes else np.zeros(1)
        self.threads = available_threads() if threads is None else threads
        self.preparation = read_table(folder)

    @abstractmethod
    def outputs(self, values: NDArray[Any]) -> FloatArray:
        """Answer to encoded rows: logits of the classes, shape (n, k), or numbers, (n, 1)."""

    def prepared(self, columns: Columns) -> NDArray[Any]:
        """Rows as the weights take them, shape (n, columns)."""
        return self.preparation.matrix(columns)

    def encode(self, texts: Sequence[str]) -> EncodedRows:
        """Numbers of each row; texts: a JSON object of the features each.

        Raises DataError naming the row for what is no object, or has a value of the wrong kind.
        """
        rows = [_parsed(written, place) for place, written in enumerate(texts)]
        return EncodedRows(self.prepared(self.preparation.of_records(rows)))

    def score(self, encoded: EncodedRows, step: Step | None = None) -> FloatArray:
        """Natural logarithms of the class probabilities of encoded rows, shape (n, k).

        Of a model that predicts: the numbers, shape (n,). step: called with the number of rows
        after each part.
        """
        parts = []
        for start in range(0, max(len(encoded), 1), CHUNK):
            values = encoded.values[start : start + CHUNK]
            found = self.outputs(values)
            predicts = self.info.does == "predict"
            parts.append(found[:, 0] if predicts else log_softmax(found + self.offsets))
            if step is not None:
                step(len(values))
        return np.concatenate(parts)

    def log_probabilities(self, rows: pl.DataFrame, step: Step | None = None) -> FloatArray:
        """Natural logarithms of the class probabilities, shape (n, k), columns as `classes`.

        rows: a frame with the columns of `preparation`.
        Raises DataError for a column that is absent or a value of the wrong kind.
        """
        return self.score(EncodedRows(self.prepared(self.preparation.of_frame(rows))), step)

    def predict(self, rows: pl.DataFrame, step: Step | None = None) -> FloatArray:
        """Predicted values, shape (n,), in the unit of the label."""
        return self.score(EncodedRows(self.prepared(self.preparation.of_frame(rows))), step)


class LinearTable(TableModel):
    """A folder of the runtime `table-onnx`."""

    def __init__(self, folder: Path | str, *, threads: int | None = None) -> None:
        """Load a folder; see `TableModel`."""
        super().__init__(folder, threads=threads)
        self.session = open_graph(self.folder, self.threads)

    def outputs(self, values: NDArray[Any]) -> FloatArray:
        """Answer to encoded rows, shape (n, k) or (n, 1)."""
        found: FloatArray = self.session.run(None, {"rows": values})[0].astype(np.float64)
        return found


class NetworkTable(TableModel):
    """A folder of the runtime `table-torch`."""

    def __init__(self, folder: Path | str, *, threads: int | None = None) -> None:
        """Load a folder; see `TableModel`."""
        super().__init__(folder, threads=threads)
        from safetensors.torch import load_file

        weights = load_file(self.folder / WEIGHTS)
        layers = sorted({int(name.split(".")[0]) for name in weights})
        self.layers = [(weights[f"{k}.weight"], weights[f"{k}.bias"]) for k in layers]

    def outputs(self, values: NDArray[Any]) -> FloatArray:
        """Answer to encoded rows, shape (n, k) or (n, 1)."""
        import torch

        from shipworthy.model.torch_runtime import torch_threads

        with torch_threads(self.threads), torch.inference_mode():
            found = forward(torch.from_numpy(values), self.layers).numpy().astype(np.float64)
        if self.info.does == "predict":
            found = found * self.preparation.spread + self.preparation.center
        return np.asarray(found)


def forward(
    values: torch.Tensor, layers: Sequence[tuple[torch.Tensor, torch.Tensor]]
) -> torch.Tensor:
    """Return the last layer's output; between layers, what is below 0 becomes 0."""
    import torch

    for place, (weight, bias) in enumerate(layers):
        values = torch.nn.functional.linear(values, weight, bias)
        if place + 1 < len(layers):
            values = torch.relu(values)
    return values


class BoostedTable(TableModel):
    """A folder of the runtime `table-lightgbm`."""

    def __init__(self, folder: Path | str, *, threads: int | None = None) -> None:
        """Load a folder; see `TableModel`. Raises MissingExtraError without LightGBM."""
        super().__init__(folder, threads=threads)
        try:
            import lightgbm
        except ImportError as error:
            raise MissingExtraError("LightGBM", "tabular") from error
        try:
            self.booster = lightgbm.Booster(
                model_str=(self.folder / TREES).read_text(encoding="utf-8"),
            )
        except (lightgbm.basic.LightGBMError, ValueError, IndexError) as error:
            raise ModelError(
                text("error.table_model.trees", file=TREES, reason=translated(str(error))),
                folder=folder,
            ) from error

    def prepared(self, columns: Columns) -> NDArray[Any]:
        """Rows as trees take them, shape (n, columns)."""
        return self.preparation.codes(columns)

    def outputs(self, values: NDArray[Any]) -> FloatArray:
        """Answer to encoded rows, shape (n, k) or (n, 1)."""
        k = max(len(self.classes), 1)
        if not len(values):
            return np.zeros((0, k))
        raw = np.asarray(
            self.booster.predict(values, raw_score=True, num_threads=self.threads), np.float64
        )
        if raw.ndim == 2:
            return raw
        # Of two classes, the trees give the logarithm of the odds of the second.
        return np.column_stack([np.zeros(len(raw)), raw]) if k == 2 else raw[:, None]


def _parsed(written: str, place: int) -> dict[str, Any]:
    try:
        row = json.loads(written)
    except ValueError as error:
        problem = text("error.table_model.no_object", reason=translated(str(error)))
        raise DataError(problem, row=place + 1) from error
    if not isinstance(row, dict):
        problem = text("error.table_model.no_object", reason=type(row).__name__)
        raise DataError(problem, row=place + 1)
    return row
