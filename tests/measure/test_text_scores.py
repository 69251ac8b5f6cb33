"""Scores of answers, against published examples, an independent count and what they must keep."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shipworthy.core.errors import SettingsError
from shipworthy.measure.text_scores import (
    MOST_OVERRUNS,
    PATTERN_SECONDS,
    TEXT_SCORES,
    chrf,
    exact_match,
    pattern_match,
    read_schema,
    rouge_l,
    token_f1,
    unfenced,
    valid_json,
    words,
)

SENTENCES = st.lists(st.sampled_from(["cat", "dog", "runs", "我", "你好", "The", "a", "!"]))
TEXTS = SENTENCES.map(" ".join)
EXPLODES = r"((a+)\2?)+c|(?:(a|aa)+)+$"
"""A back reference keeps the engine from seeing through it."""


@pytest.mark.parametrize("name", sorted(TEXT_SCORES))
@given(answer=TEXTS, response=TEXTS)
def test_scores_are_shares_and_a_response_is_perfect(name: str, answer: str, response: str) -> None:
    score = TEXT_SCORES[name]
    assert 0.0 <= score([answer], [response])[0] <= 1.0
    if words(response):
        assert score([response], [response])[0] == pytest.approx(1.0)


@given(answer=TEXTS, response=TEXTS)
def test_f1_is_symmetric_and_no_less_than_a_match(answer: str, response: str) -> None:
    there, back = token_f1([answer], [response]), token_f1([response], [answer])
    assert there == pytest.approx(back)
    assert there[0] >= exact_match([answer], [response])[0] - 1e-12


@pytest.mark.parametrize("name", sorted(TEXT_SCORES))
def test_one_response_stands_for_all_and_lengths_must_agree(name: str) -> None:
    score, answers = TEXT_SCORES[name], ["Paris", "in Paris", "Rome"]
    assert score(answers, "Paris").tolist() == score(answers, ["Paris"] * 3).tolist()
    assert score([], []).dtype == np.float64 and score([], "x").shape == (0,)
    with pytest.raises(ValueError, match="shorter"):
        score(answers, ["Paris"])


def test_words_are_those_of_squad() -> None:
    """As normalize_answer of the official evaluate-v1.1.py gives them for ASCII."""
    said = {
        "The U.S.A.": "usa",
        "don't": "dont",
        "a state-of-the-art, well-known thing": "stateoftheart wellknown thing",
        "$5.00 (about)": "500 about",
        "An  apple\tand\nthe answer": "apple and answer",
        "C++ ~ x_y": "c xy",
    }
    assert {text: " ".join(words(text)) for text in said} == said


def test_f1_counts_words_that_repeat() -> None:
    # SQuAD: 2 common of 3 and 4 words.
    assert token_f1(["cat cat dog"], ["cat cat runs fast"])[0] == pytest.approx(2 * 2 / 7)


@pytest.mark.parametrize(
    ("answer", "response", "score"),
    [
        # The first two are S2 and S3 of Lin 2004, section 3.1.
        ("police kill the gunman", "police killed the gunman", 0.75),
        ("the gunman kill police", "police killed the gunman", 0.5),
        (
            "The quick brown fox jumps over the lazy dog.",
            "A quick brown dog outpaces the quick fox",
            0.35294117647058826,
        ),
        (
            "It's state-of-the-art, isn't it?",
            "its state of the art is it",
            0.6250000000000001,
        ),
        ("a b c d e f g", "a c e g z", 0.6666666666666666),
        ("", "x", 0.0),
        ("one two one two three", "two one three two one", 0.6),
    ],
)
def test_rouge_l_is_that_of_rouge_score(answer: str, response: str, score: float) -> None:
    """Numbers of RougeScorer(["rougeL"], use_stemmer=False) of rouge-score 0.1.2, fmeasure."""
    assert rouge_l([answer], [response])[0] == pytest.approx(score, abs=1e-12)


LETTERS = st.lists(st.sampled_from("abcd"), max_size=12)


@given(first=LETTERS, second=LETTERS)
def test_rouge_l_counts_the_longest_common_subsequence(first: list[str], second: list[str]) -> None:
    table = np.zeros((len(first) + 1, len(second) + 1))
    for i, a in enumerate(first):
        for k, b in enumerate(second):
            table[i + 1, k + 1] = (
                table[i, k] + 1 if a == b else max(table[i, k + 1], table[i + 1, k])
            )
    size = len(first) + len(second)
    found = rouge_l([" ".join(first)], [" ".join(second)])[0]
    assert found == pytest.approx(2 * table[-1, -1] / size if size else 1.0)


def test_chrf_is_that_of_sacrebleu() -> None:
    sacrebleu = pytest.importorskip("sacrebleu")
    answers = ["the cat sat on a mat", "我爱你", ""]
    wanted = ["the cat sits on the mat", "我爱他", "x"]
    for found, a, w in zip(chrf(answers, wanted), answers, wanted, strict=True):
        assert found == pytest.approx(sacrebleu.sentence_chrf(a, [w]).score / 100)


def test_a_pattern_matches_the_whole_answer() -> None:
    found = pattern_match(["7", " 42\n", "42 apples", "x"], r"\d+")
    assert found.tolist() == [1.0, 1.0, 0.0, 0.0]


def test_a_pattern_that_explodes_is_cut_off() -> None:
    begun = time.monotonic()
    assert pattern_match(["a" * 60 + "b"], EXPLODES).tolist() == [0.0]
    assert time.monotonic() - begun < PATTERN_SECONDS + 2


def test_a_pattern_that_explodes_everywhere_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shipworthy.measure.text_scores.PATTERN_SECONDS", 0.02)
    answers = ["a" * 60 + "b"] * (MOST_OVERRUNS - 1)
    assert not pattern_match(answers, EXPLODES).any()
    begun = time.monotonic()
    with pytest.raises(SettingsError, match="too long on 10 answers"):
        pattern_match(answers * 1000, EXPLODES)
    assert time.monotonic() - begun < 3


def test_the_dot_of_a_pattern_matches_line_ends() -> None:
    assert pattern_match(["a\nb"], "a.b").tolist() == [1.0]


def test_a_pattern_that_is_none_is_refused() -> None:
    with pytest.raises(SettingsError, match="no regular expression"):
        pattern_match(["x"], "(")


def test_json_keeps_its_schema(tmp_path: Path) -> None:
    file = tmp_path / "schema.json"
    file.write_text(json.dumps({"type": "object", "required": ["a"]}))
    schema = read_schema(file)
    answers = ['{"a": 1}', "{}", '```json\n{"a": [2]}\n```', "[" * 100_000, "Infinity"]
    assert valid_json(answers, schema).tolist() == [1.0, 0.0, 1.0, 0.0, 0.0]


@pytest.mark.parametrize("content", ["{", '{"type": "thing"}'])
def test_a_schema_that_is_none_is_refused(content: str, tmp_path: Path) -> None:
    file = tmp_path / "schema.json"
    file.write_text(content)
    with pytest.raises(SettingsError, match=r"schema\.json"):
        read_schema(file)


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ({"type": "thing"}, "no JSON schema"),
        ({"$ref": "#/$defs/x"}, "does not hold"),
        ({"$ref": "http://127.0.0.1:9/schema.json"}, "does not hold"),
    ],
)
def test_a_schema_that_cannot_be_used_is_the_settings_fault(
    schema: dict[str, str], message: str
) -> None:
    with pytest.raises(SettingsError, match=message):
        valid_json(["1"], schema)


def test_strange_json_is_invalid_and_ends_nothing() -> None:
    nested = "[" * 900 + "]" * 900
    assert valid_json([nested, "[[]]"], {"items": {"$ref": "#"}}).tolist() == [0.0, 1.0]
    assert valid_json(["1" + "0" * 4000, "2"], {"multipleOf": 0.5}).tolist() == [0.0, 1.0]
    assert valid_json(["1" * 5000, ""]).tolist() == [0.0, 0.0]


def test_a_pattern_in_a_schema_is_cut_off_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shipworthy.measure.text_scores.PATTERN_SECONDS", 0.02)
    answers = [json.dumps("a" * 60 + "b"), '"aac"', "7"]
    schema = {"pattern": r"^(?:((a+)\2?)+c|(?:(a|aa)+)+)$"}
    assert valid_json(answers, schema).tolist() == [0.0, 1.0, 1.0]


def test_fences_are_taken_off_whole_answers_only() -> None:
    assert unfenced(" ```json\r\n[1]\r\n```\n").strip() == "[1]"
    assert unfenced("```\n```") == ""
    for kept in ["```[1]```", "Here:\n```\n[1]\n```", "```a b\nx\n```", "```"]:
        assert unfenced(kept) == kept
    begun = time.monotonic()
    long = "```" + "\n" * 200_000
    assert unfenced(long) == long
    assert time.monotonic() - begun < 1


def test_chinese_is_compared_by_character() -> None:
    assert words("“你好，世界！”") == ["你", "好", "世", "界"]
    assert np.isclose(token_f1(["你好"], ["你们"])[0], 0.5)
