"""Settings of the project key `compress:`, and of each lever."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from shipworthy.compress.lever_settings import (
    Balance,
    DistillRecipe,
    HeadRecipe,
    LayerRecipe,
    LowRankRecipe,
    NeuronRecipe,
    QuantizationAwareRecipe,
    RecoverRecipe,
    ThresholdRecipe,
    VocabularyRecipe,
    plain,
)
from shipworthy.core.locale import text

Share = Annotated[float, Field(gt=0, lt=1)]
Layer = Annotated[int, Field(ge=0)]
FloatPart: TypeAlias = Literal["embeddings"] | Layer
Ranges: TypeAlias = Literal["dynamic", "static"]
Channels: TypeAlias = Literal["channel", "tensor"]
Activations: TypeAlias = Literal["rounded", "float"]


def _once(parts: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return parts in one order, embeddings first, so that the same set is the same recipe."""
    if len(set(parts)) < len(parts):
        twice = next(part for part in parts if parts.count(part) > 1)
        raise ValueError(text("error.compress_settings.part_twice", part=twice))
    return tuple(sorted(parts, key=lambda part: -1 if part == "embeddings" else part))


class QuantizeSettings(BaseModel):
    """Fewer bits a weight."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    weights: Literal["bf16", "fp16", "int8", "int4"]
    """`bf16` halves the file and is faster where the processor multiplies bf16; `fp16`, for
    classifiers, halves it too, keeps three bits more of each weight and is computed in fp32;
    `int8` quarters the file and runs on ONNX Runtime. Of a language model `int8` and `int4` store
    the weights alone in so many bits, of a classifier so does `int4`."""

    keep_float: tuple[FloatPart, ...] = ()
    """Parts that stay in fp32 (of a language model in bf16): numbers of blocks, from 0, and
    `embeddings`. Larger and slower, and nearer to the parent."""

    group: Literal[32, 64, 128] = 32
    """Weights that share a scale in `int4`; fewer are nearer to the parent and take more room."""

    ranges: Ranges = "dynamic"
    """Where `int8` has the range of a classifier's activations from: each input as it runs, or
    calibration rows."""

    channels: Channels = "channel"
    """What shares a scale in the `int8` matrices of a classifier: an output channel or the whole
    matrix."""

    activations: Activations = "rounded"
    """Whether `int8` rounds the activations of a classifier too, or the weights alone."""

    balance: Balance = "rows"
    """Which calibration rows `static` ranges are from: any, or as many of each group."""

    rounding: Literal["nearest", "compensated"] = "nearest"
    """How `int4` rounds: each weight to its nearest step, or so that later columns make good for
    earlier ones on the calibration rows."""

    @field_validator("keep_float")
    @classmethod
    def _each_part_once(cls, parts: tuple[FloatPart, ...]) -> tuple[FloatPart, ...]:
        return _once(parts)


class PruneSettings(BaseModel):
    """Weights of the encoder become zero; the file gets no smaller and dense kernels no faster."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    share: Share
    """Share of the weights of each linear layer, in (0, 1), that become zero, smallest first."""

    method: Literal["magnitude", "wanda"] = "magnitude"
    """What is small: `magnitude`, the weight itself, compared within its layer, or `wanda`, the
    weight times the norm of its input on calibration rows, compared within its output."""

    pattern: Literal["none", "2:4"] = "none"
    """Where zeros lie: `none`, anywhere, or `2:4`, two of each four inputs that follow one another;
    `share` is then 0.5."""

    keep: tuple[Layer, ...] = ()
    """Numbers of blocks, from 0, that lose no weight."""

    @model_validator(mode="after")
    def _half_of_four(self) -> PruneSettings:
        if self.pattern == "2:4" and self.share != 0.5:
            raise ValueError(text("error.compress_settings.pattern", share=f"{self.share:g}"))
        return self

    @field_validator("keep")
    @classmethod
    def _each_block_once(cls, blocks: tuple[Layer, ...]) -> tuple[Layer, ...]:
        return _once(blocks)


class PruneRecipe(BaseModel):
    """Zeros among the weights: `{prune: 0.3}`, `{prune: {share: 0.5, method: wanda}}`."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    prune: Share | PruneSettings
    """Share of the weights of each linear layer of the encoder that become zero, in (0, 1); or the
    long form, with `method`, `pattern` and `keep`: the blocks that lose none."""


class Int8Options(BaseModel):
    """What the long form of `int8` says; all but `keep_float` is for classifiers."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    ranges: Ranges = "dynamic"
    """`dynamic`: the range of activations is measured for each input as it runs, so texts are
    answered one by one. `static`: it is fixed beforehand on calibration rows (at most 512), so
    that answers do not depend on the other texts of a batch."""

    channels: Channels = "channel"
    """What shares a scale: each output `channel` of a matrix, which is nearer to the parent, or the
    whole matrix (`tensor`), which can be a little faster."""

    balance: Balance = "rows"
    """Calibration rows for `static`: any `rows`, or `groups`: as many rows of each value of each
    column of `data.groups`, no more than the smallest value has."""

    activations: Activations = "rounded"
    """`rounded`: products are of 8 bits, the fastest where the processor has them. `float`: the
    weights alone take 8 bits and products are in fp32, so that answers do not depend on the other
    texts of a batch, and no calibration rows are needed."""

    keep_float: tuple[FloatPart, ...] = Field((), min_length=1)
    """Parts that stay in fp32: numbers of blocks, from 0, and `embeddings`; at least one."""

    @field_validator("keep_float")
    @classmethod
    def _each_part_once(cls, parts: tuple[FloatPart, ...]) -> tuple[FloatPart, ...]:
        return _once(parts)

    @model_validator(mode="after")
    def _rows_where_they_are_looked_at(self) -> Int8Options:
        if self.balance != "rows" and self.ranges != "static":
            raise ValueError(text("error.compress_settings.balance", balance=self.balance))
        if self.activations == "float" and (self.ranges, self.channels) != ("dynamic", "channel"):
            raise ValueError(text("error.compress_settings.activations"))
        return self


class Int8Recipe(BaseModel):
    """The long form of `int8`: `{int8: {ranges: static}}`, `{int8: {keep_float: [0]}}`."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    int8: Int8Options
    """Where ranges are from, what shares a scale, and which parts stay in fp32."""


class Int4Options(BaseModel):
    """What the long form of `int4` says."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    keep_float: tuple[FloatPart, ...] = ()
    """Parts that stay in bf16, of a classifier in fp32: numbers of blocks, from 0, and
    `embeddings`."""

    group: Literal[32, 64, 128] = 32
    """Weights that share a scale."""

    rounding: Literal["nearest", "compensated"] = "nearest"
    """`nearest`, or `compensated`: later columns of a matrix make good for earlier ones on the
    calibration rows (GPTQ), for language models; takes longer and is nearer to the parent."""

    @field_validator("keep_float")
    @classmethod
    def _each_part_once(cls, parts: tuple[FloatPart, ...]) -> tuple[FloatPart, ...]:
        return _once(parts)


class Int4Recipe(BaseModel):
    """The long form of `int4`: `{int4: {group: 64, keep_float: [0]}}`."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    int4: Int4Options
    """How many weights share a scale, and which parts stay in bf16, of a classifier in fp32."""


GgufKind: TypeAlias = Literal["F16", "Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M", "Q4_0", "Q3_K_M"]


class GgufRecipe(BaseModel):
    """A file for llama.cpp, of language models: `{gguf: Q4_K_M}`."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    gguf: GgufKind
    """llama.cpp's name of a way to round, from `F16` (16 bits a weight) to `Q3_K_M` (about 3.9)."""


SingleRecipe: TypeAlias = (
    Literal["bf16", "fp16", "onnx", "int8", "int4"]
    | PruneRecipe
    | Int8Recipe
    | Int4Recipe
    | GgufRecipe
    | NeuronRecipe
    | HeadRecipe
    | LowRankRecipe
    | LayerRecipe
    | RecoverRecipe
    | ThresholdRecipe
    | VocabularyRecipe
    | DistillRecipe
    | QuantizationAwareRecipe
)


class StepsRecipe(BaseModel):
    """Levers one after the other: `{steps: [{neurons: 0.5}, {recover: {}}, int8]}`."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    steps: tuple[SingleRecipe, ...] = Field(min_length=2)
    """Two recipes or more; each takes what the one before it made. Of those that store fewer
    bits a weight, or another runtime's file, there is one at the end, and only `threshold` after
    it."""

    @field_validator("steps")
    @classmethod
    def _fewer_bits_last(cls, steps: tuple[SingleRecipe, ...]) -> tuple[SingleRecipe, ...]:
        for place, step in enumerate(steps[:-1]):
            # Thresholds are tuned for what is there, whatever it is stored in.
            tuned = all(isinstance(later, ThresholdRecipe) for later in steps[place + 1 :])
            if isinstance(step, str | Int8Recipe | Int4Recipe | GgufRecipe) and not tuned:
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
    """Minutes after which no further candidate is begun, or in which the search tries recipes;
    above 0. What was begun is finished."""

    search: bool = False
    """Try recipes and their combinations on validation rows for as long as the budget lasts; those
    under `recipes` first. The best of them are the candidates."""

    keep: int = Field(4, ge=1, le=20)
    """Candidates that a search ends with, at most: the fastest that keeps all limits on validation
    rows, and others that no other one beats in everything."""

    most_trials: Annotated[int, Field(ge=1)] | None = None
    """Recipes that a search tries, at most; without it as many as the time allows."""

    workers: Literal["local", "ray"] = "local"
    """Where a search tries recipes: `local`, one after the other in this process, or `ray`, one at
    a time on each node of the Ray cluster that RAY_ADDRESS names, else on this machine (extra
    `ray`)."""

    trial_minutes: Annotated[float, Field(gt=0)] | None = None
    """Minutes after which a trial on a node is given up; above 0. Without it as many as
    `budget_minutes`, and 30 at least."""

    recipes: Literal["auto"] | tuple[NamedRecipe, ...] = "auto"
    """`auto`, or a list of `bf16`, `fp16`, `onnx`, `int8`,
    `{int8: {ranges: ..., channels: ..., balance: ..., activations: ..., keep_float: [...]}}`,
    `int4`, `{int4: {group: ..., keep_float: [...]}}`, `{gguf: Q4_K_M}` (of language
    models, run by llama.cpp), `{prune: share}`, `{prune: {share: ..., method: wanda}}`,
    `{neurons: share}`, `{heads: share}`, `{low_rank: share}`, `{layers: [...]}`,
    `{vocabulary: {words: ...}}`, `{distill: {...}}`, and `{steps: [...]}` of these,
    `{recover: {...}}`, `{quantization_aware: {...}}` and `{threshold: {}}` one after the other,
    each once; an empty list makes none. `auto` is bf16, int8, prune 0.3 and prune 0.5."""

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
        return _plain_int8(recipe.int8)
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
    asked = recipe.prune
    said = [f"{asked.share:g}"]
    said += [asked.method] if asked.method != "magnitude" else []
    said += [asked.pattern] if asked.pattern != "none" else []
    said += [f"keep {', '.join(map(str, asked.keep))}"] if asked.keep else []
    return f"prune: {' '.join(said)}"


def _plain_int8(options: Int8Options) -> str:
    said = [
        f"{key} {value}"
        for key, value in options.model_dump(exclude_defaults=True).items()
        if key != "keep_float"
    ]
    if options.keep_float:
        said.append(f"keep_float {', '.join(map(str, options.keep_float))}")
    return f"int8: {', '.join(said)}" if said else "int8"
