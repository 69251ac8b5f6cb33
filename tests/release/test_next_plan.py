"""For each kind of limit that keeps a candidate back: what to do, at what cost, in which order."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from shipworthy.compress import CompressSettings, Recipe, expand
from shipworthy.compress.recipes import steps_of
from shipworthy.compress.repairs import repaired
from shipworthy.core.locale import set_language
from shipworthy.core.records import Answer, Limit, Slice
from shipworthy.core.yaml import parse_yaml
from shipworthy.measure.decide import Evidence, decide_candidate
from shipworthy.measure.estimates import Estimate, Fact, Mean, PairedChange, Rate, Spread
from shipworthy.release.documents import step_document
from shipworthy.release.judgement import NextStep, Phrase
from shipworthy.release.next_ground import Background, Price, Spent
from shipworthy.release.next_plan import plan
from shipworthy.release.next_prices import PriceSettings, priced, ranked
from shipworthy.release.next_step import Clock
from shipworthy.release.next_words import besides
from shipworthy.release.wording import phrase

CHANGE = Limit("accuracy", "at_least", -0.02, {"each": "shop"}, "parent")
SIZE = Limit("size_mb", "at_most", 30.0)
LATENCY = Limit("latency_p95_ms", "at_most", 20.0)
PRUNE = {
    "a": Recipe("prune-50", "prune", {"share": 0.5}),
    "b": Recipe("prune-30", "prune", {"share": 0.3}),
}


def floats(*values: float) -> np.ndarray:
    return np.array(values, dtype=np.float64)


def change(lost: float, gained: float, n: float = 1000) -> Evidence:
    """South alone is as told; north lost nothing."""
    both = floats(n, n)
    estimate = PairedChange(
        floats(0, lost), floats(0, gained), both, both, np.ones(2), np.zeros(2, dtype=bool)
    )
    return Evidence(
        CHANGE, 0, (Slice.of({"shop": "north"}), Slice.of({"shop": "south"})), estimate, -0.02
    )


def one(limit: Limit, estimate: Estimate, index: int = 1) -> Evidence:
    assert not isinstance(limit.bound, str)
    return Evidence(limit, index, (Slice(),), estimate, limit.bound)


def size(mb: float) -> Evidence:
    return one(SIZE, Fact(floats(mb)))


def latency(ms: float, error: float = 0.02) -> Evidence:
    nothing = floats(np.nan)
    return one(
        LATENCY,
        Mean(
            floats(ms), floats(error), floats(4), nothing, nothing, np.ones(1), "log", "t", nothing,
            np.zeros(1, dtype=bool),
        ),
    )  # fmt: skip


def steps(
    evidence: dict[str, list[Evidence]], answer: Answer = Answer.HOLD, *, run: str = "r1",
    nominated: tuple[str, ...] = ("a", "b"), **ground: Any,
) -> tuple[NextStep, ...]:  # fmt: skip
    decided = [decide_candidate(name, items) for name, items in evidence.items()]
    return plan(
        decided, evidence, {name: f"model {name}" for name in evidence}, nominated, answer,
        run=run, confidence=0.95, opening=1, background=Background(**ground),
    )  # fmt: skip


def keys(found: tuple[NextStep, ...]) -> list[str]:
    return [s.phrase.key for s in found]


def test_another_candidate_of_the_run_that_is_inside_is_named_with_its_numbers() -> None:
    (step, *_) = steps({"a": [change(80, 5)], "b": [change(4, 5)]})
    assert step.phrase.key == "next.other.group"
    assert (step.probability, step.cost_rows, step.cost_minutes) == (1.0, 0, 0.0)
    assert step.effect == pytest.approx(0.001) and step.effect_measure == "accuracy"
    assert step.effect_low < 0.001 < step.effect_high
    said = phrase(step.phrase)
    assert said.startswith(
        "model a: model b is inside where this one is not, the change in accuracy"
    )
    assert "of shop=south is +0.1 [−0.6, +0.8] points; take that one." in said


def test_one_that_is_inside_only_part_of_the_limits_is_not_named() -> None:
    found = steps({"a": [change(80, 5), size(50)], "b": [change(4, 5), size(40)]})
    assert "next.other.group" not in keys(found)


def test_a_share_between_two_that_were_measured_is_proposed() -> None:
    evidence = {"a": [change(70, 20)], "b": [change(28, 15)]}
    validation = {"a": [change(35, 10, 500)], "b": [change(12, 7, 500)]}
    found = steps(evidence, recipes=PRUNE, validation=validation, minutes={"a": 2.0})
    (step,) = [s for s in found if s.phrase.key == "next.share.group"]
    assert step.recipe.startswith("{prune: 0.") and "keep" not in step.recipe
    share = float(step.recipe[8:-1])
    assert 0.05 <= share < 0.5
    assert 0 <= step.pass_probability <= 1 and step.cost_minutes == 2.0
    assert -0.06 < step.effect_low < step.effect < step.effect_high < 0.03
    # The kept blocks of a recipe stay kept, and other recipes are no kin of it.
    kept = {"a": Recipe("prune-50-keep-1", "prune", {"share": 0.5, "keep": [1]}), "b": PRUNE["b"]}
    alone = steps(evidence, recipes=kept, validation=validation)
    (kept_step,) = [s for s in alone if s.phrase.key == "next.share.group"]
    assert kept_step.recipe.endswith("keep: [1]}}")
    wanda = {
        name: Recipe(f"{one.name}-wanda", "prune", {**one.settings, "method": "wanda"})
        for name, one in PRUNE.items()
    }
    (by_wanda,) = [
        s
        for s in steps(evidence, recipes=wanda, validation=validation)
        if s.phrase.key == "next.share.group"
    ]
    assert by_wanda.recipe == f"{{prune: {{share: {share:.10g}, method: wanda}}}}"
    for other in (
        Recipe("prune-50-2-4", "prune", {"share": 0.5, "pattern": "2:4"}),
        Recipe("neurons-50", "prune", {"neurons": {"share": 0.5}}),
        Recipe("vocabulary-50", "vocabulary", {"vocabulary": {"words": 50}}),
    ):
        # None of them has a share between, and beside one of them the other has no kin.
        recipes = {"a": other, "b": PRUNE["b"]}
        found = steps(evidence, recipes=recipes, validation=validation)
        assert "next.share.group" not in keys(found)


def test_validation_without_the_group_proposes_no_share() -> None:
    evidence = {"a": [change(70, 20)], "b": [change(28, 15)]}
    assert "next.share.group" not in keys(steps(evidence, recipes=PRUNE))


@pytest.mark.parametrize(
    ("recipe", "looked"),
    [
        (Recipe("int8", "quantize", {"weights": "int8"}), True),
        (PRUNE["a"], True),
        (Recipe("a", "prune", {"share": 0.5, "method": "wanda", "pattern": "2:4"}), True),
        (Recipe("neurons-50", "prune", {"neurons": {"share": 0.5}}), False),
        (Recipe("vocabulary-50", "vocabulary", {"vocabulary": {"words": 50}}), False),
        (Recipe("bf16", "quantize", {"weights": "bf16"}), False),
    ],
)
def test_layers_are_to_be_looked_into_where_the_recipe_can_keep_some(
    recipe: Recipe, looked: bool
) -> None:
    found = steps({"a": [change(80, 5)]}, recipes={"a": recipe}, minutes={"a": 1.5}, parts=7)
    repair = "next.milder" if recipe.name == "bf16" else "next.repair.group"
    assert keys(found) == (["next.layers.group"] if looked else [repair])
    if looked:
        assert found[0].cost_minutes == pytest.approx(10.5)
        assert "`shipworthy next runs/r1`, about 10 min" in phrase(found[0].phrase)
    assert "next.layers.group" not in keys(steps({"a": [change(80, 5)]}, run=""))


@pytest.mark.parametrize(
    ("settings", "proposed"),
    [
        ({"gguf": "Q4_K_M"}, "{gguf: Q5_K_M}"),
        ({"weights": "int4"}, "{int4: {rounding: compensated}}"),
        ({"weights": "int4", "group": 64}, "{int4: {group: 64, rounding: compensated}}"),
        ({"weights": "int4", "rounding": "compensated"}, None),
        ({"gguf": "F16"}, None),
    ],
)
def test_weights_that_cost_a_group_are_rounded_nearer_to_the_parent(
    settings: dict[str, Any], proposed: str | None
) -> None:
    found = steps({"a": [change(80, 5)]}, recipes={"a": Recipe("x", "quantize", settings)}, run="")
    (step,) = found
    assert (step.phrase.key, step.recipe) == (
        ("next.nearer.group", proposed) if proposed else ("next.milder", "")
    )
    assert (proposed or "milder") in phrase(step.phrase)
    # One that the run has made is not proposed again, and a limit on size wants no larger file.
    both = {"a": Recipe("x", "quantize", {"gguf": "Q4_0"}), "b": Recipe("gguf-q4-k-m", "", {})}
    assert keys(steps({"a": [change(80, 5)]}, recipes=both, run="")) == ["next.milder"]
    assert "next.nearer" not in keys(steps({"a": [size(450)]}, recipes=both, run=""))


def _recipe(asked: Any) -> Recipe:
    (found,) = expand(CompressSettings.model_validate({"recipes": [asked]}))
    return found


@pytest.mark.parametrize(
    ("asked", "proposed"),
    [
        ({"neurons": 0.5}, "{neurons: {share: 0.5, balance: groups}}"),
        (
            {"steps": [{"layers": [0, 2]}, "int8"]},
            "{steps: [{layers: [0, 2]}, {recover: {balance: groups}}, int8]}",
        ),
        (
            {"steps": [{"layers": [0]}, {"recover": {"balance": "groups"}}, "int8"]},
            "{steps: [{layers: [0]}, {recover: {balance: groups}}, int8,"
            " {threshold: {balance: groups}}]}",
        ),
        (
            {"steps": [{"distill": {"layers": [0]}}, "int8"]},
            "{steps: [{distill: {layers: [0], balance: groups}}, int8]}",
        ),
    ],
    ids=str,
)
def test_a_shape_that_costs_a_group_is_repaired_step_by_step(asked: Any, proposed: str) -> None:
    found = steps({"a": [change(80, 5)]}, recipes={"a": _recipe(asked)}, run="")
    (step,) = found
    assert (step.phrase.key, step.recipe) == ("next.repair.group", proposed)
    assert proposed in phrase(step.phrase)
    # What is proposed can be made, and is not proposed again where it was.
    made = _recipe(parse_yaml(proposed).data)
    both = {"a": _recipe(asked), "b": made}
    assert keys(steps({"a": [change(80, 5)]}, recipes=both, run="")) == ["next.milder"]


def test_repairs_come_to_an_end() -> None:
    recipe, names = _recipe({"neurons": 0.5}), []
    while (after := repaired(recipe, groups=True)) is not None:
        recipe = after
        names.append(recipe.name)
    assert names == [
        "neurons-50-groups",
        "neurons-50-groups+recover-groups",
        "neurons-50-groups+recover-groups+threshold-groups",
    ]
    assert repaired(_recipe("int8"), groups=True) is None
    assert repaired(_recipe({"prune": 0.5}), groups=False) is None


def test_a_group_that_rows_cannot_help_gets_both_the_look_and_the_word() -> None:
    found = steps(
        {"a": [change(34, 4)]}, Answer.UNDECIDED, recipes={"a": PRUNE["a"]}, minutes={"a": 1.0},
        parts=3,
    )  # fmt: skip
    assert sorted(keys(found)) == ["next.change.group", "next.layers.group"]


def test_a_file_that_is_too_large_gets_a_recipe_that_is_not_tried_yet() -> None:
    made = {"a": Recipe("bf16", "quantize", {"weights": "bf16"})}
    (step,) = steps({"a": [size(45)]}, recipes=made, parent_mb=90.0, minutes={"a": 0.5})
    assert (step.phrase.key, step.recipe, step.cost_minutes) == ("next.untried_size", "int8", 0.5)
    assert step.effect == pytest.approx(24.3) and step.probability == 0.9
    assert "about 24.3 MB" in phrase(step.phrase)
    # Nothing at hand is small enough for a parent of 900 MB.
    assert keys(steps({"a": [size(450)]}, recipes=made, parent_mb=900.0)) == ["next.smaller"]


def test_a_model_that_is_too_slow_gets_a_candidate_or_a_recipe() -> None:
    made = {"a": Recipe("bf16", "quantize", {"weights": "bf16"})}
    (step,) = steps({"a": [latency(40)]}, recipes=made)
    assert (step.phrase.key, step.recipe) == ("next.untried", "int8")
    assert math.isnan(step.probability)
    (other,) = steps({"a": [latency(40)], "b": [latency(8)]})
    assert other.phrase.key == "next.other"
    assert "the latency p95 is 8.0 [7.6, 8.5] ms" in phrase(other.phrase)


def test_a_speed_that_cannot_be_told_wants_processes_and_says_how_many_minutes() -> None:
    (step,) = steps({"a": [latency(19.5, 0.03)]}, Answer.UNDECIDED, clock=Clock(12.0, 5))
    assert step.phrase.key == "next.processes.minutes"
    processes = step.phrase.arguments["processes"]
    assert step.cost_minutes == pytest.approx(12 * processes / 60)
    assert 0 < step.pass_probability <= step.probability
    assert step.effect_low < step.effect == 19.5 < step.effect_high
    (blind,) = steps({"a": [latency(19.5, 0.03)]}, Answer.UNDECIDED)
    assert blind.phrase.key == "next.processes" and blind.cost_minutes == 0


def test_other_kinds_of_limits_that_fail_are_answered_too() -> None:
    share = Rate(floats(300), floats(500), floats(500), np.ones(1))
    shares = Rate(floats(300, 450), floats(500, 500), floats(500, 500), np.ones(2))
    wide = Limit("accuracy_difference", "at_most", 0.1, {"each": "shop"})
    failing = [
        one(Limit("accuracy", "at_least", 0.8), share),
        replace(
            one(wide, Spread((shares,), "difference", ("n", "s"))),
            slices=(Slice.of({"each": "shop"}),),
        ),
    ]
    for item in failing:
        assert keys(steps({"a": [item]})) == ["next.milder"]


def test_what_the_test_rows_pass_and_validation_kept_back_wants_validation_rows() -> None:
    found = steps({"a": [change(80, 5)], "b": [change(2, 5)]}, nominated=("a",))
    (step,) = [s for s in found if s.candidate == "b"]
    assert step.phrase.key == "next.nominate"
    assert "bring more validation rows" in phrase(step.phrase)


def test_nothing_is_to_be_done_about_what_is_held_beside_one_that_ships() -> None:
    assert steps({"a": [change(80, 5)], "b": [change(2, 5)]}, Answer.SHIP) == ()


def test_every_phrase_is_there_in_both_languages() -> None:
    made = {"a": Recipe("int8", "quantize", {"weights": "int8"})}
    found = [
        *steps({"a": [change(80, 5)], "b": [change(4, 5)]}, recipes=made, minutes={"a": 1.0}),
        *steps({"a": [latency(40)]}),
    ]
    set_language("zh")
    for step in found:
        assert phrase(step.phrase).startswith("model a：")


# -- prices and order ------------------------------------------------------------------------------


def step_of(chance: float, **costs: Any) -> NextStep:
    return NextStep("a", Phrase("next.new_test_rows"), chance, chance, **costs)


def test_a_cost_in_money_is_rows_and_hours() -> None:
    prices = PriceSettings(label_row=0.05, machine_hour=0.4, currency="USD")
    found = priced(step_of(0.5, cost_rows=200, cost_minutes=30.0), prices)
    assert (found.cost, found.currency) == (pytest.approx(10.2), "USD")
    assert besides(found) == ("50 % chance to pass · 200 rows to label · 30 min · 10.20 USD")
    # What is not priced has no cost in money, rather than one that is too low.
    assert math.isnan(priced(step_of(0.5, cost_rows=200), PriceSettings(machine_hour=1.0)).cost)
    assert math.isnan(priced(step_of(0.5, cost_rows=200), PriceSettings()).cost)


def test_the_order_is_cost_for_the_chance() -> None:
    labels, minutes = step_of(0.8, cost_rows=200), step_of(0.8, cost_minutes=20.0)
    unlikely = step_of(0.05, cost_minutes=20.0)
    assert ranked([labels, unlikely, minutes], PriceSettings()) == (minutes, unlikely, labels)
    dear = PriceSettings(label_row=0.0, machine_hour=100.0)
    assert [s.cost_rows for s in ranked([minutes, labels], dear)] == [200, 0]
    free = step_of(0.5)
    assert ranked([minutes, free], PriceSettings())[0] == free


@pytest.mark.parametrize("wrong", [{"label_row": -1}, {"machine_hours": 1}, {"currency": "x" * 13}])
def test_wrong_prices_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="label_row|machine_hours|currency"):
        PriceSettings.model_validate(wrong)


# -- what a repair costs -----------------------------------------------------------------------


def test_another_candidate_of_the_run_is_priced_as_it_was_measured() -> None:
    (step, *_) = steps(
        {"a": [change(80, 5)], "b": [change(4, 5)]}, mb={"a": 20.0, "b": 23.5},
        p95_ms={"a": 2.0, "b": 1.75},
    )  # fmt: skip
    assert (step.cost_mb, step.cost_ms, step.cost_basis) == (3.5, -0.25, "measured")
    assert besides(step).endswith("+3.5 MB and −0.25 ms p95, measured")
    document = step_document(step)
    assert (document["cost_mb"], document["cost_ms"]) == (3.5, -0.25)
    assert document["cost_basis"] == "measured"


def test_repairs_that_change_values_only_cost_neither_size_nor_speed() -> None:
    for asked in ({"neurons": 0.5}, {"steps": [{"layers": [0, 2]}, "int8"]}):
        (step,) = steps({"a": [change(80, 5)]}, recipes={"a": _recipe(asked)}, run="")
        assert (step.cost_mb, step.cost_ms, step.cost_basis) == (0.0, 0.0, "same_shape")
        assert "size and p95 as they are" in besides(step)
    static = _recipe({"int8": {"ranges": "static"}})
    (step,) = steps({"a": [change(80, 5)]}, recipes={"a": static}, run="")
    assert step.recipe == "{int8: {ranges: static, balance: groups}}"
    assert step.cost_basis == "same_shape"
    evidence = {"a": [change(70, 20)], "b": [change(28, 15)]}
    validation = {"a": [change(35, 10, 500)], "b": [change(12, 7, 500)]}
    found = steps(evidence, recipes=PRUNE, validation=validation)
    (milder,) = [s for s in found if s.phrase.key == "next.share.group"]
    assert milder.cost_basis == "same_shape"


def test_what_nobody_can_foretell_is_null_and_comes_back_from_the_record() -> None:
    counted = _recipe({"vocabulary": {"seen": 2}})
    (step,) = steps({"a": [change(80, 5)]}, recipes={"a": counted}, run="")
    assert math.isnan(step.cost_mb) and math.isnan(step.cost_ms) and step.cost_basis == ""
    assert step_document(step)["cost_mb"] is None and step_document(step)["cost_ms"] is None
    assert "MB" not in besides(step)


def test_a_layer_back_in_float_is_priced_beforehand() -> None:
    recipes = {"a": _recipe("int8")}
    price = Price(1.33, 0.8)
    (step,) = steps(
        {"a": [change(80, 5)]}, recipes=recipes, parts=7, block_price=lambda name: price
    )
    assert "each that is kept as it was costs about +1.3 MB and +0.80 ms p95" in phrase(step.phrase)
    # Looking costs minutes alone.
    assert (step.cost_mb, step.cost_ms) == (0.0, 0.0)
    set_language("zh")
    assert "每保留一层原样约需 +1.3 MB" in phrase(step.phrase)


def test_minutes_are_those_of_all_steps_that_must_be_made_anew() -> None:
    own = _recipe({"steps": [{"neurons": 0.5}, {"recover": {"epochs": 2}}, "int8"]})
    first, second, third = (step.name for step in steps_of(own))
    spent = Spent(
        steps={first: 60.0, second: 600.0, third: 30.0}, asked={"a": 90.0}, glanced={"a": 30.0},
        epoch=240.0,
    )  # fmt: skip
    ground = Background(recipes={"a": own}, spent=spent, parts=7)
    # Weighed alike for groups, every step but the last kind is another one, and so are its heirs.
    alike = repaired(own, groups=True)
    assert alike is not None
    assert ground.minutes_of("a", alike) == pytest.approx((60 + 600 + 30 + 90) / 60)
    # Steps that are there already count as none.
    tuned = _recipe({"steps": [*own.settings["steps"], {"threshold": {}}]})
    assert ground.minutes_of("a", tuned) == pytest.approx((30 + 90) / 60)
    # A training that nobody made takes its passes of the parent's.
    cut = _recipe({"steps": [{"neurons": 0.5}, "int8"]})
    bare = Background(recipes={"a": cut}, spent=Spent({first: 60.0}, {"a": 90.0}, {}, 240.0))
    mended = _recipe({"steps": [{"neurons": 0.5}, {"recover": {"epochs": 3}}]})
    assert bare.minutes_of("a", mended) == pytest.approx((3 * 240 + 90) / 60)
    # A look makes the step that spares parts, and those after it, once for each part.
    assert ground.minutes_of_a_look("a", 2) == pytest.approx(7 * (30 + 30) / 60)
    heads = _recipe({"steps": [{"heads": 0.5}, {"recover": {}}, {"prune": 0.5}]})
    one, two, three = (step.name for step in steps_of(heads))
    known = Spent({one: 6.0, two: 60.0, three: 12.0}, {"a": 9.0}, {"a": 3.0}, math.nan)
    all_anew = Background(recipes={"a": heads}, spent=known, parts=2)
    assert all_anew.minutes_of_a_look("a", 0) == pytest.approx(2 * (6 + 60 + 12 + 3) / 60)


def test_a_candidate_that_nothing_nominated_and_rows_cannot_tell_is_told_what_to_change() -> None:
    found = steps(
        {"a": [change(24, 4)]}, nominated=(), recipes={"a": PRUNE["a"]}, minutes={"a": 1.0}, parts=3
    )
    assert "next.layers.group" in keys(found)
