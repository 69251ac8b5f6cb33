"""The project key `compress:` says which candidates are made, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from shipworthy.compress import CompressSettings, Recipe, expand, keeping, make, written
from shipworthy.core.records import LEVERS
from shipworthy.core.yaml import parse_yaml


def settings(**values: Any) -> CompressSettings:
    return CompressSettings.model_validate(values)


def test_auto_is_written_out() -> None:
    recipes = expand(settings())
    assert settings() == settings(budget_minutes=10, recipes="auto")
    assert recipes == (
        Recipe("bf16", "quantize", {"weights": "bf16"}),
        Recipe("int8", "quantize", {"weights": "int8"}),
        Recipe("prune-30", "prune", {"share": 0.3}),
        Recipe("prune-50", "prune", {"share": 0.5}),
    )
    assert {recipe.lever for recipe in recipes} <= set(LEVERS)


def test_recipes_keep_their_order_and_names() -> None:
    given = settings(recipes=[{"prune": 0.125}, "int8", {"prune": 0.07}])
    assert [r.name for r in expand(given)] == ["prune-12.5", "int8", "prune-7"]
    assert expand(settings(recipes=[])) == ()


FOUR = [
    "int4",
    {"int4": {"group": 64, "keep_float": [0]}},
    {"int4": {"group": 128}},
    {"int4": {"rounding": "compensated"}},
]
LONG = [
    {"int8": {"keep_float": [5, "embeddings", 0]}},
    {"prune": {"share": 0.3, "keep": [5, 0]}},
    {"prune": {"share": 0.3}},
]


def test_the_long_forms_say_what_stays_as_it_is() -> None:
    recipes = expand(settings(recipes=LONG))
    assert recipes == (
        Recipe(
            "int8-keep-embeddings-0-5", "quantize",
            {"weights": "int8", "keep_float": ["embeddings", 0, 5]},
        ),
        Recipe("prune-30-keep-0-5", "prune", {"share": 0.3, "keep": [0, 5]}),
        # An option at its default makes no other candidate.
        *expand(settings(recipes=[{"prune": 0.3}])),
    )  # fmt: skip


def test_four_bits_are_named_by_group_and_by_what_stays() -> None:
    recipes = expand(settings(recipes=FOUR))
    assert [r.name for r in recipes] == [
        "int4", "int4-group-64-keep-0", "int4-group-128", "int4-compensated",
    ]  # fmt: skip
    assert keeping(recipes[1], ["embeddings"]).name == "int4-group-64-keep-embeddings-0"


WEIGHTS = {"int8": {"activations": "float", "keep_float": [0]}}


@pytest.mark.parametrize(
    "recipe", expand(settings(recipes=["bf16", "int8", WEIGHTS, *LONG, *FOUR]))
)
def test_a_recipe_is_written_as_a_project_lists_it(recipe: Recipe) -> None:
    assert expand(settings(recipes=[parse_yaml(written(recipe)).data])) == (recipe,)


def test_keeping_adds_to_what_is_kept() -> None:
    int8, prune, bf16 = expand(settings(recipes=["int8", LONG[1], "bf16"]))
    assert keeping(int8, ["embeddings", 3]).name == "int8-keep-embeddings-3"
    assert keeping(keeping(int8, [3]), [0]).name == "int8-keep-0-3"
    assert keeping(prune, [2]).settings == {"share": 0.3, "keep": [0, 2, 5]}
    with pytest.raises(ValueError, match="no parts to keep"):
        keeping(bf16, [0])


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"recipes": ["int2"]}, "bf16"),
        ({"recipes": ["int4", {"int4": {"group": 32}}]}, "'int4' stands there twice"),
        ({"recipes": [{"int4": {"group": 48}}]}, "32, 64 or 128"),
        ({"recipes": [{"prune": 1.0}]}, "less than 1"),
        ({"recipes": [{"prune": 0}]}, "greater than 0"),
        ({"recipes": [{"prune": 0.3, "scope": "all"}]}, "Extra inputs"),
        ({"recipes": ["int8", "bf16", "int8"]}, "the recipe 'int8' stands there twice"),
        ({"recipes": [{"prune": 0.3}, {"prune": 0.3}]}, "'prune: 0.3' stands there twice"),
        ({"recipes": [{"int8": {"keep_float": [-1]}}]}, "greater than or equal to 0"),
        ({"recipes": [{"int8": {"keep_float": []}}]}, "at least 1 item"),
        ({"recipes": [{"int8": {"keep_float": [1, 1]}}]}, "1 stands there twice"),
        ({"recipes": [{"int8": {"keep_float": ["pooler"]}}]}, "embeddings"),
        ({"recipes": [{"prune": {"share": 0.3, "keep": [0, 0]}}]}, "0 stands there twice"),
        ({"recipes": [{"prune": {"keep": [0]}}]}, "Field required"),
        ({"recipes": [{"prune": 0.3}, {"prune": {"share": 0.3}}]}, "'prune: 0.3' stands there"),
        ({"budget_minutes": 0}, "greater than 0"),
        ({"recipe": []}, "Extra inputs"),
    ],
)
def test_wrong_values_are_refused(values: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        settings(**values)


def test_an_unknown_lever_is_our_bug() -> None:
    with pytest.raises(ValueError, match="no lever 'shrink'"):
        make(Recipe("x", "shrink"), "a", "b")
