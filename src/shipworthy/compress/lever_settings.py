"""Settings of the levers that look at rows or change the shape of a model."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from shipworthy.core.locale import text

_MODEL = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)
Share = Annotated[float, Field(gt=0, lt=1)]
Block = Annotated[int, Field(ge=0)]
Count = Annotated[int, Field(ge=1)]
Score = Literal["fisher", "magnitude"]
Balance = Literal["rows", "groups"]


class NeuronSettings(BaseModel):
    """Neurons of the feed-forward layers are taken out."""

    model_config = _MODEL

    share: Share
    """Share of the neurons of each block, in (0, 1), that go, least important first."""

    score: Score = "fisher"
    """What tells their importance: `fisher`, how much the loss on calibration rows would change
    without them, or `magnitude`, the size of their weights."""

    balance: Balance = "rows"
    """Whose loss `fisher` means: of all rows alike, or of each group (`data.groups`) for itself, so
    that what a small group needs stays."""


class HeadSettings(BaseModel):
    """Heads of the attention are taken out."""

    model_config = _MODEL

    share: Share
    """Share of all heads, in (0, 1), that go, least important first; each block keeps one."""

    score: Score = "fisher"
    """As of `neurons`."""

    balance: Balance = "rows"
    """As of `neurons`."""

    keep: tuple[Block, ...] = ()
    """Numbers of blocks, from 0, that lose no head; the others lose what they would have lost."""

    @field_validator("keep")
    @classmethod
    def _each_once(cls, blocks: tuple[int, ...]) -> tuple[int, ...]:
        return _rising(blocks)


class LowRankSettings(BaseModel):
    """Matrices become products of two that are smaller."""

    model_config = _MODEL

    share: Share
    """Share of the parameters of the matrices in the blocks, in (0, 1), that is left."""

    embeddings: bool = False
    """Whether the table of words is split as well, and left the same share of its parameters; words
    that stand in many training rows are kept best."""

    balance: Balance = "rows"
    """Whose inputs the matrices are fitted to: of all calibration rows alike, or of each group
    (`data.groups`) alike."""

    keep: tuple[Block, ...] = ()
    """Numbers of blocks, from 0, whose matrices stay whole; the others lose what they would have
    lost."""

    @field_validator("keep")
    @classmethod
    def _each_once(cls, blocks: tuple[int, ...]) -> tuple[int, ...]:
        return _rising(blocks)


class RecoverSettings(BaseModel):
    """A step of training makes good for what earlier steps cost."""

    model_config = _MODEL

    epochs: int = Field(1, ge=1, le=100)
    """Passes over the training rows; at least 1."""

    learning_rate: float = Field(1e-4, gt=0, le=1)
    """Peak of the learning rate; in (0, 1]. The rest is as the parent was trained."""

    balance: Balance = "rows"
    """Whose loss is made small: of all rows alike, or of each group (`data.groups`) alike."""


class VocabularySettings(BaseModel):
    """Tokens that the texts have no use for are taken out, and with them rows of the word table."""

    model_config = _MODEL

    words: int | None = Field(None, ge=1)
    """How many tokens stay at most, most frequent in the training and calibration texts first, then
    in the order of the tokenizer. What is special and the alphabet always stay, and count."""

    seen: int | None = Field(None, ge=1)
    """Instead of `words`: tokens that stand in these texts at least so often stay."""

    balance: Balance = "rows"
    """Whose texts are counted: all alike, or besides those of each group (`data.groups`) as if they
    were as many as all, so that words of a small group stay."""

    @model_validator(mode="after")
    def _one_of_two(self) -> VocabularySettings:
        if (self.words is None) == (self.seen is None):
            raise ValueError(text("error.compress_settings.vocabulary"))
        return self


class DistillSettings(BaseModel):
    """A smaller student learns from the model that it is made of."""

    model_config = _MODEL

    layers: Annotated[tuple[Block, ...], Field(min_length=1)] | Count | None = None
    """Blocks of the teacher that the student starts as: their numbers, from 0, or how many, evenly
    chosen, the last one among them; without it all."""

    hidden: Count | None = None
    """Hidden width of the student, at least 1: those dimensions stay that the loss needs most. In
    encoders a multiple of the width of a head, and heads go in proportion. Without it that of the
    teacher."""

    neurons: Share | None = None
    """Share of the feed-forward neurons, in (0, 1), that go, least important first; without it all
    stay."""

    epochs: int = Field(3, ge=1, le=100)
    """Passes over the training rows; at least 1."""

    learning_rate: float = Field(3e-4, gt=0, le=1)
    """Peak of the learning rate; in (0, 1]. The rest is as the parent was trained."""

    temperature: float = Field(2.0, gt=0, le=100)
    """What logits are divided by where probabilities of both are compared; in (0, 100]. The higher,
    the more the student hears of unlikely classes."""

    labels: float = Field(0.5, ge=0, le=1000)
    """Weight of the cross entropy of the true labels; at least 0."""

    logits: float = Field(1.0, ge=0, le=1000)
    """Weight of the divergence from the teacher's probabilities; at least 0."""

    hidden_states: float = Field(0.0, ge=0, le=1000)
    """Weight of the mean squared difference of hidden states after blocks that belong together; at
    least 0. Above 0 the teacher runs beside each step, which takes longer."""

    attention: float = Field(0.0, ge=0, le=1000)
    """Weight of the divergence of the relations among queries, keys and values of these blocks; at
    least 0. Above 0 the teacher runs beside each step, which takes longer."""

    balance: Balance = "rows"
    """As of `recover`; also what decides which neurons, dimensions and heads stay."""

    @field_validator("layers")
    @classmethod
    def _each_once(cls, layers: tuple[int, ...] | int | None) -> tuple[int, ...] | int | None:
        return _rising(layers) if isinstance(layers, tuple) else layers

    @model_validator(mode="after")
    def _learns(self) -> DistillSettings:
        if not self.labels + self.logits + self.hidden_states + self.attention:
            raise ValueError(text("error.lever_settings.nothing"))
        return self


class QuantizationAwareSettings(BaseModel):
    """A training that rounds as `int8` will, so that the weights come to bear it."""

    model_config = _MODEL

    epochs: int = Field(1, ge=1, le=100)
    """Passes over the training rows; at least 1."""

    learning_rate: float = Field(5e-5, gt=0, le=1)
    """Peak of the learning rate; in (0, 1]. The rest is as the parent was trained, in fp32."""

    balance: Balance = "rows"
    """As of `recover`."""

    keep_float: tuple[Literal["embeddings"] | Block, ...] = ()
    """Parts that are not rounded, as of the `int8` that follows: numbers of blocks, from 0, and
    `embeddings`."""

    @field_validator("keep_float")
    @classmethod
    def _each_once(
        cls, parts: tuple[Literal["embeddings"] | int, ...]
    ) -> tuple[Literal["embeddings"] | int, ...]:
        numbers = _rising(tuple(part for part in parts if part != "embeddings"))
        if parts.count("embeddings") > 1:
            raise ValueError(text("error.compress_settings.part_twice", part="embeddings"))
        return ("embeddings", *numbers) if "embeddings" in parts else numbers


class ThresholdSettings(BaseModel):
    """What is added to each class before the likeliest is taken, tuned on calibration rows."""

    model_config = _MODEL

    balance: Balance = "rows"
    """Whose answers are to be right: of all rows alike, or of each group (`data.groups`) alike."""


class NeuronRecipe(BaseModel):
    """Fewer neurons: `{neurons: 0.5}`, `{neurons: {share: 0.5, balance: groups}}`."""

    model_config = _MODEL

    neurons: Share | NeuronSettings
    """Share of the feed-forward neurons that go, in (0, 1); or the long form."""


class HeadRecipe(BaseModel):
    """Fewer heads: `{heads: 0.25}`, `{heads: {share: 0.25, score: magnitude}}`."""

    model_config = _MODEL

    heads: Share | HeadSettings
    """Share of the attention heads that go, in (0, 1); or the long form."""


class LowRankRecipe(BaseModel):
    """Lower rank: `{low_rank: 0.5}`, `{low_rank: {share: 0.5, embeddings: true}}`."""

    model_config = _MODEL

    low_rank: Share | LowRankSettings
    """Share of the parameters of the matrices in the blocks that is left, in (0, 1); or the long
    form."""


class LayerRecipe(BaseModel):
    """Fewer blocks: `{layers: [0, 2, 4]}`."""

    model_config = _MODEL

    layers: tuple[Block, ...] = Field(min_length=1)
    """Numbers of the blocks that stay, from 0."""

    @field_validator("layers")
    @classmethod
    def _each_once(cls, blocks: tuple[int, ...]) -> tuple[int, ...]:
        return _rising(blocks)


class RecoverRecipe(BaseModel):
    """Training as a step: `{recover: {epochs: 2}}`, `{recover: {}}`."""

    model_config = _MODEL

    recover: RecoverSettings
    """How long and how fast."""


class ThresholdRecipe(BaseModel):
    """Thresholds tuned again: `{threshold: {}}`, `{steps: [int8, {threshold: {}}]}`."""

    model_config = _MODEL

    threshold: ThresholdSettings
    """For whom."""


class VocabularyRecipe(BaseModel):
    """A smaller vocabulary: `{vocabulary: {words: 8000}}`, `{vocabulary: {seen: 1}}`."""

    model_config = _MODEL

    vocabulary: VocabularySettings
    """Which tokens stay."""


class DistillRecipe(BaseModel):
    """A student: `{distill: {layers: 3}}`, `{distill: {layers: [0, 5], hidden: 256, epochs: 5}}`.

    It is made of the model that the step before it gave, which is its teacher.
    """

    model_config = _MODEL

    distill: DistillSettings
    """How small the student is, and what it learns from."""


class QuantizationAwareRecipe(BaseModel):
    """A training before `int8`: `{steps: [{quantization_aware: {epochs: 2}}, int8]}`."""

    model_config = _MODEL

    quantization_aware: QuantizationAwareSettings
    """How long and how fast."""


def _rising(blocks: tuple[int, ...]) -> tuple[int, ...]:
    for block in blocks:
        if blocks.count(block) > 1:
            raise ValueError(text("error.compress_settings.part_twice", part=block))
    return tuple(sorted(blocks))


def plain(recipe: BaseModel) -> dict[str, Any]:
    """Return a recipe as plain values in its long form, what is left at its default left out.

    >>> plain(NeuronRecipe(neurons=0.5))
    {'neurons': {'share': 0.5}}
    """
    steps = getattr(recipe, "steps", None)
    if steps is not None:
        return {"steps": [one if isinstance(one, str) else plain(one) for one in steps]}
    told = recipe.model_dump(mode="json", exclude_defaults=True)
    return {k: {"share": v} if isinstance(v, float) else v for k, v in told.items()}
