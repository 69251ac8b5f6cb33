"""The verb `next` on a real, tiny run: it looks into the blocks, goes on, and says what to make."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from planted_models import write_run

from shipworthy.cli.main import run as shipworthy
from shipworthy.compress import CompressSettings, Recipe, expand
from shipworthy.core.yaml import parse_yaml
from shipworthy.release.load import load_run
from shipworthy.release.next_run import find_next

PRUNED = Recipe("prune-90", "prune", {"share": 0.9})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("project"), PRUNED)


def made(folder: Path) -> list[str]:
    """Names of the candidates that were made and asked below a project."""
    records = (folder.parent.parent / ".shipworthy" / "stages").glob("*/stage.json")
    names = [json.loads(path.read_text())["name"] for path in records]
    return sorted(n for n in names if n.startswith("validation prune-90-keep"))


def test_a_look_without_time_goes_on_later_and_ends_in_a_recipe(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    judgement = load_run(folder).judgement
    assert [s.phrase.key for s in judgement.next_steps][:1] == ["next.layers.group"]
    assert shipworthy(["next", str(folder), "--minutes", "0", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    (look,) = document["layers"]
    # One part is always tried, so that each call gets further.
    assert (look["left"], [p["parts"] for p in look["parts"]]) == (1, [[0]])
    assert look["proposal"] is None
    assert any(s["key"] == "next.layers.group" for s in document["next"])
    assert made(folder) == ["validation prune-90-keep-0"]

    assert shipworthy(["next", str(folder), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    (look,) = document["layers"]
    assert {tuple(p["parts"]) for p in look["parts"]} == {(0,), (1,)}
    assert look["left"] == 0 and look["value"] < 0
    for part in look["parts"]:
        assert part["back"]["low"] <= part["back"]["value"] <= part["back"]["high"]
    nearer = [p["nearer"] for p in look["parts"]]
    assert nearer == sorted(nearer, reverse=True)
    assert made(folder) == ["validation prune-90-keep-0", "validation prune-90-keep-1"]
    (step,) = [s for s in document["next"] if s["key"].startswith("next.keep")]
    assert "next.layers.group" not in [s["key"] for s in document["next"]]
    if look["proposal"] is not None:
        assert step["recipe"] == look["proposal"]["recipe"]
        assert step["effect"]["low"] <= step["effect"]["value"] <= step["effect"]["high"]
        assert step["currency"] == "EUR" and step["cost"] > 0
        listed = parse_yaml(f"[{step['recipe']}]").data
        expand(CompressSettings.model_validate({"recipes": listed}))


def test_the_second_look_makes_nothing_and_is_said_in_words(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = find_next(folder, minutes=10)
    before = made(folder)
    # No time at all is enough where every part is cached.
    assert find_next(folder, minutes=0).steps == first.steps
    assert made(folder) == before
    assert shipworthy(["next", str(folder)]) == 0
    said = capsys.readouterr().out
    assert "prune-90: what each part gives back of the change in accuracy" in said
    assert "block 0: " in said and "nearer to the parent" in said
    assert shipworthy(["next", str(folder), "--lang", "zh"]) == 0
    assert "第 0 块" in capsys.readouterr().out


def test_no_test_row_is_asked_about_a_part(folder: Path) -> None:
    find_next(folder, minutes=10)
    records = (folder.parent.parent / ".shipworthy" / "stages").glob("*/stage.json")
    names = {json.loads(path.read_text())["name"] for path in records}
    assert not [n for n in names if n.startswith("test ") and "keep" in n]


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda run: (run / "project.yaml").unlink(), "no project.yaml"),
        (lambda run: shutil.rmtree(run / "candidates"), "is gone"),
        (lambda run: _edit(run.parent.parent / "rows.csv"), "the rows have changed"),
    ],
)
def test_what_is_missing_is_one_line(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], damage: object, told: str
) -> None:
    project = tmp_path / "project"
    shutil.copytree(folder.parent.parent, project, copy_function=shutil.copyfile)
    run = project / "runs" / "planted"
    damage(run)  # type: ignore[operator]
    capsys.readouterr()
    assert shipworthy(["next", str(run)]) == 2
    error = capsys.readouterr().err
    assert told in error.splitlines()[-1]
    assert error.splitlines()[-1].startswith("shipworthy: ")


def _edit(rows: Path) -> None:
    lines = rows.read_text().splitlines(keepends=True)
    rows.write_text("".join([lines[0], *lines[40:]]))


def test_a_candidate_that_is_not_there_is_named(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert shipworthy(["next", str(folder), "--candidate", "prune-9"]) == 2
    assert "did you mean 'prune-90'" in capsys.readouterr().err
