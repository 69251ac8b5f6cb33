"""The forgotten list: what it holds, where it is kept, and what may be seen of it."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import pytest
from answers import candidate, parent
from recorded_run import project, shipped

import shipworthy as sw
from shipworthy.core.errors import InputError
from shipworthy.core.locale import set_language
from shipworthy.release.cells import width
from shipworthy.release.documents import to_json
from shipworthy.release.forgotten import MOST_ROWS, forgotten_lists, further_columns
from shipworthy.release.forgotten_records import FORGOTTEN, Forgotten
from shipworthy.release.judge import read_subjects
from shipworthy.release.judgement import Judgement
from shipworthy.release.record import VERDICT, read_record, write_record
from shipworthy.release.report import render_report
from shipworthy.release.terminal import render
from shipworthy.release.trusted import load_trusted
from shipworthy.release.verify import verify

if TYPE_CHECKING:
    from shipworthy.release.pipeline import Finished

POLICY = [{"measure": "accuracy", "relative_to": "parent", "at_least": -0.2}]
COLUMNS: dict[str, Any] = {"label": "y", "prediction": "p", "score": "s", "id": "i"}
ROWS = 1_600
MAIL = "ann.lee@example.org"


def frames() -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """A parent with texts, a candidate that fails on refunds, and one with three scattered flips.

    Every refund comes with an address, so that its parts are lost as often as the word is.
    """
    generator = np.random.default_rng(4)
    base = parent(ROWS)
    refund = generator.random(ROWS) < 0.1
    fill = generator.integers(0, 40, size=(ROWS, 6))
    # Of any length, so that a refund makes no text one of the longest.
    tails = ["z" * k for k in generator.integers(1, 200, ROWS)]
    texts = [
        " ".join([*(f"w{k}" for k in row), *(["<b>refund", MAIL] if has else []), tail])
        for row, has, tail in zip(fill.tolist(), refund.tolist(), tails, strict=True)
    ]
    base = base.with_columns(text=pl.Series(texts))
    harmed = refund & (generator.random(ROWS) < 0.6)
    worse = base.with_columns(p=pl.Series(np.where(harmed, 1 - base["p"], base["p"])))
    return base, worse.drop("text"), candidate(base, lost=3)


BASE, WORSE, SAME = frames()


@cache
def judged(**more: Any) -> Judgement:
    given = {**COLUMNS, "text": "text", **more}
    return sw.judge(BASE, [WORSE, SAME], POLICY, **given)


def lists(found: Judgement) -> tuple[Forgotten, Forgotten]:
    one, two = found.forgotten
    return one, two


# Rows


def test_rows_that_turned_wrong_come_by_how_sure_the_parent_was() -> None:
    first, second = lists(judged())
    flips = BASE.with_columns(after=WORSE["p"])
    lost = flips.filter((pl.col("p") == pl.col("y")) & (pl.col("after") != pl.col("y")))
    gained = flips.filter((pl.col("p") != pl.col("y")) & (pl.col("after") == pl.col("y")))
    assert (first.turned_wrong, first.turned_right) == (lost.height, gained.height)
    sure = pl.when(pl.col("p") == 1).then(pl.col("s")).otherwise(1 - pl.col("s"))
    expected = lost.with_columns(sure=sure).sort("sure", descending=True).head(MOST_ROWS)
    assert [r.row for r in first.rows] == expected["i"].to_list()
    np.testing.assert_allclose([r.sure for r in first.rows], expected["sure"].to_numpy())
    assert all(r.label != r.after for r in first.rows)
    assert len(second.rows) == second.turned_wrong == 3


def test_without_scores_rows_come_in_their_order_and_the_page_says_so() -> None:
    found = judged(score=None)
    first = lists(found)[0]
    places = [int(r.row[1:]) for r in first.rows]
    assert places == sorted(places) and not first.scored
    assert all(math.isnan(r.sure) for r in first.rows)
    page = section(found)
    assert "in the order of the rows" in page and "Parent was sure" not in page
    assert "Parent was sure" in section(judged())


# Slices


def test_the_harmed_word_stands_first_and_changes_no_verdict() -> None:
    first, second = lists(judged(examples="raw"))
    assert first.found[0].kind == "words"
    told = {first.found[0].name, *first.found[0].alike.split("\n")}
    assert told & {"refund", "refund ann"}
    refunds = BASE["text"].str.contains("refund").sum()
    assert first.found[0].n == refunds
    assert not second.found
    plain = judged(text=None)
    assert plain.decisions == judged().decisions and plain.answer == judged().answer
    assert plain.run == judged().run
    assert [s.kind for s in lists(plain)[0].slices] == ["label"] * 2


def test_units_count_once() -> None:
    first = lists(judged(unit="author"))[0]
    assert all(s.n_units < s.n for s in first.slices if s.n > 100)
    assert [s.n_units for s in lists(judged())[0].slices] == [
        s.n for s in lists(judged())[0].slices
    ]
    assert "Rows of one author" in section(judged(unit="author"))


def test_mere_likelihoods_are_neither_right_nor_wrong() -> None:
    subjects = read_subjects([BASE, WORSE], ["a", "b"], {**COLUMNS, "groups": []})
    mere = replace(subjects[0].predictions, form="likelihood")
    assert forgotten_lists(mere, subjects[1:], None, form="raw") == ()
    assert len(forgotten_lists(subjects[0].predictions, subjects[1:], None, form="raw")) == 1


def test_only_columns_of_few_short_names_make_slices() -> None:
    rows = pl.DataFrame(
        {
            "text": ["x"] * 60,
            "site": ["a", "b", None] * 20,
            "flag": [True, False] * 30,
            "person": [f"name {k}" for k in range(60)],
            "essay": ["long " * 20, "short"] * 30,
            "year": [2001, 2002] * 30,
            "same": ["one"] * 60,
        }
    )
    assert further_columns(rows, ["text", None]).columns == ["site", "flag"]


def test_a_further_column_is_a_slice_and_its_missing_values_are_none() -> None:
    subjects = read_subjects([BASE, WORSE], ["a", "b"], {**COLUMNS, "groups": []})
    base = subjects[0].predictions
    site = BASE["text"].str.contains("refund").replace_strict({True: "shop", False: None})
    further = pl.DataFrame({"site": site, "flag": [True, False] * (ROWS // 2)})
    found = forgotten_lists(base, subjects[1:], None, form="none", further=further)[0]
    by_name = {(s.kind, s.column, s.name): s for s in found.slices}
    assert by_name["column", "site", "shop"].found
    assert by_name["column", "site", "shop"].n == ROWS - site.null_count()
    assert {c for _, c, _ in by_name} == {"site", "flag", ""}


# What may be seen


def written(found: Judgement, folder: Path) -> str:
    """Everything that a record says, the table of slices included, as text."""
    write_record(found, folder)
    table = pl.read_parquet(folder / FORGOTTEN).write_json()
    return table + "".join(p.read_text("utf-8") for p in folder.iterdir() if p.suffix != ".parquet")


def test_without_examples_neither_words_nor_texts_are_kept(tmp_path: Path) -> None:
    found = judged(examples="none")
    kinds = {s.kind for s in lists(found)[0].slices}
    assert kinds == {"label", "length"}
    said = written(found, tmp_path)
    assert "refund" not in said and MAIL not in said
    assert {r.text for r in lists(found)[0].rows} == {""}
    assert "Words were not looked at" in section(found)


def test_a_word_that_is_masked_in_its_texts_is_not_shown(tmp_path: Path) -> None:
    said = written(judged(), tmp_path)
    assert "[email]" in said
    assert not re.search(r"\bann\b|\blee\b|example\.org", said.replace("Example", ""))
    assert "[…]" in said
    raw = lists(judged(examples="raw"))[0]
    together = " ".join(f"{s.name} {s.alike}" for s in raw.found)
    assert re.search(r"\bann\b|\blee\b|\borg\b", together)
    assert MAIL in raw.rows[0].text


def test_an_id_that_is_an_identifier_is_a_hash() -> None:
    base, worse = (f.with_columns(i=pl.format("u{}@example.org", "i")) for f in (BASE, WORSE))
    found = sw.judge(base, [worse], POLICY, **COLUMNS, text="text")
    assert all(re.fullmatch(r"[0-9a-f]{16}", r.row) for r in found.forgotten[0].rows)


# The record


def test_it_is_kept_and_read_back(tmp_path: Path) -> None:
    write_record(judged(), tmp_path)
    assert read_record(tmp_path).forgotten == judged().forgotten
    table = pl.read_parquet(tmp_path / FORGOTTEN)
    assert table.height == sum(len(one.slices) for one in judged().forgotten)
    unscored = tmp_path / "unscored"
    unscored.mkdir()
    write_record(judged(score=None), unscored)
    again = read_record(unscored).forgotten
    assert str(again) == str(judged(score=None).forgotten)


def test_a_record_of_before_has_none_and_a_torn_table_is_told(tmp_path: Path) -> None:
    write_record(judged(), tmp_path)
    (tmp_path / FORGOTTEN).write_bytes(b"PAR1 torn")
    with pytest.raises(InputError, match=r"forgotten\.parquet"):
        read_record(tmp_path)
    pl.DataFrame({"candidate": ["x"]}).write_parquet(tmp_path / FORGOTTEN)
    with pytest.raises(InputError, match="p_adjusted"):
        read_record(tmp_path)
    document = json.loads((tmp_path / VERDICT).read_text("utf-8"))
    del document["forgotten"]
    (tmp_path / VERDICT).write_text(json.dumps(document), "utf-8")
    assert read_record(tmp_path).forgotten == ()


def test_no_table_of_an_earlier_verdict_stays(tmp_path: Path) -> None:
    write_record(judged(), tmp_path)
    write_record(replace(judged(), forgotten=()), tmp_path)
    assert not (tmp_path / FORGOTTEN).exists()


def test_verify_notices_a_changed_table(tmp_path: Path) -> None:
    of = shipped()
    one = judged().forgotten[0]
    own = of.candidates[0].id
    slices = tuple(replace(s, candidate=own) for s in one.slices)
    made = project(
        tmp_path / "p", replace(of, forgotten=(replace(one, candidate=own, slices=slices),))
    )
    trusted = load_trusted(made.keys)
    assert verify(made.root, trusted=trusted).sound
    table = pl.read_parquet(made.folder / FORGOTTEN)
    table.with_columns(found=~pl.col("found")).write_parquet(made.folder / FORGOTTEN)
    wrong = verify(made.root, trusted=trusted).of("wrong")
    assert any(Path(f.where).name == FORGOTTEN for f in wrong)


# What people and programs read


def section(found: Judgement, **more: Any) -> str:
    page = render_report(found, **more)
    return page.split('id="forgotten"')[1].split("</section>")[0]


def test_the_report_draws_each_slice_with_its_interval() -> None:
    found = judged(examples="raw")
    page, first = section(found), lists(found)[0]
    drawn = page.split('class="slices"')[1].split("</tbody>")[0]
    assert drawn.count('role="img"') == len(first.found) + 1
    assert drawn.count('class="m plain"') == len(first.found) + 1
    assert "Exploratory: no verdict rests on it" in page
    assert "&lt;b&gt;refund" in page and "<b>refund" not in page
    # No colour of a verdict: nothing here was decided.
    assert not re.search(r'class="[^"]*\b(pass|fail|cannot_tell)\b', page)
    assert page.count("<details") == 2 and page.count('<details class="of" open>') == 1
    assert "none of" in page


def test_it_is_told_in_chinese() -> None:
    page = section(judged(examples="raw"), language="zh")
    assert "探索性结果，不影响任何结论" in page
    assert "父模型的把握" in page
    assert "forgotten." not in page


def test_a_report_in_which_nothing_turned_wrong_has_no_such_section() -> None:
    found = sw.judge(BASE, [BASE.drop("text")], POLICY, **COLUMNS, text="text")
    assert found.forgotten[0].turned_wrong == 0
    assert 'id="forgotten"' not in render_report(found)


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_terminal_has_a_line_of_it(language: str) -> None:
    set_language(language)
    said = render(judged(examples="raw"), color=False, unicode=True)
    label = {"en": "Forgotten", "zh": "遗忘"}[language]
    assert re.search(rf"^  {label} ", said, re.MULTILINE)
    assert {"en": "exploratory", "zh": "探索性"}[language] in said
    assert all(width(line) <= 100 for line in said.splitlines())


def test_programs_read_it_from_json() -> None:
    found = judged()
    told = to_json(found, report=None, folder=None, exit_code=0)["forgotten"]
    json.dumps(told, allow_nan=False)
    assert [one["candidate"] for one in told] == [c.id for c in found.candidates]
    first = told[0]
    assert first["ranked_by"] == "parent_probability"
    assert first["tested"] > 50 and first["words_in"] == ROWS
    top = first["slices"][0]
    assert set(top["change"]) == {"value", "low", "high"}
    assert top["change"]["value"] == (top["turned_right"] - top["turned_wrong"]) / top["n"]
    assert top["found"] is True and top["p_adjusted"] <= 0.1
    assert [s["found"] for s in told[1]["slices"]] == [False] * len(told[1]["slices"])
    unscored = to_json(judged(score=None), report=None, folder=None, exit_code=0)["forgotten"][0]
    assert unscored["ranked_by"] == "row_order" and unscored["rows"][0]["sure"] is None


def test_a_run_leaves_it_too(finished: Finished) -> None:
    assert finished.judgement is not None and finished.folder is not None
    kept = finished.judgement.forgotten
    assert [one.candidate for one in kept] == [c.id for c in finished.judgement.candidates]
    assert (finished.folder / FORGOTTEN).is_file()
    assert kept == read_record(finished.folder).forgotten
    # The project shows no examples, so that words were not looked at.
    assert all(one.words_in == 0 and one.tested > 0 for one in kept)
    verdicts = [
        json.loads(line)["payload"]
        for line in (finished.folder / "ledger.jsonl").read_text("utf-8").splitlines()
        if json.loads(line)["kind"] == "verdict"
    ]
    assert FORGOTTEN in verdicts[-1]["files"]
