"""Training as a verb and in the report: previewed, laid out, raced, shown."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from toy_project import PROJECT, make_project, run

from shipworthy.cli.main import run as shipworthy
from shipworthy.core.errors import SettingsError
from shipworthy.core.locale import set_language
from shipworthy.release.pipeline import Finished
from shipworthy.release.project import load_project
from shipworthy.release.report import render_report
from shipworthy.release.training import laid_out

RACE = PROJECT.replace(
    "train:\n", "train:\n  race: {recipes: {still: {learning_rate: 1e-7}}, tokens: 400}\n"
)


def test_the_report_says_how_the_parent_was_trained(finished: Finished) -> None:
    assert finished.judgement is not None
    page = render_report(finished.judgement)
    section = page.split('id="training"')[1].split("</section>")[0]
    assert "texts end to end without padding: the model gives the same answers" in section
    assert "one process" in section and section.count("<polyline") == 2
    chinese = render_report(finished.judgement, language="zh")
    assert "父模型如何训练" in chinese and "文本首尾相接、没有填充：模型给出同样的答案" in chinese
    assert 'id="training"' not in render_report(
        type(finished.judgement)(**{**vars(finished.judgement), "training": {}})
    )


def test_the_verb_trains_and_stops_there(toy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    project = str(toy / "shipworthy.yaml")
    assert shipworthy(["train", project, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["batches"] == "packed" and told["layout"]["data"] == 1
    assert Path(told["model"], "model.safetensors").is_file()
    lines = Path(told["metrics"]).read_text().splitlines()
    assert len(lines) == told["steps"] == told["history"][-1]["step"]
    # Another layout is the same training: nothing is made again.
    assert shipworthy(["train", project, "--nproc", "2", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["cached"] is True
    assert shipworthy(["train", project, "--parallel", "tensor=5"]) == 2
    assert "the nearest that works is {tensor: " in capsys.readouterr().err
    assert shipworthy(["train", project]) == 0
    assert "kept: the weights after step" in capsys.readouterr().out


def test_the_rates_are_drawn(toy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    project = str(toy / "shipworthy.yaml")
    assert shipworthy(["train", project, "--preview", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    rates = [point["learning_rate"] for point in told["curve"]]
    assert len(rates) == told["steps"] and max(rates) <= 3e-3
    assert rates.index(max(rates)) < len(rates) / 4
    assert shipworthy(["train", project, "--preview"]) == 0
    drawn = capsys.readouterr().out
    assert drawn.startswith("cosine over") and drawn.count("•") > 10


@pytest.mark.parametrize(
    ("parallel", "nproc", "said"),
    [
        ("data=2", 3, r"--nproc: 3 processes do not make the layout, which takes 2"),
        ("date=2", None, r"--parallel: date=2 is no axis"),
        ("data", None, r"--parallel: data is no axis"),
        ("data=0", None, r"--parallel: data=0 is no axis"),
    ],
)
def test_layouts_that_are_none(parallel: str, nproc: int | None, said: str, toy: Path) -> None:
    with pytest.raises(SettingsError, match=said):
        laid_out(load_project(toy / "shipworthy.yaml"), parallel=parallel, nproc=nproc)


def test_layouts_from_the_command_line(toy: Path) -> None:
    project = load_project(toy / "shipworthy.yaml")
    found = laid_out(project, parallel="data=2, tensor=2", nproc=4).train.parallel
    assert found != "auto" and (found.data, found.tensor, found.processes) == (2, 2, 4)
    alone = laid_out(project, parallel=None, nproc=3).train.parallel
    assert alone != "auto" and alone.data == 3


@pytest.mark.slow
def test_a_race_keeps_the_default_and_stands_in_the_report(tmp_path: Path) -> None:
    finished = run(make_project(tmp_path, RACE), RACE)
    assert [stage.name for stage in finished.stages][:3] == ["data", "race", "train"]
    assert finished.judgement is not None
    race = finished.judgement.training["race"]
    assert race["winner"] == "default" and race["standings"][0]["seeds"] == 5
    page = render_report(finished.judgement)
    assert "it stays." in page and "still" in page.split('class="race"')[1]
    assert all(stage.cached for stage in run(tmp_path, RACE).stages)


@pytest.mark.slow
def test_under_the_users_own_torchrun(tmp_path: Path) -> None:
    project = make_project(tmp_path, PROJECT) / "shipworthy.yaml"
    command = [
        sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2",
        "-m", "shipworthy", "train", str(project), "--json",
    ]  # fmt: skip
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "SHIPWORTHY_PROGRESS": "off"}
    for cached in (False, True):
        done = subprocess.run(
            command, capture_output=True, text=True, env=environment, check=False, timeout=300
        )
        assert done.returncode == 0, done.stderr[-3000:]
        told = json.loads(done.stdout)
        assert told["layout"]["data"] == 2 and told["cached"] is cached


@pytest.fixture(autouse=True)
def english() -> None:
    set_language("en")
