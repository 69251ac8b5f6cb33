"""A search in a real project: what it tries is measured, what it chooses goes to the verdict."""

from __future__ import annotations

import json
import math
from html import escape
from pathlib import Path
from typing import Any

import pytest
from toy_project import PROJECT, make_project

from shipworthy.cli.main import run as shipworthy
from shipworthy.compress.trials import Found
from shipworthy.core.errors import SettingsError
from shipworthy.release.compressing import compress_project, within
from shipworthy.release.pipeline import Finished, run_project
from shipworthy.release.places import TRIALS
from shipworthy.release.project import Project, load_project
from shipworthy.release.searching import SearchBench, search_note
from shipworthy.release.wording import phrase

TRIED = 5
FILE = "shipworthy.yaml"
LIMITS = PROJECT[PROJECT.index("  limits:") :]


def _project(folder: Path, *, limits: str = LIMITS, **compress: Any) -> Project:
    file = folder / "asked.yaml"
    file.write_text(PROJECT.replace(LIMITS, limits))
    project = load_project(file)
    asked = {"search": True, "keep": 2, "most_trials": TRIED, "recipes": (), **compress}
    settings = type(project.compress).model_validate(asked)
    return project.model_copy(update={"compress": settings})


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_project(tmp_path_factory.mktemp("search") / "project")


@pytest.fixture(scope="module")
def searched(place: Path) -> Finished:
    return run_project(_project(place), root=place)


def test_what_the_search_chose_is_measured_and_can_ship(searched: Finished) -> None:
    names = [stage.name for stage in searched.stages]
    # Trials are stages too, so that nobody is made or asked twice.
    assert "search" in names
    judgement = searched.judgement
    assert judgement is not None and searched.folder is not None
    assert 1 <= len(judgement.candidates) <= 2
    told = json.loads((searched.folder / TRIALS).read_text("utf-8"))
    assert len(told["trials"]) == TRIED
    tried = {trial["name"]: trial for trial in told["trials"]}
    for one in judgement.candidates:
        trial = tried[one.name]
        size, latency, harm = trial["found"]["values"]
        assert size == pytest.approx(_value(searched, one.id, "size_mb"))
        assert latency > 0
        assert -1 <= harm <= 1
    notes = [phrase(note) for note in judgement.notes]
    assert any(f"The search tried {TRIED} recipes" in note for note in notes)


def _value(finished: Finished, candidate: str, measure: str) -> float:
    assert finished.judgement is not None
    table = finished.judgement.measurements
    rows = table.filter(
        (table["candidate"] == candidate)
        & (table["measure"] == measure)
        & (table["slice"] == "{}")
        & (table["relative_to"] == "none")
    )
    return float(rows["value"][0])


def test_a_second_run_searches_nothing(place: Path, searched: Finished) -> None:
    again = run_project(_project(place), root=place)
    assert all(stage.cached for stage in again.stages)
    assert again.judgement is not None and searched.judgement is not None
    assert [c.id for c in again.judgement.candidates] == [
        c.id for c in searched.judgement.candidates
    ]


def test_the_verb_shows_every_trial(
    place: Path, searched: Finished, capsys: pytest.CaptureFixture[str]
) -> None:
    found = compress_project(_project(place), place, tell=lambda stage: None)
    assert len(found.trials) == TRIED
    assert searched.judgement is not None
    assert list(found.chosen) == [c.name for c in searched.judgement.candidates]
    lines = found.lines(width=100)
    for trial in found.trials:
        assert any(line.startswith(trial["name"][:8]) for line in lines), trial["name"]
    page = (searched.folder / "report.html").read_text("utf-8") if searched.folder else ""
    assert "What the search tried" in page
    assert all(escape(trial["name"]) in page for trial in found.trials)
    document = found.to_dict()
    assert {trial["name"] for trial in document["trials"]} == {t["name"] for t in found.trials}
    assert sum(trial["chosen"] for trial in document["trials"]) == len(found.chosen)
    for trial in document["trials"]:
        assert trial["state"] in ("kept", "missed", "stopped", "failed")


def test_where_nothing_keeps_the_limits_the_nearest_goes_on(place: Path) -> None:
    # No file is so small.
    limits = "  limits:\n    - {measure: size_mb, at_most: 0.000001, owner: ml-lead}\n"
    strict = _project(place, limits=limits, most_trials=3)
    found = compress_project(strict, place, tell=lambda stage: None)
    assert len(found.chosen) == 1
    smallest = min(found.trials, key=lambda t: float(t["size_mb"]))
    assert found.chosen[0] == smallest["name"]
    assert "none keeps all limits" in " ".join(found.lines(width=200))
    note = phrase(search_note(found.folder))
    assert smallest["name"] in note and "size" in note


def test_a_limit_that_is_surely_missed_is_seen_on_the_first_rows(
    place: Path, searched: Finished, monkeypatch: pytest.MonkeyPatch
) -> None:
    from shipworthy.release import searching

    monkeypatch.setattr(searching, "LEAST_GLANCE", 40)
    # Nobody is better than everybody by a half.
    change = "{measure: accuracy, relative_to: parent, at_least: 0.5, owner: ml-lead}"
    limits = f"  limits:\n    - {change}\n"
    strict = _project(place, limits=limits, most_trials=2, recipes=("int8",))
    asked: list[str] = []
    whole = SearchBench._measured

    def measured(bench: SearchBench, one: Any) -> Found:
        asked.append(one.candidate.name)
        return whole(bench, one)

    monkeypatch.setattr(SearchBench, "_measured", measured)
    found = compress_project(strict, place, tell=lambda stage: None)
    assert {trial["state"] for trial in found.trials} == {"stopped"}
    assert asked == []
    assert all(math.isclose(max(t["excess"]), 1.0, abs_tol=0.3) for t in found.trials)


def test_the_budget_of_the_command_line(place: Path) -> None:
    project = load_project(place / FILE)
    assert within(project, 3).compress.budget_minutes == 3
    assert within(project, None) is project
    for minutes in (0.0, -1.0, math.inf, math.nan):
        with pytest.raises(SettingsError, match="no budget"):
            within(project, minutes)
    with pytest.raises(SettingsError, match="for classifiers"):
        within(project.model_copy(update={"task": "causal-lm"}), 3)


def test_from_the_command_line(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert shipworthy(["compress", str(place / FILE), "--minutes", "0"]) == 2
    assert "--minutes" in capsys.readouterr().err
    assert shipworthy(["compress", str(place / FILE), "--minutes", "0.001", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert len(told["trials"]) >= 1
    assert told["chosen"]
