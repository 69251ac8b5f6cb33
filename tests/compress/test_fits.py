"""What a model cannot have is known from its configuration, step by step."""

from __future__ import annotations

from typing import Any

import pytest

from shipworthy.compress.fits import Misfit, misfits, shape_of, too_few_rows
from shipworthy.compress.settings import CompressSettings

BERT = {
    "num_hidden_layers": 6, "hidden_size": 384, "num_attention_heads": 12,
    "intermediate_size": 1536, "vocab_size": 30522,
}  # fmt: skip
LLAMA = {**BERT, "num_key_value_heads": 4}


def found(recipe: Any, config: dict[str, Any] = BERT, **more: Any) -> list[Misfit]:
    settings = CompressSettings.model_validate({"recipes": ["int8", recipe]})
    return list(misfits(settings, shape_of(config), **more))


@pytest.mark.parametrize(
    ("recipe", "path", "told"),
    [
        ({"layers": [0, 9]}, "1 layers", "0 to 5"),
        ({"layers": [0, 1, 2, 3, 4, 5]}, "1 layers", "fewer"),
        ({"int8": {"keep_float": ["embeddings", 40]}}, "1 int8 keep_float", "0 to 5"),
        ({"int4": {"keep_float": [6]}}, "1 int4 keep_float", "0 to 5"),
        ({"prune": {"share": 0.3, "keep": [6]}}, "1 prune keep", "0 to 5"),
        ({"heads": {"share": 0.25, "keep": [6]}}, "1 heads keep", "0 to 5"),
        ({"low_rank": {"share": 0.5, "keep": [9]}}, "1 low_rank keep", "0 to 5"),
        ({"distill": {"layers": 9}}, "1 distill layers", "6 or fewer"),
        ({"distill": {"layers": [0, 9]}}, "1 distill layers", "0 to 5"),
        ({"distill": {"hidden": 384}}, "1 distill hidden", "below 384"),
        ({"distill": {"hidden": 100}}, "1 distill hidden", "such as 96"),
        ({"distill": {"neurons": 0.9999}}, "1 distill neurons", "smaller share"),
        ({"neurons": 0.9999}, "1 neurons", "smaller share"),
        ({"vocabulary": {"words": 30522}}, "1 vocabulary words", "below 30522"),
        ({"heads": {"share": 0.5, "balance": "groups"}}, "1 heads balance", "data.groups"),
        ({"steps": [{"layers": [0, 5]}, {"distill": {"layers": [5]}}]},
         "1 steps 1 distill layers", "0 to 1"),
        ({"steps": [{"distill": {"layers": 2}}, {"int8": {"keep_float": [2]}}]},
         "1 steps 1 int8 keep_float", "0 to 1"),
        ({"steps": [{"vocabulary": {"words": 100}}, {"vocabulary": {"words": 200}}]},
         "1 steps 1 vocabulary words", "below 100"),
        ({"steps": [{"distill": {"hidden": 96}}, {"distill": {"hidden": 192}}]},
         "1 steps 1 distill hidden", "below 96"),
        ({"steps": [{"quantization_aware": {"keep_float": [7]}}, "int8"]},
         "1 steps 0 quantization_aware keep_float", "0 to 5"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_named_with_its_key_and_what_could(
    recipe: Any, path: str, told: str
) -> None:
    (one,) = found(recipe)
    assert " ".join(map(str, one.path)) == path
    assert told in one.fix


@pytest.mark.parametrize(
    "recipe",
    [
        {"layers": [0, 5]},
        {"distill": {"layers": 6, "hidden": 192, "neurons": 0.5}},
        {"vocabulary": {"seen": 1}},
        {"int8": {"keep_float": ["embeddings", 5]}},
        {"steps": [{"layers": [0, 3, 5]}, {"prune": {"share": 0.3, "keep": [2]}}, "int8"]},
        {"heads": 0.25},
        {"low_rank": 0.5},
        {"prune": {"share": 0.5, "pattern": "2:4"}},
    ],
)
def test_what_can_be_is_let_through(recipe: Any) -> None:
    assert found(recipe) == []
    # A configuration that says nothing forbids nothing.
    assert found(recipe, {}) == []


def test_groups_that_are_named_can_be_weighed() -> None:
    assert found({"neurons": {"share": 0.5, "balance": "groups"}}, groups=("domain",)) == []


def test_a_decoder_has_heads_of_any_width_beside_the_hidden_one() -> None:
    assert found({"distill": {"hidden": 100}}, LLAMA) == []


def test_rows_of_four_need_a_width_of_fours() -> None:
    (one,) = found({"prune": {"share": 0.5, "pattern": "2:4"}}, {**BERT, "intermediate_size": 1538})
    assert "1538" in one.problem


@pytest.mark.parametrize(
    ("recipe", "looks"),
    [
        ({"neurons": 0.5}, True),
        ({"neurons": {"share": 0.5, "score": "magnitude"}}, False),
        ({"steps": [{"low_rank": 0.5}, "onnx"]}, True),
        ({"int8": {"ranges": "static"}}, True),
        ({"prune": {"share": 0.5, "method": "wanda"}}, True),
        ({"prune": 0.5}, False),
        ({"distill": {"layers": 3}}, False),
        ({"distill": {"hidden": 192}}, True),
        ({"recover": {}}, False),
        ({"threshold": {}}, True),
    ],
)
def test_too_few_calibration_rows_are_said_of_what_looks_at_them(recipe: Any, looks: bool) -> None:
    settings = CompressSettings.model_validate({"recipes": ["int8", recipe]})
    one = too_few_rows(settings, 3)
    assert (one is not None) == looks
    assert one is None or (one.path, "3 calibration rows" in one.problem) == ((1,), True)
    assert too_few_rows(settings, 20) is None
