"""The command line in 简体中文: help, what a user can get wrong, and the page."""

from __future__ import annotations

import re
import subprocess
import sys
import unicodedata
from collections.abc import Iterator
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import pytest
import typer
from answers import candidate, parent
from test_bad_input import BAD, BASE, MISSING, NEW, Bad
from verb import COLUMNS, POLICY, save, say, written

from shipworthy.cli.main import app
from shipworthy.core.locale import has_text, set_language, text

HAN = re.compile(r"[\u4e00-\u9fff]")
NAMES = re.compile(
    r"'[^']*'|`[^`]*`|\"[^\"]*\"|\[[^\]]*\]|\{[^}]*\}|--?[a-z]\S*|\S*[/.=_]\S*"
    r"|(?:each|worst) group|JSON Lines|JUnit XML"
)
"""Quoted text, code, options, paths, keys, names of slices and formats."""
ENGLISH = re.compile(r"\b[A-Za-z]{2,} [A-Za-z]{2,}\b")
"""Two words of letters in a row."""


def commands(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield every verb and group of the app with its path."""
    yield path, command
    for name, below in getattr(command, "commands", {}).items():
        yield from commands(below, (*path, name))


VERBS = [path for path, _ in commands(typer.main.get_command(app))]

MORE: dict[str, Bad] = {
    "a tab in YAML": Bad((), {"policy.yaml": b"- measure: accuracy\n\tat_least: 0.8\n"}),
    "a key twice": Bad((), {"policy.yaml": b"- {measure: accuracy, measure: f1, at_least: 0.8}\n"}),
    "two documents": Bad((), {"policy.yaml": b"- {}\n---\n- {}\n"}),
    "a colon too many": Bad((), {"policy.yaml": b"- measure: accuracy: f1\n"}),
    "no bound": Bad((), {"policy.yaml": b"- {measure: accuracy}\n"}),
    "an empty slice": Bad((), {"policy.yaml": b"- {measure: accuracy, slice: {}, at_least: 1}\n"}),
    "an unknown slice": Bad(
        (), {"policy.yaml": b"- {measure: accuracy, slice: ech, at_least: 1}\n"}
    ),
    "nothing for a number": Bad((), {"policy.yaml": b"- {measure: accuracy, at_least: [1]}\n"}),
    "a confidence beyond 1": Bad(
        (),
        {"policy.yaml": b"confidence: 1.5\nlimits:\n- {measure: accuracy, at_least: 0.8}\n"},
    ),
    "an expiry of no days": Bad(
        (), {"policy.yaml": b"- {measure: accuracy, at_least: 0.8, expires_days: 0}\n"}
    ),
    "no JSON": Bad((), {"new.jsonl": b"{\n"}, options=("new.jsonl",)),
    "a column twice": Bad((), {"new.csv": b"i,y,p,s,domain,domain\nr0,0,0,0.1,a,b\n"}),
    "semicolons": Bad((), {"new.csv": b"i;y;p\nr0;0;0\n"}),
    "a kind of file that is not read": Bad((), {"new.xlsx": b"PK"}, options=("new.xlsx",)),
    "a word for a whole number": Bad((), options=("--intersections", "two")),
    "a flag with a value": Bad((), options=("--json=3",)),
}

OTHERS: dict[str, list[str]] = {
    "init on nothing": ["init", "absent.csv"],
    "init on no text": ["init", "base.csv"],
    "run without a project": ["run"],
    "run with a task of a later version": ["run", "task.yaml"],
    "run with an unknown key": ["run", "unknown.yaml"],
    "run with a word for a number": ["run", "word.yaml"],
    "run with two sources": ["run", "sources.yaml"],
    "run with an unknown builtin": ["run", "builtin.yaml"],
    "an argument too many": ["report", "here", "there"],
}
PROJECT = (
    "name: x\ntask: {task}\nmodel: builtin:minilm\ndata: {{source: base.csv}}\n"
    "policy: [{{measure: accuracy, at_least: 0.8}}]\n"
)
PROJECTS = {
    "task.yaml": PROJECT.format(task="tabular-regression"),
    "unknown.yaml": PROJECT.format(task="text-classification") + "obective: size\n",
    "word.yaml": PROJECT.format(task="text-classification") + "train: {epochs: many}\n",
    "sources.yaml": PROJECT.format(task="text-classification").replace(
        "source: base.csv", "source: base.csv, test: base.csv"
    ),
    "builtin.yaml": PROJECT.format(task="text-classification").replace("minilm", "minilmm"),
}


def chinese(line: str) -> None:
    """Fail unless a line is Chinese: Han characters, and no run of English words."""
    assert HAN.search(line), line
    assert ENGLISH.findall(NAMES.sub(" · ", line.removeprefix("shipworthy: "))) == [], line


def refused(capsys: pytest.CaptureFixture[str], folder: Path, arguments: list[str]) -> str:
    """Return the one line on stderr of a call that is refused, with nothing written."""
    before = written(folder)
    verb, *rest = arguments
    said = say(capsys, verb, "--lang", "zh", *rest)
    assert (said.code, said.out, said.err.count("\n")) == (2, "", 1), said
    assert written(folder) == before
    return said.err


@pytest.mark.parametrize("name", [n for n in {**BAD, **MORE} if n != "an unknown language"])
def test_bad_files_and_options_are_said_in_chinese(
    name: str, capsys: pytest.CaptureFixture[str], folder: Path
) -> None:
    bad = {**BAD, **MORE}[name]
    save(BASE, Path("base.csv"))
    save(NEW, Path("new.csv"))
    Path("policy.yaml").write_text(POLICY, encoding="utf-8")
    for file, content in (bad.text or {}).items():
        Path(file).write_bytes(content)
    for file, frame in (bad.frames or {}).items():
        save(frame, Path(file))
    given = [*bad.options]
    candidates = [given.pop(0)] if given and not given[0].startswith("-") else ["new.csv"]
    chinese(
        refused(
            capsys, folder,
            ["judge", "base.csv", *candidates, "--policy", "policy.yaml", *COLUMNS, "--group",
             "domain", "--ledger", "looks.jsonl", *given],
        )
    )  # fmt: skip


@pytest.mark.parametrize("name", [*MISSING, *OTHERS])
def test_other_mistakes_are_said_in_chinese(
    name: str, capsys: pytest.CaptureFixture[str], folder: Path
) -> None:
    save(BASE, Path("base.csv"))
    Path("policy.yaml").write_text(POLICY, encoding="utf-8")
    for file, content in PROJECTS.items():
        Path(file).write_text(content, encoding="utf-8")
    chinese(refused(capsys, folder, MISSING[name][0]() if name in MISSING else OTHERS[name]))


def test_every_verb_and_option_has_a_text() -> None:
    for path, command in commands(typer.main.get_command(app)):
        place = ".".join(("help", *path))
        assert has_text(place)
        assert not path or has_text(f"{place}.short")
        for option in command.params:
            own, shared = f"{place}.{option.name}", f"help.option.{option.name}"
            assert has_text(own) or has_text(shared), own


@pytest.mark.parametrize("path", VERBS, ids=" ".join)
def test_help_is_chinese_and_fits(
    path: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    said = say(capsys, *path, "--help", "--lang", "zh")
    assert (said.code, said.err) == (0, "")
    lines = said.out.splitlines()
    assert lines[0].startswith("用法：shipworthy")
    for line in lines:
        assert cells(line) <= 78, line
        assert not line.strip().startswith(tuple("，。；：、）")), line
    assert ENGLISH.findall(NAMES.sub("·", "\n".join(lines[1:]).replace("[ARGS]", ""))) == []
    set_language("zh")
    told = text(".".join(("help", *path)))
    assert re.sub(r"\s", "", told) in re.sub(r"\s", "", said.out)


def cells(line: str) -> int:
    return sum(2 if unicodedata.east_asian_width(sign) in "WF" else 1 for sign in line)


def test_help_in_english_stays_the_parsers_own(capsys: pytest.CaptureFixture[str]) -> None:
    said = say(capsys, "judge", "--help")
    assert said.out.startswith("Usage: shipworthy judge [OPTIONS] {PARENT} {CANDIDATE}...\n")
    assert "Predictions of each candidate.  [required]\n" in said.out
    assert not HAN.search(said.out)


@pytest.mark.parametrize(
    "arguments", [["--lang", "zh"], ["--lang=zh_CN.UTF-8"], ["--lang", "zh-CN", "--json"]]
)
def test_the_language_is_known_before_the_arguments_are_read(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    for call in ([*arguments, "judge", "--help"], ["judge", *arguments, "--help"]):
        if call[2:3] == ["--json"]:
            continue
        assert "选项：" in say(capsys, *call).out
        set_language("en")


def test_a_value_that_looks_like_an_option_is_no_language(
    capsys: pytest.CaptureFixture[str],
) -> None:
    said = say(capsys, "judge", "--lang", "--json")
    assert (said.code, said.out, said.err.count("\n")) == (2, "", 1)
    assert say(capsys, "judge", "--", "--lang", "zh").err.startswith("shipworthy: missing option")


def test_the_environment_chooses_the_language(folder: Path) -> None:
    for language, word in (("zh", "没有命令"), ("tlh", "no texts in the language 'tlh'")):
        ended = subprocess.run(
            [sys.executable, "-m", "shipworthy.cli.main", "jugde"],
            env={"SHIPWORTHY_LANG": language, "PYTHONIOENCODING": "utf-8"},
            capture_output=True, text=True, encoding="utf-8", check=False,
        )  # fmt: skip
        assert ended.returncode == 2
        assert word in ended.stderr
        assert ended.stderr.count("\n") == 1


def test_every_stage_of_a_run_has_a_text() -> None:
    from shipworthy.release.project import load_project
    from shipworthy.release.why import stage_names

    with as_file(files("shipworthy.release") / "demo.yaml") as demo:
        names = stage_names(load_project(demo))
    assert len(names) > 10
    for name in names:
        assert has_text(f"run.stage.{name.split()[0]}"), name


def test_ctrl_c_and_bugs_are_said_in_chinese(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    for error, words in ((KeyboardInterrupt(), "已中断"), (RuntimeError("bent"), "这是程序错误")):

        def broken(*_: object, thrown: BaseException = error, **__: object) -> None:
            raise thrown

        monkeypatch.setattr("shipworthy.release.judge.align", broken)
        save(parent(200), Path("base.csv"))
        save(candidate(parent(200), lost=1), Path("new.csv"))
        Path("policy.yaml").write_text(POLICY, encoding="utf-8")
        said = say(
            capsys, "judge", "base.csv", "new.csv", "--policy", "policy.yaml", *COLUMNS,
            "--group", "domain", "--lang", "zh",
        )  # fmt: skip
        assert words in said.err
        assert said.err.count("\n") == 1
