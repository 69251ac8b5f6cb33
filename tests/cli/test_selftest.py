"""`selftest` on a policy: two tables, JSON, a line in a ledger, an exit code."""

from __future__ import annotations

from pathlib import Path

import pytest
from verb import say, written

from shipworthy.core.ledger import Ledger

ALL_KINDS = """
- {measure: accuracy, at_least: 0.8}
- {measure: accuracy, slice: {each: domain}, relative_to: parent, at_least: -0.025}
- {measure: latency_p95_ms, at_most: 20}
- {measure: size_mb, at_most: 100}
"""
IDLE = """
selftest: {skip: [slow, oversized]}
limits:
  - {measure: accuracy, at_least: 0.8}
  - {measure: log_loss, at_most: 50}
"""


@pytest.fixture(autouse=True)
def policies(folder: Path) -> None:
    Path("policy.yaml").write_text(ALL_KINDS, encoding="utf-8")
    Path("idle.yaml").write_text(IDLE, encoding="utf-8")


def marks(out: str) -> list[str]:
    """The marks of a table's rows, in order."""
    return [line[2] for line in out.splitlines() if line[:2] == "  " and line[2:3] in set("+!-")]


def test_it_says_who_held_what_and_what_broke_each_limit(
    capsys: pytest.CaptureFixture[str], folder: Path
) -> None:
    before = written(folder)
    said = say(capsys, "selftest", "policy.yaml")
    assert (said.code, said.err) == (0, "")
    assert marks(said.out) == ["+"] * 9
    assert "slow model       Latency p95\n" in said.out
    assert "MB  half as much again" in said.out
    assert "10 % of the right answers turned" in said.out and "in domain=a" in said.out
    assert "Self-test passed" in said.out
    assert written(folder) == before


def test_it_fails_and_names_what_is_missing(capsys: pytest.CaptureFixture[str]) -> None:
    said = say(capsys, "selftest", "idle.yaml")
    assert (said.code, said.err) == (3, "")
    assert marks(said.out) == ["+", "+", "!", "-", "-", "+", "!"]
    assert "not held. Add a limit, for example {measure: accuracy, slice: {each: group}" in said.out
    assert "none: it never says no" in said.out
    chinese = say(capsys, "selftest", "idle.yaml", "--lang", "zh")
    assert chinese.code == 3
    assert "自检未通过" in chinese.out
    assert "它从不拦截" in chinese.out


def test_it_is_one_document_for_programs(capsys: pytest.CaptureFixture[str]) -> None:
    said = say(capsys, "selftest", "idle.yaml", "--json")
    assert said.code == 3
    document = said.json
    assert document["passed"] is False
    assert [p["name"] for p in document["planted"] if not p["ok"]] == ["biased"]
    assert [p["name"] for p in document["planted"] if p["skipped"]] == ["slow", "oversized"]
    broken, idle = document["limits"]
    assert broken["model"] == {"family": "wrong", "share": 0.25, "where": {}}
    assert broken["value"] < broken["bound"] == 0.8
    assert idle == {
        "limit": "log_loss ≤ 50.0", "ok": False, "model": None, "value": None, "bound": None,
    }  # fmt: skip
    said = say(capsys, "selftest", "idle.yaml", "--skip", "biased", "--json")
    assert said.code == 3
    assert all(p["ok"] for p in said.json["planted"])


def test_it_is_kept_in_a_ledger(capsys: pytest.CaptureFixture[str]) -> None:
    said = say(capsys, "selftest", "policy.yaml", "--ledger", "looks.jsonl")
    assert said.code == 0
    assert said.out.endswith("Written to looks.jsonl.\n")
    assert say(capsys, "selftest", "idle.yaml", "--ledger", "looks.jsonl", "--json").code == 3
    first, second = Ledger("looks.jsonl").lines()
    assert (first.kind, first.payload["passed"], first.payload["not_held"]) == (
        "selftest",
        True,
        [],
    )
    assert second.payload["not_held"] == ["biased", "log_loss ≤ 50.0"]
    assert second.payload["skipped"] == ["slow", "oversized"]
    refused = say(capsys, "selftest", "policy.yaml", "--ledger", "policy.yaml/looks.jsonl")
    assert (refused.code, refused.out, refused.err.count("\n")) == (2, "", 1)
