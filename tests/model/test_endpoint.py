"""A server as a language model: what it says is what the model says, whatever goes wrong."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from tests.model.completions_server import CompletionsServer, Handler
from tests.model.tiny_language import tiny_language

from shipworthy.core.errors import DataError, InputError, ModelError
from shipworthy.model import endpoint_client
from shipworthy.model.capabilities import LanguageModel, require
from shipworthy.model.checkpoint import RuntimeInfo
from shipworthy.model.endpoint import EndpointLanguageModel
from shipworthy.model.endpoint_settings import EndpointSettings
from shipworthy.model.pretrained import load_language_pretrained
from shipworthy.model.torch_language_model import TorchLanguageModel

ROWS = pl.DataFrame({
    "prompt": [f"What is {k} and {k + 1}?" for k in range(12)],
    "response": [f"It is {2 * k + 1}." for k in range(12)],
    "choices": [["yes", "no", "it depends"]] * 12,
})  # fmt: skip
INFO = RuntimeInfo(
    "torch", (), 128, "prompt", does="respond", response="response", choices="choices",
    template="{prompt}\n",
)  # fmt: skip


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> TorchLanguageModel:
    folder = tmp_path_factory.mktemp("served")
    tiny_language(folder, [*ROWS["prompt"].to_list(), *ROWS["response"].to_list()])
    module, tokenizer = load_language_pretrained(folder, max_length=128)
    return TorchLanguageModel(module, tokenizer, INFO, threads=1)


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint_client, "FIRST_WAIT", 0.01)


@contextmanager
def running(
    model: TorchLanguageModel, trouble: Callable[[Handler, int], bool] | None = None
) -> Iterator[CompletionsServer]:
    with CompletionsServer(model, trouble) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.shutdown()


def asked(
    server: CompletionsServer, cache: Path | None = None, **more: Any
) -> EndpointLanguageModel:
    settings = {"url": server.url, "model": "tiny", **more}
    return EndpointLanguageModel(EndpointSettings.model_validate(settings), INFO, cache=cache)


def test_it_says_what_the_model_says(model: TorchLanguageModel) -> None:
    with running(model) as server:
        remote = asked(server)
        require(remote, LanguageModel, purpose="tests")  # type: ignore[type-abstract]
        assert remote.generate(ROWS, max_new_tokens=5, seed=0) == model.generate(
            ROWS, max_new_tokens=5, seed=0
        )
        here, there = model.token_losses(ROWS), remote.token_losses(ROWS)
        assert here.offsets.tolist() == there.offsets.tolist()
        np.testing.assert_allclose(here.values, there.values, atol=1e-5)
        for normalize in ("none", "tokens", "bytes"):
            np.testing.assert_allclose(
                remote.choice_log_likelihoods(ROWS, normalize=normalize).values,
                model.choice_log_likelihoods(ROWS, normalize=normalize).values,
                atol=1e-4,
            )
        assert remote.cost.requests == 12 + 12 + 3 * 36


def test_a_chat_is_put_into_the_template_of_the_server(model: TorchLanguageModel) -> None:
    chatting = TorchLanguageModel(
        model.module, model.tokenizer, replace(INFO, template="chat"), threads=1
    )
    with running(chatting) as server:
        remote = asked(server, protocol="chat")
        expected = chatting.generate(ROWS[:4], max_new_tokens=5, seed=0)
        assert remote.generate(ROWS[:4], max_new_tokens=5, seed=0) == expected
        with pytest.raises(ModelError, match="likelihood"):
            remote.token_losses(ROWS)


def late(handler: Handler, number: int) -> bool:
    if number % 3:
        return False
    handler.send(429, {"error": {"message": "slow down"}}, {"Retry-After": "0.01"})
    return True


def broken(handler: Handler, number: int) -> bool:
    if number % 3:
        return False
    handler.send(503, {"error": "overloaded"})
    return True


def half(handler: Handler, number: int) -> bool:
    if number % 3:
        return False
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    handler.wfile.write(b'{"choices": [{"te')
    handler.close_connection = True
    return True


def garbage(handler: Handler, number: int) -> bool:
    if number % 3:
        return False
    handler.send_response(200)
    handler.send_header("Content-Length", "6")
    handler.end_headers()
    handler.wfile.write(b"<html>")
    return True


def hangs_up(handler: Handler, number: int) -> bool:
    if number % 3:
        return False
    handler.connection.close()
    handler.close_connection = True
    return True


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("trouble", [late, broken, half, garbage, hangs_up])
def test_a_troubled_server_is_asked_again(
    trouble: Callable[[Handler, int], bool], model: TorchLanguageModel
) -> None:
    with running(model, trouble) as server:
        found = asked(server, concurrency=2).generate(ROWS, max_new_tokens=3, seed=0)
    assert found == model.generate(ROWS, max_new_tokens=3, seed=0)


@pytest.mark.parametrize(
    ("trouble", "message"),
    [(broken, "503: overloaded"), (garbage, "not whole"), (half, "no answer")],
)
def test_a_server_that_never_manages_is_an_error_of_one_line(
    trouble: Callable[[Handler, int], bool], message: str, model: TorchLanguageModel
) -> None:
    with running(model, lambda handler, number: trouble(handler, 0)) as server:
        remote = asked(server, retries=2)
        with pytest.raises(ModelError, match="3 tries") as caught:
            remote.generate(ROWS[:1], max_new_tokens=3, seed=0)
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_nobody_answers() -> None:
    settings = EndpointSettings(url="http://127.0.0.1:9/v1", model="x", retries=1)
    with pytest.raises(ModelError, match="2 tries"):
        EndpointLanguageModel(settings, INFO).generate(ROWS[:1], max_new_tokens=3, seed=0)


@pytest.mark.parametrize(("status", "fix"), [(401, "key"), (404, "url"), (400, "settings")])
def test_a_refusal_is_told_at_once(status: int, fix: str, model: TorchLanguageModel) -> None:
    def refuse(handler: Handler, number: int) -> bool:
        handler.send(status, {"error": {"message": "not so"}})
        return True

    with running(model, refuse) as server:
        with pytest.raises(ModelError, match=f"{status}: not so") as caught:
            asked(server, concurrency=1).generate(ROWS[:1], max_new_tokens=3, seed=0)
        assert server.count == 1
    assert fix in str(caught.value)


def test_a_prompt_that_is_too_long_is_named(model: TorchLanguageModel) -> None:
    long = pl.concat([ROWS[:2], ROWS[:1].with_columns(prompt=pl.lit("word " * 300))])
    with running(model) as server, pytest.raises(DataError, match="context length") as caught:
        asked(server).generate(long, max_new_tokens=3, seed=0)
    assert "row 3" in str(caught.value)


def test_answers_are_kept_and_paid_for_once(model: TorchLanguageModel, tmp_path: Path) -> None:
    with running(model) as server:
        first = asked(server, tmp_path / "answers.sqlite", price_input=2.0, price_output=6.0)
        said = first.generate(ROWS, max_new_tokens=4, seed=0)
        tokens = sum(len(model.tokenizer(p + "\n")["input_ids"]) for p in ROWS["prompt"])
        assert first.cost.money == pytest.approx((tokens * 2 + 12 * 4 * 6) / 1e6)
        again = asked(server, tmp_path / "answers.sqlite")
        assert again.generate(ROWS, max_new_tokens=4, seed=0) == said
        assert again.cost.requests == 0 and server.count == 12
        again.generate(ROWS[:1], max_new_tokens=5, seed=0)  # another question
        assert server.count == 13


def test_a_dry_run_asks_nothing_and_the_cap_holds(model: TorchLanguageModel) -> None:
    with running(model) as server:
        prices: dict[str, Any] = {"price_input": 1000.0, "price_output": 2000.0, "concurrency": 1}
        remote = asked(server, **prices)
        # Rows with choices are asked for their likelihoods, others for an answer.
        chosen = remote.estimate(ROWS, max_new_tokens=4)
        assert chosen.requests == 12 * 3 + 12 and chosen.written == 0
        remote.info = replace(INFO, choices="")
        told = remote.estimate(ROWS, max_new_tokens=4)
        assert server.count == 0
        assert told.requests == 24 and told.written == 48 and told.money > 0
        capped = asked(server, cost_cap=0.05, **prices)
        with pytest.raises(InputError, match="cap of 0.05"):
            capped.generate(ROWS, max_new_tokens=4, seed=0)
        assert 0 < capped.cost.money <= 0.05 and 0 < server.count < 12


def test_the_key_stands_in_no_message_and_no_file(
    model: TorchLanguageModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_KEY", "secret-4711")
    with running(model) as server:
        remote = asked(server, tmp_path / "answers.sqlite", key_variable="MY_KEY")
        remote.generate(ROWS[:2], max_new_tokens=2, seed=0)
        assert server.keys == {"Bearer secret-4711"}
    kept = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    assert b"secret" not in kept
    monkeypatch.delenv("MY_KEY")
    with running(model) as server, pytest.raises(InputError, match="MY_KEY"):
        asked(server, key_variable="MY_KEY")


def test_requests_keep_their_pace(model: TorchLanguageModel) -> None:
    with running(model) as server:
        begun = time.monotonic()
        asked(server, requests_per_second=20, concurrency=8).generate(
            ROWS, max_new_tokens=1, seed=0
        )
        assert time.monotonic() - begun >= 11 / 20
