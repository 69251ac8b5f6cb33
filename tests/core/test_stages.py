import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from pydantic import BaseModel

import shipworthy.core.stages as stages
from shipworthy.core.closure import Sources
from shipworthy.core.locale import set_language
from shipworthy.core.stage_outputs import link_into
from shipworthy.core.stages import Stage, StageCache, plain


class Settings(BaseModel):
    epochs: int = 1
    folder: Path = Path("a")


class Bench:
    """A stage that counts how often it is made, and every part of its key."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.package = root / "made"
        self.package.mkdir()
        (self.package / "__init__.py").write_text("")
        (self.package / "helper.py").write_text("def aid():\n    return 1\n")
        (self.package / "middle.py").write_text("from made.helper import aid\n")
        (self.package / "entry.py").write_text("def run():\n    import made.middle\n")
        self.made = 0
        self.inputs = {"rows": "d1"}
        self.settings: object = Settings()
        self.seed = 0
        self.name = "train"

    def cache(self) -> StageCache:
        sources = Sources(self.root / "code.json", self.package)
        return StageCache(self.root / ".shipworthy", sources=sources)

    def make(self, folder: Path) -> None:
        self.made += 1
        (folder / "sub").mkdir()
        (folder / "sub" / "weights").write_text("w" * 100)
        (folder / "log").write_text("done")

    def run(self, cache: StageCache | None = None, make=None) -> Stage:
        return (cache or self.cache()).run(
            self.name,
            make or self.make,
            inputs=self.inputs,
            settings=self.settings,
            module="made.entry",
            seed=self.seed,
        )


@pytest.fixture
def bench(tmp_path: Path):
    set_language("en")
    yield Bench(tmp_path)
    set_language(None)


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_made_once_then_found(bench: Bench) -> None:
    first, second = bench.run(), bench.run()
    assert (first.cached, second.cached, bench.made) == (False, True, 1)
    assert first.folder == second.folder == bench.root / ".shipworthy" / "stages" / first.key
    assert first.seconds == second.seconds
    assert first.why == "train was not made before"
    assert second.why == ""
    assert _names(first.folder) == ["log", "stage.json", "sub"]
    record = bench.cache().record(first.key)
    assert record is not None
    assert record["outputs"].keys() == {"log", "sub/weights"}
    assert record["parts"]["settings"] == {"epochs": 1, "folder": "a"}


def _library(bench: Bench, monkeypatch) -> None:
    info = bench.root / "path" / "numpy-99.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: numpy\nVersion: 99.0\n")
    monkeypatch.syspath_prepend(str(info.parent))


def _helper(bench: Bench, monkeypatch) -> None:
    (bench.package / "helper.py").write_text("def aid():\n    return 2\n")


PARTS = {
    "an input": (
        lambda b, m: b.inputs.update(rows="d2"),
        "input rows changed",
    ),
    "a new input": (lambda b, m: b.inputs.update(more="d"), "input more is new"),
    "a setting": (
        lambda b, m: setattr(b, "settings", Settings(epochs=2)),
        "settings.epochs 1 → 2",
    ),
    "the seed": (lambda b, m: setattr(b, "seed", 3), "seed 0 → 3"),
    "code two imports away": (_helper, "code made.helper changed"),
    "a library": (_library, " → 99.0"),
    "the machine": (
        lambda b, m: m.setattr(stages, "device_class", lambda: "another machine"),
        " → another machine",
    ),
}


@pytest.mark.parametrize("part", PARTS)
def test_each_part_of_the_key_counts_and_is_named(bench: Bench, monkeypatch, part: str) -> None:
    change, words = PARTS[part]
    before = bench.run()
    change(bench, monkeypatch)
    cache = bench.cache()
    after = bench.run(cache)
    assert (after.cached, bench.made) == (False, 2)
    assert after.key != before.key
    assert before.folder.exists()
    assert after.why.startswith("train is made anew: ")
    assert words in after.why
    assert cache.explain_miss("train") == after.why
    monkeypatch.undo()


def test_the_name_counts(bench: Bench) -> None:
    before = bench.run()
    bench.name = "prune"
    assert bench.run().key != before.key


def test_comments_docstrings_and_foreign_code_do_not_count(bench: Bench) -> None:
    bench.run()
    (bench.package / "helper.py").write_text(
        '"""Helps."""\n\n\ndef aid():\n    """Aid."""\n    return 1  # one\n'
    )
    (bench.package / "unused.py").write_text("x = 1\n")
    assert bench.run().cached


def test_going_back_finds_the_old_stage(bench: Bench) -> None:
    bench.run()
    bench.seed = 1
    bench.run()
    bench.seed = 0
    cache = bench.cache()
    assert bench.run(cache).cached
    assert cache.explain_miss("train") == "train is made anew: seed 1 → 0"
    assert cache.explain_miss("other") == "other was not made before"
    assert bench.cache().explain_miss("train") == "train is made anew: seed 0 → 1"


@pytest.mark.parametrize(
    "damage",
    [
        lambda f: (f / "log").write_text("DONE"),
        lambda f: (f / "log").write_text("done and more"),
        lambda f: (f / "sub" / "weights").unlink(),
    ],
)
def test_a_damaged_output_is_made_again(bench: Bench, damage) -> None:
    stage = bench.run()
    damage(stage.folder)
    again = bench.run()
    assert (again.cached, bench.made, again.key) == (False, 2, stage.key)
    assert "was damaged or removed" in again.why
    assert (again.folder / "log").read_text() == "done"
    assert (again.folder / "sub" / "weights").read_text() == "w" * 100
    assert bench.run().cached


@pytest.mark.parametrize("content", ["", "{", "[]", "null"])
def test_a_damaged_record_is_made_again(bench: Bench, content: str) -> None:
    stage = bench.run()
    (stage.folder / "stage.json").write_text(content)
    assert not bench.run().cached
    assert bench.run().cached


def test_a_touched_or_copied_output_is_read_and_kept(bench: Bench) -> None:
    stage = bench.run()
    os.utime(stage.folder / "log", ns=(10**18, 10**18))
    content = (stage.folder / "sub" / "weights").read_bytes()
    (stage.folder / "sub" / "weights").unlink()
    (stage.folder / "sub" / "weights").write_bytes(content)
    assert bench.run().cached


@pytest.mark.parametrize("error", [OSError("disk"), KeyboardInterrupt()])
def test_a_failure_leaves_nothing_and_touches_nothing(bench: Bench, error) -> None:
    good = bench.run()
    bench.seed = 1

    def fail(folder: Path) -> None:
        (folder / "half").write_text("x")
        raise error

    with pytest.raises(type(error)):
        bench.run(make=fail)
    assert _names(bench.root / ".shipworthy" / "stages") == [good.key]
    bench.seed = 0
    assert bench.run().cached
    bench.seed = 1
    assert not bench.run().cached


def test_a_stage_may_not_write_the_record(bench: Bench) -> None:
    with pytest.raises(ValueError, match=r"must not write stage.json"):
        bench.run(make=lambda folder: (folder / "stage.json").write_text("{}"))


WORKER = """
import sys, time
from pathlib import Path
from shipworthy.core.stages import StageCache
root, how = sys.argv[1:]
def make(folder):
    (folder / "half").write_text("x")
    with open(Path(root) / "made.txt", "a") as count:
        count.write("made\\n")
    print("making", flush=True)
    time.sleep(60 if how == "hang" else 0.2)
    (folder / "log").write_text("done")
stage = StageCache(Path(root) / ".shipworthy").run(
    "train", make, inputs={}, settings=None, module="shipworthy.core.files")
print(stage.cached, flush=True)
"""


def _start(root: Path, how: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", WORKER, str(root), how], stdout=subprocess.PIPE, text=True
    )


def test_a_killed_stage_is_taken_over(tmp_path: Path) -> None:
    hanging = _start(tmp_path, "hang")
    assert hanging.stdout is not None
    assert hanging.stdout.readline() == "making\n"
    hanging.send_signal(signal.SIGKILL)
    hanging.wait()
    hanging.stdout.close()
    left = list((tmp_path / ".shipworthy" / "stages").iterdir())
    assert [path.name[0] for path in left] == ["."]
    after = _start(tmp_path, "work")
    assert after.communicate()[0] == "making\nFalse\n"
    (stage,) = (tmp_path / ".shipworthy" / "stages").iterdir()
    assert _names(stage) == ["half", "log", "stage.json"]


def test_two_processes_make_a_stage_once(tmp_path: Path) -> None:
    both = [_start(tmp_path, "work") for _ in range(2)]
    said = sorted(process.communicate()[0] for process in both)
    assert said == ["True\n", "making\nFalse\n"]
    assert (tmp_path / "made.txt").read_text() == "made\n"


def test_links_into_a_run_folder(bench: Bench, tmp_path: Path) -> None:
    stage = bench.run()
    run = tmp_path / "runs" / "1"
    (run / "sub").mkdir(parents=True)
    (run / "log").write_text("old")
    (run / "own").write_text("kept")
    for _ in range(2):
        link_into(stage.folder, run)
        assert _names(run) == ["log", "own", "sub"]
        assert _names(run / "sub") == ["weights"]
        assert (run / "log").samefile(stage.folder / "log")
    assert bench.run().cached


def test_a_change_through_a_link_is_noticed(bench: Bench, tmp_path: Path) -> None:
    stage = bench.run()
    link_into(stage.folder, tmp_path / "run")
    with open(tmp_path / "run" / "log", "r+") as file:
        file.write("D")
    assert not bench.run().cached
    assert (tmp_path / "run" / "log").read_text() == "Done", "the run keeps what it had"


@dataclass(frozen=True)
class Plain:
    path: Path
    inner: tuple[int, ...]


def test_plain_settings() -> None:
    assert plain({"a": [Plain(Path("x/y"), (1, 2))], "b": Settings()}) == {
        "a": [{"path": "x/y", "inner": [1, 2]}],
        "b": {"epochs": 1, "folder": "a"},
    }


def test_settings_that_are_no_values_are_our_mistake(bench: Bench) -> None:
    bench.settings = {"f": print}
    with pytest.raises(TypeError):
        bench.run()


def test_a_cached_run_reads_no_output_and_parses_no_code(bench: Bench, monkeypatch) -> None:
    for file in bench.package.iterdir():
        os.utime(file, ns=(10**18, 10**18))
    for seed in range(20):
        bench.seed = seed
        bench.run()

    def never(*_args, **_kwargs):
        raise AssertionError("not needed where all is cached")

    monkeypatch.setattr("shipworthy.core.stage_outputs.digest_file", never)
    monkeypatch.setattr("shipworthy.core.closure.ast.parse", never)
    cache = bench.cache()
    for seed in range(20):
        bench.seed = seed
        assert bench.run(cache).cached
    assert bench.made == 20
