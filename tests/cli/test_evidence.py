"""`report` on a finished run."""

from __future__ import annotations

from pathlib import Path

import pytest
from answers import candidate, parent
from verb import COLUMNS, PLAIN, save, say, written


@pytest.fixture
def run_folder(capsys: pytest.CaptureFixture[str], folder: Path) -> Path:
    save(parent(400), Path("base.csv"))
    save(candidate(parent(400), lost=40), Path("new.csv"))
    Path("policy.yaml").write_text(PLAIN, encoding="utf-8")
    said = say(
        capsys, "judge", "base.csv", "new.csv", "--policy", "policy.yaml", *COLUMNS,
        "--out", "kept",
    )  # fmt: skip
    assert said.code == 3
    return folder / "kept"


def test_report_says_what_the_run_said(
    run_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = written(run_folder)
    said = say(capsys, "report", run_folder, "--json")
    assert (said.code, said.err) == (3, "")
    document = said.json
    assert (document["verdict"], document["exit_code"]) == ("hold", 3)
    assert document["report"] == str(run_folder / "report.html")
    # The page is made again, to the byte, and nothing else is touched.
    assert written(run_folder) == before

    chinese = say(capsys, "report", run_folder, "--lang", "zh")
    assert chinese.code == 3
    assert "暂缓" in chinese.out
    page = (run_folder / "report.html").read_text(encoding="utf-8")
    assert 'lang="zh-Hans"' in page
    assert "暂缓" in page

    elsewhere = say(capsys, "report", run_folder / "verdict.json", "--out", "page.html")
    assert elsewhere.code == 3
    assert (run_folder.parent / "page.html").read_text(encoding="utf-8").count("暂缓")


@pytest.mark.parametrize("out", [".", "base.csv/page.html"])
def test_a_page_that_cannot_be_written(
    out: str, run_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = written(run_folder.parent)
    said = say(capsys, "report", run_folder, "--out", out)
    assert (said.code, said.out, said.err.count("\n")) == (2, "", 1)
    assert f"--out {out}" in said.err
    assert written(run_folder.parent) == before
