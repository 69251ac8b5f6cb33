"""A judgement that is kept: in a folder, in a ledger, and checked by somebody else."""

from pathlib import Path

import answers
import approving
import pytest
from verb import COLUMNS, POLICY, Said, save, say, written

from shipworthy.core.ledger import Ledger


@pytest.fixture
def place(tmp_path: Path) -> Path:
    base = answers.parent(2000)
    save(base, tmp_path / "base.csv")
    save(answers.candidate(base, lost=2, gained=2), tmp_path / "good.csv")
    (tmp_path / "policy.yaml").write_text(POLICY, "utf-8")
    return tmp_path


def judged(capsys: pytest.CaptureFixture[str], place: Path, *more: str | Path) -> Said:
    return say(
        capsys, "judge", place / "base.csv", place / "good.csv", "--policy", place / "policy.yaml",
        *COLUMNS, "--group", "domain", "--out", place / "kept", "--ledger", place / "ledger.jsonl",
        *more,
    )  # fmt: skip


def test_a_kept_judgement_verifies_elsewhere(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert judged(capsys, place).code == 0
    kinds = [line.kind for line in Ledger(place / "kept" / "ledger.jsonl").lines()]
    assert {"nomination", "opening", "artefact", "measurements", "decisions", "verdict"} <= {*kinds}
    assert kinds.count("selftest") == 1
    moved = (place / "kept").rename(place / "elsewhere")
    assert say(capsys, "verify", moved).code == 0
    table = moved / "measurements.parquet"
    content = bytearray(table.read_bytes())
    content[len(content) // 2] ^= 1
    table.write_bytes(content)
    said = say(capsys, "verify", moved)
    assert said.code == 3
    assert "measurements.parquet" in said.out


def test_judging_again_adds_nothing_to_the_ledger(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    judged(capsys, place)
    kinds = [line.kind for line in Ledger(place / "ledger.jsonl").lines()]
    judged(capsys, place)
    again = [line.kind for line in Ledger(place / "ledger.jsonl").lines()]
    # The record says when it was made, so its digest is another; no look and no artefact is added.
    assert [k for k in again if k not in ("verdict", "measurements")] == [
        k for k in kinds if k not in ("verdict", "measurements")
    ]


def test_a_sign_off_in_the_folder_is_not_overwritten(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = approving.keys(place / "keys")
    monkeypatch.setenv("SHIPWORTHY_KEYS", str(place / "keys"))
    team = approving.team(place / "team.yaml", made)
    judged(capsys, place)
    said = say(
        capsys, "signoff", place / "kept", "--role", "fairness", "--as", "ada", "--team", team
    )
    assert said.code == 0, said.err
    before = written(place)
    said = judged(capsys, place)
    assert said.code == 2
    assert "holds entries that" in said.err
    # Neither the record, nor the ledger of looks, nor the page: the evidence is as it was.
    assert written(place) == before
    assert say(capsys, "verify", place / "kept", "--trusted-keys", team).code == 0


def test_judging_without_a_ledger_goes_on_with_that_of_the_folder(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = approving.keys(place / "keys")
    monkeypatch.setenv("SHIPWORTHY_KEYS", str(place / "keys"))
    team = approving.team(place / "team.yaml", made)
    plain = (
        "judge", place / "base.csv", place / "good.csv", "--policy", place / "policy.yaml",
        *COLUMNS, "--group", "domain", "--out", place / "kept",
    )  # fmt: skip
    assert say(capsys, *plain).code == 0
    signed = say(
        capsys, "signoff", place / "kept", "--role", "fairness", "--as", "ada", "--team", team
    )
    assert signed.code == 0, signed.err
    assert say(capsys, *plain).code == 0
    assert say(capsys, "verify", place / "kept", "--trusted-keys", team).code == 0
    assert "earlier verdict" in say(capsys, "report", place / "kept", "--team", team).out


def test_looks_are_counted_by_the_ledger_of_the_folder_too(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert judged(capsys, place).code == 0
    base = answers.parent(2000)
    save(answers.candidate(base, lost=3, gained=3), place / "other.csv")
    said = say(
        capsys, "judge", place / "base.csv", place / "other.csv", "--policy", place / "policy.yaml",
        *COLUMNS, "--group", "domain", "--out", place / "kept", "--json",
    )  # fmt: skip
    assert said.json["opening"] == 2
    assert say(capsys, "verify", place / "kept").code == 0


def test_a_team_file_without_the_owner_is_refused(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = approving.keys(place / "keys")
    team = approving.team(place / "team.yaml", made, ada=None, dora=None)
    said = judged(capsys, place, "--team", team)
    assert said.code == 2
    assert "fairness" in said.err
    assert not (place / "ledger.jsonl").exists()
