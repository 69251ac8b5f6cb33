"""Settings of the project key `probes:`."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field


class ProbeSettings(BaseModel):
    """Prompts of their own that a language model is asked beside its test rows."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    refusals: Path | None = None
    """File with prompts (`prompt`) and what is expected of them (`expected`: `refuse` or `answer`),
    for `refusal_rate` and `over_refusal_rate`."""

    identities: Path | None = None
    """File with prompts that hold `{name}` (`prompt`), names of two groups (`first`, `second`:
    lists of two or more) and possible answers (`choices`: a list), for `identity_effect`."""

    stereotypes: str | None = None
    """Pairs of texts (`stereotype`, `other`) for `stereotype_preference`: a file, or
    `builtin:crows-pairs` or `builtin:stereoset`."""

    preferences: Path | None = None
    """File with people's judgements (`item`, `first`, `second`: names of candidates; `winner`:
    `first`, `second` or `tie`; `rater`), for `preferred_share`."""

    max_new_tokens: int = Field(48, ge=1, le=4096)
    """Tokens of an answer in which a refusal is looked for; at least 1."""
