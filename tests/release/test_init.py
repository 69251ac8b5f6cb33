"""`init` writes a project file that loads, says what it guessed, and warns where n is small."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shipworthy.core.errors import DataError, InputError
from shipworthy.core.locale import set_language
from shipworthy.core.yaml import load_settings, read_yaml
from shipworthy.data.settings import DataSettings
from shipworthy.measure.power import paired_rows_needed, zero_event_rows
from shipworthy.release.init import GROUP_MARGIN, MARGIN, write_project
from shipworthy.release.policy import load_policy

MEASURES = {"accuracy", "latency_p95_ms", "size_mb"}


def reviews(rows: int = 600, rare: int = 30, **columns: Any) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "id": range(rows),
            "text": [sha256(str(i).encode()).hexdigest() for i in range(rows)],
            "label": [("neg", "pos", "pos")[i % 3] for i in range(rows)],
            "author": [f"u{i // 3}" for i in range(rows)],
            "region": ["island" if i < rare else "mainland" for i in range(rows)],
            **columns,
        }
    )


def test_the_file_loads_and_means_what_it_says(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    reviews().write_csv(tmp_path / "data" / "my reviews.csv")
    started = write_project(tmp_path / "data" / "my reviews.csv", tmp_path / "shipworthy.yaml")
    document = read_yaml(started.path)
    assert document.data["name"] == "my-reviews"
    assert document.data["task"] == "text-classification"
    assert document.data["model"] == "builtin:minilm"
    data = load_settings(DataSettings, document, ("data",))
    assert data.source == "data/my reviews.csv"
    assert (data.text, data.label, data.id, data.unit) == ("text", "label", "id", "author")
    assert data.groups == ("region",)
    assert data.shares.model_dump() == {"test": 0.4, "validation": 0.15, "calibration": 0.1}

    policy = load_policy(started.path, measures=MEASURES)
    floor, overall, group, latency, size = policy.limits
    assert (floor.measure, floor.bound, floor.tier) == ("accuracy", 0.80, "critical")
    assert (overall.relative_to, overall.bound) == ("parent", -MARGIN)
    assert (group.slices, group.bound) == ({"each": "region"}, -GROUP_MARGIN)
    assert latency.side == size.side == "at_most"
    assert all(limit.owner for limit in policy.limits)


def test_margins_stand_beside_the_n_they_need(tmp_path: Path) -> None:
    reviews().write_parquet(tmp_path / "a.parquet")
    started = write_project(tmp_path / "a.parquet", tmp_path / "p.yaml")
    written = " ".join(
        line.strip().lstrip("# ") for line in started.path.read_text(encoding="utf-8").splitlines()
    )
    overall = int(paired_rows_needed(0.025, MARGIN).item())
    group = int(paired_rows_needed(0.025, GROUP_MARGIN).item())
    least = int(zero_event_rows(GROUP_MARGIN).item())
    assert f"You have 240 test rows; {overall} are needed" in written
    assert f"Each group needs about {group} test rows" in written
    assert "1.0 points 1,957 / 3,919 [381]" in written
    assert (
        "Test rows by group of region: mainland 228 (too few for power 0.8), "
        "island 12 (too few to pass)."
    ) in written
    assert f"below {int(zero_event_rows(MARGIN).item())} nothing can pass" in written
    assert f"({int(paired_rows_needed(0.05, GROUP_MARGIN).item())} if 5 % flip)" in written
    assert f"below {least} it cannot pass at all" in written
    assert "85.0 % right answers passes with power 0.8 on 471 test rows; below 20 rows" in written
    assert "Guessed from the name" in written
    assert started.warnings == (
        f"240 test rows; about {overall} are needed to decide a margin of 1.5 points overall",
        f"region=mainland: 228 test rows; about {group} are needed to decide a margin of "
        "2.5 points",
        f"region=island: 12 test rows; below {least} no candidate can pass a margin of 2.5 points "
        "there, even without one flip",
        "region=island: test rows of 4 author; below 10 of them nothing is decided there",
    )


def test_a_large_even_file_has_no_warning(tmp_path: Path) -> None:
    reviews(3000, 1500).write_parquet(tmp_path / "a.parquet")
    assert write_project(tmp_path / "a.parquet", tmp_path / "p.yaml").warnings == ()


def test_a_rare_class_is_named_and_a_large_one_raises_the_floor(tmp_path: Path) -> None:
    labels = ["rare" if i < 20 else "usual" for i in range(600)]
    reviews(label=labels).write_parquet(tmp_path / "a.parquet")
    started = write_project(tmp_path / "a.parquet", tmp_path / "p.yaml")
    assert any(line.startswith("class rare: 8 test rows") for line in started.warnings)
    assert load_policy(started.path, measures=MEASURES).limits[0].bound == 0.99


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    reviews().write_parquet(tmp_path / "a.parquet")
    out = tmp_path / "shipworthy.yaml"
    out.write_text("mine")
    with pytest.raises(InputError, match="shipworthy.yaml: is there already; .*--force"):
        write_project(tmp_path / "a.parquet", out)
    with pytest.raises(InputError, match="is there already"):
        write_project(tmp_path / "a.parquet", tmp_path)
    assert out.read_text() == "mine"
    write_project(tmp_path / "a.parquet", out, force=True)
    assert out.read_text(encoding="utf-8").startswith("# A project of shipworthy")


@pytest.mark.parametrize(
    ("arguments", "frame", "message"),
    [
        ({}, reviews(label=list(range(600))), "column 'label': the label has 600 different values"),
        ({"label": "labe"}, reviews(), "column 'labe': .* did you mean 'label'"),
        ({"text": "author", "label": "author"}, reviews(30), "named for two purposes"),
        ({}, reviews(label=["a", None] * 300), "row 2, column 'label': the label is missing"),
        ({"unit": "region"}, reviews(), "gets no row: 600 rows in 2 sets"),
        ({"label": "one"}, reviews(one=["x"] * 600), "there is only one class"),
    ],
)
def test_bad_input_leaves_no_file(
    tmp_path: Path, arguments: dict[str, Any], frame: pl.DataFrame, message: str
) -> None:
    frame.write_parquet(tmp_path / "a.parquet")
    with pytest.raises(InputError, match=message) as error:
        write_project(tmp_path / "a.parquet", tmp_path / "p.yaml", **arguments)
    assert "\n" not in str(error.value)
    assert error.value.exit_code == 2
    assert [path.name for path in tmp_path.iterdir()] == ["a.parquet"]


def test_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file or folder"):
        write_project(tmp_path / "a.csv", tmp_path / "p.yaml")


def test_the_data_elsewhere_keeps_its_whole_path(tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    reviews().write_parquet(tmp_path / "a.parquet")
    started = write_project(tmp_path / "a.parquet", tmp_path / "here" / "p.yaml")
    assert read_yaml(started.path).data["data"]["source"] == str(tmp_path / "a.parquet")


def test_builtin_data_in_chinese(tmp_path: Path) -> None:
    set_language("zh")
    try:
        started = write_project("builtin:sentiment", tmp_path / "p.yaml")
    finally:
        set_language(None)
    written = started.path.read_text(encoding="utf-8")
    assert "推测" in written
    assert "不足以达到 0.8 的功效" in written or "无法通过" in written
    data = load_settings(DataSettings, read_yaml(started.path), ("data",))
    assert data.source == "builtin:sentiment"
    assert data.unit == "source_id"
    assert data.groups == ("domain", "mentions_female", "mentions_male")


names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)


@given(names.filter(lambda name: name.strip() not in {"", "id", "text", "label", "author"}), names)
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_any_name_survives(tmp_path: Path, column: str, value: str) -> None:
    """Column names and values of any letters leave a file that YAML reads as it was meant."""
    frame = reviews(60).drop("region").with_columns(pl.Series(column, [value, "other"] * 30))
    frame.write_parquet(tmp_path / "a.parquet")
    started = write_project(
        tmp_path / "a.parquet", tmp_path / "p.yaml", groups=[column], unit="author", force=True
    )
    document = read_yaml(started.path)
    assert load_settings(DataSettings, document, ("data",)).groups == (column,)
    limits = load_policy(started.path, measures=MEASURES).limits
    assert limits[2].slices == {"each": column}


def test_the_policy_that_is_written_holds_every_planted_model(tmp_path: Path) -> None:
    from shipworthy.release.policy import load_policy
    from shipworthy.release.selftest import run_selftest

    write_rows = tmp_path / "rows.csv"
    lines = [
        f"{k},the text number {k} of many,{'ab'[k % 2]},{'xy'[k % 3 == 0]}" for k in range(900)
    ]
    write_rows.write_text("id,text,label,region\n" + "\n".join(lines) + "\n")
    started = write_project(write_rows, tmp_path / "shipworthy.yaml")
    assert run_selftest(load_policy(started.path)).passed
