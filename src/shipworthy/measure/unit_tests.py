"""Whether written code passes unit tests: each answer runs in a process of its own.

The process is short of time, memory, files and further processes, has an empty folder and an empty
environment, and no network: where the system allows it in a network of its own, elsewhere its
interpreter refuses sockets. This is a fence against accidents, not against an attacker: run code
that may be hostile in a machine made for it.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from shipworthy.core.device import threads
from shipworthy.measure.text_scores import unfenced

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    BoolArray: TypeAlias = NDArray[np.bool_]

SECONDS = 5.0
MEMORY_MB = 512
_FILE_MB = 8
_OPEN_FILES = 64
_PASSED = 7
"""Exit code of a process whose tests all passed: no accident gives it."""

# Limits are set by the process itself, so that nothing runs between fork and exec here.
_RUN = f"""
import resource, sys
seconds, megabytes = (int(x) for x in sys.argv[1:3])
def limit(name, most):
    hard = resource.getrlimit(name)[1]
    most = most if hard == resource.RLIM_INFINITY else min(most, hard)
    resource.setrlimit(name, (most, most))
limit(resource.RLIMIT_CPU, seconds)
limit(resource.RLIMIT_AS, megabytes << 20)
limit(resource.RLIMIT_FSIZE, {_FILE_MB} << 20)
limit(resource.RLIMIT_NOFILE, {_OPEN_FILES})
limit(resource.RLIMIT_CORE, 0)
def fence(event, arguments):
    if event.startswith("socket.") or event in ("os.fork", "os.forkpty", "subprocess.Popen",
            "os.system", "os.exec", "os.posix_spawn", "ctypes.dlopen", "os.kill", "os.killpg"):
        raise PermissionError(event)
code = open("code.py", encoding="utf-8").read()
tests = open("tests.py", encoding="utf-8").read()
import os
leave = os._exit
sys.addaudithook(fence)
space = {{"__name__": "answer"}}
exec(compile(code, "code.py", "exec"), space)
exec(compile(tests, "tests.py", "exec"), space)
leave({_PASSED})
"""


def tests_pass(
    answers: Sequence[str],
    tests: Sequence[str],
    *,
    seconds: float = SECONDS,
    memory_mb: int = MEMORY_MB,
    workers: int | None = None,
) -> BoolArray:
    """Return for each answer whether it runs and its tests raise nothing, shape (n,).

    answers: code, in a fence or bare. tests: code that is run after it, with its names. seconds: of
    one answer, with its tests. memory_mb: of its process. workers: processes at once.
    """
    with ThreadPoolExecutor(workers or threads()) as pool:
        found = pool.map(
            lambda answer, test: _passes(answer, test, seconds, memory_mb), answers, tests
        )
        return np.fromiter(found, dtype=bool, count=len(answers))


def _passes(answer: str, tests: str, seconds: float, memory_mb: int) -> bool:
    with TemporaryDirectory(prefix="shipworthy-answer-") as place:
        folder = Path(place)
        (folder / "code.py").write_text(unfenced(answer), encoding="utf-8", errors="replace")
        (folder / "tests.py").write_text(tests, encoding="utf-8", errors="replace")
        command = [
            *_own_network(), sys.executable, "-I", "-S", "-B", "-c", _RUN,
            str(max(1, round(seconds))), str(memory_mb),
        ]  # fmt: skip
        process = subprocess.Popen(
            command, cwd=folder, env={}, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        try:
            return process.wait(seconds) == _PASSED
        except subprocess.TimeoutExpired:
            return False
        finally:
            # Also what the answer left behind.
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@cache
def _own_network() -> tuple[str, ...]:
    """Return the command that gives a process a network without anything in it, or nothing."""
    program = shutil.which("unshare")
    if program is None:
        return ()
    command = (program, "--map-root-user", "--net", "--")
    done = subprocess.run(
        [*command, sys.executable, "-I", "-S", "-c", ""], capture_output=True, check=False
    )
    return command if done.returncode == 0 else ()
