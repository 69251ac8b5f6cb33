import io
import json
import shutil
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from polars.testing import assert_frame_equal
from scipy.special import softmax

from shipworthy.core.errors import DataError, MissingExtraError
from shipworthy.model.evaluation_logs import read_answers_table, recognise, score_columns
from shipworthy.model.inspect_logs import _content

LOGS = Path(__file__).parent / "logs"
CHOICE = next(LOGS.glob("samples_mini_choice*"))
GENERATION = next(LOGS.glob("samples_mini_gen*"))
EVAL = LOGS / "mini.eval"
TABLE = LOGS / "mlflow_table.json"


def samples(file: Path = CHOICE) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text("utf-8").splitlines()]


def written(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


def document() -> dict[str, Any]:
    """The log of the archive as the one document that the tool writes with log_format json."""
    with zipfile.ZipFile(EVAL) as archive:
        names = {i.filename: json.loads(_content(archive, i)) for i in archive.infolist()}
    found: dict[str, Any] = names["header.json"]
    found["samples"] = [v for k, v in names.items() if k.startswith("samples/")]
    return found


def kept(log: dict[str, Any], folder: Path) -> Path:
    path = folder / "log.json"
    path.write_text(json.dumps(log), "utf-8")
    return path


# -- lm-evaluation-harness ---------------------------------------------------------------------


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


def test_a_free_text_is_refused() -> None:
    with pytest.raises(DataError, match="row 1: the task 'mini_gen' is no choice"):
        read_answers_table(GENERATION)


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


# -- Inspect -----------------------------------------------------------------------------------


def test_an_archive_gives_the_accuracy_that_the_tool_counted() -> None:
    table = read_answers_table(EVAL)
    told = document()["results"]["scores"][0]["metrics"]["accuracy"]["value"]
    assert (table["target"] == table["answer"]).mean() == pytest.approx(told)
    assert 0 < told < 1
    assert set(table["domain"].unique()) == {"a", "b", "c"}


def test_the_document_says_the_same_as_the_archive(tmp_path: Path) -> None:
    path = kept(document(), tmp_path)
    assert recognise(path) == "inspect"
    assert_frame_equal(read_answers_table(path), read_answers_table(EVAL))


def test_an_archive_of_a_classic_compression_is_read_too(tmp_path: Path) -> None:
    path = tmp_path / "plain.eval"
    with zipfile.ZipFile(EVAL) as old, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new:
        for info in old.infolist():
            new.writestr(info.filename, _content(old, info))
    assert_frame_equal(read_answers_table(path), read_answers_table(EVAL))


def test_epochs_are_rows_of_their_own(tmp_path: Path) -> None:
    log = document()
    log["samples"] += [{**sample, "epoch": 2} for sample in log["samples"]]
    table = read_answers_table(kept(log, tmp_path))
    assert table["id"].n_unique() == table.height == 24
    assert table["sample"].n_unique() == 12


def test_no_answer_is_a_wrong_answer(tmp_path: Path) -> None:
    log = document()
    log["samples"][0]["scores"]["choice"] = {"value": "I", "answer": ""}
    first = read_answers_table(kept(log, tmp_path)).filter(id=str(log["samples"][0]["id"]))
    assert first["answer"].to_list() == ["(none)"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"status": "cancelled"}, "ended with status 'cancelled'"),
        ({"samples": []}, "holds no sample"),
    ],
)
def test_a_log_that_is_not_whole(change: dict[str, Any], words: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=words):
        read_answers_table(kept({**document(), **change}, tmp_path))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"error": {"message": "out of memory"}}, "row 1: the sample"),
        ({"choices": None}, "is no choice among answers"),
        ({"scores": {"choice": {"value": "C", "answer": "Z"}}}, "the log says score = C"),
    ],
)
def test_a_sample_that_cannot_be_judged(change: dict[str, Any], words: str, tmp_path: Path) -> None:
    log = document()
    log["samples"][0].update(change)
    with pytest.raises(DataError, match=words):
        read_answers_table(kept(log, tmp_path))


def test_a_damaged_archive_is_one_line(tmp_path: Path) -> None:
    content = bytearray(EVAL.read_bytes())
    with zipfile.ZipFile(EVAL) as archive:
        info = archive.infolist()[1]
    for change in (content[: len(content) // 2], content):
        path = tmp_path / "broken.eval"
        damaged = bytearray(change)
        damaged[info.header_offset + 60] ^= 0xFF
        path.write_bytes(damaged)
        with pytest.raises(DataError, match="the log cannot be read") as caught:
            read_answers_table(path)
        assert "\n" not in str(caught.value)


def test_bytes_of_zstandard_are_checked(tmp_path: Path) -> None:
    packed = pa.compress(b"x" * 64, codec="zstd", asbytes=True)
    info = zipfile.ZipInfo("a.json")
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(info, packed)
    with zipfile.ZipFile(io.BytesIO(buffer.getvalue())) as archive:
        member = archive.getinfo("a.json")
        member.compress_type, member.file_size = 93, 64
        with pytest.raises(zipfile.BadZipFile, match="checksum"):
            _content(archive, member)


# -- MLflow ------------------------------------------------------------------------------------


def run_folder(folder: Path) -> Path:
    artifacts = folder / "0" / "5ad9" / "artifacts"
    artifacts.mkdir(parents=True)
    shutil.copy(TABLE, artifacts / "eval_results_table.json")
    (artifacts / "notes.txt").write_text("none", "utf-8")
    (artifacts / "settings.json").write_text("{}", "utf-8")
    return artifacts.parent


def test_the_table_of_a_run_is_found(tmp_path: Path) -> None:
    run = run_folder(tmp_path)
    assert recognise(run) == recognise(run / "artifacts") == "mlflow"
    table = read_answers_table(run)
    told = json.loads(TABLE.read_text("utf-8"))
    assert table.columns == told["columns"]
    assert [list(row) for row in table.rows()] == told["data"]
    assert_frame_equal(table, read_answers_table(TABLE))


def test_two_tables_are_a_question(tmp_path: Path) -> None:
    run = run_folder(tmp_path)
    read_answers_table(run).write_csv(run / "artifacts" / "b.csv")
    with pytest.raises(DataError, match=r"b\.csv, eval_results_table\.json; name one"):
        read_answers_table(run)


def test_a_run_without_a_table(tmp_path: Path) -> None:
    run = run_folder(tmp_path)
    (run / "artifacts" / "eval_results_table.json").unlink()
    with pytest.raises(DataError, match="no table among its artifacts"):
        read_answers_table(run)


def test_a_torn_table(tmp_path: Path) -> None:
    (tmp_path / "t.json").write_bytes(TABLE.read_bytes()[:200])
    with pytest.raises(DataError, match="the log cannot be read"):
        read_answers_table(tmp_path / "t.json")


def test_a_named_run_asks_the_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mlflow.artifacts", None)
    with pytest.raises(MissingExtraError, match=r"shipworthy\[mlflow\]"):
        read_answers_table("mlflow:5ad9")


@pytest.mark.slow
def test_a_named_run_is_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mlflow = pytest.importorskip("mlflow", reason="needs the extra [mlflow]")
    frame = read_answers_table(TABLE).to_pandas()
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path}/runs.db")
    monkeypatch.chdir(tmp_path)
    with mlflow.start_run() as run:
        mlflow.log_table(frame, "answers.json")
    for name in (f"mlflow:{run.info.run_id}", f"mlflow:{run.info.run_id}/answers.json"):
        assert_frame_equal(read_answers_table(name), read_answers_table(TABLE))
    with pytest.raises(DataError, match="cannot be fetched"):
        read_answers_table("mlflow:none")


# -- what is none of these ---------------------------------------------------------------------


def test_a_plain_table_is_read_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    path.write_text('{"doc_id": 1, "y": "a", "p": "b"}\n', "utf-8")
    assert recognise(path) is None
    assert read_answers_table(path).columns == ["doc_id", "y", "p"]
    assert recognise(tmp_path / "absent.json") is None
