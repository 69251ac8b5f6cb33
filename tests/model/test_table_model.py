"""Models of tables: what is stored gives what was fitted, from frames and from requests alike."""

import json
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from shipworthy.core.errors import DataError, ModelError
from shipworthy.model.capabilities import missing
from shipworthy.model.checkpoint import artefact_digest, artefact_files, read_info, size_bytes
from shipworthy.model.decision import write_offsets
from shipworthy.model.runtimes import load_predictor
from shipworthy.model.table_columns import LEAST_SEEN, Preparation, prepare, read_table
from shipworthy.model.table_model import TableModel
from shipworthy.train.table_settings import TableModelSettings
from shipworthy.train.tabular import FittedTable, fit_table

N = 600
FEATURES = {"numbers": ("size", "age"), "categories": ("town",)}
KINDS = [
    "linear",
    "network",
    pytest.param(
        "boosting", marks=pytest.mark.skipif(not find_spec("lightgbm"), reason="no LightGBM")
    ),
]
SETTINGS = {
    "linear": {},
    "network": {"hidden": [8], "epochs": 20, "batch_size": 32, "learning_rate": 0.02},
    "boosting": {"trees": 20},
}


def frame(n: int = N, seed: int = 5) -> pl.DataFrame:
    generator = np.random.default_rng(seed)
    size, town = generator.normal(size=n), generator.choice(["a", "b", "c"], n)
    score = 2 * size + (town == "a")
    return pl.DataFrame(
        {
            "size": [None if k % 9 == 0 else float(v) for k, v in enumerate(size)],
            "age": generator.integers(18, 90, n),
            "town": [None if k % 11 == 0 else str(v) for k, v in enumerate(town)],
            "label": np.where(score + generator.normal(size=n) > 0.5, "yes", "no"),
            "three": np.where(score > 1, "x", np.where(score < -1, "y", "z")),
            "hours": 40 + 3 * score + generator.normal(size=n),
        }
    )


def fitted(kind: str, out: Path, label: str = "label", seed: int = 0) -> FittedTable:
    classes = () if label == "hours" else tuple(sorted(frame()[label].unique()))
    settings = TableModelSettings.model_validate({kind: SETTINGS[kind]})
    return fit_table(
        frame(), frame(200, 6), settings, **FEATURES, label=label, classes=classes, seed=seed,
        out=out,
    )  # fmt: skip


def requests(rows: pl.DataFrame) -> list[str]:
    return [json.dumps(row) for row in rows.select("size", "age", "town").to_dicts()]


@pytest.mark.parametrize("kind", KINDS)
def test_answers_are_better_than_chance_and_the_same_for_requests(
    kind: str, tmp_path: Path
) -> None:
    fit = fitted(kind, tmp_path / "m")
    model = load_predictor(tmp_path / "m", threads=1)
    assert isinstance(model, TableModel)
    rows = frame(500, 7)
    answers = model.log_probabilities(rows)
    assert answers.shape == (500, 2)
    np.testing.assert_allclose(np.exp(answers).sum(axis=1), 1, atol=1e-9)
    right = np.array(model.classes)[answers.argmax(axis=1)] == rows["label"].to_numpy()
    assert right.mean() > 0.7
    np.testing.assert_allclose(model.score(model.encode(requests(rows))), answers, atol=1e-5)
    assert fit.rows == N
    assert fit.missing == sum(frame()[name].null_count() for name in ("size", "age", "town"))


@pytest.mark.parametrize("kind", KINDS)
def test_numbers_and_three_classes(kind: str, tmp_path: Path) -> None:
    fitted(kind, tmp_path / "hours", "hours")
    model = load_predictor(tmp_path / "hours", threads=1)
    assert isinstance(model, TableModel)
    rows = frame(500, 7)
    predicted = model.predict(rows)
    assert predicted.shape == (500,)
    assert 30 < predicted.mean() < 50
    assert np.abs(predicted - rows["hours"].to_numpy()).mean() < rows["hours"].std()  # type: ignore[operator]
    np.testing.assert_allclose(model.score(model.encode(requests(rows))), predicted, atol=1e-4)
    fitted(kind, tmp_path / "three", "three")
    assert load_predictor(tmp_path / "three").log_probabilities(rows).shape == (500, 3)  # type: ignore[union-attr]


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_rows_and_seed_give_the_same_bytes(kind: str, tmp_path: Path) -> None:
    for name in ("first", "second"):
        fitted(kind, tmp_path / name)
    assert artefact_digest(tmp_path / "first") == artefact_digest(tmp_path / "second")


@pytest.mark.parametrize("kind", KINDS)
def test_no_pickle_and_all_that_decides_is_in_the_digest(kind: str, tmp_path: Path) -> None:
    folder = tmp_path / "m"
    fitted(kind, folder)
    weights = {"linear": "model.onnx", "network": "model.safetensors", "boosting": "model.txt"}
    assert set(artefact_files(folder)) == {"runtime.json", "table.json", weights[kind]}
    assert {file.name for file in folder.iterdir()} == set(artefact_files(folder))
    assert size_bytes(folder) == (folder / weights[kind]).stat().st_size
    before = artefact_digest(folder)
    table = (folder / "table.json").read_text()
    (folder / "table.json").write_text(table.replace('"median": ', '"median": 1', 1))
    assert artefact_digest(folder) != before


def test_the_linear_graph_gives_what_scikit_learn_gives(tmp_path: Path) -> None:
    from sklearn.linear_model import LogisticRegression

    for label in ("label", "three"):
        fitted("linear", tmp_path / label, label)
        model = load_predictor(tmp_path / label, threads=1)
        assert isinstance(model, TableModel)
        prepared = read_table(tmp_path / label)

        def numbers(rows: pl.DataFrame, prepared: Preparation = prepared) -> np.ndarray:
            return prepared.matrix(prepared.of_frame(rows)).astype(np.float64)

        peer = LogisticRegression(max_iter=1000).fit(numbers(frame()), frame()[label].to_numpy())
        rows = frame(300, 8)
        expected = peer.predict_proba(numbers(rows))
        np.testing.assert_allclose(np.exp(model.log_probabilities(rows)), expected, atol=2e-6)


def test_what_was_not_seen_has_a_bucket_of_its_own() -> None:
    towns = ["a"] * 50 + ["b"] * 50 + ["rare"] * (LEAST_SEEN - 1) + [None]
    rows = pl.DataFrame({"town": towns})
    prepared = prepare(rows, (), ("town",))
    assert prepared.categories[0].levels == ("a", "b")
    asked = pl.DataFrame({"town": ["b", "rare", "never seen", None, " a ", ""]})
    codes = prepared.of_frame(asked).codes[0]
    assert codes.tolist() == [3, 1, 1, 0, 2, 0]
    records = prepared.of_records(asked.to_dicts()).codes[0]
    assert records.tolist() == codes.tolist()
    assert prepared.matrix(prepared.of_frame(asked)).sum(axis=1).tolist() == [1.0] * 6


def test_missing_numbers_become_the_median_and_say_so() -> None:
    rows = pl.DataFrame({"size": [1.0, 3.0, None, 8.0], "age": [5.0, 5.0, 5.0, 5.0]})
    prepared = prepare(rows, ("size", "age"), ())
    matrix = prepared.matrix(prepared.of_frame(rows))
    assert matrix.shape == (4, 3)
    assert matrix[2, 0] == pytest.approx(matrix[1, 0])
    assert matrix[:, 1].tolist() == [0, 0, 1, 0]
    assert matrix[:, 2].tolist() == [0, 0, 0, 0]  # what never varies says nothing
    trees = prepared.codes(prepared.of_frame(rows))
    assert np.isnan(trees[2, 0]) and not np.isnan(trees[1]).any()


def test_bad_rows_are_named(tmp_path: Path) -> None:
    fitted("linear", tmp_path / "m")
    model = load_predictor(tmp_path / "m")
    assert isinstance(model, TableModel)
    rows = frame(10)
    with pytest.raises(DataError, match="column 'town': there is no such column"):
        model.log_probabilities(rows.drop("town"))
    broken = rows.with_columns(pl.Series("age", ["1", "two", *["3"] * 8]))
    with pytest.raises(DataError, match="row 2, column 'age': 'two' is no number"):
        model.log_probabilities(broken)
    endless = rows.with_columns(pl.lit(float("inf")).alias("size"))
    with pytest.raises(DataError, match="row 1, column 'size': the number is infinite"):
        model.log_probabilities(endless)
    good = requests(rows)[0]
    with pytest.raises(DataError, match="row 2: a row is a JSON object"):
        model.encode([good, "[1]"])
    with pytest.raises(DataError, match="row 2, column 'age'"):
        model.encode([good, '{"size": 1, "town": "a"}'])
    with pytest.raises(DataError, match="row 1, column 'age': 'x' is no number"):
        model.encode(['{"size": 1, "age": "x", "town": "a"}'])


def test_a_damaged_folder_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "m"
    fitted("linear", folder)
    (folder / "table.json").write_text("{}")
    with pytest.raises(ModelError, match="table.json"):
        load_predictor(folder)
    (folder / "table.json").unlink()
    with pytest.raises(ModelError, match="table.json"):
        load_predictor(folder)


def test_an_offset_of_a_class_counts(tmp_path: Path) -> None:
    folder = tmp_path / "m"
    fitted("linear", folder)
    before = load_predictor(folder).log_probabilities(frame(50))  # type: ignore[union-attr]
    write_offsets(folder, {"no": 50.0, "yes": 0.0})
    after = load_predictor(folder).log_probabilities(frame(50))  # type: ignore[union-attr]
    assert (after.argmax(axis=1) == 0).all()
    assert not (before.argmax(axis=1) == 0).all()


def test_it_can_do_what_measuring_and_timing_ask(tmp_path: Path) -> None:
    from shipworthy.model.capabilities import Classifier, Encodes, Regressor

    fitted("linear", tmp_path / "m")
    model = load_predictor(tmp_path / "m")
    for capability in (Classifier, Encodes, Regressor):
        assert missing(model, capability) == ()
    assert read_info(tmp_path / "m").is_table
