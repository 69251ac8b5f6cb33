"""Settings of the project key `train:`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from shipworthy.core.locale import text

ScheduleName = Literal["cosine", "linear", "constant"]


class ScheduleSettings(BaseModel):
    """How the learning rate moves over the run."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    name: ScheduleName = "cosine"
    """`cosine` and `linear` fall to 0 at the end; `constant` stays at the peak."""

    warmup_ratio: float = Field(0.06, ge=0, lt=1)
    """Share of all steps in which the rate rises from 0 to its peak; in [0, 1)."""


class RegularizationSettings(BaseModel):
    """What keeps the model from learning the training rows by heart."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    weight_decay: float = Field(0.01, ge=0, le=1)
    """Decoupled decay a step, times the learning rate; in [0, 1]. Not on biases and norms."""

    l1: float = Field(0.0, ge=0, le=1)
    """Decoupled shrinkage towards 0 a step, times the learning rate; in [0, 1]. Not on biases and
    norms."""

    dropout: float = Field(0.1, ge=0, lt=1)
    """Probability that a hidden value is dropped; in [0, 1). Attention weights are never dropped,
    since that would rule the fused attention kernel out."""

    label_smoothing: float = Field(0.05, ge=0, lt=1)
    """Share of the target that is spread evenly over all classes; in [0, 1)."""

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
    """How many ways the work is divided; this version runs one process."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    data: int = Field(1, ge=1)
    """Copies of the model that share the rows of a step."""

    shard: int = Field(1, ge=1)
    """Processes that hold one copy's weights in parts."""

    tensor: int = Field(1, ge=1)
    """Processes that each layer is cut over."""

    pipeline: int = Field(1, ge=1)
    """Groups of layers that run one after the other."""

    @model_validator(mode="after")
    def _one_process(self) -> ParallelSettings:
        for name, count in self:
            if count != 1:
                raise ValueError(text("error.train_settings.parallel", name=name, count=count))
        return self


class TrainSettings(BaseModel):
    """How the parent is fine-tuned."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    epochs: int = Field(1, ge=1, le=1000)
    """Passes over the training rows; at least 1."""

    rows: Annotated[int, Field(ge=2)] | None = None
    """Train on about this many rows, whole units drawn by the seed; without it on all."""

    learning_rate: float = Field(3e-4, gt=0, le=1)
    """Peak of the learning rate; in (0, 1]."""

    schedule: ScheduleSettings = ScheduleSettings()
    """How the learning rate moves over the run."""

    regularization: RegularizationSettings = RegularizationSettings()
    """What keeps the model from learning the training rows by heart."""

    batch_size: BatchSizeSettings = BatchSizeSettings()
    """Rows that make up one step."""

    parallel: ParallelSettings | Literal["auto"] = "auto"
    """How many ways the work is divided; this version runs one process."""

    max_grad_norm: Annotated[float, Field(gt=0, allow_inf_nan=False)] | Literal["off"] = 1.0
    """Norm that the gradient of a step is cut to; above 0. `off` cuts nothing."""

    max_length: int = Field(128, ge=8, le=32_768)
    """Tokens of a text that the model sees, special ones included; at least 8."""

    evaluations_per_epoch: int = Field(1, ge=1, le=100)
    """How often the calibration rows are looked at in a pass; at least 1."""

    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """Number format of matrix products: `auto` is bf16 where the processor multiplies it natively.
    Weights, optimizer, attention and loss stay fp32."""
