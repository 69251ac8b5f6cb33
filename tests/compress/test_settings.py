"""The project key `compress:` says which candidates are made, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from shipworthy.compress import CompressSettings, Recipe, expand, make
from shipworthy.core.records import LEVERS


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


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"recipes": ["int4"]}, "bf16"),
        ({"recipes": [{"prune": 1.0}]}, "less than 1"),
        ({"recipes": [{"prune": 0}]}, "greater than 0"),
        ({"recipes": [{"prune": 0.3, "scope": "all"}]}, "Extra inputs"),
        ({"recipes": ["int8", "bf16", "int8"]}, "the recipe 'int8' stands there twice"),
        ({"recipes": [{"prune": 0.3}, {"prune": 0.3}]}, "'prune: 0.3' stands there twice"),
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
