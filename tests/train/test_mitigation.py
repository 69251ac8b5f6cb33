"""The algorithms behind mitigations: against another tool, against brute force, on bad input."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from linear_lesson import answers, trained

from shipworthy.core.errors import DataError, SettingsError
from shipworthy.model import read_info
from shipworthy.model.decision import read_rule
from shipworthy.train.adversary import ADVERSARY, Adversarial, Adversary, steered_loss
from shipworthy.train.exponentiated_gradient import exponentiated_gradient
from shipworthy.train.group_calibration import fit_scale
from shipworthy.train.group_dro import WEIGHTS, GroupDRO
from shipworthy.train.group_thresholds import choose_thresholds
from shipworthy.train.logistic import fit_logistic
from shipworthy.train.mitigation import mitigate, swapped_rows
from shipworthy.train.mitigation_ground import Ground, group_numbers
from shipworthy.train.mitigation_recipes import Mitigation, mitigations, positive_class, written
from shipworthy.train.mitigation_settings import AugmentationSettings, MitigationSettings
from shipworthy.train.reweighing import reweighing_weights
from shipworthy.train.settings import TrainSettings


def drawn(rows: int = 3000, seed: int = 11) -> tuple[np.ndarray, ...]:
    """Features, scores, labels and groups; the second group has fewer positives and more noise."""
    generator = np.random.default_rng(seed)
    groups = (generator.random(rows) < 0.35).astype(np.int64)
    labels = generator.random(rows) < np.where(groups == 1, 0.3, 0.55)
    noise = np.where(groups == 1, 1.3, 0.9)
    scores = labels * 1.4 - 0.5 * groups + noise * generator.normal(size=rows)
    features = [
        scores, generator.normal(size=rows), 0.7 * groups + generator.normal(size=rows),
        labels * 0.5 + generator.normal(size=rows),
    ]  # fmt: skip
    return np.stack(features, axis=1), scores, labels, groups


# -- weights ---------------------------------------------------------------------------------------


@given(st.integers(0, 10_000))
def test_reweighed_rows_make_label_and_group_independent(seed: int) -> None:
    generator = np.random.default_rng(seed)
    groups = np.concatenate([np.arange(6) // 2, generator.integers(0, 3, 60)])
    labels = np.concatenate([np.arange(6) % 2, generator.integers(0, 2, 60)])
    weights = reweighing_weights(labels, groups)
    assert weights.sum() == pytest.approx(len(labels))
    rates = [np.average(labels[groups == g], weights=weights[groups == g]) for g in range(3)]
    np.testing.assert_allclose(rates, labels.mean())


def test_weights_that_cannot_be_are_told() -> None:
    with pytest.raises(DataError, match="the group b has no training row of class no"):
        reweighing_weights(
            np.array([0, 1, 1]), np.array([0, 0, 1]), names=(("no", "yes"), ("a", "b"))
        )
    with pytest.raises(DataError, match="all rows are of one group"):
        reweighing_weights(np.array([0, 1]), np.array([0, 0]))


# -- thresholds ------------------------------------------------------------------------------------

FAIRLEARN = {
    "demographic_parity": 0.7399269502, "equal_opportunity": 0.7496332190,
    "equalized_odds": 0.7198696011,
}  # fmt: skip
"""Accuracy that ThresholdOptimizer of fairlearn 0.15.0 reaches on `drawn()`, on a grid of 5,000."""


def chances(cuts: Any, scores: np.ndarray, groups: np.ndarray) -> np.ndarray:
    found = np.zeros(len(scores))
    for group, own in enumerate(cuts):
        assert sum(share for share, _ in own) == pytest.approx(1)
        for share, cut in own:
            found[groups == group] += share * (scores[groups == group] > cut)
    return found


def rates_of(chance: np.ndarray, labels: np.ndarray, groups: np.ndarray, what: str) -> np.ndarray:
    of = {
        "demographic_parity": [np.ones(len(labels), bool)], "equal_opportunity": [labels],
        "equalized_odds": [~labels, labels],
    }[what]  # fmt: skip
    return np.array([[chance[(groups == g) & own].mean() for own in of] for g in (0, 1)])


@pytest.mark.parametrize("constraint", FAIRLEARN)
def test_drawn_thresholds_are_as_good_as_those_of_fairlearn(constraint: Any) -> None:
    _, scores, labels, groups = drawn()
    found = choose_thresholds(scores, labels, groups, constraint)
    chance = chances(found.cuts, scores, groups)
    rates = rates_of(chance, labels, groups, constraint)
    np.testing.assert_allclose(rates[0], rates[1], atol=1e-9)
    np.testing.assert_allclose(rates, found.rates, atol=1e-9)
    right = np.mean(np.where(labels, chance, 1 - chance))
    assert right == pytest.approx(found.accuracy, abs=1e-9)
    # A grid is never better than the corners, and misses them by little.
    assert FAIRLEARN[constraint] - 1e-9 <= right <= FAIRLEARN[constraint] + 1e-4


@settings(max_examples=6)
@given(st.integers(0, 10_000))
def test_drawn_thresholds_beat_every_pair_of_thresholds_that_is_as_fair(seed: int) -> None:
    generator = np.random.default_rng(seed)
    groups = np.repeat([0, 1], 24)
    labels = np.tile([True, False], 24)
    scores = labels + generator.normal(size=48).round(1)
    for constraint in FAIRLEARN:
        found = choose_thresholds(scores, labels, groups, constraint)  # type: ignore[arg-type]
        tries = np.concatenate([[-9.0], np.unique(scores) - 0.05, [9.0]])
        for a in tries:
            for b in tries:
                said = (scores > np.where(groups == 0, a, b)).astype(float)
                rates = rates_of(said, labels, groups, constraint)
                if np.abs(rates[0] - rates[1]).max() < 1e-9:
                    assert np.mean(said == labels) <= found.accuracy + 1e-9


@pytest.mark.parametrize("constraint", FAIRLEARN)
def test_thresholds_without_draws_come_near(constraint: Any) -> None:
    _, scores, labels, groups = drawn()
    found = choose_thresholds(scores, labels, groups, constraint, draws=False, within=0.02)
    assert all(len(own) == 1 for own in found.cuts)
    rates = rates_of(chances(found.cuts, scores, groups), labels, groups, constraint)
    assert np.abs(rates[0] - rates[1]).max() == pytest.approx(found.gap)
    assert found.gap <= 0.02
    drawn_one = choose_thresholds(scores, labels, groups, constraint)
    assert found.accuracy <= drawn_one.accuracy + 0.02


def test_groups_that_no_rate_can_be_taken_of_are_told() -> None:
    scores, groups = np.arange(40.0), np.repeat([0, 1], 20)
    labels = groups == 0
    with pytest.raises(DataError, match="the group west has 0 positive rows .* 10 are the least"):
        choose_thresholds(scores, labels, groups, "equal_opportunity", names=("east", "west"))
    with pytest.raises(DataError, match="the group east has 0 negative rows"):
        labels = np.concatenate([np.full(20, True), np.arange(20) % 2 == 0])
        choose_thresholds(scores, labels, groups, "equalized_odds", names=("east", "west"))
    with pytest.raises(DataError, match="all rows are of one group"):
        choose_thresholds(scores, labels, np.zeros(40, np.int64), "demographic_parity")


# -- probabilities ---------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["temperature", "platt"])
def test_the_scale_that_was_lost_is_found(method: Any) -> None:
    generator = np.random.default_rng(1)
    truth = generator.normal(size=(20_000, 3))
    chance = np.exp(truth) / np.exp(truth).sum(axis=1, keepdims=True)
    labels = (generator.random(20_000)[:, None] > chance.cumsum(axis=1)).sum(axis=1)
    lean = np.array([0.0, 1.0, -0.5]) if method == "platt" else np.zeros(3)
    told = 2.5 * truth + lean
    told -= np.log(np.exp(told).sum(axis=1, keepdims=True))
    scale, offsets = fit_scale(told, labels, method)
    assert scale == pytest.approx(0.4, abs=0.02)
    np.testing.assert_allclose(offsets, -lean / 2.5, atol=0.06)


# -- reductions ------------------------------------------------------------------------------------

REDUCED = {"demographic_parity": 0.3334665712, "equal_opportunity": 0.2824232837,
           "equalized_odds": 0.3702280614}  # fmt: skip
"""Error of the mixture of ExponentiatedGradient of fairlearn 0.15.0 on `drawn()`: eps and
difference_bound 0.01, at most 50 iterations, over logistic regression of scikit-learn 1.9.1."""


@pytest.mark.parametrize("constraint", REDUCED)
def test_the_mixture_errs_no_more_than_that_of_fairlearn(constraint: Any) -> None:
    features, _, labels, groups = drawn()
    mixture = exponentiated_gradient(
        lambda x, y, w: fit_logistic(x, y, w, l2=1e-6), features, labels, groups, constraint,
        eps=0.01,
    )  # fmt: skip
    assert mixture.reached and mixture.violation <= 0.01 + 1e-9
    chance = mixture.probability(features)
    assert np.mean(np.where(labels, 1 - chance, chance)) == pytest.approx(mixture.error)
    rates = rates_of(chance, labels, groups, constraint)
    assert np.abs(rates[0] - rates[1]).max() <= 0.02 + 1e-9
    assert mixture.error <= REDUCED[constraint] + 0.004


def test_a_constraint_that_no_mixture_reaches_is_told() -> None:
    features, _, labels, groups = drawn(400)

    class Stubborn:
        def predict(self, rows: np.ndarray) -> np.ndarray:
            return (groups == 0).astype(float)

    mixture = exponentiated_gradient(
        lambda *_: Stubborn(), features, labels, groups, "demographic_parity", most_fits=4
    )
    assert not mixture.reached
    assert mixture.violation > 0.3


# -- lessons ---------------------------------------------------------------------------------------


def test_the_worst_group_gets_the_weight() -> None:
    generator = np.random.default_rng(4)
    groups = (generator.random(2000) < 0.1).astype(np.int64)
    signs = generator.integers(0, 2, 2000)
    labels = np.where(groups == 1, 1 - signs, signs)  # a few rows say the opposite of the others
    features = np.stack([2.0 * signs - 1, generator.normal(size=2000)], axis=1)
    right = []
    for lesson in (None, GroupDRO(groups, step=0.02)):
        said = answers(trained(features, labels, lesson, epochs=8, rate=0.05), features)
        right.append([float(np.mean(said[groups == g] == labels[groups == g])) for g in (0, 1)])
    assert min(right[0]) < 0.1
    assert min(right[1]) > 0.3


def test_how_a_step_is_cut_does_not_matter_to_the_weights() -> None:
    features, _, labels, groups = drawn(800)
    whole, cut = (
        trained(features, labels, GroupDRO(groups, 0.1, 2.0), epochs=2, batch=200, micro=m)
        for m in (None, 50)
    )
    for name, weights in whole.named_parameters():
        torch.testing.assert_close(weights, cut.get_parameter(name), atol=1e-5, rtol=1e-4)
    assert not hasattr(whole, WEIGHTS) and not hasattr(whole, ADVERSARY)


@pytest.mark.parametrize("constraint", ["demographic_parity", "equalized_odds"])
def test_the_model_moves_where_the_adversary_learns_nothing(constraint: Any) -> None:
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(40, 2, generator=generator, requires_grad=True)
    labels = torch.arange(40) % 2
    groups = (torch.arange(40) // 2) % 2
    adversary = Adversary(2, 2, constraint=constraint)
    with torch.no_grad():
        adversary.weight.copy_(torch.randn(adversary.weight.shape, generator=generator) / 100)
    own = torch.nn.functional.cross_entropy(logits, labels, reduction="sum")
    steered_loss(adversary, logits, own, labels, groups, alpha=0.0).backward()
    moved = logits.grad
    assert moved is not None and adversary.weight.grad is not None
    seen = logits.detach().clone().requires_grad_()
    guess = torch.nn.functional.cross_entropy(adversary(seen, labels), groups, reduction="sum")
    guess.backward()
    assert seen.grad is not None
    # With no weight on its loss, what is left is what it cannot use.
    assert abs(float((moved * seen.grad).sum())) < 1e-4 * float(seen.grad.norm())
    assert float(moved.norm()) > 0.1
    # The adversary itself goes down its own loss.
    assert float(adversary.weight.grad.norm()) > 0


def test_the_adversary_takes_the_group_out_of_the_answers() -> None:
    features, _, labels, groups = drawn(2000)
    said = [
        answers(trained(features, labels, lesson, epochs=80), features)
        for lesson in (None, Adversarial(groups, "demographic_parity", 1.0))
    ]
    gaps = [abs(a[groups == 0].mean() - a[groups == 1].mean()) for a in said]
    assert gaps[1] < 0.7 * gaps[0]
    assert np.mean(said[1] == labels) > 0.6


# -- recipes ---------------------------------------------------------------------------------------


def test_recipes_have_names_and_are_written_as_they_are_read() -> None:
    asked = {"recipes": [
        "reweighing", {"reweighing": {"group": "shop"}},
        {"counterfactual_augmentation": {"pairs": ["gender", "lists/mine.txt"]}},
        {"threshold_per_group": {"constraint": "equalized_odds", "draws": True, "within": 0.05}},
    ]}  # fmt: skip
    found = mitigations(MitigationSettings.model_validate(asked))
    assert [one.name for one in found] == [
        "reweighing", "reweighing-shop", "counterfactual-augmentation-gender-mine",
        "threshold-per-group-equalized-odds-draws-within-0.05",
    ]  # fmt: skip
    assert written(found[3].kind, found[3].options) == (
        "{threshold_per_group: {constraint: equalized_odds, draws: true, within: 0.05}}"
    )
    with pytest.raises(ValueError, match="the recipe reweighing stands there twice"):
        MitigationSettings.model_validate({"recipes": ["reweighing", {"reweighing": {}}]})


def test_a_recipe_without_its_group_or_class_is_told() -> None:
    recipe = Mitigation("x", "threshold_per_group", {"group": "shpo"})
    with pytest.raises(SettingsError, match="'shpo', which data.groups does not name.*'shop'"):
        recipe.group_of(("shop",))
    with pytest.raises(SettingsError, match="needs groups, and data.groups names none"):
        recipe.group_of(())
    with pytest.raises(DataError, match="there are 3 classes: a, b, c"):
        positive_class(recipe, ("a", "b", "c"), None)
    with pytest.raises(DataError, match="of ham, spam none is called 1, true"):
        positive_class(recipe, ("ham", "spam"), None)
    asked = Mitigation("x", "threshold_per_group", {"positive": "spam"})
    assert positive_class(asked, ("ham", "spam"), None) == 1


def test_swapped_rows_keep_everything_but_the_text() -> None:
    rows = pl.DataFrame({"text": ["he left", "rain", "her hat"], "label": ["a", "b", "c"]})
    (more,), counts = swapped_rows(rows, "text", AugmentationSettings())
    assert more.rows() == [("she left", "a"), ("his hat", "c")]
    assert counts == {"gender": 2}
    with pytest.raises(DataError, match="no training text has a word of the lists religion"):
        swapped_rows(rows, "text", AugmentationSettings(pairs=("religion",)))


def test_an_absent_value_is_a_group() -> None:
    numbers, names = group_numbers(pl.Series(["b", None, "a", "b"]))
    assert numbers.tolist() == [1, 2, 0, 1] and names == ["a", "b", None]


@pytest.fixture
def ground(tmp_path: Path) -> Ground:
    from tests.model.conftest import tiny_encoder

    from shipworthy.model import RuntimeInfo, load_pretrained, save_model

    encoder = tiny_encoder(tmp_path / "encoder")
    module, tokenizer = load_pretrained(encoder, classes=("no", "yes"), max_length=16, seed=3)
    with torch.no_grad():
        module.get_parameter("classifier.weight").mul_(20)
    info = RuntimeInfo("torch", ("no", "yes"), 16)
    save_model(tmp_path / "parent", module, tokenizer, info)
    generator = np.random.default_rng(2)
    labels = generator.integers(0, 2, 200)
    words = np.array(["bad film", "good film", "so so", "very good", "not bad"])
    rows = pl.DataFrame({
        "text": words[(labels + generator.integers(0, 4, 200)) % 5],
        "label": np.where(labels == 1, "yes", "no"),
        "shop": generator.choice(["north", "south"], 200),
    })  # fmt: skip
    regularization = {"dropout": 0.0}
    training = TrainSettings.model_validate(
        {"max_length": 16, "precision": "fp32", "regularization": regularization}
    )
    return Ground(
        encoder, tmp_path / "parent", rows[:120], rows[120:], "text", "label", ("no", "yes"),
        training, 1, tmp_path / "work", ("shop",),
    )  # fmt: skip


def test_thresholds_ship_as_a_decision_beside_the_same_weights(ground: Ground) -> None:
    out = ground.work.parent / "out" / "model"
    options = {"constraint": "equalized_odds", "draws": True}
    mitigate(Mitigation("t", "threshold_per_group", options), ground, out)
    weights = "model.safetensors"
    assert (out / weights).read_bytes() == (ground.parent / weights).read_bytes()
    rule = read_rule(out, ("no", "yes"))
    assert rule.groups is not None and set(rule.groups.of) == {"north", "south"}
    facts = json.loads((out.parent / "mitigation.json").read_text())
    assert facts["reached"] and facts["gap"] <= 1e-9
    again = ground.work.parent / "again" / "model"
    mitigate(Mitigation("t", "threshold_per_group", options), ground, again)
    assert (again / "decision.json").read_bytes() == (out / "decision.json").read_bytes()


@pytest.mark.parametrize("kind", ["group_dro", "adversarial"])
def test_what_a_lesson_puts_in_is_gone_from_the_candidate(ground: Ground, kind: str) -> None:
    from safetensors.torch import load_file

    out = ground.work.parent / "out" / "model"
    mitigate(Mitigation(kind, kind, {}), ground, out)
    found = load_file(out / "model.safetensors")
    assert found.keys() == load_file(ground.parent / "model.safetensors").keys()
    assert read_info(out) == read_info(ground.parent)


def test_another_head_leaves_the_features_as_they_are(ground: Ground) -> None:
    from safetensors.torch import load_file

    out = ground.work.parent / "out" / "model"
    mitigate(Mitigation("e", "exponentiated_gradient", {"eps": 0.05}), ground, out)
    before, after = (load_file(f / "model.safetensors") for f in (ground.parent, out))
    assert {n for n in before if not torch.equal(before[n], after[n])} == {
        "classifier.weight", "classifier.bias",
    }  # fmt: skip
