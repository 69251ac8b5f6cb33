"""What makes the stages of a real project anew, and what does not."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cached_property
from pathlib import Path

import pytest
from toy_project import PROJECT, copied, run

import shipworthy.core.stages as stages
from shipworthy.core import digest
from shipworthy.core.closure import Sources
from shipworthy.core.errors import StageError
from shipworthy.core.ledger import Ledger
from shipworthy.core.stages import StageCache
from shipworthy.release.artefacts import Workshop
from shipworthy.release.pipeline import Finished, reach
from shipworthy.release.places import CACHE, LEDGER
from shipworthy.release.project import load_project

PACKAGE = Path(stages.__file__).parents[1]


class Desk:
    """A finished project, and a copy of our own code to change; then one looks again."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.patch = monkeypatch

    @cached_property
    def package(self) -> Path:
        """The copy; without a change of code there is none."""
        skipped = shutil.ignore_patterns("__pycache__")
        return Path(shutil.copytree(PACKAGE, self.folder / "code/shipworthy", ignore=skipped))

    def look(self) -> Workshop:
        """Look for every stage under the code of the copy; make none."""
        project = load_project(self.folder / "shipworthy.yaml")
        shop = Workshop(project, self.folder / CACHE, look=True)
        if "package" in vars(self):
            shop.cache = StageCache(self.folder / CACHE, sources=Sources(None, self.package))
        with suppress(StageError):
            reach(shop, project.policy.policy(), Ledger(self.folder / CACHE / LEDGER))
        return shop

    def edit(self, file: str, old: str, new: str) -> None:
        path = self.package / file
        content = path.read_text()
        assert old in content
        path.write_text(content.replace(old, new, 1))

    def write(self, old: str, new: str) -> None:
        """Change the project file."""
        path = self.folder / "shipworthy.yaml"
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new))


@pytest.fixture
def desk(toy: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    monkeypatch.setattr(digest, "_memo", {})
    yield Desk(toy, monkeypatch)
    monkeypatch.undo()


def _comment(desk: Desk) -> None:
    for path in desk.package.rglob("*.py"):
        path.write_text(f"{path.read_text()}\n# A word more.\n")


def _docstring(desk: Desk) -> None:
    for path in desk.package.rglob("*.py"):
        content = path.read_text()
        if content.startswith('"""'):
            path.write_text(f'"""Other words.{content[3:]}')


def _foreign_code(desk: Desk) -> None:
    desk.edit("cli/main.py", "EXIT_BUG", "EXIT_BUG, EXIT_BAD_INPUT as also")


def _words(desk: Desk) -> None:
    desk.edit("core/locale/en/core.json", "training", "teaching")


def _moved_model(desk: Desk) -> None:
    (desk.folder / "encoder").rename(desk.folder / "other name")
    desk.write("model: encoder", "model: other name")


def _moved_rows(desk: Desk) -> None:
    (desk.folder / "deep").mkdir()
    (desk.folder / "rows.csv").rename(desk.folder / "deep" / "rows.csv")
    desk.write("source: rows.csv", "source: deep/rows.csv")


def _weights_copied_and_touched(desk: Desk) -> None:
    path = desk.folder / "encoder" / "model.safetensors"
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content)
    os.utime(path, (10**9, 10**9))


HITS: dict[str, Callable[[Desk], None]] = {
    "nothing": lambda desk: None,
    "a comment in every file": _comment,
    "a docstring in every file": _docstring,
    "code that no stage runs": _foreign_code,
    "a text for people": _words,
    "the name of the model's folder": _moved_model,
    "the place of the rows": _moved_rows,
    "equal weights in another file": _weights_copied_and_touched,
}


@pytest.mark.parametrize("change", HITS)
def test_what_makes_no_stage_anew(desk: Desk, finished: Finished, change: str) -> None:
    HITS[change](desk)
    shop = desk.look()
    assert shop.missing == {}
    assert [s.name for s in shop.stages] == [s.name for s in finished.stages]


def _helper_two_imports_away(desk: Desk) -> None:
    # train.loop imports train.run, and that imports it.
    assert "data.order" not in (desk.package / "train" / "loop.py").read_text()
    path = desk.package / "data" / "order.py"
    path.write_text(f"{path.read_text()}\n\n_ONE = 1\n")


def _weight_byte(desk: Desk) -> None:
    path = desk.folder / "encoder" / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def _row(desk: Desk) -> None:
    path = desk.folder / "rows.csv"
    path.write_text(path.read_text().replace("film", "filn", 1))


def _library(desk: Desk) -> None:
    info = desk.folder / "path" / "safetensors-99.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: safetensors\nVersion: 99.0\n")
    desk.patch.syspath_prepend(str(info.parent))


def _machine(desk: Desk) -> None:
    desk.patch.setattr(stages, "device_class", lambda: "another machine")


MISSES: dict[str, tuple[Callable[[Desk], None], list[str], str]] = {
    "a weight byte": (_weight_byte, ["train"], "input model changed"),
    "a helper two imports away": (
        _helper_two_imports_away, ["train"], "code shipworthy.data.order changed"
    ),
    "a row": (_row, ["data"], "input source: rows.csv changed"),
    "a library": (_library, ["data"], "versions.safetensors"),
    "the machine": (_machine, ["data"], "another machine"),
    "a setting of training": (
        lambda desk: desk.write("epochs: 4", "epochs: 5"), ["train"], "settings.train.epochs 4 → 5"
    ),
    "the seed": (
        lambda desk: desk.write("name: toy", "name: toy\nseed: 3"), ["data"], "seed 0 → 3"
    ),
    "a recipe more": (
        lambda desk: desk.write("[bf16]", "[bf16, {prune: 0.5}]"),
        ["candidate prune-50"], "was not made before",
    ),
    "a bound": (
        lambda desk: desk.write("at_least: 0.6", "at_least: 0.7"), ["nomination"], "settings.policy"
    ),
    "timing": (
        lambda desk: desk.write("requests: 72", "requests: 73"), ["speed"],
        "settings.requests 72 → 73",
    ),
}  # fmt: skip


@pytest.mark.parametrize("change", MISSES)
def test_what_makes_a_stage_anew(desk: Desk, change: str) -> None:
    edit, missing, words = MISSES[change]
    edit(desk)
    shop = desk.look()
    assert list(shop.missing) == missing
    assert words in shop.missing[missing[0]]


def test_outputs_made_again_to_the_same_bytes_change_nothing_else(toy: Path) -> None:
    first = run(toy)
    assert all(stage.cached for stage in first.stages)
    for name, file in (("data", "rows.parquet"), ("train", "model/model.safetensors")):
        stage = next(s for s in first.stages if s.name == name)
        path = stage.folder / file
        content = bytearray(path.read_bytes())
        content[-1] ^= 1
        path.write_bytes(content)
    again = run(toy)
    assert [s.name for s in again.stages if not s.cached] == ["data", "train"]
    # How long the training took is told beside the weights, and is another each time.
    same = [(s.name, s.digest) for s in first.stages if s.name != "train"]
    assert [(s.name, s.digest) for s in again.stages if s.name != "train"] == same
    assert "was damaged or removed" in again.stages[0].why
    assert again.folder is not None and again.judgement is not None
    parent = again.folder / again.judgement.parent.folder / "model.safetensors"
    assert parent.samefile(again.stages[1].folder / "model" / "model.safetensors")


def test_a_damaged_record_is_made_again(toy: Path) -> None:
    stage = run(toy).stages[0]
    (stage.folder / "stage.json").write_text("{")
    again = run(toy)
    assert [s.name for s in again.stages if not s.cached] == ["data"]


def test_a_project_that_moved_finds_all_its_stages(toy: Path, tmp_path: Path) -> None:
    there = copied(toy, tmp_path / "elsewhere")
    assert all(stage.cached for stage in run(there, PROJECT).stages)


MODEL_LIBRARIES = {"torch", "transformers", "tokenizers", "onnx", "onnxruntime", "onnxscript"}


def test_a_run_in_which_nothing_changed_loads_no_model_library(toy: Path) -> None:
    code = (
        "import sys\n"
        "from shipworthy.cli.main import run\n"
        "assert run(['run', sys.argv[1]]) in (0, 3, 4)\n"
        "print('\\n'.join(sys.modules))\n"
    )
    command = [sys.executable, "-c", code, str(toy / "shipworthy.yaml")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("cached") >= 10
    loaded = set(done.stdout.splitlines())
    assert "shipworthy.release.pipeline" in loaded
    assert loaded & MODEL_LIBRARIES == set()


def test_inputs_that_settled_are_not_read_again(toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for path in [*toy.glob("encoder/*"), toy / "rows.csv"]:
        os.utime(path, (10**9, 10**9))
    run(toy, only="candidates")

    def never(*_: object) -> None:
        raise AssertionError("read again")

    # What this process remembers is gone; what the cache remembers is not.
    monkeypatch.setattr(digest, "_memo", {})
    monkeypatch.setattr(digest, "file_digest", never)
    assert all(stage.cached for stage in run(toy, only="train").stages)
    os.utime(toy / "encoder" / "model.safetensors")
    with pytest.raises(AssertionError, match="read again"):
        run(toy, only="train")
