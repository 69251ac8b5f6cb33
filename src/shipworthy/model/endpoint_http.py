"""Requests to a server: kept connections, patience with its troubles, none paid for twice.

An answer that came whole is written down before it is used, under the digest of what was asked:
asking again, after a kill or another day, costs nothing. Keys appear in no file and no message.
"""

from __future__ import annotations

import http.client
import json
import os
import random
import sqlite3
import ssl
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from shipworthy.core.digest import digest_json
from shipworthy.core.errors import InputError, ModelError
from shipworthy.core.locale import text

if TYPE_CHECKING:
    from pathlib import Path

    from shipworthy.model.endpoint_settings import EndpointSettings

FIRST_WAIT, LONGEST_WAIT = 0.5, 60.0
"""Seconds before the first repeat of a request, doubled each time, and at most."""

CHARACTERS_PER_TOKEN = 4.0
"""What is supposed where a server does not say how many tokens it read."""

_LATER = (408, 409, 425, 429)


class TooLongError(ModelError):
    """A prompt is longer than the server's model reads."""


@dataclass(frozen=True)
class Cost:
    """Tokens read and written, and what they cost; requests: made, not found in the cache."""

    requests: int = 0
    read: int = 0
    written: int = 0
    money: float = 0.0


class Server:
    """A server, asked from several threads.

    cache: file of answers; None keeps none. `cost` counts what was asked of the server by this
    object, `waits` the seconds that each request took.
    """

    def __init__(self, settings: EndpointSettings, cache: Path | None = None) -> None:
        """Read the key; connections are made when they are needed."""
        self.settings = settings
        self._key = ""
        if settings.key_variable is not None:
            self._key = os.environ.get(settings.key_variable, "")
            if not self._key:
                raise InputError(text("error.endpoint.key", name=settings.key_variable))
        self._place = urlsplit(settings.url.rstrip("/"))
        self._idle: list[http.client.HTTPConnection] = []
        self._lock = threading.Lock()
        self._next = 0.0
        self.cost = Cost()
        self._cache = None if cache is None else _Cache(cache)

    def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """Return the server's answer to a request, from the cache where it was given before.

        Raises TooLongError, ModelError for what the server refuses or does not manage in all its
        tries, InputError where a request would exceed the cap on the cost.
        """
        key = digest_json([self.settings.url, path, body])
        known = None if self._cache is None else self._cache.get(key)
        if known is not None:
            found: dict[str, Any] = json.loads(known)
            return found
        self._check_cap(body)
        answer = self._patiently(path, body)
        self._count(body, answer)
        if self._cache is not None:
            self._cache.put(key, json.dumps(answer))
        return answer

    def estimated(self, body: dict[str, Any]) -> Cost:
        """Return what a request would cost at most, without making it."""
        told = body.get("prompt") or "".join(str(m["content"]) for m in body.get("messages", ()))
        read = int(len(str(told)) / CHARACTERS_PER_TOKEN) + 1
        return self._priced(read, int(body.get("max_tokens") or 0))

    def _priced(self, read: int, written: int) -> Cost:
        settings = self.settings
        money = (read * settings.price_input + written * settings.price_output) / 1e6
        return Cost(1, read, written, money)

    def _check_cap(self, body: dict[str, Any]) -> None:
        cap = self.settings.cost_cap
        with self._lock:
            if cap is not None and self.cost.money + self.estimated(body).money > cap:
                raise InputError(
                    text("error.endpoint.cap", cap=f"{cap:g}", spent=f"{self.cost.money:.4g}")
                )

    def _count(self, body: dict[str, Any], answer: dict[str, Any]) -> None:
        usage = answer.get("usage") or {}
        supposed = self.estimated(body)
        read = usage.get("prompt_tokens", supposed.read)
        one = self._priced(int(read), int(usage.get("completion_tokens") or 0))
        with self._lock:
            have = self.cost
            self.cost = Cost(
                have.requests + 1, have.read + one.read, have.written + one.written,
                have.money + one.money,
            )  # fmt: skip

    def _patiently(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """Ask until there is a whole answer, waiting longer each time."""
        problem = ""
        for tried in range(self.settings.retries + 1):
            self._pace()
            try:
                status, wait, content = self._once(path, body)
            except (OSError, http.client.HTTPException) as error:
                problem = text("error.endpoint.connection", reason=type(error).__name__)
                status, wait, content = 0, None, b""
            if status == 200:
                found = _parsed(content)
                if found is not None:
                    return found
                problem = text("error.endpoint.json")
            elif status:
                said = _message(content)
                problem = text("error.endpoint.status", status=status, said=said)
                if status < 500 and status not in _LATER:
                    raise _refused(status, said, problem)
            if tried < self.settings.retries:
                longest = min(LONGEST_WAIT, FIRST_WAIT * 2**tried)
                # Half of it by chance, so that many who wait do not come back at once.
                time.sleep(wait if wait is not None else longest * (0.5 + random.random() / 2))
        raise ModelError(
            text("error.endpoint.given_up", tries=self.settings.retries + 1, problem=problem),
            fix=text("error.endpoint.given_up.fix"),
        )

    def _once(self, path: str, body: dict[str, Any]) -> tuple[int, float | None, bytes]:
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        connection = self._taken()
        try:
            connection.request("POST", self._place.path + path, json.dumps(body), headers)
            response = connection.getresponse()
            content = response.read()
        except BaseException:
            connection.close()
            raise
        if response.will_close:
            connection.close()
        with self._lock:
            self._idle.append(connection)
        return response.status, _seconds(response.getheader("Retry-After")), content

    def _taken(self) -> http.client.HTTPConnection:
        """Return a connection that nobody else uses; it connects by itself."""
        with self._lock:
            if self._idle:
                return self._idle.pop()
        host, timeout = self._place.netloc.rpartition("@")[2], self.settings.timeout_seconds
        if self._place.scheme == "https":
            secure = ssl.create_default_context()
            return http.client.HTTPSConnection(host, timeout=timeout, context=secure)
        return http.client.HTTPConnection(host, timeout=timeout)

    def close(self) -> None:
        """Close all connections; asking again opens new ones."""
        with self._lock:
            for connection in self._idle:
                connection.close()
            self._idle.clear()

    def __del__(self) -> None:
        if hasattr(self, "_idle"):
            self.close()

    def _pace(self) -> None:
        """Wait until a further request may begin."""
        rate = self.settings.requests_per_second
        if rate is None:
            return
        with self._lock:
            now = time.monotonic()
            start = max(now, self._next)
            self._next = start + 1 / rate
        time.sleep(max(0.0, start - now))


class _Cache:
    """Answers by the digest of what was asked; one file that several threads and processes use."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = threading.Lock()
        try:
            self._base = sqlite3.connect(path, timeout=60, check_same_thread=False)
            self._base.execute("PRAGMA journal_mode=WAL")
            columns = "key TEXT PRIMARY KEY, said TEXT"
            self._base.execute(f"CREATE TABLE IF NOT EXISTS answers ({columns})")
            self._base.commit()
        except sqlite3.DatabaseError as error:
            raise InputError(text("error.endpoint.cache", path=path, reason=error)) from error

    def __del__(self) -> None:
        if hasattr(self, "_base"):
            self._base.close()

    def get(self, key: str) -> str | None:
        with self._lock:
            row = self._base.execute("SELECT said FROM answers WHERE key = ?", (key,)).fetchone()
        return None if row is None else str(row[0])

    def put(self, key: str, said: str) -> None:
        with self._lock:
            self._base.execute("INSERT OR REPLACE INTO answers VALUES (?, ?)", (key, said))
            self._base.commit()


def _parsed(content: bytes) -> dict[str, Any] | None:
    """Return an answer with choices; None for half of one and for anything else."""
    try:
        found = json.loads(content)
    except ValueError:
        return None
    return found if isinstance(found, dict) and found.get("choices") else None


def _message(content: bytes) -> str:
    try:
        found = json.loads(content)
        error = found.get("error", found) if isinstance(found, dict) else found
        said = error.get("message", error) if isinstance(error, dict) else error
    except ValueError:
        said = content.decode("utf-8", "replace")
    return " ".join(str(said).split())[:200]


def _refused(status: int, said: str, problem: str) -> ModelError:
    if "context" in said.lower() or "too long" in said.lower() or status == 413:
        return TooLongError(problem, fix=text("error.endpoint.long.fix"))
    key = "key" if status in (401, 403) else "model" if status == 404 else "request"
    return ModelError(problem, fix=text(f"error.endpoint.{key}.fix"))


def _seconds(written: str | None) -> float | None:
    try:
        return None if written is None else min(LONGEST_WAIT, max(0.0, float(written)))
    except ValueError:  # a date: the own waits will do
        return None
