"""A ship rests on a self-test of the same policy and code, fresh enough; else it is undecided."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sample import shipping, undecided

from shipworthy.core.ledger import Ledger
from shipworthy.core.ledger_lines import ledger_now
from shipworthy.core.records import Answer
from shipworthy.release import selftest_evidence
from shipworthy.release.judgement import Judgement
from shipworthy.release.policy import Policy, load_policy
from shipworthy.release.selftest import run_selftest
from shipworthy.release.selftest_evidence import (
    code_digest,
    record_selftest,
    selftest_digest,
    with_selftest,
)
from shipworthy.release.wording import phrase

QUALITY = {"measure": "accuracy", "at_least": 0.8}
EACH = {"measure": "accuracy", "slice": {"each": "domain"}, "relative_to": "parent",
        "at_least": -0.025}  # fmt: skip
LATENCY = {"measure": "latency_p95_ms", "at_most": 20, "expires_days": 90}
SIZE = {"measure": "size_mb", "at_most": 100, "expires_days": 30}
WHOLE = (QUALITY, EACH, LATENCY, SIZE)


def policy(*limits: dict[str, Any], **more: Any) -> Policy:
    return load_policy({"limits": list(limits or WHOLE), **more})


def settled(
    judgement: Judgement, asked: Policy, ledger: Ledger | None = None, *, days: float = 0,
    groups: tuple[str, ...] = ("domain",),
) -> Judgement:  # fmt: skip
    now = datetime.now(UTC) + timedelta(days=days)
    return with_selftest(judgement, asked, ledger, groups=groups, now=now)


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "ledger.jsonl")


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[frozenset[str]]:
    """What was skipped in each self-test that really ran; nothing is remembered from before."""
    ran: list[frozenset[str]] = []

    def counted(asked: Policy, *, skip: Any) -> Any:
        ran.append(frozenset(skip))
        return run_selftest(asked, skip=skip)

    monkeypatch.setattr(selftest_evidence, "_ran", {})
    monkeypatch.setattr(selftest_evidence, "run_selftest", counted)
    return ran


def test_a_ship_gets_the_evidence_that_it_rests_on(ledger: Ledger, runs: list[Any]) -> None:
    before = shipping()
    found = settled(before, policy(), ledger)
    evidence = found.selftest
    assert evidence is not None
    assert (evidence.passed, evidence.not_held, evidence.skipped) == (True, (), ())
    assert (evidence.policy_digest, evidence.code) == (selftest_digest(policy()), code_digest())
    assert replace(found, selftest=None) == before
    (line,) = ledger.lines()
    assert (line.kind, line.created) == ("selftest", evidence.created)
    assert line.payload == {
        "policy_digest": evidence.policy_digest, "code": evidence.code, "passed": True,
        "not_held": [], "skipped": [],
    }  # fmt: skip
    # The least of the limits, where the policy says nothing of its self-test.
    ages = datetime.fromisoformat(evidence.expires) - datetime.fromisoformat(evidence.created)
    assert ages == timedelta(days=30)


def test_what_does_not_ship_needs_none(ledger: Ledger, runs: list[Any]) -> None:
    for judgement in (undecided(), replace(shipping(), answer=Answer.HOLD)):
        assert settled(judgement, policy(QUALITY), ledger) is judgement
    assert not ledger.lines()
    assert runs == []


def test_fresh_evidence_of_the_same_policy_is_read_not_made_again(
    ledger: Ledger, runs: list[Any]
) -> None:
    first = settled(shipping(), policy(), ledger)
    # Who owns a limit, and their order, decide nothing.
    same = policy(*({**li, "owner": "somebody"} for li in reversed(WHOLE)))
    for again in (policy(), same):
        assert settled(shipping(), again, ledger, days=29).selftest == first.selftest
    assert (len(runs), len(ledger.lines())) == (1, 1)


@pytest.mark.parametrize(
    ("asked", "days", "made"),
    [
        (policy(), 31, True),
        (policy(selftest={"expires_days": 60}), 0, False),
        (policy(selftest={"expires_days": 60}), 59, False),
        (policy(selftest={"expires_days": 2}), 3, True),
        (policy(selftest={"skip": ["slow"]}), 0, True),
        (policy(*WHOLE[:3], {**SIZE, "at_most": 101}), 0, True),
        (policy(), -2, True),  # from the future: a clock went back
    ],
    ids=["older", "days", "within", "sooner", "skips", "another policy", "future"],
)
def test_what_is_old_or_of_another_policy_is_made_again(
    asked: Policy, days: float, made: bool, ledger: Ledger, runs: list[Any]
) -> None:
    settled(shipping(), policy(), ledger)
    found = settled(shipping(), asked, ledger, days=days)
    assert found.answer is Answer.SHIP
    assert [line.kind for line in ledger.lines()] == ["selftest"] * (1 + made)


def test_evidence_of_other_code_is_none(
    ledger: Ledger, runs: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    settled(shipping(), policy(), ledger)
    monkeypatch.setattr(selftest_evidence, "code_digest", lambda: "another")
    settled(shipping(), policy(), ledger)
    assert [line.payload["code"] for line in ledger.lines()] == [code_digest(), "another"]


def test_one_that_a_clock_ahead_wrote_is_never_fresh(
    ledger: Ledger, runs: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    ahead = datetime.now(UTC) + timedelta(days=400)

    class Ahead(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return ahead

    with monkeypatch.context() as patch:
        patch.setattr("shipworthy.core.ledger.datetime", Ahead)
        record_selftest(ledger, policy(), run_selftest(policy()))
    lines = ledger.lines()
    found = with_selftest(shipping(), policy(), ledger, groups=("domain",), now=ledger_now(lines))
    assert found.selftest is not None
    assert (len(ledger.lines()), len(runs)) == (2, 1)
    assert datetime.fromisoformat(found.selftest.created) < datetime.now(UTC)


def test_without_a_ledger_it_runs_once_in_a_process(runs: list[Any]) -> None:
    for _ in range(2):
        found = settled(shipping(), policy())
        assert found.selftest is not None
        assert found.selftest.passed
    assert len(runs) == 1


@pytest.mark.parametrize("kept", [True, False])
def test_a_policy_that_cannot_say_no_ships_nothing(
    kept: bool, ledger: Ledger, runs: list[Any]
) -> None:
    before, asked = shipping(), policy(QUALITY, EACH, {"measure": "auc", "at_least": 0.0}, SIZE)
    for _ in range(2):
        found = settled(before, asked, ledger if kept else None)
        assert (found.answer, found.best) == (Answer.UNDECIDED, None)
        assert found.selftest is not None
        assert found.selftest.not_held == ("slow", "auc ≥ 0.0")
        shipped = [v.candidate for v in before.verdicts if v.answer is Answer.SHIP]
        assert [v.candidate for v in found.verdicts if v.reasons == ("selftest",)] == shipped
        assert not any(v.answer is Answer.SHIP for v in found.verdicts)
        # The others stand as they stood.
        others = [v for v in found.verdicts if v.candidate not in shipped]
        assert others == [v for v in before.verdicts if v.candidate not in shipped]
        steps = [s for s in found.next_steps if s.phrase.key.startswith("selftest.next")]
        assert [s.candidate for s in steps] == [c for c in shipped for _ in range(2)]
        assert "{measure: latency_p95_ms, at_most: 50}" in phrase(steps[0].phrase)
        assert "auc ≥ 0.0" in phrase(steps[1].phrase)
    assert len(runs) == 1
    assert len(ledger.lines()) == kept


def test_what_cannot_be_seen_is_skipped_and_listed(ledger: Ledger, runs: list[Any]) -> None:
    files = replace(shipping(), kind="judge")
    found = settled(files, policy(QUALITY), ledger, groups=())
    assert found.answer is Answer.SHIP
    assert found.selftest is not None
    assert found.selftest.skipped == ("biased", "slow", "oversized")
    # With groups there is something to be biased about; a run has times and sizes.
    assert settled(files, policy(QUALITY), ledger).answer is Answer.UNDECIDED
    found = settled(shipping(), policy(QUALITY), ledger, groups=())
    assert found.answer is Answer.UNDECIDED
    assert found.selftest is not None
    assert found.selftest.not_held == ("slow", "oversized")
    assert len(ledger.lines()) == 3


def test_evidence_that_skipped_less_will_do_and_more_will_not(
    ledger: Ledger, runs: list[Any]
) -> None:
    asked = policy(QUALITY, EACH, selftest={"skip": ["slow", "oversized"]})
    record_selftest(ledger, asked, run_selftest(asked, skip=("biased",)))
    assert settled(shipping(), asked, ledger).selftest is not None
    assert len(runs) == 1
    record_selftest(ledger, policy(), run_selftest(policy()))
    files = replace(shipping(), kind="judge")
    found = settled(files, policy(), ledger)
    assert found.selftest is not None
    assert found.selftest.skipped == ()
    assert len(runs) == 1
