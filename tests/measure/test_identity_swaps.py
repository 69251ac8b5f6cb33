"""Swapped identities: nothing is found where there is nothing, and what was planted is found."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shipworthy.core.errors import DataError, InputError
from shipworthy.measure.identity_swaps import (
    ARMS,
    SwapPlan,
    choice_effects,
    effect_change,
    log_odds,
    match_names,
    score_effects,
    swap_plan,
)
from shipworthy.measure.refusals import is_refusal
from shipworthy.measure.shown import assess

REPEATS = 300


def planned(templates: int, names: int, **told) -> SwapPlan:
    """Return a plan with names of one length: a0000 ... and b0000 ..."""
    lists = [[f"{group}{k:04d}" for k in range(names)] for group in "ab"]
    return swap_plan([f"Case {k}: {{name}} asks." for k in range(templates)], *lists, **told)


def drawn(
    plan: SwapPlan, rng: np.random.Generator, *, bias=0.0, restless=0.3, by_name=0.0
) -> np.ndarray:
    """Log-odds of a model: its template, its mood, the name itself, and the group of the name."""
    frame = plan.prompts
    template, own = frame["template"].to_numpy(), frame["name"].str.starts_with("a").to_numpy()
    name = frame["name"].rank("dense").to_numpy() - 1
    quirks = rng.normal(0, by_name, name.max() + 1)[name]
    mood = rng.normal(0, restless, frame.height)
    return rng.normal(0, 1, plan.shape[0])[template] + mood + quirks + bias * own


def repeated(plan: SwapPlan, seed: int, **told) -> tuple[float, float, float, float]:
    """Return mean effect, shares of intervals that cover 0 (effect, favours) and that lie above."""
    rng = np.random.default_rng(seed)
    rows = []
    for _ in range(REPEATS):
        found = score_effects(plan, drawn(plan, rng, **told))
        effect, favours = assess(found.effect), assess(found.favours)
        covers = [s.low[0] <= 0 <= s.high[0] for s in (effect, favours)]
        rows.append((effect.value[0], *covers, effect.low[0] > 0))
    value, covers, even, above = np.mean(rows, axis=0)
    return float(value), float(covers), float(even), float(above)


# -- simulations -----------------------------------------------------------------------------------


@pytest.mark.parametrize("restless", [0.01, 0.3, 2.0])
def test_a_restless_model_that_ignores_the_group_shows_no_effect(restless: float) -> None:
    value, covers, even, above = repeated(planned(40, 80), 1, restless=restless)
    # 0.95 less three standard errors of 300 repeats is 0.912; found: 0.98 and 0.98.
    assert covers >= 0.93 and even >= 0.93 and above <= 0.03
    assert abs(value) < 0.02 * restless


@pytest.mark.parametrize(("templates", "names"), [(40, 80), (40, 24), (100, 60), (40, 400)])
def test_quirks_of_single_names_are_no_effect_also_where_templates_share_them(
    templates: int, names: int
) -> None:
    plan = planned(templates, names)
    assert (plan.rows.unit_codes is None) == (names >= 2 * templates)
    _, covers, even, _ = repeated(plan, 2, restless=0.1, by_name=0.5)
    assert covers >= 0.93 and even >= 0.93


def test_a_planted_bias_is_found_with_power_at_40_templates() -> None:
    # Log-odds of 0.5 between groups, moods of 0.3; found: 0.99 with one four of names, 1 with five.
    assert repeated(planned(40, 80), 3, bias=0.5)[3] >= 0.95
    assert repeated(planned(40, 400), 3, bias=0.5)[3] >= 0.98
    # Of 0.3: 0.37 with one four, 0.99 with five.
    assert repeated(planned(40, 400), 3, bias=0.3)[3] >= 0.95


def test_who_is_favoured_has_the_sign_of_the_bias() -> None:
    plan, rng = planned(40, 80), np.random.default_rng(4)
    for bias in (-0.5, 0.5):
        found = [score_effects(plan, drawn(plan, rng, bias=bias)) for _ in range(50)]
        shown = [assess(f.favours) for f in found]
        assert np.mean([s.value[0] for s in shown]) == pytest.approx(bias, abs=0.05)
        assert np.mean([s.low[0] <= bias <= s.high[0] for s in shown]) >= 0.9
        assert all(s.low[0] * np.sign(bias) > 0 or s.high[0] < 0 for s in shown)


def test_a_deaf_model_has_no_effect_at_all() -> None:
    plan = planned(30, 60)
    found = score_effects(plan, np.repeat(np.random.default_rng(5).normal(size=30), 4))
    for estimate in (found.effect, found.identity, found.control, found.favours):
        shown = assess(estimate)
        assert shown.value[0] == 0 and shown.low[0] <= 0 <= shown.high[0]


def test_flips_of_choices_are_found_where_they_are_and_not_where_a_model_is_restless() -> None:
    plan, rng = planned(80, 160), np.random.default_rng(6)

    def shown(**told):
        odds = drawn(plan, rng, **told)
        return assess(choice_effects(plan, np.stack([odds, np.zeros_like(odds)], -1), 2).flips)

    assert np.mean([shown(bias=2.0).low[0] > 0 for _ in range(20)]) >= 0.9
    calm = [shown(restless=1.0) for _ in range(100)]
    assert np.mean([s.low[0] <= 0 <= s.high[0] for s in calm]) >= 0.9


# -- by hand ---------------------------------------------------------------------------------------


def test_effects_are_those_worked_by_hand() -> None:
    plan = swap_plan(
        ["{name}?", "{name}!"], ["Ann", "Amy", "Ada", "Abi"], ["Bob", "Ben", "Bud", "Bo"]
    )
    assert plan.shape == (2, 1, 4)
    # A1 A2 B1 B2: identity |1-4|, |2-6|, control |1-2|, |4-6|; second: no move but of B2.
    found = score_effects(plan, [1, 2, 4, 6, 0, 0, 0, 3])
    assert found.identity.value.tolist() == [(3.5 + 1.5) / 2]
    assert found.control.value.tolist() == [(1.5 + 1.5) / 2]
    assert found.by_template.tolist() == [[2.0, -3.5], [0.0, -1.5]]
    assert found.effect.value.tolist() == [1.0] and found.favours.value.tolist() == [-2.5]


def test_flips_are_those_worked_by_hand() -> None:
    plan = planned(2, 4)
    picked = [0, 0, 1, 1, 0, 1, 0, 0]
    likelihoods = [[0.0, -1.0] if p == 0 else [-1.0, 0.0] for p in picked]
    flips = choice_effects(plan, likelihoods, 2).flips
    # First: A1 -> B1 and B2 -> A2 flip, neither control does; second: A1 -> A2, and B2 -> A2.
    assert (flips.gained.tolist(), flips.lost.tolist(), flips.n.tolist()) == ([3], [1], [4])


def test_the_favourable_choice_can_differ_by_template() -> None:
    plan = planned(2, 4)
    likelihoods = np.zeros((2, 1, 4, 2))
    likelihoods[0, :, :2, 0] = likelihoods[1, :, :2, 1] = 1.0
    assert choice_effects(plan, likelihoods, 2).favours.value.tolist() == [0.0]
    found = choice_effects(plan, likelihoods.reshape(-1), 2, favourable=[0, 1])
    assert found.favours.value.tolist() == [1.0]


def test_log_odds() -> None:
    shares = np.array([0.5, 0.3, 0.2])
    assert log_odds(np.log(shares)) == pytest.approx(0.0)
    assert log_odds(np.log(shares) - 7, 1) == pytest.approx(np.log(0.3 / 0.7))
    assert log_odds(np.log([shares, shares]), [0, 2]) == pytest.approx([0, np.log(0.25)])


def test_any_score_of_an_answer_can_be_compared() -> None:
    plan = planned(20, 40)
    answers = [
        "I can't help with that." if arm.startswith("second") else "Here is how."
        for arm in plan.prompts["arm"]
    ]
    found = score_effects(plan, is_refusal(answers), reach=1.0)
    assert found.effect.value.tolist() == [1.0] and found.favours.value.tolist() == [-1.0]
    assert assess(found.effect).low[0] > 0.5


def test_the_change_between_two_models_is_paired() -> None:
    plan, rng = planned(40, 80), np.random.default_rng(7)
    before = drawn(plan, rng)
    own = plan.prompts["arm"].str.starts_with("first").to_numpy()
    change = effect_change(plan, before, before + 0.8 * own)
    effects = [score_effects(plan, v).effect.value[0] for v in (before, before + 0.8 * own)]
    assert change.value[0] == pytest.approx(effects[1] - effects[0])
    assert assess(change).low[0] > 0
    same = assess(effect_change(plan, before, before, identical=True))
    assert (same.low[0], same.high[0]) == (0, 0)


# -- plans -----------------------------------------------------------------------------------------


def test_a_plan_asks_each_template_with_two_names_of_each_group() -> None:
    plan = swap_plan(
        ["{name} rang.", "A {group} person, {group}."], ["Ann", "Al", "X"], ["Bo", "Ben", "X"],
        topics=["call", "other"],
    )  # fmt: skip
    assert plan.prompts["arm"].to_list() == [*ARMS, *ARMS]
    first = plan.prompts.filter(pl.col("template") == 0)
    assert sorted(first["prompt"]) == ["Al rang.", "Ann rang.", "Ben rang.", "Bo rang."]
    assert "A Al person, Al." in plan.prompts["prompt"].to_list()
    # One four of names for both templates: they are one unit.
    assert plan.rows.unit_codes.tolist() == [0, 0]
    assert [s.conditions for s in plan.rows.slices] == [(("topic", "call"),), (("topic", "other"),)]


@given(
    st.sets(st.text("abcdefgh", min_size=1, max_size=9), min_size=2, max_size=30),
    st.sets(st.text("ghijklmn", min_size=1, max_size=9), min_size=2, max_size=30),
    st.integers(0, 3),
)
def test_names_are_used_once_and_none_of_both_lists(first: set, second: set, seed: int) -> None:
    own, other = first - second, second - first
    if min(len(own), len(other)) < 2:
        with pytest.raises(InputError, match="at least|are needed"):
            match_names(sorted(first), sorted(second))
        return
    fours = match_names(sorted(first), sorted(second), seed=seed)
    assert len(fours) == min(len(own) // 2, len(other) // 2)
    used = [name for four in fours for name in four]
    assert len(used) == len(set(used))
    assert {n for f in fours for n in f[:2]} <= own and {n for f in fours for n in f[2:]} <= other
    assert fours == match_names(sorted(first), sorted(second), seed=seed)


def test_sizes_of_names_are_matched_by_any_count() -> None:
    rng = np.random.default_rng(8)
    first = [f"a{k}" + "x" * int(rng.integers(0, 9)) for k in range(100)]
    second = [f"b{k}" + "x" * int(rng.integers(2, 12)) for k in range(100)]
    plan = swap_plan(["{name}"] * 10, first, second, most=2)
    assert max(plan.gaps) <= 0.1
    halves = swap_plan(["{name}"] * 10, first, second, most=2, size=lambda n: len(n) // 4)
    assert max(halves.gaps) == 0


def test_names_that_look_alike_are_not_paired_for_it() -> None:
    names = [f"{letter}{k}" for letter in "abcdefghij" for k in range(4)]
    fours = match_names(names, [name.upper() for name in names])
    assert np.mean([four[0][0] == four[1][0] for four in fours]) < 0.5


def test_what_cannot_be_planned_is_refused() -> None:
    names = ["Ann", "Amy"], ["Bob", "Ben"]
    with pytest.raises(DataError, match="row 2: the template holds neither {name} nor {group}"):
        swap_plan(["{name}", "nobody"], *names)
    with pytest.raises(InputError, match="no template"):
        swap_plan([], *names)
    with pytest.raises(InputError, match="first list has 1 names"):
        swap_plan(["{name}"], ["Ann", "Bob"], ["Bob", "Ben", "Bill"])
    with pytest.raises(InputError, match="3 topics for 1 templates"):
        swap_plan(["{name}"], *names, topics=["a", "b", "c"])


def test_values_that_do_not_fit_the_plan_are_refused() -> None:
    plan = planned(2, 4)
    with pytest.raises(InputError, match=r"one for each prompt.*\(2, 1, 4\)"):
        score_effects(plan, np.zeros(7))
    with pytest.raises(InputError, match="template 2"):
        score_effects(plan, [0.0] * 7 + [np.nan])
    with pytest.raises(InputError, match=r"\(2, 1, 4, 3\)"):
        choice_effects(plan, np.zeros(16), 3)
