"""A record says what was found then; whatever shows it says what counts of it now."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import answers
import pytest

import shipworthy as sw
from shipworthy.cli.main import run as shipworthy
from shipworthy.core.records import Answer
from shipworthy.release.expiry import without_expired_evidence
from shipworthy.release.exports import export
from shipworthy.release.judgement import Judgement
from shipworthy.release.load import load_run
from shipworthy.release.record import read_record, write_record
from shipworthy.release.wording import phrase

POLICY = {
    "limits": [
        {"measure": "accuracy", "at_least": 0.6, "tier": "critical"},
        {"measure": "accuracy", "relative_to": "parent", "at_least": -0.05, "expires_days": 30},
    ],
    "selftest": {"skip": ["biased"], "expires_days": 7},
}


@pytest.fixture(scope="module")
def judged() -> Judgement:
    base = answers.parent(2000)
    made = answers.candidate(base, lost=2, gained=2)
    return sw.judge(base, made, POLICY, label="y", prediction="p", id="i", positive="1")


def aged(judgement: Judgement, folder: Path, **by: float) -> Path:
    """Write the record of a judgement as if it had been made earlier."""
    import polars as pl

    past = timedelta(**by)
    found = judgement.selftest
    assert found is not None

    def earlier(written: str) -> str:
        from datetime import datetime

        return (datetime.fromisoformat(written) - past).isoformat()

    old = replace(
        judgement,
        created=judgement.created - past,
        measurements=judgement.measurements.with_columns(pl.col("created") - past),
        selftest=replace(found, created=earlier(found.created), expires=earlier(found.expires)),
    )
    write_record(old, folder)
    return folder


def test_a_self_test_that_ended_ships_nothing(judged: Judgement) -> None:
    fresh = judged.created + timedelta(days=6)
    assert judged.answer is Answer.SHIP
    assert without_expired_evidence(judged, now=fresh) is judged
    late = without_expired_evidence(judged, now=judged.created + timedelta(days=8))
    assert (late.answer, late.best) == (Answer.UNDECIDED, None)
    assert {v.reasons for v in late.verdicts} == {("selftest",)}
    assert any("self-test" in phrase(note) for note in late.notes)


@pytest.mark.parametrize("days", [8, 50])
def test_nothing_shows_a_ship_on_what_ended(judged: Judgement, tmp_path: Path, days: int) -> None:
    folder = aged(judged, tmp_path / "run", days=days)
    assert read_record(folder).answer is Answer.SHIP
    found = load_run(folder)
    assert found.verdict is Answer.UNDECIDED
    assert shipworthy(["report", str(folder)]) == 4
    assert "⛔" not in export(found, "markdown") and "✅" not in export(found, "markdown")
    assert 'errors="1"' in export(found, "junit")
    assert shipworthy(["export", str(folder), "--format", "junit", "--out",
                       str(tmp_path / "out.xml")]) == 0  # fmt: skip
    assert "<error" in (tmp_path / "out.xml").read_text("utf-8")


def test_a_run_is_loaded_as_recorded_while_it_counts(judged: Judgement, tmp_path: Path) -> None:
    folder = aged(judged, tmp_path / "run", days=2)
    assert load_run(folder).verdict is Answer.SHIP
    assert load_run(folder / "verdict.json").verdict is Answer.SHIP


def test_a_waiver_on_old_evidence_writes_no_ship(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import approving
    import polars as pl

    from shipworthy.core.ledger import Ledger
    from shipworthy.release.waiving import waive

    keys = approving.keys(tmp_path / "keys")
    monkeypatch.setenv("SHIPWORTHY_KEYS", str(tmp_path / "keys"))
    monkeypatch.delenv("SHIPWORTHY_PERSON", raising=False)
    team = approving.team(tmp_path / "team.yaml", keys)
    found = approving.judged(int8=60)
    limits = (replace(found.limits[0], expires_days=30), *found.limits[1:])
    past = timedelta(days=31)
    old = replace(
        found,
        limits=limits,
        created=found.created - past,
        measurements=found.measurements.with_columns(pl.col("created") - past),
    )
    folder = approving.kept(tmp_path / "run", old)
    until = (found.created + timedelta(days=9)).date().isoformat()
    waived = waive(folder, limit=approving.GROUPS, reason=approving.REASON, until=until,
                   person="ada", team=team)  # fmt: skip
    assert waived.judgement.answer is Answer.UNDECIDED
    assert read_record(folder).answer is Answer.UNDECIDED
    told = [li.payload for li in Ledger(folder / "ledger.jsonl").lines() if li.kind == "verdict"]
    assert {payload["answer"] for payload in told} == {"hold", "undecided"}
