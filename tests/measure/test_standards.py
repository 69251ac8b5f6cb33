"""Legal standards against the examples that rules, guidelines and courts published themselves.

6 RCNY 5-301: the two example audits (Notice of Adoption of Final Rule, 2023). Questions and answers
on the Uniform Guidelines: 44 FR 11996 (1979), 12 and 21. Castaneda v. Partida, 430 U.S. 482, 496
n. 17; Hazelwood School District v. United States, 433 U.S. 299, 308 n. 14 and 311 n. 17.
"""

from __future__ import annotations

from fractions import Fraction
from itertools import product

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from shipworthy.core.errors import DataError
from shipworthy.core.records import Outcome
from shipworthy.measure.adverse_impact import four_fifths, standard_deviations
from shipworthy.measure.estimates import Rate
from shipworthy.measure.impact import FOUR_FIFTHS, Impact, impacts
from shipworthy.measure.local_law import AuditTable, BiasAudit, bias_audit

MALE, FEMALE = "Male", "Female"
HISPANIC, WHITE, BLACK, PACIFIC, ASIAN, NATIVE, TWO = (
    "Hispanic or Latino", "White", "Black or African American",
    "Native Hawaiian or Pacific Islander", "Asian", "Native American or Alaska Native",
    "Two or More Races",
)  # fmt: skip
RACES = (HISPANIC, WHITE, BLACK, PACIFIC, ASIAN, NATIVE, TWO)

SELECTION = dict(
    zip(
        product((MALE, FEMALE), RACES),
        [
            (205, 90), (412, 215), (226, 95), (87, 37), (321, 167), (24, 11), (115, 52),
            (190, 82), (385, 197), (164, 75), (32, 15), (295, 135), (17, 7), (98, 44),
        ],
        strict=True,
    )
)  # fmt: skip
"""Applicants and selected of the crossed table in the example of 5-301(b)."""

PUBLISHED_RATIOS = {
    MALE: "1.00", FEMALE: "0.979",
    WHITE: "1.00", BLACK: "0.84", PACIFIC: "0.85", ASIAN: "0.95", NATIVE: "0.85", TWO: "0.87",
}  # fmt: skip
"""As printed, with as many decimals. The race table counts 13 more Hispanic or Latino applicants
than the crossed one (408 against 395), so that row is not among them."""

PUBLISHED_CROSSED = dict(
    zip(
        SELECTION,
        [
            "0.841", "1.000", "0.806", "0.815", "0.997", "0.878", "0.866",
            "0.827", "0.981", "0.876", "0.898", "0.877", "0.789", "0.860",
        ],
        strict=True,
    )
)  # fmt: skip

SCORING = dict(
    zip(
        product((MALE, FEMALE), RACES),
        [
            (16, 12), (20, 7), (20, 10), (4, 3), (12, 7), (8, 5), (12, 6),
            (12, 6), (20, 8), (12, 6), (4, 2), (12, 3), (8, 5), (8, 4),
        ],
        strict=True,
    )
)  # fmt: skip
"""Applicants and those above the median in the example of 5-301(c): printed rate times number."""

SCORED = {
    MALE: (54.3, "1.00"), FEMALE: (44.7, "0.82"),
    HISPANIC: (64.2, "1.00"), WHITE: (37.5, "0.58"), BLACK: (50.0, "0.78"), PACIFIC: (62.5, "0.97"),
    ASIAN: (41.7, "0.65"), NATIVE: (62.5, "0.97"), TWO: (50.0, "0.78"),
}  # fmt: skip
SCORED_CROSSED = dict(
    zip(
        SCORING,
        ["1.00", "0.47", "0.67", "1.00", "0.78", "0.83", "0.67",
         "0.67", "0.53", "0.67", "0.67", "0.33", "0.83", "0.67"],
        strict=True,
    )
)  # fmt: skip


def applicants(counts: dict[tuple[str, str], tuple[int, int]], unknown: int) -> pl.DataFrame:
    rows = [(s, r, i < x) for (s, r), (n, x) in counts.items() for i in range(n)]
    rows += [(MALE, None, k % 2 == 0) if k % 3 else (None, WHITE, True) for k in range(unknown)]
    return pl.DataFrame(rows, schema=["sex", "race", "hired"], orient="row")


def table(audit: BiasAudit, heading: str) -> AuditTable:
    return next(t for t in audit.tables if t.heading == heading)


def by_name(found: tuple[Impact, ...]) -> dict[tuple[str, ...], Impact]:
    return {i.name: i for i in found}


def printed(value: float, like: str) -> str:
    return f"{value:.{len(like.partition('.')[2])}f}"


def test_the_selection_example_of_the_rule() -> None:
    audit = bias_audit(applicants(SELECTION, 250), sex="sex", race="race", selected="hired")
    assert (audit.form, audit.assessed, audit.unknown) == ("selection", 2571 + 250, 250)
    sex = by_name(table(audit, "sex").categories)
    assert {n[0]: (i.assessed, i.selected) for n, i in sex.items()} == {
        MALE: (1390, 667), FEMALE: (1181, 555),
    }  # fmt: skip
    race = by_name(table(audit, "race_ethnicity").categories)
    found = {n[0]: i.ratio for n, i in {**sex, **race}.items()}
    for name, said in PUBLISHED_RATIOS.items():
        assert printed(found[name], said) == said, name
    crossed = by_name(table(audit, "intersectional").categories)
    for name, said in PUBLISHED_CROSSED.items():
        assert printed(crossed[name].ratio, said) == said, name
        assert (crossed[name].assessed, crossed[name].selected) == SELECTION[name]
    assert [t.unknown for t in audit.tables] == [250, 250, 250]


def test_ratios_come_from_rates_that_are_not_rounded() -> None:
    """Of rounded rates Black applicants would have 44/52 = 0.85; the rule prints 0.84."""
    audit = bias_audit(applicants(SELECTION, 0), sex="sex", race="race", selected="hired")
    race = by_name(table(audit, "race_ethnicity").categories)
    assert race[(BLACK,)].ratio == pytest.approx((170 / 390) / (412 / 797), abs=1e-12)


def test_the_scoring_example_of_the_rule() -> None:
    frame = applicants(SCORING, 0).with_columns(
        pl.when("hired").then(0.9).otherwise(0.1).alias("fit")
    )
    # 84 of 168 lie above: the median is between both scores.
    audit = bias_audit(frame, sex="sex", race="race", score="fit")
    assert (audit.form, audit.median) == ("scoring", 0.5)
    shown = {
        **by_name(table(audit, "sex").categories),
        **by_name(table(audit, "race_ethnicity").categories),
    }
    for name, (rate, ratio) in SCORED.items():
        # The rule prints 64.2 for 18 of 28.
        assert abs(100 * shown[(name,)].rate - rate) < 0.1
        assert printed(shown[(name,)].ratio, ratio) == ratio, name
    crossed = by_name(table(audit, "intersectional").categories)
    for pair, ratio in SCORED_CROSSED.items():
        assert printed(crossed[pair].ratio, ratio) == ratio, pair


def test_scores_are_above_the_median_strictly_and_of_everybody() -> None:
    frame = pl.DataFrame(
        {"sex": ["f", "m", "f", "m", None], "race": ["a"] * 5, "s": [1.0, 2.0, 2.0, 2.0, 9.0]}
    )
    audit = bias_audit(frame, sex="sex", race="race", score="s")
    assert audit.median == 2.0
    # The one above it has an unknown sex, so nobody in the table is.
    assert sum(i.selected for i in table(audit, "sex").categories) == 0
    assert all(np.isnan(i.ratio) for i in table(audit, "sex").categories)


def test_small_categories_are_excluded_for_a_reason_and_still_shown() -> None:
    frame = applicants(SELECTION, 0)
    audit = bias_audit(
        frame, sex="sex", race="race", selected="hired", justification="too few to tell"
    )
    race = table(audit, "race_ethnicity")
    assert [i.name for i in race.excluded] == [(NATIVE,)]
    small = race.excluded[0]
    assert (small.assessed, small.selected) == (41, 18)
    assert small.rate == pytest.approx(18 / 41)
    assert np.isnan(small.ratio)
    assert audit.justification == "too few to tell"
    others = bias_audit(
        frame.filter(pl.col("race") != NATIVE), sex="sex", race="race", selected="hired"
    )
    kept = {i.name: i.ratio for i in race.categories if not i.excluded}
    assert kept == {i.name: i.ratio for i in table(others, "race_ethnicity").categories}


def test_an_excluded_category_is_not_the_highest() -> None:
    rate = _rate([(1, 1), (50, 100), (40, 100)])
    found = impacts([("a",), ("b",), ("c",)], rate, excluded=np.array([True, False, False]))
    assert [i.highest for i in found] == [False, True, False]
    assert found[2].ratio == 0.8


def test_who_is_unknown_in_one_table_can_count_in_the_other() -> None:
    frame = applicants(SELECTION, 30)
    own = bias_audit(frame, sex="sex", race="race", selected="hired", by_row=False)
    unknown = {t.heading: t.unknown for t in own.tables}
    assert unknown == {"sex": 10, "race_ethnicity": 20, "intersectional": 30}
    assert own.unknown == 30


def test_values_that_say_unknown_are_counted_as_such() -> None:
    frame = pl.DataFrame(
        {
            "sex": ["f", "m", "Prefer not to say", "x", " "],
            "race": ["a", "a", "a", "a", "a"],
            "y": [1, 0, 1, 1, 0],
        }
    )
    audit = bias_audit(frame, sex="sex", race="race", selected="y", unknown=["X"])
    assert audit.unknown == 3
    assert audit.unknown_values == ("Prefer not to say", "x")


def test_a_classification_has_tables_for_each_class() -> None:
    frame = pl.DataFrame(
        {
            "sex": ["f", "m"] * 30,
            "race": ["a", "b", "b"] * 20,
            "style": ["bold", "calm", "calm"] * 20,
        }
    )
    audit = bias_audit(frame, sex="sex", race="race", classified="style")
    assert [(t.classified, t.heading) for t in audit.tables] == [
        (c, h) for c in ("bold", "calm") for h in ("sex", "race_ethnicity", "intersectional")
    ]
    for heading in ("sex", "race_ethnicity"):
        both = [t for t in audit.tables if t.heading == heading]
        for one, other in zip(both[0].categories, both[1].categories, strict=True):
            assert one.selected + other.selected == one.assessed


def test_repeated_applicants_widen_the_interval() -> None:
    frame = applicants(SELECTION, 0).with_row_index("i")
    frame = frame.with_columns((pl.col("i") // 8).alias("person"))
    plain = bias_audit(frame, sex="sex", race="race", selected="hired")
    units = bias_audit(frame, sex="sex", race="race", selected="hired", unit="person")
    for one, other in zip(
        table(plain, "sex").categories, table(units, "sex").categories, strict=True
    ):
        assert other.high - other.low > 1.5 * (one.high - one.low)
        assert other.ratio == one.ratio


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"selected": "hird"}, "'hired'"),
        ({"selected": "race"}, "--positive"),
        ({"selected": "hired", "positive": "maybe"}, "maybe"),
        ({"score": "race"}, "row 1"),
    ],
)
def test_what_cannot_be_calculated_names_the_column(change: dict[str, str], words: str) -> None:
    frame = applicants(SELECTION, 0)
    with pytest.raises(DataError, match=words):
        bias_audit(frame, sex="sex", race="race", **change)  # type: ignore[arg-type]


def test_a_missing_answer_names_its_row() -> None:
    frame = pl.DataFrame({"sex": ["f", "m"], "race": ["a", "a"], "y": [1, None]})
    with pytest.raises(DataError, match="row 2"):
        bias_audit(frame, sex="sex", race="race", selected="y")


def test_names_are_no_categories() -> None:
    frame = pl.DataFrame(
        {"sex": [f"person {k}" for k in range(10_000)], "race": ["a"] * 10_000, "y": [1] * 10_000}
    )
    with pytest.raises(DataError, match="10,000"):
        bias_audit(frame, sex="sex", race="race", selected="y")


def test_nobody_known_is_an_error() -> None:
    frame = pl.DataFrame({"sex": [None, "m"], "race": ["a", None], "y": [1, 0]})
    with pytest.raises(DataError, match="sex"):
        bias_audit(frame, sex="sex", race="race", selected="y")


# -- four fifths -----------------------------------------------------------------------------------


def _rate(counts: list[tuple[int, int]]) -> Rate:
    x, n = (np.array(c, dtype=np.float64) for c in zip(*counts, strict=True))
    return Rate(x, n, n, np.ones(len(n)))


def test_question_12_of_the_guidelines() -> None:
    """Rates of 60, 45, 48 and 51 %: impact ratios of 75, 80 and 85 %, the first alone is below."""
    names = [("white",), ("american indian",), ("hispanic",), ("black",)]
    for size in (100, 10_000):
        found = four_fifths(names, _rate([(k * size // 100, size) for k in (60, 45, 48, 51)]))
        assert found is not None
        top, others = found
        assert top.name == ("white",)
        assert [f.impact.ratio for f in others] == pytest.approx([0.75, 0.80, 0.85])
        assert [f.impact.below for f in others] == [True, False, False]
    # On the line is not below it, and counts can't tell on which side the truth is.
    assert others[1].impact.answer is Outcome.CANNOT_TELL
    assert others[0].impact.answer is Outcome.FAIL
    assert others[2].impact.answer is Outcome.PASS


def test_question_21_of_the_guidelines() -> None:
    """3 of 20 males and 1 of 10 females: two thirds, but one other person reverses it."""
    found = four_fifths([("male",), ("female",)], _rate([(3, 20), (1, 10)]))
    assert found is not None
    (female,) = found[1]
    assert female.impact.ratio == pytest.approx(2 / 3)
    assert female.impact.below
    assert female.reversed
    assert female.turns
    assert female.short == 1
    assert "few_expected" in female.notes
    assert female.impact.answer is Outcome.CANNOT_TELL
    assert female.impact.reason == "too_few_rows"


def test_fisher_as_in_the_tea_tasting() -> None:
    """Fisher 1935: 3 of 4 against 1 of 4, p = 0.4857 two-sided, 0.2429 one-sided."""
    found = four_fifths([("a",), ("b",)], _rate([(3, 4), (1, 4)]))
    assert found is not None
    (b,) = found[1]
    assert b.p == pytest.approx(0.485714, abs=1e-6)
    assert b.p_lower == pytest.approx(0.242857, abs=1e-6)


def test_nobody_selected_has_no_ratio() -> None:
    assert four_fifths([("a",), ("b",)], _rate([(0, 40), (0, 40)])) is None
    assert four_fifths([("a",), ("b",)], _rate([(0, 0), (0, 0)])) is None


COUNTS = st.lists(
    st.integers(0, 60).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))),
    min_size=1,
    max_size=5,
)


@given(COUNTS)
def test_impacts_keep_what_a_ratio_is(counts: list[tuple[int, int]]) -> None:
    names = [(str(k),) for k in range(len(counts))]
    found = impacts(names, _rate(counts), line=FOUR_FIFTHS)
    most = max((Fraction(x, n) for x, n in counts if n), default=Fraction(0))
    for i, (x, n) in zip(found, counts, strict=True):
        if not n or not most:
            assert np.isnan(i.ratio)
            assert i.below is None
            continue
        assert i.below == (Fraction(x, n) < Fraction(4, 5) * most)
        assert i.ratio == pytest.approx(float(Fraction(x, n) / most))
        assert 0 <= i.ratio_low <= i.ratio + 1e-9 <= 1 + 2e-9
        assert i.ratio <= i.ratio_high + 1e-9 <= 1 + 2e-9
        assert i.highest == (Fraction(x, n) == most)
        # A tested answer never contradicts the raw figure.
        assert i.answer is not (Outcome.PASS if i.below else Outcome.FAIL)


@given(COUNTS, st.randoms(use_true_random=False))
def test_the_order_of_categories_says_nothing(
    counts: list[tuple[int, int]], random: object
) -> None:
    names = [(str(k),) for k in range(len(counts))]
    order = list(range(len(counts)))
    random.shuffle(order)  # type: ignore[attr-defined]
    one = by_name(impacts(names, _rate(counts), line=FOUR_FIFTHS))
    other = by_name(
        impacts([names[k] for k in order], _rate([counts[k] for k in order]), line=FOUR_FIFTHS)
    )
    for name, found in one.items():
        assert found.answer == other[name].answer
        assert found.ratio_low == pytest.approx(other[name].ratio_low, nan_ok=True)


@given(COUNTS)
def test_selections_that_are_short_reach_the_line(counts: list[tuple[int, int]]) -> None:
    names = [(str(k),) for k in range(len(counts))]
    found = four_fifths(names, _rate(counts))
    for f in found[1] if found is not None else ():
        target = Fraction(4, 5) * Fraction(f.against.selected, f.against.assessed)
        x, n = f.impact.selected, f.impact.assessed
        assert Fraction(x + f.short, n) >= target
        assert f.short == 0 or Fraction(x + f.short - 1, n) < target
        assert (f.short > 0) == f.impact.below


def test_false_fails_and_passes_stay_rare() -> None:
    """With ratios on the line or equal, answers err at most at their level (4 groups of 300)."""
    generator = np.random.default_rng(5)
    names = [(str(k),) for k in range(4)]
    runs, passed, failed = 400, 0, 0
    for _ in range(runs):
        truth = np.array([0.5, 0.4, 0.5, 0.5])
        found = impacts(names, _rate([(int(generator.binomial(300, p)), 300) for p in truth]),
                        line=FOUR_FIFTHS)  # fmt: skip
        passed += found[1].answer is Outcome.PASS
        failed += any(i.answer is Outcome.FAIL for i in found)
    # The upper quantile at 1e-4 of a binomial at the allowed rate.
    allowed = int(stats.binom.isf(1e-4, runs, 0.025))
    assert passed <= allowed, (passed, allowed)
    assert failed <= allowed, (failed, allowed)


# -- standard deviations ---------------------------------------------------------------------------


def _binomial(selected: int, of: int, share: float) -> float:
    rate = _rate([(selected, selected), (of - selected, of - selected)])
    found = standard_deviations([("a",), ("b",)], rate, population={"a": share, "b": 1 - share})
    return found[0].deviations


def test_castaneda() -> None:
    """339 of 870 where 79.1 % were expected: about 12 per deviation, 29 deviations; and 12."""
    assert round(_binomial(339, 870, 0.791)) == -29
    rate = _rate([(339, 339), (531, 531)])
    found = standard_deviations([("a",), ("b",)], rate, population={"a": 0.791, "b": 0.209})[0]
    assert round(found.expected) == 688
    assert round(found.standard_deviation) == 12
    assert found.p < 1e-140
    assert found.answer is Outcome.FAIL
    # "approximately 12 standard deviations" for 100 of 220 in the two and a half years.
    assert round(_binomial(100, 220, 0.791)) == -12


@pytest.mark.parametrize(
    ("hired", "of", "share", "expected", "beyond"),
    [
        (10, 282, 0.154, 43, 5), (5, 123, 0.154, 19, 3), (15, 405, 0.154, 62, 6),
        (10, 282, 0.057, 16, 0), (5, 123, 0.057, 7, 0), (15, 405, 0.057, 23, 0),
    ],
)  # fmt: skip
def test_hazelwood(hired: int, of: int, share: float, expected: int, beyond: int) -> None:
    """More than five, three and six deviations at 15.4 %; less than two at 5.7 %."""
    rate = _rate([(hired, hired), (of - hired, of - hired)])
    found = standard_deviations([("a",), ("b",)], rate, population={"a": share, "b": 1 - share})[0]
    assert round(found.expected) == expected
    assert -found.deviations > beyond
    if not beyond:
        assert -found.deviations < 2
        assert not found.beyond_two
    else:
        assert found.beyond_two
        assert found.beyond_three


@given(COUNTS)
def test_deviations_are_those_of_the_hypergeometric(counts: list[tuple[int, int]]) -> None:
    names = [(str(k),) for k in range(len(counts))]
    pool, chosen = sum(n for _, n in counts), sum(x for x, _ in counts)
    found = standard_deviations(names, _rate(counts))
    known = [d for d in found if not np.isnan(d.deviations)]
    for d in known:
        law = stats.hypergeom(pool, chosen, d.assessed)
        assert d.expected == pytest.approx(law.mean())
        assert d.standard_deviation == pytest.approx(law.std())
        assert 0 <= d.p <= 1
        assert d.beyond_two == (d.deviations < -2)
        assert d.answer is not Outcome.PASS
    if len(known) == len(counts):
        assert sum(d.selected - d.expected for d in known) == pytest.approx(0, abs=1e-6)


def test_two_groups_have_fishers_p() -> None:
    rate = _rate([(20, 100), (40, 100)])
    found = standard_deviations([("a",), ("b",)], rate)
    compared = four_fifths([("a",), ("b",)], rate)
    assert compared is not None
    assert found[0].p == pytest.approx(compared[1][0].p)
    assert found[0].deviations == -found[1].deviations
    assert found[0].answer is Outcome.FAIL
    assert found[1].answer is Outcome.CANNOT_TELL
