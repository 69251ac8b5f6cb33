"""An answer that comes in pieces (server-sent events), put together, and when each piece came."""

from __future__ import annotations

import json
from array import array
from dataclasses import dataclass, field
from time import perf_counter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from http.client import HTTPResponse

READ_AT_ONCE = 1 << 16
"""Bytes; a read returns as soon as there is any."""


@dataclass
class Streamed:
    """An answer in the form that an unstreamed one has, and its times.

    answer: None where the stream ended before the answer did. error: what the server said where it
    gave up. times: seconds (of `perf_counter`) at which each piece with text came.
    """

    answer: dict[str, Any] | None = None
    error: Any = None
    times: array[float] = field(default_factory=lambda: array("d"))

    def gaps(self) -> array[float]:
        """Seconds between one piece and the next, one fewer than pieces."""
        return array("f", (b - a for a, b in zip(self.times, self.times[1:], strict=False)))


def streamed(response: HTTPResponse, *, chat: bool) -> Streamed:
    """Read a stream up to `[DONE]`, or up to its end where a reason for the end was given.

    chat: whether pieces stand in `delta.content` or in `text`. Raises OSError, HTTPException for a
    connection that breaks and ValueError for events that are no JSON.
    """
    found, pieces = Streamed(), []
    usage: Any = None
    finish, done = None, False
    for data in _events(response):
        if data == b"[DONE]":
            done = True
            break
        event = json.loads(data)
        if not isinstance(event, dict):
            raise ValueError
        if event.get("error"):
            found.error = event["error"]
            return found
        usage = event.get("usage") or usage
        choices = event.get("choices") or ()
        if not choices:  # the last event of some has the usage alone
            continue
        choice = choices[0]
        piece = (choice.get("delta") or {}).get("content") if chat else choice.get("text")
        if piece:
            found.times.append(perf_counter())
            pieces.append(piece)
        finish = choice.get("finish_reason") or finish
    if done or finish is not None:
        said = "".join(pieces)
        one: dict[str, Any] = {"message": {"content": said}} if chat else {"text": said}
        found.answer = {"choices": [{**one, "finish_reason": finish}]}
        if usage is not None:
            found.answer["usage"] = usage
    return found


def _events(response: HTTPResponse) -> Iterator[bytes]:
    """Yield the data of each event, as soon as its line is whole."""
    rest = b""
    while some := response.read1(READ_AT_ONCE):
        *lines, rest = (rest + some).split(b"\n")
        for line in lines:
            if line.startswith(b"data:"):
                yield line[5:].strip()
