"""Stages that fail: the others go on, no test row is looked at, and the next run tries again."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from shutil import rmtree
from typing import Any

import pytest
from toy_project import PROJECT, ledger_lines, run

import shipworthy.compress.making as making
import shipworthy.release.answers as answers
from shipworthy.cli.main import run as shipworthy
from shipworthy.compress import Recipe
from shipworthy.core.errors import EXIT_BAD_INPUT, EXIT_BUG, ModelError, StageError
from shipworthy.core.ledger import Ledger
from shipworthy.core.lock import hold, last_run

MORE = PROJECT.replace("[bf16]", "[{prune: 0.5}, bf16, {prune: 0.4}]")


def made_anew(folder: Path, **more: object) -> list[str]:
    return [s.name for s in run(folder, MORE, **more).stages if not s.cached]


def fail(patch: pytest.MonkeyPatch, causes: dict[str, Exception]) -> None:
    """Let candidates of these names fail while they are made."""
    make = making.make

    def failing(recipe: Recipe, *folders: Path, **more: Any) -> None:
        if recipe.name in causes:
            raise causes[recipe.name]
        make(recipe, *folders, **more)

    patch.setattr(making, "make", failing)


def test_the_other_candidates_are_made_and_asked(
    toy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = ledger_lines(toy)
    with monkeypatch.context() as patch:
        fail(patch, {"prune-50": ModelError("too thin", folder="x", fix="add"),
                     "prune-40": ModelError("too thick")})  # fmt: skip
        with pytest.raises(StageError) as told:
            run(toy, MORE)
    assert told.value.exit_code == EXIT_BAD_INPUT
    line = str(told.value)
    assert "\n" not in line
    assert "2 stages failed: candidate prune-50: x: too thin; add; candidate prune-40: " in line
    assert ledger_lines(toy) == before, "no opening is spent"
    assert last_run(toy / ".shipworthy").ended
    expected = [
        f"{what} prune-{share}" for what in ("candidate", "validation") for share in (50, 40)
    ]
    assert made_anew(toy, only="validation") == expected


def test_a_bug_is_no_bad_input_and_leaves_its_trace(
    toy: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fail(monkeypatch, {"prune-50": ModelError("thin"), "prune-40": KeyError("weights")})
    (toy / "shipworthy.yaml").write_text(MORE)
    assert shipworthy(["run", str(toy / "shipworthy.yaml")]) == EXIT_BUG
    *_, line = capsys.readouterr().err.splitlines()
    assert "candidate prune-40: KeyError: 'weights'" in line
    trace = Path(line.rpartition(" ")[2])
    assert "in failing" in trace.read_text()
    trace.unlink()


def test_an_answer_that_fails_is_asked_again(toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = answers.write_answers

    def failing(model: Path, *rest: object) -> None:
        if "stages" in str(model) and model.parent.name == broken:
            raise MemoryError
        write(model, *rest)  # type: ignore[arg-type]

    made = run(toy, MORE, only="candidates")
    broken = next(s.folder.name for s in made.stages if s.name == "candidate prune-50")
    with monkeypatch.context() as patch:
        patch.setattr(answers, "write_answers", failing)
        with pytest.raises(StageError, match="validation prune-50: there was not enough") as told:
            run(toy, MORE)
    assert told.value.exit_code == EXIT_BAD_INPUT
    assert made_anew(toy, only="validation") == ["validation prune-50"]


def test_a_test_answer_that_fails_spends_no_opening(
    toy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stages = toy / ".shipworthy" / "stages"
    gone = [s for s in run(toy).stages if s.name in ("test bf16", "verdict", "test rows")]
    for stage in gone:
        (stages / stage.key / "stage.json").unlink()

    def failing(*_: object) -> None:
        raise ModelError("will not answer")

    with monkeypatch.context() as patch:
        patch.setattr(answers, "write_answers", failing)
        (toy / ".shipworthy" / "ledger.jsonl").unlink()
        rmtree(toy / "runs")
        with pytest.raises(StageError, match="a stage failed: test bf16: will not answer"):
            run(toy)
    assert ledger_lines(toy) == []
    again = run(toy)
    assert [s.name for s in again.stages if not s.cached] == ["test bf16", "test rows", "verdict"]
    assert len(ledger_lines(toy)) >= 2


def test_a_second_run_in_the_folder_is_one_line(
    toy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with hold(toy / ".shipworthy"):
        for arguments in (["run", str(toy / "shipworthy.yaml")], ["clean", str(toy)],
                          ["demo", "--folder", str(toy)]):  # fmt: skip
            capsys.readouterr()
            assert shipworthy(arguments) == EXIT_BAD_INPUT
            said = [line for line in capsys.readouterr().err.splitlines() if "shipworthy:" in line]
            assert len(said) == 1
            assert "has been running here since" in said[0]
    assert shipworthy(["run", str(toy / "shipworthy.yaml"), "--wait", "--only", "data"]) == 0


def test_judging_beside_a_run_from_two_processes(tmp_path: Path) -> None:
    rows = "".join(f"{i},{i % 2},{i % 2},{i % 3}\n" for i in range(40))
    for name in ("before", "after", "later"):
        (tmp_path / f"{name}.csv").write_text(f"id,y,p,{name}\n{rows}")
    (tmp_path / "policy.yaml").write_text("- {measure: accuracy, at_least: 0.5}\n")
    cache = tmp_path / ".shipworthy"
    with hold(cache):
        both = [
            subprocess.Popen(
                [sys.executable, "-m", "shipworthy.cli.main", "judge", "before.csv",
                 f"{name}.csv", "--policy", "policy.yaml", "--label", "y", "--prediction", "p",
                 "--id", "id", "--ledger", ".shipworthy/ledger.jsonl", "--report", f"{name}.html"],
                cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
            )
            for name in ("after", "later")
        ]  # fmt: skip
        ended = [(process.communicate()[1], process.returncode) for process in both]
    assert {code for _, code in ended} <= {0, 3, 4}, ended
    lines = Ledger(cache / "ledger.jsonl").lines()
    openings = [line for line in lines if line.kind == "opening"]
    assert [line.payload["number"] for line in openings] == [1, 2]
