"""No sentence for people stands in the code, and every text that the code asks for exists."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import shipworthy
from shipworthy.core import errors
from shipworthy.core.locale import catalogue

SOURCE = Path(shipworthy.__file__).parent
FILES = sorted(SOURCE.rglob("*.py"))
ERRORS = {name for name in vars(errors) if name.endswith("Error")} | {"error"}
WHERE = {"file", "row", "column", "line", "key", "folder", "extra"}
"""Arguments of errors that say where: names, not words."""

HAN = re.compile(r"[\u4e00-\u9fff]")
SAME_IN_BOTH = re.compile(
    r"(?:[^A-Za-z]|\bAUC\b|\bECE\b|\bF1\b|\bMB\b|\bsha256\b|\bp50\b|\bp95\b|\bp\b|\bn\b|\bHolm\b)*"
)
"""What a Chinese text without a Han character may hold: signs, units, names of measures."""


@cache
def tree(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))


def called(node: ast.Call) -> str:
    return getattr(node.func, "id", "") or getattr(node.func, "attr", "")


def sentences(node: ast.AST) -> Iterator[ast.AST]:
    """Literals below a node that are words for people: not the keys that `text` is given."""
    if isinstance(node, ast.Call) and called(node) == "text":
        return
    if isinstance(node, ast.JoinedStr) or (
        isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value
    ):
        # What joins a list of names is no sentence.
        if not (isinstance(node, ast.Constant) and re.fullmatch(r"[ ,;|]*", node.value)):
            yield node
        return
    for child in ast.iter_child_nodes(node):
        yield from sentences(child)


def told(file: Path) -> Iterator[ast.AST]:
    """Literals in the arguments of our errors, and of ValueError where pydantic reports it."""
    settings = "pydantic" in file.read_text(encoding="utf-8") and "_validator" in ast.dump(
        tree(file)
    )
    for node in ast.walk(tree(file)):
        if isinstance(node, ast.Call) and (
            called(node) in ERRORS or (settings and called(node) == "ValueError")
        ):
            for argument in node.args:
                yield from sentences(argument)
            for keyword in node.keywords:
                if keyword.arg not in WHERE:
                    yield from sentences(keyword.value)


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(SOURCE)))
def test_errors_take_their_words_from_the_catalogue(file: Path) -> None:
    assert [f"line {node.lineno}" for node in told(file)] == []  # type: ignore[attr-defined]


def test_a_sentence_in_an_error_is_seen(tmp_path: Path) -> None:
    file = tmp_path / "file.py"
    file.write_text('raise DataError(f"no {x}", fix="do it", file=f"{a}", key="a b")\n', "utf-8")
    assert len(list(told(file))) == 2


def asked() -> Iterator[tuple[Path, ast.expr]]:
    for file in FILES:
        for node in ast.walk(tree(file)):
            if isinstance(node, ast.Call) and called(node) in ("text", "Phrase", "Reason"):
                yield from ((file, key) for key in node.args[:1])


def test_every_key_that_is_asked_for_exists() -> None:
    known = catalogue("en")
    unknown = []
    for file, key in asked():
        if isinstance(key, ast.Constant):
            if key.value not in known:
                unknown.append(f"{file.name}:{key.lineno} {key.value}")
        elif isinstance(key, ast.JoinedStr):
            pattern = "".join(
                re.escape(str(part.value)) if isinstance(part, ast.Constant) else ".+"
                for part in key.values
            )
            if not any(re.fullmatch(pattern, one) for one in known):
                unknown.append(f"{file.name}:{key.lineno} {pattern}")
    assert unknown == []


def test_chinese_is_chinese() -> None:
    for key, template in catalogue("zh").items():
        fixed = re.sub(r"\{[^{}]*\}", "", template)
        assert HAN.search(fixed) or SAME_IN_BOTH.fullmatch(fixed), key


def test_chinese_has_the_signs_of_chinese() -> None:
    """Full-width signs after Han characters, none of ASCII; no space around full-width signs."""
    wrong = re.compile(
        r"[\u4e00-\u9fff）」”][,;:!?](?!\d)|[，。；：、？！（] | [，。；：、？！）]"
        r"|[\u4e00-\u9fff]\.(?:$|\s)|[\u4e00-\u9fff] ?\((?!\d)"
    )
    assert [
        (key, found[0])
        for key, template in catalogue("zh").items()
        if (found := wrong.search(template))
    ] == []


def test_files_of_texts_are_sorted_and_plain() -> None:
    for file in (SOURCE / "core" / "locale").glob("*/*.json"):
        texts = json.loads(file.read_text(encoding="utf-8"))
        assert all(
            isinstance(value, str) and value == value.strip("\n\t") for value in texts.values()
        )
