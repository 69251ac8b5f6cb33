"""Files of predictions are whole, paired row by row, or refused with file, row and column."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shipworthy.core.errors import DataError
from shipworthy.model.predictions import Predictions, align, load_predictions

NAMES = {"label": "y", "prediction": "p"}


def frame(**columns: Any) -> pl.DataFrame:
    return pl.DataFrame(
        {"id": ["a", "b", "c", "d"], "y": [1, 0, 1, 0], "p": [1, 0, 0, 0]} | columns, strict=False
    )


def load(table: pl.DataFrame | None = None, **options: Any) -> Predictions:
    return load_predictions(frame() if table is None else table, **(NAMES | options))


def test_a_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "parent.csv"
    frame(score=[0.9, 0.2, 0.4, 0.0], region=["n", "s", None, "n"]).write_csv(path)
    one = load_predictions(path, **NAMES, score="score", id="id", groups=["region"])
    assert (one.name, one.file, one.classes, one.positive) == ("parent", str(path), ("0", "1"), "1")
    assert one.labels is not None and one.labels.tolist() == [1, 0, 1, 0]
    assert one.predicted.tolist() == [1, 0, 0, 0]
    assert one.probabilities is not None
    np.testing.assert_allclose(
        one.probabilities, [[0.1, 0.9], [0.8, 0.2], [0.6, 0.4], [1, 0]], atol=1e-15
    )
    assert one.frame.columns == ["region"]
    assert one.ids is not None and one.ids.to_list() == ["a", "b", "c", "d"]


def test_a_score_belongs_to_the_positive_class() -> None:
    one = load(score="s", positive="0", table=frame(s=[0.9, 0.2, 0.4, 0.0]))
    assert one.probabilities is not None
    assert one.probabilities[0].tolist() == [0.9, pytest.approx(0.1)]


def test_scores_of_three_classes_are_divided_by_their_sum() -> None:
    table = pl.DataFrame(
        {
            "y": ["red", "green", "blue"],
            "p": ["red", "green", "red"],
            "r": [0.7, 0.1, 0.5],
            "g": [0.2, 0.8, 0.25],
            "b": [0.1, 0.1, 0.255],
        }
    )
    one = load(table, score={"red": "r", "green": "g", "blue": "b"})
    assert one.classes == ("blue", "green", "red")
    assert one.positive is None
    assert one.probabilities is not None
    np.testing.assert_allclose(one.probabilities.sum(axis=1), 1.0, atol=1e-15)
    np.testing.assert_allclose(one.probabilities[2], np.array([0.255, 0.25, 0.5]) / 1.005)


@pytest.mark.parametrize(
    ("columns", "options", "said"),
    [
        ({"y": [1, None, 1, 0]}, {}, "row 2, column 'y': the label is missing (1 of 4 rows)"),
        ({"p": [1, 0, None, 0]}, {}, "row 3, column 'p': the prediction is missing"),
        ({"y": [1, 1, 1, 1]}, {}, "column 'y': every row has the label '1'"),
        ({"id": ["a", "b", "a", "d"]}, {"id": "id"}, "row 3, column 'id': the id 'a' stands there"),
        ({"id": ["a", None, "c", "d"]}, {"id": "id"}, "row 2, column 'id': the id is missing"),
        ({"s": [0.1, float("nan"), 0.2, 0.3]}, {"score": "s"}, "row 2, column 's': the score is"),
        ({"s": [0.1, 0.2, 1.5, 0.3]}, {"score": "s"}, "row 3, column 's': the score is 1.5, not a"),
        ({"s": ["0.1", "x", "0", "0"]}, {"score": "s"}, "row 2, column 's': the score is x, not"),
        ({"s": [None, 0.2, 0.5, 0.3]}, {"score": "s"}, "row 1, column 's': the score is missing"),
        ({}, {"prediction": "pp"}, "column 'pp': there is no such column; did you mean 'p'?"),
        ({}, {"groups": ["region"]}, "column 'region': there is no such column"),
        ({"u": ["x", None, "x", "y"]}, {"unit": "u"}, "row 2, column 'u': the unit is missing"),
        ({"p": [0.9, 0.1, 0.4, 0.2]}, {}, "row 1, column 'p': the prediction '0.9' is none of the"),
        ({}, {"positive": "spam"}, "column 'y': the positive class 'spam' does not occur"),
        (
            {"y": ["ham", "spam", "ham", "spam"], "p": ["ham"] * 4}, {},
            "it is not known which class is the positive one; give --positive, one of: ham, spam",
        ),
        (
            {"y": [0, 1, 2, 0], "p": [0, 1, 2, 0], "s": [0.5] * 4}, {"score": "s"},
            "one score column serves two classes, but there are 3: 0, 1, 2",
        ),
        (
            {"r": [0.5] * 4, "g": [0.7] * 4}, {"score": {"0": "r", "1": "g"}},
            "row 1: the scores add up to 1.2, not 1 (4 rows)",
        ),
        (
            {"y": [0, 1, 2, 0], "p": [0, 1, 2, 0], "r": [0.5] * 4, "g": [0.5] * 4},
            {"score": {"0": "r", "1": "g"}}, "the class '2' has no score column",
        ),
        ({"y": [[1], [0], [1], [0]]}, {}, "column 'y': the column holds lists or records"),
    ],
)  # fmt: skip
def test_bad_values_are_named(columns: Any, options: Any, said: str) -> None:
    with pytest.raises(DataError) as caught:
        load(frame(**columns), name="file.csv", **options)
    message = str(caught.value)
    assert message.startswith("file.csv")
    assert said in message
    assert "\n" not in message


def test_no_rows_are_refused() -> None:
    with pytest.raises(DataError, match="the file has no rows"):
        load(frame().head(0))


def test_too_many_classes_hint_at_the_column() -> None:
    table = pl.DataFrame({"y": [str(i) for i in range(1500)], "p": ["1"] * 1500})
    with pytest.raises(DataError, match="1,500 different values, too many for classes"):
        load(table)


def test_a_candidate_without_labels_needs_ids() -> None:
    answers = frame().drop("y")
    with pytest.raises(DataError, match="else give --id"):
        load(answers, candidate=True)
    assert load(answers, candidate=True, id="id").labels is None


def test_rows_pair_by_id_in_any_order() -> None:
    parent = load(id="id", groups=["g"], table=frame(g=["n", "s", "n", "s"]))
    shuffled = frame(p=[1, 0, 1, 1], s=[0.9, 0.1, 0.8, 0.7])[[2, 0, 3, 1]].drop("y")
    other = load(shuffled, candidate=True, id="id", score="s", name="other")
    first, second = align(parent, other)
    assert first.predicted.tolist() == [1, 0, 0, 0]
    assert second.predicted.tolist() == [1, 0, 1, 1]
    assert second.labels is first.labels
    assert second.frame.equals(first.frame)
    assert second.groups == ("g",)
    assert second.name == "other"
    assert second.digest != first.digest
    assert second.data_digest == first.data_digest
    assert second.probabilities is not None
    np.testing.assert_allclose(second.probabilities[:, 1], [0.9, 0.1, 0.8, 0.7])


def test_aligning_gives_all_the_same_classes() -> None:
    parent = load()
    other = load(frame(p=[2, 0, 1, 0]), candidate=True)
    first, second = align(parent, other)
    assert first.classes == second.classes == ("0", "1", "2")
    assert first.positive == second.positive == "1"
    assert second.predicted.tolist() == [2, 0, 1, 0]


def test_a_third_class_takes_a_single_score_away() -> None:
    parent = load(score="s", table=frame(s=[0.5] * 4))
    other = load(frame(p=[2, 0, 1, 0]), candidate=True)
    with pytest.raises(DataError, match="one score column serves two classes"):
        align(parent, other)


def test_booleans_and_zero_one_are_one_pair_of_classes() -> None:
    parent = load(frame(y=[True, False, True, False], p=[True] * 4))
    assert parent.classes == ("false", "true")
    first, second = align(parent, load(candidate=True))
    assert first.classes == ("0", "1")
    assert first.labels is not None and first.labels.tolist() == [1, 0, 1, 0]
    assert (first.positive, second.predicted.tolist()) == ("1", [1, 0, 0, 0])


@pytest.mark.parametrize(
    ("table", "options", "said"),
    [
        (frame()[:3], {}, "other: 3 rows, but predictions has 4"),
        (frame()[:3], {"id": "id"}, "other, column 'id': no row with the id 'd', which is row 4"),
        (frame(y=[1, 0, 0, 0]), {}, "other, row 3, column 'y': the label is '0', but '1' in row 3"),
        (frame(g=["n", "n", "n", "s"]), {"groups": ["g"]}, "other, row 2, column 'g': 'n' here, "),
    ],
)
def test_rows_that_do_not_pair_are_named(table: Any, options: Any, said: str) -> None:
    parent = load(frame(g=["n", "s", "n", "s"]), **options)
    other = load(table, candidate=True, name="other", **options)
    with pytest.raises(DataError) as caught:
        align(parent, other)
    assert said in str(caught.value)


def test_superfluous_rows_are_named() -> None:
    parent = load(frame()[:3], id="id")
    other = load(candidate=True, id="id", name="other")
    with pytest.raises(
        DataError, match="other, row 4, column 'id': the id 'd' is not in predictions"
    ):
        align(parent, other)


def test_ids_are_read_from_all_files_or_none() -> None:
    with pytest.raises(DataError, match="ids are read from one file only"):
        align(load(id="id"), load(candidate=True))


def test_the_data_digest_names_the_test_set_only() -> None:
    plain = load(id="id")
    assert load(frame(p=[0, 0, 0, 0]), id="id").data_digest == plain.data_digest
    assert load(frame()[::-1], id="id").data_digest == plain.data_digest
    assert load(frame(y=[1, 0, 0, 0]), id="id").data_digest != plain.data_digest


@settings(max_examples=30, deadline=None)
@given(st.permutations(list(range(12))), st.lists(st.integers(0, 2), min_size=12, max_size=12))
def test_any_order_of_rows_gives_the_same_pairs(order: list[int], answers: list[int]) -> None:
    table = pl.DataFrame({"id": list(range(12)), "y": [0, 1, 2] * 4, "p": [1] * 12, "q": answers})
    parent = load(table, id="id")
    other = load(table[order], id="id", prediction="q", candidate=True)
    aligned = align(parent, other)[1]
    assert [int(aligned.classes[c]) for c in aligned.predicted] == answers
