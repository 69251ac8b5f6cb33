"""What settings files may hold: documented for people, checked by an editor."""

from __future__ import annotations

import importlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from pydantic import BaseModel, RootModel

import shipworthy
from shipworthy.core.errors import InputError, SettingsError
from shipworthy.core.locale import set_language, text
from shipworthy.core.yaml import parse_yaml, read_yaml
from shipworthy.release.policy import load_policy
from shipworthy.release.schema import SUBJECTS, docstrings, json_schema, model_of, models
from shipworthy.release.schema_page import kind, lines

PACKAGE = Path(shipworthy.__file__).parent
DOCS = PACKAGE.parents[1] / "docs"


def settings_models() -> list[type[BaseModel]]:
    """Every settings model of the package, whatever file it stands in."""
    for file in PACKAGE.rglob("*.py"):
        if "BaseModel" in file.read_text("utf-8"):
            parts = file.relative_to(PACKAGE.parent).with_suffix("").parts
            importlib.import_module(".".join(parts))

    def below(kind: type[BaseModel]) -> Iterator[type[BaseModel]]:
        for one in kind.__subclasses__():
            yield one
            yield from below(one)

    found = {m for m in below(BaseModel) if m.__module__.startswith("shipworthy.")}
    return sorted((m for m in found if "[" not in m.__name__), key=lambda m: m.__name__)


MODELS = settings_models()


@pytest.mark.parametrize("model", MODELS, ids=lambda m: m.__name__)
def test_every_field_has_a_docstring(model: type[BaseModel]) -> None:
    told = docstrings(model)
    assert told[""]
    fields = [] if issubclass(model, RootModel) else list(model.model_fields)
    assert [name for name in fields if not told.get(name, "").endswith((".", ")"))] == []


def test_every_settings_model_is_found_from_a_file_or_is_a_part_of_one() -> None:
    reachable = {m for subject in SUBJECTS for m in models(model_of(subject))}
    assert {m.__name__ for m in set(MODELS) - reachable} == {"QuantizeSettings"}
    assert len(reachable) > 20


def test_the_texts_are_the_docstrings_and_every_one_is_translated() -> None:
    for subject in SUBJECTS:
        for model in models(model_of(subject)):
            for name, said in docstrings(model).items():
                key = f"schema.{model.__name__}.{name}".rstrip(".")
                set_language("en")
                assert text(key) == said, key
                set_language("zh")
                assert re.search("[\u4e00-\u9fff]", text(key)), key
                # What stands in code signs is written in a file, so it is the same in both.
                words = {w for w in re.findall(r"`([^`]*)`", said) if w.isidentifier()}
                assert words <= set(re.findall(r"`([^`]*)`", text(key))), key


@pytest.mark.parametrize("subject", SUBJECTS)
def test_it_is_a_json_schema_that_documents_every_key(subject: str) -> None:
    schema = json_schema(subject)
    Draft202012Validator.check_schema(schema)
    assert "title" not in json.dumps(schema["$defs"])
    undocumented = [
        (name, key)
        for name, part in {"": schema, **schema["$defs"]}.items()
        for key, value in part.get("properties", {}).items()
        if not value["description"]
    ]
    assert undocumented == []


def valid(subject: str, document: Any) -> bool:
    # An editor sees what YAML says, and JSON has the same values.
    plain = json.loads(json.dumps(document))
    return Draft202012Validator(json_schema(subject)).is_valid(plain)


def test_the_demo_and_the_examples_of_the_documentation_are_valid() -> None:
    demo = read_yaml(PACKAGE / "release" / "demo.yaml").data
    assert valid("project", demo)
    assert valid("policy", demo["policy"])
    blocks = re.findall(r"```yaml\n(.*?)```", (DOCS / "policy.md").read_text("utf-8"), re.DOTALL)
    checked = 0
    for block in blocks:
        found = parse_yaml(block).data
        found = found["policy"] if isinstance(found, dict) and "policy" in found else found
        try:
            load_policy(found)
        except SettingsError:
            continue
        assert valid("policy", found), block
        checked += 1
    assert checked >= 3


@pytest.mark.parametrize(
    "limit",
    [
        "{measure: accuracy, at_least: 0.8, at_most: 0.9}",
        "{measure: accuracy}",
        "{measure: acuracy, at_least: 0.8}",
        "{measure: accuracy, at_least: high}",
        "{measure: accuracy, at_least: 0.8, slice: each gruop}",
        "{measure: accuracy, at_least: 0.8, tier: crucial}",
        "{measure: accuracy, at_least: 0.8, onwer: ml}",
        "{measure: accuracy, at_least: 0.8, expires_days: 0}",
    ],
)
def test_what_the_program_refuses_an_editor_refuses_too(limit: str) -> None:
    found = parse_yaml(f"- {limit}").data
    with pytest.raises(SettingsError):
        load_policy(found)
    assert not valid("policy", found)
    assert valid("policy", [{"measure": "accuracy", "at_least": 0.8}])


def test_a_team_and_a_whole_project_are_valid() -> None:
    assert valid("team", {"people": [{"id": "an-li", "roles": ["ml-lead"]}]})
    assert not valid("team", {"people": []})
    project = {"name": "x", "model": "builtin:minilm", "data": {"source": "rows.csv"},
               "policy": [{"measure": "size_mb", "at_most": {"measure": "size_mb"}}],
               "train": {"batch_size": {"global": 32}}, "team": "team.yaml"}  # fmt: skip
    assert valid("project", project)
    assert not valid("project", {**project, "train": {"batch_size": {"global_rows": 32}}})
    assert not valid("project", {**project, "explain": {}})


def test_every_key_is_listed_once_with_type_range_and_default() -> None:
    told = lines("project", width=100)
    assert max(map(len, told)) <= 100
    text_of = "\n".join(told)
    for part in ("near_duplicates: number > 0, ≤ 1 or off; default 0.8", "name: text; required",
                 "epochs: whole number ≥ 1, ≤ 1,000; default 1", "global: whole number",
                 "recipes: auto or list of:"):  # fmt: skip
        assert text_of.count(part) == 1, part
    assert text_of.count("near_duplicates:") == 1
    set_language("zh")
    chinese = "\n".join(lines("policy", width=80))
    assert "confidence：数字 ≥ 0.5, < 1；默认 0.95" in chinese
    assert "双侧区间的置信水平" in chinese


def test_kinds_are_told_in_words() -> None:
    assert kind({"type": "array", "items": {"type": "integer", "minimum": 0}}) == (
        "list of: whole number ≥ 0"
    )
    assert kind({"anyOf": [{"type": "null"}, {"$ref": "#/$defs/X"}, {"const": "off"}]}) == (
        "keys with values or off"
    )


def test_an_unknown_file_is_named() -> None:
    with pytest.raises(InputError, match="'projekt'; did you mean 'project'"):
        model_of("projekt")
