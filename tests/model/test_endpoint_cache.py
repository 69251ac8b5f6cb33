"""Answers are kept as they came, whoever writes at once and whatever kills the process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.model.byte_ngram import ByteNgram
from tests.model.served_ngram import ROWS, TEXTS, asked, running

from shipworthy.core.errors import InputError
from shipworthy.model.endpoint_cache import AnswerCache, question
from shipworthy.model.endpoint_settings import EndpointSettings


def test_threads_write_and_the_first_answer_stays(tmp_path: Path) -> None:
    cache = AnswerCache(tmp_path / "deep" / "a")
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda k: cache.put(f"{k % 40}", f"{k}"), range(400)))
        found = list(pool.map(lambda k: cache.get(f"{k}"), range(41)))
    assert found[40] is None and "40" not in cache
    assert all(int(told or -1) % 40 == k for k, told in enumerate(found[:40]))
    before = found[3]
    cache.put("3", "another")
    cache.close()
    assert AnswerCache(tmp_path / "deep" / "a").get("3") == before


def test_another_question_has_another_key() -> None:
    keys = {
        question(url, path, body)
        for url in ("http://a/v1", "http://b/v1")
        for path in ("/completions", "/chat/completions")
        for body in ({"model": "x", "prompt": "1"}, {"model": "y", "prompt": "1"})
    }
    assert len(keys) == 8
    assert question("u", "p", {"a": 1, "b": 2}) == question("u", "p", {"b": 2, "a": 1})


@pytest.mark.parametrize("kind", ["folder", "text"])
def test_a_file_that_is_no_cache_is_named(kind: str, tmp_path: Path) -> None:
    place = tmp_path / "a"
    if kind == "folder":
        place.mkdir()
    else:
        place.write_text("prompt,response\n" * 100)
    with pytest.raises(InputError, match=str(place)):
        AnswerCache(place)


CODE = """\
import sys
import polars as pl
from pathlib import Path
from shipworthy.model.checkpoint import RuntimeInfo
from shipworthy.model.endpoint import EndpointLanguageModel
from shipworthy.model.endpoint_settings import EndpointSettings

info = RuntimeInfo("torch", (), 2000, "prompt", does="respond", template="{prompt}")
settings = EndpointSettings(url=sys.argv[1], model="ngram", concurrency=3)
model = EndpointLanguageModel(settings, info, cache=Path(sys.argv[3]))
model.generate(pl.read_parquet(sys.argv[2]), max_new_tokens=10, seed=0)
"""


def test_a_killed_evaluation_asks_for_no_answer_that_it_has(tmp_path: Path) -> None:
    """Killed without warning while three requests are under way: those are asked once more."""
    rows, cache = tmp_path / "rows.parquet", tmp_path / "answers.sqlite"
    ROWS.write_parquet(rows)
    with running(seconds=0.01) as server:
        process = subprocess.Popen([sys.executable, "-c", CODE, server.url, str(rows), str(cache)])
        deadline = time.monotonic() + 60
        while server.count < 7 and time.monotonic() < deadline:
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        settled = -1
        while settled != server.count:
            settled = server.count
            time.sleep(0.2)
        kept = AnswerCache(cache)
        settings = EndpointSettings(url=server.url, model="ngram")
        common = {"model": "ngram", "max_tokens": 10, "temperature": 0, "seed": 0}
        known = {
            prompt
            for prompt in ROWS["prompt"]
            if question(settings.url, "/completions", {**common, "prompt": prompt}) in kept
        }
        assert settled - 3 <= len(known) <= settled and len(known) >= 4
        remote = asked(server, cache)
        expected = ByteNgram(TEXTS).generate(ROWS, max_new_tokens=10, seed=0)
        assert remote.generate(ROWS, max_new_tokens=10, seed=0) == expected
        assert remote.cost.requests == server.count - settled == 12 - len(known) > 0
