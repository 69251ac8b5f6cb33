"""The ruler on frames and files, and the looks at one test set that a ledger counts."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from answers import candidate, parent

import shipworthy as sw
from shipworthy.core.errors import DataError, InputError, SettingsError
from shipworthy.core.ledger import Ledger
from shipworthy.core.records import Answer, Outcome
from shipworthy.release.judgement import Judgement

BASE = parent(1000)
LEVEL = {"measure": "accuracy", "at_least": 0.8, "owner": "ml"}
CHANGE = {"measure": "accuracy", "relative_to": "parent", "at_least": -0.02}
COLUMNS = {"label": "y", "prediction": "p", "id": "i"}


def judged(
    *others: pl.DataFrame,
    base: pl.DataFrame = BASE,
    policy: Sequence[Any] = (CHANGE,),
    **more: Any,
) -> Judgement:
    return sw.judge(base, list(others), policy=list(policy), **{**COLUMNS, **more})


def keys(judgement: Judgement) -> list[str]:
    return [note.key for note in judgement.notes]


# Frames in, a judgement out


def test_frames_give_a_verdict_decisions_and_a_table() -> None:
    found = judged(candidate(BASE, lost=1), policy=[LEVEL, CHANGE])
    assert found.verdict is Answer.SHIP
    assert [d.decision for d in found.decisions] == [Outcome.PASS, Outcome.PASS]
    assert found.best == found.candidates[0].id == found.nominated[0]
    table = found.table
    assert table["measure"].to_list() == ["accuracy", "accuracy"]
    assert table["value"].to_list() == [0.899, -0.001]
    assert table["decision"].to_list() == ["pass", "pass"]
    assert set(table["run"]) == {found.run}
    assert (found.parent.name, found.candidates[0].name) == ("parent", "candidate 1")
    rows = found.measurements.filter(pl.col("measure") == "accuracy", slice="{}")
    assert rows.filter(pl.col("candidate") == found.parent.id)["value"].to_list() == [0.9]


def test_one_frame_needs_no_list() -> None:
    one = candidate(BASE, lost=1)
    alone = sw.judge(BASE, one, policy=[CHANGE], **COLUMNS)
    assert alone.decisions == judged(one).decisions


def test_the_same_question_has_the_same_run_and_another_has_not() -> None:
    one = candidate(BASE, lost=1)
    first = judged(one)
    assert judged(one).run == first.run
    assert judged(one, unit="author").run != first.run
    assert judged(candidate(BASE, lost=2)).run != first.run


def test_an_identical_file_passes_every_change_and_only_these(tmp_path: Path) -> None:
    small = parent(60)
    small.write_csv(tmp_path / "base.csv")
    small.write_parquet(tmp_path / "same.parquet")
    found = sw.judge(
        tmp_path / "base.csv", [tmp_path / "same.parquet"], policy=[CHANGE, LEVEL], **COLUMNS
    )
    change, level = found.decisions
    assert (change.decision, change.method) == (Outcome.PASS, "identical")
    assert (change.value, change.low, change.high) == (0, 0, 0)
    # Too few rows to know its level all the same.
    assert level.decision is Outcome.CANNOT_TELL
    assert found.verdict is Answer.UNDECIDED


def test_names_are_short_and_never_twice_the_same(tmp_path: Path) -> None:
    places = ["base.csv", "a/new.csv", "b/new.csv", "base.csv"]
    for place in places[:3]:
        (tmp_path / place).parent.mkdir(exist_ok=True)
        candidate(BASE, lost=len(place)).write_csv(tmp_path / place)
    found = sw.judge(
        tmp_path / places[0], [tmp_path / p for p in places[1:]], policy=[CHANGE], **COLUMNS
    )
    names = [found.parent.name, *(c.name for c in found.candidates)]
    assert names == ["base", *(str(tmp_path / p) for p in places[1:3]), "base (3)"]
    assert len({c.id for c in found.candidates}) == 3


def test_no_candidate_and_bad_frames_are_errors_that_name_them() -> None:
    with pytest.raises(InputError, match="no candidate"):
        judged()
    with pytest.raises(DataError, match="^candidate 1, row 3, column 'y': the label is missing"):
        broken = BASE.with_columns(y=pl.when(pl.int_range(pl.len()) != 2).then("y"))
        judged(broken)
    with pytest.raises(SettingsError, match="there is no group column; declare group columns"):
        judged(BASE, policy=[{**LEVEL, "slice": "each group"}])


def test_the_package_alone_loads_nothing_heavy() -> None:
    script = (
        "import sys, shipworthy as sw\n"
        "heavy = ('numpy', 'polars', 'torch', 'pydantic', 'scipy', 'shipworthy.')\n"
        "print([m for m in sys.modules if m.startswith(heavy)], sw.__all__)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert ended.stdout.startswith(
        "[] ['Audit', 'Judgement', '__version__', 'audit', 'judge', 'load_run']"
    )


# Several candidates


# Of 1,000 rows at a margin of 2 points: p_pass lies between a half and the whole of 0.025.
BARELY = {"lost": 11}


def test_holm_counts_every_nominated_candidate() -> None:
    one, two = (candidate(BASE, **BARELY, seed=seed) for seed in (1, 2))
    alone = judged(one)
    p = alone.verdicts[0].p_candidate
    assert 0.0125 < p <= 0.025
    assert alone.verdict is Answer.SHIP
    both = judged(one, two)
    assert both.verdict is Answer.UNDECIDED
    assert [v.p_candidate_adjusted for v in both.verdicts] == pytest.approx([2 * p] * 2)
    assert {v.reasons for v in both.verdicts} == {("correction",)}
    assert [s.phrase.key for s in both.next_steps] == ["next.fewer"] * 2
    assert both.next_steps[0].phrase.arguments == {"candidate": "candidate 1", "count": 2}
    assert [d.decision for d in both.decisions] == [Outcome.PASS] * 2


def test_a_rerun_with_fewer_candidates_does_not_shrink_the_family(tmp_path: Path) -> None:
    one, two = (candidate(BASE, **BARELY, seed=seed) for seed in (1, 2))
    looks = tmp_path / "looks.jsonl"
    judged(one, two, ledger=looks)
    again = judged(one, ledger=looks)
    assert again.opening == 1
    assert again.verdict is Answer.UNDECIDED
    assert again.verdicts[0].reasons == ("correction",)


def test_more_than_three_candidates_are_warned_of() -> None:
    several = [candidate(BASE, lost=k) for k in range(1, 5)]
    assert "judge.note.many" not in keys(judged(*several[:3]))
    found = judged(*several)
    (note,) = [n for n in found.notes if n.key == "judge.note.many"]
    assert note.arguments == {"count": 4}


# Looks at one test set


def test_without_a_ledger_the_page_says_so(tmp_path: Path) -> None:
    one = candidate(BASE, lost=1)
    assert "judge.note.no_ledger" in keys(judged(one))
    assert "judge.note.no_ledger" not in keys(judged(one, ledger=tmp_path / "looks.jsonl"))
    assert "judge.note.independent" in keys(judged(one))
    assert "judge.note.independent" not in keys(judged(one, unit="author"))


def test_each_new_candidate_is_a_look_at_half_the_level_until_the_set_is_worn_out(
    tmp_path: Path,
) -> None:
    looks = Ledger(tmp_path / "looks.jsonl")
    found = [judged(candidate(BASE, lost=k), ledger=looks) for k in range(1, 7)]
    assert [f.opening for f in found] == [1, 2, 3, 4, 5, 6]
    for j, one in enumerate(found):
        assert one.alpha == pytest.approx(0.025 / 2**j)
        assert [d.alpha for d in one.decisions] == pytest.approx([one.alpha])
    assert "judge.note.opening" not in keys(found[0])
    (note,) = [n for n in found[2].notes if n.key == "judge.note.opening"]
    assert note.arguments == {"number": 3, "divisor": 4}
    late = [n.arguments for n in found[1].notes if n.key == "judge.note.after_sight"]
    assert late == [{"names": "candidate 1"}]
    assert "judge.note.after_sight" not in keys(found[0])

    worn = found[5]
    assert worn.verdict is Answer.UNDECIDED
    assert [(d.decision, d.reason) for d in worn.decisions] == [(Outcome.CANNOT_TELL, "worn_out")]
    assert "judge.note.worn_out" in keys(worn)
    assert [s.phrase.key for s in worn.next_steps] == ["next.new_test_rows"]
    assert [line.kind for line in looks.lines()].count("opening") == 6


def test_the_same_question_again_is_no_look(tmp_path: Path) -> None:
    looks = tmp_path / "looks.jsonl"
    one, two = candidate(BASE, lost=1), candidate(BASE, lost=2)
    first = judged(one, two, ledger=looks)
    written = looks.read_bytes()
    same = [
        judged(one, two, ledger=looks),
        judged(two, ledger=looks, groups=["domain"]),
        # An owner decides nothing, nor do groups and scores that no limit asks for.
        judged(two, ledger=looks, policy=[{**CHANGE, "owner": "another"}]),
        judged(two, ledger=looks, score="s"),
    ]
    assert {f.opening for f in same} == {1}
    assert same[0].decisions == first.decisions
    # What is new is how the policy stands its self-test, now that there are groups to be biased to.
    assert looks.read_bytes().startswith(written)
    kinds = {line.kind for line in Ledger(looks).lines()[written.count(b"\n") :]}
    assert kinds == {"selftest"}


def test_another_question_about_the_same_rows_is_a_look(tmp_path: Path) -> None:
    looks = tmp_path / "looks.jsonl"
    base = BASE.with_columns(half=pl.int_range(pl.len()) % 2)
    one = candidate(BASE, lost=1)
    every = {**CHANGE, "slice": "each group", "at_least": -0.5}
    openings = [
        judged(one, base=base, ledger=looks, policy=policy, groups=groups, unit=unit).opening
        for policy, groups, unit in (
            ([CHANGE], [], None),
            ([{**CHANGE, "at_least": -0.03}], [], None),
            ([CHANGE], [], "author"),
            ([every], ["half"], None),
            ([every], ["half", "domain"], None),
        )
    ]
    assert openings == [1, 2, 3, 4, 5]


def test_another_parent_is_a_look_where_a_limit_compares_with_it(tmp_path: Path) -> None:
    one, weaker = candidate(BASE, lost=1), candidate(BASE, lost=40)
    for policy, expected in (([CHANGE], [1, 2, 1, 1]), ([LEVEL], [1, 1, 1, 1])):
        looks = tmp_path / f"looks {len(expected)} {policy[0]['at_least']}.jsonl"
        openings = [
            judged(one, base=base, ledger=looks, policy=policy).opening
            # The same answers in another order, beside another column, are the same parent.
            for base in (BASE, weaker, BASE.reverse(), BASE.with_columns(note=pl.lit("x")))
        ]
        assert openings == expected


def test_a_set_with_mostly_new_rows_starts_again(tmp_path: Path) -> None:
    looks = tmp_path / "looks.jsonl"
    everything = parent(3000)
    openings = []
    for start in (0, 300, 700, 1400):
        base = everything.slice(start, 1000)
        openings.append(judged(candidate(base, lost=1), base=base, ledger=looks).opening)
    # New to all before: 100 %, 30 %, 40 %, 70 %.
    assert openings == [1, 2, 3, 1]


def test_nothing_is_written_to_the_ledger_where_the_input_is_bad(tmp_path: Path) -> None:
    looks = tmp_path / "looks.jsonl"
    with pytest.raises(DataError):
        judged(BASE.head(900), ledger=looks)
    assert not looks.exists()
