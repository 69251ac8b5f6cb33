import json
import string
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import shipworthy.core.locale as locale
from shipworthy.core.errors import SettingsError
from shipworthy.core.locale import (
    LANGUAGES,
    catalogue,
    language,
    number,
    set_language,
    text,
)
from shipworthy.core.locale.libraries import refusal, translated

FOLDER = Path(locale.__file__).parent
FILES = sorted({file.name for lang in LANGUAGES for file in (FOLDER / lang).glob("*.json")})


@pytest.fixture(autouse=True)
def _own_language(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("SHIPWORTHY_LANG", raising=False)
    set_language(None)
    yield
    set_language(None)


def _read(lang: str, name: str) -> dict[str, str]:
    def once(pairs):
        keys = [key for key, _ in pairs]
        assert len(keys) == len(set(keys)), f"{lang}/{name}: a key stands twice"
        return dict(pairs)

    return json.loads((FOLDER / lang / name).read_text("utf-8"), object_pairs_hook=once)


def _placeholders(template: str) -> set[str]:
    return {field for _, field, _, _ in string.Formatter().parse(template) if field is not None}


@pytest.mark.parametrize("name", FILES)
def test_catalogues_agree_in_keys_and_placeholders(name: str) -> None:
    first, *others = [_read(lang, name) for lang in LANGUAGES]
    for other in others:
        assert other.keys() == first.keys()
        for key, template in first.items():
            assert _placeholders(other[key]) == _placeholders(template), key
            assert "" not in _placeholders(template), f"{key}: a placeholder needs a name"


@pytest.mark.parametrize("lang", LANGUAGES)
def test_a_key_stands_in_one_catalogue_only(lang: str) -> None:
    keys = [key for name in FILES for key in _read(lang, name)]
    assert len(keys) == len(set(keys))


def test_chinese_texts_are_chinese() -> None:
    english, chinese = _read("en", "core.json"), _read("zh", "core.json")
    assert not [key for key in english if key.startswith("unit.") and english[key] == chinese[key]]


def test_language_comes_from_the_option_then_the_environment(monkeypatch) -> None:
    assert language() == "en"
    monkeypatch.setenv("SHIPWORTHY_LANG", "zh_CN.UTF-8")
    assert language() == "zh"
    assert text("unit.rows") == "行"
    set_language("en")
    assert text("unit.rows") == "rows"


def test_an_unknown_language_is_one_clear_line(monkeypatch) -> None:
    with pytest.raises(SettingsError, match="--lang: no texts in the language 'fr'; known: en, zh"):
        set_language("fr")
    monkeypatch.setenv("SHIPWORTHY_LANG", "tlh")
    with pytest.raises(SettingsError, match="SHIPWORTHY_LANG"):
        language()


def test_text_fills_placeholders_and_knows_one() -> None:
    assert text("stage.more", count=3) == "3 more changes"
    assert text("stage.more", count=1) == "1 more change"
    with pytest.raises(KeyError):
        text("no.such.key")
    with pytest.raises(KeyError):
        text("stage.more")


def test_number() -> None:
    assert number(1234567.891, 2) == "1,234,567.89"
    assert number(-1.84, 1) == "−1.8"
    assert number(0.04, 1, sign=True) == "0.0"
    assert number(1.25, 1, sign=True) == "+1.2"
    assert number(float("nan")) == number(None) == "—"
    assert number(float("-inf")) == "−∞"


def test_sentences_of_libraries_are_said_in_the_language() -> None:
    said = "Expecting value: line 1 column 3 (char 2)"
    assert translated(said) == said
    set_language("zh")
    assert translated(said) == "第 1 行第 3 列（字符 2）：此处应有值"
    assert translated("Option '--id' requires an argument") == "选项 '--id' 需要一个值"
    assert translated("a sentence that nobody knows") == "a sentence that nobody knows"
    assert translated("MOVER from Tango ends", group="method") == "由 Tango 端点作 MOVER"
    assert refusal(PermissionError(13, "Permission denied")) == "没有权限"
    assert refusal(OSError("odd")) == "odd"


def test_every_english_sentence_is_found_by_its_own_key() -> None:
    """No template is shadowed by a wider one."""
    set_language("zh")
    for group in ("library", "method"):
        for key, template in catalogue("en").items():
            if key.startswith(f"{group}."):
                names = _placeholders(template)
                said = translated(template.format(**{n: "7" for n in names}), group=group)
                assert said == catalogue("zh")[key].format(**{n: "7" for n in names}), key


@given(st.floats(-1e12, 1e12), st.integers(0, 4))
def test_number_reads_back(value: float, decimals: int) -> None:
    shown = number(value, decimals, sign=True)
    assert "-" not in shown
    read = float(shown.replace(",", "").replace("−", "-"))
    assert read == pytest.approx(value, abs=0.5000001 * 10.0**-decimals, rel=1e-12)
