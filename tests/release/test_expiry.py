from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import answers
import pytest

import shipworthy as sw
from shipworthy.core.records import Answer
from shipworthy.release.expiry import expired, without_expired_evidence
from shipworthy.release.judgement import Judgement, Waiver
from shipworthy.release.wording import phrase

POLICY = [
    {"measure": "accuracy", "at_least": 0.6, "tier": "critical"},
    {"measure": "accuracy", "relative_to": "parent", "at_least": -0.05, "expires_days": 30},
]


@pytest.fixture(scope="module")
def judged() -> Judgement:
    base = answers.parent(2000)
    made = [answers.candidate(base, lost=n, gained=n) for n in (2, 4)]
    return sw.judge(base, made, POLICY, label="y", prediction="p", id="i", positive="1")


def test_fresh_evidence_ships(judged: Judgement) -> None:
    now = judged.created + timedelta(days=29)
    assert judged.answer is Answer.SHIP
    assert expired(judged, now=now) == ()
    assert without_expired_evidence(judged, now=now) is judged


def test_old_evidence_is_undecided_and_named(judged: Judgement) -> None:
    late = without_expired_evidence(judged, now=judged.created + timedelta(days=31, hours=1))
    assert (late.answer, late.best) == (Answer.UNDECIDED, None)
    assert {v.reasons for v in late.verdicts} == {("expired",)}
    said = [phrase(note) for note in late.notes]
    assert sum("31 days ago" in one and "allows 30" in one for one in said) == 2


def test_one_old_candidate_leaves_the_other_to_ship(judged: Judgement) -> None:
    first, second = (c.id for c in judged.candidates)
    table = judged.measurements
    import polars as pl

    older = pl.when(candidate=first).then(pl.col("created") - timedelta(days=40))
    aged = replace(
        judged, measurements=table.with_columns(older.otherwise(pl.col("created")).alias("created"))
    )
    late = without_expired_evidence(aged, now=judged.created + timedelta(days=1))
    assert (late.answer, late.best) == (Answer.SHIP, second)
    assert late.verdict_of(first).answer is Answer.UNDECIDED


def test_a_waived_limit_does_not_expire(judged: Judgement) -> None:
    limit = str(judged.limits[1])
    waivers = tuple(
        Waiver(limit, c.id, c.artefact_digest, "ada", "fairness", "x", "", "", "")
        for c in judged.candidates
    )
    now = judged.created + timedelta(days=90)
    assert expired(replace(judged, waivers=waivers), now=now) == ()
    assert len(expired(judged, now=now)) == 2


def test_a_hold_stays_a_hold(judged: Judgement) -> None:
    base = answers.parent(2000)
    bad = answers.candidate(base, lost=400)
    held = sw.judge(base, bad, POLICY, label="y", prediction="p", id="i", positive="1")
    assert held.answer is Answer.HOLD
    later = held.created + timedelta(days=400)
    assert without_expired_evidence(held, now=later) is held


def test_a_record_is_shown_as_it_counts_today(judged: Judgement, tmp_path: Path) -> None:
    from shipworthy.release.approvals import approved, open_place
    from shipworthy.release.record import write_record

    old = replace(judged, created=judged.created - timedelta(days=50))
    write_record(old, tmp_path / "run")
    shown = approved(open_place(tmp_path / "run"))
    assert shown.answer is Answer.UNDECIDED


@pytest.mark.slow
def test_a_run_measures_again_what_is_too_old(toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from toy_project import PROJECT, ledger_lines, run

    ages = PROJECT.replace("at_most: 1,", "at_most: 1, expires_days: 30,")
    first = run(toy, ages)
    assert first.judgement is not None and first.folder is not None
    assert first.judgement.answer is Answer.SHIP
    for name in ("model_card.md", "technical_documentation.md", "datasheet.md"):
        assert first.judgement.run in (first.folder / name).read_text("utf-8")
    later = datetime.now(UTC) + timedelta(days=40)
    with monkeypatch.context() as patch:
        patch.setattr("shipworthy.release.pipeline.ledger_now", lambda lines: later)
        again = run(toy, ages)
    assert again.judgement is not None
    anew = {stage.name for stage in again.stages if not stage.cached}
    assert {"speed", "verdict", "test fp32 parent", "test bf16"} <= anew
    assert "train" not in anew
    assert again.judgement.answer is Answer.SHIP
    assert again.judgement.created > first.judgement.created
    kinds = [json.loads(line)["kind"] for line in ledger_lines(toy)]
    assert kinds.count("opening") == 1


def test_another_language_or_policy_makes_no_old_answer_younger(
    toy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from toy_project import PROJECT, run

    first = run(toy)
    # Only the verdict is reached anew, from answers and times that were made before.
    later = run(toy, PROJECT.replace("at_least: 0.6", "at_least: 0.61"))
    assert first.judgement is not None and later.judgement is not None
    assert {s.name for s in later.stages if not s.cached} == {"nomination", "verdict"}
    made = later.judgement.measurements
    assert made["created"].max() < later.judgement.created - timedelta(seconds=0.05)
    stages = {s.name: s for s in later.stages}
    told = {
        name: json.loads((stages[name].folder / "stage.json").read_text())["created"]
        for name in ("speed", "test fp32 parent", "test bf16")
    }
    ages = {name: datetime.fromisoformat(at) for name, at in told.items()}
    bf16 = later.judgement.candidates[0].id
    of = {
        m: t for c, m, t in made.select("candidate", "measure", "created").iter_rows() if c == bf16
    }
    assert of["latency_p95_ms"] == ages["speed"]
    assert of["accuracy"] == min(ages["test fp32 parent"], ages["test bf16"])
