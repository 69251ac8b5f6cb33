"""A running server is asked rows, and what it says is judged as any file."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
from tests.model.completions_server import CompletionsServer, running
from tests.model.tiny_language import tiny_language
from tests.release.test_language_runs import DOES, write_rows

from shipworthy.cli.main import run
from shipworthy.core.errors import DataError, SettingsError
from shipworthy.model.checkpoint import RuntimeInfo
from shipworthy.model.pretrained import load_language_pretrained
from shipworthy.model.torch_language_model import TorchLanguageModel
from shipworthy.release.ask import ask_server, load_ask
from shipworthy.release.judge import judge

ASK = """\
server: {{url: "{url}", model: tiny, price_input: 1.0, price_output: 3.0}}
data: {{source: rows.csv, groups: [place], template: "{{prompt}} "}}
generate: {{max_new_tokens: 3, scores: [exact_match, token_f1]}}
"""
POLICY = [
    {"measure": "accuracy", "at_least": 0.9},
    {"measure": "token_f1", "relative_to": "parent", "at_least": -0.05},
    {"measure": "perplexity", "slice": {"each": "place"}, "relative_to": "parent", "at_most": 0.1},
    {"measure": "turned_wrong", "relative_to": "parent", "at_most": 0.05},
]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CompletionsServer]:
    folder = tmp_path_factory.mktemp("served")
    tiny_language(folder, [*DOES, *DOES.values(), "What to do at on the road sea number"])
    module, tokenizer = load_language_pretrained(folder, max_length=128)
    info = RuntimeInfo("torch", (), 128, "prompt", does="respond", response="response")
    with running(TorchLanguageModel(module, tokenizer, info, threads=1)) as found:
        yield found


@pytest.fixture
def place(tmp_path: Path, server: CompletionsServer) -> Path:
    write_rows(tmp_path, 60)
    (tmp_path / "ask.yaml").write_text(ASK.format(url=server.url))
    return tmp_path


def test_what_a_server_says_is_judged(place: Path, server: CompletionsServer) -> None:
    settings = load_ask(place / "ask.yaml")
    found = ask_server(settings, place / "parent.parquet", cache=place / "cache.sqlite")
    assert found.rows == 60 and found.cost.requests <= 120
    table = pl.read_parquet(place / "parent.parquet")
    assert {"expected", "answer", "said", "place", "value:loss", "value:token_f1"} <= set(
        table.columns
    )
    again = ask_server(settings, place / "candidate.parquet", cache=place / "cache.sqlite")
    assert again.cost.requests == 0
    judged = judge(place / "parent.parquet", place / "candidate.parquet", POLICY, groups=["place"])
    measured = set(judged.measurements["measure"])
    assert {"accuracy", "perplexity", "token_f1", "exact_match", "turned_wrong"} <= measured
    # An untrained model answers nothing right: that limit fails, and nothing changed.
    by_measure = {d.measure: str(d.decision) for d in judged.decisions}
    assert by_measure["accuracy"] == "fail"
    assert by_measure["perplexity"] == "pass"


def test_better_answers_turn_right(place: Path) -> None:
    settings = load_ask(place / "ask.yaml")
    ask_server(settings, place / "parent.parquet", cache=place / "cache.sqlite")
    table = pl.read_parquet(place / "parent.parquet")
    half = pl.int_range(pl.len()) % 2 == 0
    better = table.with_columns(
        pl.when(half).then(pl.lit("right")).otherwise(pl.col("answer")).alias("answer")
    )
    policy = [{"measure": "turned_right", "relative_to": "parent", "at_least": 0.3}]
    found = judge(table, better, policy, label="expected", prediction="answer")
    assert str(found.decisions[0].decision) == "pass"
    assert found.decisions[0].value == pytest.approx(0.5)


def test_the_verb_tells_the_cost_first(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["ask", str(place / "ask.yaml"), "--dry-run", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["requests"] == 120 and told["out"] is None and told["money"] > 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("source: rows.csv", "source: gone.csv"), "gone.csv"),
        (("model: tiny", "modle: tiny"), "model"),
        (("source: rows.csv, ", "train: rows.csv, test: rows.csv, "), "source"),
    ],
)
def test_what_cannot_be_asked_is_said(change: tuple[str, str], message: str, place: Path) -> None:
    file = place / "ask.yaml"
    file.write_text(file.read_text().replace(*change))
    with pytest.raises(SettingsError, match=message):
        load_ask(file)


def test_an_empty_response_is_named(place: Path) -> None:
    rows = (place / "rows.csv").read_text()
    (place / "rows.csv").write_text(rows + 'What?,,road,"[""a"", ""b""]"\n')
    with pytest.raises(DataError, match="row 61"):
        ask_server(load_ask(place / "ask.yaml"), None)
