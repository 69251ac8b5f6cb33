"""The tests' server says of a model what the model says of itself, in OpenAI's words."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from tests.model.byte_ngram import ByteNgram
from tests.model.completions_server import CompletionsServer, running
from tests.model.served_ngram import ROWS, TEXTS, asked
from tests.model.tiny_language import tiny_language

from shipworthy.core.errors import DataError, ModelError
from shipworthy.model.checkpoint import RuntimeInfo
from shipworthy.model.endpoint import EndpointLanguageModel
from shipworthy.model.endpoint_settings import EndpointSettings
from shipworthy.model.pretrained import load_language_pretrained
from shipworthy.model.torch_language_model import TorchLanguageModel

MODEL = ByteNgram(TEXTS)


def post(server: CompletionsServer, path: str, body: Any) -> tuple[int, Any]:
    connection = http.client.HTTPConnection(*server.server_address[:2], timeout=10)  # type: ignore[arg-type]
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    connection.request("POST", path, content)
    response = connection.getresponse()
    found = response.read()
    connection.close()
    streams = response.headers["Content-Type"] == "text/event-stream"
    return response.status, found.decode() if streams else json.loads(found)


def test_models_are_named(server: CompletionsServer) -> None:
    connection = http.client.HTTPConnection(*server.server_address[:2], timeout=10)  # type: ignore[arg-type]
    found = {}
    for path in ("/v1/models", "/v1/models/model", "/v2"):
        connection.request("GET", path)
        response = connection.getresponse()
        found[path] = response.status, json.loads(response.read())
    connection.close()
    assert found["/v1/models"][1]["data"][0] == found["/v1/models/model"][1]
    assert found["/v2"][0] == 404


def test_several_texts_are_gone_on_with_and_stopped(server: CompletionsServer) -> None:
    prompts = ROWS["prompt"].to_list()[:3]
    body = {"prompt": prompts, "max_tokens": 20, "echo": True, "stop": ","}
    status, found = post(server, "/v1/completions", body)
    whole = MODEL.generate(ROWS[:3], max_new_tokens=20, seed=0)
    assert status == 200
    assert [c["text"] for c in found["choices"]] == [
        p + a.partition(",")[0] for p, a in zip(prompts, whole, strict=True)
    ]


def test_tokens_of_an_answer_have_likelihoods(server: CompletionsServer) -> None:
    prompt = ROWS["prompt"][0]
    body = {"prompt": prompt, "max_tokens": 8, "logprobs": 1}
    choice = post(server, "/v1/completions", body)[1]["choices"][0]
    assert choice["finish_reason"] == "length" and len(choice["logprobs"]["tokens"]) == 8
    np.testing.assert_allclose(
        choice["logprobs"]["token_logprobs"], -MODEL.losses(prompt, choice["text"]), atol=1e-9
    )


@pytest.mark.parametrize("path", ["/v1/completions", "/v1/chat/completions"])
def test_a_stream_holds_the_pieces_and_ends(path: str, server: CompletionsServer) -> None:
    prompt = ROWS["prompt"][0]
    chat = "chat" in path
    asked_for = {"messages": [{"role": "user", "content": prompt}]} if chat else {"prompt": prompt}
    body = {**asked_for, "max_tokens": 20, "stream": True}
    status, told = post(server, path, body)
    assert status == 200
    events = [e.removeprefix("data: ") for e in told.split("\n\n") if e]
    assert events[-1] == "[DONE]"
    choices = [json.loads(e)["choices"][0] for e in events[:-1]]
    said = [c["delta"]["content"] if chat else c["text"] for c in choices]
    prompt_read = f"{prompt}\n" if chat else prompt
    expected = list(MODEL.pieces(prompt_read, max_new_tokens=20, seed=0))
    assert said == [*expected, ""] and choices[-1]["finish_reason"] in ("length", "stop")


@pytest.mark.parametrize(
    ("path", "body", "status", "says"),
    [
        ("/v1/completions", b"{", 400, "no JSON"),
        ("/v1/completions", b"[]", 400, "no JSON"),
        ("/v1/completions", {"prompt": [1, 2]}, 400, "no text"),
        ("/v1/completions", {"prompt": "a", "temperature": 0.7}, 400, "temperature"),
        ("/v1/completions", {"prompt": "a", "max_tokens": -1}, 400, "max_tokens"),
        ("/v1/completions", {"prompt": "a", "stream": True, "echo": True}, 400, "stream"),
        ("/v1/completions", {"prompt": "a" * 2000}, 400, "context length is 2000"),
        ("/v1/chat/completions", {"messages": [{"role": "user"}]}, 400, "messages"),
        ("/v1/elsewhere", {}, 404, "elsewhere"),
    ],
)
def test_a_request_that_does_not_fit_is_told_so(
    path: str, body: Any, status: int, says: str, server: CompletionsServer
) -> None:
    found, answer = post(server, path, body)
    assert found == status and says in answer["error"]["message"]


def test_the_window_is_told_to_whoever_asks(server: CompletionsServer) -> None:
    rows = pl.concat([ROWS[:1], ROWS[:1].with_columns(prompt=pl.lit("too long " * 300))])
    with pytest.raises(DataError, match="row 2.*context length"):
        asked(server).generate(rows, max_new_tokens=3, seed=0)


def test_a_model_that_fails_is_no_end_of_the_server() -> None:
    class Fails(ByteNgram):
        def pieces(self, prompt: str, **more: Any) -> Iterator[str]:
            if "12" in prompt:
                raise RuntimeError("/somewhere/private/model")
            return super().pieces(prompt, **more)

    with running(Fails(TEXTS)) as server:
        for stream in (False, True):
            body = {"prompt": "12", "stream": stream}
            status, answer = post(server, "/v1/completions", body)
            assert status == 500 and answer["error"]["message"] == "the model failed (RuntimeError)"
        assert post(server, "/v1/completions", {"prompt": "11"})[0] == 200


class Bare:
    """A model with the capability and nothing more, which notices who asks at the same time."""

    def __init__(self) -> None:
        self.inner, self.inside, self.most = ByteNgram(TEXTS), 0, 0

    def generate(self, rows: pl.DataFrame, *, max_new_tokens: int, seed: int) -> list[str]:
        self.inside += 1
        self.most = max(self.most, self.inside)
        threading.Event().wait(0.005)
        found = self.inner.generate(rows, max_new_tokens=max_new_tokens, seed=seed)
        self.inside -= 1
        return found

    def token_losses(self, rows: pl.DataFrame) -> Any:
        return self.inner.token_losses(rows)

    def choice_log_likelihoods(self, rows: pl.DataFrame, *, normalize: Any) -> Any:
        return self.inner.choice_log_likelihoods(rows, normalize=normalize)


def test_the_bare_capability_answers_one_at_a_time_without_counts() -> None:
    model = Bare()
    with running(model) as server:
        remote = asked(server, concurrency=6)
        expected = MODEL.generate(ROWS, max_new_tokens=9, seed=0)
        assert remote.generate(ROWS, max_new_tokens=9, seed=0) == expected
        assert model.most == 1
        assert all(one.guessed for one in remote.requests) and "12 answers" in remote.notes()[0]
        with pytest.raises(ModelError, match="likelihood"):
            remote.token_losses(ROWS)


def test_a_torch_model_is_served_in_its_template_and_without(tmp_path: Path) -> None:
    tiny_language(tmp_path, [*ROWS["prompt"], *ROWS["response"]])
    module, tokenizer = load_language_pretrained(tmp_path, max_length=128)
    info = RuntimeInfo(
        "torch", (), 128, "prompt", does="respond", response="response", choices="choices"
    )
    chats = replace(info, template="chat")
    model = TorchLanguageModel(module, tokenizer, chats, threads=1)
    plain = TorchLanguageModel(module, tokenizer, replace(info, template="{prompt}\n"), threads=1)
    with running(model) as server:
        told = EndpointSettings(url=server.url, model="tiny")
        remote = EndpointLanguageModel(told, info)
        rows = ROWS[:4]
        np.testing.assert_allclose(
            remote.token_losses(rows).values, plain.token_losses(rows).values, atol=1e-5
        )
        for normalize in ("none", "tokens", "bytes"):
            np.testing.assert_allclose(
                remote.choice_log_likelihoods(rows, normalize=normalize).values,
                plain.choice_log_likelihoods(rows, normalize=normalize).values,
                atol=1e-4,
            )
        answers = plain.generate(rows, max_new_tokens=4, seed=0)
        assert remote.generate(rows, max_new_tokens=4, seed=0) == answers
        chat = EndpointLanguageModel(told.model_copy(update={"protocol": "chat"}), info)
        answers = model.generate(rows, max_new_tokens=4, seed=0)
        assert chat.generate(rows, max_new_tokens=4, seed=0) == answers
