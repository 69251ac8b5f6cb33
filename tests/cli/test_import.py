from pathlib import Path

import polars as pl
import pytest
from verb import say

LOGS = Path(__file__).parents[1] / "model" / "logs"
CHOICE = next(LOGS.glob("samples_mini_choice*"))


@pytest.mark.parametrize("name", ["a.parquet", "a.csv", "a.jsonl"])
def test_a_log_becomes_a_table(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / name
    said = say(capsys, "import", LOGS / "mini.eval", "--out", out, "--json")
    assert said.code == 0
    assert said.json["rows"] == 12
    assert said.json["tool"] == "inspect"
    readers = {".parquet": pl.read_parquet, ".csv": pl.read_csv, ".jsonl": pl.read_ndjson}
    table = readers[out.suffix](out)
    assert table.columns == said.json["columns"]
    assert (table["target"] == table["answer"]).mean() == pytest.approx(said.json["right"])


def test_it_says_what_it_wrote(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "a.csv"
    assert "24 rows from lm-eval" in say(capsys, "import", CHOICE, "--out", out).out
    bare = say(capsys, "import", CHOICE.with_name("mlflow_table.json"), "--out", out).out
    assert "30 rows from mlflow\n" in bare
    assert "24 行" in say(capsys, "import", CHOICE, "--out", out, "--lang", "zh").out


def test_what_cannot_be_imported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plain = tmp_path / "t.csv"
    plain.write_text("a,b\n1,2\n", "utf-8")
    for arguments, words in (
        ([plain, "--out", tmp_path / "o.csv"], "is a table already"),
        ([CHOICE, "--out", tmp_path / "o.xlsx"], "must end in .parquet"),
        ([tmp_path / "absent.eval", "--out", tmp_path / "o.csv"], "cannot be read"),
    ):
        said = say(capsys, "import", *arguments)
        assert said.code == 2
        assert words in said.err
        assert not (tmp_path / "o.csv").exists()


def test_logs_are_judged_as_they_are(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    policy = tmp_path / "p.yaml"
    policy.write_text(
        "- {measure: accuracy, relative_to: parent, at_least: -0.02}\n"
        "- {measure: accuracy, slice: {each: domain}, at_least: 0.1}\n",
        "utf-8",
    )
    for log in (CHOICE, LOGS / "mini.eval"):
        said = say(
            capsys, "judge", log, log, "--policy", policy, "--group", "domain", "--json",
            "--report", tmp_path / "r.html",
        )  # fmt: skip
        assert said.code in (0, 4), said.err
        change = next(li for li in said.json["limits"] if li["relative_to"] == "parent")
        assert change["decision"] == "pass"
        assert change["method"] == "identical"


def test_a_plain_table_needs_its_columns(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plain = tmp_path / "t.csv"
    plain.write_text("y,p\n1,1\n0,0\n", "utf-8")
    policy = tmp_path / "p.yaml"
    policy.write_text("- {measure: accuracy, at_least: 0.1}\n", "utf-8")
    said = say(capsys, "judge", plain, plain, "--policy", policy, "--label", "y")
    assert said.code == 2
    assert "give --prediction" in said.err
