"""Code that is run against its tests, fenced in."""

from __future__ import annotations

import socket
import threading
import time
from pathlib import Path

import pytest

from shipworthy.measure.unit_tests import tests_pass as passing

ADDS = "def add(a, b):\n    return a + b\n"
TEST = "assert add(2, 3) == 5\nassert add('a', 'b') == 'ab'\n"


def test_right_code_passes_and_wrong_code_does_not() -> None:
    answers = [ADDS, f"```python\n{ADDS}```", ADDS.replace("+", "-"), "def add(a, b:", ""]
    assert passing(answers, [TEST] * 5).tolist() == [True, True, False, False, False]


def test_leaving_early_does_not_pass() -> None:
    answers = ["import os; os._exit(0)", "raise SystemExit(0)", "import sys; sys.exit(0)"]
    assert not passing(answers, [TEST] * 3).any()


def test_what_never_ends_ends() -> None:
    begun = time.monotonic()
    assert not passing(["while True: pass"], ["pass"], seconds=1.0).any()
    assert time.monotonic() - begun < 4


@pytest.mark.parametrize(
    "code",
    [
        "x = bytearray(1 << 30)",
        "open('large', 'wb').write(bytes(1 << 24))",
        "import os\nwhile True: os.fork()",
        "import subprocess; subprocess.run(['true'])",
    ],
)
def test_what_takes_too_much_fails(code: str) -> None:
    assert not passing([code], ["pass"], seconds=2.0).any()


def test_much_output_fills_nothing() -> None:
    assert passing(["print('x' * (1 << 26))"], ["pass"]).all()


def test_there_is_no_network() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        met = threading.Event()

        def wait() -> None:
            server.settimeout(3)
            try:
                server.accept()
            except TimeoutError:
                return
            met.set()

        waiting = threading.Thread(target=wait)
        waiting.start()
        port = server.getsockname()[1]
        code = f"import socket; socket.create_connection(('127.0.0.1', {port}), 2)"
        assert not passing([code], ["pass"], seconds=3.0).any()
        waiting.join()
        assert not met.is_set()


def test_a_process_starts_in_an_empty_folder(tmp_path: Path) -> None:
    code = "import os\nleft = sorted(os.listdir('.'))\nset_to = dict(os.environ)"
    tests = "assert left == ['code.py', 'tests.py']\nassert 'HOME' not in set_to"
    assert passing([code], [tests]).all()
