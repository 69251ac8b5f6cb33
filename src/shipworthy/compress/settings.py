"""Settings of the project key `compress:`, and of each lever."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, field_validator

Share = Annotated[float, Field(gt=0, lt=1)]


class QuantizeSettings(BaseModel):
    """Fewer bits a weight."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    weights: Literal["bf16", "int8"]
    """`bf16` halves the file and is faster where the processor multiplies bf16; `int8` quarters
    the file and runs on ONNX Runtime, with the range of activations measured for each input."""


class PruneSettings(BaseModel):
    """Small weights of the encoder become zero."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    share: Share
    """Share of the weights of each linear layer, in (0, 1), that become zero, smallest first."""


class PruneRecipe(BaseModel):
    """A recipe as a project file writes it: `{prune: 0.3}`."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    prune: Share
    """Share of the weights of each linear layer of the encoder that become zero, in (0, 1)."""


NamedRecipe: TypeAlias = Literal["bf16", "int8"] | PruneRecipe

AUTO: tuple[NamedRecipe, ...] = (
    "bf16", "int8", PruneRecipe(prune=0.3), PruneRecipe(prune=0.5),
)  # fmt: skip
"""What `recipes: auto` stands for."""


class CompressSettings(BaseModel):
    """Which smaller candidates are made of the trained model."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    budget_minutes: float = Field(10.0, gt=0)
    """Minutes after which no further candidate is begun; above 0. What was begun is finished."""

    recipes: Literal["auto"] | tuple[NamedRecipe, ...] = "auto"
    """`auto`, or a list of `bf16`, `int8` and `{prune: share}`, each once; an empty list makes
    none. `auto` is bf16, int8, prune 0.3 and prune 0.5."""

    @field_validator("recipes")
    @classmethod
    def _each_once(
        cls, recipes: Literal["auto"] | tuple[NamedRecipe, ...]
    ) -> Literal["auto"] | tuple[NamedRecipe, ...]:
        if recipes != "auto":
            for recipe in recipes:
                if recipes.count(recipe) > 1:
                    shown = recipe if isinstance(recipe, str) else f"prune: {recipe.prune:g}"
                    raise ValueError(f"the recipe {shown!r} stands there twice")
        return recipes
