"""What is left to people: roles that have not signed, waivers that have ended."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sample import made, pictured

from shipworthy.core.locale import set_language
from shipworthy.core.records import Answer
from shipworthy.release.judgement import Approval, Judgement, Phrase
from shipworthy.release.next_upkeep import upkeep
from shipworthy.release.wording import phrase


def judgement(approval: Approval | None, answer: Answer = Answer.SHIP) -> Judgement:
    found = pictured(["bf16 weights"])
    return replace(found, answer=answer, best=made("bf16 weights").id, approval=approval)


def test_each_role_that_has_not_signed_is_a_step_with_its_command() -> None:
    found = upkeep(judgement(Approval(missing=("ml-lead", "fairness"))), run="runs/a")
    assert [s.phrase.key for s in found] == ["next.signoff"] * 2
    assert phrase(found[1].phrase).endswith("`shipworthy signoff runs/a --role fairness`.")
    assert found[0].candidate == made("bf16 weights").id


def test_those_who_trained_do_not_sign_alone() -> None:
    (step,) = upkeep(judgement(Approval(separated=False)), run="runs/a")
    assert "somebody who did not train has to sign too" in phrase(step.phrase)


def test_a_waiver_that_ended_is_a_step_and_other_remarks_are_none() -> None:
    ended = Phrase(
        "approval.idle.expired",
        {"limit": "accuracy ≥ 0.9", "name": "bf16 weights", "date": "2026-01-31"},
    )
    other = Phrase("approval.idle.critical", {"limit": "x", "name": "bf16 weights"})
    found = upkeep(judgement(Approval(remarks=(ended, other)), Answer.HOLD), run="runs/a")
    (step,) = found
    assert "ended on 2026-01-31" in phrase(step.phrase)
    set_language("zh")
    assert "2026-01-31" in phrase(step.phrase)


@pytest.mark.parametrize("approval", [None, Approval()])
def test_nothing_is_asked_where_nobody_is_to_sign(approval: Approval | None) -> None:
    assert upkeep(judgement(approval), run="runs/a") == ()
    held = judgement(Approval(missing=("ml-lead",)), Answer.HOLD)
    assert upkeep(held, run="runs/a") == ()
