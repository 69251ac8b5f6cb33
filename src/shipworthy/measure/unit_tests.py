"""Whether written code passes unit tests: each answer runs in a process of its own.

The process is short of time, memory, open files, the size of a file and further processes, has an
empty folder and an empty environment, and only the standard library. Its interpreter refuses to
start processes, to load C libraries by ctypes, to reach anything through a socket, and to write,
remove or rename what lies outside its folder. Where the system lets a user make namespaces
(`unshare`, tried once), the kernel too gives it no network, and ends all its children with it,
those that left its session as well; elsewhere the interpreter alone holds, and only children in its
process group are ended. How much all its files hold together is not limited.

This is a fence against accidents, not against an attacker: run code that may be hostile in a
machine made for it.
"""

from __future__ import annotations

import math
import os
import secrets
import shutil
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
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
_TASKS = 64
_LONGEST_PATH = 1000
"""Characters; `shutil.rmtree` goes into folders by recursion, and deeper ones would end it."""

# Limits are set by the process itself, so that nothing runs between fork and exec here. The word
# that says "passed" goes through a pipe: an exit code could be the answer's own.
_RUN = f"""
import os, resource, sys, threading, types
seconds, megabytes, own, report = (int(x) for x in sys.argv[1:5])
word = sys.argv[5].encode()
del sys.argv[1:]
def limit(name, most, hard=None):
    allowed = resource.getrlimit(name)[1]
    most = most if allowed == resource.RLIM_INFINITY else min(most, allowed)
    resource.setrlimit(name, (most, most if hard is None else hard))
limit(resource.RLIMIT_CPU, seconds)
limit(resource.RLIMIT_AS, megabytes << 20)
limit(resource.RLIMIT_FSIZE, {_FILE_MB} << 20)
limit(resource.RLIMIT_NOFILE, {_OPEN_FILES})
limit(resource.RLIMIT_CORE, 0)
if own:
    # Outside a namespace, and in those of Linux before 5.14, all tasks of the user count.
    before = resource.getrlimit(resource.RLIMIT_NPROC)
    limit(resource.RLIMIT_NPROC, {_TASKS}, before[1])
    try:
        trial = threading.Thread(target=int)
        trial.start()
        trial.join()
    except RuntimeError:
        resource.setrlimit(resource.RLIMIT_NPROC, before)
folder = os.path.realpath(os.getcwd())
writing = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
# Which arguments of an event are paths that it changes.
changes = dict.fromkeys(("os.mkdir", "os.remove", "os.rmdir", "os.truncate", "os.chmod", "os.chown",
    "os.utime", "os.setxattr", "os.removexattr", "shutil.rmtree", "sqlite3.connect"), (0,))
changes.update({{"os.rename": (0, 1), "os.link": (0, 1), "os.symlink": (1,)}})
refused = {{"os.fork", "os.forkpty", "subprocess.Popen", "os.system", "os.exec", "os.posix_spawn",
    "os.spawn", "pty.spawn", "ctypes.dlopen", "os.kill", "os.killpg"}}
def inside(path):
    if isinstance(path, int):
        return True
    found = os.path.realpath(os.fsdecode(path))
    within = found == folder or found.startswith(folder + os.sep)
    return within and len(found) <= {_LONGEST_PATH}
def fence(event, arguments):
    if event == "open":
        bad = (arguments[2] & writing and arguments[0] != os.devnull and not inside(arguments[0]))
    elif event in changes:
        bad = not all(inside(arguments[k]) for k in changes[event] if arguments[k] != ":memory:")
    elif event.startswith("socket."):
        # A socket that goes nowhere, and a pair of them, are what an event loop needs.
        bad = event not in ("socket.__new__", "socket.gethostname")
    else:
        bad = event in refused
    if bad:
        raise PermissionError(event)
def refuse(*arguments):
    raise PermissionError("fork_exec")
# It has no event of its own, and multiprocessing calls it.
import _posixsubprocess
_posixsubprocess.fork_exec = refuse
code = open("code.py", encoding="utf-8").read()
tests = open("tests.py", encoding="utf-8").read()
write, leave = os.write, os._exit
# Types that are looked up by the name of their module, as pickle does, are found.
answer = sys.modules["answer"] = types.ModuleType("answer")
sys.addaudithook(fence)
exec(compile(code, "code.py", "exec"), vars(answer))
exec(compile(tests, "tests.py", "exec"), vars(answer))
write(report, word)
leave(0)
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

    answers: code, in a fence or bare. tests: code that is run after it, with its names; it must run
    to its end. seconds: of one answer, with its tests. memory_mb: of its process. workers:
    processes at once, by default as many as there are processors.
    """
    pairs = list(zip(answers, tests, strict=True))
    with ThreadPoolExecutor(workers or threads()) as pool:
        found = pool.map(lambda pair: _passes(*pair, seconds=seconds, memory_mb=memory_mb), pairs)
        return np.fromiter(found, dtype=bool, count=len(pairs))


def _passes(answer: str, tests: str, *, seconds: float, memory_mb: int) -> bool:
    with (
        TemporaryDirectory(prefix="shipworthy-answer-", ignore_cleanup_errors=True) as place,
        ExitStack() as stack,
    ):
        folder = Path(place)
        (folder / "code.py").write_text(unfenced(answer), encoding="utf-8", errors="replace")
        (folder / "tests.py").write_text(tests, encoding="utf-8", errors="replace")
        heard, report = os.pipe()
        stack.callback(os.close, heard)
        # Nobody waits for a word that does not come.
        os.set_blocking(heard, False)
        word, namespaces = secrets.token_hex(16), _namespaces()
        command = [
            *namespaces, sys.executable, "-I", "-S", "-B", "-c", _RUN,
            str(max(1, math.ceil(seconds))), str(memory_mb), str(int(bool(namespaces))),
            str(report), word,
        ]  # fmt: skip
        try:
            process = subprocess.Popen(
                command, cwd=folder, env={}, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL, start_new_session=True, pass_fds=(report,),
            )  # fmt: skip
        finally:
            os.close(report)
        try:
            code = process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        finally:
            # Also what the answer left behind.
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        with suppress(BlockingIOError):
            return code == 0 and os.read(heard, len(word) + 1) == word.encode()
        return False


@cache
def _namespaces() -> tuple[str, ...]:
    """Return the command that gives a process an empty network and processes of its own, or none.

    With the first of its processes all others end, wherever they went.
    """
    program = shutil.which("unshare")
    if program is None:
        return ()
    command = (program, "--map-root-user", "--net", "--pid", "--fork", "--kill-child", "--")
    done = subprocess.run(
        [*command, sys.executable, "-I", "-S", "-c", ""], capture_output=True, check=False
    )
    return command if done.returncode == 0 else ()
