"""`compare` of two runs and `rerun` of one, from the command line."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from answers import candidate, parent
from verb import COLUMNS, PLAIN, save, say, written


@pytest.fixture
def runs(capsys: pytest.CaptureFixture[str], folder: Path) -> tuple[Path, Path]:
    """Two judgements of one candidate, of which the later lost 40 answers more."""
    base = parent(400)
    save(base, Path("base.csv"))
    Path("policy.yaml").write_text(PLAIN, encoding="utf-8")
    for name, lost in (("before", 1), ("after", 41)):
        Path(name).mkdir()
        save(candidate(base, lost=lost), Path(name) / "new.csv")
        said = say(capsys, "judge", "base.csv", f"{name}/new.csv", "--policy", "policy.yaml",
                   *COLUMNS, "--out", f"run-{name}")  # fmt: skip
        assert said.code in (0, 3), said.err
    return folder / "run-before", folder / "run-after"


def test_compare_says_what_moved_and_ends_with_0(
    runs: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    before = written(runs[0].parent)
    said = say(capsys, "compare", *runs)
    assert (said.code, said.err) == (0, "")
    assert "Both runs have the same 400 rows" in said.out
    assert "worse" in said.out
    document = say(capsys, "compare", *runs, "--json").json
    (level,) = (m for m in document["measurements"] if m["moved"])
    assert level["change"]["value"] == pytest.approx(-0.1)
    more = say(capsys, "compare", *runs, "--json", "--all").json
    assert more["comparisons"] > document["comparisons"]
    assert say(capsys, "compare", *runs, "--markdown").out.startswith("## base (run ")
    assert "变差" in say(capsys, "compare", *runs, "--lang", "zh").out
    assert written(runs[0].parent) == before


def test_compare_names_a_folder_without_a_run_and_a_damaged_file(
    runs: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    said = say(capsys, "compare", runs[0], "nowhere")
    assert (said.code, said.out, said.err.count("\n")) == (2, "", 1)
    assert "nowhere" in said.err
    (runs[1] / "answers.parquet").write_bytes(b"PAR1 torn")
    said = say(capsys, "compare", *runs)
    assert (said.code, said.out, said.err.count("\n")) == (2, "", 1)
    assert f"{runs[1] / 'answers.parquet'}: the table of answers is damaged" in said.err


def test_rerun_lists_makes_again_and_says_why_not(
    runs: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    listed = say(capsys, "rerun", runs[0], "--json")
    assert listed.code == 0
    numbers = listed.json["measurements"]
    told = say(capsys, "rerun", runs[0])
    assert all(n["id"] in told.out for n in numbers)
    reported = say(capsys, "report", runs[0], "--json").json["limits"][0]["measurement"]
    assert reported in {n["id"] for n in numbers}

    one = say(capsys, "rerun", runs[0], "--measurement", reported)
    assert (one.code, one.err) == (0, "")
    assert "1 equal, 0 different, 0 cannot be made again." in one.out
    unknown = say(capsys, "rerun", runs[0], "--measurement", "abc")
    assert (unknown.code, unknown.out, unknown.err.count("\n")) == (2, "", 1)
    assert "holds no such number; `shipworthy rerun RUN` lists all" in unknown.err
    near = say(capsys, "rerun", runs[0], "--measurement", reported[:-1])
    assert (near.code, f"did you mean {reported!r}?" in near.err) == (2, True)
    timings = say(capsys, "rerun", runs[0], "--timings")
    assert (timings.code, timings.out, "--timings: goes with --all" in timings.err) == (2, "", True)

    everything = say(capsys, "rerun", runs[0], "--all", "--json")
    assert (everything.code, everything.json["equal"]) == (0, len(numbers))
    frame = pl.read_csv("before/new.csv")
    save(frame.with_columns(p=1 - pl.col("p")), Path("before/new.csv"))
    changed = say(capsys, "rerun", runs[0], "--all")
    assert changed.code == 2
    assert "before/new.csv is not what was measured" in " ".join(changed.out.split())
    chinese = say(capsys, "rerun", runs[0], "--all", "--lang", "zh")
    assert "无法重现" in chinese.out
