"""The tests' server of OpenAI's protocol, over any language model, with troubles put before it.

    GET  /v1/models              the one model
    POST /v1/completions         texts gone on with; echo and logprobs; stream
    POST /v1/chat/completions    an answer to the last message; stream

It computes what it says: answers are the model's likeliest ones, likelihoods are the model's own
(`server_voice`). Requests are taken at once, the model does one at a time. A trouble is a function
that answers some of the requests in its own way.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, TypeAlias
from uuid import uuid4

from tests.model.server_voice import Voice

from shipworthy.core.errors import InputError

if TYPE_CHECKING:
    from shipworthy.model.capabilities import LanguageModel

ANSWERED = 16
"""Tokens of an answer where a request names no number, as OpenAI has it."""

Trouble: TypeAlias = Callable[["CompletionsHandler", int], bool]
"""Called with each request, when it is read, and its number from 0; True where it answered."""


class CompletionsServer(ThreadingHTTPServer):
    """count: requests that came; keys: what they named as `Authorization`."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, model: LanguageModel, trouble: Trouble | None = None) -> None:
        self.voice, self.name, self.trouble = Voice(model), "model", trouble
        self.lock = threading.Lock()
        self.count, self.keys = 0, set[str]()
        self.counting = threading.Lock()
        super().__init__(("127.0.0.1", 0), CompletionsHandler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a connection that whoever asked has dropped."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)

    @property
    def url(self) -> str:
        """Where it listens, up to and with the version."""
        return f"http://127.0.0.1:{self.server_address[1]}/v1"


@contextmanager
def running(model: LanguageModel, trouble: Trouble | None = None) -> Iterator[CompletionsServer]:
    """A server that answers in a thread of its own for the block."""
    server = CompletionsServer(model, trouble)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _RequestError(Exception):
    """A request that is not answered. status: of HTTP; code: a word for programs."""

    def __init__(self, status: int, message: str, code: str = "invalid_request_error") -> None:
        super().__init__(message)
        self.status, self.code = status, code


class CompletionsHandler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: CompletionsServer

    def do_GET(self) -> None:  # noqa: N802
        """Name the model."""
        one = {"id": self.server.name, "object": "model", "created": 0, "owned_by": "shipworthy"}
        if self.path == "/v1/models":
            self.send_json(200, {"object": "list", "data": [one]})
        elif self.path == f"/v1/models/{self.server.name}":
            self.send_json(200, one)
        else:
            self._refuse(_RequestError(404, f"there is nothing at {self.path}"))

    def do_POST(self) -> None:  # noqa: N802
        """Answer, or say what is wrong with the request."""
        content = self.rfile.read(int(self.headers["Content-Length"]))
        with self.server.counting:
            number, self.server.count = self.server.count, self.server.count + 1
            self.server.keys.add(self.headers.get("Authorization", ""))
        if self.server.trouble is not None and self.server.trouble(self, number):
            return
        self._streaming = False
        try:
            body = _object(content)
            if self.path == "/v1/completions":
                self._completions(body)
            elif self.path == "/v1/chat/completions":
                self._chat(body)
            else:
                raise _RequestError(404, f"there is nothing at {self.path}")
        except _RequestError as error:
            self._refuse(error)
        except InputError as error:
            self._refuse(_RequestError(400, str(error)))
        except ConnectionError:  # who asked is gone
            self.close_connection = True
        except Exception as error:
            # Its words may be about this machine's files, and whoever asks may be elsewhere.
            said = f"the model failed ({type(error).__name__})"
            self._refuse(_RequestError(500, said, "server_error"))

    def log_message(self, format: str, *arguments: object) -> None:
        """Say nothing: prompts are nobody's business."""

    def send_json(
        self, status: int, answer: dict[str, Any], headers: dict[str, str] | None = None
    ) -> None:
        """Send a whole answer."""
        content = json.dumps(answer).encode()
        self.send_response(status)
        told = {"Content-Type": "application/json", "Content-Length": str(len(content))}
        for name, value in (told | (headers or {})).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    # -- what is asked ----------------------------------------------------------------------------

    def _completions(self, body: dict[str, Any]) -> None:
        prompts = body.get("prompt", "")
        prompts = [prompts] if isinstance(prompts, str) else prompts
        if not isinstance(prompts, list) or not all(isinstance(p, str) for p in prompts):
            raise _RequestError(400, "prompt is no text and no list of texts")
        most, seed = _asked(body)
        echo, tells = bool(body.get("echo")), body.get("logprobs") not in (None, False)
        for prompt in prompts:
            self._check_room(prompt, most)
        if body.get("stream"):
            if len(prompts) != 1 or echo or tells:
                raise _RequestError(400, "a stream has one prompt, and no echo or logprobs")
            self._stream(body, prompts[0], self.server.voice.go_on(prompts[0], most, seed), most)
            return
        begun, choices, read, written = time.perf_counter(), [], 0, 0
        for index, prompt in enumerate(prompts):
            answer = self._said(self.server.voice.go_on(prompt, most, seed), body) if most else ""
            whole = prompt + answer
            choice: dict[str, Any] = {
                "index": index, "text": whole if echo else answer, "logprobs": None,
                "finish_reason": self._finish(answer, most),
            }  # fmt: skip
            if tells:
                choice["logprobs"] = self._likelihoods(whole, 0 if echo else len(prompt))
            choices.append(choice)
            read, written = read + self._tokens(prompt), written + self._tokens(answer)
        found = {"object": "text_completion", "choices": choices, **self._usage(read, written)}
        self._answer(found, begun)

    def _chat(self, body: dict[str, Any]) -> None:
        messages = body.get("messages")
        if not isinstance(messages, list) or not messages or not all(map(_is_message, messages)):
            raise _RequestError(400, "messages is no list of objects with role and content as text")
        most, seed = _asked(body)
        prompt = self.server.voice.read(messages)
        self._check_room(prompt, most)
        pieces = self.server.voice.reply(messages, most, seed)
        if body.get("stream"):
            self._stream(body, prompt, pieces, most)
            return
        begun = time.perf_counter()
        answer = self._said(pieces, body)
        choice = {
            "index": 0, "message": {"role": "assistant", "content": answer},
            "finish_reason": self._finish(answer, most),
        }  # fmt: skip
        usage = self._usage(self._tokens(prompt), self._tokens(answer))
        self._answer({"object": "chat.completion", "choices": [choice], **usage}, begun)

    def _likelihoods(self, whole: str, start: int) -> dict[str, Any]:
        """Return tokens, log-probabilities and places from a place of the text on."""
        with self.server.lock:
            offsets, told = self.server.voice.likelihoods(whole)
        first = next((k for k, offset in enumerate(offsets) if offset >= start), len(offsets))
        ends = [*offsets[1:], len(whole)]
        return {
            "tokens": [whole[b:e] for b, e in zip(offsets, ends, strict=False)][first:],
            "token_logprobs": told[first:],
            "top_logprobs": None,
            "text_offset": list(offsets[first:]),
        }

    def _said(self, pieces: Iterator[str], body: dict[str, Any]) -> str:
        """Return the whole answer, up to the first text that is to stop it."""
        with self.server.lock:
            answer = "".join(pieces)
        stops = body.get("stop") or []
        for stop in [stops] if isinstance(stops, str) else stops:
            answer = answer.partition(stop)[0] if stop else answer
        return answer

    def _check_room(self, prompt: str, most: int) -> None:
        window = self.server.voice.window
        if window is None or (tokens := self._tokens(prompt) + most) <= window:
            return
        said = f"this model's maximum context length is {window} tokens; {tokens} were asked for"
        raise _RequestError(400, said, "context_length_exceeded")

    def _tokens(self, told: str) -> int:
        """Return the tokens of a text, 0 where the model does not say."""
        with self.server.lock:
            return len(self.server.voice.offsets(told) or ())

    def _usage(self, read: int, written: int) -> dict[str, Any]:
        """Return the counts of tokens; nothing where the model does not say."""
        if self.server.voice.offsets("") is None:
            return {}
        told = {"prompt_tokens": read, "completion_tokens": written}
        return {"usage": {**told, "total_tokens": read + written}}

    def _finish(self, answer: str, most: int) -> str:
        return "length" if self._tokens(answer) >= most else "stop"

    # -- how it is told ---------------------------------------------------------------------------

    def _answer(self, answer: dict[str, Any], begun: float) -> None:
        taken = f"{(time.perf_counter() - begun) * 1e3:.3f}"
        self.send_json(200, {**self._named(), **answer}, {"openai-processing-ms": taken})

    def _stream(self, body: dict[str, Any], prompt: str, pieces: Iterator[str], most: int) -> None:
        """Send each piece as it is made; with a text that stops, the answer is one piece."""
        chat = self.path.endswith("/chat/completions")
        named = self._named()
        kind = "chat.completion.chunk" if chat else "text_completion"
        if body.get("stop"):
            pieces = iter([self._said(pieces, body)])
        # The first is made before anything is sent, so that a failure has a status of its own.
        piece, answer = self._next(pieces), ""
        self._streaming = True
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()

        def event(choices: list[dict[str, Any]], **more: Any) -> None:
            self._chunk({**named, "object": kind, "choices": choices, **more})

        def choice(said: str, finish: str | None) -> dict[str, Any]:
            told: dict[str, Any] = {"delta": {"content": said}} if chat else {"text": said}
            return {"index": 0, **told, "finish_reason": finish}

        while piece is not None:
            answer += piece
            event([choice(piece, None)])
            piece = self._next(pieces)
        event([choice("", self._finish(answer, most))])
        if (body.get("stream_options") or {}).get("include_usage"):
            event([], **self._usage(self._tokens(prompt), self._tokens(answer)))
        self._chunk(None)

    def _next(self, pieces: Iterator[str]) -> str | None:
        with self.server.lock:
            return next(pieces, None)

    def _chunk(self, event: dict[str, Any] | None) -> None:
        """Send an event in a chunk of its own; None ends the stream."""
        said = b"[DONE]" if event is None else json.dumps(event).encode()
        data = b"data: " + said + b"\n\n"
        end = b"0\r\n\r\n" if event is None else b""
        self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n" + end)

    def _refuse(self, error: _RequestError) -> None:
        told = {"message": str(error), "type": "invalid_request_error", "code": error.code}
        if error.status >= 500:
            told["type"] = "server_error"
        try:
            if not getattr(self, "_streaming", False):
                self.send_json(error.status, {"error": told})
                return
            # Too late for a status: the stream says it and breaks off.
            self._chunk({"error": told})
        except ConnectionError:
            pass
        self.close_connection = True

    def _named(self) -> dict[str, Any]:
        return {"id": f"cmpl-{uuid4().hex}", "created": int(time.time()), "model": self.server.name}


def _object(content: bytes) -> dict[str, Any]:
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise _RequestError(400, "the request is no JSON object")
    return found


def _asked(body: dict[str, Any]) -> tuple[int, int]:
    """Return the most tokens of an answer and the seed."""
    if body.get("temperature") or (body.get("n") or 1) != 1 or (body.get("best_of") or 1) != 1:
        raise _RequestError(400, "only likeliest answers: temperature has to be 0, n and best_of 1")
    most = body.get("max_tokens")
    most = body.get("max_completion_tokens") if most is None else most
    most = ANSWERED if most is None else most
    if not isinstance(most, int) or most < 0:
        raise _RequestError(400, "max_tokens is no number of at least 0")
    seed = body.get("seed")
    return most, seed if isinstance(seed, int) else 0


def _is_message(one: Any) -> bool:
    return (
        isinstance(one, dict)
        and isinstance(one.get("role"), str)
        and isinstance(one.get("content"), str)
    )
