"""A byte n-gram behind our own server, with troubles that can be put before it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import polars as pl
from tests.model.byte_ngram import ByteNgram
from tests.model.voiced_server import CompletionsHandler, CompletionsServer

from shipworthy.model.checkpoint import RuntimeInfo
from shipworthy.model.endpoint import EndpointLanguageModel
from shipworthy.model.endpoint_settings import EndpointSettings

TEXTS = [f"{k} and {k + 1}? It is {2 * k + 1}, they say, 大约是 {2 * k}." for k in range(20)]
ROWS = pl.DataFrame({
    "prompt": [f"What is {k} and {k + 1}?" for k in range(12)],
    "response": [f" It is {2 * k + 1}, 大约。" for k in range(12)],
    "choices": [["yes", "no", "也许"]] * 12,
})  # fmt: skip
INFO = RuntimeInfo(
    "torch", (), 2000, "prompt", does="respond", response="response", choices="choices",
    template="{prompt}",
)  # fmt: skip

Trouble = Callable[[CompletionsHandler, int], bool]
"""Called with each request and its number from 0; True where it has answered itself."""


class Counted(CompletionsServer):
    count = 0
    trouble: Trouble | None = None


class Troubled(CompletionsHandler):
    server: Counted

    def do_POST(self) -> None:  # noqa: N802
        with COUNTING:
            number, self.server.count = self.server.count, self.server.count + 1
        if self.server.trouble is None or not self.server.trouble(self, number):
            super().do_POST()
            return
        # What was asked is read, so that the connection may go on.
        self.rfile.read(int(self.headers["Content-Length"]))


COUNTING = threading.Lock()


@contextmanager
def running(trouble: Trouble | None = None, *, seconds: float = 0.0) -> Iterator[Counted]:
    server = Counted(ByteNgram(TEXTS, seconds=seconds))
    server.RequestHandlerClass = Troubled
    server.trouble = trouble
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def asked(
    server: CompletionsServer, cache: Path | None = None, *, stream: bool = False, **more: Any
) -> EndpointLanguageModel:
    settings = EndpointSettings.model_validate({"url": server.url, "model": "ngram", **more})
    return EndpointLanguageModel(settings, INFO, cache=cache, stream=stream)
