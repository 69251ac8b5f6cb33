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
from shipworthy.release.search_rows import search_document, search_notes, search_section
from shipworthy.release.searching import SearchBench
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
    (told_of,) = [note for note in notes if f"The search tried {TRIED} recipes" in note]
    # The page has a section for it, and says it there alone.
    page = (searched.folder / "report.html").read_text("utf-8")
    assert escape(told_of) not in page
    assert page.count("What the search tried") == 1
    assert notes[0] in page


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
    note, missed = map(phrase, search_notes(search_document(found.folder)))
    assert smallest["name"] in note and "size" in note
    assert "the limit is at most" in missed
    # A limit on the whole file names no layers, and says so.
    assert found.document["layers"]["look"] is None
    assert "the file as a whole" in " ".join(found.lines(width=200))


STEPS = {"steps": [{"heads": {"share": 0.5, "score": "magnitude"}}, {"prune": 0.9}]}


def _strict(place: Path, limit: str, recipe: Any) -> Project:
    """Nothing keeps the limit, and one recipe is tried."""
    limits = f"  limits:\n    - {{{limit}, owner: ml-lead}}\n"
    return _project(place, limits=limits, most_trials=1, recipes=(recipe,))


def test_the_layers_that_cost_the_nearest_its_group_are_measured_and_named(place: Path) -> None:
    # Nobody is better than everybody by a half.
    limit = "measure: accuracy, slice: {each: shop}, relative_to: parent, at_least: 0.5"
    found = compress_project(_strict(place, limit, STEPS), place, tell=lambda stage: None)
    told = found.document["layers"]
    name = "heads-50-magnitude+prune-90"
    assert told["candidate_name"] == name
    missed, look = told["missed"], told["look"]
    assert (missed["measure"], missed["bound"]) == ("accuracy", 0.5)
    assert missed["slice"]["shop"] in ("north", "south")
    assert look["slice"] == missed["slice"]
    assert look["value"] == pytest.approx(missed["value"])
    # The group is that of the trial which loses most.
    (trial,) = [t for t in found.trials if t["name"] == name]
    assert look["value"] == pytest.approx(trial["worst_group_change"])
    assert [step["step"] for step in look["steps"]] == ["heads", "prune"]
    assert {tuple(part["parts"]) for part in look["parts"]} == {(0,), (1,)}
    nearer = [part["nearer"] for part in look["parts"]]
    assert nearer == sorted(nearer, reverse=True)
    assert told["seconds"] > 0 and told["reason"] == ""
    lines = "\n".join(found.lines(width=200))
    group = f"shop={missed['slice']['shop']}"
    assert f"{name}: the change in accuracy of {group} is " in lines
    assert "the limit is at least +50.0 points" in lines
    best = look["parts"][0]["parts"][0]
    assert f"  block {best}: " in lines and "after heads-50-magnitude: " in lines
    # A run has no table in the terminal: its notes say the same in short.
    notes = list(map(phrase, search_notes(search_document(found.folder))))
    assert any(group in note for note in notes)
    if nearer[0] > 0:
        assert any(f"block {best}" in note for note in notes)
    section = search_section(found.document)
    assert section is not None
    assert any(f"block {best}: " in line for _, block in section.layers for line in block)


def test_a_repair_that_the_look_proposes_is_tried_as_well(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from shipworthy.release import sensitivity

    # Any chance is enough here, so that something is proposed.
    monkeypatch.setattr(sensitivity, "LEAST_CHANCE", 0.0)
    limit = "measure: accuracy, slice: {each: shop}, relative_to: parent, at_least: 0.4"
    found = compress_project(_strict(place, limit, STEPS), place, tell=lambda stage: None)
    told = found.document["layers"]
    assert told["look"]["proposal"] is not None
    names = [trial["name"] for trial in found.trials]
    assert told["tried"] in names and "-keep-" in told["tried"]
    assert len(names) == 2
    assert f"{told['tried']} was tried for it." in " ".join(found.lines(width=200))


def test_a_measure_whose_rows_cannot_be_followed_is_told_by_the_answers(place: Path) -> None:
    limit = "measure: log_loss, at_most: 0.000001"
    found = compress_project(_strict(place, limit, STEPS), place, tell=lambda stage: None)
    told = found.document["layers"]
    assert told["missed"]["measure"] == "log_loss"
    look = told["look"]
    # Of the group that lost most answers.
    assert (look["measure"], look["relative_to"]) == ("accuracy", "parent")
    assert len(look["parts"]) == 2


def test_a_recipe_that_can_spare_nothing_says_so(place: Path) -> None:
    limit = "measure: accuracy, slice: {each: shop}, relative_to: parent, at_least: 0.5"
    recipe = {"neurons": {"share": 0.5, "score": "magnitude"}}
    found = compress_project(_strict(place, limit, recipe), place, tell=lambda stage: None)
    told = found.document["layers"]
    assert (told["reason"], told["look"]["parts"]) == ("no_parts", [])
    assert "can spare a part of the model alone" in " ".join(found.lines(width=200))


def test_a_search_that_keeps_one_looks_into_nothing(place: Path, searched: Finished) -> None:
    found = compress_project(_project(place), place, tell=lambda stage: None)
    assert (found.document["layers"] is None) == any(t["state"] == "kept" for t in found.trials)


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
