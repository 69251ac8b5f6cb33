"""Settings of the project key `generate:`."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, model_validator

from shipworthy.core.locale import text

Score: TypeAlias = Literal["exact_match", "token_f1", "chrf", "rouge_l"]
Right: TypeAlias = Literal["exact_match", "pattern_match", "valid_json", "tests_passed"]


class GenerationSettings(BaseModel):
    """How a language model is asked for answers, and how these are scored."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    max_new_tokens: int = Field(64, ge=1, le=32_768)
    """Tokens after which an answer ends, at most; at least 1."""

    scores: tuple[Score, ...] = ("exact_match", "token_f1")
    """What an answer is compared with the response by: `exact_match` and `token_f1` of words,
    `chrf` of characters, `rouge_l` of the longest common subsequence."""

    pattern: str | None = None
    """Regular expression that an answer must match as a whole, for `pattern_match`."""

    valid_json: bool = False
    """Whether answers must be JSON, for `valid_json`."""

    json_schema: Path | None = None
    """File with the JSON schema that answers must keep, for `valid_json`."""

    tests: str | None = None
    """Column with the code of unit tests that an answer must pass, for `tests_passed`. Answers are
    run in a process of their own, short of time, memory and network."""

    right: Right = "exact_match"
    """Which score says that an answer is right, for `accuracy` and for rows that turn."""

    normalize: Literal["none", "tokens", "bytes"] = "bytes"
    """What the log-likelihood of a choice is divided by before choices are compared."""

    @model_validator(mode="after")
    def _scored_by_what_is_there(self) -> GenerationSettings:
        if self.right not in self.made:
            raise ValueError(text("error.generation.right", right=self.right))
        return self

    @property
    def made(self) -> tuple[str, ...]:
        """Names of all scores that answers get, in a fixed order."""
        more = {
            "pattern_match": self.pattern is not None,
            "valid_json": self.valid_json or self.json_schema is not None,
            "tests_passed": self.tests is not None,
        }
        return (*self.scores, *(name for name, wanted in more.items() if wanted))
