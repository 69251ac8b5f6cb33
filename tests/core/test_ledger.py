import json
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shipworthy.core.errors import InputError
from shipworthy.core.ledger import START, Ledger


@pytest.fixture
def ledger(tmp_path) -> Ledger:
    made = Ledger(tmp_path / "runs" / "ledger.jsonl")
    for k in range(4):
        made.append("measured", {"k": k, "value": 0.1 * k, "who": "审计"})
    return made


def _rows(ledger: Ledger) -> list[bytes]:
    return ledger.path.read_bytes().splitlines(keepends=True)


def _broken(ledger: Ledger, rows: list[bytes]) -> str:
    ledger.path.write_bytes(b"".join(rows))
    with pytest.raises(InputError) as caught:
        ledger.verify()
    message = str(caught.value)
    assert "\n" not in message
    return message.removeprefix(str(ledger.path))


def test_lines_are_chained(ledger: Ledger) -> None:
    lines = ledger.lines()
    assert [line.number for line in lines] == [1, 2, 3, 4]
    assert [line.payload["k"] for line in lines] == [0, 1, 2, 3]
    assert lines[0].previous == START
    assert [line.previous for line in lines[1:]] == [line.hash for line in lines[:-1]]
    assert ledger.verify() == lines[-1]
    assert lines[0].created.endswith("+00:00")
    assert Ledger(ledger.path.with_name("none")).lines() == ()
    assert Ledger(ledger.path.with_name("none")).verify() is None


def test_a_line_is_plain_canonical_json(ledger: Ledger) -> None:
    raw = _rows(ledger)[2].decode("ascii")
    values = json.loads(raw)
    assert list(values) == ["created", "hash", "kind", "number", "payload", "previous"]
    assert raw == json.dumps(values, sort_keys=True, separators=(",", ":")) + "\n"


def test_a_removed_line_is_found(ledger: Ledger) -> None:
    rows = _rows(ledger)
    found = _broken(ledger, rows[:1] + rows[2:])
    assert found == ":2: the line says number 3: a line was removed, added or swapped"


def test_swapped_lines_are_found(ledger: Ledger) -> None:
    a, b, c, d = _rows(ledger)
    assert _broken(ledger, [a, c, b, d]).startswith(":2: the line says number 3")


def test_an_edited_value_is_found(ledger: Ledger) -> None:
    rows = _rows(ledger)
    rows[1] = rows[1].replace(b'"k":1', b'"k":2')
    assert _broken(ledger, rows) == ":2: the line was edited: its hash does not fit"


def test_a_line_with_a_new_hash_breaks_at_the_next(ledger: Ledger) -> None:
    other = Ledger(ledger.path.with_name("other.jsonl"))
    other.append("measured", {"k": 0})
    other.append("measured", {"k": 7})
    rows = _rows(ledger)
    assert ":2: " in _broken(ledger, [rows[0], _rows(other)[1], *rows[2:]])


def test_spaces_blank_lines_and_foreign_text_are_found(ledger: Ledger) -> None:
    a, b, c, d = _rows(ledger)
    assert _broken(ledger, [a, b.replace(b":", b": ", 1), c, d]).startswith(":2: the line is not")
    assert _broken(ledger, [a, b, b"\n", c, d]).startswith(":3: the line is not")
    assert _broken(ledger, [a, b, c, d, b"\xff\xfe\n"]).startswith(":5: the line is not")
    assert _broken(ledger, [row.replace(b"\n", b"\r\n") for row in (a, b)]).startswith(":1: ")


def test_a_line_cut_in_half_in_the_middle_is_found(ledger: Ledger) -> None:
    rows = _rows(ledger)
    rows[1] = rows[1][:50] + b"\n"
    assert _broken(ledger, rows).startswith(":2: the line is not an entry")


def test_a_torn_last_line_is_said_then_cut_off_and_recorded(ledger: Ledger) -> None:
    rows = _rows(ledger)
    torn = rows[3][:-9]
    found = _broken(ledger, [*rows[:3], torn])
    assert found == ":4: the line is cut off; the next entry cuts it back and records that"
    line = ledger.append("measured", {"k": 9})
    assert [entry.kind for entry in ledger.lines()] == ["measured"] * 3 + ["recovered", "measured"]
    assert ledger.lines()[3].payload["bytes"] == len(torn)
    assert line.number == 5
    assert ledger.recover() is None


def test_only_torn_bytes(tmp_path) -> None:
    ledger = Ledger(tmp_path / "l")
    ledger.path.write_bytes(b'{"created":')
    ledger.append("measured", {})
    assert [line.kind for line in ledger.lines()] == ["recovered", "measured"]


def test_a_stripped_last_newline_loses_nothing(ledger: Ledger) -> None:
    ledger.path.write_bytes(ledger.path.read_bytes().rstrip(b"\n"))
    assert len(ledger.lines()) == 4
    ledger.append("measured", {"k": 9})
    assert [line.kind for line in ledger.lines()] == ["measured"] * 5


def test_nothing_is_appended_to_an_edited_end(ledger: Ledger) -> None:
    content = ledger.path.read_bytes().replace(b'"k":3', b'"k":5')
    ledger.path.write_bytes(content)
    with pytest.raises(InputError, match="last line was edited, so nothing was appended"):
        ledger.append("measured", {})
    assert ledger.path.read_bytes() == content


@settings(max_examples=60, deadline=None)
@given(st.integers(0), st.integers(0, 7))
def test_any_changed_bit_is_found(tmp_path_factory, place: int, bit: int) -> None:
    ledger = Ledger(tmp_path_factory.mktemp("l") / "ledger.jsonl")
    for k in range(3):
        ledger.append("measured", {"k": k})
    content = bytearray(ledger.path.read_bytes())
    content[place % len(content)] ^= 1 << bit
    ledger.path.write_bytes(content)
    if place % len(content) == len(content) - 1:
        return  # the last newline holds nothing
    with pytest.raises(InputError, match=r"ledger.jsonl:\d: the line"):
        ledger.verify()


def test_texts_and_values_that_do_not_belong_there(ledger: Ledger) -> None:
    with pytest.raises(ValueError, match="too long for a ledger"):
        ledger.append("measured", {"deep": [{"text": "x" * 513}]})
    with pytest.raises(ValueError):
        ledger.append("measured", {"value": float("nan")})
    with pytest.raises(TypeError):
        ledger.append("measured", {"value": {1, 2}})
    assert len(ledger.lines()) == 4


def test_a_folder_in_the_way_is_one_line(tmp_path) -> None:
    with pytest.raises(InputError, match="cannot be written: Is a directory"):
        Ledger(tmp_path).append("measured", {})
    with pytest.raises(InputError, match="cannot be read: Is a directory"):
        Ledger(tmp_path).lines()


def test_many_processes_append_at_once(tmp_path) -> None:
    code = (
        "import sys\nfrom shipworthy.core.ledger import Ledger\n"
        "ledger = Ledger(sys.argv[1])\n"
        "for k in range(60): ledger.append('measured', {'who': sys.argv[2], 'k': k})\n"
    )
    path = tmp_path / "ledger.jsonl"
    running = [
        subprocess.Popen([sys.executable, "-c", code, str(path), who]) for who in ("a", "b", "c")
    ]
    assert [process.wait() for process in running] == [0, 0, 0]
    lines = Ledger(path).lines()
    assert len(lines) == 180
    for who in "abc":
        assert [x.payload["k"] for x in lines if x.payload["who"] == who] == list(range(60))


def test_a_killed_writer_lets_go_of_the_lock(tmp_path) -> None:
    code = (
        "import sys, time\nfrom shipworthy.core.ledger import Ledger\n"
        "with Ledger(sys.argv[1]).locked():\n"
        "    print('held', flush=True)\n    time.sleep(60)\n"
    )
    path = tmp_path / "ledger.jsonl"
    holder = subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE)
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"held\n"
    holder.kill()
    holder.wait()
    holder.stdout.close()
    assert Ledger(path).append("measured", {}).number == 1
