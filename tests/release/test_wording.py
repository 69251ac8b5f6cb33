"""Sentences: what a pass, a fail and a cannot tell quote, and that nothing is said beyond them."""

import math
from dataclasses import replace

import pytest
import sample
from hypothesis import given
from hypothesis import strategies as st

from shipworthy.core.locale import set_language
from shipworthy.core.records import Answer, Limit, Outcome, Verdict
from shipworthy.release.display import capital, listed, measure_name, shown, text
from shipworthy.release.headings import candidates_heading, frontier_heading, groups_heading
from shipworthy.release.judgement import Phrase
from shipworthy.release.limit_rows import deciding, room_of
from shipworthy.release.standing import survey
from shipworthy.release.summary import headline, why
from shipworthy.release.wording import (
    about,
    bound_figure,
    drawing_label,
    finding,
    limit_detail,
    limit_title,
    phrase,
    room,
)

PASS, FAIL, OPEN = Outcome.PASS, Outcome.FAIL, Outcome.CANNOT_TELL
ONE = sample.candidate("one")


def decided(limit, numbers, outcome, **more):
    return sample.decision(ONE, 0, [limit], {}, numbers, outcome, n=500, **more)


CHANGE = Limit("accuracy", "at_least", -0.01, relative_to="parent")
GAIN = Limit("accuracy", "at_least", 0.005, relative_to="parent")
LOSS = Limit("log_loss", "at_most", 0.02, relative_to="parent")
LEVEL = Limit("accuracy", "at_least", 0.8)
LATENCY = Limit("latency_p95_ms", "at_most", 20.0)
PARITY = Limit("statistical_parity_difference", "at_most", 0.05)


@pytest.mark.parametrize(
    ("limit", "numbers", "outcome", "said"),
    [
        (CHANGE, (0.0, -0.006, 0.006), PASS,
         "it may have lost up to 0.6 points, and 1.0 is allowed."),
        (CHANGE, (0.01, 0.004, 0.02), PASS,
         "it gained at least 0.4 points, and a loss of 1.0 is allowed."),
        (CHANGE, (0.0, 0.0, 0.0), PASS, "it lost nothing, and 1.0 is allowed."),
        (CHANGE, (-0.041, -0.066, -0.017), FAIL, "lost at least 1.7 points; 1.0 is allowed."),
        (CHANGE, (-0.02, -0.03, -0.01), FAIL, "lost at least 1.0 point; 1.0 is allowed."),
        (GAIN, (0.0, -0.01, 0.002), FAIL,
         "gained at most 0.2 points; a gain of 0.5 is required."),
        (LOSS, (0.01, 0.0, 0.013), PASS,
         "it may have risen by up to 0.0130, and 0.0200 is allowed."),
        (LOSS, (0.05, 0.03, 0.07), FAIL, "rose by at least 0.0300; 0.0200 is allowed."),
        (LEVEL, (0.87, 0.861, 0.88), PASS, "it may be as low as 86.10 %, and 80 is required."),
        (LEVEL, (0.75, 0.74, 0.765), FAIL, "is at most 76.50 %; 80 is required."),
        (LATENCY, (7.0, 6.8, 7.4), PASS, "it may be as high as 7.4 ms, and 20 is allowed."),
        (LATENCY, (25.0, 24.0, 26.0), FAIL, "is at least 24.0 ms; 20 is allowed."),
        (LATENCY, (25.0, 25.0, 25.0), FAIL, "is 25.0 ms; 20 is allowed."),
        (PARITY, (0.02, 0.01, 0.032), PASS, "it may be as high as 3.2 points, and 5 is allowed."),
    ],
)  # fmt: skip
def test_a_pass_quotes_the_bad_end_and_a_fail_the_good_one(limit, numbers, outcome, said):
    assert finding(decided(limit, numbers, outcome)).replace("\u00a0", " ") == said


def test_a_cannot_tell_has_no_finding():
    with pytest.raises(ValueError, match="no finding"):
        finding(decided(CHANGE, (0, -0.1, 0.1), OPEN))


@given(
    st.sampled_from([CHANGE, GAIN, LOSS, LEVEL, LATENCY, PARITY]),
    st.floats(-0.9, 0.9), st.floats(0, 0.5), st.floats(0, 0.5),
    st.sampled_from([PASS, FAIL]), st.sampled_from(["en", "zh"]),
)  # fmt: skip
def test_every_number_can_be_told_in_both_languages(limit, value, below, above, outcome, lang):
    try:
        set_language(lang)
        d = decided(limit, (value, value - below, value + above), outcome)
        assert "{" not in finding(d) + drawing_label(d)
    finally:
        set_language("en")


@pytest.mark.parametrize(
    ("bound", "said"),
    [(-0.01, "−1.0"), (-0.025, "−2.5"), (-0.0075, "−0.75"), (0.0, "0.0")],
)
def test_a_bound_is_never_rounded(bound, said):
    assert bound_figure(decided(replace(CHANGE, bound=bound), (0, 0, 0), PASS)) == said
    level = replace(LEVEL, bound=0.8125)
    assert bound_figure(decided(level, (0.9, 0.9, 0.9), PASS)) == "81.25"


def test_room_is_the_distance_to_the_end_that_decides():
    judgement = sample.shipping()
    asked = survey(judgement)
    rows = asked.rows[sample.made("bf16 weights").id]
    assert [room(r)[0] for r in rows] == ["6.1", "0.4", "12.6", "54.5"]
    assert [room(r)[1] for r in rows] == ["points", "points", "ms", "MB"]
    rows = asked.rows[sample.made("3 layers, retrained").id]
    assert room(rows[1]) == ("0.7", "points over")
    rows = asked.rows[sample.made("int8 dynamic").id]
    assert room(rows[1]) == ("2,800", "rows would")
    rows = asked.rows[sample.made("pruned 30 %").id]
    assert room(rows[2]) == ("", "not measured")


def test_the_deciding_child_is_the_worst_then_the_lowest_then_the_nearest():
    def child(group, numbers, outcome):
        limits = [replace(CHANGE, slices={"each": "g"})]
        return sample.decision(ONE, 0, limits, {"g": group}, numbers, outcome, n=100)

    passing = [child("a", (0.02, -0.005, 0.03), PASS), child("b", (-0.001, -0.002, 0.0), PASS)]
    assert deciding(passing).slice == '{"g":"a"}'  # its bad end is nearer
    unclear = [child("c", (-0.01, -0.02, 0.0), OPEN), child("d", (-0.005, -0.03, 0.01), OPEN)]
    assert deciding([*passing, *unclear]).slice == '{"g":"c"}'  # the lowest value
    missing = child("e", (math.nan,) * 3, OPEN)
    assert deciding([*passing, *unclear, missing]).slice == '{"g":"c"}'
    assert deciding([*passing, missing]).slice == '{"g":"e"}'
    failing = child("f", (-0.02, -0.025, -0.015), FAIL)
    assert deciding([*passing, *unclear, failing]).slice == '{"g":"f"}'


def test_at_most_limits_are_mirrored():
    d = decided(LATENCY, (7.0, 6.8, 7.4), PASS)
    assert room_of(d) == pytest.approx(12.6)


def test_reasons_of_candidates_take_five_words():
    asked = survey(sample.shipping())
    said = {c.name: why(asked, c) for c in asked.ordered}
    assert said == {
        "bf16 weights": "smallest that passes",
        "OpenVINO bf16": "fastest that passes",
        "int8 dynamic": "about 770 more movie rows",
        "pruned 30 %": "movie sits on the limit",
        "3 layers, retrained": "lost at least 1.7 points",
        "pruned 50 %": "lost at least 2.6 points",
    }
    assert all(len(words.split()) <= 5 for words in said.values())


def test_order_is_pass_cannot_tell_fail_then_the_objective_then_the_given_one():
    asked = survey(sample.shipping())
    assert [c.name for c in asked.ordered] == [
        "bf16 weights", "OpenVINO bf16", "int8 dynamic", "pruned 30 %", "3 layers, retrained",
        "pruned 50 %",
    ]  # fmt: skip
    asked = survey(sample.shipping(objective="latency"))
    assert [c.name for c in asked.ordered][:2] == ["OpenVINO bf16", "bf16 weights"]


def test_the_named_candidate_is_the_one_nearest_to_shipping():
    names = ["3 layers, retrained", "pruned 30 %", "int8 dynamic"]
    judgement = sample.pictured(names)
    assert survey(judgement).named.name == "int8 dynamic"  # undecided, and the smaller one
    only = sample.pictured(names, nominated=(sample.made("3 layers, retrained").id,))
    assert survey(only).named.name == "3 layers, retrained"
    assert survey(sample.shipping()).named.name == "bf16 weights"


def test_findings_are_headings_only_where_intervals_carry_them():
    asked = survey(sample.shipping())
    assert groups_heading(asked, [1]) == "3 layers, retrained cost amazon 4.1 points"
    asked = survey(sample.pictured(["pruned 50 %", "int8 dynamic"]))
    assert groups_heading(asked, [1]) == (
        "pruned 50 % cost movie 4.0 points; the other groups show no clear loss"
    )
    asked = survey(sample.pictured(["int8 dynamic"]))
    assert groups_heading(asked, [1]) == "Change by group"
    asked = survey(sample.pictured(["bf16 weights"]))
    assert groups_heading(asked, [1]) == "Every group is inside the limit"


def test_the_frontier_heading_claims_no_order_that_overlaps():
    asked = survey(sample.shipping())
    assert frontier_heading(asked) == (
        "Of those inside the limits, OpenVINO bf16 is the fastest and bf16 weights the smallest"
    )
    judgement = sample.shipping()
    import polars as pl

    wide = judgement.measurements.with_columns(
        high=pl.when(pl.col("measure") == "latency_p95_ms").then(30.0).otherwise(pl.col("high"))
    )
    asked = survey(replace(judgement, measurements=wide))
    assert frontier_heading(asked) == "Of those inside the limits, bf16 weights is the smallest"
    # Nor does the first sentence call it fast, where the parent's interval overlaps.
    first = headline(asked).sentences[0]
    assert (
        first == "Half the size of its parent. Of 3,932 test answers, 1 turned wrong and 0 right."
    )
    assert frontier_heading(survey(sample.holding())) == "Quality against speed and size"


def test_candidates_heading_says_one_group_only_if_so():
    assert candidates_heading(survey(sample.shipping())).endswith("one group decides each of them")
    asked = survey(sample.without_groups())
    assert candidates_heading(asked) == "Candidates and the limit that decided each"


def test_a_candidate_that_fails_another_limit_is_decided_by_that():
    judgement = sample.pictured(["bf16 weights"])
    decisions = tuple(
        replace(d, value=25.0, low=24.0, high=26.0, decision=FAIL)
        if d.measure == "latency_p95_ms"
        else d
        for d in judgement.decisions
    )
    verdicts = tuple(replace(v, answer=Answer.HOLD) for v in judgement.verdicts)
    held = replace(judgement, decisions=decisions, verdicts=verdicts, answer=Answer.HOLD, best=None)
    asked = survey(held)
    assert asked.decider(asked.named.id).decision.measure == "latency_p95_ms"
    assert why(asked, asked.named) == "p95 at least 24.0 ms"
    assert headline(asked).sentences == (
        "Outside 1 of 4 limits. Latency p95 is at least 24.0 ms; 20 is allowed.",
    )


def test_verdicts_that_no_limit_explains_are_explained():
    judgement = sample.pictured(["bf16 weights", "OpenVINO bf16"])
    for reason, sentence, short in (
        ("correction", "Inside all 4 limits, but not clearly enough for one of 2 nominated.",
         "not clear among those nominated"),
        ("not_nominated",
         "Inside all 4 limits, but it was not nominated before the test, so it cannot ship.",
         "inside, but not nominated"),
    ):  # fmt: skip
        verdicts = tuple(
            Verdict(v.candidate, Answer.UNDECIDED, True, 0.01, 0.03, (reason,))
            for v in judgement.verdicts
        )
        asked = survey(replace(judgement, verdicts=verdicts, answer=Answer.UNDECIDED, best=None))
        assert headline(asked).sentences[0] == sentence
        assert why(asked, asked.named) == short


def test_a_missing_measurement_is_named():
    judgement = sample.pictured(["bf16 weights"])
    decisions = tuple(
        replace(d, value=math.nan, low=math.nan, high=math.nan, decision=OPEN,
                reason="not_measured") if d.measure == "latency_p95_ms" else d
        for d in judgement.decisions
    )  # fmt: skip
    verdicts = tuple(
        replace(v, answer=Answer.UNDECIDED, reasons=("not_measured",)) for v in judgement.verdicts
    )
    asked = survey(
        replace(judgement, decisions=decisions, verdicts=verdicts, answer=Answer.UNDECIDED,
                best=None)
    )  # fmt: skip
    assert headline(asked).sentences[0] == (
        "Inside 3 of 4 limits; on 1 the data cannot tell. "
        "Latency p95 was not measured, and a missing measurement blocks."
    )
    assert why(asked, asked.named) == "p95 not measured"


def test_small_slices_that_are_reported_stand_beside_the_verdict():
    limits = (replace(CHANGE, slices="each group"),)
    pairs = [("x", True), ("x", False), ("y", True)]
    decisions = [
        sample.decision(ONE, 0, limits, {"a": a, "b": b}, (0.0, -0.005, 0.005), PASS, n=900)
        for a, b in pairs
    ] + [
        sample.decision(ONE, 0, limits, {"a": "y", "b": False}, (-0.2, -0.5, 0.1), OPEN, n=5,
                        reason="too_few_rows")
    ]  # fmt: skip
    judgement = sample.judgement([ONE], decisions, [], limits)
    shipped = replace(
        judgement, answer=Answer.SHIP, best=ONE.id,
        verdicts=(Verdict(ONE.id, Answer.SHIP, True, 0.01, 0.01),),
    )  # fmt: skip
    asked = survey(shipped)
    row = asked.rows[ONE.id][0]
    assert row.outcome is PASS and len(row.uncovered) == 1
    assert headline(asked).sentences[-1].endswith("Not covered: 1 slice with 5 rows.")
    assert "3 pass, 1 group with 5 rows not covered" in limit_detail(asked, row)
    # The same rows block where the verdict says that they did.
    blocked = survey(judgement)
    assert blocked.rows[ONE.id][0].outcome is OPEN
    assert blocked.slice_label(next(iter([r.slice for r in blocked.rows[ONE.id]]))) == (
        "y × b: false"
    )


def test_titles_of_limits():
    each = {"each": "domain"}
    assert limit_title(replace(CHANGE, slices=each)) == "Change in accuracy, each domain"
    assert limit_title(replace(CHANGE, slices="worst group")) == "Change in accuracy, worst group"
    assert limit_title(replace(LEVEL, slices="each group")) == "Accuracy, each group"
    assert limit_title(replace(LEVEL, slices={"domain": "nyt"})) == "Accuracy, domain: nyt"
    assert limit_title(replace(CHANGE, relative_to="baseline")) == (
        "Change in accuracy against the baseline"
    )
    assert limit_title(LATENCY) == "Latency p95"


def test_group_values_are_told_with_their_column_where_needed():
    asked = survey(sample.shipping())
    from shipworthy.core.records import Slice

    assert asked.slice_label(Slice.of({"domain": "nyt"})) == "NYT"
    assert asked.slice_label(Slice.of({"domain": "movie"})) == "movie"
    assert asked.slice_label(Slice.of({"mentions_female": True})) == "mentions_female: true"
    assert asked.slice_label(Slice.of({"year": 1})) == "year: 1"
    assert asked.slice_label(Slice.of({"domain": None})) == "domain: (missing)"
    assert asked.slice_label(Slice()) is None


def test_plans_are_rounded_to_two_digits():
    assert [about(n) for n in (7, 42, 771, 1234, 15693)] == ["7", "42", "770", "1,200", "16,000"]


def test_phrases_render_phrases_inside_them():
    inner = Phrase("report.reason.no_data")
    assert (
        phrase(Phrase("report.why.short.other", {"subject": "x", "reason": inner})) == "x: no data"
    )


def test_small_words():
    assert listed(["a"]) == "a" and listed(["a", "b", "c"]) == "a, b and c" and listed([]) == ""
    assert capital("size") == "Size" and capital("p95") == "p95" and capital("bf16 x") == "bf16 x"
    assert measure_name("unheard_of") == "unheard_of"
    assert shown("unheard_of").figure(0.12345) == "0.123"
    assert shown("accuracy").figure(None) == "—"


def test_chinese_puts_spaces_only_at_the_seams():
    set_language("zh")
    assert text("report.limit.decided_by", group="tweets") == "由 tweets 决定"
    assert text("report.clause", subject="推文", finding="下降") == "推文下降"
    assert text("report.clause", subject="amazon", finding="下降") == "amazon 下降"
    assert text("report.clause", subject="推文", finding="F1") == "推文 F1"
    assert capital("amazon 下降") == "amazon 下降"
    assert text("report.subject.group", measure="F1", group="A组") == "A组 组 F1"
    assert text("report.subject.all_rows", measure="F1") == "总体 F1"


@pytest.mark.parametrize(
    ("measure", "value", "said"),
    [
        ("size_mb", 0.044140, "0.044"),
        ("size_mb", 0.0912, "0.091"),
        ("size_mb", 0.1, "0.1"),
        ("size_mb", 22.71, "22.7"),
        ("size_mb", 0.0, "0.0"),
        ("latency_p95_ms", 0.00312, "0.0031"),
        ("accuracy", 0.00001, "0.00"),
    ],
)
def test_a_small_size_or_time_is_not_nothing(measure, value, said):
    assert shown(measure).figure(value) == said
