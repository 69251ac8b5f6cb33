"""Settings of the project key `speed:`."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, model_validator

from shipworthy.core.locale import text

Form: TypeAlias = Literal["full", "short"]

LEAST_PROCESSES = 5
"""Fresh processes below which no speed is decided."""

LEAST_REQUESTS = 72
"""No 95th percentile has an upper bound below: ln 0.025 / ln 0.95 = 71.9."""

LEAST_FULL_REQUESTS = 400
"""Timed requests a process from which the full form decides changes."""

_SHORT = {
    "processes": 5, "requests": 200, "batches": 4, "batch_seconds": 1.0, "warm_up_limit": 200,
    "answers": 8, "new_tokens": 16,
}  # fmt: skip


class SpeedSettings(BaseModel):
    """How latency, throughput and memory are measured: in fresh processes, candidates in turn."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    form: Form = "full"
    """`full`, or `short`: 5 processes of 200 requests and 4 batches, at most 200 to warm up (of a
    language model 8 answers of 16 tokens), which decide absolute limits but never a change against
    the parent. Counts given as well stand."""

    processes: int = Field(7, ge=LEAST_PROCESSES, le=1000)
    """Fresh processes of each candidate; 5 or more."""

    requests: int = Field(400, ge=LEAST_REQUESTS, le=1_000_000)
    """Timed requests of one text, a process, after warm-up; 72 or more, 400 in the full form."""

    batches: int = Field(20, ge=1, le=100_000)
    """Most timed batches a process, for throughput; 1 or more."""

    batch_seconds: float = Field(20.0, gt=0)
    """Seconds of timed batches after which a process begins no further one; above 0, 1 in the short
    form. A slow model is measured on fewer batches, on one at least."""

    batch_size: int = Field(32, ge=1, le=65_536)
    """Rows of a batch, for throughput; 1 or more."""

    warm_up_limit: int = Field(500, ge=20, le=1_000_000)
    """Requests after which warming up is given up and the process marked unsettled; 20 or more."""

    answers: int = Field(24, ge=5, le=1_000_000)
    """Timed answers of one prompt, a process, for language models, in place of requests; 5 or more,
    and 72 or more for a 95th percentile."""

    new_tokens: int = Field(32, ge=2, le=32_768)
    """Tokens of each answer of a language model that is timed; 2 or more."""

    concurrency: int = Field(4, ge=1, le=4096)
    """Prompts that a language model answers at once, for tokens a second; 1 or more."""

    price_per_hour: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    """Money for an hour of this machine, for `cost_per_million_tokens`; above 0."""

    threads: int | None = Field(None, ge=1, le=4096)
    """Threads that a process may use; without it as many as processors."""

    load_timeout_seconds: float = Field(600.0, gt=0)
    """Seconds after which a process that still loads its model is an error; above 0."""

    answer_timeout_seconds: float = Field(600.0, gt=0)
    """Seconds after which 50 requests or one batch without an answer are an error; above 0."""

    def in_full(self) -> SpeedSettings:
        """Return the settings of the full form: what the short one reduced is as usual again."""
        reduced = {
            k for k, few in _SHORT.items() if self.form == "short" and getattr(self, k) == few
        }
        kept = self.model_dump(exclude={"form", *reduced})
        return SpeedSettings(**kept | {"requests": max(self.requests, LEAST_FULL_REQUESTS)})

    @model_validator(mode="before")
    @classmethod
    def _fill_short_form(cls, values: Any) -> Any:
        if isinstance(values, dict) and values.get("form") == "short":
            return {**_SHORT, **values}
        return values

    @model_validator(mode="after")
    def _long_enough(self) -> SpeedSettings:
        if self.form == "full" and self.requests < LEAST_FULL_REQUESTS:
            raise ValueError(text("error.measure_settings.full", least=LEAST_FULL_REQUESTS))
        return self
