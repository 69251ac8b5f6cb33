"""`signoff` and `waive` on real run folders: what they write, what they say, what they refuse."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import approving
import pytest
from approving import GROUPS, REASON, judged
from verb import say, written

from shipworthy.core.digest import canonical_json
from shipworthy.core.ledger import Ledger
from shipworthy.core.ledger_lines import Line, line_hash
from shipworthy.release.record import read_record
from shipworthy.release.waiving import checked_reason

SOON = (datetime.now(UTC) + timedelta(days=30)).date().isoformat()
WAIVE = ("waive", "run", "--team", "team.yaml", "--limit", "3", "--until", SOON, "--as", "ada",
         "--reason", REASON)  # fmt: skip
SIGN = ("signoff", "run", "--team", "team.yaml")


@pytest.fixture
def run(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run that is held by the limit 3, of the role fairness."""
    made = approving.keys(folder / "keys")
    monkeypatch.setenv("SHIPWORTHY_KEYS", str(folder / "keys"))
    monkeypatch.delenv("SHIPWORTHY_PERSON", raising=False)
    approving.team(folder / "team.yaml", made)
    return approving.kept(folder / "run", judged())


def test_waive_then_sign(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert say(capsys, "report", run).code == 3
    said = say(capsys, *WAIVE)
    assert (said.code, said.err) == (0, "")
    full = "Change in accuracy, each domain ≥ −3 points"
    assert f"ada waived “{full}” for int8 until {SOON}, as fairness." in said.out
    assert "is now: ship" in said.out
    kept = read_record(run)
    assert (kept.answer.value, [w.reason for w in kept.waivers]) == ("ship", [REASON])
    assert kept.selftest is not None and kept.selftest.passed
    kinds = [line.kind for line in Ledger(run / "ledger.jsonl").lines()]
    assert kinds.index("waiver") < kinds.index("selftest")
    assert "verdict" in kinds[kinds.index("selftest") :]
    assert REASON in (run / "report.html").read_text("utf-8")

    said = say(capsys, *SIGN, "--role", "ml-lead", "--as", "ben", "--json")
    assert (said.code, said.err) == (0, "")
    told = said.json
    assert (told["written"], told["person"], told["verdict"]) == (True, "ben", "ship")
    assert told["approval"]["missing"] == ["fairness"]
    assert told["approval"]["separated"] is False
    assert told["waivers"][0]["limit"] == GROUPS
    assert told["attestation"] is None
    # It ships by its limits, and waits for the people.
    waits = say(capsys, "report", run, "--team", "team.yaml", "--approved", "--json")
    assert (waits.code, waits.json["verdict"], waits.json["exit_code"]) == (4, "ship", 4)
    told = say(capsys, "report", run, "--team", "team.yaml", "--approved")
    assert (told.code, "4 ship, but not signed by all that must" in told.out) == (4, True)
    assert "0 ship  " in say(capsys, "report", run, "--team", "team.yaml").out
    assert say(capsys, "report", run, "--approved").code == 2

    said = say(capsys, *SIGN, "--role", "ml-lead", "--as", "ben")
    assert (said.code, "nothing was written" in said.out) == (0, True)
    # Who trained signed first; that keeps nobody else of the role from signing.
    told = say(capsys, *SIGN, "--role", "ml-lead", "--as", "cy", "--json").json
    assert (told["written"], told["approval"]["separated"]) == (True, True)
    said = say(capsys, *SIGN, "--role", "fairness", "--as", "ada", "--lang", "zh")
    assert (said.code, "ada 以 fairness 身份签署了" in said.out) == (0, True)

    shown = say(capsys, "report", run, "--team", "team.yaml", "--approved", "--lang", "en")
    assert shown.code == 0
    top = " ".join(shown.out.split("  ──")[0].split())
    for word in ("Waived", REASON, "Signed", "ben as ml-lead", "ada as fairness"):
        assert word in top
    assert "Not signed" not in top


def test_the_same_waiver_is_said_and_not_written(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert say(capsys, *WAIVE, "--json").json["written"] is True
    lines = Ledger(run / "ledger.jsonl").lines()
    again = say(capsys, *WAIVE)
    assert (again.code, "already, as fairness; nothing was written." in again.out) == (0, True)
    chinese = say(capsys, *WAIVE, "--lang", "zh")
    assert "准确率相对父模型的变化，每个 domain ≥ −3 个百分点" in chinese.out
    assert GROUPS not in chinese.out
    assert Ledger(run / "ledger.jsonl").lines() == lines
    longer = (datetime.now(UTC) + timedelta(days=40)).date().isoformat()
    assert say(capsys, *changed("--until", longer), "--json").json["written"] is True


def test_without_a_nominated_candidate_a_waiver_helps_nobody(
    folder: Path, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    approving.kept(folder / "run", replace(judged(), nominated=()))
    said = say(capsys, *WAIVE)
    assert (said.code, "no candidate was nominated" in said.err) == (2, True)


def test_a_later_waiver_makes_sign_offs_stale(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    say(capsys, *SIGN, "--role", "fairness", "--as", "ada")
    assert say(capsys, *WAIVE).code == 0
    told = say(capsys, "report", run, "--team", "team.yaml", "--json").json["approval"]
    assert (told["signed"], told["missing"]) == ([], ["ml-lead", "fairness"])
    assert [s["person"] for s in told["stale"]] == ["ada"]


def changed(option: str, value: str | None) -> list[str]:
    """The arguments of a good waiver with one of them changed, or left out."""
    arguments = list(WAIVE)
    place = arguments.index(option)
    return arguments[:place] + ([] if value is None else [option, value]) + arguments[place + 2 :]


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("--limit", "1", "the limit is critical, and a critical limit cannot be waived"),
        ("--limit", "accuracy >= 0.8", "the limit is critical"),
        ("--limit", "2", "every nominated candidate passes it"),
        ("--limit", "4", "the limit has no owner"),
        ("--limit", "5", "the limit is advisory"),
        ("--limit", "9", "no limit of this number; it has 1: accuracy"),
        ("--limit", "accuracy against parent", "fits several limits"),
        ("--limit", "latency", "no such limit; it has 1: accuracy"),
        ("--until", "soon", "is no day; write it as 2026-01-31"),
        ("--until", "2026-02-30", "is no day"),
        ("--until", "2020-01-31", "is past; today is"),
        ("--until", "2099-01-31", "ends within 365 days"),
        ("--as", "cy", "cy does not have the role 'fairness'"),
        ("--as", "eve", "nobody has the id 'eve'"),
        ("--as", None, "there are several keys"),
        ("--reason", "short", "has 5 characters; say why in 10 to 400"),
        ("--reason", "word " * 100, "characters; say why in 10 to 400"),
        ("--reason", "ask ada.l@example.com about it", "holds an e-mail address"),
        ("--reason", "call 138 0013 8000 about it", "a number of five digits or more"),
        ("--reason", "token ghp_" + "a1B2" * 9 + " says so", "looks like a key or a token"),
        ("--team", None, "it is not known who may sign"),
        ("--team", "nowhere.yaml", "nowhere.yaml: cannot be read"),
    ],
)  # fmt: skip
def test_what_is_refused_is_one_line_and_writes_nothing(
    option: str, value: str | None, said: str, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = written(run)
    found = say(capsys, *changed(option, value))
    assert (found.code, found.out, found.err.count("\n")) == (2, "", 1)
    assert said in found.err
    assert written(run) == before


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("int9", "no such candidate; did you mean 'int8'?"),
        ("bf16", "passes accuracy against parent on each domain"),
    ],
)
def test_for_which_candidate(
    name: str, said: str, folder: Path, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    approving.kept(folder / "two", judged(int8=60, int4=90, bf16=3))
    arguments = ["waive", "two", *WAIVE[2:]]
    found = say(capsys, *arguments)
    assert (found.code, "several candidates do not pass it (int8, int4)" in found.err) == (2, True)
    found = say(capsys, *arguments, "--candidate", name)
    assert (found.code, said in found.err) == (2, True)
    assert say(capsys, *arguments, "--candidate", "int4").code == 0
    assert [w.candidate for w in read_record(folder / "two").waivers] == [
        c.id for c in judged(int8=60, int4=90, bf16=3).candidates if c.name == "int4"
    ]


def test_a_folder_without_a_run(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    found = say(capsys, "signoff", folder, "--role", "ml-lead")
    assert (found.code, found.err.count("\n")) == (2, 1)
    assert "no finished run is here" in found.err


def test_a_waiver_that_ended_no_longer_ships(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert say(capsys, *WAIVE).code == 0
    assert say(capsys, "report", run).code == 0
    # What was done two months later stands in the ledger; no clock set back revives a waiver.
    path = run / "ledger.jsonl"
    last = Ledger(path).lines()[-1]
    later = (datetime.now(UTC) + timedelta(days=60)).isoformat()
    bare = Line(
        last.number + 1, "recovered", later, {"bytes": 0, "sha256": "0" * 64}, last.hash, ""
    )
    whole = replace(bare, hash=line_hash(bare))
    with path.open("a", encoding="utf-8") as file:
        file.write(canonical_json(whole.__dict__) + "\n")
    said = say(capsys, "report", run, "--team", "team.yaml")
    assert said.code == 3
    assert f"does not count: it ended on {SOON}" in " ".join(said.out.split())
    found = say(capsys, *SIGN, "--role", "fairness", "--as", "ada")
    assert (found.code, "rests on a waiver that no longer counts" in found.err) == (2, True)
    chinese = say(capsys, "report", run, "--team", "team.yaml", "--lang", "zh")
    assert (chinese.code, f"已于{SOON}到期" in "".join(chinese.out.split())) == (3, True)


def test_a_waiver_of_somebody_who_lost_the_role_no_longer_ships(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert say(capsys, *WAIVE).code == 0
    people = Path("team.yaml").read_text("utf-8")
    Path("team.yaml").write_text(people.replace("[fairness]", "[platform]"), encoding="utf-8")
    said = say(capsys, "report", run, "--team", "team.yaml", "--json")
    assert (said.code, said.json["verdict"], said.json["waivers"]) == (3, "hold", [])
    assert "ada does not have this role" in said.json["approval"]["remarks"][0]["text"]
    found = say(capsys, *SIGN, "--role", "ml-lead", "--as", "cy")
    assert (found.code, "rests on a waiver that no longer counts" in found.err) == (2, True)


@pytest.mark.parametrize(
    "reason",
    [
        "Movie reviews are retired on 2026-03-31; the client agreed.",
        "12,000 rows are being labelled, 1.4 points are expected back.",
        "电影评论将于三月下线，客户已同意放行。",
        "See https://tracker.example.com/ABC-12 for the agreement.",
    ],
)
def test_reasons_that_people_write_are_taken(reason: str) -> None:
    assert checked_reason(f"  {reason}\n") == reason
