"""Identities swapped in texts: grammar kept, phrases left alone, lists that anybody can edit."""

from __future__ import annotations

from pathlib import Path

import pytest

from shipworthy.core.errors import DataError
from shipworthy.data.identity_pairs import BUILTIN_PAIRS, CONTROL, read_pairs


@pytest.mark.parametrize(
    ("text", "swapped"),
    [
        ("She gave him her book.", "He gave her his book."),
        ("I saw her. The book is his.", "I saw him. The book is hers."),
        ("Tell her to go, and take HER dog", "Tell him to go, and take HIS dog"),
        ("An actor and a heroine", "An actress and a hero"),
        ("Such an heir has an uncle", "Such an heiress has an aunt"),
        ("Mrs. Hudson, Ms. Adler and Mr. Holmes", "Mr. Hudson, Mr. Adler and Mrs. Holmes"),
        ("Oh my God, she is a goddess", "Oh my God, he is a god"),
        ("The sheriff's manner", "The sheriff's manner"),
    ],
)
def test_english_pairs_keep_their_grammar(text: str, swapped: str) -> None:
    assert read_pairs("gender", "en").swap(text)[0] == swapped


def test_articles_follow_nationalities() -> None:
    nationality = read_pairs("nationality", "en")
    assert nationality.swap("an American in Italy") == ("a Mexican in China", 2)
    assert nationality.swap("a German, French fries and an indian") == (
        "a Turkish, French fries and a british", 2,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("text", "swapped"),
    [
        ("他和其他人说，他的父亲来了。", "她和其他人说，她的母亲来了。"),
        ("她们是他的女朋友", "他们是她的男朋友"),
        ("男女老少", "男女老少"),
    ],
)
def test_chinese_pairs_leave_longer_words_alone(text: str, swapped: str) -> None:
    assert read_pairs("gender", "zh").swap(text)[0] == swapped


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("name", [*BUILTIN_PAIRS, CONTROL])
def test_every_list_goes_there_and_back(name: str, language: str) -> None:
    pairs = read_pairs(name, language)  # type: ignore[arg-type]
    assert len(pairs.table) >= 14
    for word, other in pairs.table.items():
        if word in ("her", "his", "him", "hers"):  # the words around them decide
            continue
        if pairs.table.get(other.lower()) == pairs.listed[word]:
            said = f"x {pairs.listed[word]} x" if language == "en" else pairs.listed[word]
            there, count = pairs.swap(said)
            assert count == 1 and there != said
            assert pairs.swap(there)[0] == said


def test_only_so_many_are_swapped_where_that_is_asked_for() -> None:
    control = read_pairs(CONTROL, "en")
    assert control.swap("a film, a film, a film", most=2) == ("a movie, a movie, a film", 2)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("he she", r"pairs\.txt.*row 1: 'he she' is no pair"),
        ("he / she\n\nhe / it", r"pairs\.txt.*row 3: 'he' already has another counterpart"),
        ("# nothing", "no pair"),
    ],
)
def test_a_list_that_cannot_be_used_is_one_line(tmp_path: Path, content: str, told: str) -> None:
    (tmp_path / "pairs.txt").write_text(content)
    with pytest.raises(DataError, match=told):
        read_pairs(tmp_path / "pairs.txt")


def test_an_unknown_list_names_the_nearest() -> None:
    with pytest.raises(DataError, match="did you mean 'gender'"):
        read_pairs("gendr")


def test_a_list_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "pairs.txt").write_text("Ossi / Wessi\n= wessi witz\n")
    pairs = read_pairs(tmp_path / "pairs.txt")
    assert pairs.swap("an Ossi, a Wessi Witz") == ("a Wessi, a Wessi Witz", 1)
