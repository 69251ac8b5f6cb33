"""Asking a server that has its troubles: patience, pace, money, times, and no secret told."""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from statistics import median
from typing import Any

import pytest
from tests.model.byte_ngram import ByteNgram
from tests.model.completions_server import CompletionsHandler
from tests.model.served_ngram import INFO, ROWS, TEXTS, asked, running

from shipworthy.core.errors import InputError, ModelError
from shipworthy.model import endpoint_client
from shipworthy.model.endpoint import EndpointLanguageModel
from shipworthy.model.endpoint_replies import complaint, seconds_to_wait
from shipworthy.model.endpoint_settings import EndpointSettings

MODEL = ByteNgram(TEXTS)
MOST = 12
ANSWERS = MODEL.generate(ROWS, max_new_tokens=MOST, seed=0)


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint_client, "FIRST_WAIT", 0.005)


def send(handler: CompletionsHandler, content: bytes, *, length: int | None, kind: str) -> None:
    handler.send_response(200)
    handler.send_header("Content-Type", kind)
    if length is not None:
        handler.send_header("Content-Length", str(length))
    handler.end_headers()
    handler.wfile.write(content)
    handler.close_connection = True


def half_stream(handler: CompletionsHandler) -> None:
    """Two whole events, then the connection is closed without a word."""
    event = b'data: {"choices": [{"text": "It", "finish_reason": null}]}\n\n'
    send(handler, event * 2, length=None, kind="text/event-stream")


def cut_chunk(handler: CompletionsHandler) -> None:
    """A stream in chunks, of which the second is announced and never comes whole."""
    handler.send_response(200)
    handler.send_header("Content-Type", "text/event-stream")
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()
    event = b'data: {"choices": [{"text": "It"}]}\n\n'
    handler.wfile.write(f"{len(event):x}\r\n".encode() + event + b"\r\n40\r\ndata: {")
    handler.close_connection = True


def stream_gives_up(handler: CompletionsHandler) -> None:
    event = b'data: {"error": {"message": "out of memory"}}\n\n'
    send(handler, event, length=None, kind="text/event-stream")


def no_json_in_stream(handler: CompletionsHandler) -> None:
    send(handler, b"data: {oops\n\n", length=None, kind="text/event-stream")


def half(handler: CompletionsHandler) -> None:
    send(handler, b'{"choices": [{"te', length=1000, kind="application/json")


def garbage(handler: CompletionsHandler) -> None:
    send(handler, b"<html>", length=6, kind="text/html")


def odd(handler: CompletionsHandler) -> None:
    send(handler, b'{"choices": "no"}', length=17, kind="application/json")


def busy(handler: CompletionsHandler) -> None:
    handler.send_json(429, {"error": {"message": "slow down"}})


def down(handler: CompletionsHandler) -> None:
    handler.send_json(503, {"detail": "starting up"})


def hangs(handler: CompletionsHandler) -> None:
    time.sleep(0.4)
    handler.close_connection = True


TROUBLES: dict[Callable[[CompletionsHandler], None], str] = {
    half_stream: "the stream ended before", cut_chunk: "no answer came",
    stream_gives_up: "out of memory", no_json_in_stream: "no JSON", half: "no answer came",
    garbage: "no JSON", odd: "no JSON", busy: "429: slow down", down: "503: starting up",
    hangs: "within 0.2 seconds",
}  # fmt: skip


@pytest.mark.parametrize("trouble", TROUBLES, ids=lambda t: t.__name__)
def test_trouble_that_passes_costs_a_try_and_trouble_that_stays_is_told(
    trouble: Callable[[CompletionsHandler], None],
) -> None:
    def sometimes(handler: CompletionsHandler, number: int) -> bool:
        if number % 6 == 1:
            trouble(handler)
        return number % 6 == 1

    def always(handler: CompletionsHandler, number: int) -> bool:
        trouble(handler)
        return True

    stream = trouble in (half_stream, cut_chunk, stream_gives_up, no_json_in_stream)
    limit = 0.2 if trouble is hangs else 30.0
    with running(sometimes) as server:
        remote = asked(server, stream=stream, concurrency=2, timeout_seconds=limit, retries=8)
        assert remote.generate(ROWS, max_new_tokens=MOST, seed=0) == ANSWERS
        assert sum(one.tries for one in remote.requests) == server.count > remote.cost.requests
    with running(always) as server:
        remote = asked(server, stream=stream, timeout_seconds=limit, retries=1)
        with pytest.raises(ModelError, match=f"2 tries.*{TROUBLES[trouble]}") as caught:
            remote.generate(ROWS[:1], max_new_tokens=MOST, seed=0)
        assert "\n" not in str(caught.value) and server.count == 2 and remote.cost.requests == 0


def test_pieces_of_a_stream_are_timed() -> None:
    with running(seconds=0.004) as server:
        whole, pieces = asked(server), asked(server, stream=True)
        for remote in (whole, pieces):
            assert remote.generate(ROWS[:3], max_new_tokens=MOST, seed=0) == ANSWERS[:3]
    prompts = sum(len(p.encode()) for p in ROWS["prompt"][:3])
    assert pieces.cost.read == whole.cost.read == prompts
    assert pieces.cost.written == whole.cost.written == sum(len(a.encode()) for a in ANSWERS[:3])
    assert all(one.times.first is None and not one.times.gaps for one in whole.requests)
    for one in pieces.requests:
        times = one.times
        assert times.first is not None and 0.004 <= times.first < times.whole
        assert len(times.gaps) == MOST - 1 and 0.004 <= median(times.gaps) < 0.1
        assert times.first + sum(times.gaps) <= times.whole
    assert all(0.04 < one.times.server < one.times.whole for one in whole.requests)  # type: ignore[operator]


def test_a_chat_is_streamed_too() -> None:
    with running() as server:
        chats = [asked(server, stream=stream, protocol="chat") for stream in (False, True)]
        said = [one.generate(ROWS, max_new_tokens=MOST, seed=0) for one in chats]
    assert said[0] == said[1] and any(said[0])


@pytest.mark.parametrize("last", [b"data: [DONE]\n\n", b""])
def test_a_stream_is_over_when_the_answer_is(last: bytes) -> None:
    """Some servers leave out the last word, others the end of the transfer."""

    def unended(handler: CompletionsHandler, number: int) -> bool:
        event = b'data: {"choices": [{"text": "It", "finish_reason": "stop"}]}\n\n' + last
        handler.send_response(200)
        handler.send_header("Content-Type", "text/event-stream")
        if last:
            handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        handler.wfile.write(f"{len(event):x}\r\n".encode() + event + b"\r\n" if last else event)
        handler.close_connection = True
        if last:
            time.sleep(1.5)
        return True

    with running(unended) as server:
        remote = asked(server, stream=True, concurrency=1, retries=0)
        assert remote.generate(ROWS[:2], max_new_tokens=MOST, seed=0) == ["It", "It"]
    assert all(one.times.whole < 1 for one in remote.requests)


def test_a_stream_and_a_whole_answer_are_kept_as_one(tmp_path: Path) -> None:
    with running() as server:
        asked(server, tmp_path / "a", stream=True).generate(ROWS, max_new_tokens=MOST, seed=0)
        again = asked(server, tmp_path / "a")
        assert again.generate(ROWS, max_new_tokens=MOST, seed=0) == ANSWERS
        assert again.cost.requests == 0 and server.count == 12


@pytest.mark.parametrize("as_date", [False, True])
def test_a_server_is_left_alone_as_long_as_it_asks(as_date: bool) -> None:
    def later(handler: CompletionsHandler, number: int) -> bool:
        if number:
            return False
        then = datetime.now(UTC) + timedelta(seconds=2)
        written = format_datetime(then, usegmt=True) if as_date else "0.5"
        handler.send_json(429, {"error": {"message": "slow"}}, {"Retry-After": written})
        return True

    with running(later) as server:
        remote, begun = asked(server, concurrency=1), time.monotonic()
        assert remote.generate(ROWS[:2], max_new_tokens=MOST, seed=0) == ANSWERS[:2]
    # A date knows whole seconds only.
    assert (1.0 if as_date else 0.5) <= time.monotonic() - begun < 3


@pytest.mark.parametrize(
    ("status", "error", "header", "says"),
    [
        (429, {"message": "daily limit"}, "3600", "3600 seconds: daily limit; start again then"),
        (429, {"message": "pay", "code": "insufficient_quota"}, "1", "429: pay; see to the acc"),
        (400, {"message": "no such\nthing"}, "1", "400: no such thing; see to the settings"),
        (401, {"message": "who?"}, "1", "401: who?; see to the key"),
        (404, {"message": "where?"}, "1", "404: where?; see to url and model"),
    ],
)
def test_what_waiting_does_not_help_fails_at_once(
    status: int, error: dict[str, str], header: str, says: str
) -> None:
    def refuse(handler: CompletionsHandler, number: int) -> bool:
        handler.send_json(status, {"error": error}, {"Retry-After": header})
        return True

    with running(refuse) as server:
        with pytest.raises(ModelError, match=re.escape(says)):
            asked(server, concurrency=1).generate(ROWS[:1], max_new_tokens=MOST, seed=0)
        assert server.count == 1


def test_one_failure_ends_the_patience_of_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint_client, "FIRST_WAIT", 30.0)

    def one_refused(handler: CompletionsHandler, number: int) -> bool:
        if number < 4:
            busy(handler)
        else:
            time.sleep(0.1)
            handler.send_json(400, {"error": "no"})
        return True

    with running(one_refused) as server:
        begun = time.monotonic()
        with pytest.raises(ModelError, match="400: no"):
            asked(server, concurrency=5).generate(ROWS, max_new_tokens=MOST, seed=0)
    assert time.monotonic() - begun < 5


def test_a_server_that_drops_idle_connections_costs_no_try() -> None:
    def closes(handler: CompletionsHandler, number: int) -> bool:
        handler.close_connection = True  # without a header that says so
        return False

    with running(closes) as server:
        remote = asked(server, concurrency=1, retries=0)
        for answer, row in zip(ANSWERS, range(12), strict=True):
            assert remote.generate(ROWS[row : row + 1], max_new_tokens=MOST, seed=0) == [answer]
        assert [one.tries for one in remote.requests] == [1] * 12


def test_a_server_that_hangs_up_is_asked_again() -> None:
    def hangs_up(handler: CompletionsHandler, number: int) -> bool:
        if number % 3 == 0:
            handler.connection.shutdown(socket.SHUT_RDWR)
            handler.close_connection = True
        return number % 3 == 0

    with running(hangs_up) as server:
        remote = asked(server, concurrency=2)
        assert remote.generate(ROWS, max_new_tokens=MOST, seed=0) == ANSWERS
        assert server.count > 12


def test_the_same_prompt_is_asked_once() -> None:
    rows = ROWS[[0, 1, 0, 0, 1]]
    with running() as server:
        remote = asked(server)
        assert remote.estimate(rows, max_new_tokens=MOST).requests == 2 * 3 + 2
        found = remote.generate(rows, max_new_tokens=MOST, seed=0)
        assert found == [ANSWERS[k] for k in (0, 1, 0, 0, 1)] and server.count == 2


@pytest.mark.parametrize("concurrency", [1, 8])
def test_requests_at_once_keep_the_cap_together(concurrency: int) -> None:
    prices: dict[str, Any] = {
        "price_input": 1000.0, "price_output": 5000.0, "concurrency": concurrency,
    }  # fmt: skip
    with running(seconds=0.002) as server:
        free = asked(server, **prices)
        free.generate(ROWS, max_new_tokens=MOST, seed=0)
        cap = free.cost.money * 0.6
        capped = asked(server, cost_cap=cap, **prices)
        with pytest.raises(InputError, match="cap of"):
            capped.generate(ROWS, max_new_tokens=MOST, seed=0)
        assert 0 < capped.cost.money <= cap
        # As much as all of it: those under way are waited for before one is refused.
        enough = asked(server, cost_cap=free.cost.money * 1.01, **prices)
        assert enough.generate(ROWS, max_new_tokens=MOST, seed=0) == ANSWERS


def test_a_dry_run_counts_what_is_then_asked(tmp_path: Path) -> None:
    with running() as server:
        remote = asked(server, tmp_path / "a", price_output=1e6)
        told = remote.estimate(ROWS, max_new_tokens=MOST)
        assert server.count == 0
        remote.token_losses(ROWS)
        remote.choice_log_likelihoods(ROWS, normalize="none")
        assert server.count == told.requests == remote.cost.requests == 48
        assert remote.estimate(ROWS, max_new_tokens=MOST).requests == 0
        answers = asked(server, likelihoods=False, price_output=1e6)
        most = answers.estimate(ROWS, max_new_tokens=MOST)
        answers.generate(ROWS, max_new_tokens=MOST, seed=0)
        assert most.requests == answers.cost.requests and answers.cost.money <= most.money


def test_no_key_is_told_even_if_the_server_tells_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = "sk-" + "4711" * 12
    monkeypatch.setenv("MY_KEY", f"{key}\n")

    def repeats(handler: CompletionsHandler, number: int) -> bool:
        told = handler.headers["Authorization"]
        if number == 0:
            handler.send_json(200, {"choices": [{"text": told}], "headers": told})
            return True
        handler.send_json(401, {"error": {"message": "x" * 170 + f" wrong key: {told}"}})
        return True

    with running(repeats) as server:
        remote = asked(server, tmp_path / "a", key_variable="MY_KEY")
        remote.generate(ROWS[:1], max_new_tokens=MOST, seed=0)
        with pytest.raises(ModelError) as caught:
            remote.generate(ROWS[1:2], max_new_tokens=MOST, seed=0)
    said = str(caught.value)
    assert "sk-" not in said and "4711" not in said and "•••" in said
    assert b"4711" not in b"".join(file.read_bytes() for file in tmp_path.iterdir())


@pytest.mark.parametrize("key", ["sk-4711\nX: y", "sk-4711密"])
def test_a_key_that_cannot_be_one_is_refused_unseen(
    key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_KEY", key)
    settings = EndpointSettings(url="http://127.0.0.1:9/v1", model="x", key_variable="MY_KEY")
    with pytest.raises(InputError, match="MY_KEY") as caught:
        EndpointLanguageModel(settings, INFO)
    assert "4711" not in str(caught.value)


@pytest.mark.parametrize("status", [200, 400])
def test_a_server_without_likelihoods_is_told_apart(status: int) -> None:
    def without(handler: CompletionsHandler, number: int) -> bool:
        answer = {"choices": [{"text": "so"}]} if status == 200 else {"error": "echo is no option"}
        handler.send_json(status, answer)
        return True

    with running(without) as server, pytest.raises(ModelError, match="ask for answers only"):
        asked(server).token_losses(ROWS)


def test_an_empty_answer_is_an_answer_and_counted() -> None:
    rows = ROWS[:2].with_columns(prompt=ROWS["response"][:2] + "\0")
    with running() as server:
        remote = asked(server)
        assert remote.generate(rows, max_new_tokens=0, seed=0) == ["", ""] and remote.empty == 2


def test_complaints_have_many_forms() -> None:
    forms = [b'{"error": {"message": "m"}}', b'{"error": "m"}', b'{"detail": "m"}', b"m", b'"m"']
    assert {complaint(500, form, str).said for form in forms} == {"m"}
    assert complaint(400, b'{"message": "m", "code": 422}', str).status == 422
    assert seconds_to_wait("-3") == 0 and seconds_to_wait("nan") is None
