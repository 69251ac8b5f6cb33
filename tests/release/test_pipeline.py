import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from toy_project import PROJECT, ledger_lines, run

from shipworthy.cli.main import run as shipworthy
from shipworthy.core.records import Answer
from shipworthy.release.asked import question_digest
from shipworthy.release.load import load_run
from shipworthy.release.pipeline import Finished
from shipworthy.release.project import load_project


def test_a_run_reaches_a_verdict_and_leaves_its_record(folder: Path, finished: Finished) -> None:
    assert finished.judgement is not None
    assert finished.judgement.answer is Answer.SHIP
    assert not any(stage.cached for stage in finished.stages)
    names = [stage.name for stage in finished.stages]
    assert names[:3] == ["data", "train", "candidate bf16"]
    assert names[-1] == "verdict"
    place = finished.folder
    assert place is not None
    for name in ("project.yaml", "measurements.parquet", "decisions.parquet", "report.html",
                 "ledger.jsonl"):  # fmt: skip
        assert (place / name).stat().st_size > 0, name
    for candidate in (finished.judgement.parent, *finished.judgement.candidates):
        assert (place / candidate.folder / "model.safetensors").is_file()
    assert load_run(place).verdict is Answer.SHIP


def test_numbers_are_those_of_the_answers_on_the_test_rows(
    folder: Path, finished: Finished
) -> None:
    judgement = finished.judgement
    assert judgement is not None
    stage = next(s for s in finished.stages if s.name == "test bf16")
    answers = pl.read_parquet(stage.folder / "answers.parquet").to_numpy()
    data = pl.read_parquet(finished.stages[0].folder / "rows.parquet")
    rows = data.filter(pl.col("__split__") == "test")
    right = np.array(["no", "yes"])[answers.argmax(axis=1)] == rows["label"].to_numpy()
    measured = judgement.measurements.filter(
        (pl.col("candidate") == judgement.candidates[0].id)
        & (pl.col("measure") == "accuracy")
        & (pl.col("slice") == "{}")
        & (pl.col("relative_to") == "none")
    )
    assert measured["value"].to_list() == [pytest.approx(right.mean(), abs=1e-12)]
    assert measured["n"].to_list() == [rows.height]
    assert measured["n_units"].to_list() == [rows["author"].n_unique()]


def test_units_never_cross_splits(finished: Finished) -> None:
    rows = pl.read_parquet(finished.stages[0].folder / "rows.parquet")
    assert rows.group_by("author").agg(pl.col("__split__").n_unique())["__split__"].max() == 1


def test_the_second_run_finds_every_stage_and_opens_nothing(
    folder: Path, finished: Finished
) -> None:
    before = ledger_lines(folder)
    again = run(folder)
    assert all(stage.cached for stage in again.stages)
    assert again.folder == finished.folder
    assert again.judgement is not None and finished.judgement is not None
    assert again.judgement.verdicts == finished.judgement.verdicts
    assert again.judgement.cached_stages == len(again.stages)
    assert ledger_lines(folder) == before


def test_nomination_is_in_the_ledger_before_the_test_rows_are_opened(
    folder: Path, finished: Finished
) -> None:
    kinds = [json.loads(line)["kind"] for line in ledger_lines(folder)]
    assert kinds[:2] == ["nomination", "opening"]


def test_another_policy_decides_anew_and_is_another_look(folder: Path, finished: Finished) -> None:
    stricter = PROJECT.replace("size_mb, at_most: 1", "size_mb, at_most: 0.001")
    held = run(folder, stricter)
    assert [s.name for s in held.stages if not s.cached] == ["nomination", "verdict"]
    assert held.judgement is not None
    assert held.judgement.answer is Answer.HOLD
    assert held.judgement.nominated == ()
    assert held.judgement.opening == 2
    run(folder)


def test_a_rehearsal_decides_on_validation_and_never_ships(
    folder: Path, finished: Finished, capsys: pytest.CaptureFixture[str]
) -> None:
    before = ledger_lines(folder)
    code = shipworthy(["run", str(folder / "shipworthy.yaml"), "--rehearse", "--json"])
    document = json.loads(capsys.readouterr().out)
    assert (code, document["exit_code"], document["verdict"]) == (4, 4, "undecided")
    assert document["kind"] == "rehearsal"
    page = (Path(document["folder"]) / "report.html").read_text("utf-8")
    assert "Inside all 3 limits on the validation rows; a rehearsal never ships." in page
    assert ledger_lines(folder) == before
    rehearsed = load_run(document["folder"]).measurements
    assert rehearsed["split"].unique().to_list() == ["validation"]


def test_only_stops_after_a_stage(
    folder: Path, finished: Finished, capsys: pytest.CaptureFixture[str]
) -> None:
    code = shipworthy(["run", str(folder / "shipworthy.yaml"), "--only", "train", "--json"])
    document = json.loads(capsys.readouterr().out)
    assert code == 0
    assert [s["name"] for s in document["stages"]] == ["data", "train"]
    assert shipworthy(["run", str(folder / "shipworthy.yaml"), "--only", "tran"]) == 2
    assert "did you mean 'train'" in capsys.readouterr().err


def test_what_was_finished_before_an_interruption_is_kept(
    folder: Path, finished: Finished, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import shipworthy.compress.making as making

    pruned = PROJECT.replace("[bf16]", "[bf16, {prune: 0.5}]")

    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(making, "make", interrupt)
        with pytest.raises(KeyboardInterrupt):
            run(folder, pruned, only="candidates")
    again = run(folder, pruned, only="candidates")
    assert [s.name for s in again.stages if not s.cached] == ["candidate prune-50"]


def test_a_unit_in_train_and_test_is_an_error(
    folder: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    rows = pl.read_csv(folder / "rows.csv")
    rows.head(300).write_csv(tmp_path / "train.csv")
    rows.tail(301).write_csv(tmp_path / "test.csv")
    text = PROJECT.replace("source: rows.csv", "train: train.csv\n  test: test.csv")
    text = text.replace("model: encoder", f"model: {folder / 'encoder'}")
    (tmp_path / "shipworthy.yaml").write_text(text)
    assert shipworthy(["run", str(tmp_path / "shipworthy.yaml")]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "author" in error and ".csv" in error
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (PROJECT.replace("epochs: 4", "epochs: four"), ["shipworthy.yaml:11", "train.epochs"]),
        (PROJECT.replace("unit: author", "unit: autor"), ["autor", "author", "rows.csv"]),
        (PROJECT.replace("measure: size_mb", "measure: size_gb"), ["size_gb", "size_mb"]),
        (PROJECT.replace("compress:", "compres:"), ["compres", "compress"]),
        (PROJECT.replace("source: rows.csv", "source: row.csv"), ["row.csv", "data.source"]),
        (PROJECT + "explain: {rows: 20}\n", ["explain", "not available"]),
    ],
)
def test_a_wrong_project_file_is_one_line_and_nothing_is_written(
    folder: Path, tmp_path: Path, wrong: str, told: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "encoder").symlink_to(folder / "encoder")
    (tmp_path / "rows.csv").write_bytes((folder / "rows.csv").read_bytes())
    (tmp_path / "shipworthy.yaml").write_text(wrong)
    assert shipworthy(["run", str(tmp_path / "shipworthy.yaml")]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    for word in told:
        assert word in error
    assert not (tmp_path / "runs").exists()


def test_what_the_rows_are_asked_is_in_the_ledger(folder: Path, finished: Finished) -> None:
    judgement = finished.judgement
    assert judgement is not None
    (line,) = [json.loads(row) for row in ledger_lines(folder) if '"kind":"opening"' in row][:1]
    policy = load_project(folder / "shipworthy.yaml").policy.policy()
    asked = {"unit": "author", "groups": ["shop"], "intersections": 1}
    parent = judgement.parent.artefact_digest
    told = line["payload"]["policy_digest"]
    assert told == question_digest(policy, parent=parent, **asked)
    assert told != question_digest(policy, parent="another", **asked)
    assert told != question_digest(policy, parent=parent, **{**asked, "unit": None})
