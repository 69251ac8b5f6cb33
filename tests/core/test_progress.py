import os
import pty
import subprocess
import sys

import pytest

from shipworthy.core.locale import set_language
from shipworthy.core.progress import duration, progress


@pytest.fixture(autouse=True)
def _english(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("SHIPWORTHY_PROGRESS", raising=False)
    set_language("en")
    yield
    set_language(None)


def test_lines_in_a_log(capsys) -> None:
    with progress("train", total=2000, unit="rows", interval_seconds=0) as step:
        step(500)
        step(1500)
    shown = capsys.readouterr()
    assert shown.out == ""
    first, second, last = shown.err.splitlines()
    assert first.startswith("training: 500 of 2,000 rows · ")
    assert first.endswith(" left")
    assert " rows/s" in first
    assert second.startswith("training: 2,000 of 2,000 rows")
    assert last.startswith("training: 2,000 rows in ")


def test_what_a_step_says_stands_behind_it(capsys) -> None:
    with progress("train", total=2000, unit="rows", interval_seconds=0) as step:
        step(500, "loss 0.6931")
        step(1500)
    first, second, _ = capsys.readouterr().err.splitlines()
    assert first.endswith(" left · loss 0.6931") and "loss" not in second


def test_the_first_of_many_foretells_nothing(capsys) -> None:
    with progress("speed", total=400, unit="requests", interval_seconds=0) as step:
        step(1)
        step(3)
    first, second, _ = capsys.readouterr().err.splitlines()
    assert "left" not in first and second.endswith(" left")


def test_between_two_lines_nothing_is_written(capsys) -> None:
    with progress("train", total=2000, unit="rows", interval_seconds=1000) as step:
        for _ in range(100):
            step(20)
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_unknown_total_name_and_unit(capsys) -> None:
    with progress("own work", unit="apples", interval_seconds=0) as step:
        step()
    first, last = capsys.readouterr().err.splitlines()
    assert first.startswith("own work: 1 apples · ")
    assert "left" not in first
    assert last.startswith("own work: 1 apples in ")


def test_an_error_passes_and_says_where_it_stopped(capsys) -> None:
    with pytest.raises(OSError, match="disk"), progress("train", total=9, unit="rows") as step:
        step(4)
        raise OSError("disk")
    assert capsys.readouterr().err.startswith("training: stopped at 4 rows after ")


def test_off_is_silent(capsys, monkeypatch) -> None:
    monkeypatch.setenv("SHIPWORTHY_PROGRESS", "off")
    with progress("train", total=2, unit="rows", interval_seconds=0) as step:
        step(2)
    shown = capsys.readouterr()
    assert shown.out == shown.err == ""


def test_a_terminal_gets_one_live_line_also_when_nested() -> None:
    code = (
        "from shipworthy.core.progress import progress\n"
        "with progress('train', total=10, unit='rows') as outer:\n"
        "    with progress('measure', unit='rows') as inner: inner(3)\n"
        "    outer(10, 'loss 0.5')\n"
        "print('result')\n"
    )
    master, slave = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100"}
    done = subprocess.run(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=slave, env=environment
    )
    os.close(slave)
    shown = b""
    try:
        while piece := os.read(master, 4096):
            shown += piece
    except OSError:  # the end of a pseudo-terminal whose other side is closed
        pass
    os.close(master)
    assert done.returncode == 0
    assert done.stdout == b"result\n"
    assert b"10 / 10 rows" in shown
    assert b"training" in shown


def test_duration() -> None:
    assert [duration(s) for s in (0.44, 12.4, 185, 7800)] == [
        "0.4 s", "12 s", "3 min 5 s", "2 h 10 min"
    ]  # fmt: skip
    assert duration(59.9) == "1 min 0 s"
