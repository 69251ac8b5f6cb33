import os
from pathlib import Path

import pytest

from shipworthy.core.closure import Sources

OLD_NS = 1_600_000_000_000_000_000

FILES = {
    "__init__.py": '"""A package."""\n__version__ = "1"\n',
    "near/__init__.py": (
        "from importlib import import_module\n"
        '_FILES = {"quick": "first", "slow": "second"}\n'
        '__all__ = ["quick", "slow"]\n'
        "def __getattr__(name):\n"
        '    return getattr(import_module(f"{__name__}.{_FILES[name]}"), name)\n'
    ),
    "near/first.py": "from made.near.helper import aid\ndef quick():\n    return aid()\n",
    "near/second.py": "slow = 1\n",
    "near/helper.py": '"""Doc."""\ndef aid():\n    """Doc."""\n    return 1  # why\n',
    "far/__init__.py": "from .deep import value\n",
    "far/deep.py": "value = 1\n",
    "far/alone.py": "value = 1\n",
    "far/typed.py": "value = 1\n",
    "far/worker.py": "value = 1\n",
    "far/words.txt": "she\nher\n",
    "entry.py": (
        "from typing import TYPE_CHECKING\n"
        "import json\n"
        "if TYPE_CHECKING:\n    from made.far.typed import value as other\n"
        "WORKER = 'made.far.worker'\n"
        "def run():\n    from made.near import quick\n    return quick()\n"
    ),
    "relative.py": "from . import far\nfrom .near.helper import aid\n",
    "reader.py": "from made.far.reading import words\n",
    "far/reading.py": "words = open('words.txt')\n",
    "star.py": "import made.near\n",
}


@pytest.fixture
def package(tmp_path: Path) -> Path:
    folder = tmp_path / "made"
    for name, content in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)
        os.utime(folder / name, ns=(OLD_NS, OLD_NS))
    return folder


def _closure(package: Path, module: str = "made.entry") -> dict[str, str]:
    return Sources(package.parent / "code.json", package).closure(module)


def test_what_belongs_to_a_closure(package: Path) -> None:
    assert list(_closure(package)) == [
        "made", "made.entry", "made.far", "made.far.deep", "made.far.worker", "made.near",
        "made.near.first", "made.near.helper",
    ]  # fmt: skip


def test_relative_and_whole_room_imports(package: Path) -> None:
    assert list(_closure(package, "made.relative")) == [
        "made", "made.far", "made.far.deep", "made.near", "made.near.helper", "made.relative"
    ]  # fmt: skip
    assert {"made.near.first", "made.near.second"} <= _closure(package, "made.star").keys()


def test_data_files_that_a_module_names(package: Path) -> None:
    before = _closure(package, "made.reader")
    assert "made.far.reading: words.txt" in before
    (package / "far" / "words.txt").write_text("she\nher\nhers\n")
    assert _closure(package, "made.reader") != before


@pytest.mark.parametrize(
    ("file", "old", "new", "changed"),
    [
        ("near/helper.py", "  # why", "  # because", False),
        ("near/helper.py", '"""Doc."""\ndef', '"""Other."""\ndef', False),
        ("near/helper.py", '    """Doc."""', '    """Other\n\n    words."""', False),
        ("near/helper.py", "def aid", "\n\n\ndef  aid", False),
        ("near/helper.py", "return 1", "return 2", True),
        ("near/helper.py", "return 1", "return '1'", True),
        ("far/worker.py", "1", "2", True),
        ("near/second.py", "1", "2", False),
        ("far/typed.py", "1", "2", False),
        ("far/alone.py", "1", "2", False),
        ("near/__init__.py", '"slow": "second"}', '"slow": "second", "x": "y"}', False),
        ("near/__init__.py", '"quick": "first"', '"quick": "second"', True),
        ("near/__init__.py", "__all__", "import os\nos.environ['A'] = '1'\n__all__", True),
        ("__init__.py", '"1"', '"2"', True),
        ("far/__init__.py", "from .deep", "x = 1\nfrom .deep", True),
    ],
)
@pytest.mark.parametrize("remembered", [False, True])
def test_what_counts(package: Path, file, old, new, changed, remembered) -> None:
    before = _closure(package)
    if not remembered:
        (package.parent / "code.json").unlink()
    content = (package / file).read_text()
    assert old in content
    (package / file).write_text(content.replace(old, new))
    assert (_closure(package) != before) == changed


def test_folders_of_data_that_a_module_names(package: Path) -> None:
    (package / "far" / "lists").mkdir()
    (package / "far" / "lists" / "a.txt").write_text("x")
    (package / "far" / "reading.py").write_text("FOLDER = 'lists'\n")
    before = _closure(package, "made.reader")
    assert "made.far.reading: lists/a.txt" in before
    (package / "far" / "lists" / "a.txt").write_text("y")
    assert _closure(package, "made.reader") != before


def test_texts_for_people_do_not_count(package: Path) -> None:
    (package / "locale" / "en").mkdir(parents=True)
    (package / "locale" / "__init__.py").write_text("LANGUAGES = ('en',)\n")
    (package / "locale" / "en" / "a.json").write_text("{}")
    assert list(_closure(package, "made.locale")) == ["made", "made.locale"]


def test_memory_is_used_and_survives_damage(package: Path) -> None:
    before = _closure(package)
    helper = package / "near" / "helper.py"
    helper.write_text(helper.read_text().replace("return 1", "return 2"))
    os.utime(helper, ns=(OLD_NS, OLD_NS))
    assert _closure(package) == before, "same size and time: the memory answers"
    (package.parent / "code.json").write_text('{"format": 1, "files": [')
    assert _closure(package) != before


def test_a_file_just_written_is_not_remembered(package: Path) -> None:
    helper = package / "near" / "helper.py"
    helper.write_text(helper.read_text().replace("return 1", "return 2"))
    before = _closure(package)
    helper.write_text(helper.read_text().replace("return 2", "return 3"))
    assert _closure(package) != before


def test_a_module_that_comes_later_is_seen(package: Path) -> None:
    (package / "star.py").write_text("from made.far import later\n")
    before = _closure(package, "made.star")
    (package / "far" / "later.py").write_text("")
    assert "made.far.later" in _closure(package, "made.star").keys() - before.keys()


def test_an_unknown_module_is_our_mistake(package: Path) -> None:
    with pytest.raises(ValueError, match=r"no module 'made.none'"):
        _closure(package, "made.none")
    with pytest.raises(ValueError, match="no module 'json'"):
        _closure(package, "json")


def test_our_own_package() -> None:
    closure = Sources().closure("shipworthy.core.stages")
    assert "shipworthy.core.errors" in closure
    assert "shipworthy.core.yaml" not in closure
