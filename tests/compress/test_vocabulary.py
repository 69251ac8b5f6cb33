"""A smaller vocabulary: what stays is read and answered as before, and all else is still read."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from tests.compress.small_vocabularies import (
    KINDS,
    RARE,
    SENTENCES,
    SIZES,
    TABLE,
    Kind,
    classifier,
    fewer,
    logits,
    material,
    vocabulary,
)

from shipworthy.compress import CompressSettings, expand, make, written
from shipworthy.compress.fewer_tokens import needed, numbers, parts, read_tokenizer
from shipworthy.compress.recipes import check_recipes, looks_at_rows, trains
from shipworthy.core.errors import ModelError
from shipworthy.core.yaml import parse_yaml
from shipworthy.model import artefact_digest, load_classifier, read_info, size_bytes
from shipworthy.model.checkpoint import RuntimeInfo
from shipworthy.model.pretrained import load_module, load_tokenizer


@pytest.mark.parametrize("kind", KINDS)
def test_the_table_and_the_tokenizer_shrink_together(
    parents: dict[Kind, Path], trimmed: dict[Kind, Path], tmp_path: Path, kind: Kind
) -> None:
    parent, out = parents[kind], trimmed[kind]
    before, after = vocabulary(parent), vocabulary(out)
    assert len(after) == SIZES[kind] < len(before)
    assert sorted(after.values()) == list(range(SIZES[kind]))
    old, new = (load_file(f / "model.safetensors") for f in (parent, out))
    for token, number in after.items():
        assert torch.equal(new[TABLE][number], old[TABLE][before[token]])
    assert len(new[TABLE]) == SIZES[kind]
    for name in old.keys() - {TABLE}:
        assert torch.equal(new[name], old[name])
    config = json.loads((out / "config.json").read_text())
    assert config["vocab_size"] == SIZES[kind]
    names = {"pad": "[PAD]", "bos": "[CLS]", "eos": "[SEP]"}
    assert {n: config[f"{n}_token_id"] for n in names} == {n: after[t] for n, t in names.items()}
    assert read_info(out) == read_info(parent)
    saved = size_bytes(parent) - size_bytes(out)
    assert saved == pytest.approx(4 * 32 * (len(before) - len(after)), abs=100)
    asked = fewer(words=SIZES[kind])
    make(asked, parent, tmp_path / "again", material=material(tmp_path / "work"))
    assert artefact_digest(tmp_path / "again") == artefact_digest(out)


@pytest.mark.parametrize("kind", KINDS)
def test_texts_of_tokens_that_stay_are_answered_alike(
    parents: dict[Kind, Path], trimmed: dict[Kind, Path], kind: Kind
) -> None:
    old, new = load_tokenizer(parents[kind]), load_tokenizer(trimmed[kind])
    kept = vocabulary(trimmed[kind])
    texts = [*SENTENCES, "the the", "every night <name> listened", "s t e p", "ñ the", *RARE]
    whole = [t for t in texts if set(old.encode(t).tokens) <= kept.keys() | {"ñ"}]
    assert whole[0] in SENTENCES and "the the" in whole and len(whole) < len(texts)
    for text in whole:
        assert new.encode(text).tokens == old.encode(text).tokens
        np.testing.assert_array_equal(logits(trimmed[kind], text), logits(parents[kind], text))
    plain = logits(trimmed[kind], whole[0], plain=True)
    np.testing.assert_allclose(plain, logits(trimmed[kind], whole[0]), atol=1e-5)
    rare = load_classifier(trimmed[kind], threads=1).log_probabilities(pl.DataFrame({"text": RARE}))
    assert np.isfinite(rare).all()


def joined(tokens: list[str]) -> str:
    return "".join(token.removeprefix("##") for token in tokens)


LETTERS = "".join(sorted(set("".join(SENTENCES)))) + "ñ😀\u0301中"


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    text=st.one_of(
        st.text(LETTERS, max_size=40),
        st.text(max_size=20),
        st.lists(st.sampled_from(" ".join([*SENTENCES, *RARE, "<name>"]).split())).map(" ".join),
    ),
    kind=st.sampled_from(KINDS),
)
def test_any_text_is_read_in_the_same_letters(
    parents: dict[Kind, Path], trimmed: dict[Kind, Path], text: str, kind: Kind
) -> None:
    before, after = (load_tokenizer(f[kind]).encode(text) for f in (parents, trimmed))
    kept = vocabulary(trimmed[kind])
    assert max(after.ids) < SIZES[kind]
    assert joined(after.tokens) == joined(before.tokens)
    unknown = vocabulary(parents[kind])["[UNK]"], kept["[UNK]"]
    assert after.ids.count(unknown[1]) <= before.ids.count(unknown[0])
    if set(before.tokens) <= kept.keys():
        assert after.tokens == before.tokens


def test_the_alphabet_stays_whatever_is_asked(parents: dict[Kind, Path], tmp_path: Path) -> None:
    for kind, parent in parents.items():
        make(fewer(words=1), parent, tmp_path / kind, material=material(tmp_path / "work"))
        left = vocabulary(tmp_path / kind)
        tokenizer = read_tokenizer(parent)
        assert {numbers(tokenizer)[t] for t in left} == needed(tokenizer)
        assert {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "<name>"} <= left.keys()
        if kind == "bpe":
            assert len(left) == 256 + 5
        if kind == "wordpiece":
            assert {"b", "##b", "z", "##z"} <= left.keys()


@pytest.mark.parametrize("kind", KINDS)
def test_tokens_seen_often_enough_stay(
    parents: dict[Kind, Path], tmp_path: Path, kind: Kind
) -> None:
    parent, texts = parents[kind], SENTENCES[:3] * 2
    make(fewer(seen=4), parent, tmp_path / "out", material=material(tmp_path / "w", texts))
    encode = load_tokenizer(parent).encode
    seen = [token for text in texts for token in encode(text).tokens]
    often = {token for token in seen if seen.count(token) >= 4}
    tokenizer = read_tokenizer(parent)
    number = numbers(tokenizer)
    found = {number[token] for token in vocabulary(tmp_path / "out")}
    least = needed(tokenizer) | {number[token] for token in often}
    assert least <= found < set(number.values())
    # Nothing is there but for a reason: what else stays is a part of what stays.
    made = {p for token in found for p in parts(tokenizer).get(token, ())}
    assert found - least <= made
    assert not often <= {t for t, n in number.items() if n in needed(tokenizer)}


def test_words_of_a_small_group_stay(parents: dict[Kind, Path], tmp_path: Path) -> None:
    parent, rows = parents["wordpiece"], material(tmp_path / "w", SENTENCES * 12 + RARE * 2)
    asked: dict[str, Any] = {"words": len(needed(read_tokenizer(parent))) + 12}
    make(fewer(**asked), parent, tmp_path / "rows", material=rows)
    make(fewer(**asked, balance="groups"), parent, tmp_path / "groups", material=rows)
    assert "quietly" not in vocabulary(tmp_path / "rows")
    assert {"quietly", "zebras"} <= vocabulary(tmp_path / "groups").keys()
    assert len(vocabulary(tmp_path / "groups")) == asked["words"]
    seen = {}
    for balance in ("rows", "groups"):
        make(fewer(seen=7, balance=balance), parent, tmp_path / f"s{balance}", material=rows)
        seen[balance] = vocabulary(tmp_path / f"s{balance}").keys()
    assert seen["rows"] < seen["groups"]
    assert {"quietly", "zebras"} <= seen["groups"] - seen["rows"]


def test_positions_counted_from_the_padding_token_stay(tmp_path: Path) -> None:
    """RoBERTa's first position is the one behind the number of the padding token."""
    parent = classifier("wordpiece", tmp_path, roberta=True)
    text = SENTENCES[0]
    rows = material(tmp_path / "w")
    make(fewer(seen=1), parent, tmp_path / "out", material=rows)
    np.testing.assert_array_equal(logits(tmp_path / "out", text), logits(parent, text))
    # Where the padding token stands late, all before it stay where they are.
    moved = tmp_path / "moved"
    shutil.copytree(parent, moved)
    config = json.loads((moved / "config.json").read_text())
    (moved / "config.json").write_text(json.dumps(config | {"pad_token_id": 9}))
    make(fewer(seen=1), moved, tmp_path / "late", material=rows)
    assert json.loads((tmp_path / "late" / "config.json").read_text())["pad_token_id"] == 9
    np.testing.assert_array_equal(logits(tmp_path / "late", text), logits(moved, text))


def test_rows_without_a_token_go(tmp_path: Path) -> None:
    parent = classifier("bpe", tmp_path, spare_rows=50)
    make(fewer(seen=1), parent, tmp_path / "out", material=material(tmp_path / "w"))
    rows = len(load_file(tmp_path / "out" / "model.safetensors")[TABLE])
    assert rows == len(vocabulary(tmp_path / "out")) < len(vocabulary(parent))
    np.testing.assert_array_equal(
        logits(tmp_path / "out", SENTENCES[1]), logits(parent, SENTENCES[1])
    )


def test_further_steps_take_the_smaller_table(
    parents: dict[Kind, Path], trimmed: dict[Kind, Path], tmp_path: Path
) -> None:
    first = {"vocabulary": {"words": SIZES["bpe"]}}
    for last in ({"recover": {}}, "int8"):
        (both,) = expand(CompressSettings.model_validate({"recipes": [{"steps": [first, last]}]}))
        out = tmp_path / str(both.name)
        make(both, parents["bpe"], out, material=material(tmp_path / "w"))
        frame = pl.DataFrame({"text": SENTENCES})
        found, before = (
            load_classifier(f, threads=1).log_probabilities(frame) for f in (out, trimmed["bpe"])
        )
        assert 0 < np.abs(found - before).max() < 3
    assert size_bytes(out) < 0.5 * size_bytes(trimmed["bpe"])


def test_recipes_of_a_vocabulary(tmp_path: Path) -> None:
    for asked, name in (
        ({"words": 8000}, "vocabulary-8000"),
        ({"seen": 2}, "vocabulary-seen-2"),
        ({"words": 50, "balance": "groups"}, "vocabulary-50-groups"),
    ):
        recipe = fewer(**asked)
        assert (recipe.name, recipe.lever) == (name, "vocabulary")
        assert looks_at_rows(recipe) and not trains(recipe)
        again = CompressSettings.model_validate(
            {"recipes": [parse_yaml(f"a: {written(recipe)}").data["a"]]}
        )
        assert expand(again) == (recipe,)
        with pytest.raises(ModelError, match="looks at rows, and there are none"):
            make(recipe, tmp_path, tmp_path / "out")
    for wrong in ({}, {"words": 5, "seen": 1}):
        with pytest.raises(ValueError, match="either words or seen"):
            fewer(**wrong)
    one = CompressSettings.model_validate({"recipes": [{"vocabulary": {"seen": 1}}]})
    with pytest.raises(ModelError, match="for classifiers"):
        check_recipes(one, tmp_path, RuntimeInfo("torch", (), 64, "text", "continue"))
    check_recipes(one, tmp_path, None)


def test_a_group_too_small_is_said(parents: dict[Kind, Path], tmp_path: Path) -> None:
    rows = material(tmp_path / "w", SENTENCES[:2] + RARE[:1])
    with pytest.raises(ModelError, match=r"no group of data\.groups"):
        make(fewer(seen=1, balance="groups"), parents["bpe"], tmp_path / "out", material=rows)
    assert load_module(parents["bpe"]).config.vocab_size == len(vocabulary(parents["bpe"]))  # type: ignore[union-attr]
