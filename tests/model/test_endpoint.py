"""A server as a language model: what it says is what the model says, and what that costs."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.model.byte_ngram import ByteNgram
from tests.model.completions_server import CompletionsServer
from tests.model.served_ngram import INFO, ROWS, TEXTS, asked, running

from shipworthy.core.errors import InputError, ModelError
from shipworthy.model.capabilities import LanguageModel, require
from shipworthy.model.endpoint import EndpointLanguageModel
from shipworthy.model.endpoint_settings import EndpointSettings

MODEL = ByteNgram(TEXTS)
WORDS = st.text(st.characters(codec="utf-8"), max_size=12)


def test_it_says_what_the_model_says(server: CompletionsServer) -> None:
    remote = asked(server)
    require(remote, LanguageModel, purpose="tests")  # type: ignore[type-abstract]
    answers = MODEL.generate(ROWS, max_new_tokens=30, seed=0)
    assert remote.generate(ROWS, max_new_tokens=30, seed=0) == answers
    assert "大约是" in answers[0]
    here, there = MODEL.token_losses(ROWS), remote.token_losses(ROWS)
    assert here.offsets.tolist() == there.offsets.tolist()
    np.testing.assert_allclose(there.values, here.values, atol=1e-6)
    for normalize in ("none", "tokens", "bytes"):  # a token is a byte
        chosen = remote.choice_log_likelihoods(ROWS, normalize=normalize)
        expected = MODEL.choice_log_likelihoods(ROWS, normalize=normalize)
        assert chosen.offsets.tolist() == expected.offsets.tolist()
        np.testing.assert_allclose(chosen.values, expected.values, atol=1e-6)
    assert remote.cost.requests == 12 + 12 + 3 * 36


@settings(max_examples=25)
@given(prompt=WORDS, response=WORDS)
def test_no_token_is_lost_between_prompt_and_response(
    server: CompletionsServer, prompt: str, response: str
) -> None:
    rows = pl.DataFrame({"prompt": [prompt], "response": [response]})
    here, there = MODEL.token_losses(rows), asked(server).token_losses(rows)
    np.testing.assert_allclose(there.values, here.values, atol=1e-6)


def test_a_chat_tells_no_likelihoods(server: CompletionsServer) -> None:
    with pytest.raises(ModelError, match="likelihood"):
        asked(server, protocol="chat").token_losses(ROWS)


def test_nobody_answers() -> None:
    settings = EndpointSettings(url="http://127.0.0.1:9/v1", model="x", retries=1)
    with pytest.raises(ModelError, match="2 tries"):
        EndpointLanguageModel(settings, INFO).generate(ROWS[:1], max_new_tokens=3, seed=0)


def test_answers_are_kept_and_paid_for_once(tmp_path: Path) -> None:
    with running() as server:
        first = asked(server, tmp_path / "answers.sqlite", price_input=2.0, price_output=6.0)
        said = first.generate(ROWS, max_new_tokens=4, seed=0)
        read = sum(len(p.encode()) for p in ROWS["prompt"])
        assert first.cost.money == pytest.approx((read * 2 + 12 * 4 * 6) / 1e6)
        again = asked(server, tmp_path / "answers.sqlite")
        assert again.generate(ROWS, max_new_tokens=4, seed=0) == said
        assert again.cost.requests == 0 and server.count == 12
        again.generate(ROWS[:1], max_new_tokens=5, seed=0)  # another question
        assert server.count == 13


def test_a_dry_run_asks_nothing_and_the_cap_holds() -> None:
    with running() as server:
        prices: dict[str, Any] = {"price_input": 1000.0, "price_output": 2000.0, "concurrency": 1}
        remote = asked(server, **prices)
        # Rows with choices are asked for their likelihoods, others for an answer.
        chosen = remote.estimate(ROWS, max_new_tokens=4)
        assert chosen.requests == 12 * 3 + 12 and chosen.written == 0
        remote.info = replace(INFO, choices="")
        told = remote.estimate(ROWS, max_new_tokens=4)
        assert server.count == 0
        assert told.requests == 24 and told.written == 48 and told.money > 0
        capped = asked(server, cost_cap=0.1, **prices)
        with pytest.raises(InputError, match="cap of 0.1"):
            capped.generate(ROWS, max_new_tokens=4, seed=0)
        assert 0 < capped.cost.money <= 0.1 and 0 < server.count < 12


def test_the_key_stands_in_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", "secret-4711")
    with running() as server:
        remote = asked(server, tmp_path / "answers.sqlite", key_variable="MY_KEY")
        remote.generate(ROWS[:2], max_new_tokens=2, seed=0)
        assert server.keys == {"Bearer secret-4711"}
    kept = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    assert kept and b"secret" not in kept
    monkeypatch.delenv("MY_KEY")
    with pytest.raises(InputError, match="MY_KEY"):
        asked(server, key_variable="MY_KEY")


def test_requests_keep_their_pace(server: CompletionsServer) -> None:
    begun = time.monotonic()
    asked(server, requests_per_second=40, concurrency=8).generate(ROWS, max_new_tokens=1, seed=0)
    assert time.monotonic() - begun >= 11 / 40
