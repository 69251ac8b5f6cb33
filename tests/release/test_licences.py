"""A limit on licences through a whole project: what is told, what holds, what to do next."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from toy_project import PROJECT, make_project, run

from shipworthy.core.errors import SettingsError
from shipworthy.core.locale import set_language
from shipworthy.core.records import Limit, Outcome
from shipworthy.release.policy import load_policy
from shipworthy.release.report import render_report
from shipworthy.release.selftest import run_selftest

LIMIT = "    - {licence_allows: commercial, owner: legal}\n"
NAME = "licences_forbidding_commercial_use"


@pytest.fixture(autouse=True)
def english() -> None:
    set_language("en")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_project(tmp_path_factory.mktemp("licences"), PROJECT)


def declared(*, base: str | None, rows: str | None) -> str:
    said = {"base_licence": base, "data": {"licence": rows}}
    return PROJECT + LIMIT + f"documentation: {json.dumps(said)}\n"


@pytest.mark.parametrize(
    ("base", "rows", "outcome", "note", "step"),
    [
        ("mit", "CC BY 4.0", Outcome.PASS, "encoder is under mit, which allows", ""),
        ("mit", None, Outcome.CANNOT_TELL, "rows.csv tells no licence", "say under which licence"),
        (
            "of our own", "mit", Outcome.CANNOT_TELL, "of which it is not known",
            "say under which licence",
        ),
        (
            "mit", "cc-by-nc-4.0", Outcome.FAIL, "which forbids commercial use",
            "a licence forbids commercial use",
        ),
    ],
)  # fmt: skip
def test_a_licence_decides(
    base: str | None, rows: str | None, outcome: Outcome, note: str, step: str, folder: Path
) -> None:
    finished = run(folder, declared(base=base, rows=rows))
    found = finished.judgement
    assert found is not None
    (decision,) = [d for d in found.decisions if d.measure == NAME]
    assert decision.decision is outcome
    page = render_report(found)
    assert note in page and (not step or step in page)
    values = found.measurements.filter(measure=NAME)["value"].to_list()
    assert set(values) == {Outcome.PASS: {0.0}, Outcome.FAIL: {1.0}}.get(outcome, set())


def test_what_the_model_says_of_itself_comes_first(folder: Path) -> None:
    (folder / "encoder" / "README.md").write_text("---\nlicense: cc-by-nc-4.0\n---\n# Encoder\n")
    try:
        finished = run(folder, declared(base="mit", rows="mit"))
    finally:
        (folder / "encoder" / "README.md").unlink()
    assert finished.judgement is not None
    (decision,) = [d for d in finished.judgement.decisions if d.measure == NAME]
    assert decision.decision is Outcome.FAIL and decision.owner == "legal"


def test_a_planted_model_under_such_a_licence_is_held() -> None:
    policy = load_policy(
        [{"measure": "accuracy", "at_least": 0.8}, {"licence_allows": "commercial"}]
    )
    assert policy.limits[1] == Limit(NAME, "at_most", 0.0)
    found = run_selftest(policy, skip=("biased", "slow", "oversized"))
    assert found.passed
    assert found.limits[1].kind == "unlicensed"
    assert found.limits[1].decision is not None and found.limits[1].decision.value == 1.0


@pytest.mark.parametrize(
    ("limit", "message"),
    [
        ({"licence_allows": "commercial", "at_most": 1}, "in place of measure"),
        ({"licence_allows": "commercial", "measure": "accuracy"}, "in place of measure"),
        ({"licence_allows": "research"}, "commercial"),
        ({"at_most": 1}, "needs a measure"),
    ],
)
def test_what_is_no_limit_on_licences(limit: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        load_policy([limit])
