"""The verb `composition`: its page, its document, and what a user can get wrong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from verb import save, say, written

from shipworthy.core.locale import set_language

N = 400


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    generator = np.random.default_rng(4)
    group = generator.choice(["<script>alert(1)</script>", "b"], N, p=[0.3, 0.7])
    words = np.where(group == "b", "a quiet day by the sea", "loud streets of the old town")
    frame = pl.DataFrame(
        {
            "id": np.arange(N),
            "t": [f"{w} number {k // 2} of {k // 2 * 7}" for k, w in enumerate(words)],
            "g": group,
            "y": generator.choice(["neg", "pos"], N),
            "s": np.where(np.arange(N) % 5 == 0, "test", "train"),
            "one": "same",
            "x": generator.normal(size=N),
        }
    )
    return save(frame, tmp_path / "rows.csv")


ROLES = ("--text", "t", "--label", "y", "--group", "g", "--split", "s", "--id", "id")


def test_the_page_and_the_document(
    rows: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "said.yaml").write_text("gaps: <b>none</b> known\n", "utf-8")
    (tmp_path / "all.yaml").write_text(
        "source: a census\npopulation:\n  g: {b: 0.7, '<script>alert(1)</script>': 0.3}\n", "utf-8"
    )
    told = say(
        capsys, "composition", rows, *ROLES, "--governance", "said.yaml", "--reference", "all.yaml",
        "--html", "page.html", "--json",
    )  # fmt: skip
    assert told.code == 0
    found = told.json
    assert found["rows"] == N
    assert found["classes"].keys() == {"neg", "pos"}
    shares = {g["group"]: g["declared"] for g in found["groups"][0]["groups"]}
    assert shares == pytest.approx({"b": 0.7, "<script>alert(1)</script>": 0.3})
    # Two rows say the same wherever they have the same group.
    assert found["duplicates"]["rows_with_an_equal"] > 0
    assert found["duplicates"]["rows_in_several_splits"] > 0
    assert found["governance"]["gaps"] == "<b>none</b> known"
    assert found["governance"]["collection"] == ""
    assert {one["unit"] for one in found["lengths"]} == {"characters", "words"}
    # The words give the group away.
    assert found["proxies"][0]["found"]["answer"] == "fail"
    assert found["proxies"][0]["found"]["importances"][0]["column"] == "t"
    page = (tmp_path / "page.html").read_text("utf-8")
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)" in page
    assert "<b>none" not in page
    assert "http" not in page.replace("http-equiv", "")


def test_the_terminal(
    rows: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    told = say(capsys, "composition", rows, *ROLES, "--no-models")
    assert told.code == 0
    for said in ("Rows to audit on", "a leak", "not stated", "Rows taken as independent"):
        assert said in told.out
    assert max(map(len, told.out.splitlines())) <= 100


def test_tokens_are_counted_by_the_users_tokenizer(
    rows: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers

    tokenizer = Tokenizer(models.WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    (tmp_path / "model").mkdir()
    tokenizer.save(str(tmp_path / "model" / "tokenizer.json"))
    told = say(
        capsys, "composition", rows, "--text", "t", "--tokenizer", "model", "--no-models", "--json"
    )
    means = {one["unit"]: one["mean"] for one in told.json["lengths"]}
    assert means["tokens"] == means["words"]


def test_without_columns_there_is_still_something_to_say(
    rows: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = say(capsys, "composition", rows)
    assert told.code == 0
    assert "No group column is named" in told.out


def test_one_group_is_told(rows: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = say(capsys, "composition", rows, "--group", "one", "--label", "y")
    assert told.code == 0
    assert "one has one group only" in told.out


BAD = {
    "no such column": (("--group", "gg"), "'g'"),
    "no such label": (("--label", "yy"), "'y'"),
    "names as groups": (("--group", "many"), "10,000"),
    "all missing": (("--group", "none"), "every value is missing"),
    "one annotator": (("--annotator", "y"), "--item"),
    "a population of another column": (("--group", "y", "--reference", "all.yaml"), "no --group"),
    "a reference that is none": (("--group", "g", "--reference", "list.yaml"), "population:"),
    "another item": (("--governance", "items.yaml"), "'gaps'"),
    "no tokenizer": (("--text", "t", "--tokenizer", "."), "tokenizer.json"),
    "a margin of all": (("--margin", "1"), "0.5"),
    "a folder for the page": (("--html", "."), "--html"),
}


@pytest.mark.parametrize("case", BAD)
@pytest.mark.parametrize("language", ["en", "zh"])
def test_what_a_user_gets_wrong_is_one_line(
    case: str, language: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    frame = pl.DataFrame(
        {
            "t": ["a", "b"] * 5000, "g": ["u", "v"] * 5000, "y": [0, 1] * 5000,
            "many": [f"n{k}" for k in range(10_000)], "none": [None] * 10_000,
        }
    )  # fmt: skip
    save(frame, tmp_path / "rows.parquet")
    (tmp_path / "all.yaml").write_text("population: {g: {u: 0.5, v: 0.5}}\n", "utf-8")
    (tmp_path / "list.yaml").write_text("- g\n", "utf-8")
    (tmp_path / "items.yaml").write_text("gabs: none\n", "utf-8")
    before = written(tmp_path)
    arguments, words = BAD[case]
    told = say(capsys, "composition", "rows.parquet", *arguments, "--lang", language)
    set_language("en")
    assert told.code == 2
    assert told.out == ""
    assert len(told.err.splitlines()) == 1
    if language == "en":
        assert words in told.err
    assert written(tmp_path) == before


def test_a_file_without_rows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "none.csv").write_text("a,b\n", "utf-8")
    told = say(capsys, "composition", "none.csv")
    assert told.code == 2
    assert len(told.err.splitlines()) == 1


def test_chinese(rows: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = say(capsys, "composition", rows, *ROLES, "--lang", "zh")
    set_language("en")
    assert "数据构成" in told.out
    assert "Rows to audit" not in told.out
