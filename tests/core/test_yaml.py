import json
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field, RootModel, model_validator

from shipworthy.core.errors import SettingsError
from shipworthy.core.yaml import dotted, load_settings, parse_yaml, read_yaml


class Inner(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    rate: float = Field(1.0, gt=0, le=2)
    mode: Literal["cosine", "linear"] = "cosine"
    size: int | Literal["auto"] = "auto"
    folder: Path = Path()
    names: tuple[str, ...] = ()
    on: bool = False


class Outer(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    inner: Inner = Inner()
    many: tuple[Inner, ...] = ()
    either: Inner | tuple[Inner, ...] = ()
    by_name: dict[str, Inner] = {}

    @model_validator(mode="after")
    def _not_bad(self):
        if self.name == "bad":
            raise ValueError("bad is no name")
        return self


def _load(content: str) -> Outer:
    return load_settings(Outer, parse_yaml(content, file="p.yaml"))


def _problem(content: str) -> str:
    with pytest.raises(SettingsError) as caught:
        _load(content)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith("p.yaml")
    return message.removeprefix("p.yaml")


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("1e-5", 1e-5), ("1E3", 1000.0), ("NO", "NO"), ("yes", "yes"), ("on", "on"), ("y", "y"),
        ("true", True), ("False", False), ("~", None), ("", None), ("null", None), ("012", 12),
        ("0o12", 10), ("0x1F", 31), ("-7", -7), ("+7", 7), ("1_000", 1000), (".5", 0.5),
        ("-.inf", float("-inf")), ("12:30:45", "12:30:45"), ("2026-01-31", "2026-01-31"),
        ("2026-01-31T10:00:00Z", "2026-01-31T10:00:00Z"), ("'1'", "1"), ('"a\\tb"', "a\tb"),
        ("1.2.3", "1.2.3"), ("[1, [2]]", [1, [2]]), ("{a: {b: c}}", {"a": {"b": "c"}}),
        ("!!str 1", "1"), ("!!float 1", 1.0), ("语言", "语言"),
    ],
)  # fmt: skip
def test_values_are_yaml_1_2(written: str, value: object) -> None:
    read = parse_yaml(f"x: {written}\n").data["x"]
    assert read == value
    assert type(read) is type(value)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(min_codepoint=32, max_codepoint=0xFFFC, exclude_categories=["C"])),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.sampled_from("abcd"), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


@given(JSON)
def test_json_is_yaml(value: object) -> None:
    assert parse_yaml(json.dumps(value)).data == value


def test_lines() -> None:
    document = parse_yaml("a: 1\nb:\n  - x\n  - c: {d: 2,\n        e: 3}\n")
    assert document.line(()) == 1
    assert document.line(("b", 1, "c", "e")) == 5
    assert document.line(("b", 0)) == 3
    assert document.line(("b", 7)) is None
    assert document.nearest_line(("b", 1, "nothing")) == 4
    assert document.at(("b", 1, "c", "d")) == 2
    assert dotted(("b", 1, "c")) == "b[1].c"


def test_good_settings() -> None:
    loaded = _load(
        "name: NO\ninner: {rate: 1e-5, size: 4, folder: a/b, names: [q], on: true}\n"
        "many: [{rate: 1}]\neither: [{size: auto}]\nby_name: {x: {mode: linear}}\n"
    )
    assert loaded.name == "NO"
    assert loaded.inner == Inner(rate=1e-5, size=4, folder=Path("a/b"), names=("q",), on=True)
    assert loaded.by_name["x"].mode == "linear"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("name: a\ninner:\n  mod: cosine\n", ":3, inner.mod: unknown key; did you mean 'mode'?"),
        (
            "name: a\nmany:\n- rate: 1\n- rat: 1\n",
            ":4, many[1].rat: unknown key; did you mean 'rate'?",
        ),
        (
            "name: a\neither:\n- {modr: 1}\n",
            ":3, either[0].modr: unknown key; did you mean 'mode'?",
        ),
        (
            "name: a\nby_name:\n  k:\n    sise: 1\n",
            ":4, by_name.k.sise: unknown key; did you mean 'size'?",
        ),
        ("name: a\nzzz: 1\n", ":2, zzz: unknown key; known: by_name, either, inner, many, name"),
        (
            "name: a\ninner:\n  mode: cosin\n",
            ":3, inner.mode: 'cosin' is not one of cosine, linear; did you mean 'cosine'?",
        ),
        ("name: a\ninner:\n  size: x\n", ":3, inner.size: needs a whole number or 'auto', not 'x'"),
        (
            "name: a\ninner:\n  size: 1.5\n",
            ":3, inner.size: needs a whole number or 'auto', not 1.5",
        ),
        ("name: a\ninner:\n  rate: 3\n", ":3, inner.rate: must be less than or equal to 2, not 3"),
        ("name: a\ninner:\n  rate: true\n", ":3, inner.rate: needs a number, not true"),
        ("name: a\ninner:\n  rate: '1'\n", ":3, inner.rate: needs a number, not '1'"),
        ("name: a\ninner:\n  rate:\n", ":3, inner.rate: needs a number, not nothing"),
        ("name: a\ninner:\n  on: NO\n", ":3, inner.on: needs true or false, not 'NO'"),
        ("name: a\ninner:\n  names: q\n", ":3, inner.names: needs a list, not 'q'"),
        ("name: 3\n", ":1, name: needs text, not 3"),
        ("inner: 3\nname: a", ":1, inner: needs keys with values, not 3"),
        ("name: a\ninner:\n", ":2, inner: needs keys with values, not nothing"),
        ("inner: {}\n", ":1, name: is missing"),
        ("", ":1, name: is missing"),
        ("- a\n", ":1: needs keys with values, not a list"),
        ("name: bad\n", ":1: bad is no name"),
        (
            "inner:\n  rate: 9\n  mode: x\nname: 1\n",
            ":2, inner.rate: must be less than or equal to 2, not 9",
        ),
    ],
)
def test_wrong_settings_name_line_key_and_nearest(content: str, message: str) -> None:
    assert _problem(content) == message


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("name: a\nname: b\n", ":2, name: the key 'name' stands twice (first in line 1)"),
        (
            "inner:\n  on: true\n  on: false\n",
            ":3, inner.on: the key 'on' stands twice (first in line 2)",
        ),
        ("name: a\n\tb: 3\n", ":2: a tab where YAML wants spaces; indent with spaces"),
        ("name: a\ninner:\n\t- x\n", ":3: a tab where YAML wants spaces; indent with spaces"),
        ("name: [a\n", ":1: broken YAML: "),
        ("name: a: b\n", ":1: broken YAML: "),
        ("name: 'a\n", ":1: broken YAML: "),
        ("name: *x\n", ":1: broken YAML: found undefined alias"),
        ("name: a\n---\nname: b\n", ":2: broken YAML: a second document"),
        ("name: !python/object:os.system a\n", ":1, name: the tag "),
        ("name: !!set {a}\n", ":1, name: the tag "),
        (
            "base: &b {x: 1}\ninner:\n  <<: *b\n",
            ":3, inner: merge keys '<<' are not part of YAML 1.2",
        ),
        ("a: &a [*a]\n", ":1, a[0]: aliases without end"),
        ("? [a, b]\n: c\n", ":1: a key must be a word"),
        ("name: \x01\n", ": broken YAML: "),
        ("[" * 5000, ": nested too deeply"),
    ],
)
def test_broken_yaml_is_one_line(content: str, message: str) -> None:
    assert _problem(content).startswith(message)


def test_an_alias_bomb_is_refused() -> None:
    bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
    for k in range(1, 8):
        bomb += f"a{k}: &a{k} [{', '.join([f'*a{k - 1}'] * 10)}]\n"
    assert "aliases without end" in _problem(bomb)


def test_files_that_cannot_be_read(tmp_path) -> None:
    with pytest.raises(SettingsError, match=r"none.yaml: cannot be read: No such file"):
        read_yaml(tmp_path / "none.yaml")
    (tmp_path / "l.yaml").write_bytes("name: a\nother: é\n".encode("latin-1"))
    with pytest.raises(SettingsError, match=r"l.yaml:2: not UTF-8"):
        read_yaml(tmp_path / "l.yaml")
    (tmp_path / "b.yaml").write_bytes(b"\xef\xbb\xbfname: a\r\nx: 1\r\n")
    assert read_yaml(tmp_path / "b.yaml").data == {"name": "a", "x": 1}


def test_a_part_of_a_document_keeps_its_place() -> None:
    document = parse_yaml("top:\n  - {}\n  - rat: 1\n", file="p.yaml")
    with pytest.raises(SettingsError, match=r"p.yaml:3, top\[1\].rat: unknown key"):
        load_settings(Inner, document, at=("top", 1))


def test_either_form_of_a_root() -> None:
    class Either(RootModel[tuple[Inner, ...] | Inner]):
        pass

    document = parse_yaml("- rate: 1\n- rat: 1\n", file="p.yaml")
    with pytest.raises(SettingsError) as caught:
        load_settings(Either, document)
    assert str(caught.value) == "p.yaml:2, [1].rat: unknown key; did you mean 'rate'?"
