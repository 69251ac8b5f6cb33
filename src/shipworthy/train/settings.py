"""Settings of the project key `train:`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from shipworthy.core.locale import text

ScheduleName = Literal[
    "constant",
    "linear",
    "cosine",
    "polynomial",
    "inverse_sqrt",
    "step",
    "exponential",
    "one_cycle",
    "warmup_stable_decay",
]
Tail = Literal["linear", "cosine", "inverse_sqrt"]

SCHEDULE_OPTIONS: dict[str, tuple[str, ...]] = {
    "constant": (),
    "linear": ("floor",),
    "cosine": ("floor", "restarts"),
    "polynomial": ("floor", "power"),
    "inverse_sqrt": (),
    "step": ("decay", "drops"),
    "exponential": ("decay",),
    "one_cycle": ("floor",),
    "warmup_stable_decay": ("floor", "tail", "tail_ratio"),
}
"""What can be set of each schedule, beside its warm-up and what counts as progress."""


class ScheduleSettings(BaseModel):
    """How the learning rate moves over the run."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    name: ScheduleName = "cosine"
    """Shape of the curve after the warm-up; `shipworthy train --preview` draws it."""

    warmup_ratio: float = Field(0.06, ge=0, lt=1)
    """Share of the run in which the rate rises from 0 to its peak; in [0, 1)."""

    warmup_steps: Annotated[int, Field(ge=0)] | None = None
    """Steps in which the rate rises from 0 to its peak; where given, it replaces `warmup_ratio`."""

    progress: Literal["rows", "tokens"] = "rows"
    """What counts as progress: training rows seen, or tokens seen; repeats count."""

    floor: float = Field(0.0, ge=0, lt=1)
    """Share of the peak that the rate never falls below; in [0, 1). Not for `constant`,
    `inverse_sqrt`, `step` and `exponential`."""

    restarts: int = Field(0, ge=0, le=1000)
    """How often `cosine` starts again from its peak."""

    power: float = Field(1.0, gt=0, le=10)
    """Exponent of `polynomial`; in (0, 10]. 1 is a straight line."""

    decay: float = Field(0.1, gt=0, le=1)
    """Factor of the rate: after each drop of `step`, over the whole run of `exponential`; in
    (0, 1]."""

    drops: int = Field(2, ge=1, le=1000)
    """How many drops `step` makes, equally far apart."""

    tail: Tail = "linear"
    """How `warmup_stable_decay` falls at its end."""

    tail_ratio: float = Field(0.2, gt=0, le=1)
    """Share of the run that `warmup_stable_decay` falls in; in (0, 1]."""

    @model_validator(mode="after")
    def _of_this_schedule(self) -> ScheduleSettings:
        known = SCHEDULE_OPTIONS[self.name]
        for option in sorted({o for options in SCHEDULE_OPTIONS.values() for o in options}):
            changed = getattr(self, option) != type(self).model_fields[option].default
            if changed and option not in known:
                raise ValueError(
                    text("error.train_settings.schedule", name=self.name, option=option)
                )
        return self


class RegularizationSettings(BaseModel):
    """What keeps the model from learning the training rows by heart."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    weight_decay: float = Field(0.01, ge=0, le=1)
    """Decoupled decay a step, times the learning rate; in [0, 1]. Not on biases and norms."""

    l2: float = Field(0.0, ge=0, le=1)
    """Classical penalty: this times the weight is added to its gradient; in [0, 1]. Not on biases
    and norms."""

    l1: float = Field(0.0, ge=0, le=1)
    """Decoupled shrinkage towards 0 a step, times the learning rate; in [0, 1]. Not on biases and
    norms."""

    no_decay: tuple[str, ...] = ()
    """Parts of parameter names, beside biases and norms, that no decay and no shrinkage touch."""

    dropout: float = Field(0.1, ge=0, lt=1)
    """Probability that a hidden value is dropped; in [0, 1)."""

    attention_dropout: float = Field(0.0, ge=0, lt=1)
    """Probability that an attention weight is dropped; in [0, 1). Above 0 the fused attention
    kernel is ruled out, which costs time."""

    label_smoothing: float = Field(0.05, ge=0, lt=1)
    """Share of the target that is spread evenly over all classes; in [0, 1)."""

    r_drop: float = Field(0.0, ge=0, le=100)
    """Weight of the disagreement between two passes over a row under different dropout; in
    [0, 100]. Above 0 a step costs twice as much."""

    layer_decay: float = Field(1.0, gt=0, le=1)
    """Factor of the learning rate from one layer to the one below it; in (0, 1]."""

    averaging: Annotated[float, Field(gt=0, lt=1)] | Literal["off"] = "off"
    """Decay a step of a moving average of the weights, which is what is kept; in (0, 1)."""

    early_stopping: Annotated[int, Field(ge=1)] | Literal["off"] = 2
    """Evaluations on the calibration rows without a lower loss after which training stops; the
    weights of the lowest loss are kept. `off` trains to the end and keeps the last weights."""


class BatchSizeSettings(BaseModel):
    """Rows that make up one step."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        use_attribute_docstrings=True,
        populate_by_name=True,
        serialize_by_alias=True,
    )

    global_rows: int = Field(64, alias="global", ge=1, le=65_536)
    """Rows per optimizer step, over all devices and accumulated parts; at least 1."""

    per_device: Annotated[int, Field(ge=1)] | Literal["auto"] = "auto"
    """Rows of a step that are computed at once, at most; gradients add up to the whole step.
    `auto` cuts by tokens instead, so that a part of long texts holds fewer rows."""

    tokens: Annotated[int, Field(ge=16)] | Literal["auto"] = 2048
    """Tokens of a step that are computed at once, at most. `auto` finds the most that memory holds
    and confirms it by one real step; the rows of a step and the schedule stay as they are."""

    noise_scale: Annotated[int, Field(ge=0)] = 0
    """Steps on which the noise of the gradient is measured, to tell from which batch on more rows
    buy nothing; 0 measures nothing."""

    @model_validator(mode="after")
    def _part_of_the_whole(self) -> BatchSizeSettings:
        if self.per_device != "auto" and self.per_device > self.global_rows:
            raise ValueError(
                text(
                    "error.train_settings.per_device",
                    per_device=self.per_device,
                    rows=self.global_rows,
                )
            )
        return self


class ParallelSettings(BaseModel):
    """How many ways the work is divided; the product is the number of processes."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    data: int = Field(1, ge=1)
    """Copies of the model that share the rows of a step."""

    shard: int = Field(1, ge=1)
    """Processes that hold one copy's weights in parts and share its rows."""

    tensor: int = Field(1, ge=1)
    """Processes that each layer is cut over."""

    pipeline: int = Field(1, ge=1)
    """Groups of layers that run one after the other."""

    schedule: Literal["1f1b", "gpipe"] = "1f1b"
    """Order in which the stages of a pipeline take forward and backward steps."""

    @property
    def processes(self) -> int:
        """Processes that this layout takes."""
        return self.data * self.shard * self.tensor * self.pipeline


class CheckpointSettings(BaseModel):
    """How often the state of a run is written down, and what is kept of it."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    every_seconds: float = Field(30.0, ge=0, le=86_400)
    """Time between two checkpoints, at least; longer where writing is slow."""

    keep_last: int = Field(1, ge=1, le=100)
    """How many checkpoints are kept beside the best."""


class RaceSettings(BaseModel):
    """Recipes that are trained beside the project's own, to see whether one is better."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    recipes: dict[str, dict[str, Any]] = Field(min_length=1)
    """Name of each recipe, and the keys of `train:` that it changes."""

    seeds: int = Field(5, ge=5, le=100)
    """Trainings of each recipe; at least 5."""

    tokens: Annotated[int, Field(ge=1)] | None = None
    """Tokens that each training sees; without it those of the project's own recipe."""


class LoraSettings(BaseModel):
    """Narrow adapters beside the matrices, which alone are trained."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    rank: int = Field(8, ge=1, le=1024)
    """Width of an adapter; in [1, 1024]."""

    alpha: float = Field(16.0, gt=0, le=10_000)
    """What an adapter adds is multiplied by this over its rank; above 0."""

    targets: tuple[str, ...] | Literal["auto"] = "auto"
    """Names of the layers that get one, as `q_proj`; `auto` is every layer in the blocks."""

    base: Literal["float", "nf4"] = "float"
    """How the frozen matrices lie in memory meanwhile: as they are, or in 4 bits (`nf4`, QLoRA, by
    bitsandbytes), which takes a quarter of the memory and, without a GPU, several times as long."""


class TrainSettings(BaseModel):
    """How the parent is fine-tuned."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    epochs: int = Field(1, ge=1, le=1000)
    """Passes over the training rows; at least 1."""

    rows: Annotated[int, Field(ge=2)] | None = None
    """Train on about this many rows, whole units drawn by the seed; without it on all."""

    learning_rate: float = Field(3e-4, gt=0, le=1)
    """Peak of the learning rate; in (0, 1]."""

    lora: LoraSettings | None = None
    """Train narrow adapters instead of all weights; they are added to the weights at the end."""

    schedule: ScheduleSettings = ScheduleSettings()
    """How the learning rate moves over the run."""

    regularization: RegularizationSettings = RegularizationSettings()
    """What keeps the model from learning the training rows by heart."""

    batch_size: BatchSizeSettings = BatchSizeSettings()
    """Rows that make up one step."""

    packing: Literal["auto", "packed", "buckets"] = "auto"
    """`packed` lays texts end to end without padding, `buckets` pads texts of like length; `auto`
    packs wherever the model gives the same answers so."""

    parallel: ParallelSettings | Literal["auto"] = "auto"
    """How many ways the work is divided; the result does not depend on it. `auto` is one process
    without GPUs, and one copy a GPU with them."""

    checkpoints: CheckpointSettings = CheckpointSettings()
    """How often the state of a run is written down, and what is kept of it."""

    race: RaceSettings | None = None
    """Recipes that are trained beside this one; it stays unless one is better beyond the seeds."""

    max_grad_norm: Annotated[float, Field(gt=0, allow_inf_nan=False)] | Literal["off"] = 1.0
    """Norm that the gradient of a step is cut to; above 0. `off` cuts nothing."""

    max_length: int = Field(128, ge=8, le=32_768)
    """Tokens of a text that the model sees, special ones included; at least 8."""

    evaluations_per_epoch: int = Field(1, ge=1, le=100)
    """How often the calibration rows are looked at in a pass; at least 1."""

    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """Number format of matrix products: `auto` is bf16 where the processor multiplies it natively.
    Weights, optimizer, attention and loss stay fp32."""

    @property
    def copies(self) -> int:
        """Passes over each row of a step: two with R-Drop."""
        return 2 if self.regularization.r_drop > 0 else 1

    def recipe(self) -> dict[str, Any]:
        """Return what the weights depend on, as JSON values.

        How the work is divided, cut and kept is left out: it moves the weights by rounding only.
        """
        found = self.model_dump(mode="json", exclude={"parallel", "checkpoints", "race", "packing"})
        for name in ("per_device", "tokens", "noise_scale"):
            del found["batch_size"][name]
        return found

    def reported(self) -> dict[str, Any]:
        """Return what a finished training says something of: all but the layout and its keeping."""
        return self.model_dump(mode="json", exclude={"parallel", "checkpoints", "race"})
