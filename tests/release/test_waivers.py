"""Which waivers count, and what verdicts are without the limits that they take out."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import approving
import polars as pl
import pytest
from answers import candidate, parent
from approving import GROUPS, judged
from hypothesis import given, settings
from hypothesis import strategies as st
from page import Page
from sample import pictured

import shipworthy as sw
from shipworthy.core.ledger import Ledger
from shipworthy.core.ledger_lines import Line, line_hash
from shipworthy.core.locale import set_language
from shipworthy.core.records import WAIVED, Answer, Outcome
from shipworthy.core.statements import sign_payload
from shipworthy.measure.decide import decide_again
from shipworthy.release.documents import to_json
from shipworthy.release.judgement import Judgement, Waiver
from shipworthy.release.record import read_record, write_record
from shipworthy.release.report import render_report
from shipworthy.release.terminal import render
from shipworthy.release.waivers import (
    active_waivers,
    apply_waivers,
    unexpired,
    weigh_waivers,
    with_those_left,
)
from shipworthy.release.wording import phrase
from shipworthy.team.roster import Roster, load_roster

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
CHANGE = "accuracy against parent ≥ -0.05"
CRITICAL = "accuracy ≥ 0.8"


def waiver(judgement: Judgement, limit: str = GROUPS, name: str = "int8", **more: Any) -> Waiver:
    one = next(c for c in judgement.candidates if c.name == name)
    values: dict[str, Any] = dict(
        limit=limit, candidate=one.id, artefact_digest=one.artefact_digest, person="ada",
        role="fairness", reason=approving.REASON, created=NOW.isoformat(),
        expires=(NOW + timedelta(days=30)).isoformat(), line="0" * 64,
    )  # fmt: skip
    return Waiver(**{**values, **more})


# -- deciding again --------------------------------------------------------------------------------


def test_a_waived_limit_leaves_the_verdict_and_keeps_its_numbers() -> None:
    before = judged()
    after = apply_waivers(before, (waiver(before),))
    assert (before.answer, after.answer) == (Answer.HOLD, Answer.SHIP)
    assert after.best == before.candidates[0].id
    for old, new in zip(before.decisions, after.decisions, strict=True):
        out = str(before.limits[old.limit]) == GROUPS
        assert new.reason == (WAIVED if out else old.reason)
        assert replace(new, reason=old.reason, reason_before="") == old
    assert any(d.reason == WAIVED and d.decision is Outcome.FAIL for d in after.decisions)


def test_it_is_decided_as_if_the_policy_had_no_such_limit() -> None:
    base = parent(1000)
    columns: dict[str, Any] = dict(label="y", prediction="p", id="i", groups=["domain"])
    limits = [limit for limit in approving.POLICY if limit["measure"] != "f1"]
    for lost, within in ((30, "movie"), (2, None)):
        other = candidate(base, lost=lost, within=within)
        whole = sw.judge(base, other, limits, **columns)
        for place in range(1, len(limits)):
            text = str(whole.limits[place])
            after = apply_waivers(whole, [waiver(whole, text, whole.candidates[0].name)])
            less = sw.judge(base, other, limits[:place] + limits[place + 1 :], **columns)
            assert after.verdicts[0].p_candidate == less.verdicts[0].p_candidate
            assert (after.answer is Answer.SHIP) == (less.answer is Answer.SHIP)


def test_holm_counts_the_nominated_as_before() -> None:
    before = judged(int8=60, bf16=3)
    after = apply_waivers(before, (waiver(before),))
    first, second = (v.p_candidate for v in after.verdicts)
    low, high = sorted((first, second))
    found = [v.p_candidate_adjusted for v in after.verdicts]
    assert sorted(found) == pytest.approx([2 * low, max(2 * low, high)], rel=1e-12)
    assert [v.answer for v in after.verdicts] == [Answer.SHIP, Answer.SHIP]
    # The file with fewer errors is the best by quality, waived or not.
    assert after.best == before.best == before.candidates[1].id
    # A family larger than the nominated is counted too.
    many = apply_waivers(replace(before, family=4000), (waiver(before),))
    assert many.verdicts[0].answer is Answer.UNDECIDED
    assert many.verdicts[0].reasons == ("correction",)


def test_waiving_everything_does_not_ship() -> None:
    before = judged()
    limits = tuple(replace(limit, tier="supporting") for limit in before.limits)
    open_ = replace(before, limits=limits)
    decisions = tuple(replace(d, tier="supporting") for d in before.decisions)
    open_ = replace(open_, decisions=decisions)
    every = [waiver(open_, str(limit)) for limit in limits]
    after = apply_waivers(open_, every)
    assert (after.answer, after.best) == (Answer.UNDECIDED, None)
    assert after.verdicts[0].reasons == (WAIVED,)
    assert "Every limit that counts is waived" in Page(render_report(after)).text
    assert "all limits waived" in render_report(after)


def test_a_critical_limit_stays_whatever_is_waived() -> None:
    base = parent(2000, wrong=600)
    columns: dict[str, Any] = dict(label="y", prediction="p", id="i", groups=["domain"])
    bad = sw.judge(base, candidate(base, gained=5), approving.POLICY[:1], **columns)
    assert bad.answer is Answer.HOLD
    after = apply_waivers(bad, (waiver(bad, CRITICAL, bad.candidates[0].name),))
    assert after.answer is Answer.HOLD
    assert all(d.reason != WAIVED for d in after.decisions)


def test_a_waiver_is_for_its_candidate_only() -> None:
    before = judged(int8=60, int4=90)
    after = apply_waivers(before, (waiver(before),))
    assert [v.answer for v in after.verdicts] == [Answer.SHIP, Answer.HOLD]
    assert after.best == before.candidates[0].id


def test_a_rehearsal_stays_one() -> None:
    before = replace(judged(), kind="rehearsal", answer=Answer.UNDECIDED)
    assert apply_waivers(before, (waiver(before),)) is before


POLICIES = [
    {"small_slices": small, "limits": [
        {"measure": "accuracy", "at_least": 0.8},
        {"measure": "accuracy", "slice": "each group", "relative_to": "parent", "at_least": -0.04},
        {"measure": "accuracy", "slice": {"each": ["domain", "part"]}, "at_least": 0.2},
        {"measure": "statistical_parity_difference", "at_most": 0.4},
        {"measure": "accuracy", "slice": {"domain": "nowhere"}, "at_least": 0.1,
         "unknown": "disclose"},
        {"measure": "latency_p95_ms", "at_most": 20, "unknown": "disclose"},
        {"measure": "auc", "at_least": 0.99, "tier": "advisory"},
    ]}
    for small in ("default", "report", "undecided")
]  # fmt: skip


@pytest.mark.parametrize(
    ("policy", "lost"),
    [(POLICIES[0], 90), (POLICIES[1], 4), (POLICIES[2], 4)],
    ids=["default", "report", "undecided"],
)
def test_deciding_again_without_waivers_changes_nothing(policy: Any, lost: int) -> None:
    """The small parts are below the least rows; each group and part is crossed."""
    base = parent(800).with_columns(
        part=pl.when(pl.int_range(pl.len()) < 40).then(pl.lit("small")).otherwise(pl.lit("large"))
    )
    found = sw.judge(
        base, candidate_of(base, lost), policy, label="y", prediction="p", id="i", positive="1",
        score="s", groups=["domain", "part"], intersections=2,
    )  # fmt: skip
    one, verdict = found.candidates[0], found.verdicts[0]
    again = decide_again(one.id, found.decisions, small_slices=found.small_slices)
    assert again.p_candidate == verdict.p_candidate
    assert again.any_fail == (verdict.answer is Answer.HOLD)
    assert again.all_pass == (verdict.answer is Answer.SHIP)
    if verdict.answer is Answer.UNDECIDED:
        assert again.reasons == verdict.reasons
    # Put out and in again, it is the judgement that it was.
    limit = str(found.limits[1])
    there = apply_waivers(found, (waiver(found, limit, one.name),))
    assert any(d.reason == WAIVED for d in there.decisions)
    back = apply_waivers(there, ())
    assert (back.decisions, back.verdicts, back.waivers) == (found.decisions, found.verdicts, ())


def candidate_of(base: pl.DataFrame, lost: int) -> pl.DataFrame:
    made = candidate(base, lost=lost)
    return made.with_columns(part=base["part"])


LEVELS = {"pass": 1e-6, "fail": 1 - 1e-6, "cannot_tell": 0.4}


@settings(max_examples=40)
@given(st.data())
def test_no_waiver_lets_another_failing_limit_through(data: st.DataObject) -> None:
    """Outcomes drawn at random, and waivers, of one judgement of three candidates."""
    real = judged(int8=60, int4=90, bf16=3)
    outcomes = data.draw(
        st.lists(
            st.sampled_from(list(LEVELS)),
            min_size=len(real.decisions), max_size=len(real.decisions),
        )
    )  # fmt: skip
    drawn = replace(
        real,
        decisions=tuple(
            replace(d, decision=Outcome(o), p_pass=LEVELS[o],
                    reason="across_bound" if o == "cannot_tell" else "")
            for d, o in zip(real.decisions, outcomes, strict=True)
        ),
    )  # fmt: skip
    names = [c.name for c in real.candidates]
    # Put out and in again: the verdicts are then those of the outcomes drawn.
    drawn = apply_waivers(apply_waivers(drawn, [waiver(drawn, name=n) for n in names]), ())
    pairs = st.tuples(st.sampled_from(names), st.sampled_from(sorted(map(str, real.limits))))
    waived, other = data.draw(st.sets(pairs)), data.draw(st.sets(pairs))
    after = apply_waivers(drawn, [waiver(drawn, limit, name) for name, limit in waived])
    for one, verdict in zip(after.candidates, after.verdicts, strict=True):
        left = [
            d
            for d in after.decisions_of(one.id)
            if after.limits[d.limit].tier != "advisory"
            and ((one.name, str(after.limits[d.limit])) not in waived or d.tier == "critical")
        ]
        if any(d.decision is Outcome.FAIL for d in left):
            assert verdict.answer is Answer.HOLD
        elif all(d.decision is Outcome.PASS for d in left) and left:
            assert verdict.answer is Answer.SHIP
        else:
            assert verdict.answer is Answer.UNDECIDED
        assert all(d.reason != WAIVED for d in left)
    again = [waiver(drawn, limit, name) for name, limit in other]
    one, two = apply_waivers(after, again), apply_waivers(drawn, again)
    assert (one.verdicts, one.answer, one.best) == (two.verdicts, two.answer, two.best)
    assert one.decisions == two.decisions


# -- which count -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Roster]:
    folder = tmp_path_factory.mktemp("people")
    made = approving.keys(folder / "keys")
    return made, load_roster(approving.team(folder / "team.yaml", made))


def line(made: dict[str, Any], judgement: Judgement, signer: str = "ada", **more: Any) -> Line:
    """A line as the second of a ledger, dated now, signed by somebody."""
    one = next(c for c in judgement.candidates if c.name == "int8")
    values: dict[str, Any] = {
        "run": judgement.run, "candidate": one.id, "artefact_digest": one.artefact_digest,
        "limit": GROUPS, "person": signer, "role": "fairness", "reason": approving.REASON,
        "expires": (NOW + timedelta(days=30)).isoformat(), "head_number": 1, "head_hash": "0" * 64,
    }  # fmt: skip
    payload = sign_payload("waiver", {**values, **more}, made[signer])
    bare = Line(2, "waiver", NOW.isoformat(), payload, "0" * 64, "")
    return replace(bare, hash=line_hash(bare))


def test_a_waiver_of_the_owner_counts(people: Any) -> None:
    made, roster = people
    found = active_waivers((line(made, judged()),), judged(), now=NOW, roster=roster)
    assert [(w.person, w.role, w.limit) for w in found] == [("ada", "fairness", GROUPS)]
    assert apply_waivers(judged(), found).answer is Answer.SHIP


def digest_of_another() -> dict[str, str]:
    return {"artefact_digest": "ab" * 32}


@pytest.mark.parametrize(
    ("more", "key"),
    [
        ({"expires": NOW.isoformat()}, "approval.idle.expired"),
        ({"expires": "2027-02-30T00:00:00+00:00"}, "approval.idle.too_long"),
        ({"expires": "2027-02-03T00:00:00"}, "approval.idle.too_long"),
        ({"expires": (NOW + timedelta(days=367)).isoformat()}, "approval.idle.too_long"),
        ({"limit": CRITICAL, "signer": "cy", "role": "ml-lead"}, "approval.idle.critical"),
        ({"limit": "accuracy ≥ 0.7"}, "approval.idle.no_limit"),
        ({"role": "ml-lead", "signer": "cy"}, "approval.idle.owner"),
        ({"role": "ml-lead"}, "approval.distrust.role"),
        ({"person": "dora"}, "approval.distrust.other"),
        ({"signer": "eve"}, "approval.distrust.foreign"),
        ({"head_hash": "1" * 64}, "approval.distrust.moved"),
        ({"head_number": 0}, "approval.distrust.moved"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_one_that_does_not_fit_is_said_and_does_not_count(
    more: dict[str, Any], key: str, people: Any
) -> None:
    made, roster = people
    judgement = judged()
    if more.get("limit") == CRITICAL:
        # Of a limit that is passed nothing is said.
        failed = tuple(
            replace(d, decision=Outcome.FAIL) if d.limit == 0 else d for d in judgement.decisions
        )
        judgement = replace(judgement, decisions=failed)
    active, idle = weigh_waivers((line(made, judgement, **more),), judgement, now=NOW,
                                 roster=roster)  # fmt: skip
    assert active == ()
    assert [p.key for p in idle] == [key]
    for lang in ("en", "zh"):
        set_language(lang)
        said = phrase(idle[0])
        assert "int8" in said or more.get("person", more.get("signer", "ada")) in said
        assert ("。" in said) == (lang == "zh")


def test_an_edited_waiver_does_not_count(people: Any) -> None:
    made, roster = people
    good = line(made, judged())
    longer = {**good.payload, "expires": (NOW + timedelta(days=90)).isoformat()}
    active, idle = weigh_waivers((replace(good, payload=longer),), judged(), now=NOW,
                                 roster=roster)  # fmt: skip
    assert (active, [p.key for p in idle]) == ((), ["approval.distrust.signature"])
    missing = {k: v for k, v in good.payload.items() if k != "signature"}
    active, idle = weigh_waivers((replace(good, payload=missing),), judged(), now=NOW,
                                 roster=roster)  # fmt: skip
    assert (active, [p.key for p in idle]) == ((), ["approval.distrust.signature"])


def test_one_for_other_bytes_of_the_same_name_is_said(people: Any) -> None:
    made, roster = people
    before, now = judged(), judged(int8=61)
    content = approving.artefact(before, before.candidates[0].id)
    known = Line(1, "artefact", NOW.isoformat(), content, "0" * 64, "1" * 64)
    lines = (known, line(made, before))
    assert len(active_waivers(lines, before, now=NOW, roster=roster)) == 1
    active, idle = weigh_waivers(lines, now, now=NOW, roster=roster)
    assert (active, [p.key for p in idle]) == ((), ["approval.idle.artefact"])
    # Without the ledger's word for its name it is a waiver of something else.
    assert weigh_waivers(lines[1:], now, now=NOW, roster=roster) == ((), ())


def test_without_a_team_file_no_waiver_counts(people: Any) -> None:
    made, _ = people
    active, idle = weigh_waivers((line(made, judged()),), judged(), now=NOW, roster=None)
    assert (active, [p.key for p in idle]) == ((), ["approval.idle.no_team"])


def test_a_new_waiver_replaces_the_one_that_ended(people: Any) -> None:
    made, roster = people
    old = line(made, judged(), expires=NOW.isoformat())
    new = line(made, judged(), signer="dora")
    active, idle = weigh_waivers((old, new), judged(), now=NOW, roster=roster)
    assert ([w.person for w in active], idle) == (["dora"], ())


def test_a_later_waiver_that_ends_sooner_ends_the_longer_one(people: Any) -> None:
    made, roster = people
    long = line(made, judged(), signer="dora")
    short = line(made, judged(), expires=(NOW + timedelta(days=2)).isoformat())
    for days, counting in ((1, ["ada"]), (3, [])):
        now = NOW + timedelta(days=days)
        active, idle = weigh_waivers((long, short), judged(), now=now, roster=roster)
        assert [w.person for w in active] == counting
        assert [p.key for p in idle] == ["approval.idle.expired"] * (not counting)
    # What somebody signed who may not waive takes nothing away.
    other = line(made, judged(), signer="cy", role="ml-lead", expires=NOW.isoformat())
    active, _ = weigh_waivers((long, other), judged(), now=NOW, roster=roster)
    assert [w.person for w in active] == ["dora"]


def later(judgement: Judgement, days: int) -> Judgement:
    left, _ = unexpired(judgement, now=NOW + timedelta(days=days))
    return with_those_left(judgement, left)


def test_a_waiver_ends_while_the_record_stays() -> None:
    before = judged()
    after = apply_waivers(before, (waiver(before),))
    assert later(after, 29) == after
    ended = later(after, 31)
    assert (ended.answer, ended.best, ended.waivers) == (Answer.HOLD, None, ())
    assert ended.decisions == before.decisions
    left, said = unexpired(after, now=NOW + timedelta(days=31))
    assert (left, [p.key for p in said]) == ((), ["approval.idle.expired"])
    assert "2026-12-26" in phrase(said[0])


def test_what_the_self_test_keeps_back_does_not_ship_when_a_waiver_ends() -> None:
    both = judged(int8=60, bf16=3)
    after = apply_waivers(both, (waiver(both),))
    held = tuple(replace(v, answer=Answer.UNDECIDED, reasons=("selftest",)) for v in after.verdicts)
    ended = later(replace(after, verdicts=held, answer=Answer.UNDECIDED, best=None), 31)
    assert [v.answer for v in ended.verdicts] == [Answer.HOLD, Answer.UNDECIDED]
    assert ended.verdicts[1].reasons == ("selftest",)
    assert (ended.answer, ended.best) == (Answer.UNDECIDED, None)


# -- how it is shown -------------------------------------------------------------------------------


def test_waivers_survive_the_record(tmp_path: Path) -> None:
    after = apply_waivers(judged(), (waiver(judged()),))
    write_record(after, tmp_path / "run")
    back = read_record(tmp_path / "run")
    assert back.waivers == after.waivers
    assert [(d.reason, d.reason_before, d.decision) for d in back.decisions] == [
        (d.reason, d.reason_before, d.decision) for d in after.decisions
    ]
    assert apply_waivers(back, ()).verdicts[0].answer is Answer.HOLD


@pytest.mark.parametrize(
    ("lang", "words"),
    [
        ("en", ["Inside 3 of 4 limits; 1 is waived.", "Waived", "until 2026-12-26", "ada"]),
        ("zh", ["4 项限值中 3 项通过，1 项已豁免。", "已豁免", "至 2026-12-26", "ada"]),
    ],
)
def test_page_and_terminal_say_on_top_who_waived_what_and_until_when(
    lang: str, words: list[str]
) -> None:
    set_language(lang)
    after = apply_waivers(judged(), (waiver(judged()),))
    page = Page(render_report(after))
    assert page.errors == []
    told = render(after, color=False, unicode=True)
    for said in (page.text, " ".join(told.split())):
        top = said.split("ml-lead")[0]
        assert approving.REASON in top
        for word in words:
            assert word in top
    assert all(len(row) <= 100 for row in told.splitlines())
    plain = render(after, color=False, unicode=False)
    assert lang == "zh" or plain.isascii()


def test_the_document_holds_waivers_and_what_they_take_out() -> None:
    after = apply_waivers(judged(), (waiver(judged()),))
    found = json.loads(
        json.dumps(to_json(after, report=None, folder=None, exit_code=0), allow_nan=False)
    )
    assert [(w["candidate_name"], w["limit"]) for w in found["waivers"]] == [("int8", GROUPS)]
    out = [d for d in found["limits"] if d["reason"] == WAIVED]
    assert {d["decision"] for d in out} == {"fail", "pass"}
    assert all(not math.isnan(d["value"]) for d in out)
    assert (found["approval"], found["selftest"]) == (None, None)
    assert to_json(pictured(), report=None, folder=None, exit_code=0)["waivers"] == []


def test_a_hostile_reason_stays_text() -> None:
    said = "<script>alert(1)</script> & \x1b[31m because of it"
    after = apply_waivers(judged(), (waiver(judged(), reason=said),))
    page = Page(render_report(after))
    assert page.all("script") == []
    assert "\x1b" not in render(after, color=False, unicode=True)


def test_a_ledger_with_waivers_is_read_as_written(tmp_path: Path, people: Any) -> None:
    made, roster = people
    ledger = Ledger(tmp_path / "ledger.jsonl")
    first = ledger.append("artefact", approving.artefact(judged(), judged().parent.id))
    payload = {
        **line(made, judged()).payload, "head_number": 1, "head_hash": first.hash,
        "expires": (datetime.now(UTC) + timedelta(days=3)).isoformat(),
    }  # fmt: skip
    ledger.append("waiver", sign_payload("waiver", payload, made["ada"]))
    found = active_waivers(ledger.lines(), judged(), now=datetime.now(UTC), roster=roster)
    assert [w.line for w in found] == [ledger.lines()[1].hash]
