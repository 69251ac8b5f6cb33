"""The verb `standards`: its page, JSON and CSV, and what a user can get wrong."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import polars as pl
import pytest
from verb import save, say, written

from shipworthy.core.locale import set_language

FEW = ("--sex", "sex", "--race", "race", "--selected", "hired")


@pytest.fixture
def people(tmp_path: Path) -> Path:
    counts = {
        ("f", "a"): (400, 120),
        ("f", "b"): (200, 40),
        ("m", "a"): (400, 200),
        ("m", "b"): (200, 60),
    }
    rows = [(s, r, int(i < x), i / n) for (s, r), (n, x) in counts.items() for i in range(n)]
    rows += [(None, "a", 1, 0.5)] * 5 + [("m", "=HYPERLINK()", 0, 0.5)] * 4
    frame = pl.DataFrame(rows, schema=["sex", "race", "hired", "score"], orient="row")
    return save(frame, tmp_path / "people.csv")


def test_the_page_the_table_and_the_document(
    people: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = ("--csv", tmp_path / "out.csv", "--html", tmp_path / "out.html")
    told = say(capsys, "standards", people, *FEW, *out, "--source", "<b>our</b> records", "--json")
    assert told.code == 3
    document = told.json
    law = document["ll144"]
    assert (law["assessed"], law["unknown"], law["source"]) == (1209, 5, "<b>our</b> records")
    assert [t["table"] for t in law["tables"]] == ["sex", "race_ethnicity", "intersectional"]
    women = next(c for c in law["tables"][0]["categories"] if c["group"] == {"sex": "f"})
    assert women["impact_ratio"]["value"] == pytest.approx((160 / 600) / (260 / 604))
    sex = document["four_fifths"][0]
    assert sex["highest"] == {"sex": "m"}
    assert [c["answer"] for c in sex["categories"]] == ["fail", "pass"]
    assert document["standard_deviations"][0]["model"] == "hypergeometric"

    page = (tmp_path / "out.html").read_text("utf-8")
    assert "<b>our</b>" not in page
    assert "&lt;b&gt;our" in page
    for gone in ("<script", "http://", "https://"):
        assert gone not in page

    rows = list(csv.DictReader(io.StringIO((tmp_path / "out.csv").read_text("utf-8"))))
    assert {r["standard"] for r in rows} == {"ll144", "four-fifths", "two-sd"}
    found = next(r for r in rows if r["table"] == "sex" and r["category"] == "f")
    assert float(found["impact_ratio"]) == women["impact_ratio"]["value"]
    assert not [r for r in rows if r["category"].startswith("=")]
    assert [r for r in rows if r["category"] == "'=HYPERLINK()"]


def test_the_terminal_says_which_answer_is_which(
    people: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    told = say(capsys, "standards", people, *FEW)
    for said in (
        "below 0.8",
        "Local Law 144 sets no threshold",
        "5 people with an unknown",
        "not stated",
    ):
        assert said in told.out
    assert max(len(line) for line in told.out.splitlines()) <= 160


def test_the_law_alone_holds_nothing(people: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = say(capsys, "standards", people, *FEW, "--standard", "ll144")
    assert told.code == 0
    assert "four-fifths" not in told.out.lower()


def test_a_population_to_expect(
    people: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    population = tmp_path / "population.csv"
    population.write_text("column,value,count\nsex,f,500\nsex,m,499\nsex,x,1\n", "utf-8")
    told = say(
        capsys, "standards", people, "--standard", "two-sd", "--sex", "sex", "--selected", "hired",
        "--population", population, "--json",
    )  # fmt: skip
    found = told.json["standard_deviations"][0]
    assert found["model"] == "binomial"
    assert [c["group"]["sex"] for c in found["categories"]] == ["f", "m", "x"]
    assert found["categories"][0]["expected"] == pytest.approx(420 * 0.5)


def test_small_categories_need_a_reason(people: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = say(
        capsys, "standards", people, *FEW, "--standard", "ll144", "--exclude-small", "too few"
    )
    assert "Reason: too few" in told.out
    assert "excluded" in told.out


BAD = {
    "an unknown standard": (("--standard", "ll145", *FEW), "ll144"),
    "no output": (("--sex", "sex", "--race", "race"), "--selected"),
    "two outputs": ((*FEW, "--score", "score"), "--selected"),
    "no sex": (("--standard", "ll144", "--race", "race", "--selected", "hired"), "--sex"),
    "no group": (("--selected", "hired"), "--group"),
    "no such column": (("--sex", "sx", "--race", "race", "--selected", "hired"), "'sex'"),
    "no reason": ((*FEW, "--exclude-small", " "), "5-301(d)"),
    "another place": ((*FEW, "--unknown-in", "all"), "any or own"),
    "classes and a rule": (
        ("--standard", "two-sd", "--sex", "sex", "--classified", "race"), "not classes",
    ),
    "no such unit": ((*FEW, "--unit", "who"), "who"),
    "a folder for the page": ((*FEW, "--html", "."), "--html"),
    "a population without a value": ((*FEW, "--population", "few.yaml"), "no share of"),
    "a population that is short": ((*FEW, "--population", "short.yaml"), "0.9"),
    "a population of words": ((*FEW, "--population", "words.yaml"), "'many'"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
@pytest.mark.parametrize("language", ["en", "zh"])
def test_what_a_user_gets_wrong_is_one_line(
    case: str, language: str, people: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "few.yaml").write_text("population: {sex: {f: 1.0}}\n", "utf-8")
    (tmp_path / "short.yaml").write_text("population: {sex: {f: 0.5, m: 0.4}}\n", "utf-8")
    (tmp_path / "words.yaml").write_text("population: {sex: {f: many, m: 0.4}}\n", "utf-8")
    before = written(tmp_path)
    arguments, words = BAD[case]
    told = say(capsys, "standards", people, *arguments, "--lang", language)
    set_language("en")
    assert told.code == 2
    assert told.out == ""
    assert len(told.err.splitlines()) == 1
    assert "Traceback" not in told.err
    if language == "en":
        assert words in told.err
    assert written(tmp_path) == before


def test_an_empty_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "none.csv").write_text("sex,race,hired\n", "utf-8")
    told = say(capsys, "standards", tmp_path / "none.csv", *FEW)
    assert told.code == 2
    assert len(told.err.splitlines()) == 1


def test_chinese(people: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = say(capsys, "standards", people, *FEW, "--lang", "zh")
    set_language("en")
    assert "五分之四规则" in told.out
    assert "Local Law" not in told.out
