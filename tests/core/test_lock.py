import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from shipworthy.core.errors import EXIT_BAD_INPUT, BusyError, InputError
from shipworthy.core.lock import LOCK, hold, last_run

HOLDER = """
import sys, time
from pathlib import Path
from shipworthy.core.lock import hold
with hold(Path(sys.argv[1])) as held:
    held.note("data", "d" * 40)
    held.note("train", "t" * 40)
    print("held", flush=True)
    sys.stdin.readline()
    held.complete()
"""


@pytest.fixture
def holder(tmp_path: Path):
    """A process that holds the folder until its stdin ends."""
    command = [sys.executable, "-c", HOLDER, str(tmp_path)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_a_second_one_is_told_who_holds_it(holder, tmp_path: Path) -> None:
    with pytest.raises(BusyError) as told, hold(tmp_path):
        pass
    assert told.value.exit_code == EXIT_BAD_INPUT
    assert f"process {holder.pid}" in str(told.value)
    assert last_run(tmp_path).since in str(told.value)
    assert last_run(tmp_path).since.endswith(" UTC")


def test_a_second_one_waits_where_it_shall(holder, tmp_path: Path) -> None:
    said: list[str] = []

    def release() -> None:
        while not said:
            time.sleep(0.01)
        holder.stdin.write("\n")
        holder.stdin.flush()

    threading.Thread(target=release).start()
    with hold(tmp_path, wait=True, tell=said.append) as held:
        assert (held.last.pid, held.last.complete) == (holder.pid, True)
    assert len(said) == 1
    assert str(holder.pid) in said[0]


def test_a_killed_one_lets_go_and_the_next_says_where_it_was(holder, tmp_path: Path) -> None:
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    said: list[str] = []
    with hold(tmp_path, tell=said.append) as held:
        assert (held.last.stage, held.last.ended, held.last.complete) == ("train", False, False)
        assert last_run(tmp_path).pid == os.getpid()
        # Still in use until a run is complete; not where this one is.
        assert list(last_run(tmp_path).stages) == ["data", "train"]
        assert last_run(tmp_path).stage == ""
        held.note("data", "e" * 40)
    assert len(said) == 1
    assert "killed at: train" in said[0]
    left = last_run(tmp_path)
    assert (left.ended, left.complete, left.stage) == (True, False, "data")
    assert left.stages == {"data": "e" * 40, "train": "t" * 40}


def test_a_complete_one_leaves_nothing_in_use(tmp_path: Path) -> None:
    with hold(tmp_path) as held:
        held.note("data", "d")
        held.complete()
    with hold(tmp_path) as held:
        assert (held.last.ended, held.last.complete) == (True, True)
        assert last_run(tmp_path).stages == {}


def test_an_error_is_no_kill(tmp_path: Path) -> None:
    said: list[str] = []
    with pytest.raises(ZeroDivisionError), hold(tmp_path):
        raise ZeroDivisionError
    with hold(tmp_path, tell=said.append):
        pass
    assert said == []


def test_processes_that_the_system_ended_are_named(holder, tmp_path: Path, monkeypatch) -> None:
    holder.kill()
    holder.wait()
    said: list[str] = []
    monkeypatch.setattr("shipworthy.core.lock._oom_kills", lambda: 10**9)
    with hold(tmp_path, tell=said.append) as held:
        assert held.last.out_of_memory
    assert "want of memory" in said[0]


@pytest.mark.parametrize("content", [b"", b"{", b"[]\n", b"\xff\xfe\n", b'{"stage": "a"}\n', b"7"])
def test_a_damaged_lock_is_taken(tmp_path: Path, content: bytes) -> None:
    (tmp_path / LOCK).write_bytes(content)
    with hold(tmp_path) as held:
        assert held.last.pid == 0
        held.complete()
    assert last_run(tmp_path).complete


def test_a_place_that_is_a_file_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"), hold(tmp_path / "file"):
        pass
