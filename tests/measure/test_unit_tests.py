"""Code that is run against its tests, fenced in, with the kernel's help and without."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from shipworthy.measure import unit_tests
from shipworthy.measure.unit_tests import tests_pass as passing

ADDS = "def add(a, b):\n    return a + b\n"
TEST = "assert add(2, 3) == 5\nassert add('a', 'b') == 'ab'\n"


@pytest.fixture(params=["namespaces", "interpreter"])
def fence(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Which protection holds: a system without `unshare` has the interpreter's alone."""
    if request.param == "interpreter":
        monkeypatch.setenv("PATH", "")
    unit_tests._namespaces.cache_clear()
    if request.param == "namespaces" and not unit_tests._namespaces():
        pytest.skip("this system lets nobody make namespaces")
    assert bool(unit_tests._namespaces()) == (request.param == "namespaces")
    yield request.param
    unit_tests._namespaces.cache_clear()


def test_right_code_passes_and_wrong_code_does_not(fence: str) -> None:
    answers = [ADDS, f"```python\n{ADDS}```", ADDS.replace("+", "-"), "def add(a, b:", "", "\0"]
    assert passing(answers, [TEST] * 6).tolist() == [True, True, False, False, False, False]


def test_answers_and_tests_are_pairs() -> None:
    assert passing([], []).shape == (0,)
    with pytest.raises(ValueError, match="longer"):
        passing([ADDS], [TEST, TEST])


@pytest.mark.parametrize("code", [0, 1, 7])
def test_leaving_early_does_not_pass(code: int) -> None:
    answers = [f"import os; os._exit({code})", f"raise SystemExit({code})"]
    answers.append(f"import os\nfor k in range(3, 64):\n    try: os.write(k, b'{code}')\n"
                   "    except OSError: pass")  # fmt: skip
    assert not passing(answers, ["raise ValueError"] * 3).any()


@pytest.mark.parametrize(
    "code",
    [
        "import asyncio\nasync def one(): return 1\nassert asyncio.run(one()) == 1",
        "import pickle\nclass A: pass\npickle.loads(pickle.dumps(A()))",
        "from __future__ import annotations\nimport typing\nclass A: a: B\nclass B: pass\n"
        "assert typing.get_type_hints(A) == {'a': B}",
        "import threading\nt = threading.Thread(target=print)\nt.start()\nt.join()",
        "import tempfile\nwith tempfile.TemporaryDirectory() as d:\n    open(d + '/x', 'w')",
        "import os\nopen(os.devnull, 'w').write('x')",
        "import sqlite3\nsqlite3.connect(':memory:').execute('select 1')",
        "import sys\nassert len(sys.argv) == 1",
    ],
    ids=["asyncio", "pickle", "hints", "thread", "temporary", "devnull", "sqlite", "argv"],
)
def test_what_harms_nobody_passes(code: str, fence: str) -> None:
    assert passing([code], ["pass"]).all()


def test_what_never_ends_ends(fence: str) -> None:
    begun = time.monotonic()
    answers = ["while True: pass", "import time; time.sleep(60)"]
    assert not passing(answers, ["pass"] * 2, seconds=0.5, workers=2).any()
    assert time.monotonic() - begun < 4


@pytest.mark.parametrize(
    "code",
    [
        "x = bytearray(1 << 30)",
        "x = []\nwhile True: x.append(bytes(1 << 20))",
        "open('large', 'wb').write(bytes(1 << 24))",
        "import os\nwhile True: os.fork()",
        "import subprocess; subprocess.run(['true'])",
        "import multiprocessing as m\nm.get_context('spawn').Process(target=print).start()",
        "import os\nwhile True:\n    os.mkdir('a')\n    os.chdir('a')",
        "import threading, time\nwhile True:\n"
        "    threading.Thread(target=time.sleep, args=(60,)).start()",
    ],
    ids=["memory", "heap", "file", "fork", "process", "spawn", "folders", "threads"],
)
def test_what_takes_too_much_fails(code: str, fence: str) -> None:
    assert not passing([code], ["pass"], seconds=0.7).any()


def test_children_end_with_the_answer_wherever_they_went(tmp_path: Path) -> None:
    """Below the interpreter's fence: what the kernel holds when a child leaves its session."""
    if not unit_tests._namespaces():
        pytest.skip("this system lets nobody make namespaces")
    import subprocess
    import sys

    beats = tmp_path / "beats"
    child = f"import os, time\nos.setsid()\nwhile True:\n    open({str(beats)!r}, 'a').write('x')\n"
    parent = (
        "import os, sys, time\n"
        f"if os.fork() == 0:\n    exec({child + '    time.sleep(0.01)'!r})\ntime.sleep(0.5)"
    )
    command = [*unit_tests._namespaces(), sys.executable, "-I", "-S", "-c", parent]
    subprocess.run(command, check=True)
    assert beats.stat().st_size > 0
    time.sleep(0.1)
    before = beats.stat().st_size
    time.sleep(0.2)
    assert beats.stat().st_size == before


def test_much_output_fills_nothing() -> None:
    code = "import sys\nfor _ in range(100):\n    print('x' * (1 << 20))\n"
    code += "    print('x' * (1 << 20), file=sys.stderr)"
    assert passing([code], ["pass"]).all()


def test_there_is_no_network(fence: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        port = server.getsockname()[1]
        code = f"import socket; socket.create_connection(('127.0.0.1', {port}), 2)"
        assert not passing([code], ["pass"], seconds=3.0).any()
        with pytest.raises(BlockingIOError):
            server.accept()


def test_namespaces_alone_hold_the_network_back() -> None:
    if not unit_tests._namespaces():
        pytest.skip("this system lets nobody make namespaces")
    import subprocess
    import sys

    with socket.create_server(("127.0.0.1", 0)) as server:
        address = server.getsockname()
        code = f"import socket; socket.create_connection({address!r}, 2)"
        command = [*unit_tests._namespaces(), sys.executable, "-I", "-c", code]
        assert subprocess.run(command, capture_output=True, check=False).returncode != 0


@pytest.mark.parametrize(
    "change",
    [
        "open({0!r}, 'a')",
        "import os; os.open({0!r}, os.O_WRONLY)",
        "import os; os.remove({0!r})",
        "import os; os.rename({0!r}, 'mine')",
        "import os; os.symlink({0!r}, 'link'); open('link', 'w')",
        "import os; os.truncate({0!r}, 0)",
        "import os, pathlib; pathlib.Path({0!r}).chmod(0)",
        "import os, shutil; shutil.rmtree(os.path.dirname({0!r}))",
        "import os; os.chdir(os.path.dirname({0!r})); open('kept', 'w')",
        "import os; os.mkdir({0!r} + '.folder')",
    ],
)
def test_nothing_outside_its_folder_changes(change: str, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.write_text("as it was")
    kept.chmod(0o640)
    assert not passing([change.format(str(kept))], ["pass"]).any()
    assert kept.read_text() == "as it was"
    assert os.listdir(tmp_path) == ["kept"] and kept.stat().st_mode & 0o777 == 0o640


def test_a_process_starts_in_an_empty_folder_and_environment(fence: str) -> None:
    code = "import os\nleft = sorted(os.listdir('.'))\nset_to = dict(os.environ)"
    tests = "assert left == ['code.py', 'tests.py']\nassert set(set_to) <= {'LC_CTYPE'}"
    assert passing([code], [tests]).all()


def test_many_at_once_leave_no_thread_behind() -> None:
    before = threading.active_count()
    answers = [ADDS if k % 3 else "add = None" for k in range(24)]
    assert passing(answers, [TEST] * 24, workers=4).tolist() == [k % 3 != 0 for k in range(24)]
    assert threading.active_count() == before
