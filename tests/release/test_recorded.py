from dataclasses import replace
from hashlib import sha256

import pytest
from recorded_run import BEST, project, shipped, write_run
from sample import without_groups

from shipworthy.core.errors import InputError
from shipworthy.core.ledger import Ledger
from shipworthy.core.records import Answer
from shipworthy.release.record import read_record, write_record
from shipworthy.release.recorded import record_run, recorded, runs_of


def test_a_run_is_recorded_file_by_file(tmp_path) -> None:
    made = project(tmp_path / "p", sign=False)
    lines = made.ledger.lines()
    kinds = [line.kind for line in lines]
    assert kinds == ["artefact"] * 3 + ["measurements", "decisions", "verdict"]
    assert made.ledger.verify() == lines[-1]
    found = recorded(lines, "a91f4c2e")
    there = {
        str(p.relative_to(made.folder)): sha256(p.read_bytes()).hexdigest()
        for p in made.folder.rglob("*")
        if p.is_file() and p.name not in ("ledger.jsonl", "report.html")
    }
    assert {path: file.sha256 for path, file in found.files.items()} == there
    assert f"candidates/{BEST}/onnx/model.onnx" in there
    assert found.files["verdict.json"].line == 6
    assert found.verdict == lines[-1]
    best, answer = (lines[-1].payload[key] for key in ("best", "answer"))
    assert (best, answer, lines[-1].payload["by"]) == (BEST, "ship", "ann")
    assert lines[3].payload["rows"] == made.judgement.measurements.height
    assert lines[4].payload["rows"] == len(made.judgement.decisions)
    assert runs_of(lines) == ("a91f4c2e",)


def test_what_stands_there_is_not_written_again(tmp_path) -> None:
    made = project(tmp_path / "p", sign=False)
    before = made.ledger.path.read_bytes()
    record_run(made.ledger, made.folder, read_record(made.folder), by="somebody else")
    assert made.ledger.path.read_bytes() == before


def test_a_verdict_that_changes_and_changes_back(tmp_path) -> None:
    made = project(tmp_path / "p", sign=False)
    held = replace(made.judgement, answer=Answer.HOLD, best=None)
    for judgement in (held, made.judgement):
        write_record(judgement, made.folder)
        record_run(made.ledger, made.folder, judgement)
    lines = made.ledger.lines()
    answers = [line.payload["answer"] for line in lines if line.kind == "verdict"]
    assert answers == ["ship", "hold", "ship"]
    assert [line.kind for line in lines].count("artefact") == 3
    found = recorded(lines, "a91f4c2e")
    assert found.verdict == lines[-1]
    assert len(found.verdicts) == 2


def test_files_that_a_later_verdict_does_not_have_are_not_asked_for(tmp_path) -> None:
    made = project(tmp_path / "p", sign=False)
    (made.folder / "project.yaml").unlink()
    record_run(made.ledger, made.folder, made.judgement)
    assert "project.yaml" not in recorded(made.ledger.lines(), "a91f4c2e").files


def test_two_runs_in_one_ledger(tmp_path) -> None:
    made = project(tmp_path / "p", sign=False)
    other = shipped(run="b2c3d4e5")
    write_run(tmp_path / "p" / "runs" / other.run, other)
    record_run(made.ledger, tmp_path / "p" / "runs" / other.run, other)
    lines = made.ledger.lines()
    assert runs_of(lines) == ("a91f4c2e", "b2c3d4e5")
    for run, first in (("a91f4c2e", 1), ("b2c3d4e5", 7)):
        assert min(file.line for file in recorded(lines, run).files.values()) == first
    assert recorded(lines, "c3d4e5f6").files == {}


def test_many_files_take_several_lines(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("shipworthy.release.recorded._FILES_PER_LINE", 5)
    made = project(tmp_path / "p", sign=False)
    many = made.folder / "candidates" / BEST / "shards"
    many.mkdir()
    for k in range(11):
        (many / f"{k:05}").write_bytes(b"%d" % k)
    ledger = Ledger(tmp_path / "l")
    record_run(ledger, made.folder, made.judgement)
    lines = ledger.lines()
    parts = [line.payload["part"] for line in lines if line.payload.get("parts") == 3]
    assert parts == [1, 2, 3]
    inside = [path for path in recorded(lines, "a91f4c2e").files if f"/{BEST}/" in path]
    assert len(inside) == 14
    before = ledger.path.read_bytes()
    record_run(ledger, made.folder, made.judgement)
    assert ledger.path.read_bytes() == before


def test_answers_that_were_judged_are_their_digest(tmp_path) -> None:
    judgement = without_groups()
    write_record(judgement, tmp_path / "out")
    ledger = Ledger(tmp_path / "l")
    record_run(ledger, tmp_path / "out", judgement)
    first = ledger.lines()[0].payload
    assert "files" not in first
    assert first["artefact_digest"] == judgement.parent.artefact_digest
    found = recorded(ledger.lines(), judgement.run)
    assert found.folders == ()
    assert set(found.files) == {"measurements.parquet", "decisions.parquet", "verdict.json"}


def test_a_file_that_is_not_there_is_one_line_and_the_rest_stays(tmp_path) -> None:
    made = project(tmp_path / "p", sign=False)
    ledger = Ledger(tmp_path / "l")
    (made.folder / "verdict.json").unlink()
    with pytest.raises(InputError, match="verdict.json: cannot be read"):
        record_run(ledger, made.folder, made.judgement)
    assert ledger.verify() is not None
    with pytest.raises(InputError, match="no such folder"):
        record_run(ledger, tmp_path / "none", made.judgement)
