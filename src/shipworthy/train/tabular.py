"""Models of tables are fitted and written: linear, a small network, boosted trees.

The rows to train on say how columns become numbers and what the weights are; calibration rows say
when a network and trees have learned enough. No pickle is written: an ONNX graph of one matrix,
safetensors, or LightGBM's text.
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from shipworthy.core.errors import MissingExtraError
from shipworthy.core.files import write_atomically
from shipworthy.core.progress import progress
from shipworthy.model.checkpoint import (
    GRAPH,
    TREES,
    WEIGHTS,
    Does,
    Runtime,
    RuntimeInfo,
    write_info,
)
from shipworthy.model.table_columns import Columns, Preparation, prepare, write_table
from shipworthy.train.fitted import FACTS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import polars as pl
    from numpy.typing import NDArray

    from shipworthy.train.table_settings import (
        BoostingSettings,
        LinearSettings,
        TableKind,
        TableModelSettings,
    )

    FloatArray: TypeAlias = NDArray[np.float64]

RUNTIMES: dict[TableKind, Runtime] = {
    "linear": "table-onnx", "network": "table-torch", "boosting": "table-lightgbm",
}  # fmt: skip

INT32 = 2**31 - 1


@dataclass(frozen=True)
class FittedTable:
    """What became of it.

    rows: to train on; columns: numbers that a row becomes; rounds: passes, trees or steps of the
    solver that were kept; loss: on calibration rows (nats, or mean squared error of a number), NaN
    without any; missing: values that were missing in the rows to train on.
    """

    model: TableKind
    rows: int
    columns: int
    rounds: int
    loss: float
    missing: int
    seconds: float


def fit_table(
    train: pl.DataFrame,
    calibration: pl.DataFrame,
    settings: TableModelSettings,
    *,
    numbers: Sequence[str],
    categories: Sequence[str],
    label: str,
    classes: tuple[str, ...],
    seed: int,
    out: Path,
) -> FittedTable:
    """Fit a model on rows and write its folder.

    label: classes as text, or numbers where there are no classes. seed: in [0, 2**32). out: made;
    `runtime.json` is written last.
    Raises MissingExtraError for boosting without LightGBM.
    """
    started = time.monotonic()
    out.mkdir(parents=True, exist_ok=True)
    prepared = prepare(train, numbers, categories)
    rows = (prepared.of_frame(train), prepared.of_frame(calibration))
    answers = (answers_of(train, label, classes), answers_of(calibration, label, classes))
    with progress("train", total=1, unit="models") as step:
        if settings.linear is not None:
            rounds, loss = _linear(rows, answers, prepared, classes, settings.linear, out)
        elif settings.network is not None:
            from shipworthy.train.table_network import scaled, train_network

            prepared = prepared if classes else scaled(prepared, answers[0])
            rounds, loss = train_network(
                (prepared.matrix(rows[0]), prepared.matrix(rows[1])), answers, prepared, classes,
                settings.network, seed=seed, file=out / WEIGHTS,
            )  # fmt: skip
        else:
            assert settings.boosting is not None
            rounds, loss = _boosting(rows, answers, prepared, classes, settings.boosting, seed, out)
        step(1)
    write_table(out, prepared)
    does: Does = "classify" if classes else "predict"
    write_info(out, RuntimeInfo(RUNTIMES[settings.kind], classes, does=does, text=""))
    missing = sum(train[name].null_count() for name in prepared.names)
    width = len(prepared.names) if settings.boosting is not None else prepared.width
    seconds = time.monotonic() - started
    return FittedTable(settings.kind, train.height, width, rounds, loss, missing, seconds)


def write_fitted_table(folder: Path, fitted: FittedTable) -> None:
    """Write what became of it beside the model's folder."""
    told = {k: None if v != v else v for k, v in asdict(fitted).items()}
    write_atomically(folder / FACTS, json.dumps(told, indent=2, sort_keys=True) + "\n")


def answers_of(rows: pl.DataFrame, label: str, classes: tuple[str, ...]) -> NDArray[Any]:
    """Return codes of the classes, or the numbers where there are none; shape (n,)."""
    import polars as pl

    if not classes:
        return rows[label].cast(pl.Float64).to_numpy()
    return rows[label].cast(pl.Enum(classes)).to_physical().to_numpy().astype(np.int64)


def loss_of(outputs: FloatArray, answers: NDArray[Any], classes: tuple[str, ...]) -> float:
    """Return the mean loss of logits (n, k) in nats, or of numbers (n, 1) squared; NaN of none."""
    from shipworthy.model.text_classifier import log_softmax

    if not len(answers):
        return float("nan")
    if not classes:
        return float(np.mean((outputs[:, 0] - answers) ** 2))
    return float(-log_softmax(outputs)[np.arange(len(answers)), answers].mean())


# -- linear ----------------------------------------------------------------------------------------


def _linear(
    rows: tuple[Columns, Columns],
    answers: tuple[NDArray[Any], NDArray[Any]],
    prepared: Preparation,
    classes: tuple[str, ...],
    settings: LinearSettings,
    out: Path,
) -> tuple[int, float]:
    import warnings

    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression, Ridge

    values = prepared.matrix(rows[0]).astype(np.float64)
    with warnings.catch_warnings():
        # Where it stopped at its last step, the steps that are told say so.
        warnings.simplefilter("ignore", ConvergenceWarning)
        if classes:
            fitted = LogisticRegression(C=1 / settings.l2, max_iter=settings.most_steps)
        else:
            fitted = Ridge(alpha=settings.l2, solver="lsqr", max_iter=settings.most_steps)
        fitted.fit(values, answers[0])
    weights, bias = np.atleast_2d(fitted.coef_).T, np.atleast_1d(fitted.intercept_)
    if len(classes) == 2:
        # The one row is about the second class; the logit of the first is 0.
        weights = np.column_stack([np.zeros(len(weights)), weights])
        bias = np.array([0.0, bias[0]])
    (out / GRAPH).write_bytes(linear_graph(weights, bias))
    outputs = prepared.matrix(rows[1]) @ weights + bias
    steps = np.max(fitted.n_iter_) if fitted.n_iter_ is not None else 1
    return int(steps), loss_of(outputs, answers[1], classes)


def linear_graph(weights: FloatArray, bias: FloatArray) -> bytes:
    """Return an ONNX graph of rows @ weights + bias; weights: (columns, k), bias: (k,).

    Input `rows`, (n, columns) in single precision; output `outputs`, (n, k).
    """
    from onnx import TensorProto, checker, helper, numpy_helper

    def tensor(name: str, shape: list[str | int]) -> Any:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

    columns, k = weights.shape
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["rows", "weights"], ["product"]),
            helper.make_node("Add", ["product", "bias"], ["outputs"]),
        ],
        "linear",
        [tensor("rows", ["n", columns])],
        [tensor("outputs", ["n", k])],
        [
            numpy_helper.from_array(weights.astype(np.float32), "weights"),
            numpy_helper.from_array(bias.astype(np.float32), "bias"),
        ],
    )
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8,
        producer_name="shipworthy",
    )  # fmt: skip
    checker.check_model(model)
    content: bytes = model.SerializeToString(deterministic=True)
    return content


# -- trees -----------------------------------------------------------------------------------------


def _boosting(
    rows: tuple[Columns, Columns],
    answers: tuple[NDArray[Any], NDArray[Any]],
    prepared: Preparation,
    classes: tuple[str, ...],
    settings: BoostingSettings,
    seed: int,
    out: Path,
) -> tuple[int, float]:
    try:
        import lightgbm
    except ImportError as error:
        raise MissingExtraError("LightGBM", "tabular") from error
    k = len(classes)
    objective = "regression" if not k else "binary" if k == 2 else "multiclass"
    places = range(len(prepared.numbers), len(prepared.names))
    parameters: dict[str, Any] = {
        "objective": objective, "learning_rate": settings.learning_rate,
        "num_leaves": settings.leaves, "min_data_in_leaf": settings.least_rows,
        "lambda_l2": settings.l2, "verbosity": -1, "seed": seed % INT32,
        # The same bytes whatever the number of processors.
        "deterministic": True, "force_row_wise": True, "num_threads": 1,
        **({"num_class": k} if objective == "multiclass" else {}),
    }  # fmt: skip
    told = dict(categorical_feature=list(places), free_raw_data=False, params={"verbosity": -1})
    data = lightgbm.Dataset(prepared.codes(rows[0]), answers[0], **told)
    callbacks, held = [], []
    if rows[1].rows:
        held = [lightgbm.Dataset(prepared.codes(rows[1]), answers[1], reference=data, **told)]
        callbacks = [lightgbm.early_stopping(settings.patience, verbose=False)]
    booster = lightgbm.train(parameters, data, settings.trees, valid_sets=held, callbacks=callbacks)
    kept = booster.best_iteration or booster.current_iteration()
    content = booster.model_to_string(num_iteration=kept)
    (out / TREES).write_text(content, encoding="utf-8")
    if not rows[1].rows:
        return int(kept), float("nan")
    raw = np.asarray(booster.predict(prepared.codes(rows[1]), raw_score=True, num_iteration=kept))
    if raw.ndim == 1:
        raw = np.column_stack([np.zeros(len(raw)), raw]) if k == 2 else raw[:, None]
    return int(kept), loss_of(raw, answers[1], classes)
