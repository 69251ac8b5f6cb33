"""What a server's replies mean: answers, complaints, and how long it asks to be left alone."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from shipworthy.core.errors import ModelError
from shipworthy.core.locale import text

if TYPE_CHECKING:
    from collections.abc import Callable

LONGEST_SAID = 200
"""Characters of a server's own words that are shown."""

_TOO_LONG = (
    "context length", "context_length", "context window", "context size", "too long",
    "maximum model length",
)  # fmt: skip


class TooLongError(ModelError):
    """A prompt is longer than the server's model reads."""


class RefusedError(ModelError):
    """A server will not answer such a request, however often it is asked. status: of HTTP."""

    def __init__(self, problem: str, *, status: int, said: str, fix: str = "") -> None:
        self.status, self.said = status, said
        super().__init__(problem, fix=fix)


@dataclass(frozen=True)
class Complaint:
    """What a server says instead of an answer, in one line. code: its word for it, often none."""

    status: int
    said: str
    code: str = ""

    @property
    def may_pass(self) -> bool:
        """Whether waiting can help; nobody pays in while a program waits."""
        return self.code != "insufficient_quota"


def parsed(content: bytes) -> dict[str, Any] | None:
    """Return an answer with choices; None for half of one and for anything else."""
    try:
        found = json.loads(content)
    except ValueError:
        return None
    if not isinstance(found, dict):
        return None
    choices = found.get("choices")
    whole = isinstance(choices, list) and choices and all(isinstance(c, dict) for c in choices)
    return found if whole else None


def complaint(
    status: int, content: bytes | dict[str, Any], hidden: Callable[[str], str]
) -> Complaint:
    """Return a server's complaint, whichever of the usual forms it has.

    hidden: takes secrets out of a text, which servers repeat when they refuse a key.
    """
    code: Any = ""
    found: Any = content
    if isinstance(content, bytes):
        try:
            found = json.loads(content)
        except ValueError:
            found = content.decode("utf-8", "replace")
    told = found
    if isinstance(told, dict):
        told = told.get("error") or told.get("detail") or told
    if isinstance(told, dict):
        code = told.get("code") or told.get("type") or ""
        told = told.get("message") or told
    if isinstance(code, int) and 400 <= code < 600:
        status = code
    # Hidden before it is cut: half a key is no key that can be found.
    return Complaint(status, " ".join(hidden(str(told)).split())[:LONGEST_SAID], str(code))


def refused(told: Complaint) -> ModelError:
    """Return the error of a request that there is no use in repeating."""
    problem = text("error.endpoint.status", status=told.status, said=told.said)
    low = told.said.lower()
    if told.status == 413 or "context_length" in told.code or any(w in low for w in _TOO_LONG):
        return TooLongError(problem, fix=text("error.endpoint.long.fix"))
    if not told.may_pass:
        fix = text("error.endpoint.quota.fix")
    elif told.status in (401, 403):
        fix = text("error.endpoint.key.fix")
    elif told.status == 404:
        fix = text("error.endpoint.model.fix")
    else:
        fix = text("error.endpoint.request.fix")
    return RefusedError(problem, status=told.status, said=told.said, fix=fix)


def seconds_to_wait(written: str | None) -> float | None:
    """Return the seconds of a `Retry-After`, which may be a number or a date; None without one.

    >>> seconds_to_wait("1.5"), seconds_to_wait("Wed, 21 Oct 2015 07:28:00 GMT")
    (1.5, 0.0)
    >>> seconds_to_wait("soon") is None
    True
    """
    if written is None:
        return None
    try:
        seconds = float(written)
    except ValueError:
        try:
            then = parsedate_to_datetime(written)
        except ValueError:
            return None
        then = then if then.tzinfo is not None else then.replace(tzinfo=UTC)
        seconds = (then - datetime.now(UTC)).total_seconds()
    return max(0.0, seconds) if math.isfinite(seconds) else None
