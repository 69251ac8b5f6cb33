"""From measured subjects to the whole judgement: rehearsals, objectives, families, notes."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
import pytest
from answers import candidate, parent

from shipworthy.core.openings import OpeningState
from shipworthy.core.records import Answer, Candidate, Limit, Outcome
from shipworthy.measure.estimates import Fact
from shipworthy.model.predictions import align, load_predictions
from shipworthy.release.judgement import Judgement, Phrase
from shipworthy.release.policy import Policy
from shipworthy.release.ruler import Ruler, Subject
from shipworthy.release.verdicts import OBJECTIVES, Question, objective_values, reach_verdict

BASE = parent(1000)
CHANGE = Limit("accuracy", "at_least", -0.02, relative_to="parent", owner="ml")
SIZE = Limit("size_mb", "at_most", 50.0)
# name: flips, megabytes
CANDIDATES = {
    "small": (dict(lost=2), 20.0),
    "good": (dict(gained=3), 40.0),
    "bad": (dict(lost=90), 10.0),
    "large": (dict(lost=1), 80.0),
}


def subjects(names: tuple[str, ...]) -> list[Subject]:
    frames = [BASE, *(candidate(BASE, **CANDIDATES[n][0]) for n in names)]
    loaded = [
        load_predictions(f, label="y", prediction="p", id="i", candidate=k > 0)
        for k, f in enumerate(frames)
    ]
    sizes = [90.0, *(CANDIDATES[n][1] for n in names)]
    return [
        Subject(
            Candidate(name, "prune", artefact_digest=name),
            one,
            {("size_mb", "none"): Fact(np.array([size]))},
        )
        for name, one, size in zip(("base", *names), align(*loaded), sizes, strict=True)
    ]


def reached(*names: str, limits: tuple[Limit, ...] = (CHANGE, SIZE), **more: Any) -> Judgement:
    base, *others = subjects(names)
    nominated = more.pop("nominated", names)
    ids = {s.candidate.name: s.candidate.id for s in others}
    question = Question(
        run="r1",
        name="test",
        kind=more.pop("kind", "run"),
        policy=Policy(limits=limits),
        nominated=tuple(ids[n] for n in nominated),
        objective=more.pop("objective", "size"),
        opening=replace(OpeningState(), **more.pop("opening", {})),
    )
    return reach_verdict(question, Ruler(base, groups=(), unit=None, run="r1"), others, **more)


def verdicts(found: Judgement) -> dict[str, str]:
    names = {c.id: c.name for c in found.candidates}
    return {names[v.candidate]: v.answer.value for v in found.verdicts}


def best(found: Judgement) -> str:
    (name,) = [c.name for c in found.candidates if c.id == found.best]
    return name


def test_the_best_by_the_objective_ships() -> None:
    found = reached("good", "small", "bad", "large")
    assert verdicts(found) == {"good": "ship", "small": "ship", "bad": "hold", "large": "hold"}
    assert found.answer is Answer.SHIP
    assert best(found) == "small"
    assert best(reached("good", "small", objective="quality")) == "good"


def test_only_a_nominated_candidate_ships() -> None:
    found = reached("good", "small", "bad", nominated=("good",))
    assert verdicts(found) == {"good": "ship", "small": "undecided", "bad": "hold"}
    assert best(found) == "good"
    assert [v.nominated for v in found.verdicts] == [True, False, False]
    assert reached("small", nominated=()).answer is Answer.HOLD
    assert reached("bad", "large").answer is Answer.HOLD


def test_a_rehearsal_never_ships_but_still_holds() -> None:
    found = reached("good", "bad", kind="rehearsal")
    assert verdicts(found) == {"good": "undecided", "bad": "hold"}
    assert (found.answer, found.best) == (Answer.UNDECIDED, None)
    assert found.verdicts[0].reasons == ("rehearsal",)
    assert all(d.decision is Outcome.PASS for d in found.decisions_of(found.candidates[0].id))


def test_the_opening_sets_level_family_and_notes() -> None:
    found = reached("good", opening=dict(number=3, alpha_factor=0.25, family=2))
    assert found.opening == 3
    assert found.alpha == pytest.approx(0.025 / 4)
    p = found.verdicts[0].p_candidate
    assert found.verdicts[0].p_candidate_adjusted == pytest.approx(2 * p)
    assert [n.key for n in found.notes] == ["judge.note.opening"]
    worn = reached("good", opening=dict(number=6, alpha_factor=1 / 32, worn_out=True))
    change, size = worn.decisions
    assert (change.decision, change.reason) == (Outcome.CANNOT_TELL, "worn_out")
    # A size is known without any test row.
    assert size.decision is Outcome.PASS
    assert worn.answer is Answer.UNDECIDED
    assert [n.key for n in worn.notes] == ["judge.note.worn_out"]


def test_what_came_after_sight_is_named_in_the_order_of_the_candidates() -> None:
    ids = [s.candidate.id for s in subjects(("small", "good", "large"))[1:]]
    found = reached("small", "good", "large", opening=dict(number=2, after_sight=(ids[2], ids[0])))
    assert found.notes[0] == Phrase("judge.note.after_sight", {"names": "small, large"})


def test_notes_and_what_was_not_measured_are_added_to() -> None:
    mine, missing = Phrase("judge.note.independent"), Phrase("judge.missing.scores")
    found = reached("good", notes=(mine,), not_measured=(missing,), cached_stages=4)
    assert found.notes == (mine,)
    assert found.cached_stages == 4
    keys = [p.key for p in found.not_measured]
    # The size was measured, speed and scores were not.
    assert keys == ["judge.missing.scores", "judge.missing.speed", "judge.missing.scores"]


def test_decisions_and_measurements_carry_the_run() -> None:
    found = reached("good", "bad")
    assert {d.run for d in found.decisions} == {"r1"}
    assert set(found.measurements["run"]) == {"r1"}
    assert {d.owner for d in found.decisions} == {"ml", ""}
    rows = found.measurements.filter(pl.col("measure") == "size_mb", relative_to="none")
    assert rows["value"].to_list() == [90.0, 40.0, 10.0]


def test_an_advisory_limit_decides_nothing() -> None:
    found = reached("large", limits=(CHANGE, replace(SIZE, tier="advisory")))
    assert [d.decision for d in found.decisions] == [Outcome.PASS, Outcome.FAIL]
    assert found.answer is Answer.SHIP


def test_a_measure_that_is_missing_blocks_or_is_disclosed() -> None:
    speed = Limit("latency_p95_ms", "at_most", 20.0)
    found = reached("good", limits=(CHANGE, speed))
    assert found.answer is Answer.UNDECIDED
    assert found.decisions[1].reason == "not_measured"
    assert [s.phrase.key for s in found.next_steps] == ["next.measure"]
    told = reached("good", limits=(CHANGE, replace(speed, unknown="disclose")))
    assert told.answer is Answer.SHIP
    assert told.next_steps == ()


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_objectives_are_minimised_and_absent_ones_are_nan(objective: str) -> None:
    measure, sign = OBJECTIVES[objective]
    everyone = subjects(("good", "small"))[1:]
    rows = pl.DataFrame(
        {
            "candidate": [everyone[0].candidate.id, everyone[0].candidate.id],
            "measure": [measure, measure],
            "slice": ["{}", '{"domain":"news"}'],
            "relative_to": ["none", "none"],
            "value": [4.0, 9.0],
        }
    )
    found = objective_values(objective, rows, [s.candidate.id for s in everyone])
    assert found[everyone[0].candidate.id] == 4.0 * sign
    assert math.isnan(found[everyone[1].candidate.id])
