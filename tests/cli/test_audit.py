"""The verb `audit`: exit codes, one document, one page, one line for what does not fit."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from verb import say, written

LIMITS = {
    0: "- {measure: accuracy, at_least: 0.5}\n",
    3: "- {measure: accuracy, at_least: 0.95}\n",
    4: "- {measure: statistical_parity_difference, slice: {each: g}, at_most: 0.03}\n",
}
"""Exit code -> a policy that the answers below get it from."""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 800)
    p = np.where(rng.random(800) < 0.8, y, 1 - y)
    pl.DataFrame({"g": rng.choice(["a", "b"], 800), "y": y, "p": p}).write_csv(tmp_path / "t.csv")
    return tmp_path / "t.csv"


COLUMNS = ("--label", "y", "--prediction", "p", "--group", "g")


@pytest.mark.parametrize("code", [0, 3, 4])
def test_exit_codes_are_the_answers(capsys, file: Path, code: int) -> None:
    policy = file.parent / "policy.yaml"
    policy.write_text(LIMITS[code], "utf-8")
    said = say(capsys, "audit", file, *COLUMNS, "--policy", policy, "--json")
    assert said.code == code == said.json["exit_code"]
    assert said.json["verdict"] == {0: "pass", 3: "fail", 4: "cannot_tell"}[code]
    needed = [limit["n_needed"] for limit in said.json["limits"]]
    assert all(n is not None for n in needed) == (code == 4)


def test_without_a_policy_it_shows_and_ends_well(capsys, file: Path) -> None:
    page = file.parent / "page.html"
    said = say(capsys, "audit", file, *COLUMNS, "--html", page)
    assert said.code == 0 and "selection rate" in said.out.lower() and str(page) in said.out
    assert page.read_text("utf-8").startswith("<!doctype html>")
    chinese = say(capsys, "audit", file, *COLUMNS, "--lang", "zh")
    assert chinese.code == 0 and "选择率" in chinese.out


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--group", "h"), "column 'h'"),
        (("--reference", "g:a"), "write COLUMN=VALUE"),
        (("--reference", "g=c"), "no row has the reference 'c'"),
        (("--score", "y2"), "column 'y2'"),
        (("--task", "clustering"), "there is no task"),
        (("--html", "."), "--html"),
        (("--intersections", "9"), "intersections"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(capsys, file: Path, more, said) -> None:
    before = written(file.parent)
    found = say(capsys, "audit", file, *COLUMNS, *more, "--json")
    assert (found.code, found.out) == (2, "")
    assert said in found.err and found.err.count("\n") == 1
    assert written(file.parent) == before


def test_it_loads_no_model_library(file: Path) -> None:
    code = (
        "import sys, shipworthy as sw\n"
        f"sw.audit({str(file)!r}, label='y', prediction='p', groups=['g'])._repr_html_()\n"
        "print(sorted({'torch', 'transformers', 'onnxruntime', 'sklearn'} & set(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )  # fmt: skip
    assert done.stdout.strip() == "[]"
