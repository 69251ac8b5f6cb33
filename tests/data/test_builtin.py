"""The built-in texts and model are what they are said to be (fetched into the cache once)."""

from __future__ import annotations

import polars as pl
import pytest

from shipworthy.core.errors import SettingsError
from shipworthy.data.builtin import (
    Sentiment,
    builtin_model,
    builtin_table,
    describe,
    mentions,
    minilm,
    read_sentiment,
    words,
)


@pytest.fixture(scope="module")
def texts() -> Sentiment:
    return read_sentiment()


def test_every_row_is_accounted_for(texts: Sentiment) -> None:
    assert (texts.read, texts.kept, texts.weak, texts.unreadable) == (23_703, 19_459, 4_244, 0)


def test_columns_and_counts(texts: Sentiment) -> None:
    frame = texts.frame
    assert frame.columns == [
        "id", "text", "label", "domain", "source_id", "mentions_female", "mentions_male",
    ]  # fmt: skip
    assert frame["id"].n_unique() == frame.height
    assert frame.null_count().sum_horizontal().item() == 0
    assert set(frame["label"]) == {"positive", "negative"}
    counts = dict(frame.group_by("domain").len().iter_rows())
    assert counts == {"tweets": 3_432, "movie": 10_072, "amazon": 2_985, "nyt": 2_970}
    sources = dict(frame.group_by("domain").agg(pl.col("source_id").n_unique()).iter_rows())
    assert sources == {"tweets": 3_432, "movie": 10_072, "amazon": 298, "nyt": 497}
    assert frame.filter(pl.col("id") == "nyt-500_8")["source_id"].item() == "nyt-500"
    assert frame["mentions_female"].dtype == frame["mentions_male"].dtype == pl.Boolean
    assert 800 < frame["mentions_female"].sum() < 1_200
    assert 1_500 < frame["mentions_male"].sum() < 2_500


def test_texts_are_as_in_the_source(texts: Sentiment) -> None:
    row = texts.frame.filter(pl.col("id") == "tweets-3").row(0, named=True)
    assert row["text"].startswith("We were 17 deep last night &amp; the love was so strong")
    assert row["label"] == "positive"


def test_the_model_folder_loads() -> None:
    from transformers import AutoConfig, AutoTokenizer

    folder = minilm()
    assert {"LICENSE", "config.json", "model.safetensors", "tokenizer.json"} <= {
        path.name for path in folder.iterdir()
    }
    assert AutoConfig.from_pretrained(folder).num_hidden_layers == 6
    assert AutoTokenizer.from_pretrained(folder).vocab_size == 30_522


def test_names() -> None:
    assert builtin_table("builtin:sentiment").height == 19_459
    assert builtin_model("builtin:minilm") == minilm()
    with pytest.raises(SettingsError, match="did you mean 'builtin:sentiment'"):
        builtin_table("builtin:sentimant")
    with pytest.raises(SettingsError, match="there is no 'builtin:sentiment'"):
        builtin_model("builtin:sentiment")


def test_descriptions_name_source_version_and_licence() -> None:
    for name in ("builtin:minilm", "builtin:sentiment"):
        described = describe(name)
        assert described.version in str(described)
        assert described.licence in str(described)
        assert "licence" in str(described)
        assert len(described.sha256) == 64


@pytest.mark.parametrize(
    ("text", "female", "male"),
    [
        ("She left.", True, False),
        ("HE said his mother's here", True, True),
        ("the theory of others", False, False),
        ("Ma’am, this way", True, False),
        ("Mr. Smith and Mrs. Smith", True, True),
        ("sonnets and kingdoms, womanish manners", False, False),
        ("", False, False),
    ],
)
def test_words_are_matched_whole(text: str, female: bool, male: bool) -> None:
    frame = pl.DataFrame({"text": [text]})
    found = frame.select(mentions("text", "female").alias("f"), mentions("text", "male").alias("m"))
    assert found.row(0) == (female, male)


@pytest.mark.parametrize("name", ["female", "male"])
def test_word_lists_are_clean(name: str) -> None:
    listed = words(name)
    assert len(listed) == len(set(listed)) > 50
    assert all(word == word.lower().strip() for word in listed)
    assert not set(listed) & set(words("male" if name == "female" else "female"))
