"""What people signed lasts: another language or a cut ledger takes nothing away."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import approving
import pytest
from toy_project import PROJECT, run

from shipworthy.core.digest import digest_file
from shipworthy.core.errors import InputError
from shipworthy.core.locale import set_language
from shipworthy.core.records import Answer
from shipworthy.release.attestation import ATTESTATION
from shipworthy.release.record import VERDICT
from shipworthy.release.signing import sign_off
from shipworthy.release.trusted import load_trusted
from shipworthy.release.verdicts import LIBRARIES, used_versions
from shipworthy.release.verify import verify

TEAM = PROJECT + "team: team.yaml\n"


def written(folder: Path) -> dict[Path, bytes]:
    return {p: p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.fixture
def signed(toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The run folder of a shipped and signed project."""
    made = approving.keys(tmp_path / "keys")
    monkeypatch.setenv("SHIPWORTHY_KEYS", str(tmp_path / "keys"))
    monkeypatch.delenv("SHIPWORTHY_PERSON", raising=False)
    approving.team(toy / "team.yaml", made)
    folder = run(toy, TEAM).folder
    assert folder is not None
    for role in ("ml-lead", "platform"):
        sign_off(folder, role=role, person="cy")
    return folder


def test_running_in_another_language_leaves_every_signature(toy: Path, signed: Path) -> None:
    verdict = digest_file(signed / VERDICT, memo=False)
    envelope = (signed / ATTESTATION).read_bytes()
    set_language("zh")
    again = run(toy, TEAM)
    assert all(stage.cached for stage in again.stages)
    assert digest_file(signed / VERDICT, memo=False) == verdict
    assert (signed / ATTESTATION).read_bytes() == envelope
    assert again.judgement is not None and again.judgement.approval is not None
    assert again.judgement.approval.missing == ()
    assert "可发布" in (signed / "report.html").read_text("utf-8")


def test_another_verdict_takes_the_old_attestation_away(toy: Path, signed: Path) -> None:
    verdict = digest_file(signed / VERDICT, memo=False)
    again = run(toy, TEAM + "report: {examples: deidentified}\n")
    assert again.folder == signed
    assert digest_file(signed / VERDICT, memo=False) != verdict
    assert again.judgement is not None and again.judgement.approval is not None
    assert len(again.judgement.approval.stale) == 2
    assert not (signed / ATTESTATION).exists()
    assert verify(toy, trusted=load_trusted(toy / "team.yaml")).sound


def test_a_bundle_that_cannot_be_attested_is_not_signed_off(toy: Path, signed: Path) -> None:
    # The sign-offs are of an earlier verdict then.
    found = run(toy, TEAM + "report: {examples: deidentified}\n").judgement
    assert found is not None and found.answer is Answer.SHIP and found.best is not None
    (signed / "candidates" / found.best / "config.json").unlink()
    before = written(toy)
    with pytest.raises(InputError, match=r"config\.json"):
        sign_off(signed, role="ml-lead", person="cy")
    assert written(toy) == before


def test_a_run_on_a_cut_ledger_writes_nothing(toy: Path, signed: Path) -> None:
    ledger = toy / ".shipworthy" / "ledger.jsonl"
    whole, before = ledger.read_bytes(), written(signed)
    for left in (whole[: len(whole) // 2], whole[: whole[:-1].rfind(b"\n") + 1], b""):
        ledger.write_bytes(left)
        with pytest.raises(InputError, match=r"lacks entries that its copy .* holds"):
            run(toy, TEAM)
        assert written(signed) == before
        assert ledger.read_bytes() == left
    ledger.write_bytes((signed / "ledger.jsonl").read_bytes())
    # A run that was brought from elsewhere stops nothing.
    other = toy / "runs" / "other"
    other.mkdir()
    (other / "ledger.jsonl").write_bytes(b'{"of":"another project"}\n')
    again = run(toy, TEAM).judgement
    assert again is not None and again.approval is not None and again.approval.missing == ()


def test_a_run_names_the_versions_of_what_its_stages_were_made_with() -> None:
    program = (
        "import sys, json; from shipworthy.release.verdicts import used_versions;"
        "print(json.dumps([used_versions(everything=e) for e in (True, False)]));"
        "assert 'torch' not in sys.modules"
    )
    told = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    everything, in_use = json.loads(told.stdout)
    assert everything == used_versions(everything=True)
    assert set(everything) == {"shipworthy", *LIBRARIES}
    assert "torch" not in in_use
