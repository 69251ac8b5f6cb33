"""A judgement to its folder and back, and folders that hold none."""

from __future__ import annotations

import json
import math
import shutil
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from answers import candidate, parent
from polars.testing import assert_frame_equal
from sample import pictured

import shipworthy as sw
from shipworthy.core.errors import InputError
from shipworthy.release.judgement import Judgement, NextStep, Phrase
from shipworthy.release.record import DECISIONS, MEASUREMENTS, VERDICT, read_record, write_record

POLICY = {
    "small_slices": "report",
    "limits": [
        {"measure": "accuracy", "at_least": 0.8, "tier": "critical", "owner": "ml"},
        {"measure": "accuracy", "relative_to": "parent", "at_least": -0.02},
        {"measure": "accuracy", "slice": {"domain": "nowhere"}, "at_least": 0.1},
        {"measure": "latency_p95_ms", "at_most": 20, "unknown": "disclose", "expires_days": 9},
        {"measure": "accuracy", "slice": {"each": ["domain", "half"]}, "at_least": 0.3},
    ],
}


@pytest.fixture(scope="module")
def made() -> Judgement:
    base = parent(400).with_columns(half=pl.int_range(pl.len()) % 2)
    other = candidate(base, lost=4)
    return sw.judge(
        base, other, policy=POLICY, label="y", prediction="p", id="i", groups=["domain", "half"]
    )


@pytest.fixture(scope="module")
def original(made: Judgement, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("original")
    write_record(made, place)
    return place


@pytest.fixture
def kept(original: Path, tmp_path: Path) -> Path:
    """A finished run that the test may spoil."""
    return Path(shutil.copytree(original, tmp_path / "run"))


def plain(value: Any) -> Any:
    """The value with NaN as a word, since NaN is not equal to itself."""
    if isinstance(value, float) and math.isnan(value):
        return "NaN"
    if isinstance(value, tuple | list):
        return tuple(plain(v) for v in value)
    if hasattr(value, "__dataclass_fields__"):
        return {f.name: plain(getattr(value, f.name)) for f in fields(value)}
    return value


def assert_equal(one: Judgement, other: Judgement) -> None:
    for f in fields(Judgement):
        if f.name == "measurements":
            assert_frame_equal(one.measurements, other.measurements)
        elif f.name == "answers":
            continue  # made into a file of its own, not read back
        else:
            assert plain(getattr(one, f.name)) == plain(getattr(other, f.name)), f.name


def test_a_judgement_comes_back_equal(made: Judgement, tmp_path: Path) -> None:
    page = write_record(made, tmp_path / "deep" / "run")
    assert page == tmp_path / "deep" / "run" / "report.html"
    assert sorted(p.name for p in page.parent.iterdir()) == [
        "answers.parquet", "decisions.parquet", "forgotten.parquet", "measurements.parquet",
        "report.html", "verdict.json",
    ]  # fmt: skip
    # What makes it hard is there: values without a number, steps, slices of two columns.
    assert any(math.isnan(d.value) for d in made.decisions)
    assert made.next_steps
    assert made.limits[4].slices == {"each": ("domain", "half")}
    assert_equal(read_record(page.parent), made)


def test_a_run_of_the_whole_line_comes_back_equal(tmp_path: Path) -> None:
    found = pictured()
    run = replace(
        found,
        decisions=tuple(replace(d, run=found.run) for d in found.decisions),
        next_steps=(
            NextStep(
                "x",
                Phrase(
                    "next.measure",
                    {"candidate": "int8", "what": Phrase("next.what.level", {"measure": "f1"})},
                ),
                math.nan,
                0.5,
            ),
        ),
        evidence=(("report.evidence.test", "3,932 rows"),),
        group_names={"nyt": "NYT"},
    )
    write_record(run, tmp_path)
    assert_equal(read_record(tmp_path), run)


def test_no_number_is_null_in_the_document(made: Judgement, original: Path) -> None:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    document = json.loads((original / VERDICT).read_text("utf-8"), parse_constant=refuse)
    assert document["format"] == 2
    assert document["run"] == made.run


def test_load_run_takes_the_folder_or_a_file_in_it(made: Judgement, kept: Path) -> None:
    for place in (kept, str(kept), kept / "report.html"):
        run = sw.load_run(place)
        assert run.folder == kept
        assert run.verdict is made.verdict
        assert run.candidates == made.candidates
        assert_frame_equal(run.measurements, made.measurements)
        assert_frame_equal(run.decisions, made.table)


def test_another_judgement_replaces_the_first(made: Judgement, tmp_path: Path) -> None:
    write_record(pictured(), tmp_path)
    write_record(made, tmp_path)
    assert_equal(read_record(tmp_path), made)


def test_a_record_that_was_not_finished_is_none(
    made: Judgement, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_record(made, tmp_path)

    def full(*_: object, **__: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr("shipworthy.release.report.write_report", full)
    with pytest.raises(OSError, match="no space left"):
        write_record(made, tmp_path)
    with pytest.raises(InputError, match="no finished run is here, verdict.json is missing"):
        read_record(tmp_path)


@pytest.mark.parametrize("name", [VERDICT, MEASUREMENTS, DECISIONS])
def test_a_missing_file_is_named(name: str, kept: Path) -> None:
    (kept / name).unlink()
    with pytest.raises(InputError, match=f"no finished run is here, {name} is missing"):
        sw.load_run(kept)


@pytest.mark.parametrize("name", [VERDICT, MEASUREMENTS, DECISIONS])
@pytest.mark.parametrize("spoilt", ["cut", "empty", "noise", "folder"])
def test_a_damaged_file_is_named(name: str, spoilt: str, kept: Path) -> None:
    file = kept / name
    content = file.read_bytes()
    file.unlink()
    if spoilt == "folder":
        file.mkdir()
    else:
        file.write_bytes(
            {"cut": content[: len(content) // 2], "empty": b"", "noise": b"\xff\x00" * 50}[spoilt]
        )
    with pytest.raises(InputError) as caught:
        sw.load_run(kept)
    assert name in str(caught.value)
    assert "damaged" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"format": 1}, "written by another version"),
        ({"answer": "maybe"}, "damaged"),
        ({"limits": None}, "damaged"),
        ({"candidates": [{"colour": "red"}]}, "damaged"),
        ({"created": "yesterday"}, "damaged"),
        ({"created": "2026-11-26T12:00:00"}, "damaged"),
        (
            {
                "selftest": {
                    "passed": True,
                    "policy_digest": "",
                    "code": "",
                    "created": "2026-11-26",
                }
            },
            "damaged",
        ),
        ({"run": "other"}, "decisions.parquet: the record of the run is damaged"),
    ],
)
def test_a_document_that_does_not_fit(change: dict[str, Any], words: str, kept: Path) -> None:
    document = json.loads((kept / VERDICT).read_text("utf-8"))
    (kept / VERDICT).write_text(json.dumps(document | change), "utf-8")
    with pytest.raises(InputError, match=words):
        sw.load_run(kept)


def test_a_document_that_is_a_list_and_one_without_a_key(kept: Path) -> None:
    document = json.loads((kept / VERDICT).read_text("utf-8"))
    del document["verdicts"]
    for content in ("[]", json.dumps(document)):
        (kept / VERDICT).write_text(content, "utf-8")
        with pytest.raises(InputError, match="damaged"):
            sw.load_run(kept)


def test_a_document_that_is_very_deep(kept: Path) -> None:
    (kept / VERDICT).write_text("[" * 100_000 + "]" * 100_000, "utf-8")
    with pytest.raises(InputError, match="damaged"):
        sw.load_run(kept)


def test_numbers_of_other_columns(made: Judgement, kept: Path) -> None:
    pl.DataFrame({"run": [made.run]}).write_parquet(kept / MEASUREMENTS)
    with pytest.raises(InputError, match="measurements.parquet.*damaged"):
        sw.load_run(kept)


def test_a_table_of_other_columns(made: Judgement, kept: Path) -> None:
    pl.DataFrame({"run": [made.run]}).write_parquet(kept / DECISIONS)
    with pytest.raises(InputError, match="damaged"):
        sw.load_run(kept)
