"""What a user can get wrong: one line that says where and what to do, exit 2, nothing written."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pytest
from answers import candidate, parent
from verb import COLUMNS, POLICY, save, say, written

BASE = parent(200)
NEW = candidate(BASE, lost=2)
SEVENTH = pl.int_range(pl.len()) == 6


def at_seventh(column: str, value: object) -> pl.Expr:
    return pl.when(SEVENTH).then(pl.lit(value)).otherwise(pl.col(column)).alias(column)


@dataclass(frozen=True)
class Bad:
    """One mistake: how a file is spoilt, and the words that the message must have.

    files: what to write besides the good ones; frames: files by name; options: arguments that
    come last, and so win over the good ones.
    """

    words: tuple[str, ...]
    text: dict[str, bytes] | None = None
    frames: dict[str, pl.DataFrame] | None = None
    options: tuple[str, ...] = ()


BAD: dict[str, Bad] = {
    "an empty file": Bad(("new.csv", "empty", "at least one row"), {"new.csv": b""}),
    "a header alone": Bad(
        ("new.csv", "no row", "at least one row"), {"new.csv": b"i,y,p,s,domain,author\n"}
    ),
    "one class only": Bad(
        ("base.csv", "'y'", "every row has the label '1'", "at least two classes"),
        frames={"base.csv": BASE.with_columns(y=pl.lit(1), p=pl.lit(1))},
    ),
    "a label missing": Bad(
        ("new.csv", "row 7", "'y'", "label is missing", "fill it in"),
        frames={"new.csv": NEW.with_columns(at_seventh("y", None))},
    ),
    "a prediction missing": Bad(
        ("new.csv", "row 7", "'p'", "prediction is missing", "fill it in"),
        frames={"new.csv": NEW.with_columns(at_seventh("p", None))},
    ),
    "a unit missing": Bad(
        ("base.csv", "row 7", "'author'", "unit is missing", "fill it in"),
        frames={"base.csv": BASE.with_columns(at_seventh("author", None))},
        options=("--unit", "author"),
    ),
    "an unknown column": Bad(
        ("base.csv", "'labl'", "no such column", "known:"), options=("--label", "labl")
    ),
    "nearly the name of a column": Bad(
        ("base.csv", "'domian'", "did you mean 'domain'?"), options=("--unit", "domian")
    ),
    "an id column that is not there": Bad(
        ("base.csv", "'row'", "no such column"), options=("--id", "row")
    ),
    "bytes that are not UTF-8": Bad(
        ("new.csv", "line 3", "UTF-8", "0xe9", "save the file"),
        {"new.csv": b"i,y,p,s,domain,author\nr0,0,0,0.1,movie,0\nr\xe91,0,0,0.1,movie,0\n"},
    ),
    "a row cut short": Bad(
        ("new.csv", "row 2", "fields"),
        {"new.csv": b"i,y,p,s,domain,author\nr0,0,0,0.1,movie,0\nr1,0\n"},
    ),
    "NaN scores": Bad(
        ("new.csv", "row 7", "'s'", "nan", "[0, 1]"),
        frames={"new.csv": NEW.with_columns(at_seventh("s", float("nan")))},
        options=("--score", "s"),
    ),
    "a score beyond 1": Bad(
        ("base.csv", "row 7", "'s'", "1.5", "[0, 1]"),
        frames={"base.csv": BASE.with_columns(at_seventh("s", 1.5))},
        options=("--score", "s"),
    ),
    "scores for the prediction": Bad(
        ("base.csv", "row 1", "'s'", "--score"), options=("--prediction", "s")
    ),
    "an id twice": Bad(
        ("new.csv", "row 7", "'i'", "'r3'", "twice"),
        frames={"new.csv": NEW.with_columns(at_seventh("i", "r3"))},
    ),
    "a row less": Bad(
        ("new.csv", "'i'", "'r199'", "exactly the same rows"),
        frames={"new.csv": NEW.head(199)},
    ),
    "a row more": Bad(
        ("base.csv", "'i'", "'r199'", "exactly the same rows"),
        frames={"base.csv": BASE.head(199)},
    ),
    "another label": Bad(
        ("new.csv", "row 7", "'y'", "labels must be equal"),
        frames={"new.csv": NEW.with_columns(y=(pl.col("y") + SEVENTH) % 2)},
    ),
    "no positive class": Bad(
        ("base.csv", "positive", "--positive", "ham, spam"),
        frames={
            f"{name}.csv": frame.with_columns(
                pl.col(c).replace_strict({0: "ham", 1: "spam"}) for c in ("y", "p")
            )
            for name, frame in (("base", BASE), ("new", NEW))
        },
    ),
    "another positive class": Bad(
        ("base.csv", "'y'", "'2'", "known: 0, 1"), options=("--positive", "2")
    ),
    "no file": Bad(
        ("policy.yml", "No such file"), options=("--policy", "policy.yml")
    ),
    "a word for a number": Bad(
        ("policy.yaml:1", "at_least", "needs a number", "'high'"),
        {"policy.yaml": b"- {measure: accuracy, at_least: high}\n"},
    ),
    "a misspelt measure": Bad(
        ("policy.yaml:1", "measure", "did you mean 'accuracy'?"),
        {"policy.yaml": b"- {measure: acuracy, at_least: 0.8}\n"},
    ),
    "an unknown key": Bad(
        ("policy.yaml:2", "tiers", "did you mean 'tier'?"),
        {"policy.yaml": b"- measure: accuracy\n  tiers: critical\n  at_least: 0.8\n"},
    ),
    "a misspelt tier": Bad(
        ("policy.yaml:1", "tier", "did you mean 'critical'?"),
        {"policy.yaml": b"- {measure: accuracy, at_least: 0.8, tier: critcal}\n"},
    ),
    "broken YAML": Bad(
        ("policy.yaml:", "broken YAML"), {"policy.yaml": b"- {measure: accuracy, at_least: 0.8\n"}
    ),
    "an empty policy": Bad(("policy.yaml", "limits"), {"policy.yaml": b""}),
    "a group column misspelt in the policy": Bad(
        ("policy.yaml", "limit 1", "'domian'", "did you mean 'domain'?", "--group"),
        {"policy.yaml": b"- {measure: accuracy, slice: {each: domian}, at_least: 0.8}\n"},
    ),
    "a speed on a slice": Bad(
        ("policy.yaml", "limit 1", "latency_p95_ms", "leave `slice` out"),
        {"policy.yaml": b"- {measure: latency_p95_ms, slice: {each: domain}, at_most: 20}\n"},
    ),
    "a difference for a ratio": Bad(
        ("policy.yaml", "limit 1", "ratio", "1.1"),
        {"policy.yaml": b"- {measure: size_mb, relative_to: parent, at_most: -0.1}\n"},
    ),
    "a missing option value": Bad(("--policy",), options=("--policy",)),
    "an unknown option": Bad(("--polcy", "judge --help"), options=("--polcy", "x")),
    "too many crossings": Bad(
        ("--intersections", "3", "judge --help"), options=("--intersections", "9")
    ),
    "an unknown language": Bad(("--lang", "'fr'", "en, zh"), options=("--lang", "fr")),
    "a score for no class": Bad(("--score =s", "CLASS=COLUMN"), options=("--score", "=s")),
    "two scores of one class": Bad(
        ("--score 1=p", "'1'", "already"), options=("--score", "1=s", "--score", "1=p")
    ),
    "a folder that is a file": Bad(
        ("--out base.csv", "is a file", "folder"), options=("--out", "base.csv")
    ),
    "a page that is a folder": Bad(
        ("--report .", "is a folder", "name a file"), options=("--report", ".")
    ),
    "a page below a file": Bad(
        ("--report base.csv/page.html", "base.csv is a file"),
        options=("--report", "base.csv/page.html"),
    ),
    "a ledger that is none": Bad(("base.csv:1", "ledger"), options=("--ledger", "base.csv")),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_one_line_exit_2_and_nothing_written(
    name: str, capsys: pytest.CaptureFixture[str], folder: Path
) -> None:
    bad = BAD[name]
    save(BASE, Path("base.csv"))
    save(NEW, Path("new.csv"))
    Path("policy.yaml").write_text(POLICY, encoding="utf-8")
    for file, content in (bad.text or {}).items():
        Path(file).write_bytes(content)
    for file, frame in (bad.frames or {}).items():
        save(frame, Path(file))
    before = written(folder)
    said = say(
        capsys, "judge", "base.csv", "new.csv", "--policy", "policy.yaml", *COLUMNS,
        "--group", "domain", "--ledger", "looks.jsonl", "--out", "kept", *bad.options,
    )  # fmt: skip
    assert said.code == 2, said.err
    assert said.out == ""
    assert said.err.count("\n") == 1
    assert said.err.startswith("shipworthy: ")
    assert "Traceback" not in said.err
    for word in bad.words:
        assert word in said.err
    assert written(folder) == before


def by_position(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.drop("i")


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (NEW.head(199), ("new.csv", "199 rows", "200", "--id")),
        (NEW.reverse(), ("new.csv", "row 1", "sort both files alike")),
    ],
)
def test_rows_that_do_not_pair_by_position(
    other: pl.DataFrame,
    words: tuple[str, ...],
    capsys: pytest.CaptureFixture[str],
    folder: Path,
) -> None:
    save(by_position(BASE), Path("base.csv"))
    save(by_position(other), Path("new.csv"))
    Path("policy.yaml").write_text(POLICY, encoding="utf-8")
    before = written(folder)
    said = say(
        capsys, "judge", "base.csv", "new.csv", "--policy", "policy.yaml", "--label", "y",
        "--prediction", "p", "--group", "domain", "--ledger", "looks.jsonl",
    )  # fmt: skip
    assert (said.code, said.err.count("\n")) == (2, 1)
    assert all(word in said.err for word in words)
    assert written(folder) == before


def test_a_policy_for_groups_without_a_group_column(
    capsys: pytest.CaptureFixture[str], folder: Path
) -> None:
    save(BASE, Path("base.csv"))
    Path("policy.yaml").write_text(POLICY, encoding="utf-8")
    said = say(capsys, "judge", "base.csv", "base.csv", "--policy", "policy.yaml", *COLUMNS)
    assert said.code == 2
    for word in ("policy.yaml", "limit 3", "{each: domain}", "declare group columns with --group"):
        assert word in said.err
    assert not (folder / "report.html").exists()


MISSING: dict[str, tuple[Callable[[], list[str]], tuple[str, ...]]] = {
    "no candidate": (lambda: ["judge", "base.csv"], ("CANDIDATE", "judge --help")),
    "no policy": (lambda: ["judge", "base.csv", "new.csv"], ("--policy", "judge --help")),
    "no such verb": (lambda: ["jugde"], ("'jugde'", "shipworthy --help")),
    "no run": (lambda: ["report", "nowhere"], ("nowhere", "verdict.json", "--out")),
    "no planted model": (
        lambda: ["selftest", "policy.yaml", "--skip", "brokn"],
        ("--skip brokn", "did you mean 'broken'?"),
    ),
}


@pytest.mark.parametrize("name", MISSING)
def test_what_is_missing_is_named(
    name: str, capsys: pytest.CaptureFixture[str], folder: Path
) -> None:
    make, words = MISSING[name]
    Path("policy.yaml").write_text(POLICY, encoding="utf-8")
    said = say(capsys, *make())
    assert (said.code, said.out, said.err.count("\n")) == (2, "", 1)
    assert all(word in said.err for word in words)
