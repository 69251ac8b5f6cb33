"""Rows whose answer changed: which are drawn, and what may be seen of them."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from answers import candidate, parent
from hypothesis import given, settings
from hypothesis import strategies as st

import shipworthy as sw
from shipworthy.core.errors import InputError
from shipworthy.core.ledger import Ledger
from shipworthy.release.examples import TURNED_RIGHT, TURNED_WRONG
from shipworthy.release.judgement import Example, Judgement
from shipworthy.release.mask import LONGEST, excerpt, mask
from shipworthy.release.record import read_record, write_record
from shipworthy.release.report import render_report

POLICY = [{"measure": "accuracy", "relative_to": "parent", "at_least": -0.02}]
COLUMNS = {"label": "y", "prediction": "p", "id": "i", "groups": ["domain"]}
SECRET = "write to ann.lee@example.org or １３８００１３８０００"

ROWS = 400
BASE = parent(ROWS).with_columns(
    pl.Series("text", [f"<b>row {k}</b> {SECRET}" for k in range(ROWS)])
)


@cache
def judged(**more: object) -> Judgement:
    return judged_on(BASE, **more)


def judged_on(base: pl.DataFrame, **more: object) -> Judgement:
    one, two = candidate(base, lost=40, gained=9), candidate(base, lost=2, seed=5)
    return sw.judge(base, [one, two], POLICY, **{**COLUMNS, "text": "text", **more})  # type: ignore[arg-type]


def turned(found: Judgement, place: int, *, right: bool) -> list[Example]:
    own = [e for e in found.examples if e.candidate == found.candidates[place].id]
    return [e for e in own if (e.after == e.label) == right]


# What is drawn


def test_a_few_of_each_candidate_are_drawn_and_each_did_turn() -> None:
    found = judged()
    assert len(turned(found, 0, right=False)) == TURNED_WRONG
    assert len(turned(found, 0, right=True)) == TURNED_RIGHT
    assert len(turned(found, 1, right=False)) == 2
    answers = {row["i"]: row for row in BASE.iter_rows(named=True)}
    flipped = candidate(BASE, lost=40, gained=9)
    for one in turned(found, 0, right=False) + turned(found, 0, right=True):
        row = answers[one.row]
        after = flipped.filter(pl.col("i") == one.row)["p"].item()
        assert (one.label, one.before, one.after) == (str(row["y"]), str(row["p"]), str(after))
        assert one.before != one.after
        assert (one.before == one.label) != (one.after == one.label)
        assert one.groups == {"domain": row["domain"]}


def test_they_are_spread_over_groups() -> None:
    groups = {e.groups["domain"] for e in turned(judged(), 0, right=False)}
    assert groups == {"movie", "news", "shop", "tweets"}


def test_one_large_group_does_not_take_all_places() -> None:
    many = candidate(BASE, lost=30, within="news")
    both = candidate(many.with_columns(y=BASE["y"]), lost=1, within="shop")
    found = sw.judge(BASE, [both], POLICY, **COLUMNS, text="text")  # type: ignore[arg-type]
    assert [e.groups["domain"] for e in found.examples].count("shop") == 1
    assert len(found.examples) == TURNED_WRONG


def test_the_same_answers_give_the_same_rows_and_scores_do_not_matter() -> None:
    first = judged()
    assert judged_on(BASE).examples == first.examples
    scored = judged_on(BASE.with_columns(s=1 - pl.col("s")))
    assert [e.row for e in scored.examples] == [e.row for e in first.examples]


def test_nobody_is_shown_unless_texts_are_given() -> None:
    assert judged(text=None).examples == ()
    assert judged(examples="none").examples == ()


@pytest.mark.parametrize(
    ("more", "told"),
    [({"examples": "masked"}, "no such form"), ({"text": None, "examples": "raw"}, "--text")],
)
def test_a_form_that_is_none_is_refused(more: dict[str, object], told: str) -> None:
    with pytest.raises(InputError, match=told):
        judged(**more)


def test_texts_change_neither_artefacts_nor_the_count_of_looks(tmp_path: Path) -> None:
    book = Ledger(tmp_path / "ledger.jsonl")
    before = judged(text=None, ledger=book)
    after = judged(ledger=book)
    assert after.opening == before.opening == 1
    assert after.run == before.run
    assert [c.id for c in after.candidates] == [c.id for c in before.candidates]


# What may be seen of them


def test_texts_are_masked_unless_raw_is_asked_for() -> None:
    for one in judged().examples:
        assert one.masked
        assert one.text.startswith("<b>row ")
        assert one.text.endswith("write to [email] or [number]")
    raw = judged(examples="raw").examples
    assert all("ann.lee@example.org" in e.text and not e.masked for e in raw)


def test_nothing_unmasked_is_kept_in_the_record(tmp_path: Path) -> None:
    write_record(judged(), tmp_path)
    for file in ("verdict.json", "report.html"):
        content = (tmp_path / file).read_text("utf-8")
        assert "[email]" in content
        assert "example.org" not in content
        assert "１３８" not in content and "13800" not in content
    assert read_record(tmp_path).examples == judged().examples


def test_an_id_that_is_an_identifier_is_not_shown() -> None:
    frames = [BASE, candidate(BASE, lost=6)]
    base, other = (f.with_columns(i=pl.format("u{}@example.org", "i")) for f in frames)
    found = sw.judge(base, [other], POLICY, **COLUMNS, text="text")  # type: ignore[arg-type]
    names = [e.row for e in found.examples]
    assert len(names) == TURNED_WRONG
    assert all(re.fullmatch(r"[0-9a-f]{16}", name) for name in names)


def test_the_report_shows_sign_word_and_escaped_text() -> None:
    page = render_report(judged())
    section = page.split('id="examples"')[1].split("</section>")[0]
    assert "&lt;b&gt;row" in section and "<b>row" not in section
    assert section.count('class="v fail"') == TURNED_WRONG + 2
    assert section.count('class="v pass"') == TURNED_RIGHT
    assert section.count("<svg") == TURNED_WRONG + 2 + TURNED_RIGHT
    assert "names of people are not" in section
    assert "nothing masked" in render_report(judged(examples="raw"))
    assert 'id="examples"' not in render_report(judged(text=None))
    assert "预测改变的样例" in render_report(judged(), language="zh")


def test_a_group_of_true_and_false_is_told_with_its_column() -> None:
    flagged = (pl.int_range(pl.len()) % 3 == 0).alias("flag")
    base = BASE.with_columns(flagged)
    other = candidate(BASE, lost=9, gained=3).with_columns(flagged, text=BASE["text"])
    columns = {**COLUMNS, "groups": ["flag"]}
    found = sw.judge(base, [other], POLICY[:1], **columns, text="text")  # type: ignore[arg-type]
    page = render_report(found)
    shown = {one.groups["flag"] for one in found.examples}
    assert shown
    for value in shown:
        assert f"flag: {value}" in page


def test_a_text_of_ten_megabytes_does_not_swell_the_report() -> None:
    base = parent(60)
    one = candidate(base, lost=3)
    changed = base["p"] != one["p"]
    long = pl.lit("a@b.org 12345 好" * 600_000)
    first = pl.when(changed & (changed.cum_sum() == 1))
    huge = base.with_columns(text=first.then(long).otherwise(pl.lit("short")))
    found = sw.judge(huge, [one], POLICY, **COLUMNS, text="text")  # type: ignore[arg-type]
    assert len(found.examples) == 3
    assert sorted(len(e.text) for e in found.examples) == [5, 5, LONGEST]
    assert len(render_report(found)) < 200_000


@pytest.mark.slow
def test_a_million_rows_and_25_groups_give_a_report_below_a_megabyte_and_a_half() -> None:
    n = 1_000_000
    draw = np.random.default_rng(1)
    label = draw.integers(0, 2, n)
    answer = np.where(draw.random(n) < 0.88, label, 1 - label)
    base = pl.DataFrame(
        {
            "i": np.arange(n),
            "y": label,
            "p": answer,
            "domain": [f"group {k}" for k in draw.integers(0, 25, n)],
            "text": pl.select(pl.repeat("a text of some length " * 30, n)).to_series(),
        }
    )
    others = [
        base.select("i", "y", p=pl.Series(np.where(draw.random(n) < share, 1 - answer, answer)))
        for share in (0.01, 0.03, 0.05)
    ]
    limits = [*POLICY, {**POLICY[0], "slice": {"each": "domain"}}]
    found = sw.judge(base, others, limits, **COLUMNS, text="text")  # type: ignore[arg-type]
    assert len(found.examples) == 3 * (TURNED_WRONG + TURNED_RIGHT)
    assert len(render_report(found).encode()) < 1_500_000


# Patterns


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("mail ann.o'neil+x@mail.example.co.uk now", "mail ann.o'[email] now"),
        ("邮箱li@b.com谢谢", "邮箱[email]谢谢"),
        ("ｌｉ＠ｅｘａｍｐｌｅ．ｃｏｍ", "[email]"),
        ("me [at] example.org", "[email]"),
        ("see https://a.com/x?y=1&z=张三，好", "see [url]，好"),
        ("www.foo.cn/abc, foo.de.", "[url] [url]."),
        ("bit.ly/abc", "[url]"),
        ("@张三 你好 @bob_x!", "[handle] 你好 [handle]!"),
        ("call +1 (555) 010-9999 now", "call [number] now"),
        ("身份证11010119900307123X号", "身份证[number]号"),
        ("电话１３８００１３８０００。", "电话[number]。"),
        ("零一三八零零一三八零", "[number]"),
        ("138\u200b0013\u200b8000", "[number]"),
        ("٣٤٥٦٧", "[number]"),
        ("192.168.17.4", "[number]"),
        # What is no identifier stays.
        ("9/10 in 2014, 10,000 users, 1.5 or so", "9/10 in 2014, 10,000 users, 1.5 or so"),
        ("The end.It was good. e.g. this.is", "The end.It was good. e.g. this.is"),
        ("一二三四五六", "一二三四五六"),
    ],
)  # fmt: skip
def test_identifiers_are_masked_and_the_rest_is_left(text: str, shown: str) -> None:
    assert mask(text) == shown


_PIECES = st.sampled_from([
    "a.b@c.org", "x＠ｙ．ｃｎ", "13800138000", "１２ ３４ ５６", "https://e.org/p", "@nick", "好",
    "，", " ", "word", "\u202e", "\u200b", "7", "-", ".", "\n", "<i>", "٣",
])  # fmt: skip


@given(st.lists(_PIECES, max_size=40).map("".join))
def test_nothing_of_the_kind_is_left_and_masking_again_changes_nothing(text: str) -> None:
    once = mask(text)
    assert mask(once) == once
    assert not re.search(r"[0-9]{5}|[a-z]@[a-z]+\.[a-z]|://", once)
    assert "\u202e" not in once


@settings(max_examples=60)
@given(st.integers(3_600, 4_100), st.sampled_from(["ann.lee@example.org", "13800138000"]))
def test_an_identifier_at_the_edge_of_the_window_is_not_cut_and_left(at: int, secret: str) -> None:
    text = " " * at + secret + " end" * 400
    shown = excerpt(text, masked=True)
    assert "ann" not in shown and "138" not in shown


def test_a_text_is_told_to_go_on_only_where_it_does() -> None:
    assert excerpt("short  one\nhere", masked=True) == "short one here"
    assert excerpt("x" * LONGEST, masked=False) == "x" * LONGEST
    for masked in (True, False):
        cut = excerpt("word " * 2000, masked=masked)
        assert len(cut) <= LONGEST
        assert cut.endswith("…")
