"""Fresh Python processes of our own worker modules, spoken to in JSON lines.

The starter writes one request a line to the worker's stdin, `{"call": name, "arguments": {...}}`,
and reads one answer a line from its stdout, `{"value": ...}` or `{"error": text, "input": bool}`.
A worker module ends with `if __name__ == "__main__": answer({"name": function})`. Whatever its
libraries print goes to stderr, which is kept in a file and quoted when the worker breaks.

No worker outlives its starter: end of file on stdin ends it at once, whatever it is doing.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import IO, TYPE_CHECKING, Any, NoReturn

from shipworthy.core.errors import (
    EXIT_BAD_INPUT,
    EXIT_BUG,
    InputError,
    ShipworthyError,
    StageError,
)
from shipworthy.core.locale import language, text

if TYPE_CHECKING:
    from types import TracebackType

STDERR_LINES = 6
_STOP_SECONDS = 5.0
_STDERR_TAIL_BYTES = 8192


class Worker:
    """One fresh process that runs `module`; a context manager that ends it.

    module: dotted name of a module that calls `answer`; environment: variables laid over our own;
    name: how errors call it (default: the module).
    """

    def __init__(
        self, module: str, *, environment: Mapping[str, str] | None = None, name: str = ""
    ) -> None:
        self.name = name or module
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 - closed by close()
        self._process = subprocess.Popen(
            # -P: a tokenize.py in the user's folder must not stand in for the standard library's.
            [sys.executable, "-P", "-m", module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            env={**os.environ, "SHIPWORTHY_LANG": language(), **(environment or {})},
            # Ctrl-C at the terminal is the starter's to handle, not every worker's.
            start_new_session=True,
        )
        self._answers: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Worker:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    def send(self, call: str, **arguments: Any) -> None:
        """Hand a request over without waiting for its answer; fetch that with `receive`."""
        line = json.dumps({"call": call, "arguments": arguments}).encode() + b"\n"
        pipe = self._pipe()
        try:
            pipe.write(line)
            pipe.flush()
        except OSError:
            self._broke()

    def receive(self, *, timeout: float) -> Any:
        """Return the answer to the oldest open request.

        timeout: seconds. Raises InputError where the worker found the input at fault, StageError
        where it failed, ended, answered nonsense or took too long; after the last three it is gone.
        """
        try:
            line = self._answers.get(timeout=timeout)
        except queue.Empty:
            self.close()
            raise StageError(
                text("error.launch.timeout", name=self.name, timeout=timeout)
            ) from None
        if not line:
            self._broke()
        try:
            answer = json.loads(line)
        except ValueError:
            self.close()
            raise StageError(
                text("error.launch.no_json", name=self.name, answer=line[:80])
            ) from None
        if "error" in answer:
            kind = InputError if answer["input"] else StageError
            raise kind(text("error.at", where=self.name, problem=answer["error"]))
        return answer["value"]

    def call(self, call: str, *, timeout: float, **arguments: Any) -> Any:
        """Send a request and return its answer."""
        self.send(call, **arguments)
        return self.receive(timeout=timeout)

    def close(self) -> None:
        """End the process; safe to call again."""
        if self._stderr.closed:
            return
        with contextlib.suppress(OSError):  # an unsent rest of a request, to a process that is gone
            self._pipe().close()
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join()
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._stderr.close()

    def last_lines(self) -> str:
        """Last lines of the worker's stderr as one line, without frames of a trace."""
        self._stderr.seek(0, os.SEEK_END)
        self._stderr.seek(max(0, self._stderr.tell() - _STDERR_TAIL_BYTES))
        lines = self._stderr.read().decode("utf-8", "replace").splitlines()
        told = [line.strip() for line in lines if line[:1].strip()]
        return " | ".join(told[-STDERR_LINES:])

    def _pipe(self) -> IO[bytes]:
        if self._process.stdin is None:  # pragma: no cover - Popen was told to make one
            raise StageError(text("error.launch.no_stdin", name=self.name))
        return self._process.stdin

    def _read(self) -> None:
        for line in self._process.stdout or ():
            self._answers.put(line)
        self._answers.put(b"")

    def _broke(self) -> NoReturn:
        try:
            code = self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        said = self.last_lines()
        self.close()
        if code < 0:
            what = "error.launch.memory" if code == -signal.SIGKILL else "error.launch.signal"
            how = text(what, signal=-code)
        else:
            how = text("error.launch.code", code=code)
        words = text("error.launch.said", said=said) if said else text("error.launch.silent")
        # A machine that is too small is no bug of ours.
        raise StageError(
            text("error.launch.broke", name=self.name, how=how, words=words),
            exit_code=EXIT_BAD_INPUT if code == -signal.SIGKILL else EXIT_BUG,
        )


def answer(handlers: Mapping[str, Callable[..., Any]]) -> NoReturn:
    """Serve requests from stdin until it ends; the worker's side.

    handlers: functions by name, called with the arguments of the request; what they return must be
    JSON. An error of our tree is answered and the worker lives on; any other one ends it with its
    trace on stderr.
    """
    # Libraries print to fd 1 as they like; answers go out on a copy that only we hold.
    channel = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    # By the line: what a library said last must not lie in a buffer when the process breaks.
    sys.stdout = os.fdopen(os.dup(1), "w", buffering=1, encoding="utf-8", errors="replace")
    for line in _requests():
        request = json.loads(line)
        try:
            reply: dict[str, Any] = {"value": handlers[request["call"]](**request["arguments"])}
        except ShipworthyError as error:
            reply = {"error": str(error), "input": isinstance(error, InputError)}
        channel.write(json.dumps(reply).encode() + b"\n")
        channel.flush()
    raise SystemExit(0)  # pragma: no cover - end of file ends the process in _requests


def _requests() -> Iterator[bytes]:
    """Yield lines of stdin; a thread reads them, so that its end is seen in the middle of work."""
    lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()

    def read() -> None:
        # Unbuffered: an interpreter that shuts down must not wait for a lock held in a read.
        with os.fdopen(os.dup(0), "rb", buffering=0) as stdin:
            rest = b""
            while piece := stdin.read(65536):
                *whole, rest = (rest + piece).split(b"\n")
                for line in whole:
                    lines.put(line)
        os._exit(0)

    threading.Thread(target=read, daemon=True).start()
    while True:
        yield lines.get()
