import json
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal
from scipy.special import softmax

from shipworthy.core.errors import DataError
from shipworthy.model.evaluation_logs import read_answers_table, recognise, score_columns
from shipworthy.release.judge import judge

LOGS = Path(__file__).parent / "logs"
CHOICE = next(LOGS.glob("samples_mini_choice*"))
GENERATION = next(LOGS.glob("samples_mini_gen*"))
PASSAGE = next(LOGS.glob("samples_mini_passage*"))
OTHER = next((LOGS / "other").glob("samples_mini_passage*"))
FILTERS = next(LOGS.glob("samples_mini_filters*"))
LAST_WORD = next(LOGS.glob("samples_mini_last_word*"))


def samples(file: Path = CHOICE) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text("utf-8").splitlines()]


def written(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


def test_samples_give_the_accuracies_that_the_tool_counted() -> None:
    table = read_answers_table(CHOICE)
    told = samples()
    for column, metric in (("answer", "acc"), ("answer_norm", "acc_norm")):
        right = (table["target"] == table[column]).to_list()
        assert right == [row[metric] == 1.0 for row in told]
    assert 0 < (table["target"] == table["answer"]).sum() < table.height


def test_samples_give_probabilities_of_the_choices() -> None:
    table = read_answers_table(CHOICE)
    columns = score_columns(table)
    assert list(columns) == ["0", "1", "2", "3"]
    raw = np.array([[float(a[0]) for a in row["filtered_resps"]] for row in samples()])
    np.testing.assert_allclose(
        table.select(columns.values()).to_numpy(), softmax(raw, axis=1), rtol=1e-12
    )


def test_a_question_keeps_its_short_fields_and_an_id_of_its_own() -> None:
    table = read_answers_table(CHOICE)
    assert table["id"].n_unique() == table.height
    assert set(table["domain"].unique()) == {"a", "b", "c"}
    assert "choices" not in table.columns


def test_a_long_text_of_a_question_stays_in_the_log(tmp_path: Path) -> None:
    rows = samples()
    rows[3]["doc"]["question"] = "why " * 40
    assert "question" not in read_answers_table(written(tmp_path / CHOICE.name, rows)).columns


def test_a_folder_of_tasks_is_one_table(tmp_path: Path) -> None:
    shutil.copy(CHOICE, tmp_path)
    shutil.copy(CHOICE, tmp_path / CHOICE.name.replace("mini_choice", "other"))
    assert recognise(tmp_path) == "lm-eval"
    table = read_answers_table(tmp_path)
    assert set(table["task"].unique()) == {"mini_choice", "other"}
    assert table["id"].n_unique() == table.height == 2 * len(samples())


def test_a_row_for_a_second_filter_is_the_same_answer_again(tmp_path: Path) -> None:
    rows = [r for row in samples() for r in (row, {**row, "filter": "first"})]
    assert read_answers_table(written(tmp_path / CHOICE.name, rows)).height == len(samples())


def test_the_target_may_be_the_choice_itself(tmp_path: Path) -> None:
    rows = samples()
    for row in rows:
        row["target"] = row["doc"]["choices"][int(row["target"])]
    assert_frame_equal(
        read_answers_table(written(tmp_path / CHOICE.name, rows)), read_answers_table(CHOICE)
    )


def test_questions_with_unequal_numbers_of_choices_have_no_probabilities(tmp_path: Path) -> None:
    rows = samples()
    cut = next(row for row in rows if int(row["target"]) < 3 and row["acc"] and row["acc_norm"])
    cut["filtered_resps"] = cut["filtered_resps"][:3]
    cut["arguments"].popitem()
    table = read_answers_table(written(tmp_path / CHOICE.name, rows))
    assert score_columns(table) == {}


def test_a_field_inside_a_record_has_a_name_with_dots() -> None:
    table = read_answers_table(PASSAGE)
    docs = [row["doc"] for row in samples(PASSAGE)]
    assert table["metadata.subject"].to_list() == [d["metadata"]["subject"] for d in docs]
    titles = [d["metadata"]["source"]["title"] for d in docs]
    assert table["metadata.source.title"].to_list() == titles


def test_questions_of_one_passage_share_a_digest() -> None:
    table = read_answers_table(PASSAGE)
    passages = [row["doc"]["passage"] for row in samples(PASSAGE)]
    assert "passage" not in table.columns
    pairs = set(zip(passages, table["passage#"].to_list(), strict=True))
    assert len(pairs) == table["passage#"].n_unique() == len(set(passages)) == 3
    assert table["passage#"].str.len_chars().unique().to_list() == [12]


def test_a_field_that_is_named_like_a_column_is_reached_behind_the_document() -> None:
    table = read_answers_table(PASSAGE)
    docs = [row["doc"] for row in samples(PASSAGE)]
    assert table["doc.answer"].to_list() == [str(d["answer"]) for d in docs]


def test_passages_are_units_and_subjects_groups_of_a_judgement() -> None:
    limits = [{"measure": "accuracy", "slice": {"each": "metadata.subject"}, "at_least": 0.01}]
    found = judge(PASSAGE, OTHER, limits, groups=["metadata.subject"], unit="passage#")
    rows = found.measurements.filter(pl.col("measure") == "accuracy", relative_to="none")
    for file, candidate in ((PASSAGE, found.parent.id), (OTHER, found.candidates[0].id)):
        told = pl.DataFrame(
            {
                "slice": [f'{{"metadata.subject":"{s}"}}' for s in ("hills", "sea", "town")],
                "right": [
                    np.mean([r["acc"] for r in samples(file)
                             if r["doc"]["metadata"]["subject"] == s])
                    for s in ("hills", "sea", "town")
                ],
            }
        )  # fmt: skip
        of = rows.filter(pl.col("slice") != "{}", candidate=candidate).sort("slice")
        assert of["value"].to_list() == pytest.approx(told["right"].to_list())
        whole = rows.filter(slice="{}", candidate=candidate)
        assert whole["n"].to_list() == [9] and whole["n_units"].to_list() == [3]


def test_a_marked_free_text_is_right_or_wrong() -> None:
    rows = samples(GENERATION)
    table = read_answers_table(GENERATION)
    assert table["target"].unique().to_list() == ["right"]
    assert table["answer"].to_list() == ["wrong"] * len(rows)
    assert table["said"].to_list() == [row["filtered_resps"][0] for row in rows]
    assert "answer_norm" not in table.columns


def test_each_filter_of_a_task_is_a_column_of_its_own() -> None:
    table = read_answers_table(FILTERS)
    rows = samples(FILTERS)
    assert table.height == len(rows) / 2
    for name in ("strict", "flexible"):
        told = [row["exact_match"] == 1.0 for row in rows if row["filter"] == name]
        assert (table[f"answer:{name}"] == "right").to_list() == told
    assert table["answer"].to_list() == table["answer:strict"].to_list()
    assert 0 < (table["answer:flexible"] == "right").sum() < table.height


def test_a_word_that_is_the_likeliest_is_right(tmp_path: Path) -> None:
    rows = samples(LAST_WORD)
    rows[1]["acc"] = 1
    table = read_answers_table(written(tmp_path / LAST_WORD.name, rows))
    assert (table["answer"] == "right").to_list() == [bool(row["acc"]) for row in rows]


@given(st.lists(st.sampled_from([0, 1, 0.0, 1.0, True, False]), min_size=2, max_size=2))
def test_any_spelling_of_a_mark_is_read(marks: list[float]) -> None:
    rows = [{**row, "exact_match": m} for row, m in zip(samples(GENERATION), marks, strict=True)]
    with TemporaryDirectory() as folder:
        table = read_answers_table(written(Path(folder) / GENERATION.name, rows))
    assert (table["answer"] == "right").to_list() == [bool(m) for m in marks]


def test_beside_free_texts_choices_are_right_or_wrong_too(tmp_path: Path) -> None:
    shutil.copy(CHOICE, tmp_path)
    shutil.copy(GENERATION, tmp_path)
    table = read_answers_table(tmp_path)
    assert table["target"].unique().to_list() == ["right"]
    assert score_columns(table) == {}
    choices = table.filter(task="mini_choice")
    for column, metric in (("answer", "acc"), ("answer_norm", "acc_norm")):
        assert (choices[column] == "right").to_list() == [r[metric] == 1.0 for r in samples()]


def test_a_partly_right_answer_is_refused(tmp_path: Path) -> None:
    rows = samples(GENERATION)
    rows[1]["exact_match"] = 0.5
    with pytest.raises(DataError, match="row 2: exact_match = 0.5 is neither right nor wrong"):
        read_answers_table(written(tmp_path / GENERATION.name, rows))


def test_an_unmarked_free_text_is_refused(tmp_path: Path) -> None:
    rows = samples(GENERATION)
    for row in rows:
        row["metrics"], row["bleu"] = ["bleu"], [row["target"], row.pop("exact_match")]
    with pytest.raises(DataError, match="row 1: the task 'mini_gen' is no choice"):
        read_answers_table(written(tmp_path / GENERATION.name, rows))


def test_a_question_that_stands_twice_is_two_rows(tmp_path: Path) -> None:
    rows = samples(GENERATION)
    assert read_answers_table(written(tmp_path / GENERATION.name, rows + rows)).height == 4


def test_a_log_that_counts_otherwise_is_refused(tmp_path: Path) -> None:
    rows = samples()
    rows[4]["acc"] = 1.0 - rows[4]["acc"]
    with pytest.raises(DataError, match="row 5: the log says acc ="):
        read_answers_table(written(tmp_path / CHOICE.name, rows))


def test_a_sample_that_lacks_a_field_is_named(tmp_path: Path) -> None:
    rows = samples()
    del rows[2]["target"]
    with pytest.raises(DataError, match="row 3: the sample is not as the tool writes it"):
        read_answers_table(written(tmp_path / CHOICE.name, rows))


def test_a_file_cut_in_half_is_named(tmp_path: Path) -> None:
    text = CHOICE.read_text("utf-8")
    (tmp_path / CHOICE.name).write_text(text[: len(text) // 2], "utf-8")
    with pytest.raises(DataError, match=r"row \d+: the sample"):
        read_answers_table(tmp_path / CHOICE.name)
