"""`export` and `schema` from the command line, and the example pipelines that use them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from answers import candidate, parent
from verb import COLUMNS, PLAIN, save, say, written

from shipworthy.core.yaml import read_yaml

CI = Path(__file__).parents[2] / "docs" / "ci"
TOOLS = Path(sys.executable).parent


@pytest.fixture
def run_folder(capsys: pytest.CaptureFixture[str], folder: Path) -> Path:
    save(parent(400), Path("base.csv"))
    save(candidate(parent(400), lost=40), Path("new.csv"))
    Path("policy.yaml").write_text(PLAIN, encoding="utf-8")
    said = say(capsys, "judge", "base.csv", "new.csv", "--policy", "policy.yaml", *COLUMNS,
               "--out", "kept")  # fmt: skip
    assert said.code == 3
    return folder / "kept"


def test_export_writes_each_format_to_stdout_or_a_file(
    run_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = say(capsys, "export", run_folder, "--format", "junit")
    assert (said.code, said.err) == (0, "")
    assert ElementTree.fromstring(said.out.encode()).attrib["failures"] == "2"
    log = json.loads(say(capsys, "export", run_folder, "--format", "sarif").out)
    (result,) = log["runs"][0]["results"]
    place = result["locations"][0]["physicalLocation"]
    assert (place["artifactLocation"]["uri"], place["region"]) == ("policy.yaml", {"startLine": 1})
    said = say(capsys, "export", run_folder, "--format", "markdown", "--out", "deep/down/s.md")
    assert (said.code, said.out) == (0, "Written to deep/down/s.md\n")
    assert Path("deep/down/s.md").read_text("utf-8").startswith("## ⛔ base: Hold – new\n")
    document = say(capsys, "export", run_folder, "--format", "markdown", "--json").json
    assert document["content"] == Path("deep/down/s.md").read_text("utf-8")
    chinese = say(capsys, "export", run_folder, "--format", "markdown", "--lang", "zh")
    assert "暂缓" in chinese.out


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--format", "pdf"], "--format pdf: no such format"),
        (["--format", "junit", "--out", "."], "--out .: is a folder"),
        (["--format", "junit", "--out", "base.csv/x.xml"], "base.csv"),
        (["--format", "sarif", "--policy", "no.yaml"], "no.yaml"),
        ([], "--format"),
    ],
)
def test_what_cannot_be_exported_is_one_line(
    arguments: list[str], told: str, run_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = written(run_folder.parent)
    said = say(capsys, "export", run_folder, *arguments)
    assert (said.code, said.out, said.err.count("\n")) == (2, "", 1)
    assert told in said.err
    assert written(run_folder.parent) == before


def test_schema_is_told_to_people_and_editors(capsys: pytest.CaptureFixture[str]) -> None:
    said = say(capsys, "schema", "policy")
    assert (said.code, said.err) == (0, "")
    assert "nominate: whole number ≥ 1; default 3" in said.out
    assert say(capsys, "schema", "--json").json["properties"]["name"]["maxLength"] == 100
    assert "必填" in say(capsys, "schema", "team", "--lang", "zh").out
    said = say(capsys, "schema", "polices", "--lang", "en")
    assert (said.code, said.out) == (2, "")
    assert "did you mean 'policy'" in said.err


# -- pipelines -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("schema", "file"),
    [("vendor.github-workflows", "github.yml"), ("vendor.gitlab-ci", "gitlab-ci.yml")],
)
def test_the_pipelines_pass_their_schema_and_a_broken_one_does_not(
    schema: str, file: str, folder: Path
) -> None:
    def check(path: Path) -> int:
        command = [str(TOOLS / "check-jsonschema"), "--builtin-schema", schema, str(path)]
        return subprocess.run(command, capture_output=True, check=False).returncode

    assert check(CI / file) == 0
    content = (CI / file).read_text("utf-8")
    broken = content.replace("    runs-on: ubuntu-latest\n", "").replace("when: always", "when: 7")
    assert broken != content
    Path("broken.yml").write_text(broken, encoding="utf-8")
    assert check(Path("broken.yml")) == 1


def github_steps() -> dict[str, Any]:
    """The scripts of the job that judges, by the name of their step."""
    job = read_yaml(CI / "github.yml").data["jobs"]["judge"]
    return {step["name"]: step["run"] for step in job["steps"] if "run" in step}


def gitlab_script() -> str:
    (script,) = read_yaml(CI / "gitlab-ci.yml").data["judge"]["script"]
    return str(script)


def shell(script: str, **more: str) -> subprocess.CompletedProcess[str]:
    """Run a script as the runners do: `bash -e`, with pipefail."""
    variables = {**os.environ, "PATH": f"{TOOLS}{os.pathsep}{os.environ['PATH']}", **more}
    return subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script],
        capture_output=True, text=True, check=False, env=variables,
    )  # fmt: skip


def predictions(lost: int) -> None:
    """Files as the examples name them: a candidate that lost some of 800 answers."""
    names = {"y": "label", "p": "prediction", "i": "id", "domain": "country"}
    base = parent(800)
    Path("predictions").mkdir()
    save(base.rename(names), Path("predictions/before.csv"))
    save(candidate(base, lost=lost).rename(names), Path("predictions/after.csv"))
    Path("policy.yaml").write_text(
        "selftest: {skip: [biased, slow, oversized]}\n"
        "limits:\n- {measure: accuracy, relative_to: parent, at_least: -0.02}\n", encoding="utf-8",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("lost", "code"),
    [
        (80, 3),
        pytest.param(0, 0, marks=pytest.mark.slow),
        pytest.param(14, 4, marks=pytest.mark.slow),
    ],
)
def test_a_verdict_is_reported_before_it_ends_the_github_job(
    lost: int, code: int, folder: Path
) -> None:
    predictions(lost)
    steps = github_steps()
    told = {
        "GITHUB_OUTPUT": str(folder / "output"), "GITHUB_STEP_SUMMARY": str(folder / "summary"),
        "POLICY": "policy.yaml", "UNDECIDED": "fail",
    }  # fmt: skip
    judged = shell(steps["Judge"], **told)
    assert judged.returncode == 0, judged.stderr
    assert Path("output").read_text() == f"code={code}\n"
    written_reports = shell(steps["Write reports"], **told)
    assert written_reports.returncode == 0, written_reports.stderr
    assert {p.name for p in Path("reports").iterdir()} == {
        "junit.xml", "shipworthy.sarif", "summary.md",
    }  # fmt: skip
    assert Path("summary").read_text("utf-8").startswith("## ")
    last = shell(steps["Verdict"], **told, CODE=str(code))
    assert last.returncode == code
    if code == 4:
        assert shell(steps["Verdict"], **{**told, "UNDECIDED": "warn"}, CODE="4").returncode == 0


def test_bad_input_ends_the_github_job_at_once(folder: Path) -> None:
    Path("policy.yaml").write_text("- {measure: acuracy, at_least: 0.8}\n", encoding="utf-8")
    done = shell(github_steps()["Judge"], GITHUB_OUTPUT="output", POLICY="policy.yaml")
    assert done.returncode == 2
    assert "did you mean 'accuracy'" in done.stderr


@pytest.mark.parametrize(
    ("lost", "code"), [(80, 3), pytest.param(14, 4, marks=pytest.mark.slow)]
)  # fmt: skip
def test_gitlab_lets_only_an_undecided_verdict_pass_with_a_mark(
    lost: int, code: int, folder: Path
) -> None:
    predictions(lost)
    done = shell(gitlab_script(), POLICY="policy.yaml")
    assert done.returncode == code, done.stderr
    assert Path("reports/junit.xml").is_file()
    shared = read_yaml(CI / "gitlab-ci.yml").data[".shipworthy"]
    assert (code in shared["allow_failure"]["exit_codes"]) == (code == 4)
    assert shared["artifacts"]["reports"]["junit"] == "reports/junit.xml"
