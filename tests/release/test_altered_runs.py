"""Nobody signs, and nothing is decided again, on a record that somebody edited."""

from __future__ import annotations

import fcntl
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import approving
import polars as pl
import pytest
from approving import GROUPS, REASON, judged

from shipworthy.core.errors import InputError
from shipworthy.core.ledger import Ledger
from shipworthy.release import signing, waiving
from shipworthy.release.card import write_cards
from shipworthy.release.record import DECISIONS, VERDICT, read_record, write_record
from shipworthy.release.recorded import record_run
from shipworthy.release.signing import sign_off
from shipworthy.release.verify import verify
from shipworthy.release.waiving import waive

UNTIL = (datetime.now(UTC) + timedelta(days=30)).date().isoformat()


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run that is held by one limit, with a team beside it."""
    made = approving.keys(tmp_path / "keys")
    monkeypatch.setenv("SHIPWORTHY_KEYS", str(tmp_path / "keys"))
    monkeypatch.delenv("SHIPWORTHY_PERSON", raising=False)
    approving.team(tmp_path / "team.yaml", made)
    return approving.kept(tmp_path / "run", judged(int8=60))


def edit_decisions(run: Path) -> None:
    """Let the critical limit pass on numbers of one's own."""
    table = pl.read_parquet(run / DECISIONS)
    changed = table.with_columns(pl.lit(0.99).alias("value"), pl.lit(1e-9).alias("p_pass"))
    changed.write_parquet(run / DECISIONS)


def edit_verdict(run: Path) -> None:
    document = json.loads((run / VERDICT).read_text("utf-8"))
    document["answer"], document["best"] = "ship", document["candidates"][0]["id"]
    (run / VERDICT).write_text(json.dumps(document), "utf-8")


def waived(run: Path) -> None:
    waive(
        run, limit=GROUPS, reason=REASON, until=UNTIL, person="ada", team=run.parent / "team.yaml"
    )


def signed(run: Path) -> None:
    sign_off(run, role="fairness", person="ada", team=run.parent / "team.yaml")


@pytest.mark.parametrize("act", [waived, signed])
@pytest.mark.parametrize("edit", [edit_decisions, edit_verdict])
def test_an_edited_record_is_neither_signed_nor_waived(run: Path, act, edit) -> None:
    edit(run)
    before = {p: p.read_bytes() for p in run.iterdir()}
    with pytest.raises(InputError, match="not the file that was recorded"):
        act(run)
    assert {p: p.read_bytes() for p in run.iterdir()} == before
    assert not verify(run).sound


@pytest.mark.parametrize("act", [waived, signed])
def test_what_was_signed_or_waived_verifies(run: Path, act) -> None:
    # A folder that was judged without a ledger begins its own.
    (run / "ledger.jsonl").unlink()
    act(run)
    assert verify(run).sound
    act(run)
    assert verify(run).sound


@pytest.mark.parametrize(("act", "room"), [(waived, waiving), (signed, signing)])
def test_a_verdict_that_changes_meanwhile_is_not_signed(
    run: Path, act, room, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = room.signer

    def slow(*asked):
        # While somebody types a passphrase, a run comes to another verdict and records it.
        found = read_record(run)
        write_record(replace(found, seconds=found.seconds + 1), run)
        record_run(Ledger(run / "ledger.jsonl"), run, read_record(run))
        return real(*asked)

    monkeypatch.setattr(room, "signer", slow)
    with pytest.raises(InputError, match="changed while"):
        act(run)
    kinds = {line.kind for line in Ledger(run / "ledger.jsonl").lines()}
    assert not kinds & {"signoff", "waiver"}


def test_one_record_has_one_writer(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, tried = waiving.keep, []

    def watched(*given):
        with open(run / "ledger.jsonl", "ab") as other, pytest.raises(BlockingIOError):
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        tried.append(given)
        return real(*given)

    monkeypatch.setattr(waiving, "keep", watched)
    waived(run)
    assert len(tried) == 1


def test_cards_follow_a_waiver_and_a_sign_off(run: Path) -> None:
    write_cards(run, kinds=["model"])
    card = run / "model_card.md"
    assert REASON not in card.read_text("utf-8")
    waived(run)
    assert REASON in card.read_text("utf-8")
    before = card.read_text("utf-8")
    signed(run)
    assert card.read_text("utf-8") != before
    assert not (run / "datasheet.md").exists()


def test_what_ends_in_between_leaves_no_earlier_verdict(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_cards(run, kinds=["all"])
    monkeypatch.setattr("shipworthy.release.record._parquet", lambda frame: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        waived(run)
    left = {p.name for p in run.iterdir()}
    assert not left & {VERDICT, "report.html"}
    assert not [name for name in left if name.endswith(".md")]
