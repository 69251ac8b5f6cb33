"""Scores of answers, against published examples, an independent count and what they must keep."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shipworthy.core.errors import SettingsError
from shipworthy.measure.text_scores import (
    PATTERN_SECONDS,
    TEXT_SCORES,
    chrf,
    exact_match,
    pattern_match,
    read_schema,
    rouge_l,
    token_f1,
    valid_json,
    words,
)

SENTENCES = st.lists(st.sampled_from(["cat", "dog", "runs", "我", "你好", "The", "a", "!"]))
TEXTS = SENTENCES.map(" ".join)


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
    assert there[0] >= rouge_l([answer], [response])[0] - 1e-12


def test_f1_counts_words_that_repeat() -> None:
    # SQuAD: 2 common of 3 and 4 words.
    assert token_f1(["cat cat dog"], ["cat cat runs fast"])[0] == pytest.approx(2 * 2 / 7)


def test_rouge_l_of_its_paper() -> None:
    """Lin 2004, section 3: police killed the gunman."""
    reference = ["police killed the gunman"] * 2
    found = rouge_l(["police kill the gunman", "the gunman kill police"], reference)
    # Articles are no words here: 2 of 3 words, and 1 of 3, in the order of the reference.
    assert found == pytest.approx([2 / 3, 1 / 3])


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
    import time

    begun = time.monotonic()
    # A back reference keeps the engine from seeing through it.
    assert pattern_match(["a" * 60 + "b"], r"((a+)\2?)+c|(?:(a|aa)+)+$").tolist() == [0.0]
    assert time.monotonic() - begun < PATTERN_SECONDS + 2


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


def test_chinese_is_compared_by_character() -> None:
    assert words("“你好，世界！”") == ["你", "好", "世", "界"]
    assert np.isclose(token_f1(["你好"], ["你们"])[0], 0.5)
