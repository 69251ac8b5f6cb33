"""A small server of OpenAI's protocol over any language model: for what speaks only to servers.

    GET  /v1/models              the one model
    POST /v1/completions         texts gone on with; echo and logprobs; stream
    POST /v1/chat/completions    an answer to the last message; stream

Answers are the likeliest ones. Requests are taken at once, the model does one at a time. There are
no keys: whoever reaches the port is answered, so it listens on this machine alone unless told.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from tests.model.server_voice import Voice

from shipworthy.core.errors import InputError
from shipworthy.core.locale import text

if TYPE_CHECKING:
    from shipworthy.model.capabilities import LanguageModel

LARGEST_REQUEST = 64 << 20
"""Bytes of a request that are read."""

ANSWERED = 16
"""Tokens of an answer where a request names no number, as OpenAI has it."""

IDLE_SECONDS = 300.0
"""Seconds after which a connection over which nothing comes is closed."""


class CompletionsServer(ThreadingHTTPServer):
    """A model, waiting for requests.

    name: what the model is called. port: 0 takes a free one; `url` tells it.
    """

    daemon_threads = True
    request_queue_size = 128

    def __init__(
        self, model: LanguageModel, host: str = "127.0.0.1", port: int = 0, *, name: str = "model"
    ) -> None:
        """Listen; `serve_forever` answers. Raises OSError where the port is taken."""
        self.voice, self.name = Voice(model), name
        self.lock = threading.Lock()
        super().__init__((host, port), CompletionsHandler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a connection that whoever asked has dropped."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)

    @property
    def url(self) -> str:
        """Where it listens, up to and with the version."""
        host, port = self.server_address[:2]
        return f"http://{host!s}:{port}/v1"


def serve(
    model: LanguageModel, host: str = "127.0.0.1", port: int = 0, *, name: str = "model"
) -> CompletionsServer:
    """Answer in a thread of its own until `shutdown` and `server_close`, or the end of the process.

    See `CompletionsServer`.
    """
    server = CompletionsServer(model, host, port, name=name)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


class _RequestError(Exception):
    """A request that is not answered. status: of HTTP; code: a word for programs."""

    def __init__(self, status: int, message: str, code: str = "invalid_request_error") -> None:
        super().__init__(message)
        self.status, self.code = status, code


class CompletionsHandler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    timeout = IDLE_SECONDS
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
            self._refuse(_RequestError(404, text("error.completions_server.path", path=self.path)))

    def do_POST(self) -> None:  # noqa: N802
        """Answer, or say what is wrong with the request."""
        self._streaming = False
        try:
            body = self._body()
            if self.path == "/v1/completions":
                self._completions(body)
            elif self.path == "/v1/chat/completions":
                self._chat(body)
            else:
                said = text("error.completions_server.path", path=self.path)
                raise _RequestError(404, said)
        except _RequestError as error:
            self._refuse(error)
        except InputError as error:
            self._refuse(_RequestError(400, str(error)))
        except ConnectionError:  # who asked is gone
            self.close_connection = True
        except Exception as error:
            # Its words may be about this machine's files, and whoever asks may be elsewhere.
            said = text("error.completions_server.failed", reason=type(error).__name__)
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
            raise _RequestError(400, text("error.completions_server.prompt"))
        most, seed = _asked(body)
        echo, tells = bool(body.get("echo")), body.get("logprobs") not in (None, False)
        for prompt in prompts:
            self._check_room(prompt, most)
        if body.get("stream"):
            if len(prompts) != 1 or echo or tells:
                raise _RequestError(400, text("error.completions_server.several"))
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
            raise _RequestError(400, text("error.completions_server.messages"))
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
        said = text("error.completions_server.context", window=window, tokens=tokens, most=most)
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

    def _body(self) -> dict[str, Any]:
        size = self.headers.get("Content-Length", "")
        if not size.isdecimal():
            self.close_connection = True
            raise _RequestError(411, text("error.completions_server.body"))
        if int(size) > LARGEST_REQUEST:
            self.close_connection = True
            raise _RequestError(413, text("error.completions_server.large", most=LARGEST_REQUEST))
        try:
            found = json.loads(self.rfile.read(int(size)))
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, dict):
            raise _RequestError(400, text("error.completions_server.body"))
        return found

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


def _asked(body: dict[str, Any]) -> tuple[int, int]:
    """Return the most tokens of an answer and the seed."""
    if body.get("temperature") or (body.get("n") or 1) != 1 or (body.get("best_of") or 1) != 1:
        raise _RequestError(400, text("error.completions_server.greedy"))
    most = body.get("max_tokens")
    most = body.get("max_completion_tokens") if most is None else most
    most = ANSWERED if most is None else most
    if not isinstance(most, int) or most < 0:
        raise _RequestError(400, text("error.completions_server.most"))
    seed = body.get("seed")
    return most, seed if isinstance(seed, int) else 0


def _is_message(one: Any) -> bool:
    return (
        isinstance(one, dict)
        and isinstance(one.get("role"), str)
        and isinstance(one.get("content"), str)
    )
