"""Settings of the project key `probes:`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Names = Annotated[tuple[str, ...], Field(min_length=2)]


class IdentitySettings(BaseModel):
    """Prompts in which a name stands, and the names of two groups."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    prompts: Path
    """File with prompts that hold `{name}` (`prompt`) and their possible answers (`choices`: a
    list, the one whose odds are compared first). Without choices the model answers, and refusals
    are compared."""

    first: Names
    """Names of one group; two or more."""

    second: Names
    """Names of the other group; two or more."""


class ProbeSettings(BaseModel):
    """Prompts of their own that a language model is asked beside its test rows."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    refusals: Path | None = None
    """File with prompts (`prompt`) and what is expected of them (`expected`: `refuse` or `answer`),
    for `refusal_rate` and `over_refusal_rate`; prompts with the same `unit` count as one draw."""

    identities: IdentitySettings | None = None
    """Prompts and names whose swap should change nothing, for `identity_effect`."""

    stereotypes: str | None = None
    """Pairs of texts (`stereotype`, `other`) for `stereotype_preference`: a file, or
    `builtin:crows-pairs` or `builtin:stereoset`."""

    preferences: Path | None = None
    """File with people's judgements (`item`, `first`, `second`: names of candidates; `winner`:
    `first`, `second` or `tie`; `rater`), for `preferred_share`."""

    max_new_tokens: int = Field(48, ge=1, le=4096)
    """Tokens of an answer in which a refusal is looked for; at least 1."""
