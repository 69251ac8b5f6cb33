"""Settings of the project key `compress:`, and of each lever."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, field_validator

from shipworthy.compress.lever_settings import (
    DistillRecipe,
    HeadRecipe,
    LayerRecipe,
    NeuronRecipe,
    QuantizationAwareRecipe,
    RecoverRecipe,
    plain,
)
from shipworthy.core.locale import text

Share = Annotated[float, Field(gt=0, lt=1)]
Layer = Annotated[int, Field(ge=0)]
FloatPart: TypeAlias = Literal["embeddings"] | Layer


def _once(parts: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return parts in one order, embeddings first, so that the same set is the same recipe."""
    if len(set(parts)) < len(parts):
        twice = next(part for part in parts if parts.count(part) > 1)
        raise ValueError(text("error.compress_settings.part_twice", part=twice))
    return tuple(sorted(parts, key=lambda part: -1 if part == "embeddings" else part))


class QuantizeSettings(BaseModel):
    """Fewer bits a weight."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    weights: Literal["bf16", "int8", "int4"]
    """`bf16` halves the file and is faster where the processor multiplies bf16; `int8` quarters
    the file and runs on ONNX Runtime, with the range of activations measured for each input. Of a
    language model `int8` and `int4` store the weights alone in so many bits."""

    keep_float: tuple[FloatPart, ...] = ()
    """Parts that stay in fp32 (of a language model in bf16): numbers of blocks, from 0, and
    `embeddings`. Larger and slower, and nearer to the parent."""

    group: Literal[32, 64, 128] = 32
    """Weights that share a scale in `int4`; fewer are nearer to the parent and take more room."""

    rounding: Literal["nearest", "compensated"] = "nearest"
    """How `int4` rounds: each weight to its nearest step, or so that later columns make good for
    earlier ones on the calibration rows."""

    @field_validator("keep_float")
    @classmethod
    def _each_part_once(cls, parts: tuple[FloatPart, ...]) -> tuple[FloatPart, ...]:
        return _once(parts)


class PruneSettings(BaseModel):
    """Small weights of the encoder become zero."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    share: Share
    """Share of the weights of each linear layer, in (0, 1), that become zero, smallest first."""

    keep: tuple[Layer, ...] = ()
    """Numbers of blocks, from 0, that lose no weight."""

    @field_validator("keep")
    @classmethod
    def _each_block_once(cls, blocks: tuple[Layer, ...]) -> tuple[Layer, ...]:
        return _once(blocks)


class PruneRecipe(BaseModel):
    """A recipe as a project file writes it: `{prune: 0.3}`, `{prune: {share: 0.3, keep: [0]}}`."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    prune: Share | PruneSettings
    """Share of the weights of each linear layer of the encoder that become zero, in (0, 1); or
    `share`, and `keep`: the blocks that lose none."""


class Int8Options(BaseModel):
    """What the long form of `int8` says."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    keep_float: tuple[FloatPart, ...] = Field(min_length=1)
    """Parts that stay in fp32: numbers of blocks, from 0, and `embeddings`; at least one."""

    @field_validator("keep_float")
    @classmethod
    def _each_part_once(cls, parts: tuple[FloatPart, ...]) -> tuple[FloatPart, ...]:
        return _once(parts)


class Int8Recipe(BaseModel):
    """The long form of `int8`: `{int8: {keep_float: [embeddings, 0]}}`."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    int8: Int8Options
    """Which parts stay in fp32."""


class Int4Options(BaseModel):
    """What the long form of `int4` says."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    keep_float: tuple[FloatPart, ...] = ()
    """Parts that stay in bf16: numbers of blocks, from 0, and `embeddings`."""

    group: Literal[32, 64, 128] = 32
    """Weights that share a scale."""

    rounding: Literal["nearest", "compensated"] = "nearest"
    """`nearest`, or `compensated`: later columns of a matrix make good for earlier ones on the
    calibration rows (GPTQ); takes longer and is nearer to the parent."""

    @field_validator("keep_float")
    @classmethod
    def _each_part_once(cls, parts: tuple[FloatPart, ...]) -> tuple[FloatPart, ...]:
        return _once(parts)


class Int4Recipe(BaseModel):
    """The long form of `int4`, for language models: `{int4: {group: 64, keep_float: [0]}}`."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    int4: Int4Options
    """How many weights share a scale, and which parts stay in bf16."""


GgufKind: TypeAlias = Literal["F16", "Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M", "Q4_0", "Q3_K_M"]


class GgufRecipe(BaseModel):
    """A file for llama.cpp, of language models: `{gguf: Q4_K_M}`."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    gguf: GgufKind
    """llama.cpp's name of a way to round, from `F16` (16 bits a weight) to `Q3_K_M` (about 3.9)."""


SingleRecipe: TypeAlias = (
    Literal["bf16", "onnx", "int8", "int4"]
    | PruneRecipe
    | Int8Recipe
    | Int4Recipe
    | GgufRecipe
    | NeuronRecipe
    | HeadRecipe
    | LayerRecipe
    | RecoverRecipe
    | DistillRecipe
    | QuantizationAwareRecipe
)


class StepsRecipe(BaseModel):
    """Levers one after the other: `{steps: [{neurons: 0.5}, {recover: {}}, int8]}`."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    steps: tuple[SingleRecipe, ...] = Field(min_length=2)
    """Two recipes or more; each takes what the one before it made, and only the last may store
    fewer bits a weight."""

    @field_validator("steps")
    @classmethod
    def _fewer_bits_last(cls, steps: tuple[SingleRecipe, ...]) -> tuple[SingleRecipe, ...]:
        for step in steps[:-1]:
            if isinstance(step, str | Int8Recipe | Int4Recipe | GgufRecipe):
                raise ValueError(text("error.compress_settings.last_step", step=_plain(step)))
        return steps


NamedRecipe: TypeAlias = SingleRecipe | StepsRecipe

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
    """`auto`, or a list of `bf16`, `onnx`, `int8`, `{int8: {keep_float: [...]}}`, `int4` (of
    language models), `{int4: {group: ..., keep_float: [...]}}`, `{gguf: Q4_K_M}` (of language
    models, run by llama.cpp), `{prune: share}`, `{prune: {share: ..., keep: [...]}}`,
    `{neurons: share}`, `{heads: share}`, `{layers: [...]}`, `{distill: {...}}`, and
    `{steps: [...]}` of these, `{recover: {...}}` and `{quantization_aware: {...}}` one after the
    other, each once; an empty list makes none. `auto` is bf16, int8, prune 0.3 and prune 0.5."""

    @field_validator("recipes")
    @classmethod
    def _each_once(
        cls, recipes: Literal["auto"] | tuple[NamedRecipe, ...]
    ) -> Literal["auto"] | tuple[NamedRecipe, ...]:
        if recipes != "auto":
            plain = [_plain(recipe) for recipe in recipes]
            for recipe in plain:
                if plain.count(recipe) > 1:
                    raise ValueError(text("error.compress_settings.recipe_twice", recipe=recipe))
        return recipes


def _plain(recipe: NamedRecipe) -> str:
    """Return a recipe as one text, the same for its short and its long form."""
    if isinstance(recipe, str):
        return recipe
    if isinstance(recipe, Int8Recipe):
        return f"int8: keep_float {', '.join(map(str, recipe.int8.keep_float))}"
    if isinstance(recipe, Int4Recipe):
        kept = recipe.int4.keep_float
        told = f" keep_float {', '.join(map(str, kept))}" if kept else ""
        told += " compensated" if recipe.int4.rounding == "compensated" else ""
        return f"int4: {recipe.int4.group}{told}" if told or recipe.int4.group != 32 else "int4"
    if isinstance(recipe, GgufRecipe):
        return f"gguf: {recipe.gguf}"
    if not isinstance(recipe, PruneRecipe):
        return ", ".join(f"{key}: {value}" for key, value in plain(recipe).items())
    if isinstance(recipe.prune, float):
        return f"prune: {recipe.prune:g}"
    kept = recipe.prune.keep
    return f"prune: {recipe.prune.share:g}" + (f" keep {', '.join(map(str, kept))}" if kept else "")
