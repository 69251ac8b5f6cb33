"""The verb `next` on recipes of several steps: which step costs, and which of its parts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from planted_models import write_run

from shipworthy.cli.main import run as shipworthy
from shipworthy.compress.recipes import named
from shipworthy.core.yaml import parse_yaml

PRUNED = {"steps": [{"prune": 0.9}, {"prune": 0.1}]}
NARROW = {"steps": [{"neurons": {"share": 0.97, "score": "magnitude"}}, {"prune": 0.02}]}
HEADS = {"steps": [{"heads": {"share": 0.5, "keep": [0]}}, {"prune": 0.9}, {"recover": {}}]}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One project for all runs, so that the parent is trained once."""
    return tmp_path_factory.mktemp("project")


def looked(
    place: Path, asked: Any, name: str, capsys: pytest.CaptureFixture[str]
) -> tuple[dict[str, Any], dict[str, Any], Path]:
    """Return the document of `next`, its one look, and the folder of the run."""
    folder = write_run(place, named(asked), name=name)
    capsys.readouterr()
    arguments = ["next", str(folder), "--candidate", named(asked).name, "--json"]
    assert shipworthy(arguments) == 0
    document = json.loads(capsys.readouterr().out)
    (look,) = document["layers"]
    return document, look, folder


def test_the_step_that_costs_most_spares_parts_and_later_steps_are_made_again(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    document, look, folder = looked(place, PRUNED, "pruned", capsys)
    assert [step["step"] for step in look["steps"]] == ["prune", "prune"]
    # Nine tenths of the weights cost more than a tenth of what is left.
    assert look["steps"][0]["further"] > look["steps"][1]["further"]
    assert look["spared_by"] == 0
    assert look["value"] == look["steps"][-1]["value"]
    assert {tuple(part["parts"]) for part in look["parts"]} == {(0,), (1,)}
    for part in look["parts"]:
        (block,) = part["parts"]
        assert part["recipe"] == (
            f"{{steps: [{{prune: {{share: 0.9, keep: [{block}]}}}}, {{prune: 0.1}}]}}"
        )
        assert part["mb"] == pytest.approx(0, abs=0.01)
    step = next(s for s in document["next"] if s["key"].startswith("next.keep"))
    if look["proposal"] is not None:
        # Timed in this process beside the candidate; megabytes are those of the file.
        assert step["cost_basis"] == "one_process"
        assert step["cost_ms"] == look["proposal"]["p95_ms"]
        assert step["cost_mb"] == look["proposal"]["mb"]
        assert named(parse_yaml(step["recipe"]).data).settings["steps"][1] == {
            "prune": {"share": 0.1}
        }
    arguments = ["next", str(folder), "--candidate", named(PRUNED).name]
    assert shipworthy(arguments) == 0
    said = capsys.readouterr().out
    assert "what each step leaves of the change in accuracy" in said
    assert "after prune-90: " in said and "nats further from the parent" in said
    assert "Parts spared by prune" in said


def test_a_step_that_can_spare_no_block_is_named_with_the_reason(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, look, folder = looked(place, NARROW, "narrow", capsys)
    first, second = look["steps"]
    assert (first["step"], first["spares"]) == ("neurons", False)
    assert second["spares"] and first["further"] > second["further"]
    # What can be spared is looked into all the same.
    assert look["spared_by"] == 1 and len(look["parts"]) == 2
    assert shipworthy(["next", str(folder), "--candidate", named(NARROW).name]) == 0
    said = capsys.readouterr().out
    assert "Most of it comes from neurons, which can spare no block alone: one width" in said
    assert shipworthy(["next", str(folder), "--candidate", named(NARROW).name, "--lang", "zh"]) == 0
    assert "所有块共用一个宽度" in capsys.readouterr().out


def test_steps_before_are_read_from_the_cache_and_a_training_after_is_done_again(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, look, _ = looked(place, HEADS, "heads", capsys)
    place_of = look["spared_by"]
    stages = [
        json.loads(path.read_text())
        for path in (place / ".shipworthy" / "stages").glob("*/stage.json")
    ]
    names = [s["name"] for s in stages]
    head = "heads-50-keep-0"
    # However many variants: the first step was made once.
    assert names.count(f"candidate {head}") == 1
    for part in look["parts"]:
        (block,) = part["parts"]
        recipe = named(parse_yaml(part["recipe"]).data)
        taken = {s["name"]: s["seconds"] for s in stages}
        steps = recipe.name.split("+")
        assert steps[2] == "recover" and steps[place_of].endswith(f"{block}")
        own = ["+".join(steps[: k + 1]) for k in range(place_of, 3)]
        made = sum(taken[f"candidate {name}"] for name in own)
        asked = taken[f"validation {recipe.name}"]
        assert part["seconds"] == pytest.approx(made + asked)
    # No test row is asked about a variant.
    assert not [n for n in names if n.startswith("test ") and n.count("keep") > 1]
