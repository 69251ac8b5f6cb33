"""A whole run of a project, approved: in the project's ledger, with its attestation, run again."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import approving
import pytest
from toy_project import PROJECT, run

from shipworthy.core.digest import digest_file
from shipworthy.core.envelope import read_envelope
from shipworthy.core.errors import SettingsError
from shipworthy.core.ledger import Ledger
from shipworthy.core.records import WAIVED, Answer
from shipworthy.release.attestation import check_attestation
from shipworthy.release.record import VERDICT
from shipworthy.release.signing import sign_off
from shipworthy.release.waiving import waive

TEAM = PROJECT + "team: team.yaml\n"
# On so few rows nobody can say that a change is this small.
NARROW = TEAM.replace(
    "    - {measure: size_mb",
    "    - {measure: accuracy, slice: {each: shop}, relative_to: parent, at_least: -0.002,"
    " owner: fairness}\n    - {measure: size_mb",
)


@pytest.fixture
def team(toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    made = approving.keys(tmp_path / "keys")
    monkeypatch.setenv("SHIPWORTHY_KEYS", str(tmp_path / "keys"))
    monkeypatch.delenv("SHIPWORTHY_PERSON", raising=False)
    return approving.team(toy / "team.yaml", made)


def test_a_sign_off_of_a_ship_attests_the_bundle_and_outlasts_a_run(toy: Path, team: Path) -> None:
    finished = run(toy, TEAM, by="ben")
    judgement, folder = finished.judgement, finished.folder
    assert judgement is not None and folder is not None
    assert judgement.answer is Answer.SHIP
    assert judgement.approval is not None
    assert judgement.approval.missing == ("ml-lead", "platform")
    verdict = digest_file(folder / VERDICT, memo=False)

    found = sign_off(folder, role="ml-lead", person="cy")
    assert found.attestation is not None
    assert len(read_envelope(found.attestation.read_bytes(), where="bundle").signatures) == 1
    sign_off(folder, role="platform", person="cy")
    first = Ledger(toy / ".shipworthy" / "ledger.jsonl").lines()
    assert [line.kind for line in first[-2:]] == ["signoff", "signoff"]
    wrong = [f for f in check_attestation(folder) if f.level == "wrong"]
    assert wrong == []

    again = run(toy, TEAM, by="cy")
    assert again.judgement is not None and again.judgement.approval is not None
    assert digest_file(folder / VERDICT, memo=False) == verdict
    assert again.judgement.approval.missing == ()
    assert again.judgement.approval.separated is True
    assert "cy as ml-lead" in (folder / "report.html").read_text("utf-8")
    assert len(Ledger(toy / ".shipworthy" / "ledger.jsonl").lines()) == len(first)


def test_a_waiver_lets_an_undecided_run_ship_and_the_next_run_agrees(toy: Path, team: Path) -> None:
    finished = run(toy, NARROW)
    assert finished.judgement is not None and finished.folder is not None
    assert finished.judgement.answer is Answer.UNDECIDED
    until = (datetime.now(UTC) + timedelta(days=9)).date().isoformat()
    found = waive(
        finished.folder, limit="each shop", reason="Both shops close in spring.", until=until,
        person="ada",
    )  # fmt: skip
    assert found.judgement.answer is Answer.SHIP
    assert {d.reason for d in found.judgement.decisions if d.owner == "fairness"} == {WAIVED}
    verdict = digest_file(finished.folder / VERDICT, memo=False)
    sign_off(finished.folder, role="ml-lead", person="cy")

    again = run(toy, NARROW)
    assert again.judgement is not None and again.judgement.approval is not None
    assert again.judgement.answer is Answer.SHIP
    assert [w.line for w in again.judgement.waivers] == [found.waiver.line]
    # What waived the limit and what ran again wrote the same verdict: the signature still holds.
    assert digest_file(finished.folder / VERDICT, memo=False) == verdict
    assert [s.role for s in again.judgement.approval.signed] == ["ml-lead"]
    # Who is no longer of the team has waived nothing.
    team.write_text(re.sub(r"  - \{id: ada.*\n", "", team.read_text("utf-8")), encoding="utf-8")
    later = run(toy, NARROW)
    assert later.judgement is not None and later.judgement.approval is not None
    assert later.judgement.answer is Answer.UNDECIDED
    assert "approval.distrust.foreign" in [p.key for p in later.judgement.approval.remarks]


def test_a_team_without_the_role_stops_before_anything_is_made(toy: Path, team: Path) -> None:
    before = sorted(toy.rglob("*"))
    with pytest.raises(SettingsError) as caught:
        run(toy, TEAM.replace("owner: platform", "owner: platfrom"))
    assert "nobody has the role 'platfrom'" in str(caught.value)
    assert "did you mean 'platform'?" in str(caught.value)
    assert sorted(toy.rglob("*")) == before
