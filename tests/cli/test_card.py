"""The verb `card`: where documents go, what stops them, and which exit code says so."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from answers import candidate, parent
from verb import say, written

import shipworthy as sw
from shipworthy.core.digest import digest_file
from shipworthy.release.record import read_record, write_record

POLICY = [{"measure": "accuracy", "relative_to": "parent", "at_least": -0.05, "expires_days": 30}]
FILES = ("datasheet.md", "model_card.md", "technical_documentation.md")


@pytest.fixture
def run(folder: Path) -> Path:
    base = parent(400)
    found = sw.judge(
        base, candidate(base, lost=80), POLICY, label="y", prediction="p", id="i", groups=["domain"]
    )
    write_record(found, folder / "run")
    return folder / "run"


def test_a_model_card_is_written_into_the_run(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = say(capsys, "card", run)
    assert (said.code, said.err) == (0, "")
    assert said.out.strip() == str(run / "model_card.md")
    content = (run / "model_card.md").read_text("utf-8")
    assert content.startswith("---\n")
    assert "\n---\n> **HOLD: candidate 1" in content


def test_all_kinds_go_where_they_are_asked_to_and_are_told_as_json(
    run: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = say(capsys, "card", run, "--kind", "all", "--out", folder / "out", "--json")
    assert said.code == 0
    assert said.json["run"] == read_record(run).run
    assert said.json["verdict"] == "hold"
    assert sorted(p.name for p in (folder / "out").iterdir()) == sorted(FILES)
    for card in said.json["cards"]:
        assert card["sha256"] == digest_file(card["path"])
    assert not (run / "model_card.md").exists()


def test_cards_are_written_in_chinese(
    run: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert say(capsys, "card", run, "--kind", "all", "--lang", "zh").code == 0
    for name in FILES:
        content = (run / name).read_text("utf-8")
        assert "> **暂缓：" in content
        assert "none, because" not in content


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--kind", "modell"], "did you mean 'model'?"),
        (["--out", "run/verdict.json"], "--out"),
    ],
)
def test_wrong_arguments_are_one_line_and_write_nothing(
    run: Path, folder: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], told: str
) -> None:
    before = written(folder)
    said = say(capsys, "card", run, *arguments)
    assert said.code == 2
    assert told in said.err
    assert len(said.err.splitlines()) == 1
    assert written(folder) == before


def test_no_run_is_bad_input(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = say(capsys, "card", folder)
    assert said.code == 2
    assert "no finished run" in said.err


def test_a_missing_number_ends_with_2_and_a_stale_one_with_3(
    run: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = read_record(run)
    gone = (pl.col("slice") == '{"domain":"news"}') & (pl.col("relative_to") == "none")
    write_record(replace(found, measurements=found.measurements.filter(~gone)), run)
    before = written(folder)
    said = say(capsys, "card", run, "--kind", "all")
    assert said.code == 2
    assert '{"domain":"news"}' in said.err and "missing" in said.err
    assert written(folder) == before

    old = datetime.now(UTC) - timedelta(days=31)
    write_record(replace(found, created=old), run)
    said = say(capsys, "card", run, "--kind", "all", "--json")
    assert (said.code, said.out) == (3, "")
    assert "accuracy against parent ≥ -0.05" in said.err
    said = say(capsys, "card", run, "--lang", "zh")
    assert said.code == 3
    assert "天" in said.err
    assert json.loads((run / "verdict.json").read_text())["created"] == old.isoformat()
