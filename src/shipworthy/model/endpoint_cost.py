"""What requests to a server cost, and a cap that those under way at once keep together."""

from __future__ import annotations

import math
import threading
from array import array
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from shipworthy.core.errors import InputError
from shipworthy.core.locale import text

if TYPE_CHECKING:
    from shipworthy.model.endpoint_settings import EndpointSettings

__all__ = ["Cost", "Purse", "Request", "Times", "estimated"]

BYTES_PER_TOKEN = 4
"""What is supposed where a server does not say how many tokens it read: of English, characters;
of Chinese, less than two."""


@dataclass(frozen=True)
class Cost:
    """Tokens read and written, and what they cost; requests: made, not found in the cache."""

    requests: int = 0
    read: int = 0
    written: int = 0
    money: float = 0.0


@dataclass(frozen=True)
class Times:
    """Times of an answer, seconds.

    whole: from the first byte of the request to the whole answer. first: until the first text came;
    None where it was not streamed. gaps: between one piece of text and the next. server: what the
    server says that it took (`openai-processing-ms`), None where it does not.
    """

    whole: float
    first: float | None = None
    gaps: array[float] = field(default_factory=lambda: array("f"))
    server: float | None = None


@dataclass(frozen=True)
class Request:
    """A request that was answered.

    read, written: tokens. guessed: whether these are supposed, as the server does not say. tries:
    how often it was asked, at least 1; times: of the last.
    """

    read: int
    written: int
    guessed: bool
    tries: int
    times: Times


class Purse:
    """What was spent, and what requests under way may cost."""

    def __init__(self, settings: EndpointSettings) -> None:
        """Nothing is spent yet."""
        self.settings = settings
        self.cost = Cost()
        self.requests: list[Request] = []
        self._changed = threading.Condition()
        self._reserved, self._under_way = 0.0, 0
        # Read tokens by supposed ones, the most so far; a token has at least one byte.
        self._ratio: float | None = None

    def reserve(self, supposed: Cost) -> float:
        """Set money aside for a request, and return how much: the most that it may cost.

        Waits for requests under way where they may leave enough.
        Raises InputError where the request could exceed the cap.
        """
        cap = self.settings.cost_cap
        with self._changed:
            while True:
                ratio = BYTES_PER_TOKEN if self._ratio is None else self._ratio
                read = math.ceil(supposed.read * ratio)
                money = priced(self.settings, read, supposed.written).money
                if cap is None or self.cost.money + self._reserved + money <= cap:
                    break
                if not self._under_way:
                    spent = f"{self.cost.money:.4g}"
                    raise InputError(text("error.endpoint.cap", cap=f"{cap:g}", spent=spent))
                self._changed.wait()
            self._reserved += money
            self._under_way += 1
            return money

    def release(self, money: float) -> None:
        """Give back what was set aside for a request that is over."""
        with self._changed:
            self._under_way -= 1
            # Sums of small fractions leave a rest, which must not look like money under way.
            self._reserved = self._reserved - money if self._under_way else 0.0
            self._changed.notify_all()

    def count(self, supposed: Cost, usage: Any, said: str, tries: int, times: Times) -> None:
        """Take an answer into account, by the server's own count of tokens where it has one."""
        usage = usage if isinstance(usage, dict) else {}
        read, written = _tokens(usage.get("prompt_tokens")), _tokens(usage.get("completion_tokens"))
        guessed = read is None or (written is None and supposed.written > 0)
        if written is None:
            written = min(supposed.written, supposed_tokens(said))
        one = priced(self.settings, supposed.read if read is None else read, written)
        with self._changed:
            self._ratio = max(self._ratio or 0.0, one.read / supposed.read)
            have = self.cost
            self.requests.append(Request(one.read, one.written, guessed, tries, times))
            self.cost = Cost(
                have.requests + 1, have.read + one.read, have.written + one.written,
                have.money + one.money,
            )  # fmt: skip


def estimated(settings: EndpointSettings, body: dict[str, Any]) -> Cost:
    """Return what a request would cost at most, were a token four bytes long."""
    told = str(body.get("prompt") or "".join(m["content"] for m in body.get("messages", ())))
    return priced(settings, supposed_tokens(told), int(body.get("max_tokens") or 0))


def priced(settings: EndpointSettings, read: int, written: int) -> Cost:
    """Return one request of so many tokens with its price."""
    money = (read * settings.price_input + written * settings.price_output) / 1e6
    return Cost(1, read, written, money)


def supposed_tokens(told: str) -> int:
    """Return how many tokens a text may have.

    >>> supposed_tokens("What is it?"), supposed_tokens("这是什么？")
    (3, 4)
    """
    return len(told.encode("utf-8", "replace")) // BYTES_PER_TOKEN + 1


def _tokens(told: Any) -> int | None:
    return told if isinstance(told, int) and told >= 0 else None
