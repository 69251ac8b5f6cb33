"""A byte n-gram behind the tests' server, rows to ask it, and the client that asks."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import polars as pl
from tests.model import completions_server
from tests.model.byte_ngram import ByteNgram
from tests.model.completions_server import CompletionsServer, Trouble

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


def running(
    trouble: Trouble | None = None, *, seconds: float = 0.0
) -> AbstractContextManager[CompletionsServer]:
    """The n-gram behind a server; seconds: what each byte of an answer takes."""
    return completions_server.running(ByteNgram(TEXTS, seconds=seconds), trouble)


def asked(
    server: CompletionsServer, cache: Path | None = None, *, stream: bool = False, **more: Any
) -> EndpointLanguageModel:
    settings = EndpointSettings.model_validate({"url": server.url, "model": "ngram", **more})
    return EndpointLanguageModel(settings, INFO, cache=cache, stream=stream)
