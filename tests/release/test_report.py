"""The page: well formed, self-contained, safe, complete, and its numbers are the judgement's."""

import json
import math
import re
from dataclasses import replace
from pathlib import Path

import pytest
import sample
from page import Page

from shipworthy.core.errors import SettingsError
from shipworthy.core.locale import language, number
from shipworthy.core.records import Answer, Limit
from shipworthy.release.report import render_report, write_report

CASES = {
    "ship": sample.shipping,
    "hold": sample.holding,
    "undecided": sample.undecided,
    "12 groups": lambda: sample.many_groups(12, failing=1),
    "200 groups": lambda: sample.many_groups(200, failing=9),
    "no groups": sample.without_groups,
    "many rows": lambda: sample.without_groups(1_000_000),
    "hostile": sample.hostile,
    "advisory": sample.advisory_and_waived,
}


def page(judgement, language=None):
    return Page(render_report(judgement, language=language))


@pytest.mark.parametrize("lang", ["en", "zh"])
@pytest.mark.parametrize("case", CASES)
def test_pages_are_well_formed_self_contained_and_small(case, lang):
    source = render_report(CASES[case](), language=lang)
    read = Page(source)
    assert read.errors == []
    assert read.all("html") == [{"lang": {"en": "en", "zh": "zh-Hans"}[lang]}]
    assert len(source.encode()) < 1_500_000
    assert not {"script", "iframe", "img", "object", "embed", "base"} & {t for t, _ in read.tags}
    for _, attributes in read.tags:
        assert not [name for name in attributes if name.startswith("on")]
        for name in ("href", "src", "srcset", "action"):
            assert attributes.get(name, "data:,") == "data:,"
    assert not re.search(r"https?://|url\(|@import", source)
    assert "None" not in read.text and "nan" not in read.text.lower().split()


@pytest.mark.parametrize("case", CASES)
def test_tables_have_scoped_heads_and_drawings_a_sentence(case):
    read = page(CASES[case]())
    assert {a.get("scope") for a in read.all("th")} == {"col", "row"}
    outer = [a for a in read.all("svg") if "d" in a.get("class", "").split()]
    assert outer
    for drawing in outer:
        assert drawing.get("aria-hidden") == "true" or (
            drawing.get("role") == "img" and drawing.get("aria-label")
        )
    for icon in (a for a in read.all("svg") if "icon" in a.get("class", "").split()):
        assert icon["aria-hidden"] == "true"
    assert len(read.all("h1")) == 1


def test_every_section_is_labelled_by_its_heading():
    read = page(sample.shipping())
    names = {a["id"] for a in (*read.all("h1"), *read.all("h2"))}
    assert {a["aria-labelledby"] for a in read.all("section")} == names


def test_ship_names_the_candidate_and_says_why():
    read = page(sample.shipping())
    text = read.text
    assert "Ship bf16 weights Half the size and 1.8 times as fast as its parent." in text
    assert "Of 3,932 test answers, 1 turned wrong and 0 right." in text
    assert "The closest is tweets: it may have lost up to 0.6 points, and 1.0 is allowed." in text
    assert "2 pass bf16 weights, OpenVINO bf16" in text
    assert "2 cannot tell int8 dynamic, pruned 30 %" in text
    assert "2 fail 3 layers, retrained, pruned 50 %" in text
    assert text.index("Inside all 4 limits") < text.index("Limits for bf16 weights")


def test_numbers_of_the_page_are_those_of_the_judgement():
    judgement = sample.shipping()
    text = page(judgement).text
    for decision in judgement.decisions_of(sample.made("bf16 weights").id):
        if decision.measure == "accuracy" and decision.relative_to == "none":
            value, low, high = (100 * v for v in (decision.value, decision.low, decision.high))
            assert f"{value:.2f} % [{low:.2f}, {high:.2f}]" in text
        if decision.measure == "latency_p95_ms":
            value, low, high = decision.value, decision.low, decision.high
            assert f"{value:.1f} ms [{low:.1f}, {high:.1f}]" in text
    for name, figures in sample.FIGURES.items():
        assert name in text
        wrong, right = figures["turned"]
        assert f"{wrong} / {right}" in text
        worst = min(
            (figures[g] for g in sample.GROUP_ROWS if figures[g][3] is figures["movie"][3]),
            key=lambda f: f[0],
        )
        if name != "bf16 weights" and name != "OpenVINO bf16":
            low, high = (number(v, 1, sign=True) for v in worst[1:3])
            assert f"{number(worst[0], 1, sign=True)} [{low}, {high}]" in text


def test_every_decision_of_every_candidate_is_told_in_words():
    judgement = sample.shipping()
    source = render_report(judgement)
    words = {"pass": "pass", "fail": "fail", "cannot_tell": "cannot tell"}
    for decision in judgement.decisions:
        candidate = next(c for c in judgement.candidates if c.id == decision.candidate)
        if decision.relative_to == "parent":
            group = json.loads(decision.slice)["domain"]
            group = judgement.group_names.get(group, group)
            label = re.search(rf'aria-label="{re.escape(group)}\. ([^"]*)"', source)[1]
            own = next(p for p in label.split("; ") if p.startswith(candidate.name + ":"))
            assert own.startswith(f"{candidate.name}: {words[decision.decision.value]}: ")
            assert number(100 * decision.value, 1, sign=True) in own


def test_a_missing_measurement_is_a_dash_and_is_listed():
    text = page(sample.shipping()).text
    row = re.search(r"pruned 30 % movie sits on the limit Size, MB (\S+) p95, ms (\S+) ", text)
    assert row.groups() == ("—", "—")
    assert "Not measured pruned 50 %: size and speed not measured" in text
    assert "Not drawn: pruned 30 % and pruned 50 %, not measured." in text


def test_hold_says_which_limit_and_by_how_much():
    text = page(sample.holding()).text
    assert "Outside 1 of 4 limits. Amazon lost at least 1.7 points; 1.0 is allowed." in text
    assert "0.7 points over" in text
    assert "2 cannot tell, 2 fail" in text


def test_undecided_says_what_was_tested_and_what_would_decide():
    text = page(sample.undecided()).text
    assert "Inside 3 of 4 limits; on 1 the data cannot tell." in text
    assert "2,029 rows of movie were tested; if the measured value is the true one," in text
    assert "about 2,800 would decide." in text
    assert "Next: about 770 more movie rows" in text
    assert "2,800 rows would" in text
    assert "83 % chance to decide, 12 % to pass" in text


def test_judging_files_leaves_out_what_was_not_measured():
    read = page(sample.without_groups())
    text = read.text
    assert "judgement of prediction files" in text
    for absent in ("Size, MB", "p95, ms", "Quality against", "Change by group", "Owner"):
        assert absent not in text
    assert "rows taken as independent" in text


def test_more_than_eight_groups_show_those_with_the_least_room():
    read = page(sample.many_groups(12, failing=1))
    assert len(re.findall(r'<figure class="panel', read.source)) == 8
    assert "4 more, all inside." in read.text
    # shop 0 fails; of the others the lowest ends have the least room.
    for shown in range(8):
        assert f"<b>shop {shown}</b>" in read.source
    mixed = page(sample.many_groups(20, failing=12)).text
    assert "12 more: 4 with a fail, 0 with a cannot tell, 8 inside." in mixed


def test_200_groups_stay_a_short_page():
    small = len(render_report(sample.many_groups(9, failing=9)))
    large = len(render_report(sample.many_groups(200, failing=9)))
    assert large < small + 2_000


def test_names_of_the_user_cannot_break_the_page():
    source = render_report(sample.hostile())
    read = Page(source)
    assert read.errors == []
    for name in ("<img src=x onerror=alert(1)>", "😀 emoji & co", "中文分组名称", "x" * 200):
        assert name in read.text
    assert "<script" not in source.lower()
    assert "<b>owner</b>" in read.text
    assert "</title><script>" in read.text


def test_advisory_disclosed_and_waived_are_shown_outside_the_verdict():
    text = page(sample.advisory_and_waived()).text
    assert "Ship only one Inside its limit." in text
    assert "fail F1 at least 90 % · advisory, outside the verdict" in text
    assert "Cannot tell, only disclosed: AUC." in text
    judgement = sample.holding()
    waived = tuple(
        replace(d, reason="waived") if d.relative_to == "parent" else d for d in judgement.decisions
    )
    assert "waived" in page(replace(judgement, decisions=waived)).text


def test_no_data_is_never_a_number():
    judgement = sample.pictured(["pruned 30 %"])
    source = render_report(judgement)
    text = Page(source).text
    assert "cannot tell Latency p95 at most 20 ms — — not measured" in text
    assert 'aria-label="cannot tell: not measured"' in source
    assert math.isnan(sample.FIGURES["pruned 30 %"]["mb"])


def test_evidence_names_level_opening_family_and_digests():
    judgement = replace(sample.shipping(), opening=2, alpha=0.0125, seconds=12.34, cached_stages=3,
                        evidence=(("report.evidence.took", "as long as it takes"),))  # fmt: skip
    text = page(judgement).text
    assert "95 % intervals, one-sided α = 0.0125, opening 2 of the test set" in text
    # accuracy, four domains, latency: the size is a fact and stays outside.
    assert "Holm over 6 limits and slices" in text
    assert sample.made("bf16 weights").artefact_digest in text
    assert "e2c604aa" * 8 in text
    assert "by source_id; rows of one unit are not independent" in text
    assert "12.3 s, 3 stages from the cache" in text
    assert "as long as it takes" in text


def test_rehearsal_is_stamped_and_never_ships():
    judgement = replace(sample.undecided(), kind="rehearsal")
    text = page(judgement).text
    assert "rehearsal report" in text
    assert "Rehearsal: decided on validation rows, so it cannot ship." in text


def test_validation_numbers_stay_out_of_a_verdict():
    judgement = sample.without_groups()
    frame = judgement.measurements
    import polars as pl

    flattering = frame.with_columns(value=pl.lit(0.99), split=pl.lit("validation"))
    both = replace(judgement, measurements=pl.concat([flattering, frame]))
    assert "99.00" not in page(both).text
    assert render_report(both) == render_report(judgement)


def test_without_candidates_there_is_a_page_too():
    judgement = sample.judgement([], [], [], [Limit("accuracy", "at_least", 0.8)])
    judgement = replace(judgement, answer=Answer.HOLD)
    read = page(judgement)
    assert read.errors == []
    assert "There is no candidate to judge." in read.text


def test_chinese_page_is_chinese_and_the_language_goes_back():
    text = page(sample.shipping(), "zh").text
    assert "可发布 bf16 weights 大小减半，速度为父模型的 1.8 倍；" in text
    assert "3,932 条测试答案中 1 条变错，0 条变对。" in text
    assert "最接近限值的是 tweets：最多可能下降 0.6 个百分点，允许 1.0。" in text
    assert "2026 年 11 月 24 日 18:40 UTC" in text
    for english in ("cannot tell", "Room left", "Limits for", "points"):
        assert english not in text
    assert language() == "en"


def test_write_report_replaces_the_file_and_refuses_unknown_languages(tmp_path: Path):
    path = tmp_path / "report.html"
    path.write_text("old")
    assert write_report(sample.holding(), path) == path
    assert path.read_text(encoding="utf-8").startswith("<!doctype html>")
    with pytest.raises(SettingsError, match="no texts in the language 'xx'"):
        write_report(sample.holding(), path, language="xx")
    assert language() == "en"
    assert [p.name for p in tmp_path.iterdir()] == ["report.html"]


def test_the_same_judgement_gives_the_same_bytes():
    assert render_report(sample.shipping()) == render_report(sample.shipping())
