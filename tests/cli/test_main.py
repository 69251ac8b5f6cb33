"""What becomes of an error, and what the command line loads before it knows the verb."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from answers import candidate, parent
from verb import COLUMNS, PLAIN, save, say

import shipworthy
from shipworthy.cli.main import app, main

VERBS = ("demo", "run", "judge", "init", "report", "selftest")
HEAVY = (
    "numpy", "scipy", "polars", "pyarrow", "torch", "transformers", "onnxruntime", "sklearn",
    "ruamel", "jinja2", "rich", "shipworthy.data", "shipworthy.model", "shipworthy.measure",
    "shipworthy.release",
)  # fmt: skip


def arguments() -> tuple[str, ...]:
    save(parent(200), Path("base.csv"))
    save(candidate(parent(200), lost=1), Path("new.csv"))
    Path("policy.yaml").write_text(PLAIN, encoding="utf-8")
    return ("judge", "base.csv", "new.csv", "--policy", "policy.yaml", *COLUMNS)


def test_a_bug_is_exit_1_with_the_path_of_its_trace(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("the ruler\nis bent")

    monkeypatch.setattr("shipworthy.release.judge.align", broken)
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    said = say(capsys, *arguments())
    assert (said.code, said.out) == (1, "")
    found = re.fullmatch(
        r"shipworthy: this is a bug: RuntimeError: the ruler is bent; the trace is in (\S+)\n",
        said.err,
    )
    assert found is not None
    trace = Path(found[1]).read_text(encoding="utf-8")
    assert "in broken" in trace
    assert trace.rstrip().endswith("is bent")


def test_ctrl_c_is_130_and_no_verdict(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    def stopped(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("shipworthy.release.judge.align", stopped)
    said = say(capsys, *arguments())
    assert (said.code, said.out) == (130, "")
    assert said.err.startswith("shipworthy: interrupted")
    assert said.err.count("\n") == 1
    assert not (folder / "report.html").exists()


def test_a_reader_that_leaves_is_no_traceback(folder: Path) -> None:
    script = "from shipworthy.cli.main import main; main(['judge', '--help'])"
    process = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    process.stdout.close()
    _, told = process.communicate(timeout=60)
    assert b"Traceback" not in told
    assert process.returncode in (0, 1)


def test_main_ends_the_process_with_the_code(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["report", "nowhere"])
    assert stop.value.code == 2


def test_no_arguments_show_the_verbs_and_none_is_hidden(
    capsys: pytest.CaptureFixture[str],
) -> None:
    said = say(capsys)
    assert (said.code, said.err) == (0, "")
    assert say(capsys, "--help").out == said.out
    listed = re.findall(r"^  ([a-z]+)  ", said.out, flags=re.MULTILINE)
    assert listed == list(typer.main.get_command(app).commands)  # type: ignore[attr-defined]
    assert set(listed) >= set(VERBS)
    assert re.search(r"^  judge +Judge files of predictions; no model is needed\.$", said.out, re.M)


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert say(capsys, "--version").out == f"shipworthy {shipworthy.__version__}\n"


def test_help_loads_nothing_heavy() -> None:
    """One fresh process for the general help, one for the help of all verbs."""
    for calls in ([["--help"], ["--version"]], [[verb, "--help"] for verb in VERBS]):
        script = (
            "import json, sys\n"
            "from shipworthy.cli.main import run\n"
            f"codes = [run(call) for call in {calls}]\n"
            "print(json.dumps([codes, sorted(sys.modules)]))\n"
        )
        ended = subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, check=True
        )
        codes, modules = json.loads(ended.stdout.splitlines()[-1])
        assert codes == [0] * len(calls)
        # The parser itself checks the options of a verb by pydantic, but never for the list.
        heavy = HEAVY if calls[0] != ["--help"] else (*HEAVY, "pydantic")
        assert [m for m in modules if m.startswith(heavy)] == []
