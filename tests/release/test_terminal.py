"""The terminal: within its width, the same findings without colour and without UTF-8."""

import re
from dataclasses import replace

import pytest
import sample
from rich.cells import cell_len

from shipworthy.core.locale import set_language
from shipworthy.release.cells import clean, pad, width, wrap
from shipworthy.release.terminal import render

CASES = {
    "ship": sample.shipping,
    "hold": sample.holding,
    "undecided": sample.undecided,
    "12 groups": lambda: sample.many_groups(12, failing=1),
    "no groups": sample.without_groups,
    "many rows": lambda: sample.without_groups(1_000_000),
    "hostile": sample.hostile,
    "advisory": sample.advisory_and_waived,
}


def shown(judgement, **more):
    return render(judgement, **{"color": False, "unicode": True, **more})


@pytest.mark.parametrize("lang", ["en", "zh"])
@pytest.mark.parametrize("unicode", [True, False])
@pytest.mark.parametrize("case", CASES)
def test_lines_stay_within_100_cells(case, unicode, lang):
    set_language(lang)
    said = shown(CASES[case](), unicode=unicode, report="runs/a91f4c2e/report.html")
    assert max(cell_len(line) for line in said.splitlines()) <= 100
    assert said.endswith("\n") and "\x1b" not in said
    assert not any(line != line.rstrip() for line in said.splitlines())


def test_ship_is_the_picture():
    said = shown(sample.shipping(), report="runs/a91f4c2e/report.html")
    assert said.startswith("  ● SHIP  bf16 weights\n")
    lines = said.splitlines()
    limit = next(line for line in lines if "Accuracy, %" in line)
    assert limit.split() == [
        "●", "pass", "Accuracy,", "%", "≥", "80", "87.16", "[86.07,", "88.17]", "6.1", "3,932",
        "ml-lead",
    ]  # fmt: skip
    pruned = next(line for line in lines if "pruned 30 %" in line and "cannot" in line)
    assert pruned.split()[:8] == ["◇", "cannot", "tell", "pruned", "30", "%", "—", "—"]
    assert "Report        runs/a91f4c2e/report.html" in said
    assert "Exit          0 ship" in said


def test_marks_stand_where_the_numbers_are():
    said = shown(sample.shipping())
    at = {}
    for line in said.splitlines():
        for name, mark in (("bf16 weights", "●"), ("int8 dynamic", "◇"), ("pruned 50 %", "■")):
            if name in line and "━" in line:
                at[name] = line.rindex(mark)
    assert at["pruned 50 %"] < at["int8 dynamic"] < at["bf16 weights"]
    bf16 = next(line for line in said.splitlines() if "bf16 weights" in line and "━" in line)
    assert bf16.index("┃") < bf16.index("━")  # wholly inside
    failed = next(line for line in said.splitlines() if "pruned 50 %" in line and "━" in line)
    assert failed.rindex("━") < failed.index("┃") < failed.index("╎")  # wholly outside
    columns = {line.index("┃") for line in (bf16, failed)}
    assert len(columns) == 1  # one limit line down the page


def test_colour_is_an_addition_only():
    plain = shown(sample.shipping())
    coloured = shown(sample.shipping(), color=True)
    assert "\x1b[1;32m" in coloured and "\x1b[35m" in coloured
    assert re.sub(r"\x1b\[[\d;]*m", "", coloured) == plain


@pytest.mark.parametrize("case", [c for c in CASES if c != "hostile"])
def test_without_utf8_everything_is_ascii(case):
    said = shown(CASES[case](), unicode=False)
    said.encode("ascii")


def test_ascii_spells_the_marks():
    said = shown(sample.shipping(), unicode=False)
    for sign in ("(+) pass", "[x] fail", "<?> cannot tell", "(o) parent", ">= 80", "<= 20"):
        assert sign in said


def test_hold_and_undecided_take_the_same_place():
    hold = shown(sample.holding()).splitlines()
    assert hold[0] == "  ■ HOLD  3 layers, retrained"
    assert "Amazon lost at least 1.7 points; 1.0 is allowed." in hold[2]
    undecided = shown(sample.undecided()).splitlines()
    assert undecided[0] == "  ◇ UNDECIDED  int8 dynamic"
    assert undecided[2].strip().startswith("Inside 3 of 4 limits")
    assert any(line.startswith("  Exit") and "4 undecided" in line for line in undecided)


def test_what_was_not_measured_has_no_column():
    said = shown(sample.without_groups())
    assert " MB" not in said and "p95" not in said and "owner" not in said


def test_control_characters_of_names_are_taken_out():
    evil = sample.candidate("bad\x1b[2Jname\nline\x07")
    judgement = sample.without_groups()
    decisions = tuple(replace(d, candidate=evil.id) for d in judgement.decisions)
    renamed = sample.judgement([evil], decisions, [], judgement.limits)
    said = shown(renamed)
    assert "\x1b" not in said and "\x07" not in said
    assert "bad\ufffd[2Jname line\ufffd" in said


def test_narrow_terminals_wrap():
    said = shown(sample.without_groups(), width=80)
    assert max(cell_len(line) for line in said.splitlines()) <= 80


def test_cells():
    assert width("中文a") == 5
    assert pad("中", 4) == "中  " and pad("1", 3, "right") == "  1"
    assert wrap("一二三四五", 4) == ["一二", "三四", "五"]
    assert wrap("a bb ccc", 4) == ["a bb", "ccc"]
    assert wrap("", 4) == [""]
    assert clean("a\tb") == "a b"
