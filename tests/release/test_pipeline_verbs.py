"""`why` and `clean` on a project that was run."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from toy_project import PROJECT, run

from shipworthy.cli.main import run as shipworthy
from shipworthy.core.lock import hold

STRICTER = PROJECT.replace("at_least: 0.6", "at_least: 0.61")
HELD = PROJECT.replace("size_mb, at_most: 1", "size_mb, at_most: 0.001")


def said(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[int, str, str]:
    capsys.readouterr()
    code = shipworthy([str(argument) for argument in arguments])
    told = capsys.readouterr()
    return code, told.out, told.err


def document(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> dict[str, object]:
    code, out, _ = said(capsys, *arguments, "--json")
    assert code == 0
    found: dict[str, object] = json.loads(out)
    return found


def state(folder: Path) -> dict[str, bytes]:
    kept = (folder / "runs", folder / ".shipworthy")
    return {
        str(path): path.read_bytes()
        for place in kept
        for path in sorted(place.rglob("*"))
        if path.is_file() and path.name != "run.lock"
    }


# -- why -------------------------------------------------------------------------------------------


def test_why_says_that_nothing_changed(toy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = state(toy)
    code, out, _ = said(capsys, "why", "candidate", "bf16", "--project", toy / "shipworthy.yaml")
    assert code == 0
    first, second = out.splitlines()
    assert re.match(r"candidate bf16 would be read from the cache: made 20\d\d-", first)
    assert second == "At that time: candidate bf16 was not made before."
    assert document(capsys, "why", "verdict", "--project", toy)["state"] == "cached"
    assert state(toy) == before, "nothing is made"


def test_why_says_what_changed(toy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = PROJECT.replace("epochs: 4", "epochs: 6").replace("3e-3", "1e-3")
    (toy / "shipworthy.yaml").write_text(text)
    code, out, _ = said(capsys, "why", "train", "--project", toy)
    assert (code, out) == (
        0,
        "train is made anew: settings.train.epochs 4 → 6; "
        "settings.train.learning_rate 0.003 → 0.001\n",
    )
    found = document(capsys, "why", "test", "bf16", "--project", toy)
    assert (found["state"], found["waits_for"]) == ("waits", "train")
    code, out, _ = said(capsys, "why", "train", "--project", toy, "--lang", "zh")
    assert code == 0
    assert "settings.train.epochs 4 → 6" in out
    assert not re.search(r"[a-z]{4,} [a-z]{4,} [a-z]{4,}", out)


def test_why_without_a_project_compares_records(
    toy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(toy, STRICTER)
    (toy / "shipworthy.yaml").unlink()
    found = document(capsys, "why", "nomination", "--project", toy)
    assert found["state"] == "recorded"
    assert "settings.policy" in str(found["reason"])
    code, out, _ = said(capsys, "why", "nomination", "--project", toy)
    assert code == 0
    assert out.startswith("nomination was made last 20")


def test_why_of_a_damaged_output(toy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stage = run(toy).stages[0]
    (stage.folder / "rows.parquet").write_bytes(b"")
    found = document(capsys, "why", "data", "--project", toy)
    assert found["state"] == "changed"
    assert "rows.parquet was damaged or removed" in str(found["reason"])


def test_why_of_an_unknown_stage_names_the_nearest(
    toy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, err = said(capsys, "why", "candidate bf61", "--project", toy)
    assert (code, err.count("\n")) == (2, 1)
    assert "did you mean 'candidate bf16'" in err
    (tmp_path / "empty").mkdir()
    code, _, err = said(capsys, "why", "train", "--project", tmp_path / "empty")
    assert (code, err.count("\n")) == (2, 1)
    code, _, err = said(capsys, "why", "train", "--project", tmp_path / "absent.yaml")
    assert (code, err.count("\n")) == (2, 1)


# -- clean -----------------------------------------------------------------------------------------


def runs_in(folder: Path) -> set[str]:
    return {path.name for path in (folder / "runs").iterdir()}


def test_clean_keeps_what_shipped_and_the_last(
    toy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (shipped,) = runs_in(toy)
    verdict = json.loads((toy / "runs" / shipped / "verdict.json").read_text())
    held = run(toy, HELD).folder
    rehearsed = run(toy, STRICTER, rehearse=True).folder
    assert held is not None and rehearsed is not None
    ledger = (toy / ".shipworthy" / "ledger.jsonl").read_bytes()
    dead = toy / ".shipworthy" / "stages" / f".{'a' * 40}.0123abcd"
    dead.mkdir()
    (dead / "half").write_bytes(bytes(5000))
    work = toy / ".shipworthy" / "work" / "train-0123456789abcdef"
    work.mkdir(parents=True)
    before = state(toy)
    told = document(capsys, "clean", toy, "--keep", "1", "--dry-run")
    assert state(toy) == before
    assert dead.exists() and work.exists()
    done = document(capsys, "clean", toy, "--keep", "1")
    assert done == {**told, "dry_run": False}
    kept = {rehearsed.name} | ({shipped} if verdict["answer"] == "ship" else set())
    assert runs_in(toy) == kept
    assert set(done["removed_runs"]) == {shipped, held.name} - kept  # type: ignore[call-overload]
    assert done["freed_bytes"] >= 5000  # type: ignore[operator]
    assert not dead.exists() and not work.exists()
    assert list((toy / ".shipworthy" / "locks").iterdir()) == []
    assert (toy / ".shipworthy" / "ledger.jsonl").read_bytes() == ledger
    if shipped in kept:
        assert all(stage.cached for stage in run(toy).stages)
    assert all(stage.cached for stage in run(toy, STRICTER, rehearse=True).stages)


def test_clean_of_everything(toy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    held = run(toy, HELD).folder
    assert held is not None
    for verdict in (toy / "runs").glob("*/verdict.json"):
        verdict.unlink()  # an unfinished run is not one that shipped
    code, out, _ = said(capsys, "clean", toy, "--keep", "0")
    assert code == 0
    assert out.startswith("Removed: 2 run(s), ")
    assert runs_in(toy) == set()
    assert list((toy / ".shipworthy" / "stages").iterdir()) == []
    assert (toy / ".shipworthy" / "ledger.jsonl").stat().st_size > 0


def test_clean_keeps_what_an_unfinished_run_will_go_on_with(
    toy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    longer = PROJECT.replace("epochs: 4", "epochs: 1")
    run(toy, longer, only="candidates")
    with hold(toy / ".shipworthy") as held:
        key = held.last.stages["train"]
    work = toy / ".shipworthy" / "work" / f"train-{key[:16]}"
    work.mkdir(parents=True)
    for _ in range(2):
        document(capsys, "clean", toy, "--keep", "0")
        assert work.exists()
        assert all(stage.cached for stage in run(toy, longer, only="candidates").stages)


def test_clean_where_nothing_was_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = said(capsys, "clean", tmp_path)
    assert (code, err.count("\n")) == (2, 1)
    assert list(tmp_path.iterdir()) == []
