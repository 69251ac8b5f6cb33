import io
import json
import shutil
import sys
import zipfile
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pytest
from polars.testing import assert_frame_equal

from shipworthy.core.errors import DataError, MissingExtraError
from shipworthy.model.evaluation_logs import read_answers_table, recognise
from shipworthy.model.inspect_logs import _content

LOGS = Path(__file__).parent / "logs"
EVAL = LOGS / "mini.eval"
WORDS = LOGS / "mini_words.eval"
OVERLAP = LOGS / "mini_overlap.eval"
TABLE = LOGS / "mlflow_table.json"


def document(log: Path = EVAL) -> dict[str, Any]:
    """The log of an archive as the one document that the tool writes with log_format json."""
    with zipfile.ZipFile(log) as archive:
        names = {i.filename: json.loads(_content(archive, i)) for i in archive.infolist()}
    found: dict[str, Any] = names["header.json"]
    found["samples"] = [v for k, v in names.items() if k.startswith("samples/")]
    return found


def kept(log: dict[str, Any], folder: Path) -> Path:
    path = folder / "log.json"
    path.write_text(json.dumps(log), "utf-8")
    return path


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


def test_a_scorer_marks_free_texts(tmp_path: Path) -> None:
    log = document(WORDS)
    table = read_answers_table(WORDS)
    marks = {str(s["id"]): {n: v["value"] for n, v in s["scores"].items()} for s in log["samples"]}
    for column, scorer in (("answer", "includes"), ("answer:exact", "exact")):
        told = [marks[one][scorer] == "C" for one in table["id"]]
        assert (table[column] == "right").to_list() == told
        assert 0 < sum(told) < table.height
    assert table["target"].unique().to_list() == ["right"]
    assert_frame_equal(read_answers_table(kept(log, tmp_path)), table)


def test_metadata_of_samples_give_groups_and_units() -> None:
    table = read_answers_table(WORDS)
    metadata = {str(s["id"]): s["metadata"] for s in document(WORDS)["samples"]}
    titles = [metadata[one]["source"]["title"] for one in table["id"]]
    assert table["source.title"].to_list() == titles
    assert table["passage#"].n_unique() == 3 == table["subject"].n_unique()


def test_a_score_between_right_and_wrong_is_refused() -> None:
    with pytest.raises(DataError, match=r"row \d: f1 = 0\.\d+ is neither right nor wrong"):
        read_answers_table(OVERLAP)


@pytest.mark.parametrize(("value", "answer"), [("N", "wrong"), (1, "right"), (False, "wrong")])
def test_marks_of_inspect(value: Any, answer: str, tmp_path: Path) -> None:
    log = document(WORDS)
    log["samples"][0]["scores"]["includes"]["value"] = value
    table = read_answers_table(kept(log, tmp_path)).filter(id=str(log["samples"][0]["id"]))
    assert table["answer"].to_list() == [answer]


def test_one_sample_without_choices_leaves_marks_of_all(tmp_path: Path) -> None:
    log = document()
    log["samples"][0]["choices"] = None
    table = read_answers_table(kept(log, tmp_path))
    right = read_answers_table(EVAL).select(right=pl.col("target") == pl.col("answer"))["right"]
    assert (table["answer"] == "right").to_list() == right.to_list()


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
        ({"scores": {}}, "is no choice among answers"),
        ({"choices": None, "scores": {"all": {"value": {"a": 1}}}}, "is no choice among answers"),
        ({"choices": None, "scores": {"grade": {"value": "P"}}}, "grade = P is neither"),
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
