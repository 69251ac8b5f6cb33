"""Who signed which verdict, whose signature counts, and whether others than the makers did."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import approving
import pytest
from approving import judged
from page import Page

from shipworthy.core.digest import digest_file
from shipworthy.core.errors import InputError
from shipworthy.core.ledger import Ledger
from shipworthy.core.locale import set_language
from shipworthy.core.records import Answer
from shipworthy.release.approval_rows import approval_rows
from shipworthy.release.approvals import append_signed, approved, open_place
from shipworthy.release.documents import to_json
from shipworthy.release.judgement import Approval, SelftestEvidence
from shipworthy.release.record import VERDICT, read_record
from shipworthy.release.recorded import record_run
from shipworthy.release.report import render_report
from shipworthy.release.signing import sign_off
from shipworthy.release.signoff import approval_of, owners, who_trained
from shipworthy.release.standing import survey
from shipworthy.release.terminal import render
from shipworthy.release.wording import phrase
from shipworthy.team.roster import load_roster


class Desk:
    """A run folder with its ledger, a team file and keys."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.made = approving.keys(folder / "keys")
        monkeypatch.setenv("SHIPWORTHY_KEYS", str(folder / "keys"))
        monkeypatch.delenv("SHIPWORTHY_PERSON", raising=False)
        self.keys = folder / "keys"
        self.team = approving.team(folder / "team.yaml", self.made)
        self.run = approving.kept(folder / "run", judged(int8=60, bf16=3))

    def sign(self, role: str, **more: Any) -> Any:
        return sign_off(self.run, role=role, **{"team": self.team, **more})

    @property
    def ledger(self) -> Ledger:
        return Ledger(self.run / "ledger.jsonl")

    @property
    def approval(self) -> Approval:
        found = approved(open_place(self.run, team=self.team)).approval
        assert found is not None
        return found


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    return Desk(tmp_path, monkeypatch)


def test_roles_that_own_what_counts_are_waited_for(desk: Desk) -> None:
    assert owners(judged()) == ("ml-lead", "fairness")
    before = desk.approval
    assert (before.signed, before.missing, before.separated) == ((), ("ml-lead", "fairness"), False)
    found = desk.sign("fairness", person="ada")
    assert found.written
    after = desk.approval
    assert [(s.person, s.role) for s in after.signed] == [("ada", "fairness")]
    assert (after.missing, after.separated, after.remarks) == (("ml-lead",), True, ())
    assert after.signed[0].key == desk.made["ada"].public.fingerprint


def test_what_is_signed_is_the_verdict_and_the_ledger_below(desk: Desk) -> None:
    found = desk.sign("fairness", person="ada")
    head, line = desk.ledger.lines()[-2:]
    # The folder had no verdict in its ledger yet.
    assert head.kind == "verdict"
    assert (line.kind, line.hash) == ("signoff", found.signoff.line)
    said = {k: v for k, v in line.payload.items() if k not in ("key", "signature")}
    assert said == {
        "run": read_record(desk.run).run,
        "verdict_sha256": digest_file(desk.run / VERDICT, memo=False),
        "role": "fairness", "person": "ada",
        "head_number": head.number, "head_hash": head.hash,
    }  # fmt: skip


def test_a_second_sign_off_is_said_and_not_written(desk: Desk) -> None:
    desk.sign("fairness", person="ada")
    before = desk.ledger.path.read_bytes()
    found = desk.sign("fairness", person="ada")
    assert (found.written, found.signoff.person) == (False, "ada")
    assert desk.ledger.path.read_bytes() == before
    # Somebody else of the role may sign too.
    found = desk.sign("fairness", person="dora")
    assert (found.written, found.signoff.person) == (True, "dora")
    assert found.judgement.approval is not None
    assert [one.person for one in found.judgement.approval.signed] == ["ada", "dora"]


def test_a_changed_verdict_makes_the_sign_off_stale(desk: Desk) -> None:
    desk.sign("fairness", person="ada")
    verdict = desk.run / VERDICT
    told = json.loads(verdict.read_text("utf-8"))
    verdict.write_text(json.dumps({**told, "seconds": told["seconds"] + 1}), encoding="utf-8")
    found = desk.approval
    assert found.signed == ()
    assert [(s.person, s.role) for s in found.stale] == [("ada", "fairness")]
    assert found.missing == ("ml-lead", "fairness")
    judgement = approved(open_place(desk.run, team=desk.team))
    assert "signed an earlier verdict of this run" in Page(render_report(judgement)).text
    with pytest.raises(InputError, match="not the file that was recorded"):
        desk.sign("fairness", person="ada")
    record_run(desk.ledger, desk.run, read_record(desk.run))
    assert desk.sign("fairness", person="ada").written
    assert desk.approval.stale == ()


def test_a_trainer_alone_does_not_separate_duties(desk: Desk) -> None:
    found = desk.sign("ml-lead", person="ben")
    assert desk.approval.separated is False
    assert "everybody who signed also trained" in Page(render_report(found.judgement)).text
    assert "everybody who signed also trained" in render(found.judgement, color=False, unicode=True)
    desk.sign("fairness", person="ada")
    assert desk.approval.separated is True


def test_who_made_the_parent_trained(desk: Desk) -> None:
    judgement = read_record(desk.run)
    roster = load_roster(desk.team)
    assert who_trained(desk.ledger.lines(), judgement, roster) == {"ben", "dora"}
    payload = approving.artefact(judgement, judgement.parent.id, by="ada")
    desk.ledger.append("artefact", payload)
    desk.ledger.append(
        "artefact", approving.artefact(judgement, judgement.candidates[0].id, by="cy")
    )
    assert who_trained(desk.ledger.lines(), judgement, roster) == {"ada", "ben", "dora"}
    assert who_trained(desk.ledger.lines(), judgement, None) == {"ada"}
    desk.sign("fairness", person="ada")
    assert desk.approval.separated is False
    desk.sign("ml-lead", person="cy")
    assert desk.approval.separated is True


def test_a_policy_may_leave_duties_together(desk: Desk) -> None:
    judgement = replace(read_record(desk.run), separation_of_duties=False)
    found = approval_of(
        desk.ledger.lines(), judgement, verdict_digest="0" * 64, trainers=("ben",), roster=None
    )
    assert found.separated is None


@pytest.mark.parametrize(
    ("role", "person", "key", "said"),
    [
        ("fairness", "", "eve", "is of nobody in the team"),
        ("fairness", "ada", "eve", "is of nobody in the team"),
        ("fairness", "ada", "ben", "is that of ben, not of ada"),
        ("ml-lead", "ada", "", "ada does not have the role 'ml-lead', but fairness"),
        ("fairnes", "ada", "", "did you mean 'fairness'?"),
        ("fairness", "adda", "", "did you mean 'ada'?"),
        ("fairness", "", "", "there are several keys"),
        ("fairness", "", "ada.pub", "is a public key"),
    ],
)
def test_who_may_not_sign(role: str, person: str, key: str, said: str, desk: Desk) -> None:
    before = desk.ledger.path.read_bytes()
    path = desk.keys / key if key else None
    with pytest.raises(InputError) as caught:
        desk.sign(role, person=person, key=path)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert desk.ledger.path.read_bytes() == before


def test_the_key_or_the_environment_says_who_it_is(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert desk.sign("fairness", key=desk.keys / "ada").signoff.person == "ada"
    monkeypatch.setenv("SHIPWORTHY_PERSON", "cy")
    assert desk.sign("ml-lead").signoff.person == "cy"
    monkeypatch.delenv("SHIPWORTHY_PERSON")
    for name in (*approving.PEOPLE, "eve"):
        if name != "ada":
            (desk.keys / f"{name}.pub").unlink()
    assert not desk.sign("fairness").written
    (desk.keys / "ada.pub").unlink()
    with pytest.raises(InputError, match="there is no key of yours"):
        desk.sign("fairness")


def test_without_a_team_file_nobody_may_sign(desk: Desk) -> None:
    with pytest.raises(InputError, match="it is not known who may sign"):
        sign_off(desk.run, role="fairness", person="ada")
    judgement = approved(open_place(desk.run))
    assert judgement.approval is None
    desk.sign("fairness", person="ada")
    shown = approved(open_place(desk.run)).approval
    assert shown is not None
    # Signatures are checked all the same; who trained is not known.
    assert ([s.person for s in shown.signed], shown.separated) == (["ada"], None)


def test_a_rehearsal_is_not_signed(desk: Desk) -> None:
    verdict = desk.run / VERDICT
    told = json.loads(verdict.read_text("utf-8"))
    verdict.write_text(json.dumps({**told, "kind": "rehearsal"}), encoding="utf-8")
    with pytest.raises(InputError, match="a rehearsal is no verdict"):
        desk.sign("fairness", person="ada")


def test_signatures_that_do_not_count_are_said(desk: Desk) -> None:
    judgement = read_record(desk.run)
    content = {
        "run": judgement.run, "verdict_sha256": digest_file(desk.run / VERDICT, memo=False),
        "role": "fairness", "person": "ada",
    }  # fmt: skip
    append_signed(desk.ledger, "signoff", content, desk.made["eve"])
    append_signed(desk.ledger, "signoff", {**content, "role": "ml-lead"}, desk.made["ada"])
    append_signed(desk.ledger, "signoff", {**content, "person": "dora"}, desk.made["ada"])
    good = append_signed(desk.ledger, "signoff", content, desk.made["ada"])
    # The same signature once more, at another place.
    desk.ledger.append("signoff", good.payload)
    found = desk.approval
    assert [s.line for s in found.signed] == [good.hash]
    assert [p.key for p in found.remarks] == [
        "approval.distrust.foreign", "approval.distrust.role", "approval.distrust.other",
        "approval.distrust.moved",
    ]  # fmt: skip
    assert "is of nobody in the team file" in phrase(found.remarks[0])


def test_a_person_that_left_no_longer_counts(desk: Desk) -> None:
    desk.sign("fairness", person="ada")
    approving.team(desk.team, desk.made, ada=None)
    assert desk.approval.signed == ()
    assert [p.key for p in desk.approval.remarks] == ["approval.distrust.foreign"]


def test_the_run_of_a_project_is_signed_in_the_projects_ledger(tmp_path: Path, desk: Desk) -> None:
    root = tmp_path / "project"
    judgement = judged(int8=60, bf16=3)
    run = approving.kept(root / "runs" / "1", judgement)
    (root / ".shipworthy").mkdir()
    (run / "ledger.jsonl").rename(root / ".shipworthy" / "ledger.jsonl")
    (run / "project.yaml").write_text("name: p\nteam: people/team.yaml\n", encoding="utf-8")
    (root / "people").mkdir()
    approving.team(root / "people" / "team.yaml", desk.made)
    found = sign_off(run, role="fairness", person="ada")
    whole = root / ".shipworthy" / "ledger.jsonl"
    assert Ledger(whole).lines()[-1].hash == found.signoff.line
    assert (run / "ledger.jsonl").read_bytes() == whole.read_bytes()
    # Elsewhere, with nothing of the project, the copy says the same.
    moved = tmp_path / "elsewhere"
    run.rename(moved)
    shown = approved(open_place(moved)).approval
    assert shown is not None and [s.person for s in shown.signed] == ["ada"]


@pytest.mark.parametrize(
    ("lang", "words"),
    [
        ("en", ["Signed", "ada as fairness", "Not signed", "ml-lead"]),
        ("zh", ["已签署", "ada（fairness，", "未签署", "ml-lead"]),
    ],
)
def test_page_terminal_and_document_say_who_signed(lang: str, words: list[str], desk: Desk) -> None:
    set_language(lang)
    found = desk.sign("fairness", person="ada")
    page = found.report.read_text("utf-8")
    assert page == render_report(found.judgement)
    for said in (Page(page).text, render(found.judgement, color=False, unicode=True)):
        place = -1
        for word in words:
            assert said.find(word, place + 1) > place, word
            place = said.find(word, place + 1)
    told = to_json(found.judgement, report=None, folder=None, exit_code=0)["approval"]
    assert told == json.loads(json.dumps(told))
    assert [s["role"] for s in told["signed"]] == ["fairness"]
    assert (told["missing"], told["separated"]) == (["ml-lead"], True)


def test_where_nobody_is_asked_nothing_is_said() -> None:
    assert approval_rows(survey(judged())) == []
    assert "approvals" not in render_report(judged()).split("</style>")[1]


@pytest.mark.parametrize(
    ("lang", "passed", "failed"),
    [
        ("en", "passed on 2026-11-26, counts until 2026-12-26; not asked for: slow model",
         "not passed: biased model would not be held"),
        ("zh", "2026-11-26 通过，有效期至 2026-12-26", "未通过：拦不住"),
    ],
)  # fmt: skip
def test_the_self_test_is_in_the_evidence_and_on_top_where_it_fails(
    lang: str, passed: str, failed: str
) -> None:
    set_language(lang)
    good = SelftestEvidence(
        True, "0" * 64, "1" * 64, "2026-11-26T01:00:00+00:00", "2026-12-26T01:00:00+00:00",
        skipped=("slow",),
    )  # fmt: skip
    assert passed in Page(render_report(replace(judged(), selftest=good))).text
    assert approval_rows(survey(replace(judged(), selftest=good))) == []
    bad = replace(good, passed=False, not_held=("biased",))
    shown = replace(judged(), selftest=bad, answer=Answer.UNDECIDED)
    rows = approval_rows(survey(shown))
    assert len(rows) == 1
    assert failed in rows[0].value
    assert failed in render(shown, color=False, unicode=True)


def test_a_waiver_that_the_verdict_does_not_rest_on_yet_is_said(desk: Desk) -> None:
    judgement = read_record(desk.run)
    one = next(c for c in judgement.candidates if c.name == "int8")
    content = {
        "run": judgement.run, "candidate": one.id, "artefact_digest": one.artefact_digest,
        "limit": approving.GROUPS, "person": "ada", "role": "fairness",
        "reason": approving.REASON,
        "expires": (datetime.now(UTC) + timedelta(days=3)).isoformat(),
    }  # fmt: skip
    append_signed(desk.ledger, "waiver", content, desk.made["ada"])
    shown = approved(open_place(desk.run, team=desk.team))
    assert shown.waivers == ()
    assert shown.verdict_of(one.id).answer is Answer.HOLD
    assert shown.approval is not None
    assert [p.key for p in shown.approval.remarks] == ["approval.idle.not_yet"]
    assert "run the project again" in phrase(shown.approval.remarks[0])
