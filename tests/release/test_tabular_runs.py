"""Tables from their rows to a verdict, and what models may not see."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from shipworthy.core.errors import SettingsError
from shipworthy.core.ledger import Ledger
from shipworthy.data.settings import DataSettings
from shipworthy.release.load import load_run
from shipworthy.release.pipeline import Finished, run_project
from shipworthy.release.policy import load_policy
from shipworthy.release.project import load_project
from shipworthy.release.rerun import rerun
from shipworthy.release.selftest import run_selftest
from shipworthy.release.tabular import check_sensitive

SPEED = "speed: {form: short, requests: 72, batches: 1, warm_up_limit: 20, threads: 1}\n"
PROJECT = f"""\
name: loans
task: tabular-classification
model: {{linear: {{}}}}
challengers:
  - {{network: {{hidden: [8], epochs: 30, batch_size: 32, learning_rate: 0.02}}}}
data:
  source: rows.csv
  label: paid
  id: key
  groups: [sex]
{SPEED}objective: quality
policy:
  selftest: {{skip: [biased, slow]}}
  limits:
    - {{measure: accuracy, at_least: 0.6, tier: critical, owner: ml-lead}}
    - {{measure: accuracy, relative_to: parent, at_least: -0.1, owner: ml-lead}}
    - {{measure: size_mb, at_most: 1, owner: platform}}
"""
NUMBERS = (
    PROJECT.replace("tabular-classification", "tabular-regression")
    .replace("label: paid", "label: amount")
    .replace("accuracy, at_least: 0.6", "mean_absolute_error, at_most: 3")
    .replace("accuracy, relative_to: parent, at_least: -0.1",
             "mean_absolute_error, relative_to: parent, at_most: 0.8")
)  # fmt: skip


def write_rows(place: Path, rows: int = 900) -> None:
    generator = np.random.default_rng(11)
    sex, income = generator.choice(["f", "m"], rows), generator.normal(size=rows)
    town = np.where(generator.random(rows) < 0.9, np.where(sex == "f", "north", "south"), "east")
    score = 2 * income + (town == "north")
    pl.DataFrame(
        {
            "key": [f"row-{k}" for k in range(rows)],
            "income": [None if k % 13 == 0 else round(float(v), 4) for k, v in enumerate(income)],
            "town": town,
            "sex": sex,
            "paid": np.where(score + generator.normal(size=rows) > 0.5, "yes", "no"),
            "amount": np.round(20 + 4 * score + generator.normal(size=rows), 3),
        }
    ).write_csv(place / "rows.csv")


def run(folder: Path, text: str = PROJECT, **more: object) -> Finished:
    folder.mkdir(exist_ok=True)
    write_rows(folder)
    (folder / "shipworthy.yaml").write_text(text)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        project = load_project(folder / "shipworthy.yaml")
        return run_project(project, root=folder, text=text, **more)  # type: ignore[arg-type]
    finally:
        torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def lines() -> list[str]:
    return []


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, lines: list[str]) -> Finished:
    folder = tmp_path_factory.mktemp("table") / "project"
    text = PROJECT.replace("label: paid", "label: paid\n  ignore: [amount]")
    return run(folder, text, warn=lines.append)


def test_a_table_reaches_a_verdict(finished: Finished) -> None:
    judgement, folder = finished.judgement, finished.folder
    assert judgement is not None and folder is not None
    assert [c.name for c in (judgement.parent, *judgement.candidates)] == ["linear", "network"]
    assert judgement.candidates[0].parents == (judgement.parent.id,)
    assert {d.decision.value for d in judgement.decisions} == {"pass"}
    assert judgement.answer.value == "ship"
    for candidate, file in zip(
        (judgement.parent, *judgement.candidates), ("model.onnx", "model.safetensors"), strict=True
    ):
        place = folder / candidate.folder
        assert {f.name for f in place.iterdir()} == {file, "table.json", "runtime.json"}
    measured = set(judgement.measurements["measure"])
    assert {"accuracy", "auc", "latency_p95_ms", "statistical_parity_difference"} <= measured
    for name in ("report.html", "model_card.md"):
        assert (folder / name).stat().st_size > 0


def test_no_model_saw_a_group_and_the_page_says_what_tells_of_it(
    finished: Finished, lines: list[str]
) -> None:
    judgement, folder = finished.judgement, finished.folder
    assert judgement is not None and folder is not None
    for candidate in (judgement.parent, *judgement.candidates):
        table = json.loads((folder / candidate.folder / "table.json").read_text())
        names = [c["name"] for c in (*table["numbers"], *table["categories"])]
        assert names == ["income", "town"]
    said = " ".join(lines)
    assert "numbers income; categories town" in said
    assert "No model sees sex" in said
    assert "sex: town 0." in said
    card = (folder / "model_card.md").read_text()
    assert "town 0" in card
    assert not [line for line in Ledger(folder / "ledger.jsonl").lines()
                if line.kind == "sensitive"]  # fmt: skip


def test_its_numbers_can_be_made_again(finished: Finished) -> None:
    assert finished.folder is not None
    again = rerun(load_run(finished.folder))
    assert len(again.results) > 40
    assert {one.status for one in again.results} == {"equal"}


def test_numbers_reach_a_verdict_and_are_measured_by_group(tmp_path: Path) -> None:
    text = NUMBERS.replace("label: amount", "label: amount\n  ignore: [paid]")
    finished = run(tmp_path / "numbers", text)
    judgement = finished.judgement
    assert judgement is not None
    assert judgement.answer.value == "ship"
    table = judgement.measurements
    for measure in ("mean_absolute_error", "root_mean_squared_error", "mean_error", "r2"):
        slices = set(table.filter(pl.col("measure") == measure)["slice"])
        assert slices == {"{}", '{"sex":"f"}', '{"sex":"m"}'}
    assert not set(table["measure"]) & {"accuracy", "auc", "turned_wrong"}
    rows = pl.read_parquet(finished.stages[0].folder / "rows.parquet")
    test = rows.filter(pl.col("__split__") == "test")["amount"].to_numpy()
    stage = next(s for s in finished.stages if s.name == "test linear")
    said = pl.read_parquet(stage.folder / "answers.parquet")["prediction"].to_numpy()
    value = table.filter(
        (pl.col("candidate") == judgement.parent.id) & (pl.col("slice") == "{}")
        & (pl.col("measure") == "mean_absolute_error") & (pl.col("relative_to") == "none")
    )["value"].to_list()  # fmt: skip
    assert value == [pytest.approx(np.abs(said - test).mean(), rel=1e-9)]
    assert finished.folder is not None
    kept = pl.read_parquet(finished.folder / "answers.parquet")
    assert kept["label"].to_list() == test.tolist()
    assert kept[f"prediction:{judgement.parent.id}"].to_list() == said.tolist()


def test_a_sensitive_column_is_used_until_its_day_and_recorded(tmp_path: Path) -> None:
    leave = "sensitive: {use: [sex], reason: needed for equal rates, delete_by: 2199-01-31}"
    text = PROJECT.replace("label: paid", f"label: paid\n  ignore: [amount]\n  {leave}")
    finished = run(tmp_path / "leave", text, only="train")
    data = finished.stages[0]
    features = json.loads((data.folder / "features.json").read_text())
    assert features["sensitive"] == ["sex"]
    late = text.replace("2199", "2001")
    with pytest.raises(SettingsError, match="sex were to be deleted by 2001-01-31; delete them"):
        run(tmp_path / "late", late)
    assert not (tmp_path / "late" / ".shipworthy").exists()


def test_the_last_day_itself_is_allowed() -> None:
    data = DataSettings(
        source="x", groups=("sex",),
        sensitive={"use": ("sex",), "reason": "needed for equal rates",
                   "delete_by": date(2027, 1, 31)},  # type: ignore[arg-type]
    )  # fmt: skip
    check_sensitive(data, today=date(2027, 1, 31))
    with pytest.raises(SettingsError, match="2027-01-31"):
        check_sensitive(data, today=date(2027, 2, 1))


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("model: {linear: {}}", "model: builtin:minilm", "is told by its kind"),
        ("model: {linear: {}}", "model: {linear: {}, boosting: {}}", "exactly one of"),
        ("model: {linear: {}}", "model: {linear: {c: 1}}", "linear"),
        ("network: {hidden: [8], epochs: 30, batch_size: 32, learning_rate: 0.02}", "linear: {}",
         "two models are called 'linear'"),
        ("objective: quality", "train: {epochs: 2}", "`train` is about models of texts"),
        ("objective: quality", "compress: {recipes: [int8]}", "`compress` is about models"),
        ("id: key", "id: key\n  near_duplicates: 0.8", "means nothing for rows of a table"),
        ("id: key", "id: key\n  text: town", "`data.text` is about texts"),
        ("id: key", "id: key\n  features: [sex]", "'sex' is a group"),
        ("measure: size_mb, at_most: 1", "measure: contaminated_share, at_most: 0.1",
         "contaminated_share looks for texts"),
        ("tabular-classification", "text-classification", "`model` is about tables"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_named(old: str, new: str, said: str, tmp_path: Path) -> None:
    assert old in PROJECT
    write_rows(tmp_path)
    (tmp_path / "shipworthy.yaml").write_text(PROJECT.replace(old, new))
    with pytest.raises(SettingsError, match=said):
        load_project(tmp_path / "shipworthy.yaml")


LIMITS = [
    {"measure": "mean_absolute_error", "at_most": 8},
    {"measure": "mean_absolute_error", "relative_to": "parent", "at_most": 0.1},
    {"measure": "mean_absolute_error", "slice": {"each": "sex"}, "relative_to": "parent",
     "at_most": 0},
    {"measure": "root_mean_squared_error", "slice": {"each": "sex"}, "at_most": 12},
    {"measure": "mean_error", "slice": {"each": "sex"}, "at_most": 1.5},
    {"measure": "mean_error", "slice": {"each": "sex"}, "at_least": -1.5},
    {"measure": "r2", "at_least": 0.1},
    {"measure": "size_mb", "at_most": 5},
]  # fmt: skip


def test_limits_on_numbers_hold_planted_models() -> None:
    policy = load_policy({"limits": LIMITS, "selftest": {"skip": ["slow"]}})
    found = run_selftest(policy)
    assert found.passed, found.not_held
