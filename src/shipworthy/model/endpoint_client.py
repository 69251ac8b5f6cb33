"""Requests to a server: kept connections, patience with its troubles, none paid for twice.

An answer that came whole is written down before it is used, under the digest of what was asked:
asking again, after a kill or another day, costs nothing. Keys appear in no file and no message.
"""

from __future__ import annotations

import http.client
import json
import os
import random
import ssl
import threading
import time
from array import array
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from shipworthy.core.errors import InputError, ModelError
from shipworthy.core.locale import text
from shipworthy.model.endpoint_cache import AnswerCache, question
from shipworthy.model.endpoint_cost import Purse, Times, estimated
from shipworthy.model.endpoint_replies import Complaint, complaint, parsed, refused, seconds_to_wait
from shipworthy.model.endpoint_stream import streamed

if TYPE_CHECKING:
    from pathlib import Path

    from shipworthy.model.endpoint_settings import EndpointSettings

FIRST_WAIT, LONGEST_WAIT = 0.5, 60.0
"""Seconds before the first repeat of a request, doubled each time, and at most."""

LONGEST_ASKED_WAIT = 600.0
"""Seconds that a server may ask to be left alone; beyond them it is given up."""

DRAIN_SECONDS = 0.2
"""Seconds that the end of a stream may take to come after the end of the answer in it."""

LATER = (408, 409, 425, 429)
HIDDEN = "•••"


class StoppedError(Exception):
    """Another request has failed, so this one is not made any more."""


class _TroubleError(Exception):
    """This try went wrong, the next one may not."""

    def __init__(self, problem: str, wait_seconds: float | None = None) -> None:
        super().__init__(problem)
        self.wait_seconds = wait_seconds


@dataclass(frozen=True)
class _Heard:
    """A whole answer and its times."""

    answer: dict[str, Any]
    times: Times


class Client:
    """A server, asked from several threads.

    cache: file of answers; None keeps none. stream: whether answers are taken piece by piece, to
    time them. `purse` tells what was asked of the server by this object.
    """

    def __init__(
        self, settings: EndpointSettings, cache: Path | None = None, *, stream: bool = False
    ) -> None:
        """Read the key; connections are made when they are needed."""
        self.settings, self.stream = settings, stream
        self._key = _read_key(settings.key_variable)
        self._headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if self._key:
            self._headers["Authorization"] = f"Bearer {self._key}"
        self._place = urlsplit(settings.url.rstrip("/"))
        self._secure = ssl.create_default_context() if self._place.scheme == "https" else None
        self._idle: list[http.client.HTTPConnection] = []
        self._lock = threading.Lock()
        self._next = self._quiet_until = 0.0
        self.purse = Purse(settings)
        self.cache = None if cache is None else AnswerCache(cache)

    def __del__(self) -> None:
        if hasattr(self, "_idle"):
            self.close()

    def post(
        self, path: str, body: dict[str, Any], *, stop: threading.Event | None = None
    ) -> dict[str, Any]:
        """Return the server's answer to a request, from the cache where it was given before.

        stop: set by somebody else to end all waiting. Raises TooLongError, ModelError for what the
        server refuses or does not manage in all its tries, InputError where a request would exceed
        the cap on the cost, StoppedError.
        """
        key = question(self.settings.url, path, body)
        known = None if self.cache is None else self.cache.get(key)
        if known is not None:
            found: dict[str, Any] = json.loads(known)
            return found
        supposed = estimated(self.settings, body)
        money = self.purse.reserve(supposed)
        try:
            heard, tries = self._patiently(path, body, stop)
            usage = heard.answer.get("usage")
            self.purse.count(supposed, usage, said(heard.answer), tries, heard.times)
        finally:
            self.purse.release(money)
        if self.cache is not None:
            self.cache.put(key, self._hidden(json.dumps(heard.answer)))
        return heard.answer

    def close(self) -> None:
        """Close all connections; asking again opens new ones."""
        with self._lock:
            for connection in self._idle:
                connection.close()
            self._idle.clear()

    # -- patience ---------------------------------------------------------------------------------

    def _patiently(
        self, path: str, body: dict[str, Any], stop: threading.Event | None
    ) -> tuple[_Heard, int]:
        """Ask until there is a whole answer, waiting longer each time; also return the tries."""
        most, problem = self.settings.retries + 1, ""
        for tries in range(1, most + 1):
            self._pace(stop)
            try:
                return self._once(path, body), tries
            except _TroubleError as trouble:
                problem, wait = str(trouble), trouble.wait_seconds
            if tries == most:
                break
            if wait is not None:
                # What is too much for one request is too much for those beside it.
                with self._lock:
                    self._quiet_until = max(self._quiet_until, time.monotonic() + wait)
            else:
                longest = min(LONGEST_WAIT, FIRST_WAIT * 2 ** (tries - 1))
                # Half of it by chance, so that many who wait do not come back at once.
                _sleep(longest * (0.5 + random.random() / 2), stop)
        raise ModelError(
            text("error.endpoint.given_up", tries=most, problem=problem),
            fix=text("error.endpoint.given_up.fix"),
        )

    def _pace(self, stop: threading.Event | None) -> None:
        """Wait for a token of the bucket, which holds one, and until the server is to be asked."""
        rate, now = self.settings.requests_per_second, time.monotonic()
        start = now
        if rate is not None:
            with self._lock:
                start = max(now, self._next)
                self._next = start + 1 / rate
        _sleep(start - now, stop)
        while (left := self._quiet_until - time.monotonic()) > 0:
            _sleep(left, stop)

    # -- one request ------------------------------------------------------------------------------

    def _once(self, path: str, body: dict[str, Any]) -> _Heard:
        """Ask once. Raises _TroubleError where asking again may help, ModelError where not."""
        chat, stream = path.startswith("/chat"), self.stream and not body.get("echo")
        asked = body
        if stream:
            asked = {**body, "stream": True, "stream_options": {"include_usage": True}}
        try:
            return self._heard(path, json.dumps(asked).encode(), chat=chat)
        except TimeoutError:
            limit = f"{self.settings.timeout_seconds:g}"
            raise _TroubleError(text("error.endpoint.timeout", seconds=limit)) from None
        except (OSError, http.client.HTTPException) as error:
            reason = type(error).__name__
            raise _TroubleError(text("error.endpoint.connection", reason=reason)) from None

    def _heard(self, path: str, payload: bytes, *, chat: bool) -> _Heard:
        begun = perf_counter()
        connection, response = self._sent(self._place.path + path, payload)
        first, gaps = None, array("f")
        try:
            kind = response.getheader("Content-Type", "")
            if response.status == 200 and kind.startswith("text/event-stream"):
                answer, first, gaps = self._streamed(response, begun, chat=chat)
            else:
                answer = self._whole(response)
        except BaseException:
            connection.close()
            raise
        seconds = perf_counter() - begun
        self._keep(connection, response)
        return _Heard(answer, Times(seconds, first, gaps, _server_seconds(response)))

    def _keep(
        self, connection: http.client.HTTPConnection, response: http.client.HTTPResponse
    ) -> None:
        """Keep a connection for the next request where all that came over it was read."""
        try:
            if connection.sock is None or response.will_close:
                raise ConnectionError
            if not response.isclosed():
                connection.sock.settimeout(DRAIN_SECONDS)
                response.read()
                connection.sock.settimeout(self.settings.timeout_seconds)
        except (OSError, http.client.HTTPException):
            response.close()
            connection.close()
            return
        with self._lock:
            self._idle.append(connection)

    def _streamed(
        self, response: http.client.HTTPResponse, begun: float, *, chat: bool
    ) -> tuple[dict[str, Any], float | None, array[float]]:
        try:
            found = streamed(response, chat=chat)
        except (ValueError, AttributeError, TypeError):
            raise _TroubleError(text("error.endpoint.json")) from None
        if found.error is not None:
            raise self._complained(complaint(500, {"error": found.error}, self._hidden))
        if found.answer is None:
            raise _TroubleError(text("error.endpoint.half"))
        return found.answer, found.times[0] - begun if found.times else None, found.gaps()

    def _whole(self, response: http.client.HTTPResponse) -> dict[str, Any]:
        content = response.read()
        if response.status != 200:
            told = complaint(response.status, content, self._hidden)
            wait = seconds_to_wait(response.getheader("Retry-After"))
            raise self._complained(told, wait)
        answer = parsed(content)
        if answer is None:
            raise _TroubleError(text("error.endpoint.json"))
        return answer

    def _complained(self, told: Complaint, wait: float | None = None) -> Exception:
        """Return the error for what a server complains of."""
        if not told.may_pass or (told.status < 500 and told.status not in LATER):
            return refused(told)
        if wait is not None and wait > LONGEST_ASKED_WAIT:
            return ModelError(
                text("error.endpoint.later", seconds=f"{wait:.0f}", said=told.said),
                fix=text("error.endpoint.later.fix"),
            )
        problem = text("error.endpoint.status", status=told.status, said=told.said)
        return _TroubleError(problem, wait)

    def _sent(
        self, path: str, payload: bytes
    ) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        """Send over a kept connection, or over a new one where the server has let go of that."""
        with self._lock:
            kept = self._idle.pop() if self._idle else None
        if kept is not None:
            try:
                kept.request("POST", path, payload, self._headers)
                return kept, kept.getresponse()
            except ConnectionError:
                kept.close()
            except BaseException:
                kept.close()
                raise
        connection = self._connection()
        try:
            connection.request("POST", path, payload, self._headers)
            return connection, connection.getresponse()
        except BaseException:
            connection.close()
            raise

    def _connection(self) -> http.client.HTTPConnection:
        host, timeout = self._place.netloc.rpartition("@")[2], self.settings.timeout_seconds
        if self._secure is not None:
            return http.client.HTTPSConnection(host, timeout=timeout, context=self._secure)
        return http.client.HTTPConnection(host, timeout=timeout)

    def _hidden(self, told: str) -> str:
        return told.replace(self._key, HIDDEN) if self._key else told


def said(answer: dict[str, Any]) -> str:
    """Return the text of an answer; "" where there is none."""
    choice = answer["choices"][0]
    found = choice.get("text")
    if found is None:
        found = (choice.get("message") or {}).get("content")
    return found if isinstance(found, str) else ""


def _read_key(variable: str | None) -> str:
    """Return the key; a line break at its end, as files have one, is left away."""
    if variable is None:
        return ""
    key = os.environ.get(variable, "").strip()
    if not key:
        raise InputError(text("error.endpoint.key", name=variable))
    if not key.isascii() or not key.isprintable():
        # Refused here: the library that sends it would show it in its own error.
        raise InputError(text("error.endpoint.key_form", name=variable))
    return key


def _server_seconds(response: http.client.HTTPResponse) -> float | None:
    try:
        return float(response.getheader("openai-processing-ms") or "") / 1e3
    except ValueError:
        return None


def _sleep(seconds: float, stop: threading.Event | None) -> None:
    """Wait, unless there is nothing to wait for: even a sleep of 0 hands the processor over."""
    if stop is not None and (stop.is_set() or (seconds > 0 and stop.wait(seconds))):
        raise StoppedError
    if stop is None and seconds > 0:
        time.sleep(seconds)
