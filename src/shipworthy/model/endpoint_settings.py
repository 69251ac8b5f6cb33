"""Settings of a server that speaks OpenAI's protocol."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Money = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class EndpointSettings(BaseModel):
    """A running server with `/completions` or `/chat/completions`."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    url: str = Field(pattern=r"^https?://")
    """Where it listens, up to and with its version, as `http://localhost:8000/v1`."""

    model: str = Field(min_length=1)
    """Name of the model there."""

    key_variable: str | None = None
    """Environment variable that holds the key; the key itself stands in no file."""

    protocol: Literal["completions", "chat"] = "completions"
    """`completions` reads prompts as they are and may tell likelihoods; `chat` puts the server's
    own template around them and only answers."""

    likelihoods: bool = True
    """Whether the server tells the log-probability of given tokens (`echo` with `logprobs`)."""

    concurrency: int = Field(4, ge=1, le=1024)
    """Requests at once; at least 1."""

    requests_per_second: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    """Requests that are begun in a second, at most."""

    retries: int = Field(5, ge=0, le=100)
    """Times that a request is made again after an answer of 429 or 5xx, half an answer or none."""

    timeout_seconds: float = Field(120.0, gt=0, le=86_400)
    """Seconds without an answer after which a request is given up."""

    price_input: Money = 0.0
    """Money for a million tokens that the model reads."""

    price_output: Money = 0.0
    """Money for a million tokens that it writes."""

    cost_cap: Money | None = None
    """Money after which no further request is made."""
