import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from shipworthy.core.errors import InputError, StageError
from shipworthy.core.launch import Worker
from shipworthy.core.locale import set_language

HERE = str(Path(__file__).parent)
ENVIRONMENT = {"PYTHONPATH": HERE}
PATIENCE = 60.0


@pytest.fixture
def worker():
    with Worker("answering_worker", environment=ENVIRONMENT, name="w") as started:
        yield started


def gone(pid: int) -> bool:
    """Whether a process ends within the patience of this file."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return True
        if state == "Z":
            return True
        time.sleep(0.02)
    return False


def test_it_answers_though_libraries_print(worker):
    assert worker.call("add", a=1, b=2, timeout=PATIENCE) == 3
    assert worker.call("add", a="ü", b="\n", timeout=PATIENCE) == "ü\n"
    assert "a library that prints" in worker.last_lines()


def test_requests_queue_up_and_are_answered_in_order(worker):
    for k in range(3):
        worker.send("add", a=k, b=10)
    assert [worker.receive(timeout=PATIENCE) for _ in range(3)] == [10, 11, 12]


def test_an_error_of_our_tree_is_told_and_the_worker_lives_on(worker):
    with pytest.raises(InputError, match=r"w: rows\.csv: is empty"):
        worker.call("refuse", timeout=PATIENCE)
    assert worker.call("add", a=1, b=1, timeout=PATIENCE) == 2


def test_a_worker_speaks_the_language_of_its_starter(monkeypatch):
    monkeypatch.setenv("SHIPWORTHY_LANG", "en")
    set_language("zh")
    try:
        with (
            Worker("answering_worker", environment=ENVIRONMENT, name="w") as chinese,
            pytest.raises(InputError, match=r"w：rows\.csv：is empty"),
        ):
            chinese.call("refuse", timeout=PATIENCE)
    finally:
        set_language(None)


def test_a_crash_quotes_its_last_words(worker):
    with pytest.raises(StageError, match="w: ended with exit code 1; .*I tell.*I break"):
        worker.call("fail", timeout=PATIENCE)


def test_a_silent_death_gives_its_exit_code(worker):
    with pytest.raises(StageError, match="exit code 7; it said nothing"):
        worker.call("die", timeout=PATIENCE)
    with pytest.raises((StageError, ValueError)):
        worker.call("add", a=1, b=1, timeout=PATIENCE)


def test_a_killed_worker_names_the_signal(worker):
    worker.send("dwell", seconds=600)
    os.kill(worker.pid, signal.SIGKILL)
    with pytest.raises(StageError, match="signal 9"):
        worker.receive(timeout=PATIENCE)


def test_a_late_answer_is_an_error_and_the_worker_is_ended(worker):
    with pytest.raises(StageError, match=r"no answer within 0\.01 s"):
        worker.call("dwell", seconds=600, timeout=0.01)
    assert gone(worker.pid)


def test_a_module_that_does_not_speak_json():
    with Worker("this") as poem, pytest.raises(StageError, match="no JSON"):
        poem.receive(timeout=PATIENCE)


def test_a_module_that_is_not_there():
    with (
        Worker("shipworthy.no_such_module") as nobody,
        pytest.raises(StageError, match="No module named"),
    ):
        nobody.receive(timeout=PATIENCE)


def test_close_ends_work_in_progress_and_can_be_repeated(worker):
    worker.send("dwell", seconds=600)
    worker.close()
    worker.close()
    assert gone(worker.pid)


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="reads /proc")
def test_a_worker_does_not_outlive_a_killed_starter():
    starter = (
        "from shipworthy.core.launch import Worker\n"
        "w = Worker('answering_worker')\n"
        "w.call('add', a=1, b=1, timeout=60)\n"
        "w.send('dwell', seconds=600)\n"
        "print(w.pid, flush=True)\n"
        "w.receive(timeout=600)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", starter],
        stdout=subprocess.PIPE,
        env={**os.environ, **ENVIRONMENT},
    )
    with process:
        pid = int(process.stdout.readline())
        process.kill()
    assert gone(pid)


def test_answer_ignores_stray_modules_in_the_current_folder(tmp_path, monkeypatch):
    (tmp_path / "queue.py").write_text("raise SystemExit('shadowed')")
    monkeypatch.chdir(tmp_path)
    with Worker("answering_worker", environment=ENVIRONMENT) as started:
        assert started.call("add", a=1, b=1, timeout=PATIENCE) == 2
