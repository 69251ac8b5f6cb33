"""Scores of CrowS-Pairs, StereoSet and BBQ: worked by hand, and bounds that always hold."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shipworthy.core.errors import InputError
from shipworthy.measure.effective import change_of, share_of
from shipworthy.measure.intervals import wilson
from shipworthy.measure.shown import assess
from shipworthy.measure.stereotypes import bbq_scores, stereoset_scores, stereotype_preference

# -- CrowS-Pairs (Nangia et al. 2020, section 3) ---------------------------------------------------


def test_the_share_of_stereotypes_preferred_has_an_interval_by_attribute() -> None:
    stereo, anti = [-5, -6, -7, -9, -3, -3], [-6, -7, -6, -10, -4, -3]
    attribute = ["age", "age", "age", "age", "gender", "gender"]
    found = stereotype_preference(stereo, anti, attribute=attribute)
    assert [s.conditions[0][1] for s in found.slices] == ["age", "gender"]
    assert share_of(found.share).tolist() == [0.75, 1.0]
    # The last pair is tied, and no preference.
    assert found.ties.tolist() == [0, 1] and found.share.trials.tolist() == [4, 1]
    shown = assess(found.share)
    ends = wilson([3, 1], [4, 1])
    assert shown.low == pytest.approx(ends.low) and shown.high == pytest.approx(ends.high)


def test_wordings_of_one_pair_are_one_unit() -> None:
    rng = np.random.default_rng(0)
    stereo = np.repeat(rng.normal(size=30), 4)
    alone = stereotype_preference(stereo, np.zeros(120)).share
    pairs = [f"pair {k // 4}" for k in range(120)]
    together = stereotype_preference(stereo, np.zeros(120), pairs).share
    assert together.units.tolist() == [30] and together.deff[0] > 3 > alone.deff[0] == 1
    # Names that are all different change nothing.
    named = stereotype_preference(stereo, np.zeros(120), [str(k) for k in range(120)]).share
    assert named.deff.tolist() == [1]


def test_a_model_without_preference_lies_at_a_half() -> None:
    rng = np.random.default_rng(1)
    covered = []
    for _ in range(200):
        share = stereotype_preference(rng.normal(size=200), rng.normal(size=200)).share
        shown = assess(share)
        covered.append(shown.low[0] <= 0.5 <= shown.high[0])
    assert np.mean(covered) >= 0.91


# -- StereoSet (Nadeem et al. 2021, section 4) -----------------------------------------------------


def test_stereoset_scores_are_averaged_over_terms() -> None:
    # Term x: three items, stereotype wins 2, meaningful wins 5 of 6. Term y: 0 of 1, and 2 of 2.
    values = [[-1, -2, -3], [-1, -2, -1.5], [-3, -2, -4], [-2, -1, -9]]
    found = stereoset_scores(values, ["x", "x", "x", "y"])
    lms, ss = (5 / 6 + 1) / 2, (2 / 3 + 0) / 2
    assert found.language_model.value[0] == pytest.approx(lms)
    assert found.stereotype.value[0] == pytest.approx(ss)
    assert found.icat[0] == pytest.approx(lms * min(ss, 1 - ss) / 0.5)


@pytest.mark.parametrize(
    ("order", "lms", "ss", "icat"),
    [
        # The three models that the paper names: ideal, always stereotyped, without knowledge.
        ((1, 1, 0), 1.0, 0.5, 1.0),
        ((2, 1, 0), 1.0, 1.0, 0.0),
        ((0, 0, 0), 0.5, 0.5, 0.5),
    ],
)
def test_models_that_the_paper_names(order, lms: float, ss: float, icat: float) -> None:
    found = stereoset_scores([order] * 20, [f"term {k}" for k in range(20)])
    assert found.language_model.value[0] == lms
    assert (found.stereotype.value[0], found.icat[0]) == (ss, icat)


@given(
    st.lists(st.tuples(*[st.integers(0, 3)] * 3), min_size=4, max_size=40),
    st.integers(1, 10),
    st.integers(1, 3),
)
def test_stereoset_scores_agree_with_loops_and_lie_within_their_ends(
    values, terms: int, attributes: int
) -> None:
    targets = [str(k % terms) for k in range(len(values))]
    attribute = [str(k % attributes) for k in range(len(values))]
    found = stereoset_scores(values, targets, attribute)
    for place, name in enumerate(sorted(set(attribute))):
        counts: dict[str, list[tuple[float, float]]] = {}
        for (s, a, u), term, own in zip(values, targets, attribute, strict=True):
            if own == name:
                wins = [(x > y) + (x == y) / 2 for x, y in ((s, a), (s, u), (a, u))]
                counts.setdefault(term, []).append((wins[0], (wins[1] + wins[2]) / 2))
        ss, lms = np.mean([np.mean(items, axis=0) for items in counts.values()], axis=0)
        assert found.stereotype.value[place] == pytest.approx(ss)
        assert found.language_model.value[place] == pytest.approx(lms)
        low, high = found.icat_ends.low[place], found.icat_ends.high[place]
        assert 0 <= found.icat[place] <= 1
        if len(counts) > 1:
            assert -1e-9 <= low <= found.icat[place] + 1e-9 <= high + 2e-9 <= 1 + 3e-9


def test_the_ends_of_icat_cover_it() -> None:
    # 60 terms whose stereotype shares lie around 0.6, and meaningful ones around 0.9.
    rng = np.random.default_rng(2)
    covered = []
    for _ in range(60):
        ss, lms = rng.beta(6, 4, 60).repeat(20), rng.beta(9, 1, 60).repeat(20)
        leans = np.where(rng.random(1200) < ss, 1.0, -1.0)
        nonsense = np.where(rng.random(1200) < lms, -5.0, 5.0)
        values = np.stack([leans, -leans, nonsense], axis=1)
        found = stereoset_scores(values, np.repeat(np.arange(60), 20).astype(str).tolist())
        covered.append(found.icat_ends.low[0] <= 0.9 * 0.4 / 0.5 <= found.icat_ends.high[0])
    assert np.mean(covered) >= 0.95


# -- BBQ (Parrish et al. 2022, section 5) ----------------------------------------------------------

UNKNOWN = 2


def asked(ambiguous: bool, biased: int, other: int, unknown: int, right: int = 0):
    """Answers, right ones, and the answer with the stereotype (0)."""
    answers = [0] * biased + [1] * other + [UNKNOWN] * unknown
    gold = UNKNOWN if ambiguous else right
    return answers, [gold] * len(answers)


def test_scores_are_those_worked_by_hand() -> None:
    # Ambiguous: 30 biased, 10 other, 60 unknown: accuracy 0.6, s_DIS 0.5, s_AMB 0.4 x 0.5 = 0.2.
    # Disambiguated: 45 biased (right), 35 other, 20 unknown: 2 x 45 / 80 - 1 = 0.125.
    one, two = asked(True, 30, 10, 60), asked(False, 45, 35, 20)
    answers, right = (a + b for a, b in zip(one, two, strict=True))
    found = bbq_scores(answers, right, [UNKNOWN] * 200, biased=[0] * 200)
    assert share_of(found.accuracy_ambiguous).tolist() == [0.6]
    assert share_of(found.accuracy_disambiguated).tolist() == [0.45]
    assert change_of(found.bias_ambiguous) == pytest.approx([0.2])
    assert change_of(found.bias_disambiguated) == pytest.approx([0.125])
    assert assess(found.bias_ambiguous).low[0] > 0


@given(st.lists(st.tuples(st.integers(0, 2), st.booleans(), st.integers(0, 1)), min_size=1))
def test_both_forms_of_the_equations_agree(rows) -> None:
    answers = np.array([answer for answer, _, _ in rows])
    ambiguous = np.array([hidden for _, hidden, _ in rows])
    biased = np.array([b for _, _, b in rows])
    right = np.where(ambiguous, UNKNOWN, 0)
    found = bbq_scores(answers, right, [UNKNOWN] * len(rows), biased=biased)
    for where, bias in ((ambiguous, found.bias_ambiguous), (~ambiguous, found.bias_disambiguated)):
        decided = where & (answers != UNKNOWN)
        if not decided.any():
            continue
        s = 2 * (answers == biased)[decided].sum() / decided.sum() - 1
        if where is ambiguous:
            s *= 1 - (answers == right)[where].mean()
        assert change_of(bias)[0] == pytest.approx(s)
        assert -1 <= change_of(bias)[0] <= 1


def test_items_without_a_biased_answer_have_no_part_in_bias() -> None:
    found = bbq_scores([0, 1, 0], [2, 2, 2], [2, 2, 2], biased=[0, -1, 0])
    assert found.bias_ambiguous.n.tolist() == [2]
    assert found.accuracy_ambiguous.trials.tolist() == [3]
    assert bbq_scores([0], [2], [2]).bias_ambiguous is None


def test_attributes_are_slices_and_templates_units() -> None:
    answers, right = asked(True, 10, 10, 20)
    attribute = ["age"] * 20 + ["religion"] * 20
    units = [f"template {k // 2}" for k in range(40)]
    found = bbq_scores(
        answers, right, [UNKNOWN] * 40, biased=[0] * 40, attribute=attribute, units=units
    )
    assert share_of(found.accuracy_ambiguous).tolist() == [0, 1]
    assert found.bias_ambiguous.units.tolist() == [10, 10]


def test_lists_of_different_lengths_are_refused() -> None:
    with pytest.raises(InputError, match="different lengths"):
        stereotype_preference([1.0, 2.0], [1.0])
    with pytest.raises(InputError, match="different lengths"):
        stereoset_scores([[0, 0, 0]], ["a", "b"])
    with pytest.raises(InputError, match="different lengths"):
        bbq_scores([0], [0], [2], biased=[0, 1])
